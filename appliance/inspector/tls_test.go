package inspector

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestCallOverTLS has TLS on both legs, and each way of the four across.
func TestCallOverTLS(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely, ca.trunkOverTLS)
	itspSide := s.provider(showing(ca.named("other.example", domain)))
	phone := s.dialTLS("phone", s.host(4).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"})
	phone.send(phone.invite(mobile, "first"))
	itsp, state := itspSide.accept()
	if state.ServerName != domain || state.Version < tls.VersionTLS12 {
		t.Errorf("asked for %q over version %x", state.ServerName, state.Version)
	}
	got := itsp.expect("INVITE ")
	if via := get(got, "Via"); !strings.HasPrefix(via, "SIP/2.0/TLS "+s.box.Addr().String()+":5061;branch=z9hG4bK") || !strings.HasSuffix(via, ";alias") {
		t.Errorf("Via %q", via)
	}
	if routes := every(got, "Record-Route"); len(routes) != 1 || routes[0] != fmt.Sprintf("<sip:%s:5061;transport=tls;lr>", s.box.Addr()) {
		t.Errorf("Record-Route %q", routes)
	}
	itsp.send(answer(got, "486 Busy Here", "busy"))
	itsp.expect("ACK ")
	busy := phone.expect("SIP/2.0 486")
	phone.send(ackTo(busy, phone, mobile))

	// The connection serves the next call, and a request the other way.
	c := establish(phone, itsp, mobile, "second")
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	bye := phone.expect("BYE ")
	if via := get(bye, "Via"); !strings.HasPrefix(via, "SIP/2.0/TLS ") {
		t.Errorf("Via %q", via)
	}
	phone.send(answer(bye, "200 OK", ""))
	itsp.expect("SIP/2.0 200")
}

// TestRecordRouteAcrossTransports has both entries of RFC 5658 for legs that
// differ in their transport.
func TestRecordRouteAcrossTransports(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely)
	itsp, phone := s.itsp(), s.dialTLS("phone", s.host(4).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"})
	c := establish(phone, itsp, mobile, "mixed")
	want := fmt.Sprintf("<sip:%[1]s:5060;lr> <sip:%[1]s:5061;transport=tls;lr>", s.box.Addr())
	if got := strings.Join(every(c.invite, "Record-Route"), " "); got != want {
		t.Errorf("the trunk got %s, want %s", got, want)
	}
	if got := strings.Join(every(c.ok, "Record-Route"), " "); got != want {
		t.Errorf("the phone got %s, want %s", got, want)
	}
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	phone.send(answer(phone.expect("BYE "), "200 OK", ""))
	itsp.expect("SIP/2.0 200")
}

