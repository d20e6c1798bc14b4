package gate

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

func controlsOf(t *testing.T, g *Gate) (out bpf.GateControl) {
	t.Helper()
	check(t, g.kernel.Controls.Lookup(uint32(0), &out))
	return out
}

// While a gate takes another's place both tell the same program what to do: neither
// undoes what the other has told it.
func TestTwoGatesTellOneProgram(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	before, _ := l.open("wan")
	next, _ := l.open("wan")
	const times = 2000
	start := controlsOf(t, next).Epoch
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < times && err == nil; n++ {
			err = before.renewBudget()
		}
		done <- err
	}()
	for range times {
		check(t, next.renewBudget())
	}
	check(t, <-done)
	if got := controlsOf(t, next).Epoch - start; got != 2*times {
		t.Errorf("%d of %d new budgets are left", got, 2*times)
	}
}

// A cut is in force when the gate says so, though the gate before counts the cuts
// meanwhile.
func TestCutWhileAnotherGateCounts(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	before, _ := l.open("wan")
	next, _ := l.open("wan")
	done, stop := make(chan error, 1), make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := before.Uncut(appliance.MediaKey{Remote: netip.MustParseAddr("192.0.2.99"), RemotePort: 1}); err != nil {
				done <- err
				return
			}
		}
	}()
	for n := range 1000 {
		key := appliance.MediaKey{Remote: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), RemotePort: 4000}
		check(t, next.Cut(time.Hour, key))
		var want bpf.GateControl
		markFar(&want, mediaKey(key))
		have := controlsOf(t, next)
		for i, bits := range want.Far {
			if have.Cuts == 0 || have.Far[i]&bits != bits {
				t.Fatalf("cut %d: the program does not look for it, of %d", n, have.Cuts)
			}
		}
		check(t, next.Uncut(key))
	}
	close(stop)
	check(t, <-done)
}
