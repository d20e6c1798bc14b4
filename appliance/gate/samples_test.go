package gate

import (
	"context"
	"net/netip"
	"testing"

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
	var credit bpf.GateCredit
	for credit.Left == 0 {
		check(t, g.kernel.Credits.Lookup(uint32(0), &credit))
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
		got.Time = c.want.Time
		if got != c.want {
			t.Errorf("sampled %+v, want %+v", got, c.want)
		}
	}
	cancel()
	check(t, <-done)
}

// With a dead reader the credit runs out and the counters stay exact.
func TestDeadReaderCostsNothing(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	check(t, p.Credits.Put(uint32(0), bpf.GateCredit{Left: 10}))
	for range 50 {
		p.verdict(attack)
	}
	var credit bpf.GateCredit
	check(t, p.Credits.Lookup(uint32(0), &credit))
	if credit.Left != 0 || p.tallies()[appliance.ReasonSIPSource].Packets != 50 {
		t.Errorf("credit %d after 50 drops, tallies %v", credit.Left, p.tallies())
	}
}
