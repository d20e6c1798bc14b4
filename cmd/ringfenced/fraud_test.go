package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Numbers of the tests.
const (
	national = "+61491570156"
	abroad   = "+4930901820" // and a digit
	machined = "Vq8#tLw2zPk9sRm4"
)

const stolen = "extension:201@carrier.example"

// TestDaemonStopsAStolenExtension has somebody who knows a password call abroad
// three times at once, and goes the whole way from the block to the proof by which
// it is left, over a power cut.
func TestDaemonStopsAStolenExtension(t *testing.T) {
	o := newOffice(t)
	box := o.mailbox()
	d := o.start()
	s := o.settings()
	s.Notify.Mail = box.told()
	o.mustPut(s)
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	o.phone.register("201", "1234")
	o.mail(box, "The password of 201@carrier.example is weak")

	first := o.passes(o.phone.call("201", abroad+"1", "1234"))
	stop := o.talking(first)
	second := o.passes(o.phone.call("201", abroad+"2", "1234"))
	began := time.Now()
	third := o.phone.call("201", abroad+"3", "1234")
	if third.status != 403 || o.carrier.took(abroad+"3") != 0 {
		t.Errorf("the third call: answered %s", third.answer)
	}
	cut := o.cutOff(first)
	if late := o.cutOff(second); late.After(cut) {
		cut = late
	}
	letter := o.mail(box, "Toll-block: calls abroad of the extension 201@carrier.example are blocked", "international or premium calls at once", "ringfence fraud checks extension:201@carrier.example")
	t.Logf("both calls cut on both sides %d ms, mail %d ms after the third INVITE", cut.Sub(began).Milliseconds(), letter.at.Sub(began).Milliseconds())
	o.silenced(stop)

	o.blocked()
	if err := o.stop(d, syscall.SIGKILL); err == nil {
		t.Fatal("a killed daemon ended well")
	}
	o.start()
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	o.blocked() // by one who has not registered again
	o.phone.register("201", "1234")
	o.blocked()
	o.reopen()
}

// blocked shows what a toll-block shuts and what it does not.
func (o *office) blocked() {
	o.t.Helper()
	o.refused(o.phone.call("201", abroad+"4", "1234"), appliance.ReasonTollBlock)
	for _, number := range []string{"000", national} {
		o.phone.hangUp(o.passes(o.phone.call("201", number, "1234")))
	}
	if o.carrier.took(abroad+"4") != 0 {
		o.t.Error("the provider got a call that was blocked")
	}
}

// reopen leaves the toll-block: no word counts while the password is the old one,
// and the box sees that the new one is another.
func (o *office) reopen() {
	o.t.Helper()
	if out, err := o.ringfence("fraud", "reopen", stolen, "--by", "Ann"); err == nil || !strings.Contains(out, "secret-changed") {
		o.t.Errorf("reopened without proof: %v: %s", err, out)
	}
	if out, err := o.ringfence("fraud", "reopen", stolen, "--by", "Ann", "--attest", "secret-changed=it is new"); err == nil || !strings.Contains(out, "still answers with a weak password") {
		o.t.Errorf("reopened on a word against what the box sees: %v: %s", err, out)
	}
	o.carrier.change(machined)
	o.phone.register("201", machined)
	o.until(func() error {
		list, err := o.api.Checklist(o.t.Context(), stolen)
		if err != nil || len(list.Checks) == 0 || list.Checks[0].Check != "secret-changed" || !list.Checks[0].Verified {
			return fmt.Errorf("checks %+v, %w", list.Checks, err)
		}
		return nil
	})
	out := o.say("fraud", "reopen", stolen, "--by", "Ann")
	for _, want := range []string{"Reopened", "secret-changed", "and with a weak one before", "verified by the box", "no-exposure", "registrations-known"} {
		if !strings.Contains(out, want) {
			o.t.Errorf("reopened, and it does not say %q:\n%s", want, out)
		}
	}
	o.t.Logf("reopened:\n%s", out)
	o.phone.hangUp(o.passes(o.phone.call("201", abroad+"5", machined)))
	log := o.say("audit")
	for _, want := range []string{"Ann", "reopen", "secret-changed, verified by the box", "Every line follows from the one before it"} {
		if !strings.Contains(log, want) {
			o.t.Errorf("the audit log does not say %q:\n%s", want, log)
		}
	}
	if strings.Contains(log+out, machined) {
		o.t.Error("the password is shown")
	}
}

