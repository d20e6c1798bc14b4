package fraud

import (
	"fmt"
	"testing"
	"time"
)

// TestOneNameForAllCalls: whoever uses one Call-ID for everything is counted for
// everything, one call after the other and beside each other.
func TestOneNameForAllCalls(t *testing.T) {
	same := func(a *Attempt) { a.Key = "the same" }
	t.Run("one after the other", func(t *testing.T) {
		d := newDesk(t)
		for n := 0; len(d.Blocks()) == 0; n++ {
			if n == 30 {
				t.Fatal("30 calls in a row to one number, and nobody minds")
			}
			if id, out := d.dial(IntlLow, "+442079460018", same); out.Verdict == Pass {
				d.Answered(id, d.now)
				d.seconds(60)
				d.hangUp(id)
			}
		}
		d.blockedBy(RuleSequential)
	})
	t.Run("beside each other", func(t *testing.T) {
		d := newDesk(t)
		for range 3 {
			d.dial(IntlLow, "+442079460018", same)
		}
		d.blockedBy(RuleConcurrent)
	})
	t.Run("busy again and again", func(t *testing.T) {
		d := newDesk(t)
		for range 6 {
			id, _ := d.dial(IntlLow, "+442079460018", same)
			d.hangUp(id)
		}
		d.blockedBy(RulePerMinute)
	})
}

// TestReleaseEndsAHold: a number that somebody released is not held, and counts like
// every other.
func TestReleaseEndsAHold(t *testing.T) {
	for name, hold := range map[string]func(*desk){
		"a new country at night": func(d *desk) { d.at(22) },
		"the return of one ring": func(d *desk) { d.Inbound(d.now, "+37120000000", 2*time.Second, false) },
	} {
		d := newDesk(t)
		hold(d)
		if _, out := d.dial(IntlLow, "+37120000000"); out.Verdict != Refuse {
			t.Fatalf("%s: %+v", name, out)
		}
		if _, err := d.Release(d.now, "+37120000000", "Ann", 15*time.Minute); err != nil {
			t.Fatal(err)
		}
		id, out := d.dial(IntlLow, "+37120000000")
		if out.Verdict != Pass {
			t.Errorf("%s, released: %+v", name, out)
		}
		d.hangUp(id)
		for range 8 {
			id, _ := d.dial(IntlLow, "+37120000000")
			d.hangUp(id)
		}
		if len(d.Blocks()) != 1 {
			t.Errorf("%s: a release opened more than the hold", name)
		}
	}
}

// TestSameNumberEveryWeek: an extension that calls one number abroad, and that once
// a week, is no pump.
func TestSameNumberEveryWeek(t *testing.T) {
	d := newDesk(t)
	for range 10 {
		id := d.talk(IntlLow, "+442079460018")
		d.wait(10 * time.Minute)
		d.hangUp(id)
		d.wait(7 * 24 * time.Hour)
	}
	d.unblocked()
}

// TestPricedNationalCall: what a national call costs ends none.
func TestPricedNationalCall(t *testing.T) {
	d := newDesk(t, func(c *Config) {
		c.Limits = []Limit{{Kind: Extension, Per: PerCall, Amount: 5 * Unit}}
		c.Deck = NewDeck("AUD")
		if err := c.Deck.Add("61", Tariff{PerMinute: Unit, Initial: time.Second, Following: time.Second}); err != nil {
			t.Fatal(err)
		}
	})
	d.talk(National, "+61255500101")
	d.seconds(900)
	if n := d.did(ActCut); n != 0 {
		t.Errorf("%d national calls were ended", n)
	}
}

// TestScopeOfEverything: a block of all but emergency and internal calls is just that.
func TestScopeOfEverything(t *testing.T) {
	d := newDesk(t)
	id := d.talk(National, "+61255500101")
	actions, err := d.Block(d.now, Subject{Kind: Site}, ScopeAll, "Ann", "until we know more")
	if err != nil {
		t.Fatal(err)
	}
	if len(actions) < 2 || actions[1].Kind != ActCut || actions[1].Call != id {
		t.Errorf("actions %+v", actions)
	}
	for class, want := range map[Class]Verdict{National: Refuse, IntlLow: Refuse, Premium: Refuse, Emergency: Pass, Internal: Pass} {
		if _, out := d.dial(class, "+61255500102"); out.Verdict != want {
			t.Errorf("%s: %+v", class, out)
		}
	}
	if n := d.states.all[Subject{Kind: Site}].minute.sum(d.up); n != 1 {
		t.Errorf("%d attempts abroad are counted, of one", n)
	}
}

