package inspector

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/inspector/guard"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestStorm has 200 telephones behind one NAT register within seconds of each
// other, every third with a nonce of before the outage: none is banned, none
// refused. Each is a user agent with a socket of its own behind one address.
func TestStorm(t *testing.T) {
	for _, row := range []struct {
		name string
		host byte
		set  setup
	}{
		{"on the WAN, never seen before", 130, func(s *site, set *settings.Settings, _ *limits) {
			set.SIP.PBX = settings.Peer{}
			for n := range 200 {
				set.Accounts = append(set.Accounts, document.Account{User: fmt.Sprint(1000 + n), Remote: []netip.Prefix{netip.PrefixFrom(s.host(128).Addr(), 25)}})
			}
		}},
		{"on the LAN", 4, withoutPBX},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, row.set)
			registrarAgent(s, s.itsp(), "right")
			s.watching()
			phones := make([]*agent, 200)
			for n := range phones {
				phones[n] = s.udp(fmt.Sprintf("phone%d", n), netip.AddrPortFrom(s.host(row.host).Addr(), uint16(20000+n)))
			}
			began := time.Now()
			var fleet sync.WaitGroup
			statuses := make([]string, len(phones))
			for n, phone := range phones {
				fleet.Go(func() { statuses[n] = phone.storm(fmt.Sprint(1000+n), n%3 == 0) })
			}
			fleet.Wait()
			took := time.Since(began)
			for n, status := range statuses {
				if !strings.HasPrefix(status, "SIP/2.0 200") {
					t.Errorf("telephone %d got %q", n, status)
				}
			}
			s.mu.Lock()
			bans := slices.Clone(s.bans)
			s.mu.Unlock()
			suspects, total := s.in.watch.Suspects(10)
			for _, reason := range []appliance.Reason{appliance.ReasonScanner, appliance.ReasonSlowed, appliance.ReasonUnregistered, appliance.ReasonRegistrationSource, appliance.ReasonOverload} {
				if count := s.tally(reason); count > 0 {
					t.Errorf("%d refused: %s", count, reason.Sentence())
				}
			}
			if len(bans) > 0 || total > 0 {
				t.Errorf("bans %q, suspects %+v", bans, suspects)
			}
			if got := s.in.bindings.size(); got != 200 {
				t.Errorf("%d bindings", got)
			}
			t.Logf("%d telephones behind one address registered within %d ms: %d bans, %d suspects", s.in.bindings.size(), took.Milliseconds(), len(bans), total)
		})
	}
}

// storm is one telephone after the power is back: it sends again what is not
// answered, as RFC 3261 has it, until it is registered or refused.
func (a *agent) storm(user string, stale bool) string {
	nonce := ""
	if stale {
		nonce = "old-" + user
	}
	for range 4 {
		text := a.wire(a.registerText(user, domain, nonce, "right"))
		response := a.exchange(text)
		if !strings.HasPrefix(response, "SIP/2.0 401") {
			return startOf(response)
		}
		nonce = nonceOf(response)
	}
	return "challenged again and again"
}

// exchange sends until a final response to that very request comes.
func (a *agent) exchange(text string) string {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, _ = a.packet.WriteToUDPAddrPort([]byte(text), a.box)
		again := time.After(500 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case response := <-a.inbox:
				if get(response, "CSeq") == get(text, "CSeq") && !strings.HasPrefix(response, "SIP/2.0 1") {
					return response
				}
			case <-again:
				waiting = false
			}
		}
	}
	return "SIP/2.0 000 nothing"
}

// watching runs the watch's task until the test ends.
func (s *site) watching() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.in.watch.Run(ctx)
	}()
	s.t.Cleanup(func() {
		stop()
		<-done
	})
}

func (s *site) banned(says string) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.bans) > 0 && strings.Contains(s.bans[0], says)
	}
}

