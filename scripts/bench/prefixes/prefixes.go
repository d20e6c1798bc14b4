// Package prefixes makes the allowlists and source addresses of the benches:
// the mix of lengths that lists of whole countries have, apart from each other
// (an nftables interval set takes no nested ones), the same in every run.
package prefixes

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// share is how many of a hundred networks have a length.
type share struct{ bits, percent int }

// mix is that of the country feeds; a share of single addresses (IPv4) and
// subnets (IPv6) stands for lists of hosts, which make up big lists.
func mix(v6 bool) []share {
	if v6 {
		return []share{{29, 4}, {32, 28}, {36, 8}, {40, 10}, {44, 10}, {48, 20}, {64, 20}}
	}
	return []share{{18, 1}, {19, 2}, {20, 4}, {21, 5}, {22, 12}, {23, 10}, {24, 26}, {32, 40}}
}

// Pool is many networks of one family in random order. Its first n are a list
// of n; the addresses outside the whole pool are outside each list.
type Pool struct {
	v6     bool
	all    []netip.Prefix
	sorted []netip.Prefix
}

// New makes a pool of n.
func New(n int, v6 bool) *Pool {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	p := &Pool{v6: v6}
	for len(p.all) < n {
		for range (n-len(p.all))*5/4 + 16 {
			p.all = append(p.all, draw(random, v6))
		}
		p.all = apart(p.all)
	}
	random.Shuffle(len(p.all), func(i, j int) { p.all[i], p.all[j] = p.all[j], p.all[i] })
	p.all = p.all[:n]
	p.sorted = slices.SortedFunc(slices.Values(p.all), netip.Prefix.Compare)
	return p
}

// List is the first n networks, ascending.
func (p *Pool) List(n int) []netip.Prefix {
	return slices.SortedFunc(slices.Values(p.all[:n]), netip.Prefix.Compare)
}

// Strangers are n addresses outside every network of the pool.
func (p *Pool) Strangers(n int) []netip.Addr {
	random := rand.New(rand.NewPCG(uint64(n), 2))
	out := make([]netip.Addr, 0, n)
	for len(out) < n {
		if address := address(random, p.v6); !contains(p.sorted, address) {
			out = append(out, address)
		}
	}
	return out
}

// Half are n addresses, every other one inside one of the first listed networks
// and the rest anywhere.
func (p *Pool) Half(n, listed int) []netip.Addr {
	random := rand.New(rand.NewPCG(uint64(n), 3))
	out := p.Inside(n, listed)
	for i := 1; i < n; i += 2 {
		out[i] = address(random, p.v6)
	}
	return out
}

// Inside are n addresses in the first listed networks.
func (p *Pool) Inside(n, listed int) []netip.Addr {
	random := rand.New(rand.NewPCG(uint64(n), 4))
	out := make([]netip.Addr, n)
	for i := range out {
		out[i] = inside(random, p.all[random.IntN(listed)])
	}
	return out
}

func draw(random *rand.Rand, v6 bool) netip.Prefix {
	at := random.IntN(100)
	for _, share := range mix(v6) {
		if at -= share.percent; at < 0 {
			return netip.PrefixFrom(address(random, v6), share.bits).Masked()
		}
	}
	panic("prefixes: the shares are less than a hundred")
}

// address is a public unicast address. IPv4 leaves out every /8 that has a
// special use, or one of the lab's addresses.
func address(random *rand.Rand, v6 bool) netip.Addr {
	if v6 {
		var out [16]byte
		binary.BigEndian.PutUint64(out[:], random.Uint64()>>4|2<<60) // 2000::/4
		binary.BigEndian.PutUint64(out[8:], random.Uint64())
		return netip.AddrFrom16(out)
	}
	for {
		var out [4]byte
		binary.BigEndian.PutUint32(out[:], random.Uint32())
		if special := []byte{0, 10, 100, 127, 169, 172, 192, 198, 203}; out[0] < 224 && !slices.Contains(special, out[0]) {
			return netip.AddrFrom4(out)
		}
	}
}

func inside(random *rand.Rand, prefix netip.Prefix) netip.Addr {
	out, host := prefix.Addr().AsSlice(), address(random, prefix.Addr().Is6()).AsSlice()
	for bit := prefix.Bits(); bit < 8*len(out); bit++ {
		out[bit/8] |= host[bit/8] & (0x80 >> (bit % 8))
	}
	address, _ := netip.AddrFromSlice(out) // as long as it was
	return address
}

// apart sorts networks and drops those inside an earlier one.
func apart(all []netip.Prefix) []netip.Prefix {
	slices.SortFunc(all, netip.Prefix.Compare)
	kept := all[:0]
	for _, prefix := range all {
		if len(kept) == 0 || !kept[len(kept)-1].Overlaps(prefix) {
			kept = append(kept, prefix)
		}
	}
	return kept
}

func contains(sorted []netip.Prefix, address netip.Addr) bool {
	at, found := slices.BinarySearchFunc(sorted, address, func(prefix netip.Prefix, address netip.Addr) int {
		return prefix.Addr().Compare(address)
	})
	return found || at > 0 && sorted[at-1].Contains(address)
}
