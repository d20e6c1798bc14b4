package fraud

import "time"

// attempts remembers what became of the latest attempts, so that the INVITE with
// credentials, and any repeat, is no second one. Bounded: the oldest goes.
type attempts struct {
	ring []uint64
	next int
	all  map[uint64]*Outcome // nil for one that passed: most do, and small is quick
}

func newAttempts(n int) attempts {
	return attempts{ring: make([]uint64, n), all: make(map[uint64]*Outcome)}
}

// seen returns the outcome of an earlier INVITE of the same attempt. An empty key
// is never the same.
func (a *attempts) seen(key string) (Outcome, bool) {
	if key == "" {
		return Outcome{}, false
	}
	out, ok := a.all[hashOf(key)]
	if out == nil {
		return Outcome{Verdict: Pass}, ok
	}
	return *out, ok
}

func (a *attempts) note(key string, out Outcome) {
	if key == "" {
		return
	}
	hash := hashOf(key)
	if _, there := a.all[hash]; !there {
		delete(a.all, a.ring[a.next])
		a.ring[a.next] = hash
		a.next = (a.next + 1) % len(a.ring)
	}
	if out.Verdict == Pass {
		a.all[hash] = nil
		return
	}
	kept := out
	kept.Actions = nil
	a.all[hash] = &kept
}

// spent forgets an attempt that has come to its end: whoever uses its name again
// begins another one.
func (a *attempts) spent(key string) { delete(a.all, hashOf(key)) }

// rang is the numbers that rang once and were gone: the bait of call-back fraud.
type rang struct {
	ring []uint64
	next int
	all  map[uint64]time.Duration
}

func newRang() rang {
	return rang{ring: make([]uint64, maxInboundRang), all: make(map[uint64]time.Duration)}
}

// Inbound notes a call from outside that has ended: from number, after it rang
// that long, answered or not.
func (e *Engine) Inbound(at Moment, number string, rangFor time.Duration, answered bool) {
	if answered || rangFor > oneRing || number == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	up, hash := e.clock(at), hashOf(number)
	r := &e.inbound
	if _, there := r.all[hash]; !there {
		delete(r.all, r.ring[r.next])
		r.ring[r.next] = hash
		r.next = (r.next + 1) % len(r.ring)
	}
	r.all[hash] = up
}

// lately reports whether a number rang once within the last week.
func (r *rang) lately(number string, up time.Duration) bool {
	at, ok := r.all[hashOf(number)]
	return ok && up-at <= callbackSpan
}
