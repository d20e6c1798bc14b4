package gate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
)

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// pick returns one of several, each as likely.
func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// randomSources returns networks of one family: short and long ones, crowded
// into few places so that they nest, touch and repeat.
func randomSources(random *rand.Rand, v6 bool, n int) (sources []rules.Source) {
	for range n {
		source := rules.Source{
			Prefix:   randomPrefix(random, v6),
			Services: uint8(random.IntN(1 << rules.Services)),
			Firm:     random.IntN(4) == 0,
		}
		switch random.IntN(12) {
		case 0:
			source.Services |= 0x10 << random.IntN(4) // a bit that means nothing
		case 1:
			source.Services = 0
		case 2: // again
			source.Prefix = pick(random, append(sources, source)...).Prefix
		}
		sources = append(sources, source)
	}
	return sources
}

// randomAddress crowds addresses into few places. Half of IPv6's are of two
// /64s, and some are IPv4-mapped.
func randomAddress(random *rand.Rand, v6 bool) netip.Addr {
	octets := make([]byte, 4)
	if v6 {
		octets = make([]byte, 16)
	}
	for i := range octets {
		octets[i] = pick(random, 0, 0, 1, 128, 255, byte(random.Uint32()))
	}
	if v6 && random.IntN(2) == 0 {
		copy(octets, []byte{0x20, 1, 0x0d, 0xb8, 0, 0, 0, byte(random.IntN(2))})
	} else if v6 && random.IntN(6) == 0 {
		copy(octets, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255})
	}
	address, _ := netip.AddrFromSlice(octets)
	return address
}

func randomPrefix(random *rand.Rand, v6 bool) netip.Prefix {
	address := randomAddress(random, v6)
	size := address.BitLen()
	length := random.IntN(size + 1)
	switch random.IntN(4) {
	case 0:
		length = size - random.IntN(3)
	case 1:
		length = size/2 + random.IntN(size/2+1) // of IPv6: within a /64
	}
	return netip.PrefixFrom(address, length).Masked()
}

// randomGuard crowds everything that a perimeter can hold.
func randomGuard(random *rand.Rand) rules.Guard {
	var guard rules.Guard
	if random.IntN(20) == 0 {
		return guard
	}
	if random.IntN(20) > 0 {
		guard.Ports = randomPorts(random)
	}
	guard.Sources = append(randomSources(random, false, random.IntN(12)), randomSources(random, true, random.IntN(12))...)
	for i := range random.IntN(9) {
		guard.Feeds = append(guard.Feeds, rules.Feed{Name: fmt.Sprintf("feed%d", i), List: randomList(random)})
	}
	for service := range guard.Limits {
		guard.Limits[service] = randomLimit(random)
	}
	guard.Media = rules.MediaGuard(random.IntN(3))
	if random.IntN(40) == 0 {
		enlarge(random, &guard)
	}
	return guard
}

// enlarge adds tables of thousands of entries.
func enlarge(random *rand.Rand, guard *rules.Guard) {
	const most = 5000
	switch random.IntN(3) {
	case 0:
		guard.Sources = append(guard.Sources, scattered(random.IntN(most), random.IntN(2) == 0)...)
	case 1:
		guard.Feeds = append(guard.Feeds, rules.Feed{Name: "long", List: longList(random, random.IntN(8*most))})
	case 2:
		guard.Sources = append(guard.Sources, scattered(random.IntN(most), false)...)
		guard.Sources = append(guard.Sources, scattered(random.IntN(most), true)...)
		guard.Feeds = append(guard.Feeds, rules.Feed{Name: "long", List: longList(random, random.IntN(2*most))})
	}
}

func randomPorts(random *rand.Rand) (ports [rules.Services][]uint16) {
	all := map[uint16]bool{0: random.IntN(2) == 0, 65535: true}
	for _, port := range rules.StandardPorts() {
		all[port] = random.IntN(3) > 0
	}
	for range random.IntN(6) {
		all[uint16(random.Uint32())] = true
	}
	for port, listed := range all {
		if listed {
			service := pick(random, rules.ServiceSIP, rules.ServiceHTTP, rules.ServiceOpen)
			ports[service] = append(ports[service], port)
		}
	}
	for _, of := range ports {
		slices.Sort(of)
	}
	return ports
}

