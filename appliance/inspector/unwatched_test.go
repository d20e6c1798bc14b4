package inspector

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/audit"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// ledger is a behaviour engine that only counts who is up.
type ledger struct {
	site  *site
	up    map[string]bool
	named []string // accounts of the attempts, and what else they claim
}

// counted is a site whose calls a ledger counts.
func counted(t *testing.T, setups ...setup) (*site, *ledger) {
	l := &ledger{up: map[string]bool{}}
	s := newSite(t, append(setups, func(s *site, _ *settings.Settings, _ *limits) { l.site, s.behaviour = s, l })...)
	return s, l
}

func (l *ledger) Begin(a rules.Attempt) rules.Ruling {
	l.site.mu.Lock()
	defer l.site.mu.Unlock()
	l.up[a.ID] = true
	l.named = append(append(l.named, a.Account), a.Claims...)
	return rules.Ruling{Verdict: a.Said.Verdict, Reason: a.Said.Reason}
}

func (l *ledger) Ended(id string, _ bool) {
	l.site.mu.Lock()
	defer l.site.mu.Unlock()
	delete(l.up, id)
}

func (l *ledger) Answered(string)                         {}
func (l *ledger) Inbound(string, time.Duration, bool)     {}
func (l *ledger) Registered(fraud.Registration)           {}
func (l *ledger) Accepted(account string, _ audit.Digest) {}

// TestCallsEndWithTheInspector: what goes on when the listeners change is up for
// nobody any more, and its record says so.
func TestCallsEndWithTheInspector(t *testing.T) {
	s, l := counted(t)
	pbx, itsp := s.pbx(), s.itsp()
	establish(pbx, itsp, mobile, "up")
	s.stop()
	<-s.done
	if len(l.up) != 0 || len(s.in.Live()) != 0 {
		t.Errorf("%d calls are up, %d live", len(l.up), len(s.in.Live()))
	}
	c := s.call("the record has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if c.Ended != appliance.EndedUnwatched || c.Verdict != appliance.Allow || c.Answer.IsZero() {
		t.Errorf("%+v", c)
	}
}

// TestSpellingsOfAnAccount: a toll-block of 201 holds for whoever writes it another way.
func TestSpellingsOfAnAccount(t *testing.T) {
	s, l := counted(t, withoutPBX)
	registrarAgent(s, s.itsp(), "right")
	for n, spelling := range []string{"anna", "Anna", "%61nna", "ANN%41"} {
		phone := s.udp("phone", s.host(byte(4+n)))
		if got := phone.enrol(spelling, domain, "right"); !strings.HasPrefix(startOf(got), "SIP/2.0 200") {
			t.Fatalf("%s: %s", spelling, got)
		}
		s.mu.Lock()
		l.named = nil
		s.mu.Unlock()
		phone.send(phone.invite("sip:0011252615550148@"+domain, "call"+string(rune('a'+n))))
		phone.expect("SIP/2.0 403")
		s.mu.Lock()
		if len(l.named) == 0 || l.named[0] != "anna@"+domain {
			t.Errorf("%s counts for %q", spelling, l.named)
		}
		s.mu.Unlock()
	}
}
