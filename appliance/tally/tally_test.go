package tally

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// stream draws keys of which few are many, as in a flood of scanners.
func stream(random *rand.Rand, length int, count func(key int, weight uint64)) {
	zipf := rand.NewZipf(random, 1.05+random.Float64(), 1+random.Float64()*8, 1<<20)
	for range length {
		weight := uint64(1)
		if random.IntN(10) == 0 {
			weight = uint64(1 + random.IntN(64))
		}
		key := int(zipf.Uint64())
		if random.IntN(20) == 0 {
			key = random.Int() // once in a lifetime
		}
		count(key, weight)
	}
}

// TestErrorBound draws streams and holds every sketch, and sketches merged,
// against exact counts.
func TestErrorBound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		exact := make(map[int]uint64)
		var sketches []*Sketch[int]
		var bound uint64
		for range 1 + random.IntN(6) {
			keys := 1 + random.IntN(64)
			one := NewSketch[int](keys)
			mine := make(map[int]uint64)
			stream(random, random.IntN(3000), func(key int, weight uint64) {
				one.Add(key, weight)
				mine[key] += weight
				exact[key] += weight
			})
			check(t, fmt.Sprintf("round %d, one sketch of %d keys", round, keys), merge([]*Sketch[int]{one}, cmp.Compare[int]), mine, one.total/uint64(keys))
			if len(one.heap) > keys || len(one.place) != len(one.heap) {
				t.Fatalf("a sketch of %d keys holds %d and knows %d", keys, len(one.heap), len(one.place))
			}
			sketches = append(sketches, one)
			bound += one.total / uint64(keys)
		}
		check(t, fmt.Sprintf("round %d, %d sketches", round, len(sketches)), merge(sketches, cmp.Compare[int]), exact, bound)
	}
}

func check(t *testing.T, name string, got []Count[int], exact map[int]uint64, bound uint64) {
	t.Helper()
	held := make(map[int]bool)
	for i, one := range got {
		held[one.Key] = true
		if true_ := exact[one.Key]; one.Count < true_ || one.Count-one.Over > true_ || one.Over > bound || one.Over > one.Count {
			t.Fatalf("%s: key %d has %d, counted %d with at most %d over; the bound is %d", name, one.Key, true_, one.Count, one.Over, bound)
		}
		if i > 0 && got[i-1].Count < one.Count {
			t.Fatalf("%s: %d stands before %d", name, got[i-1].Count, one.Count)
		}
	}
	for key, count := range exact {
		if count > bound && !held[key] {
			t.Fatalf("%s: key %d has %d, above the bound of %d, and is not held", name, key, count, bound)
		}
	}
}

func TestSketchIsExactWhileItHasRoom(t *testing.T) {
	s := NewSketch[string](3)
	for _, key := range []string{"a", "b", "a", "c", "a"} {
		s.Add(key, 2)
	}
	got := merge([]*Sketch[string]{s}, cmp.Compare[string])
	if len(got) != 3 || got[0] != (Count[string]{"a", 6, 0}) || got[1].Key != "b" || got[2].Over != 0 || s.Total() != 10 {
		t.Errorf("got %+v of %d", got, s.Total())
	}
}

func drop(source string, port uint16, weight uint64) appliance.Drop {
	return appliance.Drop{Source: netip.AddrPortFrom(netip.MustParseAddr(source), 5060), Protocol: "udp",
		Destination: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), port), Weight: weight}
}

func TestWindows(t *testing.T) {
	tops := NewTops()
	for i := range 25 * 60 { // a packet a minute, for a day and an hour
		tops.Sample(noon.Add(time.Duration(i)*time.Minute), drop("192.0.2.1", 5060, 0))
	}
	now := noon.Add(25*time.Hour - time.Second)
	tops.Sample(now, drop("2001:db8::1", 5060, 64))
	tops.Sample(now, drop("2001:db8::2", 5061, 1))
	for _, tc := range []struct {
		window      Window
		least, most uint64
		span        time.Duration
	}{{FiveMinutes, 5, 6, 5 * time.Minute}, {OneHour, 60, 65, time.Hour}, {OneDay, 24 * 60, 25 * 60, 24 * time.Hour}} {
		got := tops.Rank(now, tc.window, 10)
		if len(got.Sources) != 2 || len(got.Ports) != 2 || got.Packets < tc.least+65 || got.Packets > tc.most+65 {
			t.Fatalf("%s: %+v", tc.window, got)
		}
		for _, one := range got.Sources {
			if one.Key == netip.MustParsePrefix("2001:db8::/64") && one.Count != 65 {
				t.Errorf("%s: one IPv6 site has %d", tc.window, one.Count)
			}
		}
		if span := now.Sub(got.Since); span < tc.span || span > tc.span+tc.window.shape().slot {
			t.Errorf("%s: covers %v", tc.window, span)
		}
		if limited := tops.Rank(now, tc.window, 1); len(limited.Sources) != 1 || len(limited.Ports) != 1 {
			t.Errorf("%s: the limit is not kept", tc.window)
		}
	}
	// What is over is over, also where nothing happened since.
	if got := tops.Rank(now.Add(6*time.Minute), FiveMinutes, 10); got.Packets != 0 || len(got.Sources) != 0 {
		t.Errorf("after the window: %+v", got)
	}
	for i := range tops.rings {
		if r := &tops.rings[i]; len(r.slots) > r.fill+1 {
			t.Errorf("%s holds %d slots", r.name, len(r.slots))
		}
	}
}

