package fraud

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestRules has one row for each rule: what trips it, and what just does not.
func TestRules(t *testing.T) {
	for _, row := range []struct {
		name   string
		rule   RuleID // "" where nothing may block
		change func(*Config)
		do     func(*desk)
	}{
		{"one blocked number is a misdial", "", nil, func(d *desk) { d.dial(IntlHigh, "+252615550148", misdial) }},
		{"the same misdial again and again", "", nil, func(d *desk) {
			for range 12 {
				d.dial(IntlHigh, "+252615550", misdial)
				d.wait(10 * time.Second)
			}
		}},
		{"two blocked numbers", "", nil, func(d *desk) {
			d.dial(IntlHigh, "+252615550148", refused)
			d.dial(IntlHigh, "+252700000111", refused)
		}},
		{"three blocked numbers in ten minutes", RuleHighRisk, nil, func(d *desk) {
			for n := range 3 {
				d.dial(IntlHigh, fmt.Sprintf("+25261%d%d%d0000", n, n, n), refused)
				d.wait(4 * time.Minute)
			}
		}},
		{"three blocked numbers in an hour", "", nil, func(d *desk) {
			for n := range 3 {
				d.dial(IntlHigh, fmt.Sprintf("+25261%d%d%d0000", n, n, n), refused)
				d.wait(20 * time.Minute)
			}
		}},
		{"five attempts to one", RuleHighRisk, nil, func(d *desk) {
			for range 5 {
				d.dial(IntlHigh, "+252615550148", refused)
				d.wait(time.Minute)
			}
		}},
		{"one blocked number at night", RuleHighRisk, nil, func(d *desk) {
			d.at(23)
			d.dial(IntlHigh, "+252615550148", refused)
		}},
		{"a misdial at night", "", nil, func(d *desk) {
			d.at(23)
			d.dial(IntlHigh, "+252615550", misdial)
		}},
		{"three prefixes before one tail", RuleFishing, nil, func(d *desk) {
			for _, head := range []string{"+37120", "+4470", "+1900"} {
				id, _ := d.dial(IntlLow, head+"5550148")
				d.hangUp(id)
				d.wait(time.Minute)
			}
		}},
		{"two prefixes before one tail", "", nil, func(d *desk) {
			for _, head := range []string{"+37120", "+4470"} {
				id, _ := d.dial(IntlLow, head+"5550148")
				d.hangUp(id)
				d.wait(time.Minute)
			}
		}},
		{"three calls abroad at once", RuleConcurrent, nil, func(d *desk) {
			for n := range 3 {
				d.dial(IntlLow, fmt.Sprintf("+44207946000%d", n))
				d.wait(time.Minute)
			}
		}},
		{"three calls abroad, one after the other", "", nil, func(d *desk) {
			for n := range 3 {
				id := d.talk(IntlLow, fmt.Sprintf("+44207946000%d", n))
				d.wait(5 * time.Minute)
				d.hangUp(id)
			}
		}},
		{"six calls within a minute", RulePerMinute, nil, func(d *desk) {
			for n := range 6 {
				id, _ := d.dial(IntlLow, fmt.Sprintf("+4420794600%d%d", n, 9-n))
				d.hangUp(id)
				d.wait(9 * time.Second)
			}
		}},
		{"the same number eight times", RuleSequential, nil, func(d *desk) {
			for range 8 {
				id, _ := d.dial(IntlLow, "+442079460018")
				d.hangUp(id)
				d.wait(15 * time.Minute)
			}
		}},
		{"six premium calls within an hour", RulePumping, nil, func(d *desk) {
			for n := range 6 {
				id, _ := d.dial(Premium, fmt.Sprintf("+61190%d00000", n))
				d.hangUp(id)
				d.wait(8 * time.Minute)
			}
		}},
		{"a forwarded leg abroad", RuleForward, nil, func(d *desk) {
			d.dial(IntlLow, "+442079460018", func(a *Attempt) { a.Forwarded = true })
		}},
		{"a decoy extension", RuleCanary, func(c *Config) { c.Canaries = []string{"999"} }, func(d *desk) {
			d.dial(IntlLow, "+442079460018", func(a *Attempt) { a.Extension = "999" })
		}},
		{"a decoy prefix", RuleCanary, func(c *Config) { c.Canaries = []string{"+88299"} }, func(d *desk) { d.dial(IntlHigh, "+882991", refused) }},
		{"an hour to a dear country", RuleLive, nil, func(d *desk) {
			d.talk(IntlHigh, "+252615550148", func(a *Attempt) { a.Number = "+37120000000" })
			d.config.Limits = nil
			d.seconds(3601)
		}},
		{"an hour to a cheap country", "", func(c *Config) { c.Limits = nil }, func(d *desk) {
			d.talk(IntlLow, "+442079460018")
			d.seconds(3700)
		}},
		{"a new address, then a call abroad", RuleRegistration, nil, func(d *desk) {
			d.Register(Registration{At: d.now, Extension: "201", Source: netip.MustParseAddr("192.0.2.1"), Country: "AU", Agent: "phone"})
			d.wait(time.Hour)
			d.Register(Registration{At: d.now, Extension: "201", Source: netip.MustParseAddr("198.51.100.9"), Country: "RO", Agent: "other"})
			d.dial(IntlLow, "+442079460018")
		}},
		{"a new lease on the LAN, then a call abroad", "", nil, func(d *desk) {
			d.Register(Registration{At: d.now, Extension: "201", Source: netip.MustParseAddr("192.168.1.9"), Local: true, Agent: "phone"})
			d.Register(Registration{At: d.now, Extension: "201", Source: netip.MustParseAddr("192.168.1.77"), Local: true, Agent: "phone 2"})
			d.dial(IntlLow, "+442079460018")
		}},
		{"an extension that slept for a month", RuleDormant, nil, func(d *desk) {
			d.dial(National, "+61255500201")
			d.wait(31 * 24 * time.Hour)
			d.dial(IntlLow, "+442079460018")
		}},
		{"four nights", RuleDrip, nil, func(d *desk) {
			for _, s := range []Subject{{Kind: Site}, {Extension, "201"}, {Trunk, "itsp"}} { // they know the country, but not by day
				d.states.of(s, d.up).learnCountry(uint32(hashOf("Latvia")), false)
			}
			d.at(23)
			for range 4 {
				id, _ := d.dial(IntlLow, "+37120000000")
				d.wait(time.Minute)
				d.hangUp(id)
				d.wait(24*time.Hour - time.Minute)
			}
		}},
		{"calls that end at once, at night", RuleShort, nil, func(d *desk) {
			d.states.of(Subject{Kind: Site}, d.up).learnCountry(uint32(hashOf("United Kingdom")), true)
			for _, name := range []string{"201", "202"} {
				for range 3 {
					d.states.of(Subject{Extension, name}, d.up).learnCountry(uint32(hashOf("United Kingdom")), true)
				}
			}
			d.at(22)
			for n := range 10 {
				id, _ := d.dial(IntlLow, fmt.Sprintf("+4420794%d6001", n))
				d.hangUp(id)
				d.wait(3 * time.Minute)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDesk(t)
			if row.change != nil {
				row.change(&d.config)
			}
			row.do(d)
			if row.rule == "" {
				d.unblocked()
				return
			}
			d.blockedBy(row.rule)
			if _, out := d.dial(IntlLow, "+442079460099", func(a *Attempt) { a.Extension = d.Blocks()[0].Subject.Name }); out.Cause != CauseBlock {
				t.Errorf("after the block: %+v", out)
			}
		})
	}
}

// TestEveryRuleIsTried: no rule without a row in this package's tests.
func TestHolds(t *testing.T) {
	t.Run("a new country at night", func(t *testing.T) {
		d := newDesk(t)
		d.at(22)
		if _, out := d.dial(IntlLow, "+37120000000"); out.Verdict != Refuse || out.Rule != RuleNovelty || !strings.Contains(out.Why, "Latvia") {
			t.Errorf("outcome %+v", out)
		}
		d.unblocked()
	})
	t.Run("a new country by day", func(t *testing.T) {
		d := newDesk(t)
		if _, out := d.dial(IntlLow, "+37120000000"); out.Verdict != Pass {
			t.Errorf("outcome %+v", out)
		}
	})
	t.Run("the return of one ring", func(t *testing.T) {
		d := newDesk(t)
		d.Inbound(d.now, "+37120000000", 2*time.Second, false)
		d.wait(3 * time.Hour)
		if _, out := d.dial(IntlLow, "+37120000000"); out.Verdict != Refuse || out.Rule != RuleCallback {
			t.Errorf("outcome %+v", out)
		}
		if _, out := d.dial(IntlLow, "+37120000001"); out.Verdict != Pass {
			t.Errorf("another number: %+v", out)
		}
		d.wait(8 * 24 * time.Hour)
		if _, out := d.dial(IntlLow, "+37120000000"); out.Verdict != Pass {
			t.Errorf("a week later: %+v", out)
		}
	})
}

// TestAttemptsCountOnce: the INVITE with credentials is the same attempt.
func TestAttemptsCountOnce(t *testing.T) {
	d := newDesk(t)
	for n := range 5 {
		for try := range 4 {
			a := Attempt{ID: fmt.Sprintf("%d-%d", n, try), Key: fmt.Sprintf("attempt-%d", n), At: d.now, Extension: "201", Trunk: "itsp", Number: fmt.Sprintf("+4420794600%d%d", n, n), Class: IntlLow, Country: "United Kingdom"}
			if out := d.Begin(a); out.Verdict != Pass {
				t.Fatalf("attempt %d.%d: %+v", n, try, out)
			}
			d.Ended(a.ID, d.now, try < 3)
		}
		d.wait(5 * time.Second)
	}
	if n := d.states.all[Subject{Kind: Site}].minute.sum(d.up); n != 5 {
		t.Errorf("%d attempts counted, want 5", n)
	}
	d.unblocked()
}

// TestShadow: a rule on trial says what it would have done, once an hour as every
// other, and does nothing.
func TestShadow(t *testing.T) {
	d := newDesk(t, func(c *Config) {
		c.Rules[RuleForward] = Setting{Warn: 1, Critical: 1, Mode: Shadow}
	})
	for range 3 {
		id, out := d.dial(IntlLow, "+442079460018", func(a *Attempt) { a.Forwarded = true })
		if out.Verdict != Pass {
			t.Fatalf("outcome %+v", out)
		}
		d.Ended(id, d.now, false)
		d.wait(10 * time.Minute)
	}
	d.unblocked()
	var all []Finding
	for _, f := range d.Findings() {
		if f.Rule == RuleForward {
			all = append(all, f)
		}
	}
	if len(all) != 1 || !all[0].Shadow || all[0].Rule != RuleForward || all[0].Level != Critical {
		t.Errorf("findings %+v", all)
	}
}

// TestNationalNeverRefused: whatever national calls do, they pass.
func TestNationalNeverRefused(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Limits = []Limit{{Kind: Site, Per: PerDay, Amount: 0}} })
	for n := range 500 {
		if _, out := d.dial(National, fmt.Sprintf("+6125550%04d", n)); out.Verdict != Pass {
			t.Fatalf("call %d: %+v", n, out)
		}
	}
	d.unblocked()
}