// TestClockPutRight: a calendar that was wrong for a moment neither keeps a day from
// ending nor spends the next month's money.
func TestClockPutRight(t *testing.T) {
	spent := func(d *desk, per Period) Money { return d.states.all[Subject{Kind: Site}].spent[per].spent }
	for name, jump := range map[string]time.Duration{"a year ahead": 366 * 24 * time.Hour, "into the next month": 20 * 24 * time.Hour, "a year back": -366 * 24 * time.Hour} {
		d := newDesk(t)
		id := d.talk(IntlLow, "+442079460018")
		d.seconds(600)
		d.hangUp(id)
		before := spent(d, PerDay)
		d.now.Wall = d.now.Wall.Add(jump)
		d.Spent(d.now)
		d.wait(time.Minute)
		d.now.Wall = d.now.Wall.Add(-jump)
		d.Spent(d.now)
		if got := spent(d, PerDay); got != before || before == 0 {
			t.Errorf("%s: %s were spent before, %s after", name, before, got)
		}
		d.wait(24 * time.Hour)
		d.Spent(d.now)
		if day, month := spent(d, PerDay), spent(d, PerMonth); day != 0 || month != before {
			t.Errorf("%s: the day after has spent %s, and the month %s", name, day, month)
		}
		d.wait(20 * 24 * time.Hour)
		d.Spent(d.now)
		if got := spent(d, PerMonth); got != 0 {
			t.Errorf("%s: the month after has spent %s", name, got)
		}
	}
}

// TestClockWakesNobody: who made a call today has not slept, whatever the calendar says.
func TestClockWakesNobody(t *testing.T) {
	d := newDesk(t)
	id := d.talk(IntlLow, "+442079460018")
	d.seconds(60)
	d.hangUp(id)
	d.now.Wall = d.now.Wall.Add(42 * 24 * time.Hour) // a Monday again
	d.wait(time.Hour)
	if _, out := d.dial(IntlLow, "+442079460018"); out.Verdict != Pass {
		t.Errorf("outcome %+v", out)
	}
	d.unblocked()
}

// TestCutIsAskedForAgain until the call has ended.
func TestCutIsAskedForAgain(t *testing.T) {
	d := newDesk(t)
	id := d.talk(IntlLow, "+442079460018")
	if _, err := d.Block(d.now, Subject{Extension, "201"}, ScopePremium, "Ann", "a password is known"); err != nil {
		t.Fatal(err)
	}
	d.seconds(1)
	if n := d.did(ActCut); n != 0 {
		t.Errorf("asked %d times more within a second", n)
	}
	d.seconds(20)
	if n := d.did(ActCut); n != 4 {
		t.Errorf("asked %d times more within 21 seconds, want 4", n)
	}
	d.hangUp(id)
	before := d.did(ActCut)
	d.seconds(20)
	if n := d.did(ActCut); n != before {
		t.Error("and after its end")
	}
}

// TestWorstOfEachPart: a fee without a price for the minute makes unknown prefixes no
// cheaper.
func TestWorstOfEachPart(t *testing.T) {
	deck := NewDeck("AUD")
	for prefix, rate := range map[string]Tariff{"881": {Connect: 5 * Unit, Initial: time.Second, Following: time.Second}, "44": {PerMinute: Unit, Initial: time.Second, Following: time.Second}} {
		if err := deck.Add(prefix, rate); err != nil {
			t.Fatal(err)
		}
	}
	got := deck.Rate("+9991", Unknown)
	if want := (Tariff{Connect: 5 * Unit, PerMinute: 3 * Unit, Initial: time.Minute, Following: time.Minute}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if fmt.Sprint(deck.Rate("+4420", IntlLow).PerMinute) != "1.00" {
		t.Error("a known prefix has another price")
	}
}
