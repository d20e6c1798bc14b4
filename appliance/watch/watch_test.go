package watch

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/audit"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// site is a box around a Watch: a disk, a mailbox, calls that can be cut, facts.
type site struct {
	*testing.T
	mu     sync.Mutex
	now    fraud.Moment
	disk   map[string][]byte
	full   bool
	mails  []appliance.Notice
	cuts   []string
	events []appliance.Event
	open   string
	from   []string
	rules  *rules.Rules
	calls  int
}

func newSite(t *testing.T) *site {
	t.Helper()
	p, s := policy.Builtin(), settings.Default()
	s.Site.AreaCode = "2"
	compiled, err := rules.Compile(p, s, rules.Facts{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &site{T: t, disk: make(map[string][]byte), rules: compiled, now: fraud.Moment{Wall: time.Date(2026, 11, 16, 10, 0, 0, 0, time.UTC), Up: time.Hour}}
}

func (s *site) Kept(name string, accept func([]byte) error) (string, error) {
	s.mu.Lock()
	data, ok := s.disk[name]
	s.mu.Unlock()
	if !ok {
		return "", fs.ErrNotExist
	}
	return "", accept(data)
}

func (s *site) Keep(name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return errors.New("no space left on device")
	}
	s.disk[name] = data
	return nil
}

func (s *site) Add(n appliance.Notice) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, n)
	return nil
}

func (s *site) Waiting() map[string]int        { return map[string]int{} }
func (s *site) SetSecret(string, string) error { return nil }

func (s *site) Cut(id, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts = append(s.cuts, id)
	return nil
}

func (s *site) Exposure() (string, error)          { return s.open, nil }
func (s *site) Strangers(string) ([]string, error) { return s.from, nil }
func (s *site) clock() fraud.Moment                { s.mu.Lock(); defer s.mu.Unlock(); return s.now }
func (s *site) wait(d time.Duration)               { s.mu.Lock(); defer s.mu.Unlock(); s.now = s.now.After(d) }
func (s *site) report(e appliance.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}
func (s *site) kinds() (out []appliance.NoticeKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, mail := range s.mails {
		out = append(out, mail.Kind)
	}
	return out
}

func (s *site) start() *Watch {
	s.Helper()
	w, err := New(Hands{Keeper: s, Messenger: s, Cutter: s, Rules: func() *rules.Rules { return s.rules }, Site: func() string { return "Smith & Sons" },
		Now: s.clock, Report: s.report, Facts: s}, slog.New(slog.DiscardHandler))
	if err != nil {
		s.Fatal(err)
	}
	return w
}

// dial judges a call as the inspector would, and carries out what that asks for.
func (s *site) dial(w *Watch, account, number string, forwarded bool) (string, rules.Ruling) {
	s.calls++
	id := fmt.Sprintf("call%d", s.calls)
	said := s.rules.Call(rules.Call{URI: number, Direction: appliance.Outbound, Use: rules.UseCall})
	ruling := w.Begin(rules.Attempt{ID: id, Key: id, Account: account, Forwarded: forwarded, Said: said})
	w.drainActions()
	return id, ruling
}

// TestTollBlock is the whole story: a stolen extension, the block, the cut and the
// mail, a restart without warning, and the way out.
func TestTollBlock(t *testing.T) {
	s := newSite(t)
	w := s.start()
	talks, _ := s.dial(w, "201", "0011 44 20 7946 0018", false)
	w.Answered(talks)
	if _, ruling := s.dial(w, "201", "0011 44 20 7946 0019", true); ruling.Verdict != appliance.Block || ruling.Reason != appliance.ReasonForwarded {
		t.Fatalf("the forwarded call: %+v", ruling)
	}
	if len(s.cuts) != 1 || s.cuts[0] != talks {
		t.Errorf("cut %v, want %s", s.cuts, talks)
	}
	if kinds := s.kinds(); len(kinds) != 1 || kinds[0] != appliance.NoticeTollBlock {
		t.Errorf("notices %v", kinds)
	}
	if mail := s.mails[0]; !mail.Urgent || mail.Site != "Smith & Sons" || len(mail.Next) < 3 || strings.Contains(fmt.Sprint(mail), "http") {
		t.Errorf("mail %+v", mail)
	}

	// The power goes: nothing was shut down in order.
	s.wait(time.Minute)
	w = s.start()
	for number, want := range map[string]appliance.Reason{
		"0011 44 20 7946 0018": appliance.ReasonTollBlock, "000": appliance.ReasonEmergency, "02 5550 0201": appliance.ReasonDestinationAllowed,
	} {
		if _, ruling := s.dial(w, "201", number, false); ruling.Reason != want {
			t.Errorf("%s after the restart: %+v, want %s", number, ruling, want)
		}
	}

	of := fraud.Subject{Kind: fraud.Extension, Name: "201"}
	if _, err := w.Reopen(of, "Ann", nil); err == nil || !strings.Contains(err.Error(), string(fraud.CheckSecret)) {
		t.Errorf("without a proof: %v", err)
	}
	proofs, err := w.Reopen(of, "Ann", []fraud.Word{{Check: fraud.CheckSecret, Why: "changed it"}})
	if err != nil || len(proofs) != 3 || !proofs[1].Verified || proofs[0].Verified || proofs[0].By != "Ann" {
		t.Fatalf("reopened: %+v, %v", proofs, err)
	}
	if _, ruling := s.dial(w, "201", "0011 44 20 7946 0018", false); ruling.Verdict != appliance.Allow {
		t.Errorf("after the proof: %+v", ruling)
	}
	w = s.start()
	if len(w.Blocks()) != 0 {
		t.Error("a block that was left came back with a restart")
	}
}

