package fraud

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTollBlock(t *testing.T) {
	d := newDesk(t)
	stays := d.talk(National, "+61255500201")
	abroad := d.talk(IntlLow, "+442079460018")
	other := d.talk(IntlLow, "+442079460019", func(a *Attempt) { a.Extension = "202" })
	d.dial(IntlLow, "+442079460020", func(a *Attempt) { a.Forwarded = true })
	d.blockedBy(RuleForward)

	cuts := map[string]bool{}
	for _, action := range d.actions {
		if action.Kind == ActCut {
			cuts[action.Call] = true
		}
	}
	if !cuts[abroad] || cuts[stays] || cuts[other] || len(cuts) != 1 {
		t.Errorf("cut %v, want %s alone", cuts, abroad)
	}
	for class, want := range map[Class]Verdict{Emergency: Pass, Internal: Pass, National: Pass, Premium: Refuse, IntlLow: Refuse, IntlHigh: Refuse, Unknown: Refuse} {
		if _, out := d.dial(class, "+442079460021"); out.Verdict != want {
			t.Errorf("%s: %+v, want verdict %d", class, out, want)
		}
	}
	if _, out := d.dial(IntlLow, "+442079460022", func(a *Attempt) { a.Extension = "202" }); out.Verdict != Pass {
		t.Errorf("another extension: %+v", out)
	}
	d.wait(400 * 24 * time.Hour) // nothing but a proof ends it
	d.Tick(d.now)
	d.blockedBy(RuleForward)
}

// TestClaims: a block holds under every name that the caller goes by, and nothing is
// counted for a name that he only claims.
func TestClaims(t *testing.T) {
	d := newDesk(t)
	d.dial(IntlLow, "+442079460020", func(a *Attempt) { a.Forwarded = true })
	as := func(extension string, claims ...string) func(*Attempt) {
		return func(a *Attempt) { a.Extension, a.Claims = extension, claims }
	}
	for _, row := range []struct {
		class Class
		who   func(*Attempt)
		want  Cause
	}{
		{IntlLow, as("10.0.0.9", "10.0.0.9", "201"), CauseBlock}, {IntlLow, as("10.0.0.9", "10.0.0.9", "202"), CauseNone},
		{National, as("10.0.0.9", "10.0.0.9", "201"), CauseNone}, {Emergency, as("10.0.0.9", "10.0.0.9", "201"), CauseNone},
	} {
		if _, out := d.dial(row.class, "+442079460021", row.who); out.Cause != row.want {
			t.Errorf("%s: %+v, want %s", row.class, out, row.want)
		}
	}
	if s := d.states.all[Subject{Extension, "202"}]; s != nil {
		t.Errorf("a claim was counted: %+v", s)
	}
}

// TestCredentialsNameAnother: an INVITE without credentials counts for an address, the
// one with them for an account, whose calls at once are counted all the same.
func TestCredentialsNameAnother(t *testing.T) {
	d := newDesk(t)
	for n := range 3 {
		number, key := "+44207946002"+string(rune('0'+n)), "attempt"+string(rune('0'+n))
		id, _ := d.dial(IntlLow, number, func(a *Attempt) { a.Extension, a.Key = "10.0.0.9", key })
		d.Ended(id, d.now, true)
		_, out := d.dial(IntlLow, number, func(a *Attempt) { a.Key = key })
		if want := map[bool]Verdict{true: Pass, false: Refuse}[n < 2]; out.Verdict != want {
			t.Errorf("call %d: %+v", n, out)
		}
	}
	d.blockedBy(RuleConcurrent)
}

