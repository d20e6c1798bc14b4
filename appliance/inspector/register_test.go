package inspector

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

const registerText = `
REGISTER sip:sip.itsp.example SIP/2.0
Via: $via;branch=z9hG4bK-reg%N
Max-Forwards: 70
Route: <sip:$box;lr>
From: <sip:line1@sip.itsp.example>;tag=r1
To: <sip:line1@sip.itsp.example>
Call-ID: reg
CSeq: %N REGISTER
Contact: <sip:line1@$me;ob>;expires=600;+sip.instance="<urn:uuid:1>"
Authorization: Digest username="line1",realm="sip.itsp.example", nonce="n%N",uri="sip:sip.itsp.example",response="00112233445566778899aabbccddeeff"
User-Agent: PBX
`

func registerAs(n string) string { return strings.ReplaceAll(registerText, "%N", n) }

// aliasIn returns the URI of the Contact that the registrar saw.
func aliasIn(request string) string {
	uri, _, _ := strings.Cut(strings.TrimPrefix(get(request, "Contact"), "<"), ">")
	return uri
}

func TestRegisterPassesWithDigestUntouched(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(registerAs("1"))
	first := itsp.expect("REGISTER ")
	if got := startOf(first); got != "REGISTER sip:sip.itsp.example SIP/2.0" {
		t.Errorf("request line %q", got)
	}
	digest := `Digest username="line1",realm="sip.itsp.example", nonce="n1",uri="sip:sip.itsp.example",response="00112233445566778899aabbccddeeff"`
	if got := get(first, "Authorization"); got != digest {
		t.Errorf("Authorization changed on the way:\n got %s\nwant %s", got, digest)
	}
	if got := every(first, "Route"); len(got) != 0 {
		t.Errorf("Route %q went on", got)
	}
	contact := get(first, "Contact")
	if !strings.HasPrefix(contact, "<sip:rf-") || !strings.HasSuffix(contact, "@"+s.box.String()+">;expires=600") {
		t.Errorf("Contact %q is no alias at the box", contact)
	}
	challenge := `Digest realm="sip.itsp.example", nonce="n2", qop="auth"`
	itsp.send(answer(first, "401 Unauthorized", "t1", "WWW-Authenticate: "+challenge))
	if got := get(pbx.expect("SIP/2.0 401"), "WWW-Authenticate"); got != challenge {
		t.Errorf("WWW-Authenticate changed on the way: %s", got)
	}
	pbx.send(registerAs("2"))
	second := itsp.expect("REGISTER ")
	if got := get(second, "Contact"); got != contact {
		t.Errorf("the alias changed from %s to %s", contact, got)
	}
	itsp.send(answer(second, "200 OK", "t1",
		"Contact: <"+aliasIn(second)+">;expires=120", "Contact: <sip:elsewhere@203.0.113.9>;expires=55"))
	ok := pbx.expect("SIP/2.0 200")
	if got := every(ok, "Contact"); len(got) != 1 || got[0] != "<sip:line1@"+pbx.at.String()+";ob>;expires=120" {
		t.Errorf("Contacts %q, want the PBX's own with the granted time", got)
	}
	s.until("the registration is reported", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Kind == appliance.EventRegistration && e.Subject == "line1@"+domain {
				return true
			}
		}
		return false
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if strings.Contains(e.Message+e.Subject, "nonce") || strings.Contains(e.Message, "0011223344") {
			t.Errorf("a secret in an event: %+v", e)
		}
	}
}

// registerPhone registers a phone of the LAN and returns its alias.
func (s *site) registerPhone(phone, itsp *agent, n string) string {
	s.t.Helper()
	phone.send(registerAs(n))
	request := itsp.expect("REGISTER ")
	itsp.send(answer(request, "200 OK", "t", "Contact: <"+aliasIn(request)+">;expires=120"))
	phone.expect("SIP/2.0 200")
	return aliasIn(request)
}

func TestRegisterOddContacts(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	plain := "Contact: <sip:line1@$me;ob>;expires=600;+sip.instance=\"<urn:uuid:1>\"\n"
	for n, odd := range map[string]struct{ old, new, want string }{
		"1": {plain, "Contact: <sip:line1@203.0.113.9:5060>\n", "SIP/2.0 403"},
		"2": {plain, "Contact: <sip:line1@attacker.example>\n", "SIP/2.0 403"},
		"3": {plain, "Contact: <tel:+252615550148>\n", "SIP/2.0 403"},
		"4": {plain, "Contact: *\n", "SIP/2.0 400"},
		"5": {plain, strings.Repeat("Contact: <sip:line1@$me>\n", 11), "SIP/2.0 403"},
		"6": {"From: <sip:line1@", "From: <sip:boss@", "SIP/2.0 403"},
		"7": {"REGISTER sip:sip.itsp.example", "REGISTER sip:other.example", "SIP/2.0 403"},
		"8": {"REGISTER sip:sip.itsp.example", "REGISTER sip:line1@sip.itsp.example", "SIP/2.0 403"},
	} {
		pbx.send(strings.Replace(registerAs(n), odd.old, odd.new, 1))
		if got := pbx.expect("SIP/2.0 "); !strings.HasPrefix(got, odd.want) {
			t.Errorf("case %s: got %q, want %q", n, startOf(got), odd.want)
		}
	}
	itsp.nothing()
}

func TestUnregisterStar(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	s.registerPhone(pbx, itsp, "1")
	if got := s.in.bindings.size(); got != 1 {
		t.Fatalf("%d bindings, want 1", got)
	}
	plain := "Contact: <sip:line1@$me;ob>;expires=600;+sip.instance=\"<urn:uuid:1>\"\n"
	pbx.send(strings.Replace(registerAs("2"), plain, "Contact: *\nExpires: 0\n", 1))
	request := itsp.expect("REGISTER ")
	if got := every(request, "Contact"); len(got) != 1 || got[0] != "*" {
		t.Errorf("Contact %q, want *", got)
	}
	itsp.send(answer(request, "200 OK", "t"))
	pbx.expect("SIP/2.0 200")
	pbx.ping()
	if got := s.in.bindings.size(); got != 0 {
		t.Errorf("%d bindings after unregistering", got)
	}
}

func TestBindingsExpireAndAreBounded(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settingsDoc, bounds *limits) { bounds.bindings = 1 })
	pbx, itsp := s.pbx(), s.itsp()
	s.registerPhone(pbx, itsp, "1")
	other := s.udp("phone", s.host(4))
	other.send(strings.ReplaceAll(registerAs("1"), "line1", "line2"))
	request := itsp.expect("REGISTER ")
	itsp.send(answer(request, "200 OK", "t", "Contact: <"+aliasIn(request)+">;expires=120"))
	other.expect("SIP/2.0 200")
	if got := s.tally(appliance.ReasonOverload); got != 1 {
		t.Errorf("counted %d overloads, want 1", got)
	}
	s.in.sweep(s.now.advance(3 * time.Minute))
	if got := s.in.bindings.size(); got != 0 {
		t.Errorf("%d bindings after they expired", got)
	}
}

func TestRegistrarDown(t *testing.T) {
	s := newSite(t)
	pbx := s.pbx()
	pbx.send(registerAs("1"))
	pbx.expect("SIP/2.0 408")
	s.until("the trunk is counted as lost", func() bool { return s.tally(appliance.ReasonNoTrunk) == 1 })
}
