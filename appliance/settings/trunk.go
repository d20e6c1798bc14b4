package settings

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance/document"
)

func refineTrunks(m *document.Mistakes, raw []rawTrunk) []Trunk {
	var out []Trunk
	names, domains := make(map[string]bool), make(map[string]bool)
	for i, one := range raw[:m.Count("trunks", len(raw), maxTrunks)] {
		at := fmt.Sprintf("trunks[%d]", i)
		out = append(out, Trunk{
			Name:     m.Name(at+".name", one.Name, names),
			Domain:   refineDomain(m, at+".domain", one.Domain, domains),
			TLS:      refineIdentity(m, at+".tls", one.TLS, cmp.Or(one.Transport, string(TLS))),
			Networks: m.Networks(at+".networks", one.Networks, m.Network),
			Names:    m.DNSNames(at+".names", one.Names),
			Formats:  refineFormats(m, at+".formats", one.Formats),
			Fallback: one.Fallback,
			Probe:    refineProbe(m, at+".probe", one.Probe),
		})
		refineHop(m, at, one, &out[i])
	}
	for i := range out {
		refineFallback(m, fmt.Sprintf("trunks[%d].fallback", i), out[i], names)
	}
	return out
}

// refineDomain reads the host part of the trunk's SIP URIs: a DNS name in lower
// case, or an address literal in canonical form (without brackets).
func refineDomain(m *document.Mistakes, field, s string, taken map[string]bool) string {
	switch {
	case s == "":
		m.Add(field, "missing")
	case s != strings.ToLower(s):
		m.Add(field, "write it in lower case: %s", strings.ToLower(s))
	case !document.Domain(s) && !literal(s):
		m.Add(field, "neither a domain name like sip.example.net nor an IP address")
	case taken[s]:
		m.Add(field, "%s is the domain of an earlier trunk", s)
	}
	taken[s] = true
	return s
}

// literal accepts one spelling of an address only, so that hosts can be
// compared as text.
func literal(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == "" && !addr.Is4In6() && addr.String() == s
}

func refineFormats(m *document.Mistakes, field string, raw []string) []NumberFormat {
	known := []NumberFormat{FormatPlus, FormatInternational, FormatNational, FormatE164}
	var out []NumberFormat
	for i, s := range raw[:m.Count(field, len(raw), len(known))] {
		at := fmt.Sprintf("%s[%d]", field, i)
		format := NumberFormat(s)
		if !slices.Contains(known, format) {
			m.Add(at, "want plus, international, national or e164")
		} else if slices.Contains(out, format) {
			m.Add(at, "%s is given twice", s)
		}
		out = append(out, format)
	}
	return out
}
