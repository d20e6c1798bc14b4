package control

import (
	"sync"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// recentLength is how many samples stay in memory, about 150 bytes each.
const recentLength = 2048

// recent is a ring of the latest dropped packets that the gate showed.
type recent struct {
	mu      sync.Mutex
	samples [recentLength]api.Sample
	count   uint64 // samples ever; the newest has this Seq
}

func (r *recent) add(drop appliance.Drop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples[r.count%recentLength] = api.Sample{Seq: r.count + 1, Drop: drop}
	r.count++
}

// newest returns at most limit samples with a Seq above after, newest first. A
// Seq that was not reached yet is an earlier daemon's: all samples come after
// it.
func (r *recent) newest(after uint64, limit int) []api.Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	if after > r.count {
		after = 0
	}
	have := min(r.count, recentLength)
	out := []api.Sample{}
	for i := uint64(0); i < have && len(out) < limit; i++ {
		sample := r.samples[(r.count-1-i)%recentLength]
		if sample.Seq <= after {
			break
		}
		out = append(out, sample)
	}
	return out
}
