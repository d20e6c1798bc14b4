package inspector

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance/settings"
)

// authority signs the certificates of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	made := a.issue(template)
	a.cert = made.Leaf
	a.pool.AddCert(made.Leaf)
	return a
}

// issue signs a certificate; the first signs itself.
func (a *authority) issue(template *x509.Certificate) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer, a.key = template, key, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// named is a certificate for DNS names, addresses and SIP URIs.
func (a *authority) named(names ...string) *tls.Certificate {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}}
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, net.IP(addr.AsSlice()))
		} else if strings.HasPrefix(name, "sip:") {
			uri, _ := url.Parse(name)
			template.URIs = append(template.URIs, uri)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return a.issue(template)
}

// securely has the box listen for TLS, with a certificate of its own.
func (a *authority) securely(s *site, set *settings.Settings, _ *limits) {
	set.SIP.TLS = settings.Secure{On: true, Listen: []netip.AddrPort{netip.AddrPortFrom(s.box.Addr(), 5061)}}
	s.setKeys(func(k *Keys) { k.Own = a.named("box.example", s.box.Addr().String()) })
}

// trunkOverTLS has the trunk speak TLS.
func (a *authority) trunkOverTLS(s *site, set *settings.Settings, _ *limits) {
	set.Trunks[0].Transport = settings.TLS
	set.Trunks[0].Address = netip.AddrPortFrom(s.itspAt.Addr(), 5061)
	s.setKeys(func(k *Keys) { k.Trunks = map[string]PeerKeys{"itsp": {Roots: a.pool}} })
}

func (s *site) setKeys(change func(*Keys)) {
	next := s.presentKeys()
	change(&next)
	s.keys.Store(&next)
}

func (s *site) presentKeys() Keys {
	if now := s.keys.Load(); now != nil {
		return *now
	}
	return Keys{}
}

// dialTLS opens a TLS agent from its address to the box.
func (s *site) dialTLS(name string, from netip.Addr, config *tls.Config) *agent {
	s.t.Helper()
	conn, err := s.tryTLS(from, config)
	if err != nil {
		s.t.Fatalf("dial the box over TLS as %s: %v", name, err)
	}
	a := s.streaming(name, conn)
	a.secure, a.box = true, netip.AddrPortFrom(s.box.Addr(), 5061)
	return a
}

// tryTLS connects and waits for what the box says of our certificate: in TLS 1.3
// the client has shaken hands before.
func (s *site) tryTLS(from netip.Addr, config *tls.Config) (net.Conn, error) {
	s.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: patience}
	conn, err := tls.DialWithDialer(&dialer, "tcp", netip.AddrPortFrom(s.box.Addr(), 5061).String(), config)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
		conn.Close()
		return nil, err
	}
	pong := make([]byte, 2)
	if _, err := conn.Read(pong); err != nil || string(pong) != "\r\n" {
		conn.Close()
		return nil, fmt.Errorf("no answer to a ping: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

// provider is a TLS server at the trunk's address.
type provider struct {
	s        *site
	listener net.Listener
}

func (s *site) provider(config *tls.Config) *provider {
	return (&provider{s, s.listen(netip.AddrPortFrom(s.itspAt.Addr(), 5061))}).with(config)
}

func (p *provider) with(config *tls.Config) *provider {
	p.listener = tls.NewListener(p.listener, config)
	return p
}

// accept waits for the box to connect and agree.
func (p *provider) accept() (*agent, tls.ConnectionState) {
	p.s.t.Helper()
	conn, err := p.listener.Accept()
	if err == nil {
		err = conn.(*tls.Conn).Handshake()
	}
	if err != nil {
		p.s.t.Fatalf("accept as the provider: %v", err)
	}
	a := p.s.streaming("itsp", conn)
	a.secure, a.box = true, netip.AddrPortFrom(p.s.box.Addr(), 5061)
	return a, conn.(*tls.Conn).ConnectionState()
}

// refuse shakes hands until nobody comes any more, each in vain.
func (p *provider) refuse() {
	go func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake()
				_, _ = conn.Read(make([]byte, 1))
				conn.Close()
			}()
		}
	}()
}

func showing(one *tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{*one}}
}

func (p *provider) accept2() *agent {
	a, _ := p.accept()
	return a
}
