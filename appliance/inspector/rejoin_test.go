package inspector

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// leave closes an agent's connection and waits until the box has noticed.
func (s *site) leave(a *agent) {
	s.t.Helper()
	before := s.guests()
	a.stream.Close()
	s.until("the connection has ended", func() bool { return s.guests() < before })
}

// pbxOverTLS has the PBX speak TLS, both ways.
func (a *authority) pbxOverTLS(s *site, set *settings.Settings, _ *limits) {
	set.SIP.PBX = settings.Peer{Address: netip.AddrPortFrom(s.pbxAt.Addr(), 5061), Transport: settings.TLS}
	s.setKeys(func(k *Keys) { k.PBX = PeerKeys{Roots: a.pool} })
}

func (a *authority) client() *tls.Config {
	return &tls.Config{RootCAs: a.pool, ServerName: "box.example"}
}

// endedBy has one side of a call end it, and the other, on its new connection, agree.
func (c testCall) endedBy(bye string, by, other *agent) {
	by.t.Helper()
	by.send(bye)
	other.send(answer(other.expect("BYE "), "200 OK", ""))
	if ok := by.expect("SIP/2.0 200"); !strings.HasSuffix(get(ok, "CSeq"), "BYE") {
		by.t.Errorf("got\n%s", ok)
	}
}

// TestByeToAPBXThatHadConnected: its idle connection was closed, and the box connects.
func TestByeToAPBXThatHadConnected(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely, ca.pbxOverTLS)
	listener := tls.NewListener(s.listen(netip.AddrPortFrom(s.pbxAt.Addr(), 5061)), showing(ca.named(s.pbxAt.Addr().String())))
	itsp, pbx := s.itsp(), s.dialTLS("pbx", s.pbxAt.Addr(), ca.client())
	c := establish(pbx, itsp, mobile, "up")
	s.leave(pbx)
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	again := (&provider{s, listener}).accept2()
	again.send(answer(again.expect("BYE "), "200 OK", ""))
	itsp.expect("SIP/2.0 200")
}

// TestByeToAPBXThatHasReconnected: over the connection that it wants to be used, which
// holds its certificate.
func TestByeToAPBXThatHasReconnected(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely, ca.pbxOverTLS)
	s.setKeys(func(k *Keys) { k.Clients = ca.pool })
	config := ca.client()
	config.Certificates = []tls.Certificate{*ca.named(s.pbxAt.Addr().String())}
	itsp, pbx := s.itsp(), s.dialTLS("pbx", s.pbxAt.Addr(), config)
	c := establish(pbx, itsp, mobile, "up")
	s.leave(pbx)
	again := s.dialTLS("pbx", s.pbxAt.Addr(), config)
	again.send(strings.Replace(optionsText, "$sentby", s.pbxAt.Addr().String()+":5061;alias", 1))
	again.expect("SIP/2.0 200")
	c.endedBy(c.fromCallee("BYE", "1 BYE", "bye"), itsp, again)
}

// TestByeToATrunkThatHadConnected: the box connects, and has it prove its name.
func TestByeToATrunkThatHadConnected(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely, ca.trunkOverTLS)
	itspSide, pbx := s.provider(showing(ca.named(domain))), s.pbx()
	itsp := s.dialTLS("itsp", s.itspAt.Addr(), ca.client())
	c := establish(itsp, pbx, "sip:+61255501234@"+s.box.String(), "in")
	s.leave(itsp)
	pbx.send(c.fromCallee("BYE", "7 BYE", "bye"))
	again, state := itspSide.accept()
	if state.ServerName != domain {
		t.Errorf("asked for %q", state.ServerName)
	}
	again.send(answer(again.expect("BYE "), "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	// A plain one is found in the same way, also where its Contact is a name.
	s = newSite(t, overTCP)
	listener, pbx := s.listen(s.itspAt), s.pbx()
	itsp = s.dial("itsp", s.itspAt.Addr())
	itsp.send(strings.Replace(itsp.invite("sip:+61255501234@"+s.box.String(), "in"), "Contact: <sip:201@$me", "Contact: <sip:201@gw."+domain, 1))
	c = testCall{caller: itsp, callee: pbx, invite: pbx.expect("INVITE ")}
	pbx.send(answer(c.invite, "200 OK", "callee", "Contact: <"+pbx.contact()+">", "Content-Type: application/sdp"+offer))
	c.ok = itsp.expect("SIP/2.0 200")
	itsp.send(c.fromCaller("ACK", "1 ACK", "ack"))
	pbx.expect("ACK ")
	s.leave(itsp)
	pbx.send(c.fromCallee("BYE", "7 BYE", "bye"))
	second := s.accept("itsp", listener)
	second.send(answer(second.expect("BYE sip:201@gw."), "200 OK", ""))
	pbx.expect("SIP/2.0 200")
}

// TestTrunkOverAnotherTransport: a trunk that called in over TCP and listens for UDP
// alone is told by UDP.
func TestTrunkOverAnotherTransport(t *testing.T) {
	s := newSite(t)
	udp, pbx, itsp := s.itsp(), s.pbx(), s.dial("itsp", s.itspAt.Addr())
	c := establish(itsp, pbx, "sip:+61255501234@"+s.box.String(), "in")
	s.leave(itsp)
	c.endedBy(c.fromCallee("BYE", "7 BYE", "bye"), pbx, udp)
}

// TestResponseToAPBXThatHadConnected: an answer needs its way as well.
func TestResponseToAPBXThatHadConnected(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely, ca.pbxOverTLS)
	listener := tls.NewListener(s.listen(netip.AddrPortFrom(s.pbxAt.Addr(), 5061)), showing(ca.named(s.pbxAt.Addr().String())))
	itsp, pbx := s.itsp(), s.dialTLS("pbx", s.pbxAt.Addr(), ca.client())
	pbx.send(pbx.invite(mobile, "gone"))
	invite := itsp.expect("INVITE ")
	s.leave(pbx)
	itsp.send(answer(invite, "486 Busy Here", "busy"))
	(&provider{s, listener}).accept2().expect("SIP/2.0 486")
}

