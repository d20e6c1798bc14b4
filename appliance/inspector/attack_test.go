package inspector

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// resourceList is a URI list (RFC 4826) beside a session description: a list
// service would call everybody on it (RFC 5366).
const resourceList = "\n\n--b\nContent-Type: application/sdp\n\nv=0\n--b\nContent-Type: application/resource-lists+xml\n\n" +
	"<entry uri=\"sip:+252615550148@sip.itsp.example\"/>\n--b--\n"

// TestEmergencyCarriesNoOtherCallee: an emergency call is never refused for what
// it carries, but nothing that could name another callee goes with it.
func TestEmergencyCarriesNoOtherCallee(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for n, method := range []string{"INVITE", "MESSAGE"} {
		text := pbx.invite("sip:000@sip.itsp.example", "list"+method)
		text, _, _ = strings.Cut(text, "Content-Type: ")
		text = strings.ReplaceAll(text, "INVITE", method)
		pbx.send(text + "Require: recipient-list-invite, 100rel\nProxy-Require: x\nReplaces: a;to-tag=b;from-tag=c\n" +
			"Content-Type: multipart/mixed;boundary=b" + resourceList)
		got := itsp.expect(method + " sip:000@sip.itsp.example ")
		if strings.Contains(got, "252615550148") && strings.Contains(bodyOf(got), "252615550148") {
			t.Errorf("case %d: a list of callees went on:\n%s", n, got)
		}
		if strings.Contains(got, "recipient-list") || get(got, "Proxy-Require") != "" || get(got, "Replaces") != "" {
			t.Errorf("case %d: an extension went on:\n%s", n, got)
		}
		if get(got, "Require") != "100rel" {
			t.Errorf("case %d: Require %q", n, get(got, "Require"))
		}
		itsp.send(answer(got, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
		pbx.expect("SIP/2.0 200")
	}
}

// TestEmergencyKeepsLocation: who calls for help is found by the location that
// the call carries (RFC 6442).
func TestEmergencyKeepsLocation(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	text, _, _ := strings.Cut(pbx.invite("sip:000@sip.itsp.example", "location"), "Content-Type: ")
	pbx.send(text + "Content-Type: multipart/mixed;boundary=b" +
		strings.ReplaceAll(resourceList, "application/resource-lists+xml", "application/pidf+xml"))
	if got := itsp.expect("INVITE "); !strings.Contains(bodyOf(got), "application/pidf+xml") {
		t.Errorf("the location was lost:\n%s", got)
	}
}

// TestOnlyTheSessionGoesOn: a list of callees beside a session description ends
// here, whichever method carries it.
func TestOnlyTheSessionGoesOn(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for _, method := range []string{"MESSAGE", "SUBSCRIBE"} {
		text, _, _ := strings.Cut(pbx.invite(mobile, "parts"+method), "Content-Type: ")
		pbx.send(strings.ReplaceAll(text, "INVITE", method) + "Event: presence\nContent-Type: multipart/mixed;boundary=b" + resourceList)
		if got := itsp.expect(method + " "); strings.Contains(bodyOf(got), "252615550148") {
			t.Errorf("%s: the list went on:\n%s", method, got)
		}
	}
}

// TestEmergencyOpensNothingElse: the exemption ends with the INVITE.
func TestEmergencyOpensNothingElse(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, "sip:000@sip.itsp.example", "sos")
	pbx.send(strings.Replace(c.fromCaller("INVITE", "2 INVITE", "re", "Contact: <sip:201@$me>"),
		uriOf(get(c.ok, "Contact")), "sip:+252615550148@sip.itsp.example", 1))
	pbx.expect("SIP/2.0 481")
	pbx.send(c.fromCaller("REFER", "3 REFER", "refer", "Contact: <sip:201@$me>", "Refer-To: <sip:+252615550148@sip.itsp.example>"))
	pbx.expect("SIP/2.0 403")
	pbx.send(c.fromCaller("UPDATE", "4 UPDATE", "update", "Contact: <sip:+252615550148@203.0.113.9>"))
	pbx.expect("SIP/2.0 403")
	// A trunk's call to an emergency number is a call like any other.
	itsp.send(strings.Replace(itsp.invite("sip:000@"+s.box.String(), "inward"), "Supported: ", "Require: x-unknown\nSupported: ", 1))
	itsp.expect("SIP/2.0 420")
	itsp.nothing()
	pbx.nothing()
}

// TestContactOfTheBoxMakesNoLoop: a Contact that names the box itself is reached
// where its sender spoke from.
func TestContactOfTheBoxMakesNoLoop(t *testing.T) {
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.Network.LAN = []netip.Prefix{netip.PrefixFrom(s.box.Addr(), 24).Masked()}
		set.SIP.PBX = settings.Peer{}
	})
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	phone.send(strings.Replace(registerAs("1"), "<sip:line1@$me;ob>", "<sip:+61491570156@$box>", 1))
	request := itsp.expect("REGISTER ")
	itsp.send(answer(request, "200 OK", "t", "Contact: <"+aliasIn(request)+">;expires=120"))
	phone.expect("SIP/2.0 200")
	itsp.send(itsp.invite(aliasIn(request), "bounce"))
	phone.expect("INVITE ")
	itsp.nothing("SIP/2.0 100")

	phone.send(strings.Replace(phone.invite(mobile, "nat"), "Contact: <sip:201@$me", "Contact: <sip:201@$box", 1))
	c := testCall{caller: phone, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	phone.expect("SIP/2.0 200")
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	phone.expect("BYE ")
}

