package document

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringfence/ringfence/appliance"
)

// The rules in this file are those that both documents share.

// The longest texts, in characters.
const (
	MaxName   = 64
	MaxReason = 200
)

// maxMistakes bounds what is said about one document: nobody reads more, and a
// hostile document must not cost more.
const maxMistakes = 100

// Mistakes gathers what is wrong with a document, up to maxMistakes. The zero
// value is empty.
type Mistakes struct{ found appliance.Errors }

// Add notes a mistake at a path. Where a mistake stands at that path, or at one
// that holds it, it says nothing new: what is missing because it could not be
// read is not missing twice.
func (m *Mistakes) Add(field, format string, args ...any) {
	if len(m.found) == maxMistakes {
		return
	}
	for _, earlier := range m.found {
		if within(field, earlier.Field) {
			return
		}
	}
	m.found = append(m.found, Invalid(field, format, args...))
}

func within(field, outer string) bool {
	rest, ok := strings.CutPrefix(field, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Err returns the mistakes as appliance.Errors, or nil where there are none.
func (m *Mistakes) Err() error { return m.found.Or() }

// Text checks a line that a person reads: printable, at most longest
// characters, no space at either end.
func (m *Mistakes) Text(field, s string, longest int) string {
	switch {
	case utf8.RuneCountInString(s) > longest:
		m.Add(field, "longer than %d characters", longest)
	case strings.TrimSpace(s) != s:
		m.Add(field, "begins or ends with a space")
	case strings.ContainsFunc(s, unprintable):
		m.Add(field, "holds a character that can't be printed")
	}
	return s
}

// unprintable refuses the replacement character too: it stands where a JSON
// escape was half a surrogate pair.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// Count checks that a list has at most most entries, and returns how many of
// them are worth looking at.
func (m *Mistakes) Count(field string, entries, most int) int {
	if entries > most {
		m.Add(field, "%d entries; at most %d are of use", entries, most)
	}
	return min(entries, most)
}

// Name checks a Text that must not be empty, nor repeat one in taken,
// which it adds to.
func (m *Mistakes) Name(field, s string, taken map[string]bool) string {
	if s == "" {
		m.Add(field, "missing")
		return s
	}
	if folded := strings.ToLower(s); taken[folded] {
		m.Add(field, "%q is the name of an earlier entry", shorten(s))
	} else {
		taken[folded] = true
	}
	return m.Text(field, s, MaxName)
}

// Time checks an optional moment in RFC 3339 form, of this century, and returns
// it in UTC; zero where s is empty.
func (m *Mistakes) Time(field, s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if t = t.UTC(); err != nil || t.Year() < 2000 || t.Year() > 2099 {
		m.Add(field, "not a time of this century; write it like 2026-05-04T03:02:01Z")
		return time.Time{}
	}
	return t
}

// Shortest prefix lengths of a network on the internet. Anything wider than a
// regional registry ever handed out is a slip of the keyboard.
const (
	widest4 = 8
	widest6 = 16
)

// Network checks a CIDR network of hosts on the internet: "203.0.113.0/24",
// with no host bits set and not wider than /8 (IPv6: /16). A bare address is
// taken as a network of one.
func (m *Mistakes) Network(field, s string) netip.Prefix {
	prefix, ok := m.prefix(field, s)
	if !ok {
		return netip.Prefix{}
	}
	if prefix.Bits() == 0 {
		m.Add(field, "%s is the whole internet; name the networks that you mean", s)
	} else if widest := widestFor(prefix); prefix.Bits() < widest {
		m.Add(field, "%s is wider than /%d; name the networks that you mean", s, widest)
	}
	return prefix
}

func widestFor(prefix netip.Prefix) int {
	if prefix.Addr().Is4() {
		return widest4
	}
	return widest6
}

// LocalNetwork checks a CIDR network on the LAN. It may be as wide as fc00::/7,
// but not everything.
func (m *Mistakes) LocalNetwork(field, s string) netip.Prefix {
	prefix, ok := m.prefix(field, s)
	if ok && prefix.Bits() == 0 {
		m.Add(field, "%s is the whole internet; name the networks of the LAN", s)
	}
	return prefix
}

func (m *Mistakes) prefix(field, s string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(s)
	if addr, addrErr := netip.ParseAddr(s); addrErr == nil && addr.Zone() == "" {
		prefix, err = addr.Prefix(addr.BitLen())
	}
	switch {
	case err != nil:
		m.Add(field, "%s is not a network; write it like 203.0.113.0/24 or 2001:db8::/32", shorten(s))
	case prefix.Addr().Is4In6():
		m.Add(field, "%s is an IPv4 network in IPv6 clothes; write it as IPv4", s)
	case prefix != prefix.Masked():
		m.Add(field, "%s has bits set after /%d; write %s", s, prefix.Bits(), prefix.Masked())
	case prefix.Addr().IsMulticast():
		m.Add(field, "%s is a multicast network; no host sends from it", s)
	default:
		return prefix, true
	}
	return netip.Prefix{}, false
}

// Networks checks a list of Network and refuses repeats.
func (m *Mistakes) Networks(field string, list []string, one func(field, s string) netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	seen := make(map[netip.Prefix]bool)
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		prefix := one(at, s)
		if prefix.IsValid() && seen[prefix] {
			m.Add(at, "%s is given twice", s)
		}
		seen[prefix] = true
		out = append(out, prefix)
	}
	return out
}

// Ports are the lists of ports that a document guards, by what may reach them.
type Ports struct {
	SIP  []uint16
	HTTP []uint16
	Open []uint16 // by the internet, except by what stands on a feed
}

// RawPorts are Ports in JSON.
type RawPorts struct {
	SIP  []int `json:"sip"`
	HTTP []int `json:"http"`
	Open []int `json:"open"`
}

// Ports checks lists of ports: 1 to 65535, and each once in all of them.
func (m *Mistakes) Ports(field string, raw RawPorts) Ports {
	line := make(map[int]string)
	list := func(name string, ports []int) []uint16 {
		var out []uint16
		for i, port := range ports {
			at := fmt.Sprintf("%s.%s[%d]", field, name, i)
			switch other, taken := line[port]; {
			case port < 1 || port > 65535:
				m.Add(at, "want a port from 1 to 65535, found %d", port)
			case taken:
				m.Add(at, "%d stands at %s already; a port has one service", port, other)
			default:
				line[port] = at
			}
			out = append(out, uint16(port))
		}
		return out
	}
	return Ports{SIP: list("sip", raw.SIP), HTTP: list("http", raw.HTTP), Open: list("open", raw.Open)}
}

// RawPortsOf is the way back.
func RawPortsOf(p Ports) RawPorts {
	raw := func(ports []uint16) []int {
		out := []int{}
		for _, port := range ports {
			out = append(out, int(port))
		}
		return out
	}
	return RawPorts{raw(p.SIP), raw(p.HTTP), raw(p.Open)}
}

// Prefix checks the head of an E.164 number: a plus and 1 to 15 digits, the
// first of them not 0 (ITU-T E.164, section 6.2.1).
func (m *Mistakes) Prefix(field, s string, taken map[string]bool) string {
	digits, plus := strings.CutPrefix(s, "+")
	switch {
	case s == "":
		m.Add(field, "missing")
	case !plus || len(digits) < 1 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" || digits[0] == '0':
		m.Add(field, "%s is not a prefix; write a plus and 1 to 15 digits, country code first, like +252", shorten(s))
	case taken[s]:
		m.Add(field, "%s is given twice", s)
	}
	taken[s] = true
	return s
}
