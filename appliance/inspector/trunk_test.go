package inspector

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// pool has the trunk stand behind a domain of these targets, such as "8 10/0"
// for the host .8 with priority 10 and weight 0.
func pool(transport settings.Transport, targets ...string) setup {
	return func(s *site, set *settings.Settings, bounds *limits) {
		set.Trunks[0].Address, set.Trunks[0].Host, set.Trunks[0].Transport = netip.AddrPort{}, domain, transport
		s.resolve(&set.Trunks[0], targets...)
		bounds.sweep, bounds.firstWord = 10*time.Millisecond, time.Minute
	}
}

// resolve sets what a trunk's domain leads to.
func (s *site) resolve(trunk *settings.Trunk, targets ...string) {
	s.t.Helper()
	locator, _ := trunk.Locator()
	var list []appliance.Target
	var addrs []netip.Addr
	for _, text := range targets {
		var host byte
		one := appliance.Target{Transport: string(trunk.Transport), Host: domain}
		if _, err := fmt.Sscanf(text, "%d %d/%d", &host, &one.Priority, &one.Weight); err != nil {
			s.t.Fatal(err)
		}
		one.Address = s.host(host)
		list, addrs = append(list, one), append(addrs, one.Address.Addr())
	}
	if s.facts.Targets == nil {
		s.facts.Targets, s.facts.Names = map[string][]appliance.Target{}, map[string][]netip.Addr{}
	}
	// What the DNS named before stays in its grace.
	s.facts.Targets[locator.String()], s.facts.Names[locator.String()] = list, append(s.facts.Names[locator.String()], addrs...)
}

func impatient(_ *site, _ *settings.Settings, bounds *limits) {
	bounds.firstWord = 100 * time.Millisecond
}

// state of a target, by its host.
func (s *site) target(host byte) appliance.TargetState {
	s.t.Helper()
	for _, trunk := range s.in.Trunks() {
		for _, one := range trunk.Targets {
			if one.Address == s.host(host) {
				return one
			}
		}
	}
	s.t.Fatalf("no target .%d", host)
	return appliance.TargetState{}
}

