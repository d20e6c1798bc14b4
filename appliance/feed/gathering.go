package feed

import (
	"bytes"
	"slices"
)

// gathering is a feed on its way to a List. The zero value is ready for use.
type gathering struct {
	v4      []Range4
	v6      []Range6
	entries int
	room    int // how many entries there may be
}

// expect takes as many entries for granted as the feed has lines, so that a
// long list is not copied again and again while it grows.
func (g *gathering) expect(data []byte) {
	g.room = min(1+bytes.Count(data, []byte{'\n'}), MaxEntries)
}

// add takes one entry. What is beyond MaxEntries is only counted: the refusal
// says how many there are.
func (g *gathering) add(s span) {
	g.entries++
	switch {
	case g.entries > MaxEntries:
	case s.six:
		g.v6 = append(reserve(g.v6, g.room), s.v6)
	default:
		g.v4 = append(reserve(g.v4, g.room), s.v4)
	}
}

// reserve makes room in a list that is yet to begin.
func reserve[R any](list []R, room int) []R {
	if list == nil {
		return make([]R, 0, room)
	}
	return list
}

// list merges what was gathered and takes local space out.
func (g *gathering) list() (List, error) {
	if g.entries == 0 {
		return List{}, invalid("feed", "is empty; a feed without entries is taken for a damaged one")
	}
	if g.entries > MaxEntries {
		return List{}, invalid("feed", "has %d entries; at most %d are read", g.entries, MaxEntries)
	}
	out := List{V4: merge4(g.v4), V6: merge6(g.v6), Entries: g.entries}
	for _, local := range localRanges4() {
		out.V4 = cut4(out.V4, local)
	}
	for _, local := range localRanges6() {
		out.V6 = cut6(out.V6, local)
	}
	out.V4, out.V6 = fit(out.V4), fit(out.V6)
	if len(out.V4)+len(out.V6) == 0 {
		return List{}, invalid("feed", "holds local addresses only, which no feed can deny")
	}
	return out, nil
}

// fit gives back the memory that merging set free. An empty slice becomes nil.
func fit[R any](list []R) []R {
	if len(list) == 0 {
		return nil
	}
	if cap(list)-len(list) < len(list)/8 {
		return list
	}
	return append(make([]R, 0, len(list)), list...)
}

// localRanges4 are the addresses that no feed can deny, ascending: "this
// network", private, carrier-grade NAT, loopback, link-local, and all from
// multicast on (RFC 6890, section 2.2.2; RFC 5771; RFC 1112, section 4).
func localRanges4() [8]Range4 {
	return [8]Range4{
		{0x00000000, 0x00ffffff}, // 0.0.0.0/8
		{0x0a000000, 0x0affffff}, // 10.0.0.0/8
		{0x64400000, 0x647fffff}, // 100.64.0.0/10
		{0x7f000000, 0x7fffffff}, // 127.0.0.0/8
		{0xa9fe0000, 0xa9feffff}, // 169.254.0.0/16
		{0xac100000, 0xac1fffff}, // 172.16.0.0/12
		{0xc0a80000, 0xc0a8ffff}, // 192.168.0.0/16
		{0xe0000000, 0xffffffff}, // 224.0.0.0/3
	}
}

// localRanges6 are the same: unspecified and loopback (RFC 4291, section 2.5),
// unique local (RFC 4193), link-local and site-local (RFC 4291, section 2.5.6;
// RFC 3879), and multicast, which follows at once.
func localRanges6() [3]Range6 {
	const all = ^uint64(0)
	return [3]Range6{
		{Address6{0, 0}, Address6{0, 1}},                             // ::/127
		{Address6{0xfc << 56, 0}, Address6{0xfdffffffffffffff, all}}, // fc00::/7
		{Address6{0xfe80 << 48, 0}, Address6{all, all}},              // fe80::/10, fec0::/10, ff00::/8
	}
}

// local4 tells whether all of a range is local.
func local4(r Range4) bool {
	local := localRanges4()
	return slices.ContainsFunc(local[:], func(l Range4) bool { return l.First <= r.First && r.Last <= l.Last })
}

// local6 is local4 for the other family.
func local6(r Range6) bool {
	local := localRanges6()
	return slices.ContainsFunc(local[:], func(l Range6) bool { return !r.First.Less(l.First) && !l.Last.Less(r.Last) })
}