// TestTargetRewrittenByNAT: a provider that sees a private Contact writes the
// address that the packet came from in its place, and so does an Asterisk with
// rewrite_contact. The user, tags and sender still tell whose dialog it is.
func TestTargetRewrittenByNAT(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "far-end")
	for n, host := range []string{s.box.String(), "198.51.100.7:31022", s.pbxAt.Addr().String()} {
		cseq := fmt.Sprintf("%d INFO", n+1)
		itsp.send(strings.Replace(c.fromCallee("INFO", cseq, cseq[:1]), uriOf(get(c.invite, "Contact")), "sip:201@"+host, 1))
		pbx.send(answer(pbx.expect("INFO "+uriOf(get(c.invite, "Contact"))), "200 OK", ""))
		itsp.expect("SIP/2.0 200")
	}
	pbx.send(strings.Replace(c.fromCaller("BYE", "2 BYE", "own"), uriOf(get(c.ok, "Contact")), "sip:line@"+s.box.String(), 1))
	itsp.expect("BYE " + uriOf(get(c.ok, "Contact")))
}

// TestNextHopIsTheRoute: what a trunk's proxy recorded is the next hop, not the
// gateway behind it, although both are the trunk's (RFC 3261 section 16.6 step 6).
func TestNextHopIsTheRoute(t *testing.T) {
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.Trunks[0].Networks = []netip.Prefix{netip.PrefixFrom(s.host(8).Addr(), 30)}
	})
	pbx, itsp, gateway := s.pbx(), s.itsp(), s.udp("gateway", s.host(8))
	pbx.send(pbx.invite(mobile, "proxied"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	ok := answer(c.invite, "200 OK", "callee", "Contact: <sip:gw@"+gateway.at.String()+">")
	itsp.send(strings.Replace(ok, "Record-Route: ", "Record-Route: <sip:"+s.itspAt.String()+";lr>\nRecord-Route: ", 1))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK sip:gw@")
	pbx.send(c.fromCaller("BYE", "2 BYE", "bye"))
	itsp.expect("BYE sip:gw@")
	gateway.nothing()
}

// TestUnsolicitedNotify: providers tell registered phones of waiting messages
// without a subscription, and phones keep their way through NAT open.
func TestUnsolicitedNotify(t *testing.T) {
	s := newSite(t, withoutPBX)
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	alias := s.registerPhone(phone, itsp, "1")
	notify := func(a *agent, uri, event, branch string) {
		a.send("NOTIFY " + uri + " SIP/2.0\nVia: $via;branch=z9hG4bK-" + branch + "\nMax-Forwards: 70\nFrom: <sip:vm@" + domain + ">;tag=" + branch +
			"\nTo: <" + uri + ">\nCall-ID: " + branch + "\nCSeq: 1 NOTIFY\nEvent: " + event + "\nContact: <sip:vm@$me>\n" +
			"Content-Type: application/simple-message-summary\n\nMessages-Waiting: yes\n")
	}
	notify(itsp, alias, "message-summary", "mwi")
	got := phone.expect("NOTIFY sip:line1@" + phone.at.String())
	if bodyOf(got) != "Messages-Waiting: yes\r\n" || get(got, "Event") != "message-summary" {
		t.Errorf("got\n%s", got)
	}
	phone.send(answer(got, "200 OK", "p"))
	itsp.expect("SIP/2.0 200")
	// Nothing but a lamp: a phone would fetch its settings anew, or restart.
	notify(itsp, alias, "check-sync", "sync")
	itsp.expect("SIP/2.0 489")
	notify(itsp, "sip:nobody@"+s.box.String(), "message-summary", "nobody")
	itsp.expect("SIP/2.0 404")
	notify(phone, "sip:line1@"+s.itspAt.String(), "message-summary", "outward")
	phone.expect("SIP/2.0 489")
	phone.nothing()
	refused := s.tally(appliance.ReasonUnknownDialog)
	for n, a := range []*agent{phone, itsp} {
		a.send(fmt.Sprintf("NOTIFY sip:$box SIP/2.0\nVia: $via;branch=z9hG4bK-ka%d\nFrom: <sip:a@b>;tag=1\nTo: <sip:b@b>\nCall-ID: ka%d\nCSeq: 1 NOTIFY\nEvent: keep-alive\n", n, n))
		if got := a.expect("SIP/2.0 200"); get(got, "CSeq") != "1 NOTIFY" {
			t.Errorf("got\n%s", got)
		}
	}
	if s.tally(appliance.ReasonUnknownDialog) != refused {
		t.Error("a keepalive was counted as refused")
	}
}

// TestRegistrarWithoutContact: some registrars accept and list no Contact.
func TestRegistrarWithoutContact(t *testing.T) {
	s := newSite(t, withoutPBX)
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	phone.send(registerAs("1"))
	request := itsp.expect("REGISTER ")
	itsp.send(answer(request, "200 OK", "t", "Expires: 90"))
	if got := get(phone.expect("SIP/2.0 200"), "Contact"); got != "<sip:line1@"+phone.at.String()+";ob>;expires=90" {
		t.Errorf("Contact %q", got)
	}
	itsp.send(itsp.invite(aliasIn(request), "in"))
	phone.expect("INVITE ")
}

// TestNewestContactsAreKept: a phone that reconnects from another port each time
// must not lock itself out.
func TestNewestContactsAreKept(t *testing.T) {
	s := newSite(t, withoutPBX)
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	var alias string
	for n := range 13 {
		text := strings.ReplaceAll(registerAs(fmt.Sprint(n)), "line1@$me", fmt.Sprintf("line1@%s:%d", phone.at.Addr(), 6000+n))
		phone.send(text)
		request := itsp.expect("REGISTER ")
		alias = aliasIn(request)
		itsp.send(answer(request, "200 OK", "t", "Contact: <"+alias+">;expires=120"))
		phone.expect("SIP/2.0 200")
	}
	if got := s.in.bindings.size(); got != defaultLimits().contacts {
		t.Errorf("%d bindings, want %d", got, defaultLimits().contacts)
	}
	last := s.udp("last", netip.AddrPortFrom(phone.at.Addr(), 6012))
	itsp.send(itsp.invite(alias, "in"))
	last.expect("INVITE ")
}

// TestAliasAfterRestart: until the PBX registers again, the calls to its alias go
// to it under the number that was called.
func TestAliasAfterRestart(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	text := itsp.invite("sip:rf-aaaaaaaaaaaaaaaa@"+s.box.String(), "lost")
	itsp.send(strings.Replace(text, "To: <sip:rf-aaaaaaaaaaaaaaaa@", "To: <sip:+61255501234@", 1))
	pbx.expect("INVITE sip:+61255501234@" + s.pbxAt.String())
}

// TestFinishedTransactionsAreBounded: over TCP a transaction ends at once, so
// that the table alone bounds nothing.
func TestFinishedTransactionsAreBounded(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.transactions, bounds.reserve = 40, 1 })
	phone := s.dial("phone", s.host(4).Addr())
	udp := s.udp("udp", s.host(5))
	for range 200 {
		phone.ping()
	}
	for range 30 {
		udp.ping()
	}
	s.in.txs.mu.Lock()
	defer s.in.txs.mu.Unlock()
	if got := s.in.txs.finished.len(); got > 40 {
		t.Errorf("%d finished transactions are kept, want 40 at most", got)
	}
}

