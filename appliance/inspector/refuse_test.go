package inspector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/transaction"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestRefusalInDisguises sends one number of a high-risk country in many
// spellings. None may reach the trunk, and the refusal must not say which list
// holds it.
func TestRefusalInDisguises(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for n, uri := range []string{
		"sip:+252615550148@sip.itsp.example",
		"sip:0011252615550148@sip.itsp.example",
		"sip:0011252615550148@$box",
		"sip:0011252615550148@" + s.itspAt.Addr().String(),
		"sip:%2B252615550148@sip.itsp.example;user=phone",
		"sip:%30%30%31%31252615550148@sip.itsp.example",
		"sip:+252-61-555.0148@sip.itsp.example",
		"sip:00252615550148@sip.itsp.example",
		"sip:18310011252615550148@sip.itsp.example",
		"sip:+252615550148;ext=1;isub=2@sip.itsp.example",
		"sip:+61255501234;rn=+252615550148@sip.itsp.example",
		"tel:+252-61-555-0148",
		"tel:615550148;phone-context=+252",
		"sip:+25261CALLME@sip.itsp.example",
		"sip:*21*0011252615550148%23@sip.itsp.example",
		"sip:+252615550148@203.0.113.9",
		"sip:+61255501234:secret@sip.itsp.example",
		"sip:+61255501234@attacker.example",
		"sip:+61255501234@sip.itsp.example;maddr=203.0.113.9",
	} {
		pbx.send(pbx.invite(uri, fmt.Sprintf("disguise%d", n)))
		got := pbx.expect("SIP/2.0 ") // at once, without a 100
		want := []string{"SIP/2.0 403 Forbidden",
			"Via: SIP/2.0/UDP " + pbx.at.String() + ";rport=5060;branch=z9hG4bK-inv-disguise" + fmt.Sprint(n) + ";received=" + pbx.at.Addr().String(),
			`From: "Desk" <sip:201@` + pbx.at.String() + ">;tag=caller"}
		if lines := strings.Split(got, "\r\n"); lines[0] != want[0] || lines[1] != want[1] || lines[2] != want[2] {
			t.Errorf("%s: got\n%s", uri, got)
		}
		if record := s.call("it is recorded", func(c appliance.Call) bool { return c.CallID == fmt.Sprintf("disguise%d", n) }); strings.Contains(record.Dialled, "secret") {
			t.Errorf("%s: a password in the record: %+v", uri, record)
		}
		if get(got, "Reason") != `Q.850;cause=21;text="call rejected"` {
			t.Errorf("%s: Reason %q", uri, get(got, "Reason"))
		}
		for _, leak := range []string{"risk", "list", "Somalia", "policy", "Warning"} {
			if strings.Contains(got, leak) {
				t.Errorf("%s: the refusal leaks %q:\n%s", uri, leak, got)
			}
		}
		pbx.send(ackTo(got, pbx, uri))
	}
	itsp.nothing()
	record := s.call("the first is recorded", func(c appliance.Call) bool { return c.CallID == "disguise0" })
	if record.Verdict != appliance.Block || record.Reason != appliance.ReasonHighRisk || record.Rule != "+252" || record.Status != 403 || record.End.IsZero() {
		t.Errorf("record %+v", record)
	}
	if s.tally(appliance.ReasonHighRisk) == 0 || s.tally(appliance.ReasonForeignHost) == 0 {
		t.Errorf("tallies %v", s.in.Tallies())
	}
}

// ackTo acknowledges a refusal.
func ackTo(refusal string, a *agent, uri string) string {
	via, _, _ := strings.Cut(get(refusal, "Via"), ";received=")
	via = strings.Replace(via, ";rport=5060", ";rport", 1)
	cseq, _, _ := strings.Cut(get(refusal, "CSeq"), " ")
	return strings.Join([]string{"ACK " + uri + " SIP/2.0", "Via: " + via, "From: " + get(refusal, "From"),
		"To: " + get(refusal, "To"), "Call-ID: " + get(refusal, "Call-ID"), "CSeq: " + cseq + " ACK"}, "\n")
}

