package settings

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/document"
)

// The raw structs are the document as it stands on disk and on the wire. Only
// refine turns one into Settings.
type rawSettings struct {
	Schema       int                   `json:"schema"`
	Site         rawSite               `json:"site"`
	Network      rawNetwork            `json:"network"`
	SIP          rawSIP                `json:"sip"`
	Trunks       []rawTrunk            `json:"trunks"`
	Admins       []rawAdmin            `json:"admins"`
	Tunnels      []document.RawTunnel  `json:"tunnels"`
	Ports        document.RawPorts     `json:"ports"`
	Feeds        []document.RawFeed    `json:"feeds"`
	Limits       document.RawLimits    `json:"limits"`
	Bans         rawBans               `json:"bans"`
	Egress       []rawPass             `json:"egress"`
	Media        *rawMedia             `json:"media,omitempty"`
	HEP          *rawHEP               `json:"hep,omitempty"`
	Destinations rawDestinations       `json:"destinations"`
	Fraud        rawFraud              `json:"fraud"`
	Notify       rawNotify             `json:"notify"`
	Accounts     []document.RawAccount `json:"accounts"`
	Guard        document.RawGuard     `json:"guard"`
}

type rawSite struct {
	Name         string   `json:"name"`
	Country      string   `json:"country"`
	AreaCode     string   `json:"area_code"`
	AccessDigits []string `json:"access_digits"`
	Extensions   int      `json:"extensions"`
}

type rawNetwork struct {
	WAN []string `json:"wan"`
	LAN []string `json:"lan"`
}

type rawSIP struct {
	Listen      []string   `json:"listen"`
	TLS         *rawSecure `json:"tls,omitempty"`
	PBX         *rawPeer   `json:"pbx,omitempty"`
	Refusal     int        `json:"refusal"`
	Transparent []string   `json:"transparent"`

	Messages string `json:"messages"`
}

type rawSecure struct {
	Listen      []string `json:"listen"`
	Certificate string   `json:"certificate"`
	Key         string   `json:"key"`
	Clients     string   `json:"clients"`
}

