package gate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/scripts/bench/prefixes"
	"github.com/ringfence/ringfence/scripts/bench/yard"
)

// target is an armed box with its generator, and the time of a packet there in
// each round.
type target struct {
	receiver
	box *yard.Box
	generator
	times []float64
}

// field is where one list is tried: every receiver that holds it, in turn.
type field struct {
	testing.TB
	*yard.Yard
	targets []*target
	idle    map[origin]*target // the generators alone
}

func enterYard(tb testing.TB) *yard.Yard {
	tb.Helper()
	needRoot(tb)
	cpu, err := yard.LastCPU()
	check(tb, err)
	y, err := yard.Enter(cpu)
	check(tb, err)
	tb.Cleanup(y.Close)
	return y
}

// arm makes a box for each receiver that can hold a list of n.
func (f *field) arm(pools map[bool]*prefixes.Pool, n int, all []receiver) {
	f.Helper()
	for _, r := range all {
		if r.most > 0 && n > r.most {
			continue
		}
		box, err := f.Box()
		check(f, err)
		err = f.Within(box.Space, func() error { return r.arm(f, box, pools[r.from.v6].List(n)) })
		if errors.Is(err, errTooMany) {
			say("# %s with %d networks: %v", r.name, n, err)
			continue
		}
		if err != nil {
			f.Fatalf("arm %s: %v", r.name, err)
		}
		f.targets = append(f.targets, &target{receiver: r, box: box})
	}
}

// aim points the stream of its origin at each target.
func (f *field) aim(streamFrom func(origin) stream) {
	f.Helper()
	streams := map[origin]stream{}
	f.idle = map[origin]*target{}
	for _, t := range f.targets {
		if _, has := streams[t.from]; !has {
			streams[t.from] = streamFrom(t.from)
			f.idle[t.from] = &target{generator: streams[t.from].nowhere(f)}
		}
		t.times, t.generator = nil, streams[t.from].to(f, t.box.Far)
	}
}

// flood measures every target once in each round, forwards and backwards by
// turns, so that none has a place of its own in the round.
func (f *field) flood(rounds, packets int) {
	f.Helper()
	for i := range rounds {
		for _, t := range f.idle {
			t.times = append(t.times, t.send(packets))
		}
		for j := range f.targets {
			if i%2 == 1 {
				j = len(f.targets) - 1 - j
			}
			t := f.targets[j]
			t.times = append(t.times, t.send(packets))
		}
	}
}

// prove sends some packets and fails unless each of them met its fate: no veth
// lost one, and none came further than its receiver lets it.
func (f *field) prove(fate func(yard.Counters) uint64) {
	f.Helper()
	const packets = 64 * 1000
	for _, t := range f.targets {
		got, want := f.burst(t, packets), uint64(0)
		// A wire whose far end had no time loses frames: on a busy machine once, not always.
		for try := 1; got.Received < packets && try < 5; try++ {
			got = f.burst(t, packets)
		}
		if t.open {
			want = packets
		}
		if got.Received < packets || fate(got) < want || fate(got) > want+packets/1000 {
			f.Fatalf("%s: of %d packets %+v, want %d to pass", t.name, packets, got, want)
		}
	}
}

// burst sends packets at a target, and returns what came of them.
func (f *field) burst(t *target, packets int) yard.Counters {
	f.Helper()
	before, err := f.Count(t.box)
	check(f, err)
	t.send(packets)
	after, err := f.Count(t.box)
	check(f, err)
	return after.Minus(before)
}

// cost is what a target adds to its generator, round by round. The generator
// alone makes the frame, writes the source and frees the frame on the spot.
// Redirecting and the way through the veth count as the receiver's, alike for
// all: which makes every ratio of two receivers a little too small.
func (f *field) cost(t *target) []float64 {
	out := make([]float64, len(t.times))
	for i := range out {
		out[i] = t.times[i] - f.idle[t.from].times[i]
	}
	return out
}

// target finds one by its name. There is none where the receiver can't hold the
// list.
func (f *field) target(name string) *target {
	for _, t := range f.targets {
		if t.name == name {
			return t
		}
	}
	return nil
}

// over is the median over the rounds of one target's cost over another's, or
// false where one of them is missing.
func (f *field) over(one, other string) (float64, bool) {
	a, b := f.target(one), f.target(other)
	if a == nil || b == nil {
		return 0, false
	}
	return median(ratios(f.cost(a), f.cost(b))), true
}

// figure says one ratio.
func (f *field) figure(key, one, other string) {
	if ratio, ok := f.over(one, other); ok {
		say("figure %s %.3f", key, ratio)
	}
}

// raws says the median time of each target, with its generator.
func (f *field) raws(of string) {
	for from, t := range f.idle {
		say("raw %s/generator %v %.1f", of, from, median(t.times))
	}
	for _, t := range f.targets {
		say("raw %s/%s %.1f", of, t.name, median(t.times))
	}
}