// TestRefusalEndsWithItsACK: the ACK to a refusal is known by its topmost Via and the
// address that it comes from, in whatever form it is written. No other ends it.
func TestRefusalEndsWithItsACK(t *testing.T) {
	s := newSite(t)
	pbx, other := s.pbx(), s.udp("phone", s.host(4))
	for n, spelling := range []func(string) string{
		func(ack string) string { return ack },
		func(ack string) string { return strings.Replace(ack, "Via: ", "v :  ", 1) },
		func(ack string) string { return strings.Replace(ack, "Via: ", "Max-Forwards: 70\nVia: ", 1) },
	} {
		id := fmt.Sprintf("ended%d", n)
		pbx.send(pbx.invite(forbidden, id))
		ack := ackTo(pbx.expect("SIP/2.0 403"), pbx, forbidden)
		state := func() transaction.State {
			pbx.ping()
			other.ping()
			key := appendKey(nil, "z9hG4bK-inv-"+id, pbx.at.Addr().String(), pbx.at.Port(), flow{remote: pbx.at}, "INVITE")
			tx := s.in.txs.invited(key)
			tx.mu.Lock()
			defer tx.mu.Unlock()
			return tx.machine.State()
		}
		other.send(spelling(ack))
		pbx.send(spelling(strings.Replace(ack, ";branch=z9hG4bK-inv-", ";branch=z9hG4bK-", 1)))
		pbx.send(spelling(strings.Replace(ack, "ACK ", "ACKS ", 1)))
		if got := state(); got != transaction.Completed {
			t.Errorf("%d: an ACK of somebody else's led to %v", n, got)
		}
		pbx.send(spelling(ack))
		if got := state(); got != transaction.Confirmed {
			t.Errorf("%d: its ACK led to %v", n, got)
		}
	}
	if got := s.tally(appliance.ReasonUnknownDialog); got != 6 {
		t.Errorf("%d ACKs belonged to nothing, want 6", got)
	}
}

// lenient is a behaviour engine that lets everything pass.
type lenient struct{ Behaviour }

func (lenient) Begin(rules.Attempt) rules.Ruling {
	return rules.Ruling{Verdict: appliance.Allow, Reason: appliance.ReasonReleased}
}
func (lenient) Ended(string, bool) {}

// TestReleasedCallMustBeFit: what is wrong with a message is not looked at where its
// number is blocked anyway. Where the number is released, it is.
func TestReleasedCallMustBeFit(t *testing.T) {
	s := newSite(t, func(s *site, _ *settings.Settings, _ *limits) { s.behaviour = lenient{} })
	pbx, itsp := s.pbx(), s.itsp()
	unfit := strings.Replace(pbx.invite(forbidden, "unfit"), "Content-Type: application/sdp", "Content-Type: application/resource-lists+xml", 1)
	pbx.send(unfit)
	pbx.send(ackTo(pbx.expect("SIP/2.0 415"), pbx, forbidden))
	itsp.nothing()
	if record := s.call("it is recorded", func(c appliance.Call) bool { return c.CallID == "unfit" }); record.Verdict != appliance.Block ||
		record.Reason != appliance.ReasonBody || record.Status != 415 {
		t.Errorf("record %+v", record)
	}
	pbx.send(pbx.invite(forbidden, "fit"))
	itsp.expect("INVITE ")
}

func TestRefusalStatusBySetting(t *testing.T) {
	s := newSite(t, func(_ *site, set *settings.Settings, _ *limits) { set.SIP.Refusal = 603 })
	pbx := s.pbx()
	pbx.send(pbx.invite("sip:+252615550148@sip.itsp.example", "decline"))
	if got := startOf(pbx.expect("SIP/2.0 603")); got != "SIP/2.0 603 Decline" {
		t.Errorf("got %q", got)
	}
}

// TestRefusalIsRepeatedUntilAcknowledged: the 403 is under the server
// transaction's care (Timer G), and its ACK ends there.
func TestRefusalIsRepeatedUntilAcknowledged(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	text := pbx.invite("sip:+252615550148@sip.itsp.example", "repeat")
	pbx.send(text)
	pbx.send(text)
	first := pbx.expect("SIP/2.0 403")
	repeats := 0
	for repeats < 2 {
		if got := <-pbx.inbox; got == first {
			repeats++
		}
	}
	pbx.send(ackTo(first, pbx, "sip:+252615550148@sip.itsp.example"))
	s.until("the transaction is over", func() bool {
		s.in.txs.mu.Lock()
		defer s.in.txs.mu.Unlock()
		return len(s.in.txs.servers) == 0
	})
	itsp.nothing()
	if got := s.tally(appliance.ReasonHighRisk); got != 1 {
		t.Errorf("the repeated INVITE was counted %d times", got)
	}
}

