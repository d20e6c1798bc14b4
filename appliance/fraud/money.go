package fraud

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Money is an amount in millionths of the site's currency unit.
type Money int64

// Unit is one unit of the currency.
const Unit Money = 1_000_000

// String writes an amount with two decimals or, where that would hide something,
// with four.
func (m Money) String() string {
	if m%10_000 != 0 {
		return fmt.Sprintf("%.4f", float64(m)/float64(Unit))
	}
	return fmt.Sprintf("%.2f", float64(m)/float64(Unit))
}

// ParseMoney reads an amount such as "0.0325": digits and at most six decimals.
func ParseMoney(text string) (Money, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	if len(fraction) > 6 || len(whole) > 9 || whole == "" && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, fmt.Errorf("read amount %q: want a number such as 0.0325, at most six decimals", text)
	}
	n, err := strconv.ParseInt("0"+whole+(fraction + "000000")[:6], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read amount %q: %w", text, err)
	}
	return Money(n), nil
}

// Tariff is what calls to a prefix cost. The first pulse is charged when the call
// is answered, every other one when it begins.
type Tariff struct {
	Connect   Money         // once, when answered
	PerMinute Money         // price of a minute, charged by pulses
	Initial   time.Duration // first pulse, whole seconds, at least one
	Following time.Duration // others, whole seconds, at least one
}

// Cost is what a call that has lasted d since its answer has cost so far. It
// rounds up, and an amount beyond all reason stays the largest there is.
func (t Tariff) Cost(d time.Duration) Money {
	initial, following := max(t.Initial, time.Second), max(t.Following, time.Second)
	charged := initial
	if d > initial {
		charged += (d - initial + following - 1) / following * following
	}
	seconds := uint64((charged + time.Second - 1) / time.Second)
	high, low := bits.Mul64(uint64(max(t.PerMinute, 0)), seconds)
	if high != 0 || low > math.MaxInt64/2 {
		return math.MaxInt64 / 4
	}
	return max(t.Connect, 0) + Money((low+59)/60)
}

// Deck is the rates by longest prefix of E.164 digits, without plus.
type Deck struct {
	rates    map[string]Tariff
	longest  int
	fallback [len(classNames)]Tariff
	Currency string // ISO 4217, for display
}

// DefaultDeck has no prefix: each class is charged at a rate that is the worst of
// its kind, so that limits hold for a box that nobody gave a deck. National calls
// are free in it: flat rates are the rule, and no honest one may be refused.
func DefaultDeck() Deck {
	return NewDeck("EUR")
}

func worst() (rates [len(classNames)]Tariff) {
	minute := func(hundredths Money) Tariff {
		return Tariff{PerMinute: hundredths * Unit / 100, Initial: time.Minute, Following: time.Minute}
	}
	rates[Unknown], rates[IntlHigh], rates[Premium], rates[IntlLow] = minute(300), minute(300), minute(300), minute(30)
	return rates
}

// IsCurrency reports whether a code is written as ISO 4217 has them: three capitals.
func IsCurrency(code string) bool {
	return len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// NewDeck returns a deck without a prefix, of a currency of its own.
func NewDeck(currency string) Deck { return Deck{Currency: currency, fallback: worst()} }

// Add adds the rate of a prefix: E.164 digits, with or without plus.
func (d *Deck) Add(prefix string, rate Tariff) error {
	digits := strings.TrimPrefix(prefix, "+")
	if digits == "" || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return fmt.Errorf("prefix %q: want 1 to 15 digits", prefix)
	}
	if _, twice := d.rates[digits]; twice {
		return fmt.Errorf("prefix %s stands there twice", digits)
	}
	if d.Len() == MaxRates {
		return fmt.Errorf("more than %d prefixes", MaxRates)
	}
	d.with(digits, rate)
	return nil
}

// Sorted yields each prefix and its rate, in the order of digits.
func (d *Deck) Sorted() iter.Seq2[string, Tariff] {
	return func(yield func(string, Tariff) bool) {
		for _, prefix := range slices.Sorted(maps.Keys(d.rates)) {
			if !yield(prefix, d.rates[prefix]) {
				return
			}
		}
	}
}

// Rate returns the tariff of a number. Unknown prefixes cost the worst rate of
// the class, or of the deck where that is worse. National numbers that the deck
// does not name are free; emergency and internal ones always are.
func (d *Deck) Rate(number string, class Class) Tariff {
	if class == Emergency || class == Internal {
		return Tariff{}
	}
	digits := strings.TrimPrefix(number, "+")
	for n := min(len(digits), d.longest); n > 0; n-- {
		if rate, ok := d.rates[digits[:n]]; ok {
			return rate
		}
	}
	return d.fallback[min(int(class), len(d.fallback)-1)]
}

// Len returns how many prefixes the deck has.
func (d *Deck) Len() int { return len(d.rates) }

// with adds a rate. Unknown prefixes cost the worst of each of its parts.
func (d *Deck) with(prefix string, rate Tariff) {
	if d.rates == nil {
		d.rates = make(map[string]Tariff)
	}
	d.rates[prefix] = rate
	d.longest = max(d.longest, len(prefix))
	for _, class := range [...]Class{Unknown, IntlHigh} {
		worst := &d.fallback[class]
		worst.Connect, worst.PerMinute = max(worst.Connect, rate.Connect), max(worst.PerMinute, rate.PerMinute)
		worst.Initial, worst.Following = max(worst.Initial, rate.Initial), max(worst.Following, rate.Following)
	}
}

// Period is what a limit is for.
type Period uint8

// The periods.
const (
	PerCall Period = iota
	PerDay
	PerMonth
	periods
)

// String returns "call", "day" or "month".
func (p Period) String() string { return [...]string{"call", "day", "month"}[min(p, PerMonth)] }

// Limit bounds what a subject may spend. Name is empty for each subject of the
// kind; a limit that names one counts for it instead of that one.
type Limit struct {
	Kind   Kind
	Name   string
	Per    Period
	Amount Money
}

// limit returns the amount for a subject, and false where there is none.
func (c *Config) limit(of Subject, per Period) (Money, bool) {
	amount, found := Money(0), false
	for _, limit := range c.Limits {
		if limit.Kind != of.Kind || limit.Per != per {
			continue
		}
		if limit.Name == of.Name && of.Kind != Site {
			return limit.Amount, true
		}
		if limit.Name == "" {
			amount, found = limit.Amount, true
		}
	}
	return amount, found
}

// reserveFor is how long a call must be able to go on for it to be let through:
// the first minute, or the first pulse where that is longer.
const reserveFor = time.Minute

// reserve is what a call costs at least once it is answered.
func reserve(rate Tariff) Money { return rate.Cost(max(reserveFor, rate.Initial)) }

// Plain writes an amount as ParseMoney reads it, without zeros that say nothing.
func (m Money) Plain() string {
	text := fmt.Sprintf("%d.%06d", m/Unit, m%Unit)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