// TestProviderMustProveItsName refuses every certificate but the right one, and
// says why.
func TestProviderMustProveItsName(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	expired := func() *tls.Certificate {
		return ca.issue(&x509.Certificate{DNSNames: []string{domain}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	}
	for name, tc := range map[string]struct {
		config func(s *site) *tls.Config
		edit   func(*settings.Trunk)
		says   string // "" where it is right
	}{
		"the domain":          {func(*site) *tls.Config { return showing(ca.named(domain)) }, nil, ""},
		"the domain, capital": {func(*site) *tls.Config { return showing(ca.named("SIP.ITSP.example")) }, nil, ""},
		"domain and SIP URI":  {func(*site) *tls.Config { return showing(ca.named(domain, "sip:"+domain)) }, nil, ""},
		"another name":        {func(*site) *tls.Config { return showing(ca.named("itsp.example")) }, nil, "certificate is valid for itsp.example, not " + domain},
		"the address alone":   {func(s *site) *tls.Config { return showing(ca.named(s.itspAt.Addr().String())) }, nil, "not valid for any names"},
		"a wildcard":          {func(*site) *tls.Config { return showing(ca.named("*.itsp.example")) }, nil, "certificate is valid for *.itsp.example, not for " + domain},
		"a wildcard that the settings name": {func(*site) *tls.Config { return showing(ca.named("*.itsp.example")) },
			func(t *settings.Trunk) { t.TLS.Name = "*.itsp.example" }, ""},
		"a name that the settings give": {func(*site) *tls.Config { return showing(ca.named("gateway.example")) },
			func(t *settings.Trunk) { t.TLS.Name = "gateway.example" }, ""},
		"the domain, where the settings give a name": {func(*site) *tls.Config { return showing(ca.named(domain)) },
			func(t *settings.Trunk) { t.TLS.Name = "gateway.example" }, "not gateway.example"},
		"the SIP URI of another": {func(*site) *tls.Config { return showing(ca.named(domain, "sip:other.example")) }, nil, "certificate is valid for other.example, not for " + domain},
		"a person's SIP URI":     {func(*site) *tls.Config { return showing(ca.named(domain, "sip:bob@other.example")) }, nil, ""},
		"an unknown authority":   {func(*site) *tls.Config { return showing(stranger.named(domain)) }, nil, "certificate signed by unknown authority"},
		"expired":                {func(*site) *tls.Config { return showing(expired()) }, nil, "certificate has expired"},
		"TLS 1.1": {func(*site) *tls.Config {
			c := showing(ca.named(domain))
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			return c
		}, nil, "protocol version not supported"},
		"the box must prove itself": {func(*site) *tls.Config {
			c := showing(ca.named(domain))
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool
			return c
		}, nil, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, ca.trunkOverTLS, func(_ *site, set *settings.Settings, _ *limits) {
				if tc.edit != nil {
					tc.edit(&set.Trunks[0])
				}
			})
			itspSide, pbx := s.provider(tc.config(s)), s.pbx()
			if tc.says == "" {
				pbx.send(pbx.invite(mobile, "name"))
				itsp, _ := itspSide.accept()
				itsp.expect("INVITE ")
				return
			}
			itspSide.refuse()
			pbx.send(pbx.invite(mobile, "name"))
			pbx.expect("SIP/2.0 503")
			state := s.in.Trunks()[0]
			if state.State != appliance.TrunkDown || tc.says != "503" && !strings.Contains(state.Targets[0].Error, tc.says) {
				t.Errorf("the trunk is %s: %s; want it to say %q", state.State, state.Targets[0].Error, tc.says)
			}
			if call := s.call("it is told", func(c appliance.Call) bool { return c.Status == 503 }); call.Reason != appliance.ReasonNoTrunk {
				t.Errorf("reason %v", call.Reason)
			}
		})
	}
}

// TestBoxProvesItselfToTheProvider shows the certificate of the trunk's settings.
func TestBoxProvesItselfToTheProvider(t *testing.T) {
	ca := newAuthority(t)
	own := ca.named("customer.example")
	s := newSite(t, ca.trunkOverTLS)
	s.setKeys(func(k *Keys) { k.Trunks = map[string]PeerKeys{"itsp": {Roots: ca.pool, Certificate: own}} })
	config := showing(ca.named(domain))
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool
	itspSide, pbx := s.provider(config), s.pbx()
	pbx.send(pbx.invite(mobile, "mutual"))
	itsp, state := itspSide.accept()
	itsp.expect("INVITE ")
	if len(state.VerifiedChains) == 0 || state.PeerCertificates[0].DNSNames[0] != "customer.example" {
		t.Error("the box showed another certificate")
	}
}

// TestTroubleWithFilesIsSaid: a trunk whose files can't be read is not spoken to
// with what the system believes.
func TestTroubleWithFilesIsSaid(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.trunkOverTLS)
	s.setKeys(func(k *Keys) {
		k.Trunks = map[string]PeerKeys{"itsp": {Trouble: fmt.Errorf("read CA /x.pem: no such file")}}
	})
	pbx := s.pbx()
	pbx.send(pbx.invite(mobile, "files"))
	pbx.expect("SIP/2.0 503")
	if got := s.in.Trunks()[0].Targets[0].Error; !strings.Contains(got, "dial tls ") || !strings.Contains(got, "/x.pem: no such file") {
		t.Errorf("error %q", got)
	}
}

// TestReloadWhileACallIsUp changes the box's certificate under an open connection.
func TestReloadWhileACallIsUp(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely)
	config := &tls.Config{RootCAs: ca.pool, ServerName: "box.example"}
	itsp, phone := s.itsp(), s.dialTLS("phone", s.host(4).Addr(), config)
	c := establish(phone, itsp, mobile, "up")
	next := newAuthority(t)
	s.setKeys(func(k *Keys) { k.Own = next.named("box.example") })
	if _, err := s.tryTLS(s.host(5).Addr(), config); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("the old certificate is shown to others: %v", err)
	}
	s.dialTLS("other", s.host(5).Addr(), &tls.Config{RootCAs: next.pool, ServerName: "box.example"}).ping()
	c.hangUp(s)
}

