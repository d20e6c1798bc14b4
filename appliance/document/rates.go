package document

import (
	"fmt"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
)

// RawRates is a fraud.Deck in JSON.
type RawRates struct {
	Currency string    `json:"currency"`
	Prefixes []RawRate `json:"prefixes"`
}

// RawRate is what calls to a prefix cost. Pulses are seconds; 0 is one of a second.
type RawRate struct {
	Prefix    string `json:"prefix"`
	PerMinute string `json:"per_minute"`
	Connect   string `json:"connect,omitempty"`
	Initial   int    `json:"initial,omitempty"`
	Following int    `json:"following,omitempty"`
}

// Rates checks a rate deck; that of nil is the zero Deck, which names no prefix.
func (m *Mistakes) Rates(field string, raw *RawRates) fraud.Deck {
	if raw == nil {
		return fraud.Deck{}
	}
	if !fraud.IsCurrency(raw.Currency) {
		m.Add(field+".currency", "want three letters, like AUD")
	}
	if len(raw.Prefixes) == 0 {
		m.Add(field+".prefixes", "missing: leave the whole of the rates out where there are none")
	}
	deck := fraud.NewDeck(raw.Currency)
	for i, one := range raw.Prefixes {
		at := fmt.Sprintf("%s.prefixes[%d]", field, i)
		rate := fraud.Tariff{
			PerMinute: m.money(at+".per_minute", one.PerMinute),
			Initial:   m.pulse(at+".initial", one.Initial), Following: m.pulse(at+".following", one.Following),
		}
		if one.Connect != "" {
			rate.Connect = m.money(at+".connect", one.Connect)
		}
		if err := deck.Add(one.Prefix, rate); err != nil {
			m.Add(at+".prefix", "%s", err)
		}
	}
	return deck
}

func (m *Mistakes) money(field, text string) fraud.Money {
	amount, err := fraud.ParseMoney(text)
	if err != nil || amount > maxMoney {
		m.Add(field, `want an amount like "50" or "12.50", at most %s`, maxMoney)
		return 0
	}
	return amount
}

func (m *Mistakes) pulse(field string, seconds int) time.Duration {
	if seconds < 0 || seconds > 3600 {
		m.Add(field, "want whole seconds from 1 to 3600, or 0 for one second")
		return time.Second
	}
	return time.Duration(max(seconds, 1)) * time.Second
}

// RawRatesOf is the way back: nil for a deck without prefixes.
func RawRatesOf(deck fraud.Deck) *RawRates {
	if deck.Len() == 0 {
		return nil
	}
	out := &RawRates{Currency: deck.Currency}
	for prefix, rate := range deck.Sorted() {
		one := RawRate{Prefix: prefix, PerMinute: rate.PerMinute.Plain(), Initial: int(rate.Initial / time.Second), Following: int(rate.Following / time.Second)}
		if rate.Connect > 0 {
			one.Connect = rate.Connect.Plain()
		}
		out.Prefixes = append(out.Prefixes, one)
	}
	return out
}
