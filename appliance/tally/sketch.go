// Package tally counts what is too many to count: which sources and ports
// dropped packets come from most, over the last minutes, hours and day, in
// memory that no flood can grow.
//
// It is paper: the clock is an argument.
package tally

import (
	"cmp"
	"slices"
)

// Count is one key of a ranking. What it really has is between Count-Over and
// Count.
type Count[K comparable] struct {
	Key   K
	Count uint64
	Over  uint64
}

// Sketch is a Space-Saving summary of a stream (A. Metwally, D. Agrawal and
// A. El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data
// Streams, ICDT 2005): it holds at most so many keys, and where a new one comes,
// the key with the least count makes room and leaves its count to it.
//
// With N the weight of the stream and k the number of keys held, no count is too
// low, none is too high by more than N/k, and every key of more than N/k is
// held. The zero Sketch holds nothing; make one with NewSketch.
type Sketch[K comparable] struct {
	keys  int
	total uint64
	heap  []Count[K] // the least count first
	place map[K]int  // in heap
}

// NewSketch returns an empty sketch of so many keys, at least one.
func NewSketch[K comparable](keys int) *Sketch[K] {
	return &Sketch[K]{keys: max(keys, 1), place: make(map[K]int)}
}

// Total returns the weight of the stream.
func (s *Sketch[K]) Total() uint64 { return s.total }

// Add counts a key so many times.
func (s *Sketch[K]) Add(key K, weight uint64) {
	s.total += weight
	at, held := s.place[key]
	switch {
	case held:
		s.heap[at].Count += weight
	case len(s.heap) < s.keys:
		at = len(s.heap)
		s.heap = append(s.heap, Count[K]{Key: key, Count: weight})
		s.place[key] = at
		s.up(at)
		return
	default:
		at = 0
		least := s.heap[0]
		delete(s.place, least.Key)
		s.heap[0] = Count[K]{Key: key, Count: least.Count + weight, Over: least.Count}
		s.place[key] = 0
	}
	s.down(at)
}

// least is what a key that is not held may have at most.
func (s *Sketch[K]) least() uint64 {
	if len(s.heap) < s.keys {
		return 0
	}
	return s.heap[0].Count
}

func (s *Sketch[K]) up(at int) {
	for at > 0 {
		parent := (at - 1) / 2
		if s.heap[parent].Count <= s.heap[at].Count {
			return
		}
		s.swap(at, parent)
		at = parent
	}
}

func (s *Sketch[K]) down(at int) {
	for {
		child := 2*at + 1
		if child >= len(s.heap) {
			return
		}
		if child+1 < len(s.heap) && s.heap[child+1].Count < s.heap[child].Count {
			child++
		}
		if s.heap[at].Count <= s.heap[child].Count {
			return
		}
		s.swap(at, child)
		at = child
	}
}

func (s *Sketch[K]) swap(a, b int) {
	s.heap[a], s.heap[b] = s.heap[b], s.heap[a]
	s.place[s.heap[a].Key], s.place[s.heap[b].Key] = a, b
}

// merge ranks the keys of several sketches together, the most first; less breaks
// ties. What a sketch does not hold it may have seen as often as its least key,
// which is counted and stands in Over (P. K. Agarwal and others: Mergeable
// Summaries, PODS 2012): no count is too low, and none too high by more than the
// sum of N/k over the sketches.
func merge[K comparable](sketches []*Sketch[K], less func(a, b K) int) []Count[K] {
	rest := uint64(0)
	for _, one := range sketches {
		rest += one.least()
	}
	united := make(map[K]Count[K])
	for _, one := range sketches {
		for _, count := range one.heap {
			sum, found := united[count.Key]
			if !found {
				sum = Count[K]{Key: count.Key, Count: rest, Over: rest}
			}
			// Held here, it is not among the rest of this sketch.
			sum.Count += count.Count - one.least()
			sum.Over = sum.Over - one.least() + count.Over
			united[count.Key] = sum
		}
	}
	out := make([]Count[K], 0, len(united))
	for _, one := range united {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Count[K]) int { return cmp.Or(cmp.Compare(b.Count, a.Count), less(a.Key, b.Key)) })
	return out
}