// TestClientsProveThemselves has mutual TLS on and off, and no certificate at all.
func TestClientsProveThemselves(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	with := func(one *tls.Certificate) *tls.Config {
		config := &tls.Config{RootCAs: ca.pool, ServerName: "box.example"}
		if one != nil {
			config.Certificates = []tls.Certificate{*one}
		}
		return config
	}
	good, bad := ca.named("phone.example"), stranger.named("phone.example")
	stale := ca.issue(&x509.Certificate{DNSNames: []string{"phone.example"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	for name, tc := range map[string]struct {
		clients *x509.CertPool
		shown   *tls.Certificate
		enters  bool
	}{
		"nobody asks, nothing shown":   {nil, nil, true},
		"nobody asks, something shown": {nil, bad, true},
		"asked, nothing shown":         {ca.pool, nil, false},
		"asked and shown":              {ca.pool, good, true},
		"asked, another authority":     {ca.pool, bad, false},
		"asked, expired":               {ca.pool, stale, false},
		"nobody is believed":           {x509.NewCertPool(), good, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, ca.securely)
			s.setKeys(func(k *Keys) { k.Clients = tc.clients })
			conn, err := s.tryTLS(s.host(4).Addr(), with(tc.shown))
			if (err == nil) != tc.enters {
				t.Fatalf("enters: %v", err)
			}
			if err == nil {
				conn.Close()
				return
			}
			s.until("it is counted", func() bool { return s.tally(appliance.ReasonTLS) == 1 })
		})
	}
	t.Run("a trunk is no client of the LAN", func(t *testing.T) {
		s := newSite(t, ca.securely)
		s.setKeys(func(k *Keys) { k.Clients = ca.pool })
		if _, err := s.tryTLS(s.itspAt.Addr(), with(nil)); err != nil {
			t.Errorf("a trunk's connection: %v", err)
		}
	})
	t.Run("no certificate of our own", func(t *testing.T) {
		s := newSite(t, ca.securely)
		s.setKeys(func(k *Keys) { k.Own = nil })
		if _, err := s.tryTLS(s.host(4).Addr(), with(nil)); err == nil {
			t.Error("somebody got in")
		}
	})
	t.Run("TLS 1.1", func(t *testing.T) {
		s := newSite(t, ca.securely)
		config := with(nil)
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if _, err := s.tryTLS(s.host(4).Addr(), config); err == nil {
			t.Error("an old version was spoken")
		}
	})
}

// TestStrangersAndSlowHandshakes: to a stranger the port is closed, and who does
// not shake hands holds no place for long.
func TestStrangersAndSlowHandshakes(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.headerDeadline = 100 * time.Millisecond })
	if _, err := s.tryTLS(s.host(200).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"}); err == nil {
		t.Error("a stranger shook hands")
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: s.host(4).Addr().AsSlice()}}
	conn, err := dialer.Dial("tcp", netip.AddrPortFrom(s.box.Addr(), 5061).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("silence was answered")
	}
	s.until("its place is free", func() bool {
		s.in.door.mu.Lock()
		defer s.in.door.mu.Unlock()
		return len(s.in.door.streams) == 0
	})
	if s.tally(appliance.ReasonTLS) != 1 {
		t.Error("it was not counted")
	}
}