// toldOfTrunk waits for an event of a trunk.
func (s *site) toldOfTrunk(text string) {
	s.t.Helper()
	s.until("it is told: "+text, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Kind == appliance.EventTrunk && strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}

func branchOf(text string) string {
	_, rest, _ := strings.Cut(get(text, "Via"), "branch=")
	branch, _, _ := strings.Cut(rest, ";")
	return branch
}

// TestServiceUnavailableLeadsToTheNextTarget: RFC 3263 section 4.3.
func TestServiceUnavailableLeadsToTheNextTarget(t *testing.T) {
	s := newSite(t, pool(settings.UDP, "8 10/0", "9 20/0"))
	pbx, first, second := s.pbx(), s.udp("first", s.host(8)), s.udp("second", s.host(9))
	pbx.send(pbx.invite(mobile, "one"))
	at1 := first.expect("INVITE ")
	first.send(answer(at1, "100 Trying", ""))
	first.send(answer(at1, "503 Service Unavailable", "x", "Retry-After: 60 (maintenance);duration=3600"))
	first.expect("ACK ")
	at2 := second.expect("INVITE ")
	if branchOf(at1) == branchOf(at2) {
		t.Error("the second target got the branch of the first")
	}
	if get(at2, "Max-Forwards") != get(at1, "Max-Forwards") || bodyOf(at1) != bodyOf(at2) || get(at2, "Call-ID") != "one" {
		t.Errorf("another request:\n%s", at2)
	}
	second.send(answer(at2, "486 Busy Here", "busy"))
	second.expect("ACK ")
	pbx.send(ackTo(pbx.expect("SIP/2.0 486"), pbx, mobile))
	s.toldOfTrunk("itsp at udp " + s.host(8).String() + " is down: it answered 503 Service Unavailable")

	// It asked to be left alone for a minute. Then it is no better than unknown,
	// and comes back with its first answer.
	pbx.send(pbx.invite(mobile, "two"))
	second.send(answer(second.expect("INVITE "), "486 Busy Here", "busy"))
	pbx.expect("SIP/2.0 486")
	first.nothing()
	if got := s.target(8); got.State != appliance.TrunkDown || got.RetryAfter.IsZero() || s.target(9).State != appliance.TrunkUp {
		t.Errorf("%+v", got)
	}
	if got := s.in.Trunks()[0]; got.State != appliance.TrunkUp {
		t.Errorf("the trunk is %q", got.State)
	}
}

// TestWhatIsNoFailureOfATarget goes through answers that end the search.
func TestWhatIsNoFailureOfATarget(t *testing.T) {
	for _, status := range []string{"403 Forbidden", "404 Not Found", "407 Proxy Authentication Required", "480 Temporarily Unavailable", "486 Busy Here",
		"500 Server Internal Error", "504 Server Time-out", "603 Decline"} {
		t.Run(status, func(t *testing.T) {
			s := newSite(t, pool(settings.UDP, "8 10/0", "9 20/0"))
			pbx, first, second := s.pbx(), s.udp("first", s.host(8)), s.udp("second", s.host(9))
			pbx.send(pbx.invite(mobile, "no"))
			first.send(answer(first.expect("INVITE "), status, "x"))
			pbx.expect("SIP/2.0 " + status)
			second.nothing()
			if got := s.target(8).State; got != appliance.TrunkUp {
				t.Errorf("the target is %q", got)
			}
		})
	}
	t.Run("503 after ringing", func(t *testing.T) {
		s := newSite(t, pool(settings.UDP, "8 10/0", "9 20/0"))
		pbx, first, second := s.pbx(), s.udp("first", s.host(8)), s.udp("second", s.host(9))
		pbx.send(pbx.invite(mobile, "rang"))
		invite := first.expect("INVITE ")
		first.send(answer(invite, "183 Session Progress", "x", "Contact: <"+first.contact()+">"))
		pbx.expect("SIP/2.0 183")
		first.send(answer(invite, "503 Service Unavailable", "x"))
		pbx.expect("SIP/2.0 503")
		second.nothing()
	})
	t.Run("503 after CANCEL", func(t *testing.T) {
		s := newSite(t, pool(settings.UDP, "8 10/0", "9 20/0"))
		pbx, first, second := s.pbx(), s.udp("first", s.host(8)), s.udp("second", s.host(9))
		pbx.send(pbx.invite(mobile, "thought"))
		invite := first.expect("INVITE ")
		pbx.send(cancelOf(pbx, mobile, "thought"))
		pbx.expect("SIP/2.0 200")
		first.send(answer(invite, "503 Service Unavailable", "x"))
		pbx.expect("SIP/2.0 503")
		second.nothing()
	})
}

// TestSilentTargetIsLeft goes on to the next target, and withdraws what the first
// begins after all: its ringing with a CANCEL, its answer with ACK and BYE.
func TestSilentTargetIsLeft(t *testing.T) {
	s := newSite(t, pool(settings.UDP, "8 10/0", "9 20/0"), impatient)
	pbx, first, second := s.pbx(), s.udp("first", s.host(8)), s.udp("second", s.host(9))
	pbx.send(pbx.invite(mobile, "silent"))
	at1, at2 := first.expect("INVITE "), second.expect("INVITE ")
	s.toldOfTrunk("is down: no answer")
	first.send(answer(at1, "180 Ringing", "late", "Contact: <"+first.contact()+">"))
	if cancel := first.expect("CANCEL "); branchOf(cancel) != branchOf(at1) {
		t.Errorf("the CANCEL is for another branch:\n%s", cancel)
	}
	first.send(answer(at1, "200 OK", "late", "Contact: <"+first.contact()+">"))
	first.expect("ACK ")
	bye := first.expect("BYE ")
	if !strings.Contains(get(bye, "To"), "tag=late") {
		t.Errorf("BYE\n%s", bye)
	}
	first.send(answer(bye, "200 OK", ""))
	second.send(answer(at2, "200 OK", "good", "Contact: <"+second.contact()+">"))
	ok := pbx.expect("SIP/2.0 200")
	if !strings.Contains(get(ok, "To"), "tag=good") {
		t.Errorf("the caller got\n%s", ok)
	}
	c := testCall{caller: pbx, callee: second, invite: at2, ok: ok}
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	second.expect("ACK ")
	c.hangUp(s)
	s.until("nothing is left over", func() bool { return len(s.in.Live()) == 0 })

	// The next call does not ask it first.
	pbx.send(pbx.invite(mobile, "next"))
	second.send(answer(second.expect("INVITE "), "486 Busy Here", "busy"))
	pbx.expect("SIP/2.0 486")
	first.nothing()
}

// hasty makes 64*T1 a second or so.
func hasty(_ *site, _ *settings.Settings, bounds *limits) { bounds.timers.T1 = 20 * time.Millisecond }

// TestSilentTargetFallsSilentAgain: a target that was left says that it is trying, and
// nothing more, not even to the CANCEL.
func TestSilentTargetFallsSilentAgain(t *testing.T) {
	s := newSite(t, pool(settings.UDP, "8 10/0", "9 20/0"), impatient, hasty)
	pbx, first, second := s.pbx(), s.udp("first", s.host(8)), s.udp("second", s.host(9))
	pbx.send(pbx.invite(mobile, "falls"))
	at1, at2 := first.expect("INVITE "), second.expect("INVITE ")
	first.send(answer(at1, "100 Trying", "late"))
	first.expect("CANCEL ")
	second.send(answer(at2, "486 Busy Here", "busy"))
	pbx.expect("SIP/2.0 486")
	s.until("no transaction waits", func() bool { return !s.in.txs.busy() })
}

// TestLastTargetIsWaitedFor: where there is nobody else, silence has Timer B.
func TestLastTargetIsWaitedFor(t *testing.T) {
	s := newSite(t, pool(settings.UDP, "8 10/0"), impatient)
	pbx, only := s.pbx(), s.udp("only", s.host(8))
	pbx.send(pbx.invite(mobile, "only"))
	invite := only.expect("INVITE ")
	s.until("it would have been left", func() bool { s.in.sweep(s.now.advance(time.Second)); return true })
	only.send(answer(invite, "486 Busy Here", "busy"))
	pbx.expect("SIP/2.0 486")
}

// TestRegistrarsTakeOver: a REGISTER goes to the next registrar where one is
// silent (Timer F) or can't be connected to.
func TestRegistrarsTakeOver(t *testing.T) {
	register := func(a *agent) string {
		return a.wire(fmt.Sprintf(`
REGISTER sip:%[1]s SIP/2.0
Via: $via;branch=z9hG4bK-reg
Max-Forwards: 70
From: <sip:201@%[1]s>;tag=r
To: <sip:201@%[1]s>
Call-ID: reg
CSeq: 1 REGISTER
Contact: <sip:201@$me>
Expires: 600
`, domain))
	}
	t.Run("silence", func(t *testing.T) {
		s := newSite(t, pool(settings.UDP, "8 10/0", "9 20/0"))
		pbx, second := s.pbx(), s.udp("second", s.host(9))
		pbx.raw(register(pbx))
		got := second.expect("REGISTER ")
		second.send(answer(got, "200 OK", "x", "Contact: "+get(got, "Contact")+";expires=600"))
		if ok := pbx.expect("SIP/2.0 200"); !strings.HasPrefix(get(ok, "Contact"), "<sip:201@"+pbx.at.String()) {
			t.Errorf("got\n%s", ok)
		}
		if got := s.target(8); got.State != appliance.TrunkDown || got.Error != "no answer" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no connection", func(t *testing.T) {
		s := newSite(t, pool(settings.TCP, "8 10/0", "9 20/0"))
		pbx, listener := s.pbx(), s.listen(s.host(9))
		pbx.raw(register(pbx))
		second := s.accept("second", listener)
		got := second.expect("REGISTER ")
		second.send(answer(got, "200 OK", "x", "Contact: "+get(got, "Contact")+";expires=600"))
		pbx.expect("SIP/2.0 200")
		if got := s.target(8); got.State != appliance.TrunkDown || !strings.Contains(got.Error, "connection refused") {
			t.Errorf("%+v", got)
		}
	})
}

// TestBrokenConnectionLeadsToTheNextTarget: nobody answers over a connection that
// is gone.
func TestBrokenConnectionLeadsToTheNextTarget(t *testing.T) {
	s := newSite(t, pool(settings.TCP, "8 10/0", "9 20/0"))
	pbx, one, two := s.pbx(), s.listen(s.host(8)), s.listen(s.host(9))
	pbx.send(pbx.invite(mobile, "broken"))
	first := s.accept("first", one)
	first.expect("INVITE ")
	first.stream.Close()
	second := s.accept("second", two)
	second.send(answer(second.expect("INVITE "), "486 Busy Here", "busy"))
	pbx.expect("SIP/2.0 486")
}

// TestSilentTrunkBlocksNoOther places a call over one trunk while those of
// another, which is silent, wait.
func TestSilentTrunkBlocksNoOther(t *testing.T) {
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.Trunks = append(set.Trunks, settings.Trunk{Name: "other", Domain: "other.example", Address: s.host(9), Transport: settings.UDP})
	})
	pbx, silent, other := s.pbx(), s.itsp(), s.udp("other", s.host(9))
	for n := range 50 {
		pbx.send(pbx.invite(mobile, fmt.Sprintf("waits%d", n)))
	}
	for range 50 {
		silent.expect("INVITE ")
	}
	establish(pbx, other, "sip:+61491570156@other.example", "runs").hangUp(s)
}