// talking sends media of the call both ways until it is stopped.
func (o *office) talking(c *outgoing) (stop func()) {
	o.t.Helper()
	there := netip.AddrPortFrom(carrierAt, 30000)
	say := func(number uint32) {
		o.phone.talk(there, number)
		o.carrier.mu.Lock()
		defer o.carrier.mu.Unlock()
		o.carrier.voice.mu.Lock()
		back := o.carrier.from
		o.carrier.voice.mu.Unlock()
		if back.IsValid() {
			o.carrier.talk(back, number)
		}
	}
	o.until(func() error {
		say(1)
		if !o.carrier.heard(1) || !o.phone.heard(1) {
			return errors.New("the two do not hear each other in " + c.uri)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	var task sync.WaitGroup
	task.Go(func() {
		for number := uint32(2); ctx.Err() == nil; number++ {
			say(number)
			time.Sleep(5 * time.Millisecond)
		}
	})
	done := sync.OnceFunc(func() { cancel(); task.Wait() })
	o.t.Cleanup(done)
	return done
}

// silenced shows that no media pass any more, though both sides talk on.
func (o *office) silenced(stop func()) {
	o.t.Helper()
	stop()
	const after = 1_000_000
	there := netip.AddrPortFrom(carrierAt, 30000)
	for n := range uint32(100) {
		o.phone.talk(there, after+n)
		o.carrier.talk(o.carrier.from, after+n)
	}
	o.until(func() error {
		drops, err := o.api.Drops(o.t.Context(), 0, 1)
		if err != nil {
			return err
		}
		if in, out := drops.Tallies[appliance.ReasonMediaCut].Packets, drops.Tallies[appliance.ReasonMediaCutOut].Packets; in < 100 || out < 100 {
			return fmt.Errorf("%d were dropped on the way in and %d on the way out", in, out)
		}
		return nil
	})
	in, _ := o.phone.since(after)
	if out, _ := o.carrier.since(after); in+out != 0 {
		o.t.Errorf("after the cut %d packets came to the phone and %d to the carrier", in, out)
	}
}

// TestDaemonDrainsCredit has 30 calls drain one limit, with the power cut in
// between. A second of them all costs 3.00.
func TestDaemonDrainsCredit(t *testing.T) {
	const calls, perSecond = 30, 3.0
	o := newOffice(t)
	d := o.start()
	s := o.settings()
	for id, setting := range fraud.Defaults().Rules {
		if id != fraud.RuleCredit { // thirty calls at once are something else, too
			s.Fraud.Rules = append(s.Fraud.Rules, document.FraudRule{Name: id, Setting: fraud.Setting{Warn: setting.Warn, Critical: setting.Critical, Mode: fraud.Off}})
		}
	}
	day := func(kind fraud.Kind, per fraud.Period, amount fraud.Money) fraud.Limit {
		return fraud.Limit{Kind: kind, Per: per, Amount: amount * fraud.Unit}
	}
	s.Fraud.Limits = []fraud.Limit{day(fraud.Extension, fraud.PerDay, 1000), day(fraud.Site, fraud.PerDay, 1000), day(fraud.Site, fraud.PerMonth, 5000)}
	o.mustPut(s)
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	deck := filepath.Join(o.dir, "deck.csv")
	if err := os.WriteFile(deck, []byte("prefix,per_minute,connect,initial,following\n4930,6.00,0,1,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := o.say("rates", "import", deck, "--currency", "AUD"); !strings.Contains(out, "1 prefixes in AUD") {
		t.Errorf("imported: %s", out)
	}
	o.phone.register("201", "1234")
	o.all(calls)
	o.until(func() error {
		if spent := o.spent(); spent < 14*perSecond {
			return fmt.Errorf("%.2f are spent", spent)
		}
		return nil
	})
	before := o.spent()
	if err := o.stop(d, syscall.SIGKILL); err == nil {
		t.Fatal("a killed daemon ended well")
	}
	o.start()
	kept := o.spent()
	t.Logf("%.2f were spent when the power went, %.2f were known after: %.1f s of the calls were lost", before, kept, (before-kept)/perSecond)
	if before-kept > 11*perSecond { // what was spent between asking and the end comes on top
		t.Errorf("the power cut lost %.2f of %.2f, which is more than 10 s of the calls", before-kept, before)
	}

	// The limit is lowered while the calls live: they need a minute to use up what is
	// reserved for them.
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	o.phone.register("201", "1234")
	live := o.all(calls)
	limit := float64(int(o.spent() + 4*perSecond))
	s.Fraud.Limits[1] = day(fraud.Site, fraud.PerDay, fraud.Money(limit))
	o.mustPut(s)
	first, last := time.Time{}, time.Time{}
	for _, c := range live {
		at := o.cutOff(c)
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	o.until(func() error {
		if top, err := o.api.Top(t.Context(), "", 1); err != nil || len(top.Live) > 0 {
			return fmt.Errorf("calls are still live, %w", err)
		}
		return nil
	})
	spent := o.spent()
	t.Logf("%d calls cut within %d ms at %.2f of %.2f", calls, last.Sub(first).Milliseconds(), spent, limit)
	if spent > limit {
		t.Errorf("%.2f were spent of %.2f", spent, limit)
	}
	o.refused(o.phone.call("201", abroad+"1", "1234"), appliance.ReasonCredit)
	o.phone.hangUp(o.passes(o.phone.call("201", national, "1234")))
}

// all has the telephone call so many numbers abroad.
func (o *office) all(count int) (live []*outgoing) {
	o.t.Helper()
	for n := range count {
		live = append(live, o.passes(o.phone.call("201", abroad+strconv.Itoa(10+n), "1234")))
	}
	return live
}

// spent is what the site has spent today, as the command line says it.
func (o *office) spent() float64 {
	o.t.Helper()
	var status api.Fraud
	if err := json.Unmarshal([]byte(o.say("fraud", "status", "--json")), &status); err != nil {
		o.t.Fatal(err)
	}
	for _, one := range status.Spent {
		if one.Subject == "site" && one.Per == "day" {
			amount, err := strconv.ParseFloat(one.Spent, 64)
			if err != nil {
				o.t.Fatal(err)
			}
			return amount
		}
	}
	return 0
}

// TestDaemonReleasesAMisdial dials a number of Sydney as one of Somalia.
func TestDaemonReleasesAMisdial(t *testing.T) {
	o := newOffice(t)
	box := o.mailbox()
	d := o.start()
	s := o.settings()
	s.Notify.Mail = box.told()
	o.mustPut(s)
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	o.phone.register("201", "1234")
	const misdial, neighbour = "0011252615550", "0011252615551"
	record := o.refused(o.phone.call("201", misdial, "1234"), appliance.ReasonHighRisk)
	o.mail(box, "A call to +252615550 was refused", "local number", "ringfence calls release "+record.ID)
	if status, err := o.api.Fraud(t.Context(), 10); err != nil || len(status.Blocks) != 0 {
		t.Errorf("a misdial blocks %+v, %v", status.Blocks, err)
	}
	if out := o.say("calls", "release", record.ID, "--for", "15m"); !strings.Contains(out, "+252615550") {
		t.Errorf("released: %s", out)
	}
	released := o.passes(o.phone.call("201", misdial, "1234"))
	o.recorded(released, func(record appliance.Call) bool { return record.Reason == appliance.ReasonReleased })
	o.phone.hangUp(released)
	o.refused(o.phone.call("201", neighbour, "1234"), appliance.ReasonHighRisk)
	if err := o.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	o.start()
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	o.refused(o.phone.call("201", misdial, "1234"), appliance.ReasonHighRisk)
	if o.carrier.took("2526155") != 1 {
		t.Errorf("the provider got %d calls, want the released one", o.carrier.took("2526155"))
	}
}

// TestDaemonKeepsHours calls on a holiday.
func TestDaemonKeepsHours(t *testing.T) {
	o := newOffice(t)
	o.start()
	s := o.settings()
	for day := -1; day <= 1; day++ { // midnight may come meanwhile
		date := time.Now().UTC().AddDate(0, 0, day)
		s.Fraud.Hours.Holidays = append(s.Fraud.Hours.Holidays, fraud.Holiday{Month: date.Month(), Day: date.Day()})
	}
	s.Fraud.Hours.Refused = []fraud.Class{fraud.Unknown, fraud.Premium, fraud.IntlLow, fraud.IntlHigh}
	o.mustPut(s)
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	o.phone.register("201", "1234")
	o.refused(o.phone.call("201", abroad+"1", "1234"), appliance.ReasonHours)
	for _, number := range []string{"000", national} {
		o.phone.hangUp(o.passes(o.phone.call("201", number, "1234")))
	}
	if o.carrier.took(abroad) != 0 {
		t.Error("the provider got a call outside hours")
	}
}

// TestDaemonJudgesAPBX has a PBX return a call that rang once, and forward one.
func TestDaemonJudgesAPBX(t *testing.T) {
	o := newOffice(t)
	o.start()
	s := o.settings()
	s.SIP.PBX = settings.Peer{Address: netip.AddrPortFrom(phoneAt, 5060), Transport: settings.UDP}
	o.mustPut(s)
	o.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
	o.phone.account = "line1" // the trunk's, which is no extension
	o.phone.register("line1", "1234")
	o.carrier.ringOnce(abroad + "1")
	o.recorded(&outgoing{id: o.carrier.rang, uri: "the bait"}, func(record appliance.Call) bool { return !record.End.IsZero() })
	if held := o.refused(o.phone.call("201", abroad+"1", "1234"), appliance.ReasonSuspicion); held.Rule != string(fraud.RuleCallback) {
		t.Errorf("the call back was refused by %s: %s", held.Rule, held.Why)
	}
	o.phone.hangUp(o.passes(o.phone.call("201", abroad+"2", "1234"))) // it was held, not blocked
	o.refused(o.phone.call("202", abroad+"3", "1234", "Diversion: <sip:201@carrier.example>;reason=unconditional"), appliance.ReasonForwarded)
	o.refused(o.phone.call("202", abroad+"4", "1234"), appliance.ReasonTollBlock)
	o.phone.hangUp(o.passes(o.phone.call("202", national, "1234", "Diversion: <sip:201@carrier.example>;reason=unconditional")))
	o.phone.hangUp(o.passes(o.phone.call("201", abroad+"5", "1234"))) // nobody else is
	status, err := o.api.Fraud(t.Context(), 10)
	if err != nil || len(status.Blocks) != 1 || status.Blocks[0].Subject != "extension:202" || status.Blocks[0].Rule != string(fraud.RuleForward) {
		t.Errorf("blocks %+v, %v", status.Blocks, err)
	}
}
