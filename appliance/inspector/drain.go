package inspector

import (
	"context"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// draining refuses what would open something while Run ends. A neighbour on the
// LAN is told to come back; a trunk hears nothing, and repeats its request until
// the next daemon takes it.
var draining = refusal{status: 503, phrase: "Service Unavailable", reason: appliance.ReasonShutdown,
	headers: []field{{"Retry-After", "5"}}}

// settles reports whether a request belongs to what is in flight: it must be able
// to end while the inspector drains.
func settles(method string) bool {
	return method == "BYE" || method == "PRACK" || method == "CANCEL" || method == "ACK"
}

// turnedAway refuses a request that came too late, unless it is a call for help or
// settles what came before.
func (i *Inspector) turnedAway(q *request, urgent bool) bool {
	if !i.closing.Load() || urgent || settles(q.Method) {
		return false
	}
	if q.who.side == inside {
		i.refuse(q, draining)
		return true
	}
	i.tallies.count(draining.reason)
	return true
}

// drain waits, after ctx has ended, until no request is in flight or the bound has
// passed. What still rings then is withdrawn: its answer would find nobody.
func (i *Inspector) drain(ctx context.Context) {
	<-ctx.Done()
	i.closing.Store(true)
	i.settled(i.bounds.drain)
	for _, r := range i.relays.open() {
		r.withdraw()
	}
	i.settled(i.bounds.withdraw)
}

// settled waits until nothing is in flight, for the given time at most.
func (i *Inspector) settled(most time.Duration) {
	const pause = 20 * time.Millisecond
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(pause) {
		if !i.txs.busy() && !i.dialogs.awaiting() {
			return
		}
	}
}

// busy reports whether a request waits for its final response that somebody waits
// for. An OPTIONS is none: a trunk that is silent must not hold up a restart.
func (t *transactions) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.servers {
		if s.status.Load() < 200 {
			return true
		}
	}
	for _, c := range t.clients {
		if c.final.Load() == 0 && c.sent.Method != "OPTIONS" {
			return true
		}
	}
	return false
}

// awaiting reports whether an answered INVITE has not been acknowledged yet.
func (s *dialogs) awaiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.all {
		d.mu.Lock()
		awaits := d.awaitsACK && !d.over
		d.mu.Unlock()
		if awaits {
			return true
		}
	}
	return false
}

// open returns every INVITE under way.
func (s *relays) open() []*relay {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*relay, 0, len(s.all))
	for r := range s.all {
		all = append(all, r)
	}
	return all
}

// withdraw cancels an INVITE that nobody will be there to see answered, and says
// so to its sender, who may try another way.
func (r *relay) withdraw() {
	r.mu.Lock()
	ringing := r.final == 0 && r.provisional && !r.cancelSent
	r.cancelSent = r.cancelSent || ringing
	r.mu.Unlock()
	if ringing {
		r.sendCancel()
	}
	r.giveUp(503, "Service Unavailable")
}
