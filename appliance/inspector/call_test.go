package inspector

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

const inviteText = `
INVITE %U SIP/2.0
Via: $via;branch=z9hG4bK-inv-%I
Max-Forwards: 70
From: "Desk" <sip:201@$me>;tag=caller
To: <%U>
Call-ID: %I
CSeq: 1 INVITE
Contact: <sip:201@$me%T;maddr=203.0.113.9?X=y>
Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK
Supported: 100rel, timer, replaces
p-early-media: supported
X-Routing: +252615550148
P-Asserted-Identity: <sip:+61255500201@sip.itsp.example>
Content-Type: application/sdp` + offer

// invite writes an INVITE by a for a URI, with id as Call-ID.
func (a *agent) invite(uri, id string) string {
	transport := ""
	if a.tcp {
		transport = ";transport=" + strings.ToLower(a.transport())
	}
	return strings.NewReplacer("%U", uri, "%I", id, "%T", transport).Replace(inviteText)
}

const mobile = "sip:+61491570156@sip.itsp.example"

// call is one call under test, seen from both ends.
type testCall struct {
	caller, callee *agent
	invite         string // as the callee got it
	ok             string // the 200 as the caller got it
}

// establish places a call and acknowledges it.
func establish(caller, callee *agent, uri, id string) testCall {
	caller.t.Helper()
	caller.send(caller.invite(uri, id))
	caller.expect("SIP/2.0 100")
	c := testCall{caller: caller, callee: callee}
	c.invite = callee.expect("INVITE ")
	callee.send(answer(c.invite, "180 Ringing", "callee", "Contact: <"+callee.contact()+">"))
	caller.expect("SIP/2.0 180")
	callee.send(answer(c.invite, "200 OK", "callee", "Contact: <"+callee.contact()+">", "Content-Type: application/sdp"+offer))
	c.ok = caller.expect("SIP/2.0 200")
	caller.send(c.fromCaller("ACK", "1 ACK", "ack"))
	callee.expect("ACK ")
	return c
}

func (a *agent) contact() string {
	uri := "sip:line@" + a.at.String()
	if a.tcp {
		uri += ";transport=" + strings.ToLower(a.transport())
	}
	return uri
}

// uriOf returns what stands in angle brackets.
func uriOf(address string) string {
	_, rest, _ := strings.Cut(address, "<")
	uri, _, _ := strings.Cut(rest, ">")
	return uri
}

// fromCaller writes an in-dialog request of the caller.
func (c testCall) fromCaller(method, cseq, branch string, extra ...string) string {
	routes := every(c.ok, "Record-Route")
	lines := []string{method + " " + uriOf(get(c.ok, "Contact")) + " SIP/2.0", "Via: $via;branch=z9hG4bK-" + branch + "-" + get(c.ok, "Call-ID")}
	for n := len(routes) - 1; n >= 0; n-- {
		lines = append(lines, "Route: "+routes[n])
	}
	lines = append(lines, "Max-Forwards: 70", "From: "+get(c.ok, "From"), "To: "+get(c.ok, "To"), "Call-ID: "+get(c.ok, "Call-ID"), "CSeq: "+cseq)
	return strings.Join(append(lines, extra...), "\n")
}

// fromCallee writes an in-dialog request of the callee.
func (c testCall) fromCallee(method, cseq, branch string, extra ...string) string {
	lines := []string{method + " " + uriOf(get(c.invite, "Contact")) + " SIP/2.0", "Via: $via;branch=z9hG4bK-" + branch + "-" + get(c.invite, "Call-ID")}
	for _, route := range every(c.invite, "Record-Route") {
		lines = append(lines, "Route: "+route)
	}
	lines = append(lines, "Max-Forwards: 70", "From: "+get(c.invite, "To")+";tag=callee", "To: "+get(c.invite, "From"), "Call-ID: "+get(c.invite, "Call-ID"), "CSeq: "+cseq)
	return strings.Join(append(lines, extra...), "\n")
}

func (c testCall) hangUp(s *site) {
	s.t.Helper()
	c.caller.send(c.fromCaller("BYE", "2 BYE", "bye"))
	c.callee.send(answer(c.callee.expect("BYE "), "200 OK", ""))
	for {
		if ok := c.caller.expect("SIP/2.0 200"); get(ok, "CSeq") == "2 BYE" {
			return
		}
	}
}