// TestWordAgainstSight: against what the box sees nobody's word counts.
func TestWordAgainstSight(t *testing.T) {
	s := newSite(t)
	w := s.start()
	s.dial(w, "201", "0011 44 20 7946 0019", true)
	of := fraud.Subject{Kind: fraud.Extension, Name: "201"}
	s.open = "port 5060 of eth0 is open: the gate is not in force"
	word := []fraud.Word{{Check: fraud.CheckSecret, Why: "changed"}, {Check: fraud.CheckExposure, Why: "all shut"}, {Check: fraud.CheckRegistration, Why: "all ours"}}
	if _, err := w.Reopen(of, "Ann", word); err == nil || !strings.Contains(err.Error(), "port 5060") {
		t.Errorf("with an open port: %v", err)
	}
	s.open = ""
	w.test("201", response("201", "1234"))
	if _, err := w.Reopen(of, "Ann", word); err == nil || !strings.Contains(err.Error(), "weak password") {
		t.Errorf("with a weak password: %v", err)
	}
	s.wait(2 * time.Minute)
	w.test("201", response("201", "x7#Qp0zL2m!"))
	s.from = []string{"198.51.100.66"}
	if _, err := w.Reopen(of, "Ann", word[:1]); err == nil || !strings.Contains(err.Error(), string(fraud.CheckRegistration)) {
		t.Errorf("with a stranger registered: %v", err)
	}
	proofs, err := w.Reopen(of, "Ann", word[2:])
	if err != nil || !proofs[0].Verified || proofs[2].Verified {
		t.Errorf("proofs %+v, %v", proofs, err)
	}
	if _, err := w.Reopen(of, "Ann", word); err == nil {
		t.Error("the block was left twice")
	}
}

// TestStrongSecretProvesNothing: a secret that was never seen to be weak may be the
// one that was stolen, however strong it is.
func TestStrongSecretProvesNothing(t *testing.T) {
	s := newSite(t)
	w := s.start()
	s.dial(w, "201", "0011 44 20 7946 0019", true)
	s.wait(2 * time.Minute)
	w.test("201", response("201", "x7#Qp0zL2m!"))
	items, err := w.Checklist(fraud.Subject{Kind: fraud.Extension, Name: "201"})
	if err != nil || items[0].Check != fraud.CheckSecret || items[0].Verified || !items[0].Attestable {
		t.Errorf("checks %+v, %v", items, err)
	}
}

