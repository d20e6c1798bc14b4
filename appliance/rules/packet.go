package rules

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
)

// Packet judges one Ethernet frame as it enters on the WAN: the slow, obvious
// model of the XDP program. A nil or zero Rules shuts StandardPorts for every
// source and lets the rest pass.
func (r *Rules) Packet(frame []byte) (appliance.Verdict, appliance.Reason) {
	return r.Guard().Judge(frame)
}

// StandardPorts returns the destination ports, UDP and TCP, that stay shut for
// every source while there are no rules: SIP, SIP over TLS, the alternative SIP
// port that appliances use, and the three common web ports. The rest passes
// then, because a box that has lost its rules must not cost the site its
// internet or the installer the way in to mend it.
func StandardPorts() []uint16 {
	return []uint16{5060, 5061, 50600, 80, 443, 8080}
}

// Judge is Rules.Packet for a perimeter alone. frame begins at the Ethernet
// destination address and has no frame check sequence. A Guard without any port
// counts as no rules.
func (g Guard) Judge(frame []byte) (appliance.Verdict, appliance.Reason) {
	flow, end := readFrame(frame)
	reason := appliance.Reason(end)
	if end == readable {
		reason = g.judge(flow)
	}
	return reason.Verdict(), reason
}

func (g Guard) judge(f flow) appliance.Reason {
	switch {
	case g.empty() && slices.Contains(StandardPorts(), f.port):
		return appliance.ReasonNoRules
	case slices.Contains(g.Ports[ServiceSIP], f.port):
		return choose(g.grants(f.source, ServiceSIP), appliance.ReasonSIPAllowed, appliance.ReasonSIPSource)
	case slices.Contains(g.Ports[ServiceHTTP], f.port):
		return choose(g.grants(f.source, ServiceHTTP), appliance.ReasonHTTPAllowed, appliance.ReasonHTTPSource)
	}
	return appliance.ReasonNotGuarded
}

func (g Guard) empty() bool {
	for _, ports := range g.Ports {
		if len(ports) > 0 {
			return false
		}
	}
	return true
}

// grants asks every source: where networks overlap, each adds its services.
func (g Guard) grants(address netip.Addr, service Service) bool {
	for _, source := range g.Sources {
		if source.Prefix.Contains(address) && source.Services&(1<<service) != 0 {
			return true
		}
	}
	return false
}

func choose(condition bool, yes, no appliance.Reason) appliance.Reason {
	if condition {
		return yes
	}
	return no
}

// flow is all that a verdict depends on. The source port is not among it: its
// sender picks it.
type flow struct {
	source netip.Addr
	port   uint16 // destination
}

// outcome is the reason at which reading a frame ends early, or readable.
type outcome int

const readable outcome = -1

func readFrame(frame []byte) (flow, outcome) {
	kind, packet, end := untag(frame)
	switch {
	case end != readable:
		return flow{}, end
	case kind == 0x0800:
		return readIPv4(packet)
	case kind == 0x86dd:
		return readIPv6(packet)
	}
	return flow{}, outcome(appliance.ReasonNotIP)
}

// untag removes the Ethernet header and up to two tags, IEEE 802.1Q or 802.1ad
// in any order, and returns the EtherType of what is left.
func untag(frame []byte) (kind uint16, packet []byte, end outcome) {
	if len(frame) < 14 {
		return 0, nil, outcome(appliance.ReasonMalformed)
	}
	rest := frame[12:]
	for tags := 0; ; tags++ {
		kind, rest = binary.BigEndian.Uint16(rest), rest[2:]
		if kind != 0x8100 && kind != 0x88a8 {
			return kind, rest, readable
		}
		if tags == 2 {
			return 0, nil, outcome(appliance.ReasonVLANDepth)
		}
		if len(rest) < 4 {
			return 0, nil, outcome(appliance.ReasonMalformed)
		}
		rest = rest[2:] // priority and identifier decide nothing
	}
}

