package settings

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

// refineSecure reads how the box listens for TLS.
func refineSecure(m *document.Mistakes, raw rawSecure, plain []netip.AddrPort) Secure {
	s := Secure{
		On: true, Listen: refineListen(m, "sip.tls.listen", raw.Listen, plain),
		Clients: refineFile(m, "sip.tls.clients", raw.Clients),
	}
	s.Certificate, s.Key = refinePair(m, "sip.tls", raw.Certificate, raw.Key)
	return s
}

// refineIdentity reads how a neighbour is known over TLS. It means nothing to a
// neighbour that is spoken to without.
func refineIdentity(m *document.Mistakes, field string, raw *rawIdentity, transport string) Identity {
	if raw == nil {
		return Identity{}
	}
	if transport == string(UDP) || transport == string(TCP) {
		m.Add(field, "the transport is %s, not tls", transport)
	}
	out := Identity{CA: refineFile(m, field+".ca", raw.CA), Name: raw.Name}
	out.Certificate, out.Key = refinePair(m, field, raw.Certificate, raw.Key)
	switch {
	case raw.Name == "":
	case raw.Name != strings.ToLower(raw.Name):
		m.Add(field+".name", "write it in lower case: %s", strings.ToLower(raw.Name))
	case !document.Domain(strings.TrimPrefix(raw.Name, "*.")) && !literal(raw.Name):
		m.Add(field+".name", "neither a name of a certificate, like sip.example.net or *.example.net, nor an IP address")
	}
	return out
}

// refinePair reads the files of a certificate and its key: both or neither.
func refinePair(m *document.Mistakes, field, certificate, key string) (string, string) {
	switch {
	case certificate != "" && key == "":
		m.Add(field+".key", "missing: a certificate needs its key")
	case certificate == "" && key != "":
		m.Add(field+".certificate", "missing: a key needs its certificate")
	}
	return refineFile(m, field+".certificate", certificate), refineFile(m, field+".key", key)
}

// maxPath is the longest path of a file, bytes (PATH_MAX less its NUL).
const maxPath = 4095

// refineFile reads the path of a file on the box. Whether the file is there is
// not for a document to know.
func refineFile(m *document.Mistakes, field, s string) string {
	switch {
	case s == "":
	case len(s) > maxPath:
		m.Add(field, "longer than %d bytes", maxPath)
	case !filepath.IsAbs(s) || filepath.Clean(s) != s:
		m.Add(field, "want the full path of a file, like /etc/ringfence/tls.pem")
	default:
		return m.Text(field, s, maxPath)
	}
	return s
}

// refineHop reads a trunk's next hop: an address with its port, or a DNS name
// with one or without.
func refineHop(m *document.Mistakes, at string, raw rawTrunk, out *Trunk) {
	host, port, named := hop(raw.Address)
	if _, err := netip.ParseAddrPort(raw.Address); !named && err != nil && raw.Address != "" {
		m.Add(at+".address", "want an IP address and a port, like 192.0.2.1:5060 or [2001:db8::1]:5060, or a DNS name, like sip.example.net or sip.example.net:5070")
		if raw.Transport == "" {
			return // a name might do without
		}
	} else if !named {
		out.Address = refineAddress(m, at+".address", raw.Address)
	} else {
		out.Host, out.Port = host, port
		if host != strings.ToLower(host) {
			m.Add(at+".address", "write it in lower case: %s", strings.ToLower(raw.Address))
		}
	}
	if raw.Transport == "" && named && port == 0 {
		return // NAPTR records say
	}
	out.Transport = refineTransport(m, at+".transport", raw.Transport)
}

// hop parts a DNS name from its port. The boolean is false where it is none.
func hop(s string) (host string, port uint16, named bool) {
	host = s
	if h, p, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != p {
			return "", 0, false
		}
		host, port = h, uint16(n)
	}
	return host, port, document.Domain(strings.ToLower(host)) && strings.Contains(host, ".") && !literal(host)
}

func encodeHop(t Trunk) string {
	switch {
	case t.Host == "":
		return t.Address.String()
	case t.Port == 0:
		return t.Host
	}
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// How often an idle trunk is asked whether it is there. More often is a load,
// less often tells nothing in time.
const (
	defaultProbe  = time.Minute
	shortestProbe = 5 * time.Second
	longestProbe  = time.Hour
	probeOff      = "off"
)

func refineProbe(m *document.Mistakes, field, s string) time.Duration {
	switch s {
	case "":
		return defaultProbe
	case probeOff:
		return 0
	}
	every, err := time.ParseDuration(s)
	if err != nil || every < shortestProbe || every > longestProbe || every%time.Second != 0 {
		m.Add(field, "want whole seconds from 5s to 1h, like 30s or 5m, or off")
		return 0
	}
	return every
}

func encodeProbe(every time.Duration) string {
	if every == 0 {
		return probeOff
	}
	return every.String()
}

// maxFallback bounds how often one call is tried elsewhere.
const maxFallback = 4

func refineFallback(m *document.Mistakes, field string, t Trunk, names map[string]bool) {
	for i, name := range t.Fallback[:m.Count(field, len(t.Fallback), maxFallback)] {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case name == "" || !names[strings.ToLower(name)]:
			m.Add(at, "there is no trunk %q", name)
		case strings.EqualFold(name, t.Name):
			m.Add(at, "a trunk can't take over from itself")
		case slices.Contains(t.Fallback[:i], name):
			m.Add(at, "%s is given twice", name)
		}
	}
}
