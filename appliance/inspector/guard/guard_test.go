package guard

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// scene is a guard with a clock that the test moves, and a far end that knows
// every account of its list.
type scene struct {
	t       *testing.T
	g       *Guard
	limits  document.Guard
	now     time.Time
	nonces  int
	known   map[string]string // password by account
	found   []Finding
	refused int // slowed down or dropped
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, g: New(), limits: document.BuiltinGuard(), now: noon, known: map[string]string{}}
}

// phone is one user agent.
type phone struct {
	at       string
	stream   bool
	standing Standing
	account  string
	password string
	nonce    string // that it would use, from an earlier life
	words    Words
}

func (s *scene) nonce() string {
	s.nonces++
	return fmt.Sprintf("nonce-%d", s.nonces)
}

func (s *scene) note(found *Finding) {
	if found != nil {
		s.found = append(s.found, *found)
	}
}

func (s *scene) request(p *phone, method, nonce string) Request {
	r := Request{Source: netip.MustParseAddr(p.at), Standing: p.standing, Stream: p.stream, Method: method, Account: p.account, Words: p.words}
	if nonce != "" {
		r.Credentials = &Credentials{User: p.account, Realm: "pbx", Nonce: nonce, URI: "sip:pbx", Response: p.password + nonce}
	}
	return r
}

// send puts one REGISTER through the guard and the far end, and returns the
// status that the phone sees (0 for silence) and the nonce of a challenge.
func (s *scene) send(p *phone, nonce string) (int, string) {
	r := s.request(p, "REGISTER", nonce)
	action, found := s.g.Admit(s.limits, r, s.now)
	s.note(found)
	switch action {
	case Slow:
		s.refused++
		return 503, ""
	case Drop:
		s.refused++
		return 0, ""
	}
	password, known := s.known[p.account]
	switch {
	case !known && s.known["*"] == "404":
		s.note(s.g.Settle(s.limits, r, Answer{Status: 404}, s.now))
		return 404, ""
	case nonce != "" && known && password == p.password && !strings.HasPrefix(nonce, "old"):
		s.note(s.g.Settle(s.limits, r, Answer{Status: 200}, s.now))
		return 200, ""
	}
	fresh := s.nonce()
	s.note(s.g.Settle(s.limits, r, Answer{Status: 401, Nonces: []string{fresh}}, s.now))
	return 401, fresh
}

// register is how a phone registers: with what nonce it has, and again with the
// one that it is given, once.
func (s *scene) register(p *phone) int {
	status, nonce := s.send(p, p.nonce)
	p.nonce = ""
	if status == 401 {
		status, _ = s.send(p, nonce)
	}
	return status
}

func (s *scene) bans() (all []Finding) {
	for _, one := range s.found {
		if one.Ban {
			all = append(all, one)
		}
	}
	return all
}

func (s *scene) wantNothing() {
	s.t.Helper()
	if len(s.found) > 0 || s.refused > 0 {
		s.t.Errorf("%d refused; found %+v", s.refused, s.found)
	}
}

func (s *scene) wantBan(source, says string) {
	s.t.Helper()
	bans := s.bans()
	if len(bans) != 1 || bans[0].Source != netip.MustParsePrefix(source) || !strings.Contains(bans[0].Why, says) {
		s.t.Errorf("found %+v; want a ban of %s saying %q", s.found, source, says)
	}
}

func (s *scene) fleet(at string, standing Standing, n int) []*phone {
	var all []*phone
	for i := range n {
		p := &phone{at: at, standing: standing, account: fmt.Sprintf("%d@pbx", 100+i), password: fmt.Sprintf("secret%d", i)}
		s.known[p.account] = p.password
		all = append(all, p)
	}
	return all
}

func (s *scene) view(at string) View {
	views, _ := s.g.Views(s.limits, s.now, 1000)
	for _, v := range views {
		if v.Source == Block(netip.MustParseAddr(at)) {
			return v
		}
	}
	return View{State: Counted}
}

