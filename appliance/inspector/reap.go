package inspector

import (
	"context"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// atEachSweep does something again and again, until ctx ends.
func (i *Inspector) atEachSweep(ctx context.Context, do func(now time.Time)) {
	ticker := time.NewTicker(i.bounds.sweep)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(i.now())
		}
	}
}

// sweep ends what nobody ends: INVITEs that ring for ever, dialogs without a BYE,
// registrations that were not refreshed.
func (i *Inspector) sweep(now time.Time) {
	defer i.catch()
	for _, r := range i.relays.due(now) {
		r.expire(now)
	}
	for _, r := range i.relays.impatientOnes(now) {
		r.giveWay()
	}
	late, quiet := i.dialogs.look(now)
	for _, d := range late {
		if d.up() {
			i.finish(d, appliance.EndedLongest)
			continue
		}
		i.drop(d, now)
	}
	for _, d := range quiet {
		i.ask(d)
	}
	i.bindings.expire(now)
	i.pursue(now)
	i.media.renew(now)
	i.watch.accounts.expire(now)
	i.ring.sweep()
	i.tellOmissions(now, toldEvery)
	i.txs.shed(time.Now())
}