// TestPhoneIsFoundOnItsNewConnection: a telephone can't be connected to over TLS, but
// registers again; or says that its new connection may be used.
func TestPhoneIsFoundOnItsNewConnection(t *testing.T) {
	ca := newAuthority(t)
	for name, returns := range map[string]func(s *site, itsp *agent) *agent{
		"registered": func(s *site, itsp *agent) *agent {
			again := s.dialTLS("phone", s.host(4).Addr(), ca.client())
			s.registerPhone(again, itsp, "2")
			return again
		},
		"alias": func(s *site, _ *agent) *agent {
			again := s.dialTLS("phone", s.host(4).Addr(), ca.client())
			again.send(strings.Replace(optionsText, "$sentby", s.host(4).Addr().String()+":5061;alias", 1))
			again.expect("SIP/2.0 200")
			return again
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, ca.securely)
			itsp, phone := s.itsp(), s.dialTLS("phone", s.host(4).Addr(), ca.client())
			s.registerPhone(phone, itsp, "1")
			phone.send(strings.Replace(phone.invite(mobile, "up"), "<sip:201@$me;", "<sip:line1@"+s.host(4).Addr().String()+";", 1))
			c := testCall{caller: phone, callee: itsp, invite: itsp.expect("INVITE ")}
			itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+offer))
			c.ok = phone.expect("SIP/2.0 200")
			phone.send(c.fromCaller("ACK", "1 ACK", "ack"))
			itsp.expect("ACK ")
			s.leave(phone)
			c.endedBy(c.fromCallee("BYE", "1 BYE", "bye"), itsp, returns(s, itsp))
		})
	}
}

// TestByeWithoutAWay: a telephone that is gone for good keeps no call alive.
func TestByeWithoutAWay(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely)
	itsp, phone := s.itsp(), s.dialTLS("phone", s.host(4).Addr(), ca.client())
	c := establish(phone, itsp, mobile, "gone")
	s.leave(phone)
	itsp.send(c.fromCallee("INFO", "1 INFO", "info"))
	itsp.expect("SIP/2.0 480")
	itsp.send(c.fromCallee("BYE", "2 BYE", "bye"))
	if ok := itsp.expect("SIP/2.0 200"); get(ok, "CSeq") != "2 BYE" {
		t.Errorf("got\n%s", ok)
	}
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Status != 200 || record.Answer.IsZero() || len(s.in.Live()) != 0 {
		t.Errorf("record %+v, in progress %v", record, s.in.Live())
	}
	s.in.sweep(s.now.advance(s.in.bounds.linger))
	if n := s.in.dialogs.size(); n != 0 {
		t.Errorf("%d dialogs are left", n)
	}
}

// TestPhonesBehindOneNAT are told apart by the user of their Contact.
func TestPhonesBehindOneNAT(t *testing.T) {
	s := newSite(t)
	at := s.host(4)
	open := func(user string, port uint16) flow {
		f := flow{transport: settings.TCP, remote: netip.AddrPortFrom(at.Addr(), port), stream: newConnection(nil, s.in.bounds, 1)}
		b := &binding{alias: user, account: user + "@x", flow: f, expires: s.now.now().Add(60e9)}
		b.contact.User = user
		s.in.bindings.learn(b)
		return f
	}
	one, two := open("one", 1), open("two", 2)
	gone := flow{transport: settings.TCP, remote: netip.AddrPortFrom(at.Addr(), 9)}
	for _, c := range []struct {
		user   string
		shared bool
		want   *connection
	}{{"one", true, one.stream}, {"two", true, two.stream}, {"two", false, two.stream}, {"three", true, nil}} {
		if got, _ := s.in.bindings.connected(gone, c.user, c.shared, s.now.now()); got.stream != c.want {
			t.Errorf("%+v: another's connection", c)
		}
	}
	two.stream.close(errClosed)
	if got, _ := s.in.bindings.connected(gone, "two", true, s.now.now()); got.stream != nil {
		t.Error("a closed connection is used")
	}
	if got, _ := s.in.bindings.connected(gone, "two", false, s.now.now()); got.stream != one.stream {
		t.Error("the only connection of an address is not used")
	}
}
