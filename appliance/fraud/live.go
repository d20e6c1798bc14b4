package fraud

import (
	"fmt"
	"time"
)

// live is one call that has been let through and has not ended.
type live struct {
	id, key  string
	number   string
	country  string
	class    Class
	rate     Tariff
	reserved Money
	begun    time.Duration // on the engine's own clock
	answered time.Duration // zero while it rings
	talks    bool
	cut      *Finding      // why its end has been asked for; nil where it has not
	asked    time.Duration // when that was, the last time
	of       [kinds]*state
}

// cutAgain is after which time the end of a call is asked for once more that has
// not come: who should have ended it may have been starting.
const cutAgain = 5 * time.Second

// end asks for the end of a call.
func (l *live) end(why Finding, up time.Duration) Action {
	l.cut, l.asked = &why, up
	return Action{Kind: ActCut, Call: l.id, Finding: why}
}

// insist asks again for the end of what should be over by now.
func (e *Engine) insist(up time.Duration) (actions []Action) {
	for _, call := range e.inOrder() {
		if call.cut != nil && up-call.asked >= cutAgain {
			actions = append(actions, call.end(*call.cut, up))
		}
	}
	return actions
}

// cost is what the call has cost so far.
func (l *live) cost(up time.Duration) Money {
	if !l.talks {
		return 0
	}
	return l.rate.Cost(max(up-l.answered, 0))
}

// committed is what must be kept for the call: what it has cost, or its reserve.
func (l *live) committed(up time.Duration) Money { return max(l.cost(up), l.reserved) }

// Answered notes that a call was answered, or that its media began to flow before
// that: money starts to run.
func (e *Engine) Answered(id string, at Moment) []Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(at)
	if call := e.live[id]; call != nil && !call.talks {
		call.talks, call.answered = true, up
		e.attempts.spent(call.key)
	}
	return nil
}

// Ended notes the end of a call, once: what it cost is spent. A call that the
// engine does not know, or that has ended already, changes nothing. challenged
// says that it was only asked for credentials, and will come again.
func (e *Engine) Ended(id string, at Moment, challenged bool) []Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(at)
	call := e.live[id]
	if call == nil {
		return nil
	}
	e.close(call, up)
	if !challenged {
		e.attempts.spent(call.key)
	}
	if !challenged && call.class.Chargeable() {
		lasted := time.Duration(0)
		if call.talks {
			lasted = up - call.answered
		}
		return e.over(call, lasted, at, up)
	}
	return nil
}

// close takes a call out of every table and books its cost.
func (e *Engine) close(call *live, up time.Duration) {
	delete(e.live, call.id)
	e.states.tick++ // there is something to keep
	cost := call.cost(up)
	for _, s := range call.of {
		s.left(call, up)
		s.spend(cost)
	}
}

// over judges a call that has ended: many that end at once are tests.
func (e *Engine) over(call *live, lasted time.Duration, at Moment, up time.Duration) []Action {
	short := uint16(0)
	if lasted < ShortCall {
		short = 1
	}
	j := e.judging(Attempt{ID: call.id, At: at, Number: call.number, Country: call.country, Class: call.class}, up)
	j.of = call.of
	for _, s := range call.of {
		j.shortCalls(s, s.ended.add(up, 1), s.short.add(up, short))
	}
	if lasted >= ShortCall {
		for _, s := range call.of {
			s.learnCountry(uint32(hashOf(call.country)), j.open)
		}
	}
	j.act()
	return j.actions
}

// Tick judges what time alone can change: how long calls last and what they cost.
// It looks a second ahead, and wants to be called more often than that while calls
// are up.
func (e *Engine) Tick(at Moment) []Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(at)
	e.roll(at, up)
	actions := e.jumped(at)
	for _, call := range e.inOrder() {
		actions = append(actions, e.duration(call, at, up)...)
	}
	actions = append(actions, e.drain(at, up)...)
	actions = append(actions, e.insist(up)...)
	e.expire(up)
	return actions
}

// duration holds a live call against its bound.
func (e *Engine) duration(call *live, at Moment, up time.Duration) []Action {
	if !call.talks || call.cut != nil || call.class == National || call.class == IntlLow {
		return nil
	}
	j := e.judging(Attempt{ID: call.id, At: at, Number: call.number, Country: call.country, Class: call.class}, up)
	j.of = call.of
	j.found(RuleLive, call.of[Extension], (up - call.answered).Minutes(), func() string {
		return fmt.Sprintf("a call to %s has lasted %.0f minutes", call.place(), (up - call.answered).Minutes())
	})
	j.act()
	return j.actions
}

// place says where a call goes, for a person.
func (l *live) place() string {
	if l.country == "" {
		return l.number
	}
	return l.number + " (" + l.country + ")"
}
