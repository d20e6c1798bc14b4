package gate

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// linear is what compiled tables must agree with.
func linear(sources []rules.Source, address netip.Addr) (class uint8) {
	for _, source := range sources {
		if source.Prefix.Contains(address) {
			class |= source.Services & (1<<rules.Services - 1)
			if source.Firm {
				class |= uint8(bpf.GateClassCLASS_FIRM)
			}
		}
	}
	return class
}

// edges returns every address at which the answer could change, and its
// neighbours.
func edges(sources []rules.Source) (all []netip.Addr) {
	for _, source := range sources {
		prefix := source.Prefix.Masked()
		for _, at := range []netip.Addr{prefix.Addr(), lastOf(prefix)} {
			for _, address := range []netip.Addr{at.Prev(), at, at.Next()} {
				if address.IsValid() {
					all = append(all, address)
				}
			}
		}
	}
	return all
}

// lastOf returns the highest address of a network.
func lastOf(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes) // as long as it was
	return last
}

// checkTables compiles sources, decodes the image back to text-free tables and
// asks both for every address that matters.
func checkTables(t *testing.T, sources []rules.Source) {
	t.Helper()
	guard := rules.Guard{Ports: perimeter.Ports, Sources: sources}
	compiled, err := compileImage(guard, "")
	check(t, err)
	ends := []netip.Addr{
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255"), netip.IPv6Unspecified(),
		netip.MustParseAddr("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), netip.MustParseAddr("8000::"),
		netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
	}
	for _, address := range append(edges(sources), ends...) {
		if got, want := compiled.classOf(bpf.GateTableTABLE_ALLOW, address), linear(sources, address); got != want {
			t.Fatalf("%v has class %#x, want %#x, in %v", address, got, want, sources)
		}
	}
	checkDecoding(t, compiled, sources)
	shuffled := slices.Clone(sources)
	slices.Reverse(shuffled)
	again, err := compileImage(rules.Guard{Ports: perimeter.Ports, Sources: shuffled}, "")
	check(t, err)
	if !bytes.Equal(again.bytes(), compiled.bytes()) {
		t.Fatal("the order of sources matters")
	}
}

// checkDecoding holds the runs that come out of an image against those that
// went in.
func checkDecoding(t *testing.T, compiled *image, sources []rules.Source) {
	t.Helper()
	if got, want := compiled.runs4(bpf.GateTableTABLE_ALLOW), allowRuns(sources, span4); !slices.Equal(got, want) {
		t.Fatalf("decoded %v, want %v", got, want)
	}
	if got, want := compiled.runs6(bpf.GateTableTABLE_ALLOW), allowRuns(sources, span6); !slices.Equal(got, want) {
		t.Fatalf("decoded %v, want %v", got, want)
	}
}

// bytes is all of an image, in order.
func (i *image) bytes() []byte {
	out := slices.Clone(bytesOf(&i.head))
	for _, place := range slices.Sorted(maps.Keys(i.pages)) {
		out = append(binary.LittleEndian.AppendUint32(out, uint32(place)), i.pages[place]...)
	}
	return out
}

// FuzzTables reads networks of one family from data: 4 or 16 bytes of address,
// one of length, one of services.
func FuzzTables(f *testing.F) {
	f.Add(false, []byte{0, 0, 0, 0, 0, 1, 10, 0, 0, 0, 8, 2, 255, 255, 255, 255, 32, 1})
	f.Add(false, []byte{10, 0, 0, 0, 8, 1, 10, 0, 0, 0, 9, 2, 10, 128, 0, 0, 9, 2, 10, 0, 0, 0, 8, 1})
	f.Add(true, append(slices.Repeat([]byte{255}, 16), 128, 3))
	f.Fuzz(func(t *testing.T, v6 bool, data []byte) {
		size := 4
		if v6 {
			size = 16
		}
		var sources []rules.Source
		for ; len(data) >= size+2 && len(sources) < 64; data = data[size+2:] {
			address, _ := netip.AddrFromSlice(data[:size])
			prefix := netip.PrefixFrom(address, int(data[size])%(8*size+1))
			sources = append(sources, rules.Source{Prefix: prefix, Services: data[size+1], Firm: data[size+1]&0x80 != 0})
		}
		checkTables(t, sources)
	})
}

func TestTablesOfRandomNetworks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		checkTables(t, randomSources(random, false, random.IntN(40)))
		checkTables(t, randomSources(random, true, random.IntN(40)))
	}
	checkTables(t, append(scattered(5000, false), scattered(5000, true)...))
}

// The index grows with the number of runs.
func TestManyNetworks(t *testing.T) {
	guard := rules.Guard{Ports: perimeter.Ports, Sources: scattered(1<<18+10, false)}
	compiled, err := compileImage(guard, "")
	check(t, err)
	if got := compiled.head.Shapes[0][ipv4].Mask; got < 1<<12 {
		t.Fatalf("an index of %d", got)
	}
	for _, source := range guard.Sources {
		for _, address := range edges([]rules.Source{source}) {
			want := uint8(0)
			if source.Prefix.Contains(address) {
				want = sip
			}
			if got := compiled.classOf(bpf.GateTableTABLE_ALLOW, address); got != want {
				t.Fatalf("%v has class %#x, want %#x", address, got, want)
			}
		}
	}
}

// scattered returns n networks that are all apart from each other.
func scattered(n int, v6 bool) (sources []rules.Source) {
	for i := range n {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{1 + byte(i>>15), byte(i >> 7), byte(i << 1), 0}), 25)
		if v6 {
			prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x3f, 0xff, byte(i >> 15), byte(i >> 7), byte(i << 1)}), 41)
		}
		sources = append(sources, rules.Source{Prefix: prefix, Services: sip})
	}
	return sources
}

// What does not fit is an error with both numbers, and nothing is cut.
func TestTablesHaveABound(t *testing.T) {
	deep := make([]rules.Source, deepPages*deepPerPage/2+1)
	for i := range deep {
		address := [16]byte{0x20, 1, 0xd, 0xb8, 13: byte(i >> 15), 14: byte(i >> 7), 15: byte(i << 1)}
		deep[i] = rules.Source{Prefix: netip.PrefixFrom(netip.AddrFrom16(address), 128), Services: sip}
	}
	fits := rules.Guard{Ports: perimeter.Ports, Sources: deep[:len(deep)-1]}
	_, err := compileImage(fits, "")
	check(t, err)
	for field, guard := range map[string]rules.Guard{
		"sources.ipv6: the networks longer than /64 split the address space into 262146 ranges; the gate holds 262144": {Sources: deep},
		"feeds: 128 feeds; the gate holds 127": {Feeds: make([]rules.Feed, 128)},
	} {
		guard.Ports = perimeter.Ports
		_, err := compileImage(guard, "")
		if err == nil || appliance.CodeOf(err) != appliance.CodeInvalid || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("error %v, want %q", err, field)
		}
	}
}

// singles are n addresses of which no two touch.
func singles(n int) []feed.Range4 {
	out := make([]feed.Range4, n)
	for i := range out {
		out[i] = feed.Range4{First: 0x10000000 + uint32(i)*512, Last: 0x10000000 + uint32(i)*512}
	}
	return out
}

func TestGuardMistakesAreNamed(t *testing.T) {
	guard := rules.Guard{
		Ports:   [rules.Services][]uint16{{5060}, {80, 5060}},
		Sources: []rules.Source{{}},
	}
	_, err := compileImage(guard, strings.Repeat("x", 17))
	for _, want := range []string{"digest: longer than 16 bytes", "ports: port 5060 serves two services", "sources[0]: not a network"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
