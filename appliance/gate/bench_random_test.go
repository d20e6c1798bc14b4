package gate

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/scripts/bench/prefixes"
	"github.com/ringfence/ringfence/scripts/bench/yard"
)

// crowd is gates side by side whose packets come from a million sources in
// random order, each gate with a perimeter and sources of its own.
type crowd struct {
	contest
	*yard.Yard
	family string
	pool   *prefixes.Pool
}

// BenchmarkRandomSources is what the gate costs where each packet has another
// source: more of them than a CPU has cache for.
func BenchmarkRandomSources(b *testing.B) {
	y := enterYard(b)
	rounds, packets := setting(b, "ROUNDS", 15), setting(b, "PACKETS", 400_000)
	most := setting(b, "PREFIXES", 1_000_000)
	for _, family := range []string{"4", "6"} {
		c := &crowd{contest: contest{TB: b}, Yard: y, family: family, pool: prefixes.New(most, family == "6")}
		c.allowed(rounds, packets, most)
		c.open(rounds, packets, most)
		c.feeds(rounds, packets, most)
	}
}

// begin starts a contest with a bare program, behind the wrapper that draws the
// sources: what the wrapper costs.
func (c *crowd) begin() {
	c.Helper()
	source := c.pool.Strangers(2)
	c.contest = contest{TB: c.TB, want: []uint32{1, 2}}
	c.frame = frame{source: source[0], protocol: protoUDP, port: 5060, payload: 400}.bytes()
	c.programs = []*ebpf.Program{randomSource(c, bareFrags(c, "bare", 1), source)}
}

// join adds a gate.
func (c *crowd) join(guard rules.Guard, sources []netip.Addr) {
	c.Helper()
	box, err := c.Box()
	check(c, err)
	check(c, c.Within(box.Space, func() error { return armGateWith(c, box, guard) }))
	c.programs = append(c.programs, randomSource(c, attached(c, c.Yard, box), sources))
}

const crowdSources = 1 << 20

// allowed: SIP from everywhere, half of it from networks of an allowlist.
func (c *crowd) allowed(rounds, packets, most int) {
	c.Helper()
	lengths := upTo(most, 10, 1000, 100_000, 1_000_000)
	c.begin()
	for _, n := range lengths {
		c.join(sipFrom(c.pool.List(n)), c.pool.Half(crowdSources, n))
	}
	times := c.run(rounds, packets)
	for i, n := range lengths {
		say("figure random/sip%s/%d %.3f", c.family, n, median(ratios(times[i+1], times[0])))
		say("raw random/sip%s/%d %.2f", c.family, n, median(times[i+1]))
	}
	say("raw random/sip%s/wrapper %.2f", c.family, median(times[0]))
}

// open: packets to a service that is open to all but a feed, half of them from
// networks of the feed. The wrapper's time is in both sides of the ratios.
func (c *crowd) open(rounds, packets, most int) {
	c.Helper()
	lengths := upTo(most, 10, 100_000, 1_000_000)
	c.begin()
	for _, n := range lengths {
		c.join(openExcept(c.pool.List(n)), c.pool.Half(crowdSources, n))
	}
	times := c.run(rounds, packets)
	for i, n := range lengths {
		if i > 0 {
			say("figure open%s/%d %.3f", c.family, n, median(ratios(times[i+1], times[1])))
		}
		say("raw open%s/%d %.2f", c.family, n, median(times[i+1]))
	}
	say("raw open%s/wrapper %.2f", c.family, median(times[0]))
}

// feeds: dropped SIP, which no feed may make dearer.
func (c *crowd) feeds(rounds, packets, most int) {
	c.Helper()
	lengths := upTo(most, 10, 1_000_000)
	sources := c.pool.Strangers(crowdSources)
	c.begin()
	for _, n := range lengths {
		guard := sipFrom(c.pool.List(10))
		guard.Feeds = []rules.Feed{feedOf(c.pool.List(n))}
		c.join(guard, sources)
	}
	times := c.run(rounds, packets)
	if len(lengths) > 1 {
		say("figure feed/sip%s %.3f", c.family, median(ratios(times[2], times[1])))
	}
}

// upTo are the lengths that are no longer than the longest list.
func upTo(most int, lengths ...int) (out []int) {
	for _, n := range lengths {
		if n <= most {
			out = append(out, n)
		}
	}
	return out
}
