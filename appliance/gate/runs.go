package gate

import (
	"cmp"
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance/feed"
)

// address is a point of an address space: a totally ordered A whose zero value
// is the lowest.
type address[A any] interface {
	comparable
	Compare(A) int
	// next returns the address after, and false at the end of the space.
	next() (A, bool)
	// before returns the address before one that is not the lowest.
	before() A
	ip() netip.Addr
}

type addr4 uint32

// Compare orders addresses.
func (a addr4) Compare(b addr4) int { return cmp.Compare(a, b) }

func (a addr4) next() (addr4, bool) { return a + 1, a+1 != 0 }

func (a addr4) before() addr4 { return a - 1 }

func (a addr4) ip() netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(a))))
}

type addr6 feed.Address6

// Compare orders addresses.
func (a addr6) Compare(b addr6) int {
	if order := cmp.Compare(a.High, b.High); order != 0 {
		return order
	}
	return cmp.Compare(a.Low, b.Low)
}

func (a addr6) next() (addr6, bool) {
	a.Low++
	if a.Low == 0 {
		a.High++
	}
	return a, a != addr6{}
}

func (a addr6) before() addr6 {
	if a.Low == 0 {
		a.High--
	}
	a.Low--
	return a
}

func (a addr6) ip() netip.Addr {
	bytes := binary.BigEndian.AppendUint64(nil, a.High)
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(bytes, a.Low)))
}

// span is an inclusive range of addresses that belong to a class.
type span[A address[A]] struct {
	first, last A
	class       uint8
}

// run is a stretch of addresses of one class. It ends where the next one begins.
type run[A address[A]] struct {
	first A
	class uint8
}

// partition turns spans, which nest, touch and repeat but never overlap
// otherwise, into the fewest runs that cover the whole address space from its
// lowest address on. An address has the classes of every span that it lies in,
// as a set of bits. There are about count spans; those that come outermost first
// are read once and never held.
func partition[A address[A]](spans iter.Seq[span[A]], count int) []run[A] {
	s := sweep[A]{runs: make([]run[A], 1, 2*count+1)}
	if !s.over(spans) {
		s = sweep[A]{runs: append(s.runs[:0], run[A]{})}
		s.over(slices.Values(slices.SortedFunc(spans, outermostFirst[A])))
	}
	return s.runs
}

func outermostFirst[A address[A]](a, b span[A]) int {
	if order := a.first.Compare(b.first); order != 0 {
		return order
	}
	return b.last.Compare(a.last)
}

// sweep walks the address space upwards. Spans either nest or are apart, so the
// ones that hold the current address are a stack.
type sweep[A address[A]] struct {
	runs []run[A]
	open []span[A] // innermost last; the class is its own and that of all around it
}

// over walks along all spans, or returns false at one that is out of order.
func (s *sweep[A]) over(spans iter.Seq[span[A]]) bool {
	var before span[A]
	begun := false
	for one := range spans {
		if begun && outermostFirst(before, one) > 0 {
			return false
		}
		before, begun = one, true
		for len(s.open) > 0 && s.open[len(s.open)-1].last.Compare(one.first) < 0 {
			s.leave()
		}
		one.class |= s.class()
		s.open = append(s.open, one)
		s.put(one.first, one.class)
	}
	for len(s.open) > 0 {
		s.leave()
	}
	return true
}

func (s *sweep[A]) class() uint8 {
	if len(s.open) == 0 {
		return 0
	}
	return s.open[len(s.open)-1].class
}

func (s *sweep[A]) leave() {
	after, more := s.open[len(s.open)-1].last.next()
	s.open = s.open[:len(s.open)-1]
	if more {
		s.put(after, s.class())
	}
}

// put begins a run, in the place of one that begins at the same address; a run
// that continues the one before it is none.
func (s *sweep[A]) put(first A, class uint8) {
	n := len(s.runs)
	if n > 0 && s.runs[n-1].first == first {
		n--
	}
	s.runs = s.runs[:n]
	if n == 0 || s.runs[n-1].class != class {
		s.runs = append(s.runs, run[A]{first, class})
	}
}

// overlay lays the first partition over the second: where it has a class, that
// one counts.
func overlay[A address[A]](over, under []run[A]) []run[A] {
	out := make([]run[A], 0, len(over)+len(under))
	var above, below uint8
	for len(over) > 0 || len(under) > 0 {
		first, order := lower(over, under)
		if order <= 0 {
			above, over = over[0].class, over[1:]
		}
		if order >= 0 {
			below, under = under[0].class, under[1:]
		}
		class := cmp.Or(above, below)
		if len(out) == 0 || out[len(out)-1].class != class {
			out = append(out, run[A]{first, class})
		}
	}
	return out
}

// lower returns the lower of the two next addresses, and whose it is: below 0 the
// first's, above 0 the second's, 0 both's.
func lower[A address[A]](a, b []run[A]) (A, int) {
	if len(a) == 0 {
		return b[0].first, 1
	}
	if len(b) == 0 {
		return a[0].first, -1
	}
	order := a[0].first.Compare(b[0].first)
	if order > 0 {
		return b[0].first, order
	}
	return a[0].first, order
}

// overlayAll lays each partition over those after it, in halves, so that many
// short feeds cost what one long one does, times the logarithm of their number.
func overlayAll[A address[A]](layers [][]run[A]) []run[A] {
	switch len(layers) {
	case 0:
		return make([]run[A], 1)
	case 1:
		return layers[0]
	}
	half := len(layers) / 2
	return overlay(overlayAll(layers[:half]), overlayAll(layers[half:]))
}