// The benchmarks are not run with the tests: this keeps them able to.
func TestFloodMeetsItsFate(t *testing.T) {
	f := &field{TB: t, Yard: enterYard(t)}
	pools := map[bool]*prefixes.Pool{false: prefixes.New(100, false), true: prefixes.New(100, true)}
	f.arm(pools, 10, slices.DeleteFunc(receivers(), func(r receiver) bool {
		return !slices.Contains([]string{noFilter, bareDrop, barePass, theGate, theGate + " IPv6"}, r.name)
	}))
	f.aim(func(from origin) stream { return sipFlood(t, pools[from.v6].Strangers(1<<10)) })
	f.prove(func(c yard.Counters) uint64 { return c.Delivered })
}

// The lengths of list that figures compare receivers with, and those between
// them that only the chart shows.
var (
	compared = []int{10, 72_000, 1_000_000}
	between  = []int{1000, 100_000}
)

// BenchmarkFloods sends floods of SIP from strangers, and of packets of
// established TCP connections that belong to somebody behind the box, at boxes
// with the gate and with its peers: nothing here is simulated but the sender.
func BenchmarkFloods(b *testing.B) {
	y := enterYard(b)
	rounds, packets := setting(b, "ROUNDS", 9), setting(b, "PACKETS", 400_000)
	most := setting(b, "PREFIXES", 1_000_000)
	pools := map[bool]*prefixes.Pool{false: prefixes.New(most, false), true: prefixes.New(most, true)}
	strangers := map[bool]stream{false: sipFlood(b, pools[false].Strangers(floodSources)), true: sipFlood(b, pools[true].Strangers(floodSources))}
	for _, n := range slices.Sorted(slices.Values(slices.Concat(compared, between))) {
		if n > most {
			continue
		}
		f := &field{TB: b, Yard: y}
		f.arm(pools, n, suited(n))
		f.aim(func(from origin) stream {
			if from.listed {
				return sipFlood(b, pools[from.v6].Inside(floodSources, n))
			}
			return strangers[from.v6]
		})
		f.prove(func(c yard.Counters) uint64 { return c.Delivered })
		f.flood(rounds, packets)
		f.reportSIP(n)
		if n == 10 {
			f.through(pools[false], 2*rounds+1, packets)
		}
	}
}

// floodSources is how many addresses a flood comes from.
const floodSources = 1 << 20

func sipFlood(tb testing.TB, sources []netip.Addr) stream {
	tb.Helper()
	udp := frame{source: sources[0], protocol: protoUDP, port: 5060, payload: 400}
	return newStream(tb, aimed(udp, yard.WAN4), sources)
}

// suited are the receivers whose cost with n networks is told.
func suited(n int) []receiver {
	return slices.DeleteFunc(receivers(), func(r receiver) bool {
		return !slices.Contains(compared, n) && r.series == "" && r.name != bareDrop
	})
}

func (f *field) reportSIP(n int) {
	f.Helper()
	if slices.Contains(compared, n) {
		for _, peer := range []string{nftIngress, nftRaw, ipsetRaw, xdpFilter, noFilter} {
			f.figure(fmt.Sprintf("flood/%s/%d", strings.ReplaceAll(peer, " ", "-"), n), peer, theGate)
		}
	}
	for _, t := range f.targets {
		ratio, ok := f.over(t.name, bareDrop)
		if ok && t.series != "" && n != 72_000 { // which is no place on the chart's axis
			say("curve %d %.3f %s", n, ratio, t.series)
		}
	}
	f.raws(fmt.Sprintf("flood/%d", n))
}

// through floods the same boxes with established TCP, which none of them may
// keep from the host behind.
func (f *field) through(pool *prefixes.Pool, rounds, packets int) {
	f.Helper()
	f.targets = slices.DeleteFunc(f.targets, func(t *target) bool { return t.from != origin{} || t.name == bareDrop })
	for _, t := range f.targets {
		t.open = true
	}
	tcp := frame{source: stranger4, protocol: protoTCP, port: 40000, payload: 400}
	f.aim(func(origin) stream { return newStream(f, aimed(tcp, yard.LAN4), pool.Strangers(floodSources/4)) })
	f.prove(func(c yard.Counters) uint64 { return c.Forwarded })
	f.flood(rounds, packets)
	if ratio, ok := f.over(theGate, barePass); ok {
		say("figure through/gate %.2f", 100*(ratio-1))
	}
	for _, peer := range []string{xdpFilter, nftIngress} {
		if ratio, ok := f.over(peer, barePass); ok {
			say("figure through/%s %.2f", strings.ReplaceAll(peer, " ", "-"), 100*(ratio-1))
		}
	}
	f.raws("through")
}