func TestCallIsEmittedFromTheModel(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send("\n" + strings.Replace(pbx.invite("sip:+61%2D491%2D570.156;ext=9;rn=+61491570156@"+s.box.String()+";user=phone;maddr-x=1?X-Evil=1", "model"),
		"Max-Forwards: 70\n", "Max-Forwards: 70\nRoute: <sip:$box;lr>\nRoute: <sip:203.0.113.7;lr>\n", 1))
	got := itsp.expect("INVITE ")
	if want := "INVITE sip:+61491570156@sip.itsp.example SIP/2.0"; startOf(got) != want {
		t.Errorf("request line %q, want %q", startOf(got), want)
	}
	vias := every(got, "Via")
	if len(vias) != 2 || !strings.HasPrefix(vias[0], "SIP/2.0/UDP "+s.box.String()+";branch=z9hG4bK") {
		t.Errorf("Vias %q", vias)
	}
	if want := "SIP/2.0/UDP " + pbx.at.String() + ";rport=5060;branch=z9hG4bK-inv-model;received=" + pbx.at.Addr().String(); vias[1] != want {
		t.Errorf("the caller's Via %q, want %q", vias[1], want)
	}
	for name, want := range map[string]string{
		"Max-Forwards": "69", "Route": "", "X-Routing": "", "Record-Route": "<sip:" + s.box.String() + ";lr>",
		"P-Early-Media":       "supported",
		"P-Asserted-Identity": "<sip:+61255500201@sip.itsp.example>", "Contact": "<sip:201@" + pbx.at.String() + ">",
		"From": `"Desk" <sip:201@` + pbx.at.String() + ">;tag=caller",
	} {
		if got := get(got, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if want := strings.ReplaceAll(strings.TrimPrefix(offer, "\n\n"), "\n", "\r\n"); bodyOf(got) != want {
		t.Errorf("body %q", bodyOf(got))
	}
}

func TestPhonesMayNotSayWhoTheyAre(t *testing.T) {
	s := newSite(t)
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	phone.send(strings.Replace(phone.invite(mobile, "id"), "Supported", "Diversion: <sip:boss@x.example>\nSupported", 1))
	got := itsp.expect("INVITE ")
	for _, name := range []string{"P-Asserted-Identity", "Diversion", "X-Routing"} {
		if get(got, name) != "" {
			t.Errorf("%s of a phone went on: %q", name, get(got, name))
		}
	}
}

func TestCallFromBothSides(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "out")
	live := s.in.Live()
	if len(live) != 1 || live[0].Trunk != "itsp" || live[0].Answer.IsZero() || live[0].Number != "+61491570156" || live[0].Direction != appliance.Outbound {
		t.Errorf("live calls %+v", live)
	}
	c.hangUp(s)
	done := s.call("the call has ended", func(c appliance.Call) bool { return c.CallID == "out" && !c.End.IsZero() })
	if done.Verdict != appliance.Allow || done.Reason != appliance.ReasonDestinationAllowed || done.Status != 200 || done.Answer.IsZero() {
		t.Errorf("record %+v", done)
	}

	c = establish(itsp, pbx, "sip:+61255501234@"+s.box.String(), "in")
	if want := "INVITE sip:+61255501234@" + s.pbxAt.String() + " SIP/2.0"; startOf(c.invite) != want {
		t.Errorf("request line %q, want %q", startOf(c.invite), want)
	}
	pbx.send(c.fromCallee("BYE", "7 BYE", "bye"))
	bye := itsp.expect("BYE ")
	if want := "BYE sip:201@" + itsp.at.String() + " SIP/2.0"; startOf(bye) != want {
		t.Errorf("request line %q, want %q", startOf(bye), want)
	}
	itsp.send(answer(bye, "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	done = s.call("the call has ended", func(c appliance.Call) bool { return c.CallID == "in" && !c.End.IsZero() })
	if done.Direction != appliance.Inbound || done.Reason != appliance.ReasonInbound {
		t.Errorf("record %+v", done)
	}
	if live := s.in.Live(); len(live) != 0 {
		t.Errorf("live calls after the end: %+v", live)
	}
}

func TestCrossingByes(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "cross")
	pbx.send(c.fromCaller("BYE", "2 BYE", "b1"))
	itsp.send(c.fromCallee("BYE", "9 BYE", "b2"))
	itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	itsp.expect("SIP/2.0 200")
	ended := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Call != nil && !e.Call.End.IsZero() {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("the call ended %d times", ended)
	}
}

// TestChallengedBye: a trunk may challenge a BYE, which is then repeated inside
// the same dialog.
func TestChallengedBye(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "chal")
	pbx.send(c.fromCaller("BYE", "2 BYE", "b1"))
	itsp.send(answer(itsp.expect("BYE "), "407 Proxy Authentication Required", "", `Proxy-Authenticate: Digest realm="x",nonce="1"`))
	if got := get(pbx.expect("SIP/2.0 407"), "Proxy-Authenticate"); got != `Digest realm="x",nonce="1"` {
		t.Errorf("challenge %q", got)
	}
	if len(s.in.Live()) != 1 {
		t.Error("the call ended with a challenged BYE")
	}
	pbx.send(c.fromCaller("BYE", "3 BYE", "b2", `Proxy-Authorization: Digest username="a",realm="x",nonce="1",response="2"`))
	bye := itsp.expect("BYE ")
	if got := get(bye, "Proxy-Authorization"); got != `Digest username="a",realm="x",nonce="1",response="2"` {
		t.Errorf("credentials %q", got)
	}
	itsp.send(answer(bye, "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
}

func TestCallOverTCP(t *testing.T) {
	s := newSite(t, overTCP)
	listener := s.listen(s.itspAt)
	phone := s.dial("phone", s.host(4).Addr())
	phone.send(phone.invite(mobile, "tcp"))
	itsp := s.accept("itsp", listener)
	phone.expect("SIP/2.0 100")
	c := testCall{caller: phone, callee: itsp, invite: itsp.expect("INVITE ")}
	if got := get(c.invite, "Via"); !strings.HasPrefix(got, "SIP/2.0/TCP "+s.box.String()+";branch=") {
		t.Errorf("Via %q", got)
	}
	if got := every(c.invite, "Record-Route"); len(got) != 1 || got[0] != "<sip:"+s.box.String()+";transport=tcp;lr>" {
		t.Errorf("Record-Route %q", got)
	}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <sip:line@"+s.itspAt.String()+";transport=tcp>"))
	c.ok = phone.expect("SIP/2.0 200")
	phone.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	c.hangUp(s)
}

func TestCallAcrossTransports(t *testing.T) {
	s := newSite(t, overTCP)
	listener := s.listen(s.itspAt)
	pbx := s.pbx()
	pbx.send(pbx.invite(mobile, "mixed"))
	itsp := s.accept("itsp", listener)
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	got := every(c.invite, "Record-Route")
	if len(got) != 2 || got[0] != "<sip:"+s.box.String()+";transport=tcp;lr>" || got[1] != "<sip:"+s.box.String()+";lr>" {
		t.Errorf("Record-Route %q, want one for each transport", got)
	}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <sip:line@"+s.itspAt.String()+";transport=tcp>"))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	itsp.expect("SIP/2.0 200")
}

func TestCallFromIPv6ToIPv4(t *testing.T) {
	port := freePort(t)
	v6 := netip.AddrPortFrom(netip.IPv6Loopback(), port)
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.SIP.Listen = append(set.SIP.Listen, v6)
		set.SIP.PBX = settings.Peer{}
		set.Network.LAN = append(set.Network.LAN, netip.PrefixFrom(netip.IPv6Loopback(), 128))
	})
	itsp := s.itsp()
	phone := s.udp("phone", netip.AddrPortFrom(netip.IPv6Loopback(), 0))
	phone.box = v6
	c := establish(phone, itsp, mobile, "six")
	got := every(c.invite, "Record-Route")
	if len(got) != 2 || got[0] != "<sip:"+s.box.String()+";lr>" || got[1] != "<sip:"+v6.String()+";lr>" {
		t.Errorf("Record-Route %q, want one for each family", got)
	}
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	phone.send(answer(phone.expect("BYE "), "200 OK", ""))
	itsp.expect("SIP/2.0 200")
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("find a port: %v", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// TestWildcardAnswersFromTheAddressAsked: a socket on 0.0.0.0 has every address
// of the box, and a phone takes an answer only from the one that it asked.
func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	port := freePort(t)
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.SIP.Listen = []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), port), netip.AddrPortFrom(netip.IPv6Unspecified(), port),
		}
	})
	asked := netip.AddrPortFrom(s.host(77).Addr(), port)
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(s.pbxAt), net.UDPAddrFromAddrPort(asked))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := s.agent("pbx", s.pbxAt).wire("OPTIONS sip:x.example SIP/2.0\nVia: $via;branch=z9hG4bK-w\nFrom: <sip:a@b>;tag=1\nTo: <sip:b@b>\nCall-ID: w\nCSeq: 1 OPTIONS\n")
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	// A connected socket takes datagrams from that one address only.
	buf := make([]byte, 2048)
	n, err := conn.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), "SIP/2.0 200") {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
	itsp := s.itsp()
	pbx := s.agent("pbx", s.pbxAt)
	if _, err := conn.Write([]byte(pbx.wire(pbx.invite(mobile, "wild")))); err != nil {
		t.Fatal(err)
	}
	got := every(itsp.expect("INVITE "), "Record-Route")
	if len(got) != 2 || got[1] != "<sip:"+asked.String()+";lr>" || strings.Contains(got[0], "0.0.0.0") {
		t.Errorf("Record-Route %q, want addresses that each side can reach", got)
	}
}

