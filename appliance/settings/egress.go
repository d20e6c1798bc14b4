package settings

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance/document"
)

// Pass lets hosts of the LAN speak a telephony protocol other than SIP to some
// networks on the internet. SIP itself is never passed: it goes through the
// inspector.
type Pass struct {
	Name     string
	Protocol Transport // UDP or TCP
	Port     uint16    // one of LockedPorts
	Networks []netip.Prefix
}

// TCP reports whether the pass is for TCP; else it is for UDP.
func (p Pass) TCP() bool { return p.Protocol == TCP }

// LockedPorts are the ports of telephony that is not SIP, ascending: nothing on
// the LAN reaches them on the internet, over any transport protocol, but by a
// Pass. SCCP 2000; H.323 1719 (RAS) and 1720 (call signalling); MGCP 2427 and 2727
// (RFC 3435 section 2.4); IAX2 4569 (RFC 5456 section 8); the tunnel of 3CX 5090.
func LockedPorts() []uint16 { return []uint16{1719, 1720, 2000, 2427, 2727, 4569, 5090} }

type rawPass struct {
	Name     string   `json:"name"`
	Protocol string   `json:"protocol"`
	Port     int      `json:"port"`
	Networks []string `json:"networks"`
}

// maxPasses bounds the rules that one packet is held against.
const maxPasses = 64

func refinePasses(m *document.Mistakes, raw []rawPass) []Pass {
	var out []Pass
	names := make(map[string]bool)
	for i, one := range raw[:m.Count("egress", len(raw), maxPasses)] {
		at := fmt.Sprintf("egress[%d]", i)
		if one.Port < 0 || one.Port > 65535 || !slices.Contains(LockedPorts(), uint16(one.Port)) {
			m.Add(at+".port", "want one of %v: no other port is locked, and SIP goes through the inspector", LockedPorts())
		}
		if len(one.Networks) == 0 {
			m.Add(at+".networks", "missing: say which hosts on the internet may be reached")
		}
		out = append(out, Pass{
			Name:     m.Name(at+".name", one.Name, names),
			Protocol: refineTransport(m, at+".protocol", one.Protocol),
			Port:     uint16(one.Port),
			Networks: m.Networks(at+".networks", one.Networks, m.Network),
		})
	}
	return out
}

func rawPasses(list []Pass) []rawPass {
	out := []rawPass{}
	for _, one := range list {
		out = append(out, rawPass{one.Name, string(one.Protocol), int(one.Port), rawNetworks(one.Networks)})
	}
	return out
}

// refineTransparent reads the LAN interfaces whose SIP is intercepted.
func refineTransparent(m *document.Mistakes, raw, wan []string) []string {
	raw = raw[:m.Count("sip.transparent", len(raw), maxInterfaces)]
	for i, name := range raw {
		at := fmt.Sprintf("sip.transparent[%d]", i)
		switch {
		case !interfaceName(name):
			m.Add(at, "not the name of a network interface")
		case slices.Contains(raw[:i], name):
			m.Add(at, "%s is given twice", name)
		case slices.Contains(wan, name):
			m.Add(at, "%s is a WAN interface: name those that the telephones are behind", name)
		}
	}
	if len(raw) > 0 && len(wan) == 0 {
		m.Add("sip.transparent", "name the WAN interfaces in network.wan first: SIP is intercepted on its way there")
	}
	return raw
}
