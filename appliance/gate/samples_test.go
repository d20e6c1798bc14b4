package gate

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

func TestSamples(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	w := l.plug()
	g, _ := l.open("wan")
	check(t, g.swap(perimeter, "abcd"))
	w.send(g, attack, appliance.ReasonSIPSource, 5) // nobody reads: no sample
	ctx, cancel := context.WithCancel(context.Background())
	drops, done := make(chan appliance.Drop, 4096), make(chan error, 1)
	go func() { done <- g.Run(ctx, func(d appliance.Drop) { drops <- d }) }()
	for control := (bpf.GateControl{}); control.Epoch == 0; {
		check(t, g.kernel.Controls.Lookup(uint32(0), &control))
	}
	for _, c := range []struct {
		frame []byte
		want  appliance.Drop
	}{
		{attack, appliance.Drop{
			Source: netip.MustParseAddrPort("198.51.100.66:5060"), Destination: netip.MustParseAddrPort("198.51.100.1:5060"),
			Protocol: "udp", Reason: appliance.ReasonSIPSource,
		}},
		{frame{source: stranger6, protocol: protoTCP, port: 443, tags: []uint16{tagS, tagC}}.bytes(), appliance.Drop{
			Source: netip.MustParseAddrPort("[2001:db8:2::66]:5060"), Destination: netip.MustParseAddrPort("[2001:db8:ffff::1]:443"),
			Protocol: "tcp", VLAN: 100, Reason: appliance.ReasonHTTPSource,
		}},
		{frame{source: stranger4, protocol: protoTCP, offset: 1}.bytes(), appliance.Drop{
			Source: netip.MustParseAddrPort("198.51.100.66:0"), Destination: netip.MustParseAddrPort("198.51.100.1:0"),
			Protocol: "tcp", Reason: appliance.ReasonFragmentTiny,
		}},
		{frame{source: stranger4, tags: []uint16{tagC, tagC, tagC}}.bytes(), appliance.Drop{VLAN: 100, Reason: appliance.ReasonVLANDepth}},
	} {
		w.send(g, c.frame, c.want.Reason, 1)
		got := <-drops
		c.want.Interface, c.want.Length = "wan", uint16(len(c.frame))
		if got.Time.IsZero() {
			t.Error("no time")
		}
		if got.Weight == 0 {
			t.Error("a sample that stands for nothing")
		}
		got.Time, got.Weight = c.want.Time, 0
		if got != c.want {
			t.Errorf("sampled %+v, want %+v", got, c.want)
		}
	}
	cancel()
	check(t, <-done)
}

// With a dead reader the budget is spent and the counters stay exact. A sample
// that is taken stands for those that were not.
func TestDeadReaderCostsNothing(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	check(t, setControl(p.objects, func(c *bpf.GateControl) { c.Epoch = 1 }))
	for range 50 {
		p.verdict(attack)
	}
	check(t, p.gate.renewBudget())
	p.verdict(attack)
	reader, err := p.gate.openSamples()
	check(t, err)
	defer func() { check(t, reader.Close()) }()
	var weights []uint64
	check(t, p.gate.drain(reader, time.Now(), func(d appliance.Drop) { weights = append(weights, d.Weight) }))
	// The test may move to another CPU on its way, which has cells of its own.
	var sum uint64
	for _, weight := range weights {
		sum += weight
	}
	if len(weights) < 3 || sum > 51 || p.tallies()[appliance.ReasonSIPSource].Packets != 51 {
		t.Errorf("weights %v after 51 drops, tallies %v", weights, p.tallies())
	}
}

// A flood from one source leaves the budget of other sources and other reasons
// alone.
func TestFloodSpendsItsOwnBudget(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	check(t, p.gate.renewBudget())
	for range 10_000 {
		p.verdict(attack)
	}
	others := map[netip.Addr]bool{}
	for n := range 64 {
		source := netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + n)})
		others[source] = true
		p.verdict(frame{source: source, protocol: protoTCP, port: 443}.bytes())
		p.verdict(frame{source: source, protocol: protoUDP, port: 5060}.bytes())
	}
	reader, err := p.gate.openSamples()
	check(t, err)
	defer func() { check(t, reader.Close()) }()
	seen := map[appliance.Reason]int{}
	check(t, p.gate.drain(reader, time.Now(), func(d appliance.Drop) {
		if others[d.Source.Addr()] {
			seen[d.Reason]++
		}
	}))
	if seen[appliance.ReasonSIPSource] < 7 || seen[appliance.ReasonHTTPSource] < 8 {
		t.Errorf("samples of the others: %v", seen)
	}
}
