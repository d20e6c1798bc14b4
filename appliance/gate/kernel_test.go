package gate

import (
	"os"
	"testing"

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

// program is the XDP program with its maps, attached to nothing and run by the
// kernel's test-run.
type program struct {
	testing.TB
	*bpf.GateObjects
}

func loadProgram(t testing.TB) program {
	t.Helper()
	needRoot(t)
	spec, err := specify()
	check(t, err)
	objects := &bpf.GateObjects{}
	check(t, spec.LoadAndAssign(objects, nil))
	t.Cleanup(func() { check(t, objects.Close()) })
	return program{TB: t, GateObjects: objects}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enforce puts a perimeter in force.
func (p program) enforce(guard rules.Guard) {
	p.Helper()
	spec, err := specify()
	check(p, err)
	image, err := compileImage(guard, "test")
	check(p, err)
	check(p, publish(spec, p.Generation, image))
}

// verdict runs one frame through the kernel.
func (p program) verdict(frame []byte) appliance.Verdict {
	p.Helper()
	result, _, err := p.Gate.Test(frame)
	check(p, err)
	switch result {
	case 1: // XDP_DROP
		return appliance.Block
	case 2: // XDP_PASS
		return appliance.Allow
	}
	p.Fatalf("XDP action %d", result)
	return appliance.Block
}

func (p program) tallies() appliance.Tallies {
	p.Helper()
	tallies, err := (&Gate{kernel: p.GateObjects}).Tallies()
	check(p, err)
	return tallies
}

// judge runs one frame and finds the reason by the counter that moved.
func (p program) judge(frame []byte) (appliance.Verdict, appliance.Reason) {
	p.Helper()
	before := p.tallies()
	verdict := p.verdict(frame)
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
