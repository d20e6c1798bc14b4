package inspector

import (
	"context"
	"time"
)

// reap ends what nobody ends: INVITEs that ring for ever, dialogs without a BYE,
// registrations that were not refreshed.
func (i *Inspector) reap(ctx context.Context) {
	ticker := time.NewTicker(i.bounds.sweep)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			i.sweep(i.now())
		}
	}
}

func (i *Inspector) sweep(now time.Time) {
	defer i.catch()
	for _, r := range i.relays.due(now) {
		r.expire(now)
	}
	for _, d := range i.dialogs.due(now) {
		i.drop(d, now)
	}
	i.bindings.expire(now)
	i.txs.shed(time.Now())
}
