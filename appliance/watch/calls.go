package watch

import (
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Begin judges an attempt that the lists have judged. The lists' word stands where
// the engine has nothing to add; one that they block passes only where its number
// was released. What passes must be told to Ended.
func (w *Watch) Begin(a rules.Attempt) rules.Ruling {
	w.current() // rules are in force as soon as whoever set them was told so
	attempt := a.Said.Attempt()
	attempt.ID, attempt.Key, attempt.At = a.ID, a.Key, w.Now()
	attempt.Extension, attempt.Claims, attempt.Forwarded = a.Account, a.Claims, a.Forwarded
	out := w.engine.Begin(attempt)
	w.later(out.Actions)
	ruling := rules.Ruling{Verdict: a.Said.Verdict, Reason: a.Said.Reason, Rule: a.Said.Rule, Why: a.Said.Why}
	switch {
	case out.Verdict == fraud.Pass && a.Said.Verdict == appliance.Allow:
	case out.Verdict == fraud.Pass:
		ruling = rules.Ruling{Verdict: appliance.Allow, Reason: appliance.ReasonReleased, Why: "released by hand"}
	case out.Cause != fraud.CauseNone:
		ruling = rules.Ruling{Verdict: appliance.Block, Reason: reasons[out.Cause], Rule: string(out.Rule), Why: out.Why}
	}
	return ruling
}

var reasons = map[fraud.Cause]appliance.Reason{
	fraud.CauseBlock: appliance.ReasonTollBlock, fraud.CauseHours: appliance.ReasonHours, fraud.CauseRule: appliance.ReasonSuspicion,
	fraud.CauseCredit: appliance.ReasonCredit, fraud.CauseForward: appliance.ReasonForwarded,
}

// Answered notes that a call was answered, or that its media flow.
func (w *Watch) Answered(id string) { w.later(w.engine.Answered(id, w.Now())) }

// Ended notes the end of a call. challenged says that it was only asked for
// credentials.
func (w *Watch) Ended(id string, challenged bool) { w.later(w.engine.Ended(id, w.Now(), challenged)) }

// Inbound notes the end of a call from outside.
func (w *Watch) Inbound(number string, rang time.Duration, answered bool) {
	w.engine.Inbound(w.Now(), number, rang, answered)
}

// Registered notes a registration that the far end accepted.
func (w *Watch) Registered(r fraud.Registration) {
	r.At = w.Now()
	if !r.Local {
		r.Country = w.country(r.Source)
	}
	w.later(w.engine.Register(r))
}
