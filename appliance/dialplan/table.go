package dialplan

import (
	"fmt"
	"slices"
)

// MaxDigits is the longest E.164 number (ITU-T E.164, section 6).
const MaxDigits = 15

// Table finds the longest prefix of a number among many. It is immutable, safe
// for concurrent use, and holds 12 bytes for each edge of a prefix. The zero
// Table holds nothing.
//
// A prefix is an interval on the line of all digit strings in dictionary order.
// Intervals nest and never cross, so the line falls into stretches that each
// have one longest prefix, and a lookup is one binary search.
type Table struct {
	edges []uint64 // ascending: where each stretch begins
	owner []int32  // the prefix that a stretch belongs to, or none
}

const none = -1

// NewTable builds a table of prefixes: a plus and 1 to MaxDigits digits each.
// Of equal prefixes the first one wins.
func NewTable(prefixes []string) (Table, error) {
	type interval struct {
		from, to uint64
		index    int32
	}
	sorted := make([]interval, 0, len(prefixes))
	for i, prefix := range prefixes {
		if len(prefix) < 2 || len(prefix) > MaxDigits+1 || prefix[0] != '+' || !allDigits(prefix[1:]) {
			return Table{}, fmt.Errorf("build prefix table: %q is not a prefix", prefix)
		}
		from := position(prefix)
		sorted = append(sorted, interval{from, from + span[len(prefix)-1], int32(i)})
	}
	slices.SortStableFunc(sorted, func(a, b interval) int {
		switch {
		case a.from < b.from:
			return -1
		case a.from > b.from:
			return 1
		default:
			return 0
		}
	})
	var t Table
	var open []interval
	closeUntil := func(at uint64) {
		for len(open) > 0 && open[len(open)-1].to <= at {
			end := open[len(open)-1].to
			open = open[:len(open)-1]
			outer := int32(none)
			if len(open) > 0 {
				outer = open[len(open)-1].index
			}
			t.mark(end, outer)
		}
	}
	for i, one := range sorted {
		if i > 0 && one.from == sorted[i-1].from {
			continue
		}
		closeUntil(one.from)
		t.mark(one.from, one.index)
		open = append(open, one)
	}
	closeUntil(^uint64(0))
	return t, nil
}

// mark begins a stretch. One that begins where the last one did replaces it.
func (t *Table) mark(at uint64, owner int32) {
	if n := len(t.edges); n > 0 && t.edges[n-1] == at {
		t.owner[n-1] = owner
		return
	}
	t.edges = append(t.edges, at)
	t.owner = append(t.owner, owner)
}

// Lookup returns the index of the longest prefix of number, which begins with a
// plus, or false where there is none. It allocates nothing.
func (t *Table) Lookup(number string) (int, bool) {
	if len(number) < 2 || number[0] != '+' {
		return 0, false
	}
	at := position(number)
	low, high := 0, len(t.edges) // the first edge behind at lies between
	for low < high {
		if middle := int(uint(low+high) >> 1); t.edges[middle] > at {
			high = middle
		} else {
			low = middle + 1
		}
	}
	if low == 0 || t.owner[low-1] == none {
		return 0, false
	}
	return int(t.owner[low-1]), true
}

// span is the width of the interval of a prefix by its number of digits.
var span = func() (out [MaxDigits + 1]uint64) {
	width := uint64(1)
	for n := MaxDigits; n >= 0; n-- {
		out[n] = width
		width *= base
	}
	return out
}()

// base leaves one value for "no digit here", so that +252 is not +2520: the
// 15 places of base 11 fit into 52 bits.
const base = 11

// position returns the place of a number on the line. Digits beyond MaxDigits
// don't move it; a character that is no digit ends the number.
func position(number string) uint64 {
	var at uint64
	i := 1
	for ; i < len(number) && i <= MaxDigits && isDigit(number[i]); i++ {
		at += uint64(number[i]-'0'+1) * span[i]
	}
	return at
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}
