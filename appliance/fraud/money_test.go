package fraud

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCost(t *testing.T) {
	minute := Tariff{Connect: Unit / 10, PerMinute: Unit, Initial: time.Minute, Following: time.Minute}
	second := Tariff{PerMinute: Unit, Initial: time.Second, Following: time.Second}
	thirty := Tariff{PerMinute: Unit, Initial: 30 * time.Second, Following: 6 * time.Second}
	for _, row := range []struct {
		rate Tariff
		d    time.Duration
		want string
	}{
		{minute, 0, "1.10"}, {minute, time.Minute, "1.10"}, {minute, time.Minute + 1, "2.10"}, {minute, 61 * time.Second, "2.10"},
		{second, 0, "0.0167"}, {second, 90 * time.Second, "1.50"}, {second, 90*time.Second + 1, "1.5167"},
		{thirty, 29 * time.Second, "0.50"}, {thirty, 31 * time.Second, "0.60"}, {thirty, 36 * time.Second, "0.60"}, {thirty, 37 * time.Second, "0.70"},
		{Tariff{}, time.Hour, "0.00"},
	} {
		if got := row.rate.Cost(row.d).String(); got != row.want {
			t.Errorf("%+v for %s: %s, want %s", row.rate, row.d, got, row.want)
		}
	}
	if huge := (Tariff{PerMinute: 1 << 62}).Cost(1 << 62); huge <= 0 {
		t.Errorf("an absurd rate costs %d", huge)
	}
}

func TestDeck(t *testing.T) {
	deck, err := ParseDeck(strings.NewReader("prefix,per_minute,connect,initial,following\n44,0.02,0,1,1\n+447, 0.25,0.05,30,6\n882,12.5,1,60,60\n"), "AUD")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		number string
		class  Class
		want   Money
	}{
		{"+442079460018", IntlLow, 20_000}, {"+447700900123", IntlLow, 250_000}, {"+99912345", Unknown, 12_500_000},
		{"+99912345", IntlHigh, 12_500_000}, {"+33123456789", IntlLow, 300_000}, {"+61255500201", National, 0}, {"112", Emergency, 0}, {"201", Internal, 0},
	} {
		if got := deck.Rate(row.number, row.class).PerMinute; got != row.want {
			t.Errorf("%s: %s a minute, want %s", row.number, got, row.want)
		}
	}
	for name, bad := range map[string]string{
		"line 1": "country,rate\n44,1\n", "line 2: per_minute": "prefix,per_minute\n44,-1\n", "line 3: prefix 44": "prefix,per_minute\n44,1\n44,2\n",
		"line 3: want 2": "prefix,per_minute\n44,1\n45\n", "line 2: prefix": "prefix,per_minute\nUK,1\n", "no rates": "prefix,per_minute\n",
		"line 2: initial": "prefix,per_minute,connect,initial\n44,1,0,0\n", "line 2": "prefix,per_minute\n\"44,1\n",
		"line 2: per_minute: read": "prefix,per_minute\n44,0.0000001\n",
	} {
		if _, err := ParseDeck(strings.NewReader(bad), "AUD"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v, want an error that says %q", bad, err, name)
		}
	}
}

