package inspector

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

func cancelOf(a *agent, uri, id string) string {
	return strings.Join([]string{"CANCEL " + uri + " SIP/2.0", "Via: $via;branch=z9hG4bK-inv-" + id, "Max-Forwards: 70",
		`From: "Desk" <sip:201@$me>;tag=caller`, "To: <" + uri + ">", "Call-ID: " + id, "CSeq: 1 CANCEL",
		`Reason: SIP;cause=200;text="Call completed elsewhere"`}, "\n")
}

func TestCancel(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "cancel"))
	invite := itsp.expect("INVITE ")
	itsp.send(answer(invite, "180 Ringing", "callee"))
	pbx.expect("SIP/2.0 180")
	// Another host of the LAN can't cancel it.
	other := s.udp("other", s.host(4))
	other.send(strings.ReplaceAll(cancelOf(pbx, mobile, "cancel"), "$via", "SIP/2.0/UDP "+pbx.at.String()+";rport"))
	other.expect("SIP/2.0 481")
	itsp.nothing()

	pbx.send(cancelOf(pbx, mobile, "cancel"))
	if ok := pbx.expect("SIP/2.0 200"); get(ok, "CSeq") != "1 CANCEL" {
		t.Errorf("got\n%s", ok)
	}
	cancel := itsp.expect("CANCEL ")
	if startOf(cancel) != "CANCEL "+mobile+" SIP/2.0" || get(cancel, "Via") != get(invite, "Via") || len(every(cancel, "Via")) != 1 ||
		get(cancel, "CSeq") != "1 CANCEL" || get(cancel, "Reason") != `SIP;cause=200;text="Call completed elsewhere"` {
		t.Errorf("CANCEL of\n%s\nis\n%s", invite, cancel)
	}
	itsp.send(answer(cancel, "200 OK", "callee"))
	itsp.send(answer(invite, "487 Request Terminated", "callee"))
	ack := itsp.expect("ACK ")
	if get(ack, "Via") != get(invite, "Via") || get(ack, "To") != get(invite, "To")+";tag=callee" {
		t.Errorf("ACK\n%s", ack)
	}
	pbx.expect("SIP/2.0 487")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Status != 487 || !record.Answer.IsZero() || record.Reason != appliance.ReasonDestinationAllowed {
		t.Errorf("record %+v", record)
	}
}

// TestCancelBeforeAnyResponse: the CANCEL waits until the trunk has answered
// (RFC 3261 section 9.1).
func TestCancelBeforeAnyResponse(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "early"))
	invite := itsp.expect("INVITE ")
	pbx.send(cancelOf(pbx, mobile, "early"))
	pbx.expect("SIP/2.0 200")
	itsp.nothing("INVITE ")
	itsp.send(answer(invite, "100 Trying", ""))
	itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "callee"))
	itsp.send(answer(invite, "487 Request Terminated", "callee"))
	pbx.expect("SIP/2.0 487")
}

// TestCancelMeetsAnswer: a 200 that crosses the CANCEL wins, and its dialog
// works.
func TestCancelMeetsAnswer(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "race"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "180 Ringing", "callee"))
	pbx.expect("SIP/2.0 180")
	pbx.send(cancelOf(pbx, mobile, "race"))
	pbx.expect("SIP/2.0 200")
	itsp.send(answer(itsp.expect("CANCEL "), "481 Call/Transaction Does Not Exist", "x"))
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	c.hangUp(s)
}

func TestRingingForEver(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "ring"))
	invite := itsp.expect("INVITE ")
	itsp.send(answer(invite, "180 Ringing", "callee"))
	pbx.expect("SIP/2.0 180")
	s.in.sweep(s.now.advance(184 * time.Second))
	itsp.nothing()
	s.in.sweep(s.now.advance(2 * time.Second))
	itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "x"))
	// The trunk never says 487: the box does, in the end.
	s.in.sweep(s.now.advance(33 * time.Second))
	pbx.expect("SIP/2.0 487")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Status != 487 {
		t.Errorf("record %+v", record)
	}
	// It answers after all: nobody is there to talk, so the box hangs up.
	itsp.send(answer(invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	ack := itsp.expect("ACK " + itsp.contact())
	bye := itsp.expect("BYE " + itsp.contact())
	if get(ack, "CSeq") != "1 ACK" || get(bye, "CSeq") != "2 BYE" || get(bye, "To") != get(invite, "To")+";tag=callee" ||
		get(bye, "From") != get(invite, "From") || get(bye, "Via") == get(ack, "Via") {
		t.Errorf("got\n%s%s", ack, bye)
	}
	itsp.send(answer(bye, "200 OK", ""))
	pbx.nothing("SIP/2.0 100", "SIP/2.0 180")
}

func TestForkedEarlyDialogsAndPrack(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "fork"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	for _, tag := range []string{"fork1", "fork2"} {
		itsp.send(answer(c.invite, "183 Session Progress", tag, "Contact: <sip:"+tag+"@"+itsp.at.String()+">", "Require: 100rel", "RSeq: 1", "Content-Type: application/sdp"+offer))
		early := testCall{caller: pbx, callee: itsp, invite: c.invite, ok: pbx.expect("SIP/2.0 183")}
		if get(early.ok, "RSeq") != "1" || get(early.ok, "Require") != "100rel" || !strings.HasSuffix(get(early.ok, "To"), ";tag="+tag) || bodyOf(early.ok) == "" {
			t.Errorf("early response\n%s", early.ok)
		}
		pbx.send(early.fromCaller("PRACK", "2 PRACK", "prack"+tag, "RAck: 1 1 INVITE"))
		prack := itsp.expect("PRACK ")
		if startOf(prack) != "PRACK sip:"+tag+"@"+itsp.at.String()+" SIP/2.0" || get(prack, "RAck") != "1 1 INVITE" {
			t.Errorf("PRACK\n%s", prack)
		}
		itsp.send(answer(prack, "200 OK", ""))
		if ok := pbx.expect("SIP/2.0 200"); get(ok, "CSeq") != "2 PRACK" {
			t.Errorf("got\n%s", ok)
		}
	}
	itsp.send(answer(c.invite, "200 OK", "fork2", "Contact: <"+itsp.contact()+">"))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK sip:line@")
	if got := s.in.dialogs.size(); got != 2 {
		t.Errorf("%d dialogs, want 2", got)
	}
	s.in.sweep(s.now.advance(40 * time.Second))
	if got := s.in.dialogs.size(); got != 1 {
		t.Errorf("%d dialogs after the lost fork has run out, want 1", got)
	}
	c.hangUp(s)
}

func TestRepeatedAnswerIsPassedOn(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "again")
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+offer))
	for got := ""; got != c.ok; { // the very same bytes
		got = <-pbx.inbox
	}
	ack := c.fromCaller("ACK", "1 ACK", "ack")
	pbx.send(ack)
	pbx.send(ack)
	first, second := "", ""
	for second == "" {
		if got := <-itsp.inbox; strings.HasPrefix(got, "ACK ") {
			first, second = got, first
		}
	}
	if get(first, "Via") != get(second, "Via") {
		t.Errorf("a repeated ACK has another branch: %q and %q", get(first, "Via"), get(second, "Via"))
	}
}

func TestTargetRefresh(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "refresh")
	for n, method := range []string{"INVITE", "UPDATE"} {
		cseq := string(rune('2'+n)) + " " + method
		pbx.send(c.fromCaller(method, cseq, "re"+method, "Contact: <sip:moved"+method+"@$me>"))
		request := itsp.expect(method + " ")
		if got := every(request, "Record-Route"); len(got) != 0 {
			t.Errorf("%s: Record-Route %q in a dialog", method, got)
		}
		itsp.send(answer(request, "200 OK", "", "Contact: <sip:new"+method+"@"+itsp.at.String()+">"))
		if method == "INVITE" {
			pbx.expect("SIP/2.0 100")
		}
		ok := pbx.expect("SIP/2.0 200")
		c.ok = strings.Replace(c.ok, uriOf(get(c.ok, "Contact")), uriOf(get(ok, "Contact")), 1)
		if method == "INVITE" {
			pbx.send(c.fromCaller("ACK", "2 ACK", "ack2"))
			itsp.expect("ACK sip:newINVITE@")
		}
		c.invite = strings.Replace(c.invite, uriOf(get(c.invite, "Contact")), "sip:moved"+method+"@"+pbx.at.String(), 1)
		itsp.send(c.fromCallee("INFO", string(rune('1'+n))+" INFO", "info"+method, "Content-Type: application/dtmf-relay\n\nSignal=1\n"))
		info := pbx.expect("INFO sip:moved" + method + "@")
		pbx.send(answer(info, "200 OK", ""))
		itsp.expect("SIP/2.0 200")
	}
	// A Contact outside the LAN is refused, and the target stays.
	pbx.send(c.fromCaller("UPDATE", "5 UPDATE", "evil", "Contact: <sip:+252615550148@203.0.113.9>"))
	pbx.expect("SIP/2.0 403")
	// So does one that the trunk rejects.
	pbx.send(c.fromCaller("UPDATE", "6 UPDATE", "rejected", "Contact: <sip:rejected@$me>"))
	itsp.send(answer(itsp.expect("UPDATE "), "488 Not Acceptable Here", ""))
	pbx.expect("SIP/2.0 488")
	itsp.send(c.fromCallee("BYE", "9 BYE", "bye"))
	pbx.expect("BYE sip:movedUPDATE@")
}

// TestInDialogTricks: a To tag opens no door.
func TestInDialogTricks(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "real")
	before := s.tally(appliance.ReasonUnknownDialog)
	number := "sip:+252615550148@sip.itsp.example"
	fake := strings.Replace(pbx.invite(number, "fake"), "To: <"+number+">", "To: <"+number+">;tag=x", 1)
	pbx.send(fake)
	pbx.expect("SIP/2.0 481")
	// The right dialog with another Request-URI.
	pbx.send(strings.Replace(c.fromCaller("INVITE", "2 INVITE", "number", "Contact: <sip:201@$me>"), uriOf(get(c.ok, "Contact")), number, 1))
	pbx.expect("SIP/2.0 481")
	// The right dialog from another host of the LAN.
	other := s.udp("other", s.host(4))
	other.send(c.fromCaller("BYE", "2 BYE", "other"))
	other.expect("SIP/2.0 481")
	// The right dialog with the tags of the other side.
	pbx.send(c.fromCallee("BYE", "2 BYE", "swapped"))
	pbx.expect("SIP/2.0 481")
	// An ACK is never answered.
	pbx.send(strings.Replace(c.fromCaller("ACK", "1 ACK", "odd"), uriOf(get(c.ok, "Contact")), number, 1))
	pbx.nothing()
	itsp.nothing()
	if got := s.tally(appliance.ReasonUnknownDialog) - before; got != 5 {
		t.Errorf("counted %d, want 5", got)
	}
	c.hangUp(s)
}

func TestInviteWithReplaces(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	establish(itsp, pbx, "sip:+61255501234@"+s.box.String(), "held")
	pbx.send(strings.Replace(pbx.invite(mobile, "taker"), "Supported: ", "Replaces: held;to-tag=callee;from-tag=caller\nSupported: ", 1))
	if got := get(itsp.expect("INVITE "), "Replaces"); got != "held;to-tag=callee;from-tag=caller" {
		t.Errorf("Replaces %q", got)
	}
	// A live dialog is no licence to call a blocked number.
	pbx.send(strings.Replace(pbx.invite("sip:+252615550148@sip.itsp.example", "evil"), "Supported: ", "Replaces: held;to-tag=callee;from-tag=caller\nSupported: ", 1))
	pbx.expect("SIP/2.0 403")
	itsp.nothing()
}
