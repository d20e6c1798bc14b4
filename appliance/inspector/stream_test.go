package inspector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance/settings"
)

// TestKeepalive answers a double CRLF with one, over TCP and between messages.
func TestKeepalive(t *testing.T) {
	s := newSite(t)
	phone := s.dial("phone", s.host(4).Addr())
	phone.raw("\r\n\r\n")
	phone.expect("\r\n")
	phone.raw(phone.wire(phone.invite("sip:0011252615550148@"+domain, "after")) + "\r\n")
	phone.expect("SIP/2.0 403")
	phone.nothing("SIP/2.0 100")
}

// TestAliasOverTCP sends to the PBX over the connection that it opened, where it
// asks for that (RFC 5923), and to its own port where not.
func TestAliasOverTCP(t *testing.T) {
	overTCP := func(_ *site, set *settings.Settings, _ *limits) { set.SIP.PBX.Transport = settings.TCP }
	ping := func(s *site, alias string) *agent {
		pbx := s.dial("pbx", s.pbxAt.Addr())
		pbx.send(strings.NewReplacer("SIP/2.0/TLS", "SIP/2.0/TCP", "$sentby", s.pbxAt.String()+alias).Replace(optionsText))
		pbx.expect("SIP/2.0 200")
		return pbx
	}
	t.Run("asked for", func(t *testing.T) {
		s := newSite(t, overTCP)
		pbx, itsp := ping(s, ";alias"), s.itsp()
		itsp.send(itsp.invite("sip:300@"+s.box.String(), "in"))
		pbx.expect("INVITE sip:300@")
	})
	t.Run("not asked for", func(t *testing.T) {
		s := newSite(t, overTCP)
		listener := s.listen(s.pbxAt)
		ping(s, "")
		itsp := s.itsp()
		itsp.send(itsp.invite("sip:300@"+s.box.String(), "in"))
		s.accept("pbx", listener).expect("INVITE sip:300@")
	})
	t.Run("for another's address", func(t *testing.T) {
		s := newSite(t, overTCP)
		listener := s.listen(s.pbxAt)
		phone, itsp := s.dial("phone", s.host(4).Addr()), s.itsp()
		phone.send(strings.NewReplacer("SIP/2.0/TLS", "SIP/2.0/TCP", "$sentby", s.pbxAt.String()+";alias").Replace(optionsText))
		phone.expect("SIP/2.0 200")
		itsp.send(itsp.invite("sip:300@"+s.box.String(), "in"))
		s.accept("pbx", listener).expect("INVITE sip:300@")
	})
}

// TestResponseFindsItsWay: where the connection of a request is gone, its response
// goes to the port of the Via (RFC 3261 section 18.2.2).
func TestResponseFindsItsWay(t *testing.T) {
	s := newSite(t)
	listener, itsp := s.listen(s.pbxAt), s.itsp()
	pbx := s.dial("pbx", s.pbxAt.Addr())
	pbx.at = s.pbxAt // what its Via says
	pbx.send(pbx.invite(mobile, "gone"))
	invite := itsp.expect("INVITE ")
	pbx.stream.Close()
	s.until("the connection has ended", func() bool {
		s.in.door.mu.Lock()
		defer s.in.door.mu.Unlock()
		return len(s.in.door.streams) == 0
	})
	itsp.send(answer(invite, "486 Busy Here", "busy"))
	s.accept("pbx", listener).expect("SIP/2.0 486")
}

// TestPendingIsBounded: a phone has so many requests under way on its connection,
// and no more; the PBX speaks for many, and a call for help is none too many.
func TestPendingIsBounded(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.pending = 2 })
	itsp := s.itsp()
	phone := s.dial("phone", s.host(4).Addr())
	phone.send(phone.invite(mobile, "one"))
	one := itsp.expect("INVITE ")
	phone.send(phone.invite(mobile, "two"))
	itsp.expect("INVITE ")
	phone.send(phone.invite(mobile, "three"))
	if got := phone.expect("SIP/2.0 503"); get(got, "Call-ID") != "three" || get(got, "Retry-After") == "" {
		t.Errorf("got\n%s", got)
	}
	phone.send(phone.invite("sip:000@"+domain, "help"))
	help := itsp.expect("INVITE sip:000@")
	for _, invite := range []string{one, help} {
		itsp.send(answer(invite, "486 Busy Here", "busy"))
		phone.expect("SIP/2.0 486")
	}
	phone.send(phone.invite(mobile, "four"))
	itsp.expect("INVITE ")
	pbx := s.dial("pbx", s.pbxAt.Addr())
	for n := range 5 {
		pbx.send(pbx.invite(mobile, fmt.Sprintf("pbx%d", n)))
		itsp.expect("INVITE ")
	}
}

// TestCutFreesItsPlace: a call that is cut while it rings is under way no more.
func TestCutFreesItsPlace(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.pending = 1 })
	itsp, phone := s.itsp(), s.dial("phone", s.host(4).Addr())
	phone.send(phone.invite(mobile, "cut"))
	itsp.send(answer(itsp.expect("INVITE "), "180 Ringing", "callee"))
	phone.expect("SIP/2.0 180")
	s.cutting()
	phone.expect("SIP/2.0 403")
	phone.send(phone.invite(mobile, "next"))
	if invite := itsp.expect("INVITE "); get(invite, "Call-ID") != "next" {
		t.Errorf("got\n%s", invite)
	}
}

// TestNobodyWaitsOnAConnectionForEver: who has had no answer in time waits for none,
// though the connection stays.
func TestNobodyWaitsOnAConnectionForEver(t *testing.T) {
	s := newSite(t, overTCP, hasty)
	listener, pbx := s.listen(s.itspAt), s.pbx()
	pbx.send(pbx.invite(mobile, "silent"))
	itsp := s.accept("itsp", listener)
	itsp.expect("INVITE ")
	s.until("it is waited for", func() bool { return s.waiting() == 1 })
	pbx.expect("SIP/2.0 408")
	s.until("nobody waits", func() bool { return s.waiting() == 0 })
	pbx.send(pbx.invite(mobile, "answered"))
	itsp.send(answer(itsp.expect("INVITE "), "100 Trying", ""))
	itsp.ping()
	if got := s.waiting(); got != 0 {
		t.Errorf("%d wait after an answer", got)
	}
}

// waiting is how many want to hear of the end of the box's own connections.
func (s *site) waiting() int {
	s.in.door.mu.Lock()
	defer s.in.door.mu.Unlock()
	n := 0
	for _, stream := range s.in.door.dialled {
		stream.mu.Lock()
		n += len(stream.waiting)
		stream.mu.Unlock()
	}
	return n
}
