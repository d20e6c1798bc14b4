package policy

import (
	"fmt"

	"github.com/ringfence/ringfence/appliance/document"
)

// The raw structs are the document as it stands on disk and on the wire. Only
// refine turns one into a Policy.
type rawPolicy struct {
	Schema       int                   `json:"schema"`
	Serial       uint64                `json:"serial"`
	Issuer       string                `json:"issuer"`
	Issued       string                `json:"issued,omitempty"`
	Ports        document.RawPorts     `json:"ports"`
	Providers    []rawProvider         `json:"providers"`
	Admins       []rawAdmin            `json:"admins"`
	Tunnels      []document.RawTunnel  `json:"tunnels"`
	Feeds        []document.RawFeed    `json:"feeds"`
	Limits       document.RawLimits    `json:"limits"`
	Destinations *rawDestinations      `json:"destinations"`
	Fraud        rawFraud              `json:"fraud"`
	OpaqueTLS    string                `json:"opaque_tls"`
	Grants       rawGrants             `json:"grants"`
	Accounts     []document.RawAccount `json:"accounts"`
	Guard        document.RawGuard     `json:"guard"`
}

type rawProvider struct {
	Name     string   `json:"name"`
	Networks []string `json:"networks"`
	Names    []string `json:"names"`
}

type rawAdmin struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	SIP     bool   `json:"sip"`
}

type rawDestinations struct {
	HighRisk *bool            `json:"high_risk"`
	Block    []rawDestination `json:"block"`
	Allow    []rawDestination `json:"allow"`
}

type rawDestination struct {
	Prefix string `json:"prefix"`
	Reason string `json:"reason"`
}

type rawGrants struct {
	Providers  bool `json:"providers"`
	Admins     bool `json:"admins"`
	AdminSIP   bool `json:"admin_sip"`
	Tunnels    bool `json:"tunnels"`
	Fraud      bool `json:"fraud"`
	Accounts   bool `json:"accounts"`
	Guard      bool `json:"guard"`
	Egress     bool `json:"egress"`
	Exceptions int  `json:"exceptions"`
}

// Decode reads a policy document, at most document.MaxSize bytes of JSON. The
// error is appliance.Errors with every mistake and its path.
func Decode(data []byte) (Policy, error) {
	var raw rawPolicy
	mistakes, err := document.Read(data, Schema, &raw)
	if err != nil {
		return Policy{}, err
	}
	return refine(raw, mistakes)
}

func refine(raw rawPolicy, m document.Mistakes) (Policy, error) {
	p := Policy{
		Serial:       raw.Serial,
		Issuer:       m.Text("issuer", raw.Issuer, document.MaxName),
		Issued:       m.Time("issued", raw.Issued),
		Ports:        refinePorts(&m, raw.Ports),
		Providers:    refineProviders(&m, raw.Providers),
		Admins:       refineAdmins(&m, raw.Admins),
		Tunnels:      m.Tunnels("tunnels", raw.Tunnels),
		Feeds:        m.Feeds("feeds", raw.Feeds),
		Limits:       m.Limits("limits", raw.Limits),
		Accounts:     m.Accounts("accounts", raw.Accounts),
		Guard:        m.Guard("guard", raw.Guard),
		Destinations: refineDestinations(&m, raw.Destinations),
		Fraud:        refineFraud(&m, raw.Fraud),
		OpaqueTLS:    refineOpaqueTLS(&m, raw.OpaqueTLS),
		Grants:       refineGrants(&m, raw.Grants),
	}
	if err := m.Err(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// refinePorts asks for a SIP port, because a policy that guards none is a
// mistake that nobody would notice.
func refinePorts(m *document.Mistakes, raw document.RawPorts) Ports {
	if len(raw.SIP) == 0 {
		m.Add("ports.sip", "missing: a policy guards at least one SIP port")
	}
	return m.Ports("ports", raw)
}

func refineProviders(m *document.Mistakes, raw []rawProvider) []Provider {
	var out []Provider
	names := make(map[string]bool)
	for i, one := range raw {
		at := fmt.Sprintf("providers[%d]", i)
		name := m.Name(at+".name", one.Name, names)
		if len(one.Networks) == 0 && len(one.Names) == 0 {
			m.Add(at+".networks", "missing: say where the provider's signalling comes from, by networks or names")
		}
		out = append(out, Provider{
			Name:     name,
			Networks: m.Networks(at+".networks", one.Networks, m.Network),
			Names:    m.DNSNames(at+".names", one.Names),
		})
	}
	return out
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

// refineDestinations asks for high_risk by name: a policy that merely forgot it
// must not switch the list off.
func refineDestinations(m *document.Mistakes, raw *rawDestinations) Destinations {
	if raw == nil || raw.HighRisk == nil {
		m.Add("destinations.high_risk", "missing: say true or false")
	}
	if raw == nil {
		return Destinations{}
	}
	return Destinations{
		HighRisk: raw.HighRisk != nil && *raw.HighRisk,
		Block:    refineList(m, "destinations.block", raw.Block),
		Allow:    refineList(m, "destinations.allow", raw.Allow),
	}
}

func refineList(m *document.Mistakes, field string, raw []rawDestination) []Destination {
	var out []Destination
	taken := make(map[string]bool)
	for i, one := range raw {
		at := fmt.Sprintf("%s[%d]", field, i)
		out = append(out, Destination{
			Prefix: m.Prefix(at+".prefix", one.Prefix, taken),
			Reason: m.Text(at+".reason", one.Reason, document.MaxReason),
		})
	}
	return out
}

func refineGrants(m *document.Mistakes, raw rawGrants) Grants {
	if raw.Exceptions < 0 || raw.Exceptions > 15 {
		m.Add("grants.exceptions", "want 0 (none) or the shortest prefix in digits, 1 to 15")
	}
	if raw.AdminSIP && !raw.Admins {
		m.Add("grants.admin_sip", "granted without grants.admins, so nobody could use it")
	}
	return Grants{
		Providers: raw.Providers, Admins: raw.Admins, AdminSIP: raw.AdminSIP,
		Tunnels: raw.Tunnels, Fraud: raw.Fraud, Accounts: raw.Accounts, Guard: raw.Guard, Egress: raw.Egress, Exceptions: raw.Exceptions,
	}
}

// The verdicts on SIP over TLS that crosses the box unread. A policy that names
// none denies.
const (
	opaqueDeny  = "deny"
	opaqueAllow = "allow"
)

func refineOpaqueTLS(m *document.Mistakes, raw string) bool {
	if raw != "" && raw != opaqueDeny && raw != opaqueAllow {
		m.Add("opaque_tls", "want deny or allow")
	}
	return raw == opaqueAllow
}