// withFallback has a second trunk take over from the first.
func withFallback(formats ...settings.NumberFormat) setup {
	return func(s *site, set *settings.Settings, _ *limits) {
		set.Trunks[0].Fallback = []string{"second"}
		set.Trunks = append(set.Trunks, settings.Trunk{Name: "second", Domain: "second.example", Address: s.host(9), Transport: settings.UDP, Formats: formats})
	}
}

// TestFallbackTrunk goes on to another trunk, at its own domain, and only where
// that one would let the number pass as it reads it.
func TestFallbackTrunk(t *testing.T) {
	t.Run("takes over", func(t *testing.T) {
		s := newSite(t, withFallback())
		pbx, first, second := s.pbx(), s.itsp(), s.udp("second", s.host(9))
		pbx.send(pbx.invite(mobile, "over"))
		first.send(answer(first.expect("INVITE "), "503 Service Unavailable", "x"))
		second.send(answer(second.expect("INVITE sip:+61491570156@second.example SIP/2.0"), "486 Busy Here", "busy"))
		pbx.expect("SIP/2.0 486")
		if call := s.call("it has ended", func(c appliance.Call) bool { return c.Status == 486 }); call.Trunk != "second" {
			t.Errorf("the record says that %q carried it", call.Trunk)
		}
	})
	t.Run("would read another number", func(t *testing.T) {
		s := newSite(t, withFallback(settings.FormatE164))
		pbx, first, second := s.pbx(), s.itsp(), s.udp("second", s.host(9))
		// A local number of Sydney, and to a trunk of E.164 numbers Somalia.
		pbx.send(pbx.invite("sip:25261555@"+domain, "read"))
		first.send(answer(first.expect("INVITE "), "503 Service Unavailable", "x"))
		pbx.expect("SIP/2.0 503")
		second.nothing()
	})
	t.Run("an emergency call takes every way", func(t *testing.T) {
		s := newSite(t, withFallback(), func(_ *site, set *settings.Settings, _ *limits) { set.Trunks[0].Fallback = nil })
		pbx, first, second := s.pbx(), s.itsp(), s.udp("second", s.host(9))
		pbx.send(pbx.invite("sips:000@"+domain, "help"))
		first.send(answer(first.expect("INVITE "), "503 Service Unavailable", "x"))
		second.expect("INVITE sip:000@second.example ")
	})
	t.Run("nothing is left", func(t *testing.T) {
		s := newSite(t, withFallback())
		pbx, first, second := s.pbx(), s.itsp(), s.udp("second", s.host(9))
		pbx.send(pbx.invite(mobile, "none"))
		first.send(answer(first.expect("INVITE "), "503 Service Unavailable", "x"))
		second.send(answer(second.expect("INVITE "), "503 Service Unavailable", "x"))
		pbx.expect("SIP/2.0 503")
	})
	t.Run("a name that does not resolve", func(t *testing.T) {
		s := newSite(t, pool(settings.UDP), withFallback())
		pbx, second := s.pbx(), s.udp("second", s.host(9))
		pbx.send(pbx.invite(mobile, "unresolved"))
		second.expect("INVITE ")
		if got := s.in.Trunks()[0]; got.State != appliance.TrunkDown || got.Error != domain+" does not resolve" {
			t.Errorf("%+v", got)
		}
	})
}

