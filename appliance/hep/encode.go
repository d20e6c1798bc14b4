package hep

import (
	"encoding/binary"
	"net/netip"

	"github.com/ringfence/ringfence/appliance"
)

// Chunk types of vendor 0x0000 (HEP3 Network Protocol Specification, revision 32,
// "Defined chunk types").
const (
	chunkFamily      = 0x0001 // IP protocol family, uint8
	chunkProtocol    = 0x0002 // IP protocol, uint8
	chunkSource4     = 0x0003
	chunkDestination = 0x0004 // IPv4
	chunkSource6     = 0x0005
	chunkDest6       = 0x0006
	chunkSourcePort  = 0x0007 // uint16
	chunkDestPort    = 0x0008 // uint16
	chunkSeconds     = 0x0009 // uint32, since 1970
	chunkMicros      = 0x000a // uint32, within the second
	chunkPayloadType = 0x000b // uint8
	chunkCaptureID   = 0x000c // uint32
	chunkPassword    = 0x000e // octets
	chunkPayload     = 0x000f // octets
	chunkCorrelation = 0x0011 // octets: the Call-ID
)

// Values of chunks.
const (
	familyIPv4  = 2 // AF_INET
	familyIPv6  = 10
	protocolTCP = 6
	protocolUDP = 17
	payloadSIP  = 1
)

// maxPacket is how long a packet can be: its length has 16 bits, and over UDP it has
// to fit into a datagram.
const maxPacket = 65000

// maxCorrelation bounds the Call-ID that goes beside the message.
const maxCorrelation = 512

// Encode writes one message as a HEP version 3 packet. The text of a message that
// would not fit is cut. Nothing is redacted here.
func Encode(m appliance.Message, callID string, captureID uint32, password string) []byte {
	from, to := m.Remote, m.Local
	if m.Sent {
		from, to = to, from
	}
	out := append(make([]byte, 0, 160+len(password)+len(callID)+len(m.Text)), "HEP3\x00\x00"...)
	out = addresses(out, m.Transport, from, to)
	out = binary.BigEndian.AppendUint32(chunk(out, chunkSeconds, 4), uint32(m.Time.Unix()))
	out = binary.BigEndian.AppendUint32(chunk(out, chunkMicros, 4), uint32(m.Time.Nanosecond()/1000))
	out = append(chunk(out, chunkPayloadType, 1), payloadSIP)
	out = binary.BigEndian.AppendUint32(chunk(out, chunkCaptureID, 4), captureID)
	if password != "" {
		out = append(chunk(out, chunkPassword, len(password)), password...)
	}
	if callID != "" {
		callID = callID[:min(len(callID), maxCorrelation)]
		out = append(chunk(out, chunkCorrelation, len(callID)), callID...)
	}
	text := m.Text[:min(len(m.Text), maxPacket-len(out)-chunkHeader)]
	out = append(chunk(out, chunkPayload, len(text)), text...)
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)))
	return out
}

// addresses are mapped to IPv6 where only one of them is IPv4, which never happens
// on one socket.
func addresses(out []byte, transport string, from, to netip.AddrPort) []byte {
	family, protocol := byte(familyIPv6), byte(protocolTCP)
	source, destination := from.Addr().Unmap(), to.Addr().Unmap()
	if source.Is4() && destination.Is4() {
		family = familyIPv4
	}
	if transport == "udp" {
		protocol = protocolUDP
	}
	out = append(chunk(out, chunkFamily, 1), family)
	out = append(chunk(out, chunkProtocol, 1), protocol)
	if family == familyIPv4 {
		out = append(chunk(out, chunkSource4, 4), source.AsSlice()...)
		out = append(chunk(out, chunkDestination, 4), destination.AsSlice()...)
	} else {
		s, d := source.As16(), destination.As16()
		out = append(chunk(out, chunkSource6, 16), s[:]...)
		out = append(chunk(out, chunkDest6, 16), d[:]...)
	}
	out = binary.BigEndian.AppendUint16(chunk(out, chunkSourcePort, 2), from.Port())
	return binary.BigEndian.AppendUint16(chunk(out, chunkDestPort, 2), to.Port())
}

const chunkHeader = 6

// chunk begins a chunk of a number of bytes: vendor 0, its type, and its length
// with the six bytes of this header.
func chunk(out []byte, kind uint16, length int) []byte {
	out = binary.BigEndian.AppendUint16(append(out, 0, 0), kind)
	return binary.BigEndian.AppendUint16(out, uint16(length+chunkHeader))
}