func TestReopen(t *testing.T) {
	d := newDesk(t)
	of := Subject{Extension, "201"}
	if _, err := d.Reopen(d.now, of, proofs); !errors.Is(err, ErrNoBlock) {
		t.Errorf("without a block: %v", err)
	}
	d.dial(IntlLow, "+442079460020", func(a *Attempt) { a.Forwarded = true })
	for name, given := range map[string][]Proof{
		"none": nil, "one missing": proofs[:2],
		"nobody's word": {proofs[0], proofs[1], {Check: CheckRegistration, Why: "all phones are ours"}},
		"a misdial":     {{Check: CheckMisdial, By: "Ann", Why: "wrong prefix"}},
	} {
		if _, err := d.Reopen(d.now, of, given); err == nil || !strings.Contains(err.Error(), string(CheckRegistration)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	actions, err := d.Reopen(d.now, of, proofs)
	if err != nil || len(actions) != 2 || actions[0].Kind != ActReopen || actions[0].Block.Rule != RuleForward {
		t.Fatalf("actions %+v, %v", actions, err)
	}
	d.unblocked()
	if _, out := d.dial(IntlLow, "+442079460023"); out.Verdict != Pass {
		t.Errorf("after the proof: %+v", out)
	}
}

// TestMisdialBlock: a block that stands on misdials alone is left by that
// explanation.
func TestMisdialBlock(t *testing.T) {
	d := newDesk(t)
	for _, number := range []string{"+252615550", "+252615551", "+252615662"} {
		d.dial(IntlHigh, number, misdial)
		d.wait(time.Minute)
	}
	d.blockedBy(RuleHighRisk)
	if _, err := d.Reopen(d.now, Subject{Extension, "201"}, []Proof{{Check: CheckMisdial, By: "Ann", Why: "they meant 02 52..."}}); err != nil {
		t.Errorf("reopen: %v", err)
	}
}

func TestBlockByHand(t *testing.T) {
	d := newDesk(t)
	for _, bad := range []struct {
		of         Subject
		owner, why string
	}{{Subject{Kind: Site}, "", "why"}, {Subject{Kind: Site}, "Ann", ""}, {Subject{Kind: Site, Name: "x"}, "Ann", "why"}, {Subject{Kind: Extension}, "Ann", "why"}} {
		if _, err := d.Block(d.now, bad.of, ScopeAll, bad.owner, bad.why); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	id := d.talk(National, "+61255500201")
	actions, err := d.Block(d.now, Subject{Kind: Site}, ScopeAll, "Ann", "the box is being sold")
	if err != nil || len(actions) != 3 || actions[1].Kind != ActCut || actions[1].Call != id {
		t.Fatalf("actions %+v, %v", actions, err)
	}
}

func TestRelease(t *testing.T) {
	d := newDesk(t)
	const number = "+252615550148"
	for _, bad := range []struct {
		number, by string
		d          time.Duration
	}{{"252615550148", "Ann", time.Hour}, {"+", "Ann", time.Hour}, {"+25261x", "Ann", time.Hour}, {number, "", time.Hour}, {number, "Ann", 0}, {number, "Ann", 25 * time.Hour}} {
		if _, err := d.Release(d.now, bad.number, bad.by, bad.d); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if _, err := d.Release(d.now, number, "Ann", 15*time.Minute); err != nil {
		t.Fatal(err)
	}
	id, out := d.dial(IntlHigh, number, refused)
	if out.Verdict != Pass {
		t.Errorf("the released number: %+v", out)
	}
	d.hangUp(id)
	if _, out := d.dial(IntlHigh, "+252615550149", refused); out.Verdict != Refuse {
		t.Errorf("its neighbour: %+v", out)
	}
	snapshot, err := d.Snapshot(d.now)
	if err != nil {
		t.Fatal(err)
	}
	fresh := newDesk(t)
	if err := fresh.Restore(fresh.now, snapshot, nil); err != nil {
		t.Fatal(err)
	}
	if len(fresh.Releases(fresh.now)) != 0 {
		t.Error("a release outlived a restart")
	}
	d.wait(15 * time.Minute)
	if _, out := d.dial(IntlHigh, number, refused); out.Verdict != Refuse || len(d.Releases(d.now)) != 0 {
		t.Errorf("after its time: %+v", out)
	}
}