// TestCreditDrains: thirty calls drain one limit, and none of them goes on when
// it is used up. Nothing is spent beyond it.
func TestCreditDrains(t *testing.T) {
	limit := 100 * Unit
	d := newDesk(t, func(c *Config) {
		c.Limits = []Limit{{Kind: Site, Per: PerDay, Amount: limit}}
		c.Rules = map[RuleID]Setting{}
		for id := range Defaults().Rules {
			c.Rules[id] = Setting{Mode: Off}
		}
		c.Rules[RuleCredit] = Setting{Warn: 80, Critical: 100}
		c.Deck.fallback[IntlLow] = Tariff{PerMinute: Unit, Initial: time.Second, Following: time.Second}
	})
	for n := range 30 {
		d.talk(IntlLow, fmt.Sprintf("+4420794600%02d", n), func(a *Attempt) { a.Extension = fmt.Sprint(200 + n) })
	}
	lasted := 0
	for ; d.did(ActCut) == 0 && lasted < 1000; lasted++ {
		d.seconds(1)
	}
	if d.did(ActCut) != 30 || lasted < 195 || lasted > 200 {
		t.Errorf("%d calls cut after %d s; 30 calls at 1.00 a minute use up %s in 200 s", d.did(ActCut), lasted, limit)
	}
	warned := 0
	for _, action := range d.actions {
		if action.Kind == ActNotify && action.Finding.Level == Warning {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("%d warnings at 80 %%, want 1", warned)
	}
	for _, call := range d.inOrder() {
		d.hangUp(call.id)
	}
	if spent := d.states.all[Subject{Kind: Site}].spent[PerDay].spent; spent > limit || spent < limit-Unit {
		t.Errorf("%s were spent of %s", spent, limit)
	}
	if _, out := d.dial(IntlLow, "+442079460099"); out.Cause != CauseCredit {
		t.Errorf("the next call: %+v", out)
	}
	d.wait(15 * time.Hour) // tomorrow
	if _, out := d.dial(IntlLow, "+442079460099"); out.Verdict != Pass {
		t.Errorf("the next day: %+v", out)
	}
}

// TestReserve: parallel calls can't spend the same money.
func TestReserve(t *testing.T) {
	d := newDesk(t, func(c *Config) {
		c.Limits = []Limit{{Kind: Extension, Per: PerDay, Amount: 650_000}} // two first minutes of 0.30
	})
	d.dial(IntlLow, "+442079460018")
	d.dial(IntlLow, "+442079460019")
	if _, out := d.dial(IntlLow, "+442079460020", func(a *Attempt) { a.Trunk = "other" }); out.Cause == CauseNone {
		t.Errorf("a third call: %+v", out)
	}
}

// TestClockJumps: no jump of the calendar gives money back or takes it.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"a year ahead": 366 * 24 * time.Hour, "a day ahead": 24 * time.Hour, "to 1970": -56 * 366 * 24 * time.Hour, "an hour back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			id := d.talk(IntlLow, "+442079460018")
			d.seconds(600)
			d.dial(IntlLow, "+442079460020", func(a *Attempt) { a.Extension, a.Forwarded = "202", true })
			d.blockedBy(RuleForward)
			before := d.states.all[Subject{Kind: Site}].spent[PerDay].spent + d.states.all[Subject{Kind: Site}].sum
			d.now.Wall = d.now.Wall.Add(jump)
			told := false
			for _, action := range d.seconds(1) {
				told = told || action.Finding.Rule == RuleClock
			}
			if !told {
				t.Error("nobody hears of the jump")
			}
			d.hangUp(id)
			if after := d.states.all[Subject{Kind: Site}].spent[PerDay].spent; after < before || after > before+Unit {
				t.Errorf("%s were spent before the jump, %s after", before, after)
			}
			d.blockedBy(RuleForward)
			if n := d.states.all[Subject{Kind: Site}].hour.sum(d.up); n != 2 {
				t.Errorf("%d calls in the last hour, want 2", n)
			}
		})
	}
}

// TestPowerCut: a restart from the last spending loses what came after it, and
// nothing else.
func TestPowerCut(t *testing.T) {
	d := newDesk(t)
	snapshot, err := d.Snapshot(d.now)
	if err != nil {
		t.Fatal(err)
	}
	d.talk(IntlLow, "+442079460018")
	d.seconds(1205)
	spending, err := d.Spending(d.now)
	if err != nil {
		t.Fatal(err)
	}
	d.seconds(10)
	for _, first := range [][]byte{snapshot, nil} { // the power may go before there is one
		fresh := newDesk(t)
		fresh.now = Moment{Wall: d.now.Wall, Up: time.Second}
		if err := fresh.Restore(fresh.now, first, spending); err != nil {
			t.Fatal(err)
		}
		if got, want := fresh.states.all[Subject{Kind: Site}].spent[PerDay].spent, 21*3*Unit/10; got != want {
			t.Errorf("%s after the restart, want %s", got, want)
		}
	}
}

func TestSnapshotKeepsEverything(t *testing.T) {
	d := newDesk(t)
	d.talk(IntlLow, "+442079460018")
	d.dial(IntlHigh, "+252615550148", refused)
	d.Inbound(d.now, "+37120000000", time.Second, false)
	d.dial(IntlLow, "+442079460020", func(a *Attempt) { a.Extension, a.Forwarded = "202", true })
	d.seconds(90)
	first, err := d.Snapshot(d.now)
	if err != nil {
		t.Fatal(err)
	}
	fresh := newDesk(t)
	fresh.now = Moment{Wall: d.now.Wall, Up: 5 * time.Second}
	if err := fresh.Restore(fresh.now, first, nil); err != nil {
		t.Fatal(err)
	}
	second, err := fresh.Snapshot(fresh.now)
	if err != nil || string(first) != string(second) {
		t.Errorf("a snapshot of a restored engine differs (%v):\n%s\n%s", err, first, second)
	}
	fresh.blockedByNow(t, RuleForward)
	if _, out := fresh.dial(IntlLow, "+37120000000"); out.Rule != RuleCallback {
		t.Errorf("the ring is forgotten: %+v", out)
	}
	for _, bad := range []string{"", "{}", `{"version":99}`, "[1]"} {
		if err := newDesk(t).Restore(fresh.now, []byte(bad), nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func (d *desk) blockedByNow(t *testing.T, rule RuleID) {
	t.Helper()
	if all := d.Blocks(); len(all) != 1 || all[0].Rule != rule {
		t.Fatalf("blocks %+v", all)
	}
}