func TestBansEscalate(t *testing.T) {
	s := newScene(t)
	for n, want := range []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour, 24 * time.Hour} {
		s.found = nil
		s.sweep("198.51.100.66", true)
		bans := s.bans()
		if len(bans) != 1 {
			t.Fatalf("round %d: found %+v", n, s.found)
		}
		if got := bans[0].Until.Sub(s.now); got > want || got < want-10*time.Second {
			t.Errorf("round %d: banned for %s; want %s", n, got, want)
		}
		s.now = bans[0].Until
	}
	s.found, s.now = nil, s.now.Add(forgiven+time.Second)
	s.sweep("198.51.100.66", true)
	if got := s.bans()[0].Until.Sub(s.now); got > 10*time.Minute {
		t.Errorf("after a week without any: %s", got)
	}
	s.g.Pardon(netip.MustParsePrefix("198.51.100.66/32"))
	if v := s.view("198.51.100.66"); v.State != Counted || v.Level != 0 {
		t.Errorf("after a pardon: %+v", v)
	}
}

func TestMemorySurvivesRestart(t *testing.T) {
	s := newScene(t)
	phones := s.fleet("198.51.100.7", Open, 30)
	storm(s, phones)
	s.sweep("198.51.100.66", true)
	kept := s.g.Memory(s.now)
	if len(kept.Proven) != 30 || len(kept.Offenders) != 1 {
		t.Fatalf("%d proven, offenders %+v", len(kept.Proven), kept.Offenders)
	}
	s.g, s.found, s.refused = New(), nil, 0
	s.g.Restore(kept, s.now)
	for _, p := range phones { // they all have an old password now, and none is a stranger
		p.password = "changed"
		s.register(p)
	}
	s.wantNothing()
	if status, _ := s.send(&phone{at: "198.51.100.66", stream: true, account: "1@pbx"}, ""); status != 0 {
		t.Errorf("the scanner gets %d after a restart", status)
	}
	if again := s.g.Memory(s.now); len(again.Proven) != 30 || len(again.Offenders) != 1 {
		t.Errorf("kept again: %d proven, offenders %+v", len(again.Proven), again.Offenders)
	}
	later := New()
	later.Restore(kept, s.now.Add(remembered+forgiven))
	if m := later.Memory(s.now.Add(remembered + forgiven)); len(m.Proven)+len(m.Offenders) > 0 {
		t.Errorf("too old, and kept: %+v", m)
	}
}

// TestBounded floods every table.
func TestBounded(t *testing.T) {
	s := newScene(t)
	phones := s.fleet("198.51.100.7", Open, 3)
	storm(s, phones)
	for n := range 20_000 {
		at := netip.AddrFrom4([4]byte{45, byte(n >> 16), byte(n >> 8), byte(n)})
		for k := range 4 {
			r := Request{Source: at, Method: "REGISTER", Account: fmt.Sprintf("%d-%d@pbx", n, k)}
			s.g.Settle(s.limits, r, Answer{Status: 401, Nonces: []string{"n"}}, s.now)
		}
	}
	for n := range 3 * maxPerSource {
		r := Request{Source: netip.MustParseAddr("198.51.100.7"), Method: "REGISTER", Account: fmt.Sprintf("flood%d@pbx", n)}
		s.g.Settle(s.limits, r, Answer{Status: 401, Nonces: []string{"n"}}, s.now)
	}
	count := 0
	for _, one := range s.g.sources {
		count += len(one.accounts)
	}
	if len(s.g.sources) > maxSources || count > maxAccounts || count != s.g.accounts || len(s.g.sources[Block(netip.MustParseAddr("198.51.100.7"))].accounts) > maxPerSource {
		t.Errorf("%d sources, %d accounts, counted as %d", len(s.g.sources), count, s.g.accounts)
	}
	for _, p := range phones {
		if a := s.g.sources[Block(netip.MustParseAddr(p.at))].find(p.account); a == nil || !a.isProven(s.now) {
			t.Errorf("the flood drove %s out", p.account)
		}
	}
}

