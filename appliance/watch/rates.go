package watch

import (
	"bytes"
	"errors"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// SetRates imports a rate deck from CSV and puts it in force, or changes nothing.
func (w *Watch) SetRates(data []byte, currency string) (rates int, err error) {
	if !fraud.IsCurrency(currency) {
		return 0, &appliance.Error{Code: appliance.CodeInvalid, Field: "currency", Message: "want three letters, like AUD"}
	}
	if !w.Rules().OwnRates() {
		return 0, &appliance.Error{Code: appliance.CodeForbidden, Field: "rates", Message: "the policy brings the rates, and does not let this site replace them"}
	}
	deck, err := fraud.ParseDeck(bytes.NewReader(data), currency)
	if err != nil {
		return 0, &appliance.Error{Code: appliance.CodeInvalid, Field: "rates", Message: strings.TrimPrefix(err.Error(), "read rate deck: ")}
	}
	if err := w.Keeper.Keep(keptRates, append([]byte(currency+"\n"), data...)); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deck = deck
	return deck.Len(), w.engine.Configure(w.config(), w.digest)
}

// Rates returns how many prefixes the deck in force has, and its currency.
func (w *Watch) Rates() (int, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	deck := w.config().Deck
	return deck.Len(), deck.Currency
}

func (w *Watch) loadRates() (deck fraud.Deck) {
	w.take(keptRates, func(data []byte) (err error) {
		currency, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return errors.New("read rate deck: it has no currency")
		}
		deck, err = fraud.ParseDeck(bytes.NewReader(rest), string(currency))
		return err
	})
	return deck
}
