package gate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// linear is what partition must agree with.
func linear(sources []rules.Source, address netip.Addr) (services uint8) {
	for _, source := range sources {
		if source.Prefix.Contains(address) {
			services |= source.Services & (sip | http)
		}
	}
	return services
}

func lookUp(runs []run, address netip.Addr) uint8 {
	at, found := slices.BinarySearchFunc(runs, address, func(r run, a netip.Addr) int { return r.first.Compare(a) })
	if !found {
		at--
	}
	return runs[at].services
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

func checkPartition(t *testing.T, lowest netip.Addr, sources []rules.Source) {
	t.Helper()
	runs := partition(lowest, sources)
	if runs[0].first != lowest {
		t.Fatalf("the first run begins at %v", runs[0].first)
	}
	for i, r := range runs[1:] {
		if !runs[i].first.Less(r.first) || runs[i].services == r.services {
			t.Fatalf("run %d (%v) doesn't follow %v", i+1, r, runs[i])
		}
	}
	for _, address := range append(edges(sources), lowest, lastOf(netip.PrefixFrom(lowest, 0))) {
		if got, want := lookUp(runs, address), linear(sources, address); got != want {
			t.Fatalf("%v has services %b, want %b, in %v", address, got, want, sources)
		}
	}
	shuffled := slices.Clone(sources)
	slices.Reverse(shuffled)
	if !slices.Equal(partition(lowest, shuffled), runs) {
		t.Fatal("the order of sources matters")
	}
}

// FuzzPartition reads networks of one family from data: 4 or 16 bytes of
// address, one of length, one of services.
func FuzzPartition(f *testing.F) {
	f.Add(false, []byte{0, 0, 0, 0, 0, 1, 10, 0, 0, 0, 8, 2, 255, 255, 255, 255, 32, 1})
	f.Add(false, []byte{10, 0, 0, 0, 8, 1, 10, 0, 0, 0, 9, 2, 10, 128, 0, 0, 9, 2, 10, 0, 0, 0, 8, 1})
	f.Add(true, append(slices.Repeat([]byte{255}, 16), 128, 3))
	f.Fuzz(func(t *testing.T, v6 bool, data []byte) {
		lowest, size := netip.IPv4Unspecified(), 4
		if v6 {
			lowest, size = netip.IPv6Unspecified(), 16
		}
		var sources []rules.Source
		for ; len(data) >= size+2 && len(sources) < 64; data = data[size+2:] {
			address, _ := netip.AddrFromSlice(data[:size])
			prefix := netip.PrefixFrom(address, int(data[size])%(8*size+1))
			sources = append(sources, rules.Source{Prefix: prefix, Services: data[size+1]})
		}
		checkPartition(t, lowest, sources)
	})
}

func TestPartitionOfRandomNetworks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		checkPartition(t, netip.IPv4Unspecified(), randomSources(random, false, random.IntN(20)))
		checkPartition(t, netip.IPv6Unspecified(), randomSources(random, true, random.IntN(20)))
	}
}

func TestImageIsDeterministic(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	guard := rules.Guard{Ports: perimeter.Ports, Sources: randomSources(random, false, 100)}
	one, err := compileImage(guard, "0123456789abcdef")
	check(t, err)
	random.Shuffle(len(guard.Sources), func(i, j int) {
		guard.Sources[i], guard.Sources[j] = guard.Sources[j], guard.Sources[i]
	})
	two, err := compileImage(guard, "0123456789abcdef")
	check(t, err)
	var first, second bytes.Buffer
	check(t, binary.Write(&first, binary.NativeEndian, one))
	check(t, binary.Write(&second, binary.NativeEndian, two))
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same perimeter gave other bytes")
	}
	if got := digestOf(one); got != "0123456789abcdef" {
		t.Errorf("digest %q", got)
	}
}

// scattered returns n networks that are all apart from each other.
func scattered(n int, v6 bool) (sources []rules.Source) {
	for i := range n {
		prefix := netip.MustParsePrefix(fmt.Sprintf("%d.%d.%d.0/25", 1+i>>15, i>>7&255, i<<1&255))
		if v6 {
			prefix = netip.MustParsePrefix(fmt.Sprintf("3fff:%x::/49", i<<1))
		}
		sources = append(sources, rules.Source{Prefix: prefix, Services: sip})
	}
	return sources
}

func TestTablesHaveABound(t *testing.T) {
	const room = 8191 // networks apart from each other: two ends each, and the start
	for field, v6 := range map[string]bool{"sources.ipv4": false, "sources.ipv6": true} {
		_, err := compileImage(rules.Guard{Ports: perimeter.Ports, Sources: scattered(room, v6)}, "")
		check(t, err)
		_, err = compileImage(rules.Guard{Ports: perimeter.Ports, Sources: scattered(room+1, v6)}, "")
		var mistake *appliance.Error
		if !errors.As(err, &mistake) || mistake.Code != appliance.CodeInvalid || mistake.Field != field {
			t.Fatalf("one more network gives %v", err)
		}
		if want := "the networks split the address space into 16385 ranges; the gate holds 16384"; mistake.Message != want {
			t.Errorf("message %q", mistake.Message)
		}
	}
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
