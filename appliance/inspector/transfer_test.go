package inspector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

func TestRefer(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "refer")
	n := 1
	refer := func(value string) {
		n++
		pbx.send(c.fromCaller("REFER", fmt.Sprintf("%d REFER", n), fmt.Sprintf("refer%d", n), "Contact: <sip:201@$me>", value))
	}
	for _, bad := range []struct{ value, want string }{
		{"Refer-To: <sip:+252615550148@sip.itsp.example>", "SIP/2.0 403"},
		{"r: <tel:+252-61-555-0148>", "SIP/2.0 403"},
		{"Refer-To: <sip:0011252615550148@$box>", "SIP/2.0 403"},
		{"Refer-To: <sip:+61491570157@sip.itsp.example;method=BYE>", "SIP/2.0 403"},
		{"Refer-To: <sip:+61491570157@attacker.example>", "SIP/2.0 403"},
		{"Refer-To: <sip:+61491570157@sip.itsp.example?Replaces=nobody%3Bto-tag%3D1%3Bfrom-tag%3D2>", "SIP/2.0 481"},
		{"Refer-To: <sip:+61491570157@sip.itsp.example>, <sip:+252615550148@sip.itsp.example>", "SIP/2.0 400"},
		{"Refer-To: <sip:+61491570157@sip.itsp.example>\nRefer-To: <sip:+252615550148@sip.itsp.example>", "SIP/2.0 400"},
		{"Refer-To: <sip:+61491570157@sip.itsp.example", "SIP/2.0 400"},
		{"Subject: none", "SIP/2.0 400"},
	} {
		refer(bad.value)
		if got := pbx.expect("SIP/2.0 "); !strings.HasPrefix(got, bad.want) {
			t.Errorf("%s: got %q, want %q", bad.value, startOf(got), bad.want)
		}
	}
	itsp.nothing()
	record := s.call("the transfer is recorded", func(c appliance.Call) bool { return c.Use == "transfer" && c.Rule == "+252" })
	if record.Verdict != appliance.Block {
		t.Errorf("record %+v", record)
	}

	refer("Refer-To: <sip:0491%2d570.157@$box;user=phone?Subject=x&Route=%3Csip:evil%3E>")
	request := itsp.expect("REFER ")
	if got := every(request, "Refer-To"); len(got) != 1 || got[0] != "<sip:0491570157@sip.itsp.example>" {
		t.Errorf("Refer-To %q", got)
	}
	itsp.send(answer(request, "202 Accepted", ""))
	pbx.expect("SIP/2.0 202")
	// The NOTIFY of the transfer comes after the BYE.
	pbx.send(c.fromCaller("BYE", "90 BYE", "bye"))
	itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	itsp.send(c.fromCallee("NOTIFY", "1 NOTIFY", "notify", "Event: refer", "Subscription-State: terminated;reason=noresource", "Contact: <"+itsp.contact()+">", "Content-Type: message/sipfrag\n\nSIP/2.0 200 OK\n"))
	notify := pbx.expect("NOTIFY ")
	if bodyOf(notify) != "SIP/2.0 200 OK\r\n" {
		t.Errorf("NOTIFY\n%s", notify)
	}
}

func TestReferWithReplaces(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	first := establish(pbx, itsp, mobile, "first")
	second := establish(pbx, itsp, "sip:+61491570157@sip.itsp.example", "second")
	target := uriOf(get(second.ok, "Contact"))
	pbx.send(first.fromCaller("REFER", "2 REFER", "refer", "Contact: <sip:201@$me>", "Refer-To: <"+target+"?Replaces=second%3Bto-tag%3Dcallee%3Bfrom-tag%3Dcaller&X=y>"))
	if got := get(itsp.expect("REFER "), "Refer-To"); got != "<"+target+"?Replaces=second%3Bto-tag%3Dcallee%3Bfrom-tag%3Dcaller>" {
		t.Errorf("Refer-To %q", got)
	}
	// A Contact that is a number opens no way around the judge.
	itsp.send(second.fromCallee("UPDATE", "1 UPDATE", "number", "Contact: <sip:+252615550148@"+itsp.at.String()+">"))
	pbx.send(answer(pbx.expect("UPDATE "), "200 OK", "", "Contact: <sip:201@"+pbx.at.String()+">"))
	itsp.expect("SIP/2.0 200")
	pbx.send(first.fromCaller("REFER", "3 REFER", "number", "Contact: <sip:201@$me>", "Refer-To: <sip:+252615550148@"+itsp.at.String()+"?Replaces=second%3Bto-tag%3Dcallee%3Bfrom-tag%3Dcaller>"))
	pbx.expect("SIP/2.0 403")
	itsp.nothing()
}