func TestUnfitInvites(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	multipart := "multipart/mixed;boundary=b\n\n--b\nContent-Type: application/sdp\n\nv=0\n"
	for n, odd := range []struct{ old, new, want, header string }{
		{"Supported: ", "Require: recipient-list-invite\nSupported: ", "SIP/2.0 420 ", "Unsupported"},
		{"Supported: ", "Proxy-Require: x\nSupported: ", "SIP/2.0 420 ", "Unsupported"},
		{"Max-Forwards: 70", "Max-Forwards: 0", "SIP/2.0 483 ", ""},
		{"Supported: ", "Content-Encoding: gzip\nSupported: ", "SIP/2.0 415 ", "Accept-Encoding"},
		{"application/sdp", "application/resource-lists+xml", "SIP/2.0 415 ", "Accept"},
		{"application/sdp\n", multipart + "\n--b\nContent-Type: application/sdp\n\nv=1\n--b--\n", "SIP/2.0 415 ", "Accept"},
		{"Supported: ", "Replaces: nobody;to-tag=1;from-tag=2\nSupported: ", "SIP/2.0 481 ", ""},
		{"Contact: <sip:201@$me;maddr=203.0.113.9?X=y>\n", "", "SIP/2.0 400 ", ""},
		{"Contact: <sip:201@$me;maddr=203.0.113.9?X=y>", "Contact: <sip:201@203.0.113.9>", "SIP/2.0 403 ", ""},
		{"tag=caller", "tag=caller;x\r: y", "SIP/2.0 400 ", ""},
		{"To: <", "To\x01: <sip:x@y>;tag=1\nTo: <", "SIP/2.0 400 ", ""},
		{"Supported: ", "Subject: a\nTo: <sip:x@y>;tag=1\nSupported: ", "SIP/2.0 400 ", ""},
		{"CSeq: 1 INVITE", "CSeq: 1 BYE", "SIP/2.0 400 ", ""},
	} {
		text := strings.Replace(pbx.invite(mobile, fmt.Sprintf("unfit%d", n)), odd.old, odd.new, 1)
		pbx.raw(strings.ReplaceAll(pbx.wire(text), "\r\n\r\n\r\n", "\r\n\r\n"))
		got := pbx.expect("SIP/2.0 ")
		if !strings.HasPrefix(got, odd.want) || odd.header != "" && get(got, odd.header) == "" {
			t.Errorf("case %d: got %q, want %q with %q", n, startOf(got), odd.want, odd.header)
		}
	}
	itsp.nothing()
}

func TestMultipartKeepsItsOneSession(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	body := "multipart/mixed;boundary=b\n\n--b\nContent-Type: application/isup\n\nxxxx\n--b\nContent-Type: application/sdp\n\nv=0\n--b--\n"
	head, _, _ := strings.Cut(pbx.invite(mobile, "parts"), "application/sdp")
	pbx.send(head + body)
	got := itsp.expect("INVITE ")
	if get(got, "Content-Type") != "application/sdp" || bodyOf(got) != "v=0" || get(got, "Content-Length") != "3" {
		t.Errorf("got\n%s", got)
	}
}

// TestSmuggling: nothing that a tolerant reader behind the box could read as
// another header or message gets through.
func TestSmuggling(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for n, change := range [][2]string{
		{"From: \"Desk\"", "From: \"Desk\nRoute: <sip:203.0.113.9;lr>\""},
		{"Max-Forwards: 70\r\n", "Max-Forwards: 70\nRoute: <sip:x;lr>\r\n"},
		{"Max-Forwards: 70\r\n", "Max-Forwards: 70\rRoute: <sip:x;lr>\r\n"},
		{"Max-Forwards: 70\r\n", "Max-Forwards: 70\x00\r\n"},
		{"Max-Forwards: 70\r\n", "Max-Forwards : 70\r\nTo\t\v: <sip:x@y>\r\n"},
		{"INVITE sip:+61491570156@", "INVITE sip:+61491570156@sip.itsp.example@"},
		{"INVITE sip:+61491570156@", "INVITE sip:500&PJSIP/itsp/1416@"},
		{"INVITE sip:+61491570156@", "INVITE sip:+61491570156:pw@"},
		{"INVITE sip:+61491570156@", "INVITE sip:+6149\u0661570156@"},
	} {
		text := strings.Replace(pbx.wire(pbx.invite(mobile, fmt.Sprintf("smuggle%d", n))), change[0], change[1], 1)
		pbx.raw(text)
		got := pbx.expect("SIP/2.0 ")
		if strings.HasPrefix(got, "SIP/2.0 100") {
			got = pbx.expect("SIP/2.0 ")
		}
		if !strings.HasPrefix(got, "SIP/2.0 4") {
			t.Errorf("case %d: got %q", n, startOf(got))
		}
	}
	itsp.nothing()
}

