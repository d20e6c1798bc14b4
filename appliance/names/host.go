package names

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Lengths of a name in text, RFC 1035, section 2.3.4: 255 octets on the wire are
// 253 characters.
const (
	maxName  = 253
	maxLabel = 63
)

var (
	errLength    = errors.New("not a DNS name: 1 to 253 characters, and 1 to 63 between dots")
	errLetters   = errors.New("not a DNS name: letters, digits, inner hyphens and underscores only")
	errQualified = errors.New("not a DNS name of the internet: it needs a domain")
	errLiteral   = errors.New("an address, not a DNS name")
)

// canonical checks a name and returns it as it is asked for: in lower case and
// with its final dot. Names come from documents and, as targets, from the wire.
func canonical(name string) (string, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if len(name) < 1 || len(name) > maxName {
		return "", errLength
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", errLiteral
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		switch {
		case len(label) < 1 || len(label) > maxLabel:
			return "", errLength
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "",
			strings.HasPrefix(label, "-"), strings.HasSuffix(label, "-"):
			return "", errLetters
		}
	}
	switch last := labels[len(labels)-1]; {
	case len(labels) < 2:
		return "", errQualified
	case strings.Trim(last, "0123456789") == "":
		return "", errLiteral // RFC 1123, section 2.1: no top-level domain is a number
	}
	return name + ".", nil
}

// isService tells an SRV name (RFC 2782: _service._protocol.name) from a host.
func isService(query string) bool {
	labels := strings.SplitN(query, ".", 3)
	return len(labels) == 3 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_")
}

// notHosts are addresses that no host on another network has, besides those
// that netip.Addr tells by itself.
func notHosts() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),     // this network: RFC 1122, section 3.2.1.3
		netip.MustParsePrefix("240.0.0.0/4"),   // reserved, and 255.255.255.255
		netip.MustParsePrefix("::/96"),         // IPv4-compatible, withdrawn: RFC 4291, section 2.5.5.1
		netip.MustParsePrefix("100::/64"),      // discard-only: RFC 6666
		netip.MustParsePrefix("fec0::/10"),     // site-local, withdrawn: RFC 3879
		netip.MustParsePrefix("::ffff:0:0/96"), // IPv4-mapped, never on the wire: RFC 4291, section 2.5.5.2
	}
}

// unfit says why an address can't be a provider's, or nothing.
func unfit(addr netip.Addr) string {
	switch {
	case !addr.IsValid() || addr.Zone() != "":
		return "no address"
	case addr.IsUnspecified():
		return "unspecified"
	case addr.IsLoopback():
		return "loopback"
	case addr.IsMulticast():
		return "multicast"
	case addr.IsLinkLocalUnicast():
		return "link-local"
	case addr.Is4In6():
		return "IPv4 in disguise"
	}
	for _, prefix := range notHosts() {
		if prefix.Contains(addr) {
			return "no host's address"
		}
	}
	return ""
}

// addressOf reads an A or AAAA record.
func addressOf(record dns.RR) (netip.Addr, bool) {
	switch r := record.(type) {
	case *dns.A:
		addr, ok := netip.AddrFromSlice(r.A)
		return addr.Unmap(), ok // the library may hold four bytes in sixteen
	case *dns.AAAA:
		addr, ok := netip.AddrFromSlice(r.AAAA)
		return addr, ok && addr.Is6()
	}
	return netip.Addr{}, false
}