type rawIdentity struct {
	CA          string `json:"ca"`
	Name        string `json:"name"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

type rawPeer struct {
	Address   string       `json:"address"`
	Transport string       `json:"transport"`
	TLS       *rawIdentity `json:"tls,omitempty"`
}

type rawTrunk struct {
	Name      string       `json:"name"`
	Domain    string       `json:"domain"`
	Address   string       `json:"address"`
	Transport string       `json:"transport"`
	TLS       *rawIdentity `json:"tls,omitempty"`
	Networks  []string     `json:"networks"`
	Names     []string     `json:"names"`
	Formats   []string     `json:"formats"`
	Fallback  []string     `json:"fallback"`
	Probe     string       `json:"probe"`
}

type rawAdmin struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	SIP     bool   `json:"sip"`
}

type rawBans struct {
	SpareAllowed bool `json:"spare_allowed"`
}

type rawMedia struct {
	Guard string `json:"guard"`
}

type rawDestinations struct {
	Block []rawDestination `json:"block"`
	Allow []rawException   `json:"allow"`
}

type rawDestination struct {
	Prefix string `json:"prefix"`
	Reason string `json:"reason"`
}

type rawException struct {
	Prefix string `json:"prefix"`
	Reason string `json:"reason"`
	Until  string `json:"until,omitempty"`
}

// Decode reads a settings document, at most document.MaxSize bytes of JSON. The
// error is appliance.Errors with every mistake and its path.
func Decode(data []byte) (Settings, error) {
	var raw rawSettings
	mistakes, err := document.Read(data, Schema, &raw)
	if err != nil {
		return Settings{}, err
	}
	return refine(raw, mistakes)
}

func refine(raw rawSettings, m document.Mistakes) (Settings, error) {
	s := Settings{
		Site:    refineSite(&m, raw.Site),
		Network: refineNetwork(&m, raw.Network),
		SIP:     refineSIP(&m, raw.SIP),
		Trunks:  refineTrunks(&m, raw.Trunks),
		Admins:  refineAdmins(&m, raw.Admins),
		Tunnels: m.Tunnels("tunnels", raw.Tunnels),
		Ports:   m.Ports("ports", raw.Ports),
		Feeds:   m.Feeds("feeds", raw.Feeds),
		Limits:  m.Limits("limits", raw.Limits),
		Bans:    Bans(raw.Bans),
		Egress:  refinePasses(&m, raw.Egress),
		Media:   refineMedia(&m, raw.Media),
		HEP:     refineHEP(&m, raw.HEP),

		Accounts: m.Accounts("accounts", raw.Accounts),
		Guard:    m.Guard("guard", raw.Guard),

		Destinations: refineDestinations(&m, raw.Destinations),
		Fraud:        refineFraud(&m, raw.Fraud),
		Notify:       refineNotify(&m, raw.Notify),
	}
	s.SIP.Transparent = refineTransparent(&m, raw.SIP.Transparent, s.Network.WAN)
	if err := m.Err(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

func refineSite(m *document.Mistakes, raw rawSite) Site {
	name := m.Name("site.name", raw.Name, map[string]bool{})
	if countries := dialplan.Countries(); !slices.Contains(countries, raw.Country) {
		m.Add("site.country", "want one of %s", strings.Join(countries, ", "))
	}
	if len(raw.AreaCode) > 6 || !digits(raw.AreaCode) || strings.HasPrefix(raw.AreaCode, "0") {
		m.Add("site.area_code", `want up to six digits without the leading 0, like "2" or "20"`)
	}
	if raw.Extensions != 0 && (raw.Extensions < 2 || raw.Extensions > 6) {
		m.Add("site.extensions", "want the number of digits of an extension, 2 to 6, or 0 for none")
	}
	return Site{
		Name: name, Country: raw.Country, AreaCode: raw.AreaCode, Extensions: raw.Extensions,
		AccessDigits: refineAccess(m, raw.AccessDigits),
	}
}

// The longest lists. maxAccess bounds the work of reading one dialled string,
// the others that of opening sockets and attaching to interfaces.
const (
	maxAccess     = 8
	maxInterfaces = 16
	maxListeners  = 16
	maxTrunks     = 64
)

func refineAccess(m *document.Mistakes, raw []string) []string {
	raw = raw[:m.Count("site.access_digits", len(raw), maxAccess)]
	for i, one := range raw {
		at := fmt.Sprintf("site.access_digits[%d]", i)
		switch {
		case len(one) < 1 || len(one) > 3 || !digits(one):
			m.Add(at, `want one to three digits, like "0" or "9"`)
		case slices.Contains(raw[:i], one):
			m.Add(at, "%s is given twice", one)
		}
	}
	return raw
}

func refineNetwork(m *document.Mistakes, raw rawNetwork) Network {
	wan := raw.WAN[:m.Count("network.wan", len(raw.WAN), maxInterfaces)]
	for i, name := range wan {
		at := fmt.Sprintf("network.wan[%d]", i)
		if !interfaceName(name) {
			m.Add(at, "not the name of a network interface")
		} else if slices.Contains(wan[:i], name) {
			m.Add(at, "%s is given twice", name)
		}
	}
	if len(raw.LAN) == 0 {
		m.Add("network.lan", "missing: name the networks of the LAN, or nobody there can use the box")
	}
	return Network{WAN: wan, LAN: m.Networks("network.lan", raw.LAN, m.LocalNetwork)}
}

// interfaceName follows the kernel's dev_valid_name: 1 to 15 bytes, no slash,
// colon or space, neither "." nor "..".
func interfaceName(s string) bool {
	return len(s) >= 1 && len(s) <= 15 && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ':' })
}

func refineSIP(m *document.Mistakes, raw rawSIP) SIP {
	s := SIP{Refusal: raw.Refusal, Messages: refineMessages(m, raw.Messages), Listen: refineListen(m, "sip.listen", raw.Listen, nil)}
	if raw.TLS != nil {
		s.TLS = refineSecure(m, *raw.TLS, s.Listen)
	}
	if raw.PBX != nil {
		s.PBX = Peer{
			Address:   refineAddress(m, "sip.pbx.address", raw.PBX.Address),
			Transport: refineTransport(m, "sip.pbx.transport", raw.PBX.Transport),
			TLS:       refineIdentity(m, "sip.pbx.tls", raw.PBX.TLS, raw.PBX.Transport),
		}
		if s.PBX.Transport == TLS && s.PBX.TLS.CA == "" {
			m.Add("sip.pbx.tls.ca", "missing: name the PEM file of the PBX's certificate, or of the CA that signed it")
		}
	}
	if raw.Refusal != 403 && raw.Refusal != 603 {
		m.Add("sip.refusal", "want 403 or 603")
	}
	return s
}

// refineListen reads the addresses of listeners; those in taken have another one
// already.
func refineListen(m *document.Mistakes, field string, raw []string, taken []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for i, one := range raw[:m.Count(field, len(raw), maxListeners)] {
		at := fmt.Sprintf("%s[%d]", field, i)
		listen := refineEndpoint(m, at, one)
		switch {
		case slices.Contains(out, listen):
			m.Add(at, "%s is given twice", one)
		case slices.Contains(taken, listen):
			m.Add(at, "%s is listened on without TLS already, by sip.listen", one)
		}
		out = append(out, listen)
	}
	return out
}

// refineEndpoint reads an address to listen on, which may be the unspecified
// one.
func refineEndpoint(m *document.Mistakes, field, s string) netip.AddrPort {
	at, err := netip.ParseAddrPort(s)
	switch {
	case s == "":
		m.Add(field, "missing")
	case err != nil:
		m.Add(field, "want an IP address and a port, like 192.0.2.1:5060 or [2001:db8::1]:5060")
	case at.Port() == 0:
		m.Add(field, "want a port from 1 to 65535")
	case at.Addr().Is4In6():
		m.Add(field, "an IPv4 address in IPv6 clothes; write it as IPv4")
	case at.Addr().IsMulticast():
		m.Add(field, "a multicast address is nobody's")
	}
	return at
}

// refineAddress reads the address of a neighbour.
func refineAddress(m *document.Mistakes, field, s string) netip.AddrPort {
	at := refineEndpoint(m, field, s)
	if at.IsValid() && at.Addr().IsUnspecified() {
		m.Add(field, "want the address of one host, found %s", at.Addr())
	}
	return at
}

func refineTransport(m *document.Mistakes, field, s string) Transport {
	if t := Transport(s); t == UDP || t == TCP || t == TLS {
		return t
	}
	m.Add(field, "want udp, tcp or tls")
	return ""
}

// refineMedia takes a document from before there was a media guard for one that
// observes.
func refineMedia(m *document.Mistakes, raw *rawMedia) Media {
	if raw == nil {
		return Media{Guard: MediaObserve}
	}
	guard := MediaGuard(raw.Guard)
	if guard != MediaOff && guard != MediaObserve && guard != MediaEnforce {
		m.Add("media.guard", "want off, observe or enforce")
	}
	return Media{Guard: guard}
}

func refineAdmins(m *document.Mistakes, raw []rawAdmin) []Admin {
	var out []Admin
	names := make(map[string]bool)
	for i, one := range raw {
		at := fmt.Sprintf("admins[%d]", i)
		name := m.Name(at+".name", one.Name, names)
		out = append(out, Admin{Name: name, Network: m.Network(at+".network", one.Network), SIP: one.SIP})
	}
	return out
}

func refineDestinations(m *document.Mistakes, raw rawDestinations) Destinations {
	var out Destinations
	blocked, allowed := make(map[string]bool), make(map[string]bool)
	for i, one := range raw.Block {
		at := fmt.Sprintf("destinations.block[%d]", i)
		out.Block = append(out.Block, Destination{
			Prefix: m.Prefix(at+".prefix", one.Prefix, blocked),
			Reason: m.Text(at+".reason", one.Reason, document.MaxReason),
		})
	}
	for i, one := range raw.Allow {
		at := fmt.Sprintf("destinations.allow[%d]", i)
		out.Allow = append(out.Allow, Exception{
			Prefix: m.Prefix(at+".prefix", one.Prefix, allowed),
			Reason: m.Text(at+".reason", one.Reason, document.MaxReason),
			Until:  m.Time(at+".until", one.Until),
		})
	}
	return out
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }
