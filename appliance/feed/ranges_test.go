package feed

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// randomPrefixes are close together, so that they nest, repeat and touch, and
// some stand at the ends of the address space and around local space.
func randomPrefixes(random *rand.Rand, n int) []netip.Prefix {
	bases := []string{"0.0.0.0", "9.255.255.0", "11.0.0.0", "100.63.255.0", "172.32.0.0", "198.51.100.0", "223.255.255.0", "255.255.255.0",
		"::", "2001:db8::", "2001:db8::ffff:ffff:ffff:ff00", "2001:db8:0:1::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ff00", "fe7f:ffff:ffff:ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00"}
	out := make([]netip.Prefix, n)
	for i := range out {
		bytes := netip.MustParseAddr(bases[random.IntN(len(bases))]).AsSlice()
		bytes[len(bytes)-1] |= byte(random.IntN(256))
		if random.IntN(4) == 0 {
			bytes[len(bytes)-2] ^= byte(random.IntN(4))
		}
		address, _ := netip.AddrFromSlice(bytes)
		least := address.BitLen() - 12
		if random.IntN(8) == 0 {
			least = address.BitLen() / 4
		}
		out[i] = netip.PrefixFrom(address, least+random.IntN(address.BitLen()-least+1)).Masked()
	}
	return out
}

// probes are the boundaries of all prefixes, and the addresses beside them.
func probes(prefixes []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, prefix := range prefixes {
		s := spanOf(prefix)
		last := addr4(s.v4.Last)
		if s.six {
			last = addr6(s.v6.Last)
		}
		for _, a := range []netip.Addr{prefix.Addr(), last} {
			out = append(out, a, a.Prev(), a.Next())
		}
	}
	return slices.DeleteFunc(out, func(a netip.Addr) bool { return !a.IsValid() })
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// localPrefixes is what localRanges4 and localRanges6 are, written anew.
func localPrefixes() (out []netip.Prefix) {
	for _, s := range strings.Fields("0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/4 240.0.0.0/4 " +
		"::/128 ::1/128 fc00::/7 fe80::/10 fec0::/10 ff00::/8") {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func checkShape(t *testing.T, l List) {
	t.Helper()
	for i, r := range l.V4 {
		if r.First > r.Last || i > 0 && uint64(l.V4[i-1].Last)+1 >= uint64(r.First) {
			t.Fatalf("range %d is out of shape in %s", i, render(l))
		}
	}
	for i, r := range l.V6 {
		if r.Last.Less(r.First) || i > 0 && (l.V6[i-1].Last.Compare(r.First) >= 0 || addr6(l.V6[i-1].Last).Next() == addr6(r.First)) {
			t.Fatalf("range %d is out of shape in %s", i, render(l))
		}
	}
}

func TestContainsAgreesWithTheDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		prefixes := randomPrefixes(random, 1+random.IntN(60))
		list := FromPrefixes(prefixes)
		checkShape(t, list)
		for _, a := range append(probes(prefixes), probes(randomPrefixes(random, 50))...) {
			if got, want := list.Contains(a), contains(prefixes, a); got != want {
				t.Fatalf("%s: got %v, want %v in %v: %s", a, got, want, prefixes, render(list))
			}
		}
	}
}

func TestParseAgreesWithTheDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	local := localPrefixes()
	for range 150 {
		var text strings.Builder
		prefixes := append(randomPrefixes(random, 1+random.IntN(60)), local[random.IntN(len(local))], netip.MustParsePrefix("192.0.2.0/24"))
		prefixes = slices.DeleteFunc(prefixes, func(p netip.Prefix) bool { return spanOf(p).tooWide() != "" })
		for _, prefix := range prefixes {
			text.WriteString(prefix.String() + "\n")
		}
		list, err := Parse(FormatCIDR, []byte(text.String()), nil)
		if err != nil {
			t.Fatal(err)
		}
		checkShape(t, list)
		for _, a := range append(probes(prefixes), probes(local)...) {
			if got, want := list.Contains(a), contains(prefixes, a) && !contains(local, a); got != want {
				t.Fatalf("%s: got %v, want %v in %v: %s", a, got, want, prefixes, render(list))
			}
		}
	}
}

func TestContainsEdges(t *testing.T) {
	list := FromPrefixes([]netip.Prefix{{}, netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("::ffff:198.51.100.0/120"), netip.MustParsePrefix("2001:db8::/32")})
	if list.Entries != 3 {
		t.Errorf("%d entries", list.Entries)
	}
	for address, want := range map[string]bool{
		"192.0.2.0": true, "::ffff:192.0.2.255": true, "::ffff:192.0.3.0": false, "198.51.100.1": true, "::192.0.2.0": false,
		"2001:db8::1%eth0": true, "2001:db9::": false,
	} {
		if got := list.Contains(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %v", address, got)
		}
	}
	if list.Contains(netip.Addr{}) || (List{}).Contains(netip.MustParseAddr("192.0.2.0")) || FromPrefixes(nil).Entries != 0 {
		t.Error("nothing holds something")
	}
	everything := FromPrefixes([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("255.255.255.255/32")})
	if got := render(everything); got != "0.0.0.0-255.255.255.255 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" {
		t.Errorf("everything is %s", got)
	}
	if allocations := testing.AllocsPerRun(100, func() { list.Contains(netip.IPv6Unspecified()) }); allocations > 0 {
		t.Errorf("contains allocates %v times", allocations)
	}
}

func TestAddress6Order(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	values := []uint64{0, 1, 1 << 63, ^uint64(0)}
	one := func() Address6 { return Address6{values[random.IntN(4)], values[random.IntN(4)]} }
	for range 1000 {
		a, b := one(), one()
		want := addr6(a).Compare(addr6(b))
		if a.Compare(b) != want || a.Less(b) != (want < 0) || a.next().previous() != a {
			t.Fatalf("%v and %v: got %d, want %d", a, b, a.Compare(b), want)
		}
	}
}

func TestParse4AgreesWithNetip(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 200_000 {
		text := make([]byte, random.IntN(12))
		for i := range text {
			text[i] = "00125..59x"[random.IntN(10)]
		}
		got, ok := parse4(text)
		want, err := netip.ParseAddr(string(text))
		if ok != (err == nil && want.Is4()) || ok && addr4(got) != want {
			t.Fatalf("%s: got %s %v, want %s %v", text, addr4(got), ok, want, err)
		}
	}
}

func TestMerge4OfRangesInNoOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	list := make([]Range4, 5000)
	for i := range list {
		first := random.Uint32()
		list[i] = Range4{first, first + min(random.Uint32N(1<<20), ^first)}
	}
	merged := merge4(slices.Clone(list))
	checkShape(t, List{V4: merged})
	holds := func(a uint32) bool {
		return slices.ContainsFunc(list, func(r Range4) bool { return r.First <= a && a <= r.Last })
	}
	for _, r := range merged {
		if !holds(r.First) || !holds(r.Last) || r.First > 0 && holds(r.First-1) || r.Last+1 > 0 && holds(r.Last+1) {
			t.Fatalf("%s begins or ends where no range does", render(List{V4: []Range4{r}}))
		}
	}
	for _, r := range list {
		l := List{V4: merged}
		if !l.Contains(addr4(r.First)) || !l.Contains(addr4(r.Last)) {
			t.Fatalf("%s got lost", render(List{V4: []Range4{r}}))
		}
	}
}