// TestRulesAtOnce: what was set is in force for the next call, and not a second later.
func TestRulesAtOnce(t *testing.T) {
	s := newSite(t)
	w := s.start()
	changed := settings.Default()
	changed.Fraud.Canaries = []string{"+4420"}
	var err error
	if s.rules, err = rules.Compile(policy.Builtin(), changed, rules.Facts{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, ruling := s.dial(w, "201", "0011 44 20 7946 0018", false); ruling.Rule != string(fraud.RuleCanary) {
		t.Errorf("ruling %+v", ruling)
	}
}

// response is what a phone answers to a challenge.
func response(user, secret string) audit.Digest {
	sum := func(s string) string { out := md5.Sum([]byte(s)); return hex.EncodeToString(out[:]) }
	d := audit.Digest{Username: user, Realm: "itsp", Nonce: "n", Method: "REGISTER", URI: "sip:itsp.example"}
	d.Response = sum(sum(user+":itsp:"+secret) + ":n:" + sum("REGISTER:sip:itsp.example"))
	return d
}

func TestWeakIsToldOnce(t *testing.T) {
	s := newSite(t)
	w := s.start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for range 3 {
		w.Accepted("201", response("201", "smith201"))
		s.wait(2 * time.Hour)
		for deadline := time.Now().Add(30 * time.Second); len(w.Weak()) != 1 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if weak := w.Weak(); len(weak) != 1 || weak[0].Class != audit.Site {
		t.Fatalf("weak %+v", weak)
	}
	if kinds := s.kinds(); len(kinds) != 1 || kinds[0] != appliance.NoticeCredential {
		t.Errorf("notices %v", kinds)
	}
	everything := fmt.Sprint(s.mails, s.events, string(s.disk[keptWeak]), string(s.disk[keptSnapshot]))
	if strings.Contains(everything, "smith201") {
		t.Error("the secret was shown or kept")
	}
	if weak := s.start().Weak(); len(weak) != 1 {
		t.Errorf("after a restart: %+v", weak)
	}
}

// TestMisdial: the card, and the release of exactly that number.
func TestMisdial(t *testing.T) {
	s := newSite(t)
	w := s.start()
	id, ruling := s.dial(w, "201", "0011 252 615 550", false)
	if ruling.Verdict != appliance.Block || ruling.Reason != appliance.ReasonHighRisk {
		t.Fatalf("ruling %+v", ruling)
	}
	if len(s.mails) != 1 || !strings.Contains(strings.Join(s.mails[0].Next, " "), "local number") || !strings.Contains(strings.Join(s.mails[0].Next, " "), id) {
		t.Errorf("mails %+v", s.mails)
	}
	if _, err := w.Release("+252615550", "Ann", 15*time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, ruling := s.dial(w, "201", "0011 252 615 550", false); ruling.Verdict != appliance.Allow || ruling.Reason != appliance.ReasonReleased {
		t.Errorf("the released number: %+v", ruling)
	}
	if _, ruling := s.dial(w, "201", "0011 252 615 551", false); ruling.Verdict != appliance.Block {
		t.Errorf("its neighbour: %+v", ruling)
	}
	if err := w.Withdraw("+252615550"); err != nil || w.Withdraw("+252615550") == nil {
		t.Errorf("withdraw: %v", err)
	}
	if _, err := w.Release("252", "Ann", time.Hour); err == nil {
		t.Error("half a number was released")
	}
}

func TestFullDisk(t *testing.T) {
	s := newSite(t)
	w := s.start()
	s.full = true
	s.dial(w, "201", "0011 44 20 7946 0019", true)
	if _, ruling := s.dial(w, "201", "0011 44 20 7946 0018", false); ruling.Reason != appliance.ReasonTollBlock {
		t.Errorf("with a full disk: %+v", ruling)
	}
	if w.Trouble() == "" {
		t.Error("nothing is said of a full disk")
	}
	said := 0
	for _, event := range s.events {
		if strings.Contains(event.Message, "from memory") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times", said)
	}
	s.full = false
	w.keepAll()
	if w.Trouble() != "" || len(s.start().Blocks()) != 1 {
		t.Error("not mended when the disk was")
	}
}

// TestDamaged: what can't be read is told, and nothing of it opens a block.
func TestDamaged(t *testing.T) {
	s := newSite(t)
	w := s.start()
	s.dial(w, "201", "0011 44 20 7946 0019", true)
	talks, _ := s.dial(w, "202", "0011 44 20 7946 0018", false)
	w.Answered(talks)
	s.wait(time.Minute)
	w.keepAll()
	s.disk[keptSnapshot] = []byte("{")
	s.disk[keptRates] = []byte("AUD\nnonsense")
	if w = s.start(); len(w.Blocks()) != 1 || len(w.Spent()) == 0 {
		t.Errorf("a damaged snapshot cost blocks, of which there are %d, or money: %+v", len(w.Blocks()), w.Spent())
	}
	if len(s.events) == 0 {
		t.Error("nothing is said of a damaged file")
	}
}

// TestBlockSurvivesAFullDisk: a toll-block that found no room is written as soon as
// there is some, whatever an older file says.
func TestBlockSurvivesAFullDisk(t *testing.T) {
	s := newSite(t)
	w := s.start()
	w.keepAll() // a file without a block
	s.full = true
	s.dial(w, "201", "0011 44 20 7946 0019", true)
	if len(w.Blocks()) != 1 {
		t.Fatal("no block")
	}
	for n := 1; n <= 5; n++ {
		w.everySecond(n)
	}
	if w.Trouble() == "" || len(s.events) == 0 {
		t.Error("nobody hears of the full disk")
	}
	s.full = false
	w.everySecond(6)
	if again := s.start(); len(again.Blocks()) != 1 {
		t.Errorf("%d blocks after the power went", len(again.Blocks()))
	}
	if w.Trouble() != "" {
		t.Error(w.Trouble())
	}
}

func TestRates(t *testing.T) {
	s := newSite(t)
	w := s.start()
	if _, err := w.SetRates([]byte("prefix,per_minute\n44,x\n"), "AUD"); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a bad deck: %v", err)
	}
	if _, err := w.SetRates([]byte("prefix,per_minute\n44,0.02\n"), "dollars"); err == nil {
		t.Error("a currency of its own was taken")
	}
	if n, err := w.SetRates([]byte("prefix,per_minute\n44,0.02\n"), "AUD"); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	if n, currency := s.start().Rates(); n != 1 || currency != "AUD" {
		t.Errorf("after a restart: %d rates in %s", n, currency)
	}

	// From now on the provider says what calls cost.
	p := policy.Builtin()
	p.Grants.Fraud, p.Fraud.Rates = false, fraud.NewDeck("EUR")
	for _, prefix := range []string{"44", "49", "252"} {
		if err := p.Fraud.Rates.Add(prefix, fraud.Tariff{PerMinute: fraud.Unit}); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := rules.Compile(p, settings.Default(), rules.Facts{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.rules = compiled
	w.current()
	var forbidden *appliance.Error
	if _, err := w.SetRates([]byte("prefix,per_minute\n44,0.02\n"), "AUD"); !errors.As(err, &forbidden) || forbidden.Code != appliance.CodeForbidden {
		t.Errorf("a deck of its own beside the policy's: %v", err)
	}
	for _, w := range []*Watch{w, s.start()} {
		if n, currency := w.Rates(); n != 3 || currency != "EUR" {
			t.Errorf("%d rates in %s, not the policy's", n, currency)
		}
	}
}

// TestCountries: who registers from two countries within an hour is told of, as far
// as somebody has told the box whose an address is.
func TestCountries(t *testing.T) {
	const statistics = "2|ripencc|20261101|2|1|1|+0\nripencc|RO|ipv4|192.0.2.0|256|1|allocated\nripencc|DE|ipv4|198.51.100.0|256|1|allocated\n"
	s := newSite(t)
	w := s.start()
	registers := func(name, from string, local bool) {
		w.Registered(fraud.Registration{Extension: name, Source: netip.MustParseAddr(from), Agent: "Phone 1.0", Local: local})
		s.wait(10 * time.Minute)
	}
	if _, err := w.SetCountries([]byte(statistics[:len(statistics)-40])); err == nil {
		t.Error("statistics that are cut off were taken")
	}
	registers("201", "192.0.2.1", false)
	registers("201", "198.51.100.1", false)
	if told := s.findings(w); len(told) != 1 || !strings.Contains(told[0], "from a new address, 198.51.100.1") {
		t.Errorf("without statistics: %q", told)
	}
	if _, err := w.SetCountries([]byte(statistics)); err != nil {
		t.Fatal(err)
	}
	for n := range 2 { // and after a restart
		registers("202", "192.0.2.1", false)
		registers("202", "192.0.2.99", false) // a line of the same country
		registers("202", "10.0.0.1", true)
		registers("202", "198.51.100.1", false)
		told := s.findings(w)
		if len(told) != 2+n || !strings.HasSuffix(told[len(told)-1], "it registered from RO and from DE within an hour") {
			t.Errorf("%q", told)
		}
		w.keepAll()
		s.wait(2 * time.Hour)
		w = s.start()
	}
	if err := w.ForgetCountries("apnic"); err == nil {
		t.Error("what was never there was forgotten")
	}
	if err := w.ForgetCountries("ripencc"); err != nil || len(w.Countries()) != 0 || len(s.start().Countries()) != 0 {
		t.Errorf("%v; then %d, and after a restart %d", err, len(w.Countries()), len(s.start().Countries()))
	}
}

func (s *site) findings(w *Watch) (told []string) {
	for _, f := range w.Findings() {
		told = append(told, f.Subject.Reference()+": "+f.Why)
	}
	return told
}

func TestDigest(t *testing.T) {
	s := newSite(t)
	w := s.start()
	w.Digest()
	s.dial(w, "201", "0011 44 20 7946 0019", true)
	w.Digest()
	w.TestNotice("Ann")
	kinds := s.kinds()
	if len(kinds) != 4 || kinds[0] != appliance.NoticeDigest || kinds[2] != appliance.NoticeDigest || kinds[3] != appliance.NoticeTest {
		t.Fatalf("notices %v", kinds)
	}
	if !strings.Contains(s.mails[0].Happened[0], "Nothing") || len(s.mails[2].Done) != 1 || s.mails[0].Urgent {
		t.Errorf("digests %+v and %+v", s.mails[0], s.mails[2])
	}
}
