package gate

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// kernel is all that a comparison with the model asks of the real programs: the
// one that judges what enters by the WAN and the one that sees what leaves, on
// maps of their own. One that can't do what it is asked fails its test.
type kernel interface {
	enforce(guard rules.Guard)
	// verdict is the quick way to judge a frame, and judge the slow one.
	verdict(frame []byte) appliance.Verdict
	judge(frame []byte) (appliance.Verdict, appliance.Reason)
	tallies() appliance.Tallies // since the program was loaded
	egress(frame []byte) appliance.Verdict
	ban(source netip.Addr, until time.Duration) // since boot
	unban(source netip.Addr)
	permit(key appliance.MediaKey, until time.Duration)
	cut(key appliance.MediaKey, until time.Duration)
	uncut(key appliance.MediaKey)
	forget() // bans, flows, fragments, meters, permits and cuts
}

// loadKernel returns the kernel's side, or skips where there is none to load.
func loadKernel(t testing.TB) kernel {
	t.Helper()
	return loadProgram(t)
}

// quiet lets a fuzz target use what was loaded outside it: there, a testing.F
// must not be asked for help.
type quiet struct{ testing.TB }

func (quiet) Helper() {}
