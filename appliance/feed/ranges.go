package feed

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// Range4 is an inclusive range of IPv4 addresses in host order.
type Range4 struct{ First, Last uint32 }

// Address6 is an IPv6 address in host order.
type Address6 struct{ High, Low uint64 }

// Range6 is an inclusive range of IPv6 addresses.
type Range6 struct{ First, Last Address6 }

// Compare orders addresses: -1 where a comes before b, 0 where they are equal,
// 1 otherwise.
func (a Address6) Compare(b Address6) int {
	if order := cmp.Compare(a.High, b.High); order != 0 {
		return order
	}
	return cmp.Compare(a.Low, b.Low)
}

// Less tells whether a comes before b.
func (a Address6) Less(b Address6) bool {
	return a.High < b.High || a.High == b.High && a.Low < b.Low
}

// next returns the address after a; after the last one comes the first.
func (a Address6) next() Address6 {
	if a.Low++; a.Low == 0 {
		a.High++
	}
	return a
}

func (a Address6) previous() Address6 {
	if a.Low == 0 {
		a.High--
	}
	a.Low--
	return a
}

// Contains tells whether the list holds an address, in a binary search that
// allocates nothing. An IPv4-mapped address is its IPv4 one, a zone says
// nothing, and the zero Addr is nowhere.
func (l List) Contains(a netip.Addr) bool {
	switch a = a.Unmap(); {
	case a.Is4():
		at := address4(a)
		i := sort.Search(len(l.V4), func(i int) bool { return l.V4[i].Last >= at })
		return i < len(l.V4) && l.V4[i].First <= at
	case a.Is6():
		at := address6(a)
		i := sort.Search(len(l.V6), func(i int) bool { return !l.V6[i].Last.Less(at) })
		return i < len(l.V6) && !at.Less(l.V6[i].First)
	default:
		return false
	}
}

func address4(a netip.Addr) uint32 {
	bytes := a.As4()
	return binary.BigEndian.Uint32(bytes[:])
}

func address6(a netip.Addr) Address6 {
	bytes := a.As16()
	return Address6{binary.BigEndian.Uint64(bytes[:8]), binary.BigEndian.Uint64(bytes[8:])}
}

// sort4 sorts ranges by where they begin. Lists mostly come sorted; others take
// one pass for each byte of an address, which asks for no guess of the CPU: on a
// million random ranges that is several times as fast as comparing.
func sort4(list []Range4) {
	if slices.IsSortedFunc(list, func(a, b Range4) int { return cmp.Compare(a.First, b.First) }) {
		return
	}
	from, to := list, make([]Range4, len(list))
	for shift := 0; shift < 32; shift += 8 { // an even number of times, so that list holds the result
		var next [256]int
		for _, r := range from {
			next[r.First>>shift&0xff]++
		}
		at := 0
		for digit, count := range next {
			next[digit], at = at, at+count
		}
		for _, r := range from {
			digit := r.First >> shift & 0xff
			to[next[digit]] = r
			next[digit]++
		}
		from, to = to, from
	}
}

// merge4 sorts ranges in place and joins those that overlap or touch.
func merge4(list []Range4) []Range4 {
	sort4(list)
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && uint64(r.First) <= uint64(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// merge6 is merge4 for the other family.
func merge6(list []Range6) []Range6 {
	slices.SortFunc(list, func(a, b Range6) int { return a.First.Compare(b.First) })
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && !apart(out[n-1].Last, r.First) {
			if out[n-1].Last.Less(r.Last) {
				out[n-1].Last = r.Last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// apart tells whether there is an address between the end of one range and the
// beginning of another.
func apart(last, first Address6) bool { return last.Less(first) && last.next() != first }

// cut4 takes a hole out of ascending, disjoint ranges.
func cut4(list []Range4, hole Range4) []Range4 {
	from := sort.Search(len(list), func(i int) bool { return list[i].Last >= hole.First })
	to := sort.Search(len(list), func(i int) bool { return list[i].First > hole.Last })
	if from == to {
		return list
	}
	var rest []Range4
	if first := list[from].First; first < hole.First {
		rest = append(rest, Range4{first, hole.First - 1})
	}
	if last := list[to-1].Last; last > hole.Last {
		rest = append(rest, Range4{hole.Last + 1, last})
	}
	return slices.Replace(list, from, to, rest...)
}

// cut6 is cut4 for the other family.
func cut6(list []Range6, hole Range6) []Range6 {
	from := sort.Search(len(list), func(i int) bool { return !list[i].Last.Less(hole.First) })
	to := sort.Search(len(list), func(i int) bool { return hole.Last.Less(list[i].First) })
	if from == to {
		return list
	}
	var rest []Range6
	if first := list[from].First; first.Less(hole.First) {
		rest = append(rest, Range6{first, hole.First.previous()})
	}
	if last := list[to-1].Last; hole.Last.Less(last) {
		rest = append(rest, Range6{hole.Last.next(), last})
	}
	return slices.Replace(list, from, to, rest...)
}
