package inspector

import (
	"sync/atomic"

	"github.com/ringfence/ringfence/appliance"
)

// tallies counts messages by reason: those refused for what they are, and the
// judged requests by what was said of them.
type tallies [256]atomic.Uint64

func (t *tallies) count(reason appliance.Reason) { t[reason].Add(1) }

// snapshot returns every count that is not zero.
func (t *tallies) snapshot() map[appliance.Reason]uint64 {
	all := make(map[appliance.Reason]uint64)
	for i := range t {
		if n := t[i].Load(); n > 0 {
			all[appliance.Reason(i)] = n
		}
	}
	return all
}
