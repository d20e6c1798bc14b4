package figures

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Result is all that a run of the benchmarks said.
type Result struct {
	Figures map[string]float64 `json:"figures"`
	Raw     map[string]float64 `json:"raw"` // nanoseconds a packet, medians of the rounds
	Curves  []Point            `json:"curves"`
	Notes   []string           `json:"notes,omitempty"`
}

// Point is one of a curve in the chart: what a packet costs with a list of so
// many networks, in multiples of a bare XDP_DROP.
type Point struct {
	Series   string  `json:"series"`
	Prefixes int     `json:"prefixes"`
	Cost     float64 `json:"cost"`
}

// Read takes one line of a benchmark's output:
//
//	figure KEY VALUE           of the table
//	raw KEY VALUE              a median time; the key may hold spaces
//	curve PREFIXES COST SERIES
//	# NOTE                     what could not be measured, and why
//
// It returns false for every other line. A figure that the table does not know
// is an error.
func (r *Result) Read(line string) (bool, error) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "figure":
		if r.Figures == nil {
			r.Figures = map[string]float64{}
		}
		key, err := put(r.Figures, rest)
		if err == nil && !known(key) {
			err = fmt.Errorf("there is no figure %s", key)
		}
		return true, err
	case "raw":
		if r.Raw == nil {
			r.Raw = map[string]float64{}
		}
		_, err := put(r.Raw, rest)
		return true, err
	case "curve":
		return true, r.point(rest)
	case "#":
		if !slices.Contains(r.Notes, rest) {
			r.Notes = append(r.Notes, rest)
		}
		return true, nil
	}
	return false, nil
}

func put(into map[string]float64, text string) (key string, err error) {
	at := strings.LastIndexByte(text, ' ')
	if at < 0 {
		return "", fmt.Errorf("%q: want a key and a value", text)
	}
	key = text[:at]
	value, err := strconv.ParseFloat(text[at+1:], 64)
	if err != nil {
		return "", fmt.Errorf("value of %s: %w", key, err)
	}
	into[key] = value
	return key, nil
}

func known(key string) bool {
	for _, f := range Table() {
		if f.Key == key {
			return true
		}
	}
	return false
}

func (r *Result) point(text string) error {
	parts := strings.SplitN(text, " ", 3)
	if len(parts) < 3 {
		return fmt.Errorf("curve %q: want prefixes, cost and series", text)
	}
	prefixes, err := strconv.Atoi(parts[0])
	if err != nil {
		return fmt.Errorf("curve %q: %w", text, err)
	}
	cost, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return fmt.Errorf("curve %q: %w", text, err)
	}
	r.Curves = append(r.Curves, Point{parts[2], prefixes, cost})
	return nil
}