// TestTargetsChangeUnderACall: what the DNS says anew is for the next call, and the
// one that is up ends where it is.
func TestTargetsChangeUnderACall(t *testing.T) {
	s := newSite(t, pool(settings.UDP, "8 10/0"))
	pbx, before, after := s.pbx(), s.udp("before", s.host(8)), s.udp("after", s.host(9))
	c := establish(pbx, before, mobile, "up")
	s.resolve(&s.set.Trunks[0], "9 10/0")
	s.compile()
	establish(pbx, after, mobile, "next").hangUp(s)
	c.hangUp(s)
	s.until("the old target is forgotten", func() bool {
		s.in.trunks.mu.Lock()
		defer s.in.trunks.mu.Unlock()
		return len(s.in.trunks.all) == 1
	})
}

// TestWeights draws as RFC 2782 has it, and the same for one Call-ID.
func TestWeights(t *testing.T) {
	s := newSite(t, pool(settings.UDP, "8 10/1", "9 10/3", "10 20/0"))
	sip := s.rules.Load().SIP()
	firsts := map[string]int{}
	const draws = 4000
	for n := range draws {
		id := fmt.Sprintf("call%d", n)
		got := s.in.ordered(&sip, &sip.Trunks[0], id)
		if again := s.in.ordered(&sip, &sip.Trunks[0], id); again[0] != got[0] || got[2].Address != s.host(10) {
			t.Fatalf("got %v, and then %v", got, again)
		}
		firsts[got[0].Address.Addr().String()]++
	}
	// 3 of 4, within six standard deviations.
	if share := firsts[s.host(9).Addr().String()]; share < draws*3/4-165 || share > draws*3/4+165 {
		t.Errorf("%v of %d", firsts, draws)
	}
}

