package appliance

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Locator is where a trunk is to be looked for in the DNS (RFC 3263).
type Locator struct {
	Host string // a domain or host name in lower case
	Port uint16 // 0: SRV records say (RFC 3263 section 4.2)
	// Transport is udp, tcp or tls; empty: NAPTR records say (RFC 3263 section
	// 4.1).
	Transport string
}

// String spells a locator as the SIP URI that it stands for, such as
// "sip:itsp.example;transport=tls".
func (l Locator) String() string {
	out := "sip:" + l.Host
	if l.Port != 0 {
		out += ":" + strconv.Itoa(int(l.Port))
	}
	if l.Transport != "" {
		out += ";transport=" + l.Transport
	}
	return out
}

// ParseLocator reads what String writes. The boolean is false for anything else,
// such as a plain DNS name.
func ParseLocator(s string) (Locator, bool) {
	rest, ok := strings.CutPrefix(s, "sip:")
	if !ok {
		return Locator{}, false
	}
	rest, transport, _ := strings.Cut(rest, ";transport=")
	host, text, found := strings.Cut(rest, ":")
	port, err := strconv.ParseUint(text, 10, 16)
	if found && err != nil {
		return Locator{}, false
	}
	l := Locator{Host: host, Port: uint16(port), Transport: transport}
	return l, l.String() == s
}

// Target is one place where a trunk's requests can be sent.
type Target struct {
	Address   netip.AddrPort `json:"address"`
	Transport string         `json:"transport"`        // udp, tcp or tls
	Host      string         `json:"host,omitempty"`   // the name that stands for the address
	Priority  uint16         `json:"priority"`         // lower ones are tried first (RFC 2782)
	Weight    uint16         `json:"weight,omitempty"` // share among those of one priority
}

// String names a target, such as "tls 192.0.2.1:5061".
func (t Target) String() string { return fmt.Sprintf("%s %s", t.Transport, t.Address) }
