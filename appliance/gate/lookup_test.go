package gate

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// awkward are lists that no country has: all of what makes a lookup hard.
func awkward() map[string][]rules.Source {
	random := rand.New(rand.NewPCG(3, 3))
	lists := map[string][]rules.Source{
		"one class for everybody": sourcesOf("0.0.0.0/0 ::/0"),
		"halves":                  sourcesOf("128.0.0.0/1 0.0.0.0/2 8000::/1 ::/2"),
		"both ends": sourcesOf("0.0.0.0/32 255.255.255.255/32 ::/128 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128 " +
			"::/64 ffff:ffff:ffff:ffff::/64 7fff:ffff:ffff:ffff::/64 8000::/64"),
		"far from the others": append(sourcesOf("::1/128 fe80::/10 ffff:ffff:ffff:ffff::/64 0.0.0.1/32 255.0.0.0/8"),
			append(crowded(4000, 64, 1, 7), crowded(4000, 32, 1, 7)...)...),
	}
	for i := range 129 {
		lists["nested"] = append(lists["nested"], rules.Source{
			Prefix: netip.PrefixFrom(netip.MustParseAddr("2001:db8:ffff:0:aaaa:5555:0:1"), i), Services: uint8(random.IntN(4)), Firm: i%3 == 0,
		})
		if i <= 32 {
			lists["nested"] = append(lists["nested"], rules.Source{
				Prefix: netip.PrefixFrom(netip.MustParseAddr("10.255.170.1"), i), Services: uint8(random.IntN(4)),
			})
		}
	}
	for _, bits := range []int{29, 48, 63, 64, 65, 100, 128, 24, 31, 32} {
		lists["dense"] = append(lists["dense"], crowded(600, bits, 1, 2)...)
		lists["dense in three classes"] = append(lists["dense in three classes"], crowded(1500, bits, 3, 1)...)
	}
	for range 3000 {
		lists["skewed"] = append(lists["skewed"], skewed(random, false), skewed(random, true))
	}
	return lists
}

func sourcesOf(text string) (sources []rules.Source) {
	for _, word := range strings.Fields(text) {
		sources = append(sources, rules.Source{Prefix: netip.MustParsePrefix(word), Services: sip})
	}
	return sources
}

// crowded are n networks of a length, every step-th one from a place on, that
// take turns with so many classes. Up to /32 they are of IPv4, but for /29.
func crowded(n, bits, classes, step int) (sources []rules.Source) {
	address, v4 := netip.MustParseAddr("2001:db8::"), bits != 29 && bits <= 32
	if v4 {
		address = netip.MustParseAddr("16.0.0.0")
	}
	for i := range n {
		prefix := netip.PrefixFrom(address, bits)
		sources = append(sources, rules.Source{Prefix: prefix, Services: uint8(1 + i%classes)})
		for range step {
			address = lastOf(netip.PrefixFrom(address, bits)).Next()
		}
	}
	return sources
}

// skewed is a network of which most are close to each other, on any scale.
func skewed(random *rand.Rand, v6 bool) rules.Source {
	address := [16]byte{0x20, 1}
	size := 4
	if v6 {
		size = 16
	}
	for at := random.IntN(size); at < size; at++ {
		address[at] = byte(random.Uint32())
	}
	cut, _ := netip.AddrFromSlice(address[:size])
	prefix := netip.PrefixFrom(cut, size*8-random.IntN(size*6)).Masked()
	return rules.Source{Prefix: prefix, Services: uint8(random.IntN(4)), Firm: random.IntN(2) == 0}
}

// TestAwkwardLists holds the kernel's lookups, and those in Go, against a linear
// search.
func TestAwkwardLists(t *testing.T) {
	p := loadProgram(t)
	random := rand.New(rand.NewPCG(4, 4))
	for name, sources := range awkward() {
		guard := rules.Guard{Ports: perimeter.Ports, Sources: sources}
		compiled, err := compileImage(guard, "test")
		check(t, err)
		checkDecoding(t, compiled, sources)
		p.enforce(guard)
		addresses := edges(sources)
		random.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
		for _, address := range addresses[:min(len(addresses), 2000)] {
			want := linear(sources, address)
			if got := compiled.classOf(bpf.GateTableTABLE_ALLOW, address); got != want {
				t.Fatalf("%s: %v has class %#x, want %#x", name, address, got, want)
			}
			p.wantsServices(name, address, want)
		}
	}
}

// wantsServices asks the kernel for what a source may reach.
func (p program) wantsServices(name string, source netip.Addr, class uint8) {
	p.Helper()
	for service, port := range map[uint8]uint16{sip: 5060, http: 443} {
		want := appliance.Block
		if class&service != 0 {
			want = appliance.Allow
		}
		f := frame{source: source, protocol: protoTCP, port: port}
		if got := p.verdict(f.bytes()); got != want {
			p.Fatalf("%s: port %d from %v is judged %v, want %v", name, port, source, got, want)
		}
	}
}

// TestListsOverManyPages looks up near the ends of pages of lines, and all over:
// every other network is in the list.
func TestListsOverManyPages(t *testing.T) {
	p := loadProgram(t)
	const n = 400_000
	var list feed.List
	for i := range uint32(n) {
		list.V4 = append(list.V4, feed.Range4{First: 0x10000000 + 2*i, Last: 0x10000000 + 2*i})
		high := 0x20010db8<<32 + 2*uint64(i)
		list.V6 = append(list.V6, feed.Range6{First: feed.Address6{High: high}, Last: feed.Address6{High: high, Low: ^uint64(0)}})
	}
	guard := rules.Guard{Ports: [rules.Services][]uint16{rules.ServiceOpen: {5060}}, Feeds: []rules.Feed{{Name: "one", List: list}}}
	p.enforce(guard)
	for i := uint64(0); i < 2*n+2; i += 37 {
		want := appliance.Allow
		if i%2 == 0 && i < 2*n {
			want = appliance.Block
		}
		for _, source := range []netip.Addr{addr4(0x10000000 + i).ip(), addr6{High: 0x20010db8<<32 + i, Low: i}.ip()} {
			f := frame{source: source, protocol: protoUDP, port: 5060}
			if got := p.verdict(f.bytes()); got != want {
				t.Fatalf("%v is judged %v, want %v", source, got, want)
			}
		}
	}
}

// TestLinesHaveABound: what does not fit is an error with both numbers.
func TestLinesHaveABound(t *testing.T) {
	runs := feedRuns([]rules.Feed{{List: feed.List{V4: singles(64)}}}, ranges4)
	full := tables{image: &image{pages: map[bpf.GatePlace][]byte{}}, lines: maxLines - 4}
	if mistakes := full.addV4(bpf.GateTableTABLE_FEED, runs); mistakes != nil {
		t.Errorf("the last lines: %v", mistakes)
	}
	if full.lines != maxLines {
		t.Fatalf("64 networks take %d lines", full.lines-maxLines+4)
	}
	err := full.addV4(bpf.GateTableTABLE_FEED, runs).Or()
	const want = "feeds.ipv4: the networks take 524292 lines; the gate holds 524288"
	if err == nil || appliance.CodeOf(err) != appliance.CodeInvalid || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}
