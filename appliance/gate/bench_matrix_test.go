package gate

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/scripts/bench/prefixes"
)

// kind is one sort of packet of the matrix.
type kind struct {
	name   string
	reason appliance.Reason
	listed bool // its source is in the allowlist
	frame
}

func kinds() []kind {
	rtp := append([]byte{0x80, 0}, make([]byte, 170)...) // RFC 3550 section 5.1
	return []kind{
		{"dropped SIP", appliance.ReasonSIPSource, false, frame{protocol: protoUDP, port: 5060, payload: 400}},
		{"allowed SIP", appliance.ReasonSIPAllowed, true, frame{protocol: protoUDP, port: 5060, payload: 400}},
		{"established TCP", appliance.ReasonNotGuarded, false, frame{protocol: protoTCP, port: 40000, payload: 400}},
		{"RTP", appliance.ReasonNotGuarded, false, frame{protocol: protoUDP, port: 30000, content: rtp}},
		{"first fragment, dropped", appliance.ReasonSIPSource, false, frame{protocol: protoUDP, port: 5060, payload: 1200, more: true}},
	}
}

// wraps are the ways in which packets reach a box.
var wraps = []struct {
	name string
	wrap func(*frame)
}{
	{"", func(*frame) {}},
	{", VLAN", func(f *frame) { f.tags = []uint16{tagC} }},
	{", PPPoE", func(f *frame) { f.session = &session{head: [2]byte{0x11, 0}} }},
}

// BenchmarkMatrix measures the kinds of packet that a box sees, with allowlists
// of some lengths, each in rounds that take turns with a bare program of the same
// verdict. It prints medians of the rounds' ratios: nanoseconds mean nothing on
// another machine.
func BenchmarkMatrix(b *testing.B) {
	lengths := upTo(setting(b, "PREFIXES", 1_000_000), 10, 1000, 100_000, 1_000_000)
	rounds, packets := setting(b, "ROUNDS", 9), setting(b, "PACKETS", 200_000)
	enterYard(b)
	m := &matrix{program: loadProgram(b), rows: map[string][]string{}, bares: map[uint32]*ebpf.Program{
		1: bareFrags(b, "bare", 1), 2: bareFrags(b, "bare", 2),
	}}
	pools := []*prefixes.Pool{prefixes.New(lengths[len(lengths)-1], false), prefixes.New(lengths[len(lengths)-1], true)}
	for _, n := range lengths {
		m.enforce(sipFrom(slices.Concat(pools[0].List(n), pools[1].List(n))))
		for i, family := range []string{"IPv4", "IPv6"} {
			m.measure(family, pools[i].Strangers(2)[0], pools[i].Inside(2, 10)[0], rounds, packets)
		}
	}
	m.print(lengths, rounds, packets)
}

type matrix struct {
	program
	bares map[uint32]*ebpf.Program
	order []string
	rows  map[string][]string
}

func (m *matrix) measure(family string, stranger, listed netip.Addr, rounds, packets int) {
	m.Helper()
	for _, k := range kinds() {
		for _, w := range wraps {
			f := k.frame
			if f.source = stranger; k.listed {
				f.source = listed
			}
			if !f.source.Is4() && f.more {
				f.more, f.chain = false, []extension{{kind: extFragment, size: 8, word: 1}}
			}
			w.wrap(&f)
			name := fmt.Sprintf("%s, %s%s", k.name, family, w.name)
			if _, known := m.rows[name]; !known {
				m.order = append(m.order, name)
			}
			m.rows[name] = append(m.rows[name], m.ratio(name, f.bytes(), k.reason, rounds, packets))
		}
	}
}

func (m *matrix) ratio(name string, frame []byte, reason appliance.Reason, rounds, packets int) string {
	m.Helper()
	if _, got := m.judge(frame); got != reason {
		m.Fatalf("%s: %v, want %v", name, got, reason)
	}
	action := uint32(1)
	if reason.Verdict() == appliance.Allow {
		action = 2
	}
	c := contest{m.TB, frame, []uint32{action}, []*ebpf.Program{m.bares[action], m.Root}}
	times := c.run(rounds, packets)
	return fmt.Sprintf("%.2f", median(ratios(times[1], times[0])))
}

func (m *matrix) print(lengths []int, rounds, packets int) {
	m.Helper()
	say("time of a packet in the kernel's test-run, in multiples of a bare XDP program of the same verdict, by the")
	say("length of the allowlist of each family (medians of %d rounds of %d packets; lower is better):", rounds, packets)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cells []string) {
		check(m, write(table, "%s\t%s\t", name, strings.Join(cells, "\t")))
	}
	var heads []string
	for _, n := range lengths {
		heads = append(heads, fmt.Sprint(n))
	}
	row("packet", heads)
	for _, name := range m.order {
		row(name, m.rows[name])
	}
	check(m, table.Flush())
	say("")
}

func write(table *tabwriter.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(table, format+"\n", args...)
	return err
}