// TestRepeatsAreAbsorbed: a repeated request is answered from its transaction
// and never becomes a second one.
func TestRepeatsAreAbsorbed(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	text := pbx.wire(pbx.invite(mobile, "twice"))
	pbx.raw(text)
	pbx.raw(text)
	first := <-pbx.inbox
	if second := <-pbx.inbox; first != second || !strings.HasPrefix(first, "SIP/2.0 100") {
		t.Errorf("answers %q and %q, want the same 100 twice", startOf(first), startOf(second))
	}
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	bye := c.fromCaller("BYE", "2 BYE", "bye")
	pbx.send(bye)
	itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
	done := pbx.expect("SIP/2.0 200")
	pbx.send(bye)
	if got := <-pbx.inbox; got != done {
		t.Errorf("a repeated BYE got\n%s", got)
	}
	itsp.nothing()
	if got := s.tally(appliance.ReasonDestinationAllowed); got != 1 {
		t.Errorf("the call was counted %d times", got)
	}
}

// TestAnswerWithoutRecordRoute: a trunk that forgets the route can't lead the
// call around the box.
func TestAnswerWithoutRecordRoute(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "noroute"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	bare := strings.ReplaceAll(c.invite, "Record-Route: ", "X-Gone: ")
	itsp.send(answer(bare, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	c.ok = pbx.expect("SIP/2.0 200")
	if got := every(c.ok, "Record-Route"); len(got) != 1 || got[0] != "<sip:"+s.box.String()+";lr>" {
		t.Errorf("Record-Route %q", got)
	}
	c.hangUp(s)
}

// TestRouteSetBeyondTheBox: proxies of the trunk that record a route get it back
// in order, and nothing else of what the caller puts into Route.
func TestRouteSetBeyondTheBox(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "routes"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	ok := answer(c.invite, "200 OK", "callee", "Contact: <sip:gw@192.0.2.77>")
	ok = strings.Replace(ok, "Record-Route: ", "Record-Route: <sip:192.0.2.2;lr>\nRecord-Route: <sip:192.0.2.1;lr>\nRecord-Route: ", 1)
	itsp.send(ok)
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack", "Route: <sip:203.0.113.7;lr>"))
	ack := itsp.expect("ACK sip:gw@192.0.2.77 ")
	if got := every(ack, "Route"); strings.Join(got, " ") != "<sip:192.0.2.1;lr> <sip:192.0.2.2;lr>" {
		t.Errorf("Route %q", got)
	}
	c.hangUp(s)
}

// TestAnswerToThePortInVia: without rport a response goes to the port that the
// Via names, at the address that the request came from (RFC 3261 section 18.2.2).
func TestAnswerToThePortInVia(t *testing.T) {
	s := newSite(t)
	pbx := s.pbx()
	sender := s.udp("sender", netip.AddrPortFrom(s.pbxAt.Addr(), 0))
	sender.send(strings.NewReplacer("$via", "SIP/2.0/UDP pbx.example:5060").Replace(
		"OPTIONS sip:$box SIP/2.0\nVia: $via;branch=z9hG4bK-port\nFrom: <sip:a@b>;tag=1\nTo: <sip:b@b>\nCall-ID: port\nCSeq: 1 OPTIONS\n"))
	got := pbx.expect("SIP/2.0 200")
	if want := "SIP/2.0/UDP pbx.example:5060;branch=z9hG4bK-port;received=" + s.pbxAt.Addr().String(); get(got, "Via") != want {
		t.Errorf("Via %q, want %q", get(got, "Via"), want)
	}
}
