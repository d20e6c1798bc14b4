package inspector

import (
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// intercepts hands the box what a telephone sends to another host, and answers it in
// that host's name.
func (s *site) intercepts(phone *agent, host byte) func(text string) {
	own := s.in.door.sockets[0]
	socket := &udpSocket{bound: own.bound, fd: own.fd, ear: own.ear, transparent: true}
	from := flow{transport: settings.UDP, local: s.host(host), remote: phone.at, socket: socket}
	return func(text string) { s.in.receive(from, []byte(phone.wire(text))) }
}

// TestInterceptedHelpGoesOn: the host that a telephone has chosen is the first that
// is asked, and for a call for help alone not the last.
func TestInterceptedHelpGoesOn(t *testing.T) {
	const refused = "503 Service Unavailable"
	help := "sip:000@" + domain
	two := func(t *testing.T, setups ...setup) (s *site, phone, first, second *agent) {
		s = newSite(t, append([]setup{withFallback(), withoutPBX, func(_ *site, set *settings.Settings, _ *limits) { set.Trunks[0].Fallback = nil }}, setups...)...)
		return s, s.udp("phone", s.host(4)), s.itsp(), s.udp("second", s.host(9))
	}
	t.Run("to another trunk", func(t *testing.T) {
		s, phone, first, second := two(t)
		send := s.intercepts(phone, 3)
		send(phone.invite(help, "help"))
		first.send(answer(first.expect("INVITE "+help+" "), refused, "x"))
		c := testCall{caller: phone, callee: second, invite: second.expect("INVITE sip:000@second.example ")}
		second.send(answer(c.invite, "200 OK", "psap", "Contact: <"+second.contact()+">"))
		c.ok = phone.expect("SIP/2.0 200")
		send(c.fromCaller("ACK", "1 ACK", "ack"))
		second.expect("ACK ")
		if call := s.call("it is answered", func(c appliance.Call) bool { return c.Status == 200 }); call.Trunk != "second" {
			t.Errorf("the record says that %q carried it", call.Trunk)
		}
		send(c.fromCaller("BYE", "2 BYE", "bye"))
		second.send(answer(second.expect("BYE "), "200 OK", ""))
		phone.expect("SIP/2.0 200")
	})
	t.Run("from a silent host, by its literal", func(t *testing.T) {
		s, phone, first, second := two(t, impatient)
		s.intercepts(phone, 3)(phone.invite("sip:000@"+s.itspAt.String(), "silent"))
		first.expect("INVITE sip:000@" + s.itspAt.String() + " ")
		s.until("it is left", func() bool { s.in.sweep(s.now.advance(0)); return len(second.inbox) > 0 })
		second.expect("INVITE sip:000@second.example ")
	})
	t.Run("to the other targets, each once", func(t *testing.T) {
		s, phone, _, second := two(t, pool(settings.UDP, "10 10/0", "8 20/0"))
		one, other := s.udp("one", s.host(10)), s.udp("other", s.host(8))
		s.intercepts(phone, 8)(phone.invite(help, "targets"))
		for _, next := range []*agent{other, one, second} {
			next.send(answer(next.expect("INVITE "), refused, "x"))
			next.expect("ACK ")
		}
		phone.expect("SIP/2.0 503")
		other.nothing()
	})
	t.Run("a text too", func(t *testing.T) {
		s, phone, first, second := two(t)
		text := replaced(t, phone.invite(help, "text"), []string{"INVITE " + help, "MESSAGE " + help, "1 INVITE", "1 MESSAGE"})
		s.intercepts(phone, 3)(text)
		first.send(answer(first.expect("MESSAGE "), refused, "x"))
		second.expect("MESSAGE sip:000@second.example ")
	})
	t.Run("and no other call", func(t *testing.T) {
		s, phone, first, second := two(t)
		s.intercepts(phone, 3)(phone.invite(mobile, "ordinary"))
		first.send(answer(first.expect("INVITE "), refused, "x"))
		phone.expect("SIP/2.0 503")
		second.nothing()
	})
}
