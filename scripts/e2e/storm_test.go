package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/scripts/peers"
)

// office is how many telephones are behind one address.
const office = 200

// TestStorm has the telephones of an office on the internet, behind a real NAT,
// register with a real registrar by way of the box, then again at once when the
// box comes back from an outage, every third with a challenge from before: all are
// registered, and nothing is held against their address.
func TestStorm(t *testing.T) {
	lab := raise(t, false)
	const inside, natted = "192.168.50.2", "192.0.2.1" // the latter of the lab's internet, on the box's side
	for _, command := range []string{
		"attacker ip addr add " + inside + "/32 dev lo",
		"internet ip route add " + inside + " via " + peers.Attacker,
		"internet nft add table ip office",
		"internet nft add chain ip office out { type nat hook postrouting priority srcnat; }",
		"internet nft add rule ip office out ip saddr " + inside + " masquerade",
	} {
		script(t, lab, append([]string{"exec"}, strings.Fields(command)...)...)
	}
	var accounts []string
	for n := range office {
		accounts = append(accounts, fmt.Sprintf(`{"user": "%d", "label": "", "sources": ["%s/32"]}`, 1000+n, natted))
	}
	edit(t, lab, "settings", labPBX, "", `"admins": []`, `"accounts": [`+strings.Join(accounts, ", ")+`], "admins": []`)
	edit(t, lab, "policy", `"admin_sip": false`, `"admin_sip": false, "accounts": true`)
	witness := registrar(t, lab)
	script(t, lab, "daemon", "start")
	t.Cleanup(func() { _, _ = lab.Script(context.Background(), "daemon", "kill9") })
	s := &storm{Lab: lab, t: t, box: netip.MustParseAddrPort(peers.BoxWAN + ":5060"), nonces: make([]string, office)}
	for n := range office {
		s.phones = append(s.phones, agent(t, lab, "attacker", fmt.Sprintf("%s:%d", inside, 20000+n), false))
	}
	s.breaks("the first time", false)
	script(t, lab, "daemon", "kill9")
	script(t, lab, "daemon", "start")
	s.breaks("after an outage", true)
	if text := logOf(t, witness); !strings.Contains(text, "from 192.0.2.2") {
		t.Error("the registrar's log has no word of the box")
	}
}

// storm is an office and its box.
type storm struct {
	*peers.Lab
	t      *testing.T
	box    netip.AddrPort
	phones []*ua
	nonces []string // of the last challenge, by telephone
}

// breaks has all telephones register at once.
func (s *storm) breaks(when string, again bool) {
	s.t.Helper()
	began := time.Now()
	answers := make([]string, len(s.phones))
	var fleet sync.WaitGroup
	for n := range s.phones {
		fleet.Go(func() { answers[n] = s.register(n, again) })
	}
	fleet.Wait()
	took, registered := time.Since(began), 0
	for n, one := range answers {
		if one == "200" {
			registered++
		} else {
			s.t.Errorf("%s: telephone %d got %q", when, n, one)
		}
	}
	bans, guard := read[api.Bans](s.t, s.Lab, "bans"), read[api.Guard](s.t, s.Lab, "guard")
	if bans.Total > 0 || guard.Total > 0 {
		s.t.Errorf("%s: bans %+v, suspects %+v", when, bans.Bans, guard.Suspects)
	}
	drops := read[api.Drops](s.t, s.Lab, "drops")
	for _, reason := range []appliance.Reason{appliance.ReasonScanner, appliance.ReasonSlowed, appliance.ReasonUnregistered, appliance.ReasonRegistrationSource, appliance.ReasonOverload} {
		if count := drops.Refusals[reason]; count > 0 {
			s.t.Errorf("%s: %d refused: %s", when, count, reason.Sentence())
		}
	}
	if s.t.Failed() {
		s.t.Fatalf("%s: the box counted %v and refused %v", when, drops.Tallies, drops.Refusals)
	}
	s.t.Logf("%s: %d of %d telephones behind one address registered within %d ms; %d bans, %d suspects",
		when, registered, len(s.phones), took.Milliseconds(), bans.Total, guard.Total)
}

// register returns the status that a telephone ends with. Every third begins with
// the challenge that it answered before.
func (s *storm) register(n int, again bool) string {
	phone, user := s.phones[n], fmt.Sprint(1000+n)
	uri, who := "sip:"+peers.Provider, "<sip:"+user+"@"+peers.Provider+">"
	var credentials []string
	if again && n%3 == 0 {
		credentials = []string{"Authorization: " + digest(s.nonces[n], "REGISTER", uri, user)}
	}
	for try := range 3 {
		callID := fmt.Sprintf("storm%d%t%d", n, again, try)
		text := phone.request("REGISTER", uri, who+";tag="+user, who, callID, 1+try, append(credentials, "Contact: "+phone.contact(user), "Expires: 600")...)
		final := s.exchange(phone, text, callID)
		if final == "" {
			return "nothing"
		}
		if got := strings.Fields(final)[1]; got != "401" {
			return got
		}
		s.nonces[n] = field(final, "WWW-Authenticate")
		credentials = []string{"Authorization: " + digest(s.nonces[n], "REGISTER", uri, user)}
	}
	return "challenged again and again"
}

// exchange sends a request until it is answered, as RFC 3261 section 17.1.2.2 has
// it.
func (s *storm) exchange(phone *ua, text, callID string) string {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := phone.udp.WriteToUDPAddrPort([]byte(text), s.box); err != nil {
			return err.Error()
		}
		for again := time.Now().Add(500 * time.Millisecond); time.Now().Before(again); time.Sleep(5 * time.Millisecond) {
			for _, one := range phone.all() {
				if responseTo(callID, "REGISTER", "")(one) && one.text[len("SIP/2.0 ")] != '1' {
					return one.text
				}
			}
		}
	}
	return ""
}
