package control

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/tally"
)

// tops guards the rankings: samples arrive while somebody asks.
type tops struct {
	mu   sync.Mutex
	tops *tally.Tops
}

func newTops() *tops { return &tops{tops: tally.NewTops()} }

func (t *tops) sample(now time.Time, drop appliance.Drop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tops.Sample(now, drop)
}

func (t *tops) observe(now time.Time, tallies appliance.Tallies) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tops.Observe(now, tallies)
}

func (t *tops) rank(now time.Time, window tally.Window, limit int) tally.Ranking {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tops.Rank(now, window, limit)
}

// Observe takes the gate's counts, so that the rankings know which of them
// belong to which minute. It wants to be called a few times a minute.
func (c *Control) Observe() error {
	_, err := c.observe()
	return err
}

func (c *Control) observe() (appliance.Tallies, error) {
	tallies, err := c.gate.Tallies()
	if err != nil {
		return nil, fmt.Errorf("read the gate's tallies: %w", err)
	}
	c.tops.observe(c.now(), tallies)
	return tallies, nil
}

// top ranks a window. Tallies, refusals and calls are for others to fill in.
func (c *Control) top(window tally.Window, limit int) api.Top {
	now := c.now()
	ranking := c.tops.rank(now, window, limit)
	out := api.Top{
		Time: now, Window: window.String(), Since: ranking.Since, Packets: ranking.Packets,
		Sources: []api.Count{}, Ports: []api.Count{}, Reasons: reasons(ranking.Reasons, limit),
	}
	for _, one := range ranking.Sources {
		out.Sources = append(out.Sources, api.Count{Key: show(one.Key), Count: one.Count, Over: one.Over})
	}
	for _, one := range ranking.Ports {
		out.Ports = append(out.Ports, api.Count{Key: fmt.Sprintf("%s/%d", one.Key.Protocol, one.Key.Port), Count: one.Count, Over: one.Over})
	}
	return out
}

// reasons ranks those that block.
func reasons(tallies appliance.Tallies, limit int) []api.Count {
	out := []api.Count{}
	for reason, one := range tallies {
		if reason.Verdict() == appliance.Block && one.Packets > 0 {
			out = append(out, api.Count{Key: reason.String(), Count: one.Packets})
		}
	}
	slices.SortFunc(out, func(a, b api.Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return out[:min(limit, len(out))]
}
