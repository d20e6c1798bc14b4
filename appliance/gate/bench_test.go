package gate

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

const (
	benchRounds  = 7
	benchRepeats = 500_000 // packets in one measurement
)

// benchCase is one kind of packet, compared with the bare program of its own
// verdict.
type benchCase struct {
	name  string
	frame []byte
	want  appliance.Reason
}

func benchCases() []benchCase {
	udp := func(f frame) []byte { f.protocol, f.port, f.payload = protoUDP, 5060, 400; return f.bytes() }
	return []benchCase{
		{"SIP over IPv4, stranger", udp(frame{source: stranger4}), appliance.ReasonSIPSource},
		{"SIP over IPv6, stranger", udp(frame{source: stranger6}), appliance.ReasonSIPSource},
		{"SIP over IPv4, stranger, VLAN", udp(frame{source: stranger4, tags: []uint16{tagC}}), appliance.ReasonSIPSource},
		{"SIP over IPv4, stranger, QinQ", udp(frame{source: stranger4, tags: []uint16{tagS, tagC}}), appliance.ReasonSIPSource},
		{"SIP over IPv4, provider", udp(frame{source: provider4}), appliance.ReasonSIPAllowed},
		{"SIP over IPv6, provider", udp(frame{source: provider6}), appliance.ReasonSIPAllowed},
		{"established TCP, IPv4", frame{source: stranger4, protocol: protoTCP, port: 40000, payload: 400}.bytes(), appliance.ReasonNotGuarded},
		{"established TCP, IPv6", frame{source: stranger6, protocol: protoTCP, port: 40000, payload: 400}.bytes(), appliance.ReasonNotGuarded},
	}
}

// BenchmarkRatios measures the whole program by the kernel's test-run, in
// rounds that take turns with a bare program of two instructions, and prints
// the median of the rounds' ratios: nanoseconds mean nothing on another machine.
func BenchmarkRatios(b *testing.B) {
	p := loadProgram(b)
	bares := map[appliance.Verdict]*ebpf.Program{
		appliance.Block: bare(b, "bare_drop", 1),
		appliance.Allow: bare(b, "bare_pass", 2),
	}
	for b.Loop() {
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		check(b, write(table, "gate: time per packet in the kernel's test-run, as a multiple of a bare XDP program with the same verdict"))
		check(b, write(table, "(medians of %d interleaved rounds of %d packets; lower is better)", benchRounds, benchRepeats))
		check(b, write(table, "packet\tverdict\t10 sources\t8000 sources"))
		for _, c := range benchCases() {
			few := p.ratio(benchPerimeter(10), c, bares[c.want.Verdict()])
			many := p.ratio(benchPerimeter(8000), c, bares[c.want.Verdict()])
			check(b, write(table, "%s\t%s\t%.2f\t%.2f", c.name, c.want.Verdict(), few, many))
		}
		check(b, table.Flush())
		fmt.Printf("verifier: %d instructions\n", p.verified())
	}
}

func write(table *tabwriter.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(table, format+"\n", args...)
	return err
}

// benchPerimeter has n sources: those of the tests, and as many of each family
// around them.
func benchPerimeter(n int) rules.Guard {
	guard := perimeter
	each := (n - len(perimeter.Sources)) / 2
	guard.Sources = slices.Concat(perimeter.Sources, scattered(each, false), scattered(each, true))
	return guard
}

func (p program) ratio(guard rules.Guard, c benchCase, bare *ebpf.Program) float64 {
	p.Helper()
	p.enforce(guard)
	p.expect(c.name, guard, c.frame, c.want)
	ratios := make([]float64, benchRounds)
	for i := range ratios {
		ratios[i] = float64(p.measure(p.Gate, c.frame)) / float64(p.measure(bare, c.frame))
	}
	slices.Sort(ratios)
	return ratios[benchRounds/2]
}

func (p program) measure(program *ebpf.Program, frame []byte) time.Duration {
	p.Helper()
	_, took, err := program.Benchmark(frame, benchRepeats, nil)
	check(p, err)
	return took
}