// TestClockThatIsSet neither loses the present nor shows the future.
func TestClockThatIsSet(t *testing.T) {
	tops := NewTops()
	tops.Sample(noon, drop("192.0.2.1", 5060, 1))
	tops.Sample(noon.Add(-90*time.Second), drop("192.0.2.1", 5060, 1)) // a little back: both count
	if got := tops.Rank(noon.Add(-90*time.Second), FiveMinutes, 10); got.Packets != 2 {
		t.Errorf("a minute back: %+v", got)
	}
	tops.Sample(noon.Add(-time.Hour), drop("192.0.2.2", 5060, 1))
	got := tops.Rank(noon.Add(-time.Hour), FiveMinutes, 10)
	if got.Packets != 1 || got.Sources[0].Key != netip.MustParsePrefix("192.0.2.2/32") {
		t.Errorf("an hour back: %+v", got)
	}
	tops.Sample(noon.AddDate(1, 0, 0), drop("192.0.2.3", 5060, 1))
	if got := tops.Rank(noon.AddDate(1, 0, 0), OneDay, 10); got.Packets != 1 {
		t.Errorf("a year on: %+v", got)
	}
}

func TestReasonsAreExact(t *testing.T) {
	tops := NewTops()
	at := func(packets uint64) appliance.Tallies {
		return appliance.Tallies{appliance.ReasonSIPSource: {Packets: packets, Bytes: packets * 100}}
	}
	count := func(now time.Time, window Window) uint64 {
		return tops.Rank(now, window, 1).Reasons[appliance.ReasonSIPSource].Packets
	}
	tops.Observe(noon, at(1000)) // from before this daemon
	tops.Observe(noon.Add(time.Minute), at(1007))
	tops.Observe(noon.Add(30*time.Minute), at(1010))
	if five, hour := count(noon.Add(30*time.Minute), FiveMinutes), count(noon.Add(30*time.Minute), OneHour); five != 3 || hour != 10 {
		t.Errorf("%d in five minutes, %d in an hour", five, hour)
	}
	tops.Observe(noon.Add(31*time.Minute), at(4)) // another gate
	if five := count(noon.Add(31*time.Minute), FiveMinutes); five != 7 {
		t.Errorf("%d after the gate was loaded anew", five)
	}
	tops.Observe(noon.Add(32*time.Minute), appliance.Tallies{})
	tops.Observe(noon.Add(33*time.Minute), at(2))
	if five := count(noon.Add(33*time.Minute), FiveMinutes); five != 7 {
		t.Errorf("%d after a gate that was away: what it counted before is not of this minute", five)
	}
}

func TestSampleOfNoAddress(t *testing.T) {
	tops := NewTops()
	tops.Sample(noon, appliance.Drop{Protocol: "47", Weight: 3})
	if got := tops.Rank(noon, OneDay, 10); got.Packets != 3 || len(got.Sources) != 0 || got.Ports[0].Key != (Port{"47", 0}) {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkSample(b *testing.B) {
	tops := NewTops()
	random := rand.New(rand.NewPCG(3, 4))
	drops := make([]appliance.Drop, 1<<12)
	for i := range drops {
		addr := netip.AddrFrom4([4]byte{198, byte(random.IntN(256)), byte(random.IntN(256)), byte(random.IntN(256))})
		drops[i] = drop(addr.String(), uint16(random.IntN(1<<16)), 1)
	}
	for i := 0; b.Loop(); i++ {
		tops.Sample(noon, drops[i%len(drops)])
	}
}
