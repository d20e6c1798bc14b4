package inspector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/settings"
)

// Keys are what TLS is spoken with. They may change at any time: each new
// connection asks for them, and those that are open stay.
type Keys struct {
	// Own is what the listeners show; nil where there is none, and nobody can
	// connect.
	Own *tls.Certificate
	// Clients are the authorities of whose certificates the clients on the LAN
	// must show one; nil asks for none.
	Clients *x509.CertPool
	Trunks  map[string]PeerKeys // by the trunk's name
	PBX     PeerKeys
}

// PeerKeys are what one neighbour is known by.
type PeerKeys struct {
	Roots       *x509.CertPool   // whom to believe; nil: those of the system
	Certificate *tls.Certificate // what is shown where the neighbour asks; nil shows none
	Trouble     error            // why nothing of this can be used; nil where it can
}

var (
	errOwnless  = errors.New("there is no certificate to show")
	errNameless = errors.New("nobody knows which name its certificate must hold")
)

// peer is whom a TLS connection that the box opens must lead to. It is a value
// that keys connections: RFC 5923 section 4 lets two domains share none, though
// they share an address.
type peer struct {
	trunk string // whose keys; "" is the PBX
	names string // that the certificate may be for, the first is asked for first, joined by spaces
	exact bool   // the settings spell the certificate's name, and it may be a wildcard
}

// peerOf is the far end of a trunk. RFC 5922 section 7.3 wants the domain that
// was resolved: the address's name, or the domain of the SIP URIs.
func peerOf(trunk *settings.Trunk) peer {
	switch {
	case trunk.TLS.Name != "":
		return peer{trunk: trunk.Name, names: trunk.TLS.Name + " " + trunk.Domain, exact: true}
	case trunk.Host != "" && trunk.Host != trunk.Domain:
		return peer{trunk: trunk.Name, names: trunk.Domain + " " + trunk.Host}
	}
	return peer{trunk: trunk.Name, names: trunk.Domain}
}

func peerOfPBX(pbx settings.Peer) peer {
	if pbx.TLS.Name != "" {
		return peer{names: pbx.TLS.Name, exact: true}
	}
	return peer{names: pbx.Address.Addr().String()}
}

// tries are the names to ask for, one connection each until one is proved.
func (p peer) tries() []string {
	names := strings.Fields(p.names)
	if !p.exact {
		return names
	}
	if strings.HasPrefix(names[0], "*.") {
		return names[1:] // a wildcard is no server's name: what it must cover is
	}
	return names[:1]
}

// clientConfig is how the box connects to a peer under one of its names. The
// chain and the name are crypto/tls's to verify; what RFC 5922 is stricter about
// is added.
func (d *door) clientConfig(who peer, name string) (*tls.Config, error) {
	keys := d.keys()
	mine := keys.PBX
	if who.trunk != "" {
		mine = keys.Trunks[who.trunk]
	}
	if mine.Trouble != nil {
		return nil, mine.Trouble
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: name, RootCAs: mine.Roots,
		VerifyConnection: func(state tls.ConnectionState) error { return who.proves(state.PeerCertificates[0], name) },
	}
	if mine.Certificate != nil {
		config.Certificates = []tls.Certificate{*mine.Certificate}
	}
	return config, nil
}

// proves reports whether a certificate, whose chain and name are verified, is one
// for SIP at that name: a SIP URI in it speaks for it alone (RFC 5922 section
// 7.1), and a wildcard proves nothing (section 7.2) unless the settings name it.
func (p peer) proves(leaf *x509.Certificate, name string) error {
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	var domains []string
	for _, uri := range leaf.URIs {
		if strings.EqualFold(uri.Scheme, "sip") && !strings.Contains(uri.Opaque, "@") && uri.User == nil {
			host, _, _ := strings.Cut(uri.Opaque+uri.Host, ";")
			domains = append(domains, host)
		}
	}
	if len(domains) == 0 {
		domains = leaf.DNSNames
	}
	wanted := []string{name}
	if p.exact {
		wanted = append(wanted, strings.Fields(p.names)[0])
	}
	for _, domain := range domains {
		if slices.ContainsFunc(wanted, func(one string) bool { return strings.EqualFold(strings.TrimSuffix(domain, "."), one) }) {
			return nil
		}
	}
	return fmt.Errorf("certificate is valid for %s, not for %s as RFC 5922 wants it", strings.Join(domains, ", "), name)
}

// connect opens one connection.
func (d *door) connect(to flow) (net.Conn, error) {
	near := &net.TCPAddr{IP: to.local.Addr().AsSlice(), Zone: to.remote.Addr().Zone()} // of one link, both
	dialer := net.Dialer{Timeout: d.bounds.dial, LocalAddr: near}
	if to.transport != settings.TLS {
		conn, err := dialer.Dial(networkOf("tcp", to.remote.Addr()), to.remote.String())
		if err != nil {
			return nil, fmt.Errorf("dial tcp %s: %w", to.remote, err)
		}
		return conn, nil
	}
	var err error
	for _, name := range to.peer.tries() {
		var conn net.Conn
		if conn, err = d.secure(&dialer, to, name); err == nil {
			return conn, nil
		}
		var misnamed x509.HostnameError
		if !errors.As(err, &misnamed) {
			break
		}
	}
	return nil, fmt.Errorf("dial tls %s: %w", to.remote, err)
}

// secure dials and agrees on TLS with whoever proves that name.
func (d *door) secure(dialer *net.Dialer, to flow, name string) (net.Conn, error) {
	config, err := d.clientConfig(to.peer, name)
	if err != nil {
		return nil, err
	}
	raw, err := dialer.Dial(networkOf("tcp", to.remote.Addr()), to.remote.String())
	if err != nil {
		return nil, err
	}
	conn := &secureConn{tls.Client(raw, config), raw}
	if err := conn.agree(d.bounds.dial); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// serverConfig is how the box answers a client at remote.
func (d *door) serverConfig(remote netip.AddrPort) *tls.Config {
	keys := d.keys()
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// A session must not outlive the authorities that its client was let in by.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if keys.Own == nil {
				return nil, errOwnless
			}
			return keys.Own, nil
		},
	}
	if keys.Clients != nil && d.inside.local(remote) {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, keys.Clients
	}
	return config
}

// secureConn closes without a farewell: that would wait for a neighbour that has
// stopped reading, and whoever closes a connection may hold a lock.
type secureConn struct {
	*tls.Conn
	raw net.Conn
}

// Close implements net.Conn.
func (c *secureConn) Close() error { return c.raw.Close() }

// agree shakes hands within most.
func (c *secureConn) agree(most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	err := c.HandshakeContext(ctx)
	if err != nil && ctx.Err() != nil {
		return errors.New("no TLS was agreed on in time")
	}
	return err
}

// verified reports whether the far end has shown a certificate for one of these
// names.
func (c *secureConn) verified(who peer) bool {
	state := c.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return false
	}
	leaf := state.PeerCertificates[0]
	return slices.ContainsFunc(strings.Fields(who.names), func(name string) bool {
		return leaf.VerifyHostname(name) == nil && who.proves(leaf, name) == nil
	})
}