// TestDialableInEscapes: escapes hide no number from the judge.
func TestDialableInEscapes(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for n, user := range []string{"%2B252615550148", "0011%2E252615550148", "0011%2D252%2d615550148", "%30%30%31%31252615550148"} {
		text, _, _ := strings.Cut(pbx.invite("sip:"+user+"@sip.itsp.example", fmt.Sprintf("escaped%d", n)), "Content-Type: ")
		pbx.send(strings.ReplaceAll(text, "INVITE", "SUBSCRIBE") + "Event: presence\n")
		pbx.expect("SIP/2.0 403")
	}
	itsp.nothing()
}

// TestOddButHonest: what older devices send.
func TestOddButHonest(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	// A display name in Latin-1.
	pbx.send(strings.Replace(pbx.invite(mobile, "latin"), `"Desk"`, "\"Jos\xe9\"", 1))
	got := itsp.expect("INVITE ")
	if from := get(got, "From"); !strings.HasPrefix(from, `"José"`) {
		t.Errorf("From %s", from)
	}
	// Nothing that Latin-1 hides gets into an address.
	pbx.send(strings.Replace(pbx.invite("sip:\xb2\xb5\xb2@sip.itsp.example", "digits"), `"Desk"`, "\"\x8a\xc0\x8a\"", 1))
	pbx.expect("SIP/2.0 400")
	itsp.nothing()
}

