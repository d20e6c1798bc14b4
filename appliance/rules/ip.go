package rules

import (
	"encoding/binary"
	"net/netip"

	"github.com/ringfence/ringfence/appliance"
)

// packet is all that a verdict depends on.
type packet struct {
	source, destination netip.Addr
	protocol            byte
	// from, the source port, names flows that began inside and decides nothing
	// else: its sender picks it.
	from, to uint16
	opens    bool   // TCP's first packet: SYN without ACK
	payload  []byte // what follows the last header that was read

	// first is set in a first fragment. It names all fragments of one packet.
	first *fragment
	later fragment // in a later fragment
	// torn says that the packet's end is not here: a first fragment, or what a
	// tunnel's first fragment holds.
	torn bool
}

// fragment is what the fragments of one packet have in common: RFC 791 section
// 3.2, RFC 8200 section 4.5. IPv6 has no protocol in it.
type fragment struct {
	source, destination netip.Addr
	identification      uint32
	protocol            byte
}

// flow names the conversation that a packet which enters belongs to.
func (p packet) flow() flow {
	return flow{protocol: p.protocol, remote: p.source, remotePort: p.from, localPort: p.to}
}

// readIP reads a packet. torn says that only its beginning is there.
func readIP(family family, data []byte, torn bool) (packet, outcome) {
	if family == ipv4 {
		return readIPv4(data, torn)
	}
	return readIPv6(data, torn)
}

// readIPv4 reads an RFC 791 packet. Bytes after its total length are padding.
func readIPv4(data []byte, torn bool) (packet, outcome) {
	if len(data) < 20 {
		return packet{}, packet{torn: torn}.cut()
	}
	header := int(data[0]&15) << 2
	total := int(binary.BigEndian.Uint16(data[2:]))
	if data[0]>>4 != 4 || header < 20 || total < header || total > len(data) && !torn {
		return packet{}, malformed
	}
	total = min(total, len(data))
	p := packet{
		source:      netip.AddrFrom4([4]byte(data[12:16])),
		destination: netip.AddrFrom4([4]byte(data[16:20])),
		protocol:    data[9],
		torn:        torn,
	}
	word := binary.BigEndian.Uint16(data[6:])
	more, offset := word&0x2000 != 0, int(word&0x1fff)
	name := fragment{p.source, p.destination, uint32(binary.BigEndian.Uint16(data[4:])), p.protocol}
	if offset > 0 {
		p.later = name
		return p, laterFragment(p.protocol, offset)
	}
	if more {
		p.first, p.torn = &name, true
	}
	if header > total {
		return p, p.cut()
	}
	if end := readOptions(data[20:header]); end != readable {
		return p, end
	}
	return readTransport(p, ipv4, data[header:total])
}

// laterFragment judges a fragment that isn't the first. It holds no ports, and
// without its first fragment, which was judged, the receiver can't use it. Only
// TCP at offset 8 bytes could overwrite what was judged: RFC 3128.
func laterFragment(protocol byte, offset int) outcome {
	if protocol == protocolTCP && offset == 1 {
		return outcome(appliance.ReasonFragmentTiny)
	}
	return continued
}

// readOptions walks IPv4's options: RFC 791 section 3.1.
func readOptions(options []byte) outcome {
	const end, nothing, looseRoute, strictRoute = 0, 1, 131, 137
	for len(options) > 0 {
		switch options[0] {
		case end:
			return readable
		case nothing:
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return malformed
		}
		if options[0] == looseRoute || options[0] == strictRoute {
			return outcome(appliance.ReasonSourceRoute)
		}
		options = options[options[1]:]
	}
	return readable
}

// maxExtensions is how many IPv6 extension headers are followed.
const maxExtensions = 8

const (
	extensionRouting  = 43
	extensionFragment = 44
)

// readIPv6 reads an RFC 8200 packet with its chain of extension headers.
func readIPv6(data []byte, torn bool) (packet, outcome) {
	if len(data) < 40 {
		return packet{}, packet{torn: torn}.cut()
	}
	length := int(binary.BigEndian.Uint16(data[4:]))
	if data[0]>>4 != 6 || length > len(data)-40 && !torn {
		return packet{}, malformed
	}
	length = min(length, len(data)-40)
	p := packet{
		source:      netip.AddrFrom16([16]byte(data[8:24])),
		destination: netip.AddrFrom16([16]byte(data[24:40])),
		torn:        torn,
	}
	return readChain(p, data[6], data[40:40+length])
}

// readChain follows the extension headers. next is the kind of the first.
func readChain(p packet, next byte, rest []byte) (packet, outcome) {
	for n := 0; ; n++ {
		size, known := extensionSize(next, rest)
		switch {
		case !known:
			p.protocol = next
			return readTransport(p, ipv6, rest)
		case n == maxExtensions:
			return p, outcome(appliance.ReasonHeaderChain)
		case size > len(rest):
			return p, p.cut()
		case next == extensionRouting && rest[2] == 0: // RFC 5095
			return p, outcome(appliance.ReasonSourceRoute)
		case next == extensionFragment:
			if end := p.readFragment(rest); end != readable {
				return p, end
			}
		}
		next, rest = rest[0], rest[size:]
	}
}

// readFragment reads the header of RFC 8200 section 4.5. An atomic fragment
// (RFC 6946) is an ordinary packet. Nobody honest sends fragments of a fragment.
func (p *packet) readFragment(header []byte) outcome {
	if p.first != nil {
		return malformed
	}
	word := binary.BigEndian.Uint16(header[2:])
	name := fragment{source: p.source, destination: p.destination, identification: binary.BigEndian.Uint32(header[4:])}
	if offset := int(word >> 3); offset > 0 {
		p.later = name
		return laterFragment(header[0], offset)
	}
	if word&1 == 1 {
		p.first, p.torn = &name, true
	}
	return readable
}

// extensionSize returns how many bytes the header of that kind takes, at least
// 8, and whether the kind is one that leads to a next header at all.
func extensionSize(kind byte, rest []byte) (size int, known bool) {
	units := 0
	if len(rest) >= 8 {
		units = int(rest[1])
	}
	switch kind {
	case 0, extensionRouting, 60, 135, 139, 140: // hop-by-hop, destination, mobility, HIP, shim6
		return 8 + 8*units, true
	case 51: // authentication: RFC 4302 section 2.2
		return 8 + 4*units, true
	case extensionFragment:
		return 8, true
	}
	return 0, false
}

// cut names a header that ends before it should: on purpose in a first fragment
// (RFC 1858, RFC 7112), by mistake elsewhere.
func (p packet) cut() outcome {
	if p.torn {
		return outcome(appliance.ReasonFragmentTiny)
	}
	return malformed
}
