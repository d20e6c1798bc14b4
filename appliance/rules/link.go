package rules

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/appliance"
)

// outcome is the reason at which reading ends early, or one of those below.
type outcome int

const (
	readable     outcome = -1 - iota // all that was asked for
	encapsulated                     // a tunnel, unread
	continued                        // a later fragment, which has no ports
)

const (
	malformed     = outcome(appliance.ReasonMalformed)
	otherProtocol = outcome(appliance.ReasonOtherProtocol)
)

// family is the version of an IP packet.
type family int

const (
	ipv4 family = 4
	ipv6 family = 6
)

const (
	typeCustomerTag = 0x8100 // IEEE 802.1Q
	typeServiceTag  = 0x88a8 // IEEE 802.1ad
	typeSession     = 0x8864 // RFC 2516
	typeIPv4        = 0x0800
	typeIPv6        = 0x86dd
)

// unwrap takes off what a frame has around its IP packet. What is left may end
// with padding.
func unwrap(frame []byte) (family, []byte, outcome) {
	kind, rest, end := untag(frame)
	switch {
	case end != readable:
		return 0, nil, end
	case kind == typeSession:
		return readSession(rest)
	case kind == typeIPv4:
		return ipv4, rest, readable
	case kind == typeIPv6:
		return ipv6, rest, readable
	}
	return 0, nil, outcome(appliance.ReasonNotIP)
}

// untag removes the Ethernet header and up to two tags, IEEE 802.1Q or 802.1ad
// in any order, and returns the EtherType of what is left.
func untag(frame []byte) (kind uint16, packet []byte, end outcome) {
	if len(frame) < 14 {
		return 0, nil, malformed
	}
	rest := frame[12:]
	for tags := 0; ; tags++ {
		kind, rest = binary.BigEndian.Uint16(rest), rest[2:]
		if kind != typeCustomerTag && kind != typeServiceTag {
			return kind, rest, readable
		}
		if tags == 2 {
			return 0, nil, outcome(appliance.ReasonVLANDepth)
		}
		if len(rest) < 4 {
			return 0, nil, malformed
		}
		rest = rest[2:] // priority and identifier decide nothing
	}
}

// readSession reads PPP in a PPPoE session. Version, type and code are ignored
// because Linux ignores them.
func readSession(rest []byte) (family, []byte, outcome) {
	if len(rest) < 6 {
		return 0, nil, malformed
	}
	length := int(binary.BigEndian.Uint16(rest[4:]))
	if length > len(rest)-6 {
		return 0, nil, malformed
	}
	return readPPP(rest[6 : 6+length])
}

// readPPP reads the protocol, of which a leading zero byte may be left out
// (RFC 1661 section 6.5): the last byte is the odd one.
func readPPP(rest []byte) (family, []byte, outcome) {
	size := 2
	if len(rest) > 0 && rest[0]&1 == 1 {
		size = 1
	}
	if len(rest) < size {
		return 0, nil, malformed
	}
	protocol := 0
	for _, octet := range rest[:size] {
		protocol = protocol<<8 | int(octet)
	}
	switch protocol {
	case 0x21:
		return ipv4, rest[size:], readable
	case 0x57:
		return ipv6, rest[size:], readable
	}
	return 0, nil, outcome(appliance.ReasonNotIP)
}
