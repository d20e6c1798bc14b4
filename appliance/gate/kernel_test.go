package gate

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// needRoot skips where the kernel would not let the test do anything.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: loading XDP programs needs root")
	}
}

// program is the gate's programs with maps of their own, attached to nothing and
// run by the kernel's test-run.
type program struct {
	testing.TB
	*objects
	gate *Gate // around the same objects
}

func loadProgram(t testing.TB) program {
	t.Helper()
	needRoot(t)
	specs, err := specify()
	check(t, err)
	o := &objects{}
	t.Cleanup(func() { check(t, o.Close()) })
	check(t, o.loadPrograms(specs))
	check(t, o.dispatch())
	return program{t, o, &Gate{
		config: Config{Now: time.Now}, report: func(appliance.Event) {}, specs: specs, kernel: o, media: o, turned: time.Now(),
	}}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		if refused, ok := errors.AsType[*ebpf.VerifierError](err); ok {
			t.Logf("%-40v", refused) // the end of the verifier's log
		}
		t.Fatal(err)
	}
}

// enforce puts a perimeter in force.
func (p program) enforce(guard rules.Guard) {
	p.Helper()
	check(p, p.gate.swap(guard, "test"))
}

// verdict runs one frame through the root, as the driver would.
func (p program) verdict(frame []byte) appliance.Verdict {
	p.Helper()
	result, _, err := p.Root.Test(frame)
	check(p, err)
	switch result {
	case 1: // XDP_DROP
		return appliance.Block
	case 2: // XDP_PASS
		return appliance.Allow
	}
	p.Fatalf("XDP action %d for %s", result, hex.EncodeToString(frame))
	return appliance.Block
}

func (p program) tallies() appliance.Tallies {
	p.Helper()
	tallies, err := p.gate.Tallies()
	check(p, err)
	return tallies
}

// judge runs one frame and finds the reason by the counter that moved.
func (p program) judge(frame []byte) (appliance.Verdict, appliance.Reason) {
	p.Helper()
	return p.judgeBy(p.verdict, frame)
}

func (p program) judgeBy(run func(frame []byte) appliance.Verdict, frame []byte) (appliance.Verdict, appliance.Reason) {
	p.Helper()
	before := p.tallies()
	verdict := run(frame)
	reason := appliance.Reason(255)
	for candidate, tally := range p.tallies() {
		if tally.Packets == before[candidate].Packets {
			continue
		}
		if reason != 255 || tally.Packets-before[candidate].Packets != 1 {
			p.Fatalf("more than one count for one packet")
		}
		if got := tally.Bytes - before[candidate].Bytes; got != uint64(len(frame)) {
			p.Errorf("counted %d bytes of a frame of %d", got, len(frame))
		}
		reason = candidate
	}
	return verdict, reason
}

// egress shows a frame to the program on the way out.
func (p program) egress(frame []byte) appliance.Verdict {
	p.Helper()
	result, _, err := p.Egress.Test(frame)
	if errors.Is(err, unix.EINVAL) {
		return appliance.Allow // the kernel makes no packet of it: its IP header is cut
	}
	check(p, err)
	switch int32(result) {
	case -1: // TC_ACT_UNSPEC
		return appliance.Allow
	case 2: // TC_ACT_SHOT
		return appliance.Block
	}
	p.Fatalf("the way out answers %d for %s", int32(result), hex.EncodeToString(frame))
	return appliance.Block
}

func (p program) permit(key appliance.MediaKey, until time.Duration) {
	p.Helper()
	check(p, p.gate.Permit(until-sinceBoot(), key))
}

func (p program) cut(key appliance.MediaKey, until time.Duration) {
	p.Helper()
	check(p, p.gate.Cut(until-sinceBoot(), key))
}

func (p program) uncut(key appliance.MediaKey) {
	p.Helper()
	check(p, p.gate.Uncut(key))
}

func sinceBoot() time.Duration {
	now := time.Now()
	return time.Duration(bootTime(now, now))
}

func (p program) ban(source netip.Addr, until time.Duration) {
	p.Helper()
	check(p, p.gate.Ban(appliance.Ban{Source: netip.PrefixFrom(source, source.BitLen()), Until: time.Now().Add(until - sinceBoot()), Reason: "test"}))
}

func (p program) unban(source netip.Addr) {
	p.Helper()
	if err := p.gate.Unban(netip.PrefixFrom(source, source.BitLen())); err != nil && appliance.CodeOf(err) != appliance.CodeNotFound {
		p.Fatal(err)
	}
}

// forget empties what is remembered between packets.
func (p program) forget() {
	p.Helper()
	empty(p, p.Bans, bpf.GateSource{})
	empty(p, p.Flows, bpf.GateFlow{})
	empty(p, p.Fragments, bpf.GateFragment{})
	empty(p, p.Meters, bpf.GateSource{})
	empty(p, p.MediaOk, bpf.GateMedia{})
	empty(p, p.MediaCut, bpf.GateMedia{})
	empty(p, p.MediaFlows, bpf.GateFlow{})
	check(p, p.gate.Uncut())
	check(p, p.BanFront.Put(uint32(0), bytesOf(&bpf.GateFront{})))
	check(p, p.FlowFront.Put(uint32(0), bytesOf(&bpf.GateFront{})))
}

func empty[K any](t testing.TB, m *ebpf.Map, key K) {
	t.Helper()
	for m.NextKey(nil, &key) == nil {
		check(t, m.Delete(&key))
	}
}