// TestSIPS: a sips URI is sent on over TLS, or refused.
func TestSIPS(t *testing.T) {
	ca := newAuthority(t)
	const sips = "sips:+61491570156@sip.itsp.example"
	t.Run("to a trunk without TLS", func(t *testing.T) {
		s := newSite(t, ca.securely)
		itsp, phone := s.itsp(), s.dialTLS("phone", s.host(4).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"})
		phone.send(phone.invite(sips, "plain"))
		got := phone.expect("SIP/2.0 480")
		if get(got, "Warning") != `380 ringfence "SIPS Not Allowed"` {
			t.Errorf("got\n%s", got)
		}
		itsp.nothing()
		if s.tally(appliance.ReasonSIPS) != 1 {
			t.Error("it was not counted")
		}
	})
	t.Run("to a trunk over TLS", func(t *testing.T) {
		s := newSite(t, ca.securely, ca.trunkOverTLS)
		itspSide, phone := s.provider(showing(ca.named(domain))), s.dialTLS("phone", s.host(4).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"})
		phone.send(strings.ReplaceAll(phone.invite(sips, "tls"), "Contact: <sip:", "Contact: <sips:"))
		itsp, _ := itspSide.accept()
		got := itsp.expect("INVITE " + sips + " SIP/2.0")
		if routes := every(got, "Record-Route"); len(routes) != 1 || routes[0] != fmt.Sprintf("<sips:%s:5061;lr>", s.box.Addr()) {
			t.Errorf("Record-Route %q", routes)
		}
		itsp.send(answer(got, "200 OK", "callee", "Contact: <sips:line@"+itsp.at.String()+">"))
		ok := phone.expect("SIP/2.0 200")
		c := testCall{caller: phone, callee: itsp, invite: got, ok: ok}
		phone.send(c.fromCaller("ACK", "1 ACK", "ack"))
		itsp.expect("ACK sips:line@")
		itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
		phone.send(answer(phone.expect("BYE sips:201@"), "200 OK", ""))
	})
	t.Run("a sips URI of a PBX without TLS", func(t *testing.T) {
		s := newSite(t, ca.securely)
		pbx, phone := s.pbx(), s.dialTLS("phone", s.host(4).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"})
		phone.send(phone.invite("sips:300@"+s.pbxAt.Addr().String(), "pbx"))
		phone.expect("SIP/2.0 480")
		pbx.nothing()
	})
	t.Run("a forbidden number stays forbidden", func(t *testing.T) {
		s := newSite(t, ca.securely, ca.trunkOverTLS)
		phone := s.dialTLS("phone", s.host(4).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"})
		phone.send(phone.invite("sips:0011252615550148@sip.itsp.example", "forbidden"))
		phone.expect("SIP/2.0 403")
	})
}

// TestPBXOverTLS connects to the PBX, which proves itself by the authority of the
// settings, and later uses the connection that the PBX opened (RFC 5923).
func TestPBXOverTLS(t *testing.T) {
	ca := newAuthority(t)
	secure := func(s *site, set *settings.Settings, _ *limits) {
		set.SIP.PBX = settings.Peer{Address: netip.AddrPortFrom(s.pbxAt.Addr(), 5061), Transport: settings.TLS}
		s.setKeys(func(k *Keys) { k.PBX = PeerKeys{Roots: ca.pool}; k.Clients = ca.pool })
	}
	t.Run("the box connects", func(t *testing.T) {
		s := newSite(t, ca.securely, secure)
		listener := tls.NewListener(s.listen(netip.AddrPortFrom(s.pbxAt.Addr(), 5061)), showing(ca.named(s.pbxAt.Addr().String())))
		itsp := s.itsp()
		itsp.send(itsp.invite("sip:300@"+s.box.String(), "in"))
		(&provider{s, listener}).accept2().expect("INVITE sip:300@")
	})
	t.Run("the PBX has connected", func(t *testing.T) {
		s := newSite(t, ca.securely, secure)
		config := &tls.Config{RootCAs: ca.pool, ServerName: "box.example", Certificates: []tls.Certificate{*ca.named(s.pbxAt.Addr().String())}}
		pbx, itsp := s.dialTLS("pbx", s.pbxAt.Addr(), config), s.itsp()
		pbx.send(strings.Replace(optionsText, "$sentby", s.pbxAt.Addr().String()+":5061;alias", 1))
		pbx.expect("SIP/2.0 200")
		itsp.send(itsp.invite("sip:300@"+s.box.String(), "in"))
		pbx.expect("INVITE sip:300@")
	})
	t.Run("somebody else has connected from there", func(t *testing.T) {
		s := newSite(t, ca.securely, secure)
		config := &tls.Config{RootCAs: ca.pool, ServerName: "box.example", Certificates: []tls.Certificate{*ca.named("phone.example")}}
		pbx, itsp := s.dialTLS("pbx", s.pbxAt.Addr(), config), s.itsp()
		pbx.send(strings.Replace(optionsText, "$sentby", s.pbxAt.Addr().String()+":5061;alias", 1))
		pbx.expect("SIP/2.0 200")
		itsp.send(itsp.invite("sip:300@"+s.box.String(), "in"))
		itsp.expect("SIP/2.0 503") // nobody listens at the PBX's own address
		pbx.nothing()
	})
}

const optionsText = `
OPTIONS sip:$box SIP/2.0
Via: SIP/2.0/TLS $sentby;branch=z9hG4bK-alias
Max-Forwards: 70
From: <sip:pbx@$me>;tag=alias
To: <sip:$box>
Call-ID: alias
CSeq: 1 OPTIONS
`

// TestTLSOverIPv6 has TLS from a phone on IPv6, and plain IPv4 to the trunk.
func TestTLSOverIPv6(t *testing.T) {
	ca := newAuthority(t)
	v6 := netip.AddrPortFrom(netip.IPv6Loopback(), freePort(t))
	s := newSite(t, ca.securely, func(s *site, set *settings.Settings, _ *limits) {
		set.SIP.Listen = append(set.SIP.Listen, netip.AddrPortFrom(netip.IPv6Loopback(), freePort(t)))
		set.SIP.TLS.Listen = append(set.SIP.TLS.Listen, v6)
		set.Network.LAN = append(set.Network.LAN, netip.PrefixFrom(netip.IPv6Loopback(), 128))
	})
	conn, err := tls.Dial("tcp", v6.String(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"})
	if err != nil {
		t.Fatal(err)
	}
	phone := s.streaming("phone", conn)
	phone.secure, phone.box = true, v6
	itsp := s.itsp()
	c := establish(phone, itsp, mobile, "six")
	want := fmt.Sprintf("<sip:%s;lr> <sip:%s;transport=tls;lr>", s.box, v6)
	if got := strings.Join(every(c.invite, "Record-Route"), " "); got != want {
		t.Errorf("Record-Route %s, want %s", got, want)
	}
	itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
	phone.send(answer(phone.expect("BYE "), "200 OK", ""))
	itsp.expect("SIP/2.0 200")
}

// TestTakenPortIsTriedAgain: another program on the port for TLS keeps nothing else
// from working, and the box listens once it has gone.
func TestTakenPortIsTriedAgain(t *testing.T) {
	ca := newAuthority(t)
	var other net.Listener
	s := newSite(t, ca.securely, func(s *site, set *settings.Settings, _ *limits) { other = s.listen(set.SIP.TLS.Listen[0]) })
	if err := s.in.Trouble(); err == nil || !strings.Contains(err.Error(), "for TLS, listen on tcp "+s.box.Addr().String()+":5061: ") {
		t.Errorf("trouble %v", err)
	}
	s.pbx().ping()
	other.Close()
	s.until("the port is listened on", func() bool { return s.in.Trouble() == nil && len(s.in.Listeners()) == 3 })
	s.dialTLS("phone", s.host(4).Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "box.example"}).ping()
}

// TestRegisteredOverTLS registers a phone with a provider over TLS, which then
// calls it over the connection that the box opened (RFC 5923).
func TestRegisteredOverTLS(t *testing.T) {
	ca := newAuthority(t)
	s := newSite(t, ca.securely, ca.trunkOverTLS, withoutPBX)
	itspSide, phone := s.provider(showing(ca.named(domain))), s.udp("phone", s.host(4))
	phone.send(fmt.Sprintf(`
REGISTER sip:%[1]s SIP/2.0
Via: $via;branch=z9hG4bK-reg
Max-Forwards: 70
From: <sip:201@%[1]s>;tag=r
To: <sip:201@%[1]s>
Call-ID: reg
CSeq: 1 REGISTER
Contact: <sip:201@$me>
Expires: 600
`, domain))
	itsp, _ := itspSide.accept()
	got := itsp.expect("REGISTER sip:" + domain + " SIP/2.0")
	contact := uriOf(get(got, "Contact"))
	if !strings.HasPrefix(contact, "sip:rf-") || !strings.HasSuffix(contact, fmt.Sprintf("@%s:5061;transport=tls", s.box.Addr())) {
		t.Errorf("Contact %q", contact)
	}
	itsp.send(answer(got, "200 OK", "x", "Contact: "+get(got, "Contact")+";expires=600"))
	phone.expect("SIP/2.0 200")
	itsp.send(itsp.invite(contact, "in"))
	in := phone.expect("INVITE sip:201@" + phone.at.String() + " SIP/2.0")
	if routes := every(in, "Record-Route"); len(routes) != 2 || !strings.Contains(routes[1], ";transport=tls;lr") {
		t.Errorf("Record-Route %q", routes)
	}
	phone.send(answer(in, "486 Busy Here", "busy"))
	itsp.expect("SIP/2.0 486")
}