func TestRedirects(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	good, bad := "<sip:+61491570158@sip.itsp.example;user=phone>;q=0.7", "<sip:+252615550148@sip.itsp.example>"
	for n, one := range []struct {
		status   string
		contacts []string
		want     string
		kept     []string
	}{
		{"302 Moved Temporarily", []string{bad, good, "<tel:+252615550148>", "<sip:+61491570158@attacker.example>"}, "SIP/2.0 302", []string{"<sip:+61491570158@sip.itsp.example>;q=0.7"}},
		{"300 Multiple Choices", []string{bad}, "SIP/2.0 480", nil},
		{"302 Moved Temporarily", nil, "SIP/2.0 480", nil},
		{"305 Use Proxy", []string{"<sip:+61491570158@sip.itsp.example>"}, "SIP/2.0 480", nil},
	} {
		id := fmt.Sprintf("redirect%d", n)
		pbx.send(pbx.invite(mobile, id))
		invite := itsp.expect("INVITE ")
		var lines []string
		for _, contact := range one.contacts {
			lines = append(lines, "Contact: "+contact)
		}
		itsp.send(answer(invite, one.status, "x", lines...))
		itsp.expect("ACK ")
		pbx.expect("SIP/2.0 100")
		got := pbx.expect("SIP/2.0 ")
		if !strings.HasPrefix(got, one.want) || strings.Join(every(got, "Contact"), "|") != strings.Join(one.kept, "|") {
			t.Errorf("case %d: got\n%s", n, got)
		}
		pbx.send(ackTo(got, pbx, mobile))
	}
	itsp.nothing()
	s.call("the redirect is recorded", func(c appliance.Call) bool { return c.Use == "redirect" && c.Rule == "+252" && c.Status == 480 })
}

// TestPhoneForwards: a phone that is called from the trunk may not forward the
// call to where it may not call itself.
func TestPhoneForwards(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	itsp.send(itsp.invite("sip:+61255501234@"+s.box.String(), "forward"))
	pbx.send(answer(pbx.expect("INVITE "), "302 Moved Temporarily", "x", "Contact: <sip:+252615550148@sip.itsp.example>"))
	got := itsp.expect("SIP/2.0 480")
	if len(every(got, "Contact")) != 0 {
		t.Errorf("got\n%s", got)
	}
}

func TestMessage(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	text := `
MESSAGE %U SIP/2.0
Via: $via;branch=z9hG4bK-msg-%I
From: <sip:201@$me>;tag=a
To: <%U>
Call-ID: %I
CSeq: 1 MESSAGE
Content-Type: text/plain

hello
`
	message := func(uri, id string) string {
		return strings.NewReplacer("%U", uri, "%I", id).Replace(text)
	}
	pbx.send(message("sip:+252615550148@sip.itsp.example", "m1"))
	pbx.expect("SIP/2.0 403")
	pbx.send(strings.Replace(message(mobile, "m2"), "text/plain", "application/x-evil", 1))
	pbx.expect("SIP/2.0 415")
	itsp.nothing()
	pbx.send(message(mobile, "m3"))
	got := itsp.expect("MESSAGE " + mobile)
	if bodyOf(got) != "hello\r\n" || len(every(got, "Record-Route")) != 0 {
		t.Errorf("got\n%s", got)
	}
	itsp.send(answer(got, "202 Accepted", "x"))
	pbx.expect("SIP/2.0 202")
	record := s.call("it is recorded", func(c appliance.Call) bool { return c.CallID == "m3" && !c.End.IsZero() })
	if record.Use != "message" || record.Status != 202 || record.Verdict != appliance.Allow {
		t.Errorf("record %+v", record)
	}
	itsp.send(message("sip:+61255501234@"+s.box.String(), "m4"))
	pbx.expect("MESSAGE sip:+61255501234@" + s.pbxAt.String())
}

