package inspector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// TestNothingIsHeardBeforeRegistration sends all that used to get an answer from a
// place on the WAN where nobody is registered: there must be none, and each counts.
func TestNothingIsHeardBeforeRegistration(t *testing.T) {
	s := newSite(t, teleworkers)
	pbx, itsp, stray := s.pbx(), s.itsp(), s.udp("stray", s.host(130))
	// as changes the first lines of an INVITE into those of another request.
	as := func(method, id string, changes ...string) string {
		text := stray.invite("sip:102@office.example", id)
		changes = append([]string{"INVITE sip:", method + " sip:", "1 INVITE", "1 " + method}, changes...)
		return replaced(t, text, changes)
	}
	tagged := []string{"To: <sip:102@office.example>", "To: <sip:102@office.example>;tag=b"}
	hopless := []string{"Max-Forwards: 70", "Max-Forwards: 0"}
	mailed := []string{" sip:102@office.example SIP/2.0", " mailto:102@office.example SIP/2.0"}
	var rows []string
	for _, method := range []string{"BYE", "PRACK", "UPDATE", "INFO", "CANCEL", "OPTIONS", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH", "FROTZ"} {
		rows = append(rows, as(method, method))
	}
	for _, method := range []string{"INVITE", "BYE", "MESSAGE", "REGISTER", "OPTIONS", "REFER"} {
		rows = append(rows, as(method, "tag"+method, tagged...))
	}
	for _, method := range []string{"INVITE", "OPTIONS", "REGISTER", "MESSAGE"} {
		rows = append(rows, as(method, "hops"+method, hopless...), as(method, "mail"+method, mailed...))
	}
	for n, text := range append(rows, orphanBye(forgotten, "orphan", s.route())) {
		stray.send(text)
		s.until("it is counted: "+startOf(strings.TrimSpace(text)), func() bool { return s.tally(appliance.ReasonUnregistered) == uint64(n+1) })
	}
	suspects, _ := s.in.watch.Suspects(9)
	if len(suspects) != 1 || suspects[0].Accounts == 0 {
		t.Errorf("the guard has counted %+v", suspects)
	}
	// A REGISTER is heard, and its answer is the first that there is.
	stray.send(stray.registerText("101", "office.example", "", ""))
	pbx.send(answer(pbx.expect("REGISTER "), "401 Unauthorized", "t", `WWW-Authenticate: Digest realm="office", nonce="n1"`))
	if got := stray.expect("SIP/2.0 "); !strings.HasSuffix(get(got, "CSeq"), "REGISTER") || startOf(got) != "SIP/2.0 401 Unauthorized" || len(stray.kept) > 0 {
		t.Errorf("the first answer is\n%s", got)
	}
	itsp.nothing()
	pbx.nothing()
}

// TestHelpFromTheWAN: a call for help passes whether or not anybody is registered,
// and what belongs to it is answered.
func TestHelpFromTheWAN(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := newSite(t, teleworkers)
		pbx, itsp, anna := s.pbx(), s.itsp(), s.udp("anna", s.host(130))
		if known {
			s.enrol(pbx, anna, "101")
		}
		help := "sip:000@" + domain
		establish(anna, itsp, help, fmt.Sprintf("help-%t", known)).hangUp(s)
		anna.send(anna.invite(help, "changed-mind"))
		invite := itsp.expect("INVITE ")
		itsp.send(answer(invite, "180 Ringing", "psap", "Contact: <"+itsp.contact()+">"))
		anna.expect("SIP/2.0 180")
		anna.send(cancelOf(anna, help, "changed-mind"))
		if got := get(anna.expect("SIP/2.0 200"), "CSeq"); got != "1 CANCEL" {
			t.Errorf("200 to %s", got)
		}
		itsp.send(answer(itsp.expect("CANCEL "), "200 OK", ""))
		itsp.send(answer(invite, "487 Request Terminated", "psap"))
		anna.expect("SIP/2.0 487")
		if known {
			anna.send(replaced(t, anna.invite("sip:102@office.example", "hops"), []string{"Max-Forwards: 70", "Max-Forwards: 0"}))
			anna.expect("SIP/2.0 483")
		}
		if got := s.tally(appliance.ReasonUnregistered); got != 0 {
			t.Errorf("%d are turned away", got)
		}
	}
}