func TestFingerprints(t *testing.T) {
	for _, row := range []struct {
		words Words
		want  Mark
	}{
		{Words{Agent: "friendly-scanner"}, MarkScanner},
		{Words{Agent: "Mozilla (Friendly-Scanner)"}, MarkScanner},
		{Words{Agent: "VaxSIPUserAgent/3.5"}, MarkScanner},
		{Words{Agent: "pplsip"}, MarkScanner},
		{Words{Agent: "sundayddr"}, MarkScanner},
		{Words{Agent: "iWar"}, MarkScanner},
		{Words{Displays: [2]string{"sipvicious", ""}}, MarkScanner},
		{Words{Users: [2]string{"", "100"}, Hosts: [2]string{"", "1.1.1.1"}}, MarkScanner},
		{Words{Users: [2]string{"NM", ""}, Hosts: [2]string{"nm", ""}}, MarkScanner},
		{Words{Agent: "sipcli/v1.8"}, MarkTool},
		{Words{Agent: "sipsak 0.9.7pre"}, MarkTool},
		{Words{Agent: "eyeBeam release 3006o stamp 17551"}, MarkForged},
		{Words{Agent: "Yealink SIP-T46S 66.86.0.15"}, MarkNone},
		{Words{Agent: "Cisco-SIPGateway/IOS-16.12"}, MarkNone},
		{Words{Agent: "Asterisk PBX 20.9.3"}, MarkNone},
		{Words{Agent: "FPBX-16.0.40(18.20.0)"}, MarkNone},
		{Words{Agent: "MicroSIP/3.21.3"}, MarkNone},
		{Words{Agent: "Wisipphone iWarden 2"}, MarkNone},
		{Words{Agent: "Zoiper rv2.10.20"}, MarkNone},
		{Words{Agent: "Grandstream GXP2170 1.0.11"}, MarkNone},
		{Words{Agent: "snomD785/10.1.152"}, MarkNone},
		{Words{Users: [2]string{"100", "100"}, Hosts: [2]string{"192.0.2.1", "10.1.1.1"}}, MarkNone},
		{Words{Users: [2]string{"100@1.1.1.1", "10"}, Hosts: [2]string{"", "0@1.1.1.1"}}, MarkNone},
		{Words{}, MarkNone},
	} {
		if got, shown := look(row.words); got != row.want {
			t.Errorf("%+v: mark %d (%s); want %d", row.words, got, shown, row.want)
		}
	}
	for _, one := range fingerprints {
		if one.cite == "" || one.shown == "" || one.text == "" || one.text != strings.ToLower(one.text) {
			t.Errorf("row %+v is not complete", one)
		}
	}
}

func FuzzLook(f *testing.F) {
	f.Add("friendly-scanner", "sipvicious", "100@1.1.1.1")
	f.Fuzz(func(t *testing.T, agent, display, user string) {
		mark, shown := look(Words{Agent: agent, Displays: [2]string{display}, Users: [2]string{user}, Hosts: [2]string{display}})
		if (mark == MarkNone) != (shown == "") {
			t.Errorf("mark %d is shown as %q", mark, shown)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	g, limits := New(), document.BuiltinGuard()
	r := Request{Source: netip.MustParseAddr("192.168.1.7"), Standing: Local, Method: "INVITE", Account: "100@pbx",
		Words: Words{Agent: "Yealink SIP-T46S 66.86.0.15", Displays: [2]string{"Desk", ""}, Users: [2]string{"100", "0252615550"}, Hosts: [2]string{"pbx", "pbx"}}}
	b.ReportAllocs()
	for b.Loop() {
		g.Admit(limits, r, noon)
	}
}
