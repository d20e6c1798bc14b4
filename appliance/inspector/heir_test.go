package inspector

import (
	"context"
	"strings"
	"testing"
	"time"
)

// registered brings up a site of which a phone has registered by UDP and another by
// TCP, and returns what the provider calls them.
func registered(t *testing.T) (s *site, phone, itsp *agent, byUDP, byTCP string) {
	t.Helper()
	s = newSite(t, withoutPBX)
	phone, itsp = s.udp("phone", s.host(4)), s.itsp()
	byUDP = s.registerPhone(phone, itsp, "1")
	other := s.dial("other", s.host(5).Addr())
	other.send(strings.ReplaceAll(registerAs("2"), "line1", "line2"))
	request := itsp.expect("REGISTER ")
	byTCP = aliasIn(request)
	itsp.send(answer(request, "200 OK", "t", "Contact: <"+byTCP+">;expires=120"))
	other.expect("SIP/2.0 200")
	return s, phone, itsp, byUDP, byTCP
}

// TestRegistrationOutlivesARestart: a phone that registered before a restart can be
// called after it, as long as the registrar believes it there.
func TestRegistrationOutlivesARestart(t *testing.T) {
	s, phone, itsp, byUDP, byTCP := registered(t)
	memory, err := s.in.watch.Memory()
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	<-s.done
	s.memory = memory
	bounds := s.in.bounds
	s.start(s.set, bounds)
	if again, err := s.in.watch.Memory(); err != nil || string(again) != string(memory) {
		t.Errorf("what is kept changed by being kept:\n%s\n%s, %v", memory, again, err)
	}
	itsp.send(itsp.invite(byUDP, "in"))
	phone.expect("INVITE sip:line1@")
	itsp.send(itsp.invite(byTCP, "other"))
	itsp.expect("SIP/2.0 404")
	if got := s.account("line1@" + domain).Registrations; len(got) != 1 || got[0].Source != phone.at {
		t.Errorf("registrations %+v", got)
	}
	s.now.advance(3 * time.Minute)
	itsp.send(itsp.invite(byUDP, "late"))
	itsp.expect("SIP/2.0 404")
}

// TestRegistrationOutlivesAnInspector: one whose addresses differ takes the place of
// the one before, and of those that can't listen in between.
func TestRegistrationOutlivesAnInspector(t *testing.T) {
	s, phone, itsp, byUDP, _ := registered(t)
	s.stop()
	<-s.done
	parts := Parts{Rules: s.rules.Load, Keys: s.presentKeys, Report: s.record, Watch: s.in.watch}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	taken := s.udp("taken", s.box) // as an address that is late
	if err := build(parts, s.in.bounds, s.now.now).Run(ctx); err == nil {
		t.Fatal("two listen at one address")
	}
	taken.packet.Close()
	next := build(parts, s.in.bounds, s.now.now)
	done := make(chan error, 1)
	go func() { done <- next.Run(ctx) }()
	s.until("it listens", func() bool { return len(next.Listeners()) > 0 })
	itsp.send(itsp.invite(byUDP, "in"))
	phone.expect("INVITE sip:line1@")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHeirlessRegistrations are left where there is no place for them any more.
func TestHeirlessRegistrations(t *testing.T) {
	s, _, itsp, byUDP, _ := registered(t)
	memory, err := s.in.watch.Memory()
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	<-s.done
	for old, odd := range map[string]string{
		`"remote":"` + s.host(4).String(): `"remote":"203.0.113.9:5060`, // a stranger's
		`"local":"` + s.box.String():      `"local":"203.0.113.10:5060`, // an address that is not listened on
		`"contact":"sip:`:                 `"contact":"nonsense:`,       // no contact
		`"alias":"rf-`:                    `"alias":"xx-`,               // nobody asks for it
	} {
		if !strings.Contains(string(memory), old) {
			t.Fatalf("%s is not in %s", old, memory)
		}
		s.memory = []byte(strings.Replace(string(memory), old, odd, 1))
		s.start(s.set, s.in.bounds)
		itsp.send(itsp.invite(byUDP, "in"+odd[1:6]))
		itsp.expect("SIP/2.0 404")
		if n := s.in.bindings.size(); n != 0 && !strings.HasPrefix(odd, `"alias`) {
			t.Errorf("%s: %d bindings", odd, n)
		}
		s.stop()
		<-s.done
	}
}