// randomLimit returns a limit by which a story of a moment is judged the same
// whatever its frames' times: one that a second refills, or that no story uses up.
func randomLimit(random *rand.Rand) rules.Limit {
	return pick(random,
		rules.Limit{},
		rules.Limit{Burst: 1},
		rules.Limit{PerSecond: 1, Burst: 1},
		rules.Limit{PerSecond: 1, Burst: uint32(1 + random.IntN(5))},
		rules.Limit{PerSecond: 1, Burst: 1<<32 - 1},
		rules.Limit{PerSecond: 1000, Burst: 100_000},
		rules.Limit{PerSecond: 1<<32 - 1, Burst: 1},
		rules.Limit{PerSecond: 1<<32 - 1, Burst: 1<<32 - 1},
	)
}

// randomList returns ranges that are seldom prefixes.
func randomList(random *rand.Rand) feed.List {
	var v4, v6 []stretch
	for range random.IntN(6) {
		v4 = append(v4, randomSpan(random, false))
	}
	for range random.IntN(6) {
		v6 = append(v6, randomSpan(random, true))
	}
	return listOf(v4, v6)
}

// longList returns n short ranges, apart from each other.
func longList(random *rand.Rand, n int) feed.List {
	var v4, v6 []stretch
	for i := range n {
		low := uint32(i)<<12 | random.Uint32N(1024)
		if random.IntN(2) == 0 {
			v4 = append(v4, stretch{address4(low), address4(low + random.Uint32N(3000))})
			continue
		}
		first := feed.Address6{High: 0x2a00<<48 | uint64(low), Low: random.Uint64()}
		last := feed.Address6{High: first.High + random.Uint64N(3), Low: random.Uint64() | first.Low}
		v6 = append(v6, stretch{address6(first), address6(last)})
	}
	return listOf(v4, v6)
}

// stretch is an inclusive range of addresses.
type stretch struct{ first, last netip.Addr }

func randomSpan(random *rand.Rand, v6 bool) stretch {
	prefix := randomPrefix(random, v6)
	s := stretch{prefix.Addr(), lastOf(prefix)}
	switch random.IntN(3) {
	case 0:
		s.first, s.last = randomAddress(random, v6), randomAddress(random, v6)
	case 1: // next to a prefix on both sides
		if s.first.Prev().IsValid() {
			s.first = s.first.Prev()
		}
		if s.last.Next().IsValid() {
			s.last = s.last.Next()
		}
	}
	if s.last.Less(s.first) {
		s.first, s.last = s.last, s.first
	}
	return s
}

// listOf makes what a feed is from spans that may overlap.
func listOf(v4, v6 []stretch) (list feed.List) {
	for _, s := range disjoint(v4) {
		list.V4 = append(list.V4, feed.Range4{First: number4(s.first), Last: number4(s.last)})
	}
	for _, s := range disjoint(v6) {
		list.V6 = append(list.V6, feed.Range6{First: number6(s.first), Last: number6(s.last)})
	}
	list.Entries = len(list.V4) + len(list.V6)
	return list
}

// disjoint merges spans that overlap or touch.
func disjoint(spans []stretch) (out []stretch) {
	slices.SortFunc(spans, func(a, b stretch) int { return a.first.Compare(b.first) })
	for _, s := range spans {
		if len(out) > 0 {
			before := &out[len(out)-1]
			if next := before.last.Next(); !next.IsValid() || !next.Less(s.first) {
				if before.last.Less(s.last) {
					before.last = s.last
				}
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

func address4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func number4(a netip.Addr) uint32 {
	octets := a.As4()
	return binary.BigEndian.Uint32(octets[:])
}

func address6(n feed.Address6) netip.Addr {
	octets := binary.BigEndian.AppendUint64(nil, n.High)
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(octets, n.Low)))
}

func number6(a netip.Addr) feed.Address6 {
	octets := a.As16()
	return feed.Address6{High: binary.BigEndian.Uint64(octets[:8]), Low: binary.BigEndian.Uint64(octets[8:])}
}

// feedEdges returns every address at which a feed's answer could change, and
// its neighbours.
func feedEdges(feeds []rules.Feed) (all []netip.Addr) {
	around := func(s stretch) {
		for _, at := range []netip.Addr{s.first, s.last} {
			for _, address := range []netip.Addr{at.Prev(), at, at.Next()} {
				if address.IsValid() {
					all = append(all, address)
				}
			}
		}
	}
	for _, f := range feeds {
		for _, r := range f.List.V4 {
			around(stretch{address4(r.First), address4(r.Last)})
		}
		for _, r := range f.List.V6 {
			around(stretch{address6(r.First), address6(r.Last)})
		}
	}
	return all
}
