package fraud

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// deckColumns is the first line of a rate deck. The last three may be missing:
// no fee, and pulses of a second.
var deckColumns = []string{"prefix", "per_minute", "connect", "initial", "following"}

// MaxRates is how many prefixes a deck may have.
const MaxRates = 200_000

// ParseDeck reads a rate deck from CSV: a line of column names, then one prefix
// a line: E.164 digits with or without plus, price of a minute, connection fee,
// seconds of the first and of the following pulses. A deck with a bad line is
// refused whole; the error names the line.
func ParseDeck(from io.Reader, currency string) (Deck, error) {
	reader := csv.NewReader(from)
	reader.FieldsPerRecord = -1
	reader.TrimLeadingSpace = true
	header, err := reader.Read()
	if err != nil || !isDeckHeader(header) {
		return Deck{}, fmt.Errorf("read rate deck: line 1: want the columns %s (the last three may be left out)", strings.Join(deckColumns, ","))
	}
	deck := NewDeck(currency)
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Deck{}, fmt.Errorf("read rate deck: %w", broken(err))
		}
		if err := deck.line(fields, len(header)); err != nil {
			line, _ := reader.FieldPos(0)
			return Deck{}, fmt.Errorf("read rate deck: line %d: %w", line, err)
		}
	}
	if deck.Len() == 0 {
		return Deck{}, errors.New("read rate deck: it has no rates")
	}
	return deck, nil
}

// broken says where CSV can't be read, in this file's words.
func broken(err error) error {
	if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d: %w", wrong.StartLine, wrong.Err)
	}
	return err
}

func isDeckHeader(header []string) bool {
	if len(header) < 2 || len(header) > len(deckColumns) {
		return false
	}
	for i, name := range header {
		if strings.TrimSpace(name) != deckColumns[i] {
			return false
		}
	}
	return true
}

func (d *Deck) line(fields []string, columns int) error {
	if len(fields) != columns {
		return fmt.Errorf("want %d fields, found %d", columns, len(fields))
	}
	rate := Tariff{Initial: time.Second, Following: time.Second}
	for i, field := range fields[1:] {
		if err := rate.set(deckColumns[i+1], field); err != nil {
			return err
		}
	}
	return d.Add(fields[0], rate)
}

func (t *Tariff) set(column, text string) (err error) {
	switch column {
	case "per_minute":
		t.PerMinute, err = ParseMoney(text)
	case "connect":
		t.Connect, err = ParseMoney(text)
	case "initial":
		t.Initial, err = pulse(text)
	case "following":
		t.Following, err = pulse(text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", column, err)
	}
	return nil
}

// pulse reads a length in whole seconds, up to an hour.
func pulse(text string) (time.Duration, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 3600 {
		return 0, fmt.Errorf("%q: want whole seconds from 1 to 3600", text)
	}
	return time.Duration(n) * time.Second, nil
}