// readIPv4 reads an RFC 791 packet. Bytes after its total length are padding.
func readIPv4(packet []byte) (flow, outcome) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return flow{}, outcome(appliance.ReasonMalformed)
	}
	header := int(packet[0]&15) << 2
	total := int(binary.BigEndian.Uint16(packet[2:]))
	if header < 20 || total < header || total > len(packet) {
		return flow{}, outcome(appliance.ReasonMalformed)
	}
	word := binary.BigEndian.Uint16(packet[6:])
	more, offset := word&0x2000 != 0, int(word&0x1fff)
	if offset > 0 {
		return flow{}, laterFragment(packet[9], offset)
	}
	source := netip.AddrFrom4([4]byte(packet[12:16]))
	return readTransport(source, packet[9], packet[header:total], more)
}

// laterFragment judges a fragment that isn't the first. It holds no ports, and
// without its first fragment, which was judged, the receiver can't use it. Only
// TCP at offset 8 bytes could overwrite what was judged: RFC 3128.
func laterFragment(protocol byte, offset int) outcome {
	if protocol == 6 && offset == 1 {
		return outcome(appliance.ReasonFragmentTiny)
	}
	return outcome(appliance.ReasonFragmentLater)
}

// maxExtensions is how many IPv6 extension headers are followed.
const maxExtensions = 8

// readIPv6 reads an RFC 8200 packet with its chain of extension headers.
func readIPv6(packet []byte) (flow, outcome) {
	if len(packet) < 40 || packet[0]>>4 != 6 {
		return flow{}, outcome(appliance.ReasonMalformed)
	}
	source := netip.AddrFrom16([16]byte(packet[8:24]))
	length, next, rest := int(binary.BigEndian.Uint16(packet[4:])), packet[6], packet[40:]
	if length > len(rest) {
		return flow{}, outcome(appliance.ReasonMalformed)
	}
	rest = rest[:length]
	first := false
	for n := 0; ; n++ {
		size, known := extensionSize(next, rest)
		switch {
		case !known:
			return readTransport(source, next, rest, first)
		case n == maxExtensions:
			return flow{}, outcome(appliance.ReasonHeaderChain)
		case size > len(rest):
			return flow{}, cutShort(first)
		}
		if next == 44 { // RFC 8200 section 4.5; an atomic fragment (RFC 6946) is ordinary
			word := binary.BigEndian.Uint16(rest[2:])
			if offset := int(word >> 3); offset > 0 {
				return flow{}, laterFragment(rest[0], offset)
			}
			first = first || word&1 == 1
		}
		next, rest = rest[0], rest[size:]
	}
}

// extensionSize returns how many bytes the header of that kind takes, at least
// 8, and whether the kind is one that leads to a next header at all.
func extensionSize(kind byte, rest []byte) (size int, known bool) {
	units := 0
	if len(rest) >= 8 {
		units = int(rest[1])
	}
	switch kind {
	case 0, 43, 60, 135, 139, 140: // hop-by-hop, routing, destination, mobility, HIP, shim6
		return 8 + 8*units, true
	case 51: // authentication: RFC 4302 section 2.2
		return 8 + 4*units, true
	case 44:
		return 8, true
	}
	return 0, false
}

// readTransport reads as much of UDP (RFC 768) or TCP (RFC 9293) as the
// destination port needs and the header's own lengths can contradict. first
// says that segment is cut off by a fragment's end.
func readTransport(source netip.Addr, protocol byte, segment []byte, first bool) (flow, outcome) {
	least := map[byte]int{17: 8, 6: 20}[protocol]
	switch {
	case least == 0:
		return flow{}, outcome(appliance.ReasonOtherProtocol)
	case len(segment) < least:
		return flow{}, cutShort(first)
	}
	if protocol == 17 {
		length := int(binary.BigEndian.Uint16(segment[4:]))
		if length < 8 || length > len(segment) && !first {
			return flow{}, outcome(appliance.ReasonMalformed)
		}
	} else {
		header := int(segment[12]>>4) << 2
		if header < 20 {
			return flow{}, outcome(appliance.ReasonMalformed)
		}
		if header > len(segment) {
			return flow{}, cutShort(first)
		}
	}
	return flow{source: source, port: binary.BigEndian.Uint16(segment[2:])}, readable
}

// cutShort names a header that ends before it should: on purpose in a first
// fragment (RFC 1858, RFC 7112), by mistake elsewhere.
func cutShort(first bool) outcome {
	if first {
		return outcome(appliance.ReasonFragmentTiny)
	}
	return outcome(appliance.ReasonMalformed)
}