// TestProbes asks an idle trunk whether it is there, and no busy one.
func TestProbes(t *testing.T) {
	s := newSite(t, func(_ *site, set *settings.Settings, bounds *limits) {
		set.Trunks[0].Probe, bounds.sweep = time.Minute, time.Hour
	})
	pbx, itsp := s.pbx(), s.itsp()
	// The first comes within seconds.
	s.in.probeTrunks(s.now.now())
	s.in.probeTrunks(s.now.advance(probeSpread))
	probe := itsp.expect("OPTIONS sip:" + domain + " SIP/2.0")
	if !strings.HasPrefix(get(probe, "From"), "<sip:ringfence@"+s.box.Addr().String()+">;tag=") || get(probe, "Max-Forwards") != "70" {
		t.Errorf("got\n%s", probe)
	}
	if s.in.Trunks()[0].State != appliance.TrunkUnknown {
		t.Error("known before an answer")
	}
	itsp.send(answer(probe, "404 Not Found", "x"))
	s.until("it is up", func() bool { return s.in.Trunks()[0].State == appliance.TrunkUp })
	if got := s.target(3); got.Latency <= 0 || got.Heard.IsZero() || got.Error != "" {
		t.Errorf("%+v", got)
	}
	// A call says as much as a probe.
	s.now.advance(50 * time.Second)
	establish(pbx, itsp, mobile, "busy").hangUp(s)
	s.in.probeTrunks(s.now.advance(40 * time.Second))
	itsp.nothing()
	s.in.probeTrunks(s.now.advance(30 * time.Second))
	itsp.expect("OPTIONS ")
	// Nobody answers that one.
	if s.in.txs.busy() {
		t.Error("it holds up a restart")
	}
	s.toldOfTrunk("itsp at udp " + s.itspAt.String() + " is down: no answer")
	s.in.probeTrunks(s.now.advance(probeDown * 6 / 5))
	itsp.send(answer(itsp.expect("OPTIONS "), "200 OK", "x"))
	s.toldOfTrunk("is back")
}

// TestProbesAreOff where the settings say so.
func TestProbesAreOff(t *testing.T) {
	s := newSite(t)
	itsp := s.itsp()
	for range 3 {
		s.in.probeTrunks(s.now.advance(time.Hour))
	}
	itsp.nothing()
}
