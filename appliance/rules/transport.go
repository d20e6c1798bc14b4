package rules

import (
	"bytes"
	"encoding/binary"

	"github.com/ringfence/ringfence/appliance"
)

// Protocols with a meaning here.
const (
	protocolICMP    = 1
	protocolIPv4    = 4 // RFC 2003
	protocolTCP     = 6
	protocolUDP     = 17
	protocolDCCP    = 33
	protocolIPv6    = 41 // RFC 4213
	protocolGRE     = 47
	protocolICMPv6  = 58
	protocolSCTP    = 132
	protocolUDPLite = 136
)

// readTransport reads as much of a segment as a verdict needs and the header's
// own lengths can contradict.
func readTransport(p packet, family family, segment []byte) (packet, outcome) {
	switch p.protocol {
	case protocolUDP, protocolUDPLite:
		return readUDP(p, segment)
	case protocolTCP:
		return readTCP(p, segment)
	case protocolSCTP, protocolDCCP:
		return readPorts(p, segment, 12)
	case protocolIPv4, protocolIPv6, protocolGRE:
		p.payload = segment
		return p, encapsulated
	}
	redirect := family == ipv4 && p.protocol == protocolICMP && bytes.HasPrefix(segment, []byte{5}) ||
		family == ipv6 && p.protocol == protocolICMPv6 && bytes.HasPrefix(segment, []byte{137})
	if redirect {
		return p, outcome(appliance.ReasonRedirectICMP)
	}
	return p, otherProtocol
}

// readPorts reads what all protocols with ports begin with.
func readPorts(p packet, segment []byte, header int) (packet, outcome) {
	if len(segment) < header {
		return p, p.cut()
	}
	p.from, p.to = binary.BigEndian.Uint16(segment), binary.BigEndian.Uint16(segment[2:])
	return p, readable
}

// readUDP reads RFC 768 and RFC 3828. UDP-Lite has a coverage in the place of
// the length.
func readUDP(p packet, segment []byte) (packet, outcome) {
	p, end := readPorts(p, segment, 8)
	if end != readable {
		return p, end
	}
	length := int(binary.BigEndian.Uint16(segment[4:]))
	if p.protocol == protocolUDP && (length < 8 || length > len(segment) && !p.torn) {
		return p, malformed
	}
	p.payload = segment[8:]
	return p, readable
}

// readTCP reads RFC 9293.
func readTCP(p packet, segment []byte) (packet, outcome) {
	p, end := readPorts(p, segment, 20)
	if end != readable {
		return p, end
	}
	header := int(segment[12]>>4) << 2
	if header < 20 {
		return p, malformed
	}
	if header > len(segment) {
		return p, p.cut()
	}
	const syn, ack = 0x02, 0x10
	p.opens = segment[13]&(syn|ack) == syn
	p.payload = segment[header:]
	return p, readable
}

// decapsulate returns the packet in a tunnel's.
func decapsulate(p packet) (family, []byte, outcome) {
	switch p.protocol {
	case protocolIPv4:
		return ipv4, p.payload, readable
	case protocolIPv6:
		return ipv6, p.payload, readable
	}
	return readGRE(p)
}

// readGRE reads RFC 2784 with RFC 2890's fields. Version 1 is PPTP, whose PPP
// ends in a program on this box or in none. Routing is RFC 1701's, which Linux
// refuses.
func readGRE(p packet) (family, []byte, outcome) {
	const checksum, routing, key, sequence = 0x80, 0x40, 0x20, 0x10
	if len(p.payload) < 4 {
		return 0, nil, p.cut()
	}
	flags, version := p.payload[0], p.payload[1]&7
	switch {
	case version != 0:
		return 0, nil, otherProtocol
	case flags&routing != 0:
		return 0, nil, malformed
	}
	size := 4
	for _, field := range []byte{checksum, key, sequence} {
		if flags&field != 0 {
			size += 4
		}
	}
	if len(p.payload) < size {
		return 0, nil, p.cut()
	}
	switch binary.BigEndian.Uint16(p.payload[2:]) {
	case typeIPv4:
		return ipv4, p.payload[size:], readable
	case typeIPv6:
		return ipv6, p.payload[size:], readable
	}
	return 0, nil, outcome(appliance.ReasonTunnelDepth) // Ethernet, WCCP's redirected packets: not looked into
}

// requestHead is how much of a payload tells a request, and methodMost how long a
// method is at most.
const (
	requestHead = 64
	methodMost  = 10
)

// looksLikeRequest reports whether a payload begins as a SIP request does, as
// loosely as the loosest of its readers takes RFC 3261 sections 7.1 and 7.5: line
// ends that are skipped, a method in any case or its first letter, blanks, and a
// scheme. What has not come to its scheme within the head hides it on purpose.
func looksLikeRequest(payload []byte) bool {
	head := payload[:min(len(payload), requestHead)]
	rest := bytes.TrimLeft(head, "\r\n")
	method := rest
	for len(rest) > 0 && isLetter(rest[0]) && len(method)-len(rest) <= methodMost {
		rest = rest[1:]
	}
	letters := len(method) - len(rest)
	if letters > methodMost || len(rest) > 0 && (letters == 0 || rest[0] != ' ' && rest[0] != '\t') {
		return false
	}
	rest = bytes.TrimLeft(rest, " \t")
	if len(head) == requestHead && len(rest) < len("sips:") {
		return true
	}
	uri := bytes.ToLower(rest)
	for _, scheme := range []string{"sip:", "sips:", "tel:"} {
		if bytes.HasPrefix(uri, []byte(scheme)) {
			return true
		}
	}
	return false
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
