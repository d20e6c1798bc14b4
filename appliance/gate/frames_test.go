package gate

import (
	"encoding/binary"
	"net/netip"
)

// EtherTypes and protocols of the frames that tests build.
const (
	typeIPv4    = 0x0800
	typeARP     = 0x0806
	typeIPv6    = 0x86dd
	typeSession = 0x8864
	tagC        = 0x8100
	tagS        = 0x88a8

	protoICMP    = 1
	protoIPIP    = 4
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	proto6in4    = 41
	protoGRE     = 47
	protoICMPv6  = 58
	protoSCTP    = 132
	protoUDPLite = 136

	extHop      = 0
	extRouting  = 43
	extFragment = 44
	extAH       = 51
	extDest     = 60
	extNoNext   = 59

	flagFIN = 0x01
	flagSYN = 0x02
	flagACK = 0x10

	etherHeader   = 14
	transportSize = 24
)

var (
	here4 = netip.MustParseAddr("198.51.100.1")
	here6 = netip.MustParseAddr("2001:db8:ffff::1")
)

// frame is an Ethernet frame in parts; bytes puts it together with every length
// correct that isn't told otherwise.
type frame struct {
	tags        []uint16
	session     *session
	source      netip.Addr // its family is the packet's
	destination netip.Addr // here, where it isn't set
	protocol    byte
	from        uint16 // source port; 5060, which would be guarded, where it is 0
	port        uint16 // destination
	flags       byte   // TCP's; ACK where they are 0
	header      int    // TCP's, in bytes; transportSize where it is 0
	skew        int    // added to UDP's length
	options     int    // bytes of IPv4 options, a multiple of 4
	list        []byte // what the options begin with, no longer than they are
	chain       []extension
	id          uint16   // identification
	ids         []uint32 // IPv6's of each fragment header, as far as they aren't id
	offset      uint16   // IPv4 fragment offset in 8 bytes
	more        bool
	payload     int    // zero bytes after the transport header
	content     []byte // instead of the payload
	body        []byte // instead of the transport header and all after it
	padding     int    // bytes after the packet
}

// session is PPPoE around a packet.
type session struct {
	head     [2]byte // version and type, code
	protocol []byte  // as the packet's family, where there is none
	excess   int     // added to the length, which is 0 at least
}

// extension is an IPv6 extension header. size is a multiple of 8, and of 4 for
// AH; word is the second pair of bytes: a routing header's type and segments
// left, a fragment header's offset and flag.
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
	kind, protocol := uint16(typeIPv4), []byte{0, 0x21}
	if !f.source.Is4() {
		kind, protocol = typeIPv6, []byte{0, 0x57}
	}
	data := f.packet()
	if f.session != nil {
		kind, data = typeSession, f.session.wrap(protocol, data)
	}
	out = append(binary.BigEndian.AppendUint16(out, kind), data...)
	return append(out, make([]byte, f.padding)...)
}

func (s session) wrap(protocol, data []byte) []byte {
	if s.protocol != nil {
		protocol = s.protocol
	}
	out := []byte{s.head[0], s.head[1], 0x12, 0x34}
	out = binary.BigEndian.AppendUint16(out, uint16(max(0, len(protocol)+len(data)+s.excess)))
	return append(append(out, protocol...), data...)
}

// packet is the frame's IP packet.
func (f frame) packet() []byte {
	if f.source.Is4() {
		return f.ipv4()
	}
	return f.ipv6()
}

// outward is the frame that goes the other way: it leaves by the WAN.
func (f frame) outward() frame {
	if f.from == 0 {
		f.from = 5060
	}
	f.from, f.port = f.port, f.from
	f.source, f.destination = f.target(), f.source
	return f
}

func (f frame) target() netip.Addr {
	switch {
	case f.destination.IsValid():
		return f.destination
	case f.source.Is4():
		return here4
	}
	return here6
}

func (f frame) ipv4() []byte {
	body := f.segment()
	out := make([]byte, 20+f.options)
	out[0] = 0x40 | byte(len(out)/4)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)+len(body)))
	binary.BigEndian.PutUint16(out[4:], f.id)
	word := f.offset
	if f.more {
		word |= 0x2000
	}
	binary.BigEndian.PutUint16(out[6:], word)
	out[8], out[9] = 64, f.protocol
	copy(out[12:], f.source.AsSlice())
	copy(out[16:], f.target().AsSlice())
	copy(out[20:], f.list)
	return append(out, body...)
}

func (f frame) ipv6() []byte {
	body := f.segment()
	next := f.protocol
	for i := len(f.chain) - 1; i >= 0; i-- {
		header := f.chain[i].bytes(next)
		if f.chain[i].kind == extFragment {
			binary.BigEndian.PutUint32(header[4:], f.identification(i))
		}
		body = append(header, body...)
		next = f.chain[i].kind
	}
	out := make([]byte, 40)
	out[0] = 0x60
	binary.BigEndian.PutUint16(out[4:], uint16(len(body)))
	out[6], out[7] = next, 64
	copy(out[8:], f.source.AsSlice())
	copy(out[24:], f.target().AsSlice())
	return append(out, body...)
}

// identification returns that of the fragment header at chain[at].
func (f frame) identification(at int) uint32 {
	before := 0
	for _, e := range f.chain[:at] {
		if e.kind == extFragment {
			before++
		}
	}
	if before < len(f.ids) {
		return f.ids[before]
	}
	return uint32(f.id)
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

func (f frame) segment() []byte {
	if f.body != nil {
		return f.body
	}
	content := f.content
	if content == nil {
		content = make([]byte, f.payload)
	}
	var out []byte
	switch f.protocol {
	case protoUDP, protoUDPLite:
		out = make([]byte, 8)
		binary.BigEndian.PutUint16(out[4:], uint16(8+len(content)+f.skew))
	case protoTCP:
		out = f.tcp()
	case protoSCTP, protoDCCP:
		out = make([]byte, 12)
	default:
		if f.content != nil {
			return content
		}
		return make([]byte, 8+f.payload)
	}
	from := f.from
	if from == 0 {
		from = 5060
	}
	binary.BigEndian.PutUint16(out, from)
	binary.BigEndian.PutUint16(out[2:], f.port)
	return append(out, content...)
}

func (f frame) tcp() []byte {
	size, flags := f.header, f.flags
	if size == 0 {
		size = transportSize
	}
	if flags == 0 {
		flags = flagACK
	}
	out := make([]byte, max(size, 20))
	out[12], out[13] = byte(size/4)<<4, flags
	return out
}
