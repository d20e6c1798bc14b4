package control

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
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

// rank counts the samples in memory by source, port and reason.
func (r *recent) rank(limit int) api.Top {
	samples := r.newest(0, recentLength)
	sources, ports, reasons := map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	for _, one := range samples {
		sources[neighbourhood(one.Source.Addr())]++
		ports[fmt.Sprintf("%s/%d", one.Protocol, one.Destination.Port())]++
		reasons[one.Reason.String()]++
	}
	return api.Top{
		Samples: len(samples), Sources: ranking(sources, limit), Ports: ranking(ports, limit), Reasons: ranking(reasons, limit),
	}
}

// neighbourhood is what one attacker holds: an IPv4 address, an IPv6 /64.
func neighbourhood(addr netip.Addr) string {
	if !addr.Is6() {
		return addr.String()
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}

func ranking(counts map[string]uint64, limit int) []api.Count {
	out := make([]api.Count, 0, len(counts))
	for key, count := range counts {
		out = append(out, api.Count{Key: key, Count: count})
	}
	slices.SortFunc(out, func(a, b api.Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return out[:min(limit, len(out))]
}