// TestAnswerWithoutContact: whoever forgets the Contact is called back where the
// INVITE went.
func TestAnswerWithoutContact(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "bare"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "200 OK", "callee"))
	c.ok = strings.Replace(pbx.expect("SIP/2.0 200"), "Record-Route: ", "Contact: <"+mobile+">\r\nRecord-Route: ", 1)
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK " + mobile + " ")
	pbx.send(c.fromCaller("BYE", "2 BYE", "bye"))
	itsp.expect("BYE " + mobile + " ")
	// The same for a call for help, which is not refused for that.
	text := pbx.invite("sip:000@sip.itsp.example", "help")
	pbx.send(text[:strings.Index(text, "Contact: ")] + text[strings.Index(text, "Allow: "):])
	c = testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE sip:000@")}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	pbx.expect("SIP/2.0 200")
	c.invite = strings.Replace(c.invite, "Record-Route: ", "Contact: <sip:201@"+pbx.at.String()+">\r\nRecord-Route: ", 1)
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	pbx.expect("BYE sip:201@" + pbx.at.String())
}

// TestBranchWithoutCookie: agents of RFC 2543 use one branch for all that they
// send, or none.
func TestBranchWithoutCookie(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for n, branch := range []string{";branch=1", ";branch=1", "", ""} {
		id := fmt.Sprintf("old%d", n)
		old := func(text string) string { return strings.Replace(text, ";branch=z9hG4bK-inv-"+id, branch, 1) }
		pbx.send(old(pbx.invite(mobile, id)))
		invite := itsp.expect("INVITE ")
		itsp.send(answer(invite, "180 Ringing", "callee"))
		pbx.expect("SIP/2.0 180")
		pbx.send(old(cancelOf(pbx, mobile, id)))
		itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "callee"))
		itsp.send(answer(invite, "487 Request Terminated", "callee"))
		pbx.expect("SIP/2.0 487")
	}
}

// TestFatMessagesAreBounded: the bytes that transactions, dialogs and connections
// keep are bounded, not only their number.
func TestFatMessagesAreBounded(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.bytes = 200_000 })
	pbx, itsp := s.pbx(), s.itsp()
	fat := strings.Repeat("a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host\n", 900)
	for n := range 6 {
		pbx.send(pbx.invite(mobile, fmt.Sprintf("fat%d", n)) + fat)
		pbx.ping()
	}
	pbx.expect("SIP/2.0 503")
	if s.tally(appliance.ReasonOverload) == 0 {
		t.Error("the overload was not counted")
	}
	pbx.send(pbx.invite("sip:000@sip.itsp.example", "help"))
	itsp.expect("INVITE sip:000@")
	pbx.send(strings.Replace(pbx.invite(mobile, "routes"), "Allow: ", strings.Repeat("Record-Route: <sip:192.0.2.1;lr>\n", 300)+"Allow: ", 1))
	pbx.expect("SIP/2.0 513")
	pbx.send(strings.Replace(registerAs("1"), "sip:line1@$me", "sip:"+strings.Repeat("line", 3000)+"@$me", 1))
	pbx.expect("SIP/2.0 513")
}

// TestWeightIsGivenBack: what is over weighs nothing.
func TestWeightIsGivenBack(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	establish(pbx, itsp, mobile, "weighed").hangUp(s)
	s.until("every transaction has ended", func() bool {
		s.in.txs.mu.Lock()
		defer s.in.txs.mu.Unlock()
		return len(s.in.txs.servers)+len(s.in.txs.clients) == 0
	})
	s.in.txs.mu.Lock()
	defer s.in.txs.mu.Unlock()
	if s.in.txs.weight != 0 {
		t.Errorf("%d bytes are left over", s.in.txs.weight)
	}
}

// TestSlowReaderIsBounded: a neighbour that does not read makes the box keep a
// bounded number of bytes for it.
func TestSlowReaderIsBounded(t *testing.T) {
	bounds := defaultLimits()
	bounds.queued = 1000
	c := newConnection(nil, bounds, bounds.queue)
	for range 3 {
		if err := c.send(make([]byte, 333), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.send(make([]byte, 2), nil); err == nil || !c.closed() {
		t.Errorf("got %v, want the connection given up", err)
	}
}
