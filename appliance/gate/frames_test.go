package gate

import (
	"encoding/binary"
	"net/netip"
)

// EtherTypes and protocols of the frames that tests build.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd
	tagC     = 0x8100
	tagS     = 0x88a8

	protoTCP      = 6
	protoUDP      = 17
	protoICMP     = 1
	extHop        = 0
	extRouting    = 43
	extFragment   = 44
	extAH         = 51
	extDest       = 60
	extNoNext     = 59
	etherHeader   = 14
	transportSize = 24
)

// frame is an Ethernet frame in parts; bytes puts it together with every length
// correct.
type frame struct {
	tags     []uint16
	source   netip.Addr // its family is the packet's
	protocol byte
	port     uint16 // destination
	options  int    // bytes of IPv4 options, a multiple of 4
	chain    []extension
	offset   uint16 // IPv4 fragment offset in 8 bytes
	more     bool
	payload  int // bytes after the transport header
	padding  int // bytes after the packet
}

// extension is an IPv6 extension header. size is a multiple of 8, and of 4 for
// AH; word is the second pair of bytes, which only a fragment header uses.
type extension struct {
	kind byte
	size int
	word uint16
}

func (f frame) bytes() []byte {
	out := make([]byte, 12)
	for i, tag := range f.tags {
		out = binary.BigEndian.AppendUint16(out, tag)
		out = binary.BigEndian.AppendUint16(out, uint16(100+i))
	}
	if f.source.Is4() {
		out = binary.BigEndian.AppendUint16(out, typeIPv4)
		out = append(out, f.ipv4()...)
	} else {
		out = binary.BigEndian.AppendUint16(out, typeIPv6)
		out = append(out, f.ipv6()...)
	}
	return append(out, make([]byte, f.padding)...)
}

func (f frame) ipv4() []byte {
	body := f.transport()
	out := make([]byte, 20+f.options)
	out[0] = 0x40 | byte(len(out)/4)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)+len(body)))
	word := f.offset
	if f.more {
		word |= 0x2000
	}
	binary.BigEndian.PutUint16(out[6:], word)
	out[8], out[9] = 64, f.protocol
	copy(out[12:], f.source.AsSlice())
	copy(out[16:], []byte{198, 51, 100, 1})
	return append(out, body...)
}

func (f frame) ipv6() []byte {
	body := f.transport()
	next := f.protocol
	for i := len(f.chain) - 1; i >= 0; i-- {
		body = append(f.chain[i].bytes(next), body...)
		next = f.chain[i].kind
	}
	out := make([]byte, 40)
	out[0] = 0x60
	binary.BigEndian.PutUint16(out[4:], uint16(len(body)))
	out[6], out[7] = next, 64
	copy(out[8:], f.source.AsSlice())
	destination := netip.MustParseAddr("2001:db8:ffff::1")
	copy(out[24:], destination.AsSlice())
	return append(out, body...)
}

func (e extension) bytes(next byte) []byte {
	out := make([]byte, e.size)
	out[0] = next
	switch e.kind {
	case extAH:
		out[1] = byte(e.size/4 - 2)
	case extFragment:
	default:
		out[1] = byte(e.size/8 - 1)
	}
	binary.BigEndian.PutUint16(out[2:], e.word)
	return out
}

func (f frame) transport() []byte {
	var out []byte
	switch f.protocol {
	case protoUDP:
		out = make([]byte, 8+f.payload)
		binary.BigEndian.PutUint16(out[4:], uint16(len(out)))
	case protoTCP:
		out = make([]byte, transportSize+f.payload)
		out[12], out[13] = transportSize/4<<4, 0x10
	default:
		return make([]byte, 8+f.payload)
	}
	binary.BigEndian.PutUint16(out, 5060) // a source port that would be guarded
	binary.BigEndian.PutUint16(out[2:], f.port)
	return out
}
