package inspector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// proxied is what a hosted exchange that is a proxy makes of a request: another
// Request-URI and one Via more.
func proxied(text, uri string, via string) string {
	head, rest, _ := strings.Cut(text, "\r\n")
	method, _, _ := strings.Cut(head, " ")
	return method + " " + uri + " SIP/2.0\r\nVia: " + via + "\r\n" + rest
}

// returned takes the proxy's own Via off a response.
func returned(text string) string {
	head, rest, _ := strings.Cut(text, "\r\n")
	_, rest, _ = strings.Cut(rest, "\r\n")
	return head + "\r\n" + rest
}

// TestDialogThroughAProxy: two phones behind the box talk by way of a provider that
// is a proxy. Their dialog crosses the box twice, under one Call-ID and the same tags.
func TestDialogThroughAProxy(t *testing.T) {
	s := newSite(t, withoutPBX)
	itsp, one, two := s.itsp(), s.udp("one", s.host(4)), s.udp("two", s.host(5))
	alias := s.registerPhone(two, itsp, "1")
	via := func(n int) string { return fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bK-proxy-%d", itsp.at, n) }
	answered := func(a *agent, request, status string, extra ...string) string {
		a.send(answer(request, status, "two", extra...))
		itsp.raw(returned(itsp.expect("SIP/2.0 " + status[:3])))
		return one.expect("SIP/2.0 " + status[:3])
	}
	one.send(one.invite("sip:line1@"+domain, "twice"))
	itsp.raw(proxied(itsp.expect("INVITE "), alias, via(1)))
	invite := two.expect("INVITE sip:line1@" + two.at.String())
	answered(two, invite, "180 Ringing", "Contact: <sip:line1@"+two.at.String()+">")
	c := testCall{caller: one, callee: two, invite: invite, ok: answered(two, invite, "200 OK", "Contact: <sip:line1@"+two.at.String()+">")}
	target := uriOf(get(c.ok, "Contact"))
	one.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.raw(proxied(itsp.expect("ACK "+target), target, via(2)))
	two.expect("ACK sip:line1@")
	if live := s.in.Live(); len(live) != 2 || live[0].Direction == live[1].Direction {
		t.Errorf("live calls %+v", live)
	}
	// Back from the second phone, through the same proxy.
	two.send(strings.Replace(c.fromCallee("BYE", "1 BYE", "bye"), ";tag=callee", ";tag=two", 1))
	itsp.raw(proxied(itsp.expect("BYE "), uriOf(get(invite, "Contact")), via(3)))
	bye := one.expect("BYE sip:201@" + one.at.String())
	one.send(answer(bye, "200 OK", ""))
	itsp.raw(returned(itsp.expect("SIP/2.0 200")))
	two.expect("SIP/2.0 200")
	s.until("both passes are over", func() bool { return len(s.in.Live()) == 0 })
	for _, direction := range []appliance.Direction{appliance.Outbound, appliance.Inbound} {
		s.call("it has ended", func(c appliance.Call) bool { return c.CallID == "twice" && c.Direction == direction && !c.End.IsZero() })
	}
}