// TestGuessingIsBanned walks over accounts from the WAN, answering challenges.
func TestGuessingIsBanned(t *testing.T) {
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.SIP.PBX = settings.Peer{}
		for n := range 40 {
			set.Accounts = append(set.Accounts, document.Account{User: fmt.Sprint(100 + n), Remote: []netip.Prefix{netip.PrefixFrom(s.host(128).Addr(), 25)}})
		}
	})
	s.watching()
	registrarAgent(s, s.itsp(), "right")
	bad := s.udp("bad", s.host(140))
	for n := range 20 {
		bad.enrol(fmt.Sprint(100+n), domain, "1234")
	}
	s.until("the perimeter is asked for a ban", s.banned(bad.at.Addr().String()+"/32 20 accounts tried in 60 s"))
	bad.send(bad.registerText("121", domain, "", ""))
	s.until("what it sends now is dropped", func() bool { return s.tally(appliance.ReasonScanner) > 0 })
	// His neighbour is another, and registers.
	good := s.udp("good", s.host(141))
	if got := startOf(good.enrol("130", domain, "right")); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Errorf("the neighbour gets %s", got)
	}
	s.in.watch.Pardon(netip.PrefixFrom(bad.at.Addr(), 32))
	if got := startOf(bad.enrol("131", domain, "right")); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Errorf("after a pardon: %s", got)
	}
}

// TestWalkByOptions asks for one name after the other, without registering.
func TestWalkByOptions(t *testing.T) {
	s := newSite(t, teleworkers)
	s.watching()
	pbx := s.pbx()
	walker := s.dial("walker", s.host(140).Addr())
	for n := range 25 {
		method := []string{"OPTIONS", "INVITE", "MESSAGE", "SUBSCRIBE"}[n%4]
		walker.send(fmt.Sprintf("%s sip:%d@office.example SIP/2.0\nVia: $via;branch=z9hG4bK-walk%d\nMax-Forwards: 70\nFrom: <sip:x@office.example>;tag=x\n"+
			"To: <sip:%d@office.example>\nCall-ID: walk%d\nCSeq: 1 %s\nContact: <sip:x@$me>\n", method, 100+n, n, 100+n, n, method))
	}
	s.until("the perimeter is asked for a ban", s.banned(walker.at.Addr().String()+"/32 20 accounts tried in 60 s"))
	select {
	case text := <-walker.inbox:
		t.Errorf("the walker heard %s", text)
	default:
	}
	pbx.nothing()
}

// TestBanThatIsRefused is told, and leaves the source served.
func TestBanThatIsRefused(t *testing.T) {
	s := newSite(t, teleworkers)
	s.noBans = &appliance.Error{Code: appliance.CodeForbidden, Field: "source", Message: "it is a provider's"}
	s.watching()
	pbx := s.pbx()
	phone := s.dial("phone", s.host(130).Addr()) // TCP: it is who it says
	phone.send(strings.Replace(phone.registerText("101", "office.example", "", ""), "Phone 1.0", "friendly-scanner", 1))
	s.until("the refusal is told", s.heard(appliance.EventGuard, "REGISTER carries friendly-scanner: not banned: source: it is a provider's"))
	phone.send(phone.registerText("101", "office.example", "", ""))
	pbx.expect("REGISTER ")
}

// TestScannersOverUDPAreIgnored: their address may be anybody's.
func TestScannersOverUDPAreIgnored(t *testing.T) {
	s := newSite(t, teleworkers)
	s.watching()
	pbx := s.pbx()
	scanner := s.udp("scanner", s.host(130))
	for _, change := range [][2]string{{"Phone 1.0", "friendly-scanner"}, {"From: <sip:101@office.example>", `From: "sipvicious" <sip:100@1.1.1.1>`}, {"Phone 1.0", "sipcli/v1.8"}} {
		scanner.send(strings.Replace(scanner.registerText("101", "office.example", "", ""), change[0], change[1], 1))
	}
	s.until("they are dropped", func() bool { return s.tally(appliance.ReasonScanner) == 3 })
	s.until("that is told", s.heard(appliance.EventGuard, "is ignored and not banned"))
	pbx.nothing()
	if s.banned("")() {
		t.Errorf("bans %q", s.bans)
	}
	// The same words from the LAN end there, and nobody else pays for it.
	lan := s.udp("lan", s.host(4))
	lan.send(strings.Replace(lan.registerText("200", domain, "", ""), "Phone 1.0", "friendly-scanner", 1))
	s.until("that of the LAN too", func() bool { return s.tally(appliance.ReasonScanner) == 4 })
	lan.ping()
}

