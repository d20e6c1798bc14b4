package gate

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/scripts/bench/prefixes"
	"github.com/ringfence/ringfence/scripts/bench/yard"
)

// contest runs some programs in turn with the same frame. The first is what the
// others are measured by.
type contest struct {
	testing.TB
	frame    []byte
	want     []uint32 // the XDP actions that they may answer
	programs []*ebpf.Program
}

// run returns the time of a packet in each program and round.
func (c contest) run(rounds, packets int) (times [][]float64) {
	c.Helper()
	times = make([][]float64, len(c.programs))
	for i, program := range c.programs {
		action, _, err := program.Test(c.frame)
		check(c, err)
		if !slices.Contains(c.want, action) {
			c.Fatalf("%v answers %d, want one of %v", program, action, c.want)
		}
		perPacket(c, program, c.frame, packets) // the first run warms up
		times[i] = make([]float64, rounds)
	}
	for round := range rounds {
		for i, program := range c.programs {
			times[i][round] = perPacket(c, program, c.frame, packets)
		}
	}
	return times
}

// BenchmarkPeers runs the same frames through the programs that the gate and
// xdp-filter have attached, by the kernel's test-run: program against program,
// without the cost of a device. The gate is measured from the hook on, with
// whatever root program it has there.
func BenchmarkPeers(b *testing.B) {
	y := enterYard(b)
	gate, filter := armed(b, y, armGate), armed(b, y, armXDPFilter)
	rounds, packets := setting(b, "ROUNDS", 15), setting(b, "PACKETS", 400_000)
	for _, kind := range []struct {
		name   string
		frame  frame
		action uint32
	}{
		{"sip4", frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 400}, 1},
		{"sip6", frame{source: stranger6, protocol: protoUDP, port: 5060, payload: 400}, 1},
		{"tcp4", frame{source: stranger4, protocol: protoTCP, port: 40000, payload: 400}, 2},
		{"tcp6", frame{source: stranger6, protocol: protoTCP, port: 40000, payload: 400}, 2},
	} {
		bare := bareFrags(b, "bare", int32(kind.action))
		c := contest{b, kind.frame.bytes(), []uint32{kind.action}, []*ebpf.Program{bare, gate, filter}}
		times := c.run(rounds, packets)
		say("figure test-run/%s/bare %.3f", kind.name, median(ratios(times[1], times[0])))
		say("figure test-run/%s/xdp-filter %.3f", kind.name, median(ratios(times[1], times[2])))
		for i, name := range []string{"bare", theGate, xdpFilter} {
			say("raw test-run/%s/%s %.2f", kind.name, name, median(times[i]))
		}
	}
}

// armed is the program that a receiver has attached to a box, with ten networks
// of each family.
func armed(tb testing.TB, y *yard.Yard, arm func(testing.TB, *yard.Box, []netip.Prefix) error) *ebpf.Program {
	tb.Helper()
	box, err := y.Box()
	check(tb, err)
	list := slices.Concat(prefixes.New(10, false).List(10), prefixes.New(10, true).List(10))
	check(tb, y.Within(box.Space, func() error { return arm(tb, box, list) }))
	return attached(tb, y, box)
}
