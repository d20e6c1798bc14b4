package fraud

import "time"

// slots counts over a sliding span: n slots of one width, and the one that is
// being left. What has happened is never forgotten early; it may count for up
// to one slot longer.
type slots struct {
	width  time.Duration
	counts []uint16
	head   int64 // number of the newest slot
	total  int
}

func newSlots(span time.Duration, n int) slots {
	return slots{width: span / time.Duration(n), counts: make([]uint16, n+1)}
}

// advance makes room for now. A clock that went back changes nothing.
func (s *slots) advance(up time.Duration) {
	now := int64(up / s.width)
	if now <= s.head {
		return
	}
	for gone := min(now-s.head, int64(len(s.counts))); gone > 0; gone-- {
		old := &s.counts[(now-gone+1)%int64(len(s.counts))]
		s.total -= int(*old)
		*old = 0
	}
	s.head = now
}

// add counts n more and returns the sum of the span.
func (s *slots) add(up time.Duration, n uint16) int {
	s.advance(up)
	slot := &s.counts[s.head%int64(len(s.counts))]
	before := *slot
	*slot = min(before, ^uint16(0)-n) + n
	s.total += int(*slot - before)
	return s.total
}

// sum returns the count of the span that ends now.
func (s *slots) sum(up time.Duration) int {
	s.advance(up)
	return s.total
}

// entry is what is remembered of one attempt to a chargeable destination.
type entry struct {
	up      time.Duration
	number  uint64 // hash of the whole number
	tail    uint64 // hash of its last digits
	country uint32 // hash
	class   Class
	refused bool
	misdial bool
	quiet   bool // outside hours
	// familiar is a country that the extension calls by day.
	familiar bool
}

// recent is the latest entries of a subject, as a ring.
type recent struct {
	ring []entry // grows up to size
	size int
	next int
}

func newRecent(size int) recent { return recent{size: size} }

// add remembers an entry, in the place of the oldest where the ring is full.
func (r *recent) add(e entry) {
	if len(r.ring) < r.size {
		r.ring = append(r.ring, e)
		return
	}
	r.ring[r.next] = e
	r.next = (r.next + 1) % r.size
}

// each visits the entries since a moment, the newest first, until f says no.
func (r *recent) each(since time.Duration, f func(*entry) bool) {
	for _, part := range [...][]entry{r.ring[:r.next], r.ring[r.next:]} {
		for i := len(part) - 1; i >= 0; i-- {
			if part[i].up < since || !f(&part[i]) {
				return
			}
		}
	}
}

// few is a set of at most its capacity of hashes: enough to count up to a
// threshold without a map for every question.
type few struct {
	seen [maxDistinct]uint64
	n    int
}

// maxDistinct is how far few counts. Thresholds above it are no use.
const maxDistinct = 64

// add returns how many different ones there have been.
func (f *few) add(hash uint64) int {
	for _, one := range f.seen[:f.n] {
		if one == hash {
			return f.n
		}
	}
	if f.n < maxDistinct {
		f.seen[f.n] = hash
		f.n++
	}
	return f.n
}

// hashOf is FNV-1a, 64 bits (draft-eastlake-fnv): the same on every run, which
// replays need. An attacker who makes numbers collide makes them count as one
// and is still counted by rate.
func hashOf(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(text); i++ {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}
