package gate

import (
	"encoding/hex"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// stackProgram judges by the program on the way into the stack.
type stackProgram struct{ program }

func (p stackProgram) verdict(frame []byte) appliance.Verdict {
	p.Helper()
	result, _, err := p.Ingress.Test(frame)
	if errors.Is(err, unix.EINVAL) {
		return p.program.verdict(frame) // the kernel makes no packet of it, and so no card either
	}
	check(p, err)
	switch int32(result) {
	case 2: // TC_ACT_SHOT
		return appliance.Block
	case -1: // TC_ACT_UNSPEC
		return appliance.Allow
	}
	p.Fatalf("tc action %d for %s", int32(result), hex.EncodeToString(frame))
	return appliance.Block
}

func (p stackProgram) judge(frame []byte) (appliance.Verdict, appliance.Reason) {
	p.Helper()
	return p.judgeBy(p.verdict, frame)
}

func TestStackAgrees(t *testing.T) {
	var k kernel = stackProgram{loadProgram(t)}
	k.enforce(fortress())
	for _, e := range evasions() {
		if got := e.seen(k); got != verdictOf(e.want) {
			t.Errorf("%d. %s: %s, want %s", e.item, e.name, got, verdictOf(e.want))
		}
	}
	random := newRandom(*seed)
	c := comparison{TB: t, kernel: k, random: random}
	c.run(max(5000, *packets/20))
	if len(c.reached) < 15 {
		t.Errorf("reached only %v", c.reached)
	}
}

// TestWireAgrees sends on a real wire what a test-run of a program hands to it
// directly: what the kernel does with a frame on the way must not matter.
func TestWireAgrees(t *testing.T) {
	for _, mode := range []Mode{ModeNative, ModeStack} {
		t.Run(string(mode), func(t *testing.T) {
			w := newTown(t, mode == ModeStack)
			w.in(w.outside, func() { // which has something to say of its own else
				check(t, os.WriteFile("/proc/sys/net/ipv6/conf/net/disable_ipv6", []byte("1"), 0))
			})
			wire := w.plug()
			g, _ := w.open("wan")
			w.wants(g, mode, false)
			check(t, g.swap(fortress(), "abcd"))
			memory := program{t, g.kernel, g}
			wire.send(g, lldp, appliance.ReasonNotIP, 1)
			told := 0
			for _, e := range evasions() {
				if want, onlyIn := e.counts(); onlyIn {
					memory.forget()
					told++
					if got := wire.counted(g, e.steps); got != want {
						t.Errorf("%d. %s: counted %v, want %v", e.item, e.name, got, want)
					}
				}
			}
			t.Logf("%d stories on the wire", told)
		})
	}
}

var lldp = append(append(make([]byte, 12), 0x88, 0xcc), make([]byte, 46)...)

// counted is the packets counted of each reason.
type counted [64]uint64

// counts is what the model says of all frames, if nothing but frames arrive.
func (e evasion) counts() (all counted, onlyIn bool) {
	guard, m := fortress(), &rules.Memory{Now: present}
	for _, step := range e.steps {
		if step.act != "in" {
			return all, false
		}
		all[step.model(&guard, m)]++
	}
	return all, true
}

// counted sends frames and one more, and returns what was counted of the frames
// once the last one was: a wire keeps their order.
func (w wire) counted(g *Gate, steps []step) (all counted) {
	w.Helper()
	before := w.readCounts(g)
	last := uint64(1)
	guard, m := fortress(), &rules.Memory{Now: present}
	for _, step := range steps {
		_, err := unix.Write(w.fd, step.frame)
		check(w, err)
		if step.model(&guard, m) == appliance.ReasonNotIP {
			last++
		}
	}
	_, err := unix.Write(w.fd, lldp)
	check(w, err)
	soon(w, "the last frame is counted", func() bool {
		all = w.readCounts(g)
		return all[appliance.ReasonNotIP] >= before[appliance.ReasonNotIP]+last
	})
	for reason := range all {
		all[reason] -= before[reason]
	}
	all[appliance.ReasonNotIP]--
	return all
}

func (w wire) readCounts(g *Gate) (all counted) {
	w.Helper()
	tallies, err := g.Tallies()
	check(w, err)
	for reason, tally := range tallies {
		all[reason] = tally.Packets
	}
	return all
}