// TestOldPasswordIsSlowedDown protects the far end, and the phone can still be
// told the new one.
func TestOldPasswordIsSlowedDown(t *testing.T) {
	s := newSite(t, withoutPBX)
	registrarAgent(s, s.itsp(), "right")
	phone, neighbour := s.udp("phone", s.host(4)), s.udp("neighbour", netip.AddrPortFrom(s.host(4).Addr(), 5070))
	var last string
	for range 8 {
		last = phone.enrol("201", domain, "before")
	}
	if startOf(last) != "SIP/2.0 503 Service Unavailable" || get(last, "Retry-After") != "30" {
		t.Errorf("got %s", last)
	}
	if got := startOf(neighbour.enrol("202", domain, "right")); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Errorf("the neighbour gets %s", got)
	}
	suspects, _ := s.in.watch.Suspects(5)
	if len(suspects) != 1 || suspects[0].Accounts != 1 || !slices.Equal(suspects[0].Slowed, []string{"201@" + domain}) || suspects[0].State != "counted" {
		t.Errorf("suspects %+v", suspects)
	}
	s.now.advance(31 * time.Second)
	if got := startOf(phone.enrol("201", domain, "right")); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Errorf("with the new password: %s", got)
	}
}

// TestEmergencyPassesTheGuard calls for help from a phone that is slowed down, and
// with a scanner's name.
func TestEmergencyPassesTheGuard(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(strings.Replace(pbx.invite("sip:000@"+domain, "help"), "Allow: ", "User-Agent: friendly-scanner\nAllow: ", 1))
	itsp.expect("INVITE sip:000@")
	pbx.send(strings.Replace(pbx.invite(mobile, "other"), "Allow: ", "User-Agent: friendly-scanner\nAllow: ", 1))
	s.until("any other call is dropped", func() bool { return s.tally(appliance.ReasonScanner) == 1 })
}

func TestWatchSurvivesRestart(t *testing.T) {
	s := newSite(t, withoutPBX)
	registrarAgent(s, s.itsp(), "right")
	phone := s.udp("phone", s.host(4))
	phone.enrol("201", domain, "right")
	s.in.watch.guard.Restore(guard.Memory{Proven: []guard.Proven{{Source: netip.MustParsePrefix("198.51.100.7/32"), Account: "9@pbx", At: s.now.now()}}}, s.now.now())
	data, err := s.in.watch.Memory()
	if err != nil {
		t.Fatal(err)
	}
	again := newSite(t, withoutPBX)
	if err := again.in.watch.Restore(data); err != nil {
		t.Fatal(err)
	}
	if !again.in.watch.guard.Office(netip.MustParseAddr("198.51.100.7"), again.now.now()) {
		t.Error("an office on the WAN is a stranger after a restart")
	}
	got, want := again.account("201@"+domain), s.account("201@"+domain)
	if got.Username != "201" || !got.Proven.Equal(want.Proven) || len(got.Sources) != 1 || len(got.Registrations) != 0 {
		t.Errorf("restored %+v", got)
	}
	for _, wrong := range []string{"", "{", `{"schema":2}`, `{"schema":1}{}`, `{"schema":1,"colour":"red"}`} {
		if err := again.in.watch.Restore([]byte(wrong)); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
	if !json.Valid(data) {
		t.Errorf("%s", data)
	}
}

func TestDigestFields(t *testing.T) {
	for _, row := range []struct {
		text  string
		want  digestList
		sound bool
	}{
		{`Digest username="a", realm="b c", nonce=x`, digestList{{"username", "a"}, {"realm", "b c"}, {"nonce", "x"}}, true},
		{`digest  username = "a\"b\\" ,nc=00000001,`, digestList{{"username", `a"b\`}, {"nc", "00000001"}}, true},
		{`Digest username="a, nonce=1", nonce="2"`, digestList{{"username", "a, nonce=1"}, {"nonce", "2"}}, true},
		{`Basic abc`, nil, false},
		{`Digest username="a`, nil, false},
		{`Digest username`, nil, false},
		{`Digest`, nil, true},
		{"Digest " + strings.Repeat("a=b,", 30), nil, false},
	} {
		got, sound := digestFields(row.text)
		if sound != row.sound || !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, %t", row.text, got, sound)
		}
	}
}

func FuzzDigestFields(f *testing.F) {
	f.Add(`Digest username="a\"b", nonce=x,,`)
	f.Fuzz(func(t *testing.T, text string) {
		fields, sound := digestFields(text)
		if !sound && fields != nil || len(fields) > maxDigestFields {
			t.Errorf("%d fields, sound %t", len(fields), sound)
		}
	})
}
