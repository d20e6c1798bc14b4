package fraud

import (
	"fmt"
	"testing"
	"time"
)

// desk is an engine with a clock that a test moves.
type desk struct {
	*testing.T
	*Engine
	now     Moment
	calls   int
	actions []Action
}

// monday is a working day in the middle of a month, at ten.
var monday = time.Date(2026, 11, 16, 10, 0, 0, 0, time.UTC)

func newDesk(t *testing.T, change ...func(*Config)) *desk {
	t.Helper()
	config := Defaults()
	for _, f := range change {
		f(&config)
	}
	e, err := New(config, "digest")
	if err != nil {
		t.Fatal(err)
	}
	return &desk{T: t, Engine: e, now: Moment{Wall: monday, Up: time.Hour}}
}

func (d *desk) wait(t time.Duration) { d.now = d.now.After(t) }

// at moves to an hour of the same day.
func (d *desk) at(hour int) {
	d.Helper()
	next := time.Date(2026, 11, 16, hour, 0, 0, 0, time.UTC)
	d.wait(next.Sub(d.now.Wall))
}

// seconds lets the engine tick.
func (d *desk) seconds(n int) (actions []Action) {
	for range n {
		d.wait(time.Second)
		got := d.Tick(d.now)
		actions = append(actions, got...)
		d.actions = append(d.actions, got...)
	}
	return actions
}

// dial is an attempt of extension 201 with an ID of its own.
func (d *desk) dial(class Class, number string, change ...func(*Attempt)) (string, Outcome) {
	d.calls++
	id := fmt.Sprintf("call-%d", d.calls)
	a := Attempt{ID: id, Key: id, At: d.now, Extension: "201", Trunk: "itsp", Number: number, Class: class, Country: countryOf(number)}
	for _, f := range change {
		f(&a)
	}
	out := d.Begin(a)
	d.actions = append(d.actions, out.Actions...)
	return id, out
}

func countryOf(number string) string {
	for prefix, country := range map[string]string{"+252": "Somalia", "+44": "United Kingdom", "+1": "United States", "+61": "Australia", "+371": "Latvia"} {
		if len(number) >= len(prefix) && number[:len(prefix)] == prefix {
			return country
		}
	}
	return ""
}

func refused(a *Attempt) { a.Refused = true }
func misdial(a *Attempt) { a.Refused, a.Misdial = true, true }

// talk sets up a call and answers it.
func (d *desk) talk(class Class, number string, change ...func(*Attempt)) string {
	d.Helper()
	id, out := d.dial(class, number, change...)
	if out.Verdict != Pass {
		d.Fatalf("the call to %s was refused: %s: %s", number, out.Cause, out.Why)
	}
	d.Answered(id, d.now)
	return id
}

func (d *desk) hangUp(id string) { d.actions = append(d.actions, d.Ended(id, d.now, false)...) }

// did counts the actions of a kind so far.
func (d *desk) did(kind ActionKind) (n int) {
	for _, action := range d.actions {
		if action.Kind == kind {
			n++
		}
	}
	return n
}

func (d *desk) blockedBy(rule RuleID) {
	d.Helper()
	all := d.Blocks()
	if len(all) != 1 || all[0].Rule != rule {
		d.Fatalf("blocks %+v, want one by %s", all, rule)
	}
	if d.did(ActBlock) != 1 || d.did(ActSave) == 0 {
		d.Errorf("%d blocks entered and %d saves", d.did(ActBlock), d.did(ActSave))
	}
}

func (d *desk) unblocked() {
	d.Helper()
	if all := d.Blocks(); len(all) != 0 {
		d.Fatalf("blocked by %s: %s", all[0].Rule, all[0].Why)
	}
}

var proofs = []Proof{
	{Check: CheckSecret, Verified: true, By: "box", Why: "the old secret no longer answers"},
	{Check: CheckExposure, Verified: true, By: "box", Why: "nothing is open"},
	{Check: CheckRegistration, By: "Ann", Why: "all phones are ours"},
}