func TestSubscribeAndNotify(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	subscribe := func(uri, id string) string {
		return strings.NewReplacer("%U", uri, "%I", id).Replace(`
SUBSCRIBE %U SIP/2.0
Via: $via;branch=z9hG4bK-sub-%I
From: <sip:line1@sip.itsp.example>;tag=sub
To: <%U>
Call-ID: %I
CSeq: 1 SUBSCRIBE
Contact: <sip:line1@$me>
Event: message-summary
Accept: application/simple-message-summary
Expires: 600
`)
	}
	notify := func(id, tag string) string {
		return strings.NewReplacer("%I", id, "%T", tag, "%P", pbx.at.String()).Replace(`
NOTIFY sip:line1@%P SIP/2.0
Via: $via;branch=z9hG4bK-not-%I-%T
From: <sip:line1@sip.itsp.example>;tag=%T
To: <sip:line1@sip.itsp.example>;tag=sub
Call-ID: %I
CSeq: 1 NOTIFY
Contact: <sip:mwi@$me>
Event: message-summary
Subscription-State: active;expires=600
Content-Type: application/simple-message-summary

Messages-Waiting: yes
`)
	}
	itsp.send(notify("unasked", "n"))
	itsp.expect("SIP/2.0 481")
	pbx.send(subscribe("sip:+252615550148@sip.itsp.example", "s1"))
	pbx.expect("SIP/2.0 403")
	pbx.send(subscribe("sip:line1@attacker.example", "s2"))
	pbx.expect("SIP/2.0 403")
	pbx.nothing()
	itsp.nothing()

	pbx.send(subscribe("sip:line1@sip.itsp.example", "s3"))
	request := itsp.expect("SUBSCRIBE sip:line1@sip.itsp.example ")
	itsp.send(notify("s3", "n1")) // it overtakes the 200
	got := pbx.expect("NOTIFY sip:line1@")
	if bodyOf(got) != "Messages-Waiting: yes\r\n" {
		t.Errorf("got\n%s", got)
	}
	pbx.send(answer(got, "200 OK", ""))
	itsp.expect("SIP/2.0 200")
	itsp.send(answer(request, "200 OK", "n1", "Contact: <sip:mwi@"+itsp.at.String()+">", "Expires: 600"))
	c := testCall{caller: pbx, callee: itsp, ok: pbx.expect("SIP/2.0 200")}
	pbx.send(c.fromCaller("INVITE", "2 INVITE", "call", "Contact: <sip:line1@$me>"))
	pbx.expect("SIP/2.0 481")
	pbx.send(c.fromCaller("SUBSCRIBE", "3 SUBSCRIBE", "refresh", "Event: message-summary", "Contact: <sip:line1@$me>", "Expires: 0"))
	itsp.send(answer(itsp.expect("SUBSCRIBE sip:mwi@"), "200 OK", "", "Expires: 0"))
	pbx.expect("SIP/2.0 200")
}

func TestCallToTheAlias(t *testing.T) {
	s := newSite(t, withoutPBX)
	itsp := s.itsp()
	phone := s.udp("phone", s.host(4))
	alias := s.registerPhone(phone, itsp, "1")
	c := establish(itsp, phone, alias, "alias")
	if want := "INVITE sip:line1@" + phone.at.String() + ";ob SIP/2.0"; startOf(c.invite) != want {
		t.Errorf("request line %q, want %q", startOf(c.invite), want)
	}
	c.hangUp(s)
	// By the name of the account too, where there is no PBX.
	itsp.send(itsp.invite("sip:line1@"+s.box.String(), "account"))
	phone.expect("INVITE sip:line1@" + phone.at.String())
}

func TestCallToThePhoneOverItsConnection(t *testing.T) {
	s := newSite(t, withoutPBX)
	itsp := s.itsp()
	phone := s.dial("phone", s.host(4).Addr())
	alias := s.registerPhone(phone, itsp, "1")
	itsp.send(itsp.invite(alias, "tcp"))
	invite := phone.expect("INVITE sip:line1@" + phone.at.String())
	if got := get(invite, "Via"); !strings.HasPrefix(got, "SIP/2.0/TCP ") {
		t.Errorf("Via %q", got)
	}
	phone.send(answer(invite, "486 Busy Here", "busy"))
	phone.expect("ACK ")
	itsp.expect("SIP/2.0 486")
}