func TestLoop(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite("sip:+61491570156@$box", "loop"))
	first := itsp.expect("INVITE ")
	// The PBX gets it back and sends it again with everything that it came with.
	again := strings.Replace(pbx.invite("sip:+61491570156@$box", "loop"), "Via: ",
		"Via: $via;branch=z9hG4bK-second\nVia: "+strings.Join(every(first, "Via"), "\nVia: ")+"\nX-Old: ", 1)
	pbx.send(again)
	pbx.expect("SIP/2.0 482")
	// With another Request-URI it is a spiral.
	spiral := strings.Replace(strings.Replace(again, "INVITE sip:+61491570156", "INVITE sip:+61491570157", 1), "-second", "-third", 1)
	pbx.send(spiral)
	itsp.expect("INVITE sip:+61491570157")
}

func TestToIsALabel(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(strings.Replace(pbx.invite(mobile, "label"), "To: <"+mobile, "To: <sip:+252615550148@sip.itsp.example", 1))
	itsp.expect("INVITE sip:+61491570156@")
	s.until("the difference is told", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Kind == appliance.EventRefusal && e.Reason == appliance.ReasonHighRisk && strings.HasPrefix(e.Message, "To names another destination") {
				return true
			}
		}
		return false
	})
}

func TestEmergencyPassesEverything(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) {
		bounds.transactions, bounds.dialogs, bounds.reserve = 20, 10, 10
	})
	pbx, itsp := s.pbx(), s.itsp()
	for n := range 10 {
		pbx.send(pbx.invite(mobile, fmt.Sprintf("fill%d", n)))
	}
	full := pbx.expect("SIP/2.0 503")
	if get(full, "Retry-After") == "" {
		t.Errorf("no Retry-After in\n%s", full)
	}
	if s.tally(appliance.ReasonOverload) == 0 {
		t.Error("the overload was not counted")
	}
	pbx.send(strings.Replace(pbx.invite("sip:000@sip.itsp.example", "help"), "Supported: ", "Require: x-unknown\nSupported: ", 1))
	got := itsp.expect("INVITE sip:000@sip.itsp.example ")
	itsp.send(answer(got, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	c := testCall{caller: pbx, callee: itsp, invite: got, ok: pbx.expect("SIP/2.0 200")}
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	c.hangUp(s)
	record := s.call("the emergency call has ended", func(c appliance.Call) bool { return c.CallID == "help" && !c.End.IsZero() })
	if record.Reason != appliance.ReasonEmergency || record.Verdict != appliance.Allow {
		t.Errorf("record %+v", record)
	}
}

func TestTrunkDown(t *testing.T) {
	s := newSite(t)
	pbx := s.pbx()
	pbx.send(pbx.invite(mobile, "down"))
	pbx.expect("SIP/2.0 408")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Reason != appliance.ReasonNoTrunk || record.Status != 408 || record.Verdict != appliance.Block {
		t.Errorf("record %+v", record)
	}
}

func TestTrunkRefusesTCP(t *testing.T) {
	s := newSite(t, overTCP)
	pbx := s.pbx()
	pbx.send(pbx.invite(mobile, "refused"))
	pbx.expect("SIP/2.0 503")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Reason != appliance.ReasonNoTrunk || record.Status != 503 {
		t.Errorf("record %+v", record)
	}
}

func TestNoTrunkAtAll(t *testing.T) {
	s := newSite(t, func(_ *site, set *settings.Settings, _ *limits) { set.Trunks = nil })
	pbx := s.pbx()
	pbx.send(pbx.invite("sip:+61491570156@"+s.box.String(), "none"))
	if got := pbx.expect("SIP/2.0 "); !strings.HasPrefix(got, "SIP/2.0 503") && !strings.HasPrefix(got, "SIP/2.0 403") {
		t.Errorf("got %q", startOf(got))
	}
}

func TestInboundToNobody(t *testing.T) {
	s := newSite(t, withoutPBX)
	itsp := s.itsp()
	itsp.send(itsp.invite("sip:+61255501234@"+s.box.String(), "nobody"))
	itsp.expect("SIP/2.0 404")
	record := s.call("the call is recorded", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Reason != appliance.ReasonUnknownUser || record.Direction != appliance.Inbound {
		t.Errorf("record %+v", record)
	}
}
