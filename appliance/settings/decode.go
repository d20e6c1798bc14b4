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
	Schema       int                  `json:"schema"`
	Site         rawSite              `json:"site"`
	Network      rawNetwork           `json:"network"`
	SIP          rawSIP               `json:"sip"`
	Trunks       []rawTrunk           `json:"trunks"`
	Admins       []rawAdmin           `json:"admins"`
	Tunnels      []document.RawTunnel `json:"tunnels"`
	Ports        document.RawPorts    `json:"ports"`
	Feeds        []document.RawFeed   `json:"feeds"`
	Limits       document.RawLimits   `json:"limits"`
	Bans         rawBans              `json:"bans"`
	Destinations rawDestinations      `json:"destinations"`
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
	Listen  []string `json:"listen"`
	PBX     *rawPeer `json:"pbx,omitempty"`
	Refusal int      `json:"refusal"`
}

type rawPeer struct {
	Address   string `json:"address"`
	Transport string `json:"transport"`
}

type rawTrunk struct {
	Name      string   `json:"name"`
	Domain    string   `json:"domain"`
	Address   string   `json:"address"`
	Transport string   `json:"transport"`
	Networks  []string `json:"networks"`
	Names     []string `json:"names"`
	Formats   []string `json:"formats"`
}

type rawAdmin struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	SIP     bool   `json:"sip"`
}

type rawBans struct {
	SpareAllowed bool `json:"spare_allowed"`
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

		Destinations: refineDestinations(&m, raw.Destinations),
	}
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
	s := SIP{Refusal: raw.Refusal}
	for i, one := range raw.Listen[:m.Count("sip.listen", len(raw.Listen), maxListeners)] {
		at := fmt.Sprintf("sip.listen[%d]", i)
		listen := refineEndpoint(m, at, one)
		if slices.Contains(s.Listen, listen) {
			m.Add(at, "%s is given twice", one)
		}
		s.Listen = append(s.Listen, listen)
	}
	if raw.PBX != nil {
		s.PBX = Peer{
			Address:   refineAddress(m, "sip.pbx.address", raw.PBX.Address),
			Transport: refineTransport(m, "sip.pbx.transport", raw.PBX.Transport),
		}
	}
	if raw.Refusal != 403 && raw.Refusal != 603 {
		m.Add("sip.refusal", "want 403 or 603")
	}
	return s
}

// refineEndpoint reads an address to listen on, which may be the unspecified
// one.
func refineEndpoint(m *document.Mistakes, field, s string) netip.AddrPort {
	at, err := netip.ParseAddrPort(s)
	switch {
	case s == "":
		m.Add(field, "missing")
	case err != nil:
		m.Add(field, "want an IP address and a port, like 192.0.2.1:5060 or [2001:db8::1]:5060; a DNS name goes into the names of a trunk")
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
	if t := Transport(s); t == UDP || t == TCP {
		return t
	}
	m.Add(field, "want udp or tcp")
	return ""
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
