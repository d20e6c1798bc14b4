package inspector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

const hold = "\n\nv=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\na=sendonly\n"

const fax = "\n\nv=0\no=- 1 3 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=image 4002 udptl t38\na=T38FaxVersion:0\n"

// TestSessionsChangeInACall: hold, fax, a refresh of the session timer and an
// offer in the answer pass from either side, body untouched.
func TestSessionsChangeInACall(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "changes")
	for n, body := range []string{hold, fax, "", offer} {
		cseq, number := fmt.Sprintf("%d INVITE", n+2), fmt.Sprint(n)
		headers := []string{"Contact: <" + itsp.contact() + ">", "Supported: timer", "Session-Expires: 1800;refresher=uac", "Min-SE: 90"}
		if body != "" {
			headers = append(headers, "Content-Type: application/sdp"+body)
		}
		itsp.send(c.fromCallee("INVITE", cseq, "down"+number, headers...))
		got := pbx.expect("INVITE ")
		if bodyOf(got) != strings.ReplaceAll(strings.TrimPrefix(body, "\n\n"), "\n", "\r\n") || get(got, "Session-Expires") != "1800;refresher=uac" {
			t.Errorf("case %d: got\n%s", n, got)
		}
		pbx.send(answer(got, "200 OK", "", "Contact: <sip:201@"+pbx.at.String()+">", "Session-Expires: 1800;refresher=uac", "Require: timer", "Content-Type: application/sdp"+offer))
		ok := itsp.expect("SIP/2.0 200")
		if get(ok, "Require") != "timer" || bodyOf(ok) == "" {
			t.Errorf("case %d: got\n%s", n, ok)
		}
		itsp.send(c.fromCallee("ACK", fmt.Sprintf("%d ACK", n+2), "ack"+number, "Content-Type: application/sdp"+offer))
		if got := pbx.expect("ACK "); bodyOf(got) == "" {
			t.Errorf("case %d: the answer in the ACK was lost:\n%s", n, got)
		}
	}
	pbx.send(c.fromCaller("INVITE", "2 INVITE", "glare", "Contact: <sip:201@$me>", "Content-Type: application/sdp"+hold))
	itsp.send(answer(itsp.expect("INVITE "), "491 Request Pending", ""))
	itsp.expect("ACK ")
	pbx.expect("SIP/2.0 491")
	c.hangUp(s)
}

// TestChallengedInvite: the INVITE with credentials is another try of the same
// call.
func TestChallengedInvite(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "digest"))
	first := itsp.expect("INVITE ")
	itsp.send(answer(first, "407 Proxy Authentication Required", "x", `Proxy-Authenticate: Digest realm="r", nonce="n"`))
	itsp.expect("ACK ")
	challenge := pbx.expect("SIP/2.0 407")
	if get(challenge, "Proxy-Authenticate") == "" {
		t.Errorf("no challenge in\n%s", challenge)
	}
	pbx.send(ackTo(challenge, pbx, mobile))
	again := strings.NewReplacer("inv-digest", "inv-again", "1 INVITE", "2 INVITE", "Allow: ", "Proxy-Authorization: Digest username=\"u\"\nAllow: ").
		Replace(pbx.invite(mobile, "digest"))
	pbx.send(again)
	second := itsp.expect("INVITE ")
	if get(second, "Proxy-Authorization") != `Digest username="u"` {
		t.Errorf("no credentials in\n%s", second)
	}
	itsp.send(answer(second, "183 Session Progress", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+offer))
	if got := pbx.expect("SIP/2.0 183"); bodyOf(got) == "" {
		t.Errorf("early media was lost:\n%s", got)
	}
	itsp.send(answer(second, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	c := testCall{caller: pbx, callee: itsp, invite: second, ok: pbx.expect("SIP/2.0 200")}
	pbx.send(c.fromCaller("ACK", "2 ACK", "ack"))
	itsp.expect("ACK sip:line@")
	if got := s.in.Live(); len(got) != 1 {
		t.Errorf("%d live calls, want 1", len(got))
	}
}

// TestRegistrarsAsTheyAre: too short a time, two Contacts, and one of them removed.
func TestRegistrarsAsTheyAre(t *testing.T) {
	s := newSite(t)
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	phone.send(registerAs("1"))
	itsp.send(answer(itsp.expect("REGISTER "), "423 Interval Too Brief", "t", "Min-Expires: 1800"))
	if got := phone.expect("SIP/2.0 423"); get(got, "Min-Expires") != "1800" {
		t.Errorf("got\n%s", got)
	}
	plain := "Contact: <sip:line1@$me;ob>;expires=600;+sip.instance=\"<urn:uuid:1>\"\n"
	two := "Contact: <sip:line1@$me>, <sip:line1@" + phone.at.Addr().String() + ":5062>;expires=0\nExpires: 1800\n"
	phone.send(strings.Replace(registerAs("2"), plain, two, 1))
	request := itsp.expect("REGISTER ")
	aliases := every(request, "Contact")
	if len(aliases) != 2 || get(request, "Expires") != "1800" || !strings.HasSuffix(aliases[1], ";expires=0") {
		t.Fatalf("got\n%s", request)
	}
	itsp.send(answer(request, "200 OK", "t", "Contact: "+aliases[0]+";expires=1800"))
	if got := every(phone.expect("SIP/2.0 200"), "Contact"); len(got) != 1 || got[0] != "<sip:line1@"+phone.at.String()+">;expires=1800" {
		t.Errorf("Contacts %q", got)
	}
	if got := s.in.bindings.size(); got != 1 {
		t.Errorf("%d bindings, want 1", got)
	}
	if got := s.tally(appliance.ReasonOverload); got != 0 {
		t.Errorf("%d overloads", got)
	}
}

// TestContactInsideAContainer: a PBX in a container gives an address that only its
// host knows. It is reached where it speaks from.
func TestContactInsideAContainer(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(strings.Replace(pbx.invite(mobile, "boxed"), "Contact: <sip:201@$me", "Contact: <sip:201@172.17.0.2:5060", 1))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	pbx.expect("SIP/2.0 200")
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	pbx.expect("BYE sip:201@172.17.0.2:5060")
	s.forget()
	itsp.send(c.fromCallee("BYE", "2 BYE", "salvaged"))
	pbx.expect("BYE sip:201@172.17.0.2:5060")
	pbx.send(strings.Replace(registerAs("1"), "<sip:line1@$me", "<sip:line1@172.17.0.2:5060", 1))
	request := itsp.expect("REGISTER ")
	itsp.send(answer(request, "200 OK", "t", "Contact: <"+aliasIn(request)+">;expires=60"))
	itsp.send(itsp.invite(aliasIn(request), "in"))
	pbx.expect("INVITE sip:line1@172.17.0.2:5060")
}
