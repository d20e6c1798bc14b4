package gate

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// traffic makes stories that are near the decisions of one perimeter. Its casts
// are small, so that what happens concerns what has happened before.
type traffic struct {
	*rand.Rand
	guard     rules.Guard
	addresses [2][]netip.Addr // of the perimeter's edges: IPv4, IPv6
	near      []uint16        // ports of the perimeter's edges

	remotes [2][]netip.Addr
	ports   []uint16
	recent  []frame

	stripped bool // in this story
}

func trafficNear(random *rand.Rand, guard rules.Guard) *traffic {
	tr := &traffic{Rand: random, guard: guard}
	all := append(edges(guard.Sources), feedEdges(guard.Feeds)...)
	for _, address := range append(all, stranger4, stranger6) {
		tr.addresses[index(address)] = append(tr.addresses[index(address)], address)
	}
	for _, port := range slices.Concat(append(guard.Ports[:], rules.StandardPorts())...) {
		tr.near = append(tr.near, port, port, port, port-1, port+1, port<<8|port>>8)
	}
	tr.cast()
	return tr
}

func index(address netip.Addr) int {
	if address.Is4() {
		return 0
	}
	return 1
}

// cast draws the few addresses and ports of one story.
func (tr *traffic) cast() {
	tr.remotes, tr.ports, tr.recent, tr.stripped = [2][]netip.Addr{}, nil, nil, false
	for range 5 {
		v4 := pick(tr.Rand, tr.addresses[0]...)
		tr.remotes[0] = append(tr.remotes[0], v4)
		v6 := pick(tr.Rand, tr.addresses[1]...)
		octets := v6.As16()
		octets[8+tr.IntN(8)] ^= 1 << tr.IntN(8) // in the same /64
		tr.remotes[1] = append(tr.remotes[1], v6, netip.AddrFrom16(octets))
	}
	tr.remotes[0] = append(tr.remotes[0], stranger4)
	tr.remotes[1] = append(tr.remotes[1], stranger6, netip.AddrFrom16(stranger4.As16()))
	for range 8 {
		tr.ports = append(tr.ports, pick(tr.Rand, tr.near...))
	}
	tr.ports = append(tr.ports, 4000+uint16(tr.IntN(2)))
}

// steps makes a story's steps, with n frames that enter.
func (tr *traffic) steps(n int) (steps []step) {
	tr.cast()
	for frames := 0; frames < n; {
		switch tr.IntN(22) {
		case 20:
			steps = append(steps, tr.call()...)
			frames += 2
		case 21:
			steps = append(steps, step{act: pick(tr.Rand, "cut", "cut", "cutted", "uncut", "uncut"), media: tr.cut()})
		case 0:
			steps = append(steps, step{act: pick(tr.Rand, "ban", "ban", "lapse", "unban"), source: tr.remote(tr.IntN(2))})
		case 1:
			replies := tr.dialogue()
			frames += 2
			steps = append(steps, replies...)
		case 2, 3:
			steps = append(steps, step{act: "out", frame: tr.spoil(tr.frame(0).outward().bytes())})
		default:
			frames++
			steps = append(steps, step{act: "in", frame: tr.spoil(tr.frame(0).bytes())})
		}
	}
	return steps
}

// dialogue makes a frame that leaves, two that come back, and perhaps a ban or
// other documents between them.
func (tr *traffic) dialogue() []step {
	f := tr.frame(0)
	f.flags = flagSYN
	steps := []step{{act: "out", frame: f.outward().bytes()}}
	if tr.IntN(3) == 0 {
		steps = append(steps, step{act: "ban", source: f.source})
	}
	if !tr.stripped && tr.IntN(40) == 0 { // which is slow in the kernel
		steps, tr.stripped = append(steps, step{act: "strip"}), true
	}
	for range 2 {
		f.flags = pick[byte](tr.Rand, flagSYN, flagSYN|flagACK, flagACK, flagACK, flagFIN)
		if f.body == nil {
			f.content = tr.content()
		}
		steps = append(steps, step{act: "in", frame: tr.spoil(f.bytes())})
	}
	return steps
}

// call makes a permit, or one that has run out, RTP that may be meant by it, in
// both directions, and perhaps a cut of it.
func (tr *traffic) call() []step {
	key := tr.permit()
	steps := []step{{act: pick(tr.Rand, "permit", "permit", "permitted"), media: key}}
	f := frame{source: key.Remote, protocol: protoUDP, from: pick[uint16](tr.Rand, 5060, 40000), port: key.LocalPort, content: make([]byte, 172)}
	if !f.source.IsValid() {
		f.source = tr.remote(tr.IntN(2))
	}
	f.content[0] = 0x80
	tr.recent = append(tr.recent, f)
	if tr.IntN(3) == 0 {
		steps = append(steps, step{act: "out", frame: f.outward().bytes()})
	}
	steps = append(steps, step{act: "in", frame: tr.spoil(f.bytes())})
	if tr.IntN(3) == 0 {
		steps = append(steps, step{act: "cut", media: tr.cut()}, step{act: "out", frame: tr.spoil(f.outward().bytes())})
	}
	return append(steps, step{act: "in", frame: f.bytes()})
}

// permit and cut make keys of media that this story's frames may well be of.
func (tr *traffic) permit() appliance.MediaKey {
	key := appliance.MediaKey{Remote: tr.remote(tr.IntN(2)), RemotePort: uint16(tr.IntN(2)), LocalPort: pick(tr.Rand, tr.ports...)}
	switch tr.IntN(40) {
	case 0:
		return appliance.MediaKey{}
	case 1, 2, 3, 4, 5, 6:
		key.Remote = netip.Addr{}
	}
	return key
}

func (tr *traffic) cut() appliance.MediaKey {
	key := appliance.MediaKey{Remote: tr.remote(tr.IntN(2)), RemotePort: pick[uint16](tr.Rand, 5060, 443, 40000), LocalPort: pick(tr.Rand, tr.ports...)}
	if len(tr.recent) > 0 && tr.IntN(2) == 0 {
		f := pick(tr.Rand, tr.recent...)
		key = appliance.MediaKey{Remote: f.source, RemotePort: max(1, f.from), LocalPort: f.port}
	}
	switch tr.IntN(3) {
	case 0:
		key.LocalPort = 0
	case 1:
		if key.LocalPort != 0 {
			key.RemotePort = 0
		}
	}
	return key
}

func (tr *traffic) remote(family int) netip.Addr { return pick(tr.Rand, tr.remotes[family]...) }

// target returns one of two addresses of ours, or the usual one.
func (tr *traffic) target(family int) (none netip.Addr) {
	if tr.IntN(3) > 0 {
		return none
	}
	return []netip.Addr{netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8:ffff::2")}[family]
}

// frame makes a frame that enters, at that depth of tunnels.
func (tr *traffic) frame(depth int) frame {
	family := tr.IntN(2)
	f := frame{
		source:      tr.remote(family),
		destination: tr.target(family),
		from:        pick[uint16](tr.Rand, 0, 443, 40000),
		port:        pick(tr.Rand, tr.ports...),
		id:          uint16(tr.IntN(3)),
		padding:     tr.IntN(3) * tr.IntN(20),
	}
	f.protocol = tr.protocol(family)
	if len(tr.recent) > 0 && tr.IntN(5) < 2 {
		f = tr.again()
	}
	f.more = tr.IntN(8) == 0
	if tr.IntN(10) == 0 {
		f.offset = pick[uint16](tr.Rand, 1, 1, 2, 3, 0x1000, 0x1fff)
	}
	tr.wrap(&f)
	if f.source.Is4() {
		tr.option(&f)
	} else {
		tr.extend(&f)
	}
	tr.fill(&f, depth)
	if tr.recent = append(tr.recent, f); len(tr.recent) > 12 {
		tr.recent = tr.recent[1:]
	}
	return f
}

// again returns the addresses, ports and identification of a recent frame.
func (tr *traffic) again() frame {
	old := pick(tr.Rand, tr.recent...)
	f := frame{source: old.source, destination: old.destination, protocol: old.protocol, from: old.from, port: old.port, id: old.id}
	if tr.IntN(8) == 0 { // another one as likely to be mistaken for it
		f.port = pick(tr.Rand, tr.ports...)
	}
	return f
}

func (tr *traffic) protocol(family int) byte {
	icmp := []byte{protoICMP, protoICMPv6}
	return pick(tr.Rand,
		protoUDP, protoUDP, protoUDP, protoUDP, protoUDP, protoTCP, protoTCP, protoTCP, protoTCP, protoTCP,
		protoUDPLite, protoSCTP, protoDCCP, icmp[family], icmp[family], icmp[1-family],
		protoIPIP, proto6in4, protoGRE, byte(tr.Uint32()))
}

// wrap chooses what is around the packet.
func (tr *traffic) wrap(f *frame) {
	for range pick(tr.Rand, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, tr.IntN(4)) {
		f.tags = append(f.tags, pick[uint16](tr.Rand, tagC, tagS))
	}
	if tr.IntN(6) > 0 {
		return
	}
	f.session = &session{head: [2]byte{0x11, 0}}
	short := byte(0x57)
	if f.source.Is4() {
		short = 0x21
	}
	switch tr.IntN(8) {
	case 0, 1:
		f.session.protocol = []byte{short}
	case 2:
		f.session.protocol = pick(tr.Rand, []byte{0xc0, 0x21}, []byte{0x80, 0x57}, []byte{short, 0}, []byte{0, 0, short}, []byte{2, short}, []byte{byte(tr.Uint32())})
	case 3:
		f.session.head = [2]byte{byte(tr.Uint32()), byte(tr.Uint32())}
	case 4:
		f.session.excess = pick(tr.Rand, -1, 1, -2, tr.IntN(64)-60, -1<<15)
	}
}

// option chooses IPv4 options, whole and broken ones.
func (tr *traffic) option(f *frame) {
	if tr.IntN(5) > 0 {
		return
	}
	f.options = 4 * tr.IntN(11)
	for len(f.list) < f.options && tr.IntN(5) > 0 {
		kind := pick[byte](tr.Rand, 0, 1, 1, 7, 68, 130, 131, 137, 148, byte(tr.Uint32()))
		if kind < 2 && tr.IntN(4) > 0 {
			f.list = append(f.list, kind)
			continue
		}
		size := pick(tr.Rand, 0, 1, 2, 3, 3, 4, 4, 7, f.options-len(f.list), f.options-len(f.list)+1)
		f.list = append(append(f.list, kind, byte(size)), make([]byte, max(0, size-2))...)
	}
	f.list = f.list[:min(len(f.list), f.options)]
}

// extend chooses IPv6 extension headers.
func (tr *traffic) extend(f *frame) {
	if f.more || f.offset > 0 && f.offset < 4 {
		word := f.offset << 3
		if f.more {
			word |= 1
		}
		f.chain = append(f.chain, extension{kind: extFragment, size: 8, word: word})
	}
	for range pick(tr.Rand, 0, 0, 0, 1, 1, 2, tr.IntN(5), tr.IntN(11)) {
		at := tr.IntN(len(f.chain) + 1)
		f.chain = slices.Insert(f.chain, at, tr.extension())
	}
	if tr.IntN(8) == 0 {
		f.ids = []uint32{uint32(tr.IntN(3)) | pick[uint32](tr.Rand, 0, 1<<16), uint32(tr.IntN(3))}
	}
	if tr.IntN(40) == 0 {
		f.chain = chainOf(8+tr.IntN(2), 8)
	}
}

func (tr *traffic) extension() extension {
	e := extension{
		kind: pick[byte](tr.Rand, extHop, extDest, extDest, extRouting, extAH, extFragment, extHop, extDest, 135, 139, 140),
		size: 8 * (1 + tr.IntN(4)),
	}
	switch e.kind {
	case extFragment:
		e.size = 8
		e.word = pick[uint16](tr.Rand, 0, 0, 0, 6, 1, 1<<3, 2<<3|1)
	case extRouting:
		e.word = pick[uint16](tr.Rand, 0x0200, 0x0200, 0x0401, 0x0300, 0x0400, 0xff01, 0x0001, 0x00ff)
	case extAH:
		e.size = 8 + 4*tr.IntN(4)
	}
	return e
}

// fill chooses what the packet carries.
func (tr *traffic) fill(f *frame, depth int) {
	switch f.protocol {
	case protoIPIP, proto6in4, protoGRE:
		if depth < 3 {
			f.body = tr.tunnel(f, depth)
		}
	case protoICMP, protoICMPv6:
		f.content = pick(tr.Rand, nil, []byte{}, []byte{5, 1}, []byte{137}, []byte{3, 4, 0, 0}, []byte{8}, []byte{135}, []byte{128})
	case protoTCP:
		f.header = 20 + 4*tr.IntN(11)*tr.IntN(2) - 4*max(0, tr.IntN(20)-18)
		f.flags = pick[byte](tr.Rand, flagSYN, flagSYN, flagSYN|flagACK, flagACK, flagACK, flagSYN|flagFIN, 0xff, 0xff&^flagACK, byte(tr.Uint32()))
		f.content = tr.content()
	default:
		f.content = tr.content()
		f.skew = pick(tr.Rand, 0, 0, 0, 0, 0, 0, 0, 0, 1, -1, 100, -tr.IntN(9))
	}
	if tr.IntN(20) == 0 {
		whole := f.segment()
		f.body = whole[:tr.IntN(min(len(whole), 24)+1)]
	}
}

// tunnel makes what a tunnel's packet carries.
func (tr *traffic) tunnel(f *frame, depth int) []byte {
	inner := tr.frame(depth + 1)
	kind := uint16(typeIPv6)
	if inner.source.Is4() {
		kind = typeIPv4
	}
	switch {
	case f.protocol == protoGRE:
	case tr.IntN(8) == 0: // the wrong family
	case kind == typeIPv4:
		f.protocol = protoIPIP
	default:
		f.protocol = proto6in4
	}
	var body []byte
	if f.protocol == protoGRE {
		body = tr.gre(kind)
	}
	body = append(body, inner.packet()...)
	if f.more && tr.IntN(2) == 0 || tr.IntN(16) == 0 {
		body = body[:tr.IntN(min(len(body), 96)+1)]
	}
	return body
}

func (tr *traffic) gre(kind uint16) []byte {
	flags := pick[byte](tr.Rand, 0, 0, byte(tr.Uint32())&0xb0, byte(tr.Uint32()))
	version := pick[byte](tr.Rand, 0, 0, 0, 0, 0xf8, 1, byte(tr.Uint32()))
	out := binary.BigEndian.AppendUint16([]byte{flags, version}, pick(tr.Rand, kind, kind, kind, kind, kind, 0x0800, 0x86dd, 0x6558, 0x880b))
	for _, field := range []byte{0x80, 0x20, 0x10} {
		if flags&field != 0 {
			out = append(out, 0, 0, 0, 0)
		}
	}
	return out
}

// content makes a payload: near to a SIP message in half of the cases.
func (tr *traffic) content() []byte {
	switch tr.IntN(10) {
	case 0, 1, 2:
		return tr.request()
	case 8, 9:
		return tr.rtp()
	case 3:
		answer := "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n"
		return []byte(answer[:pick(tr.Rand, len(answer), len(answer), 7, 8, 9, tr.IntN(12))])
	}
	return make([]byte, tr.IntN(40))
}

// rtp makes what looks like RTP or RTCP, nearly.
func (tr *traffic) rtp() []byte {
	out := make([]byte, pick(tr.Rand, 172, 32, 12, 8, 16, 11, 7, tr.IntN(80)))
	head := []byte{pick[byte](tr.Rand, 0x80, 0x80, 0x80, 0x90, 0x82, 0x8f, 0x40, 0xc0, 0xbf), pick[byte](tr.Rand, 0, 8, 0x80, 18, 34, 35, 95, 96, 101, 127, 191, 192, 200, 201, 223, 224, byte(tr.Uint32())),
		0, pick(tr.Rand, byte(tr.IntN(10)), byte(len(out)/4-1))}
	copy(out, head)
	return out
}

func (tr *traffic) request() []byte {
	var out bytes.Buffer
	for range pick(tr.Rand, 0, 0, 0, 0, 2, tr.IntN(8), tr.IntN(70), 50+tr.IntN(16)) {
		out.WriteByte(pick[byte](tr.Rand, '\r', '\n'))
	}
	method := pick(tr.Rand, "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE",
		strings.Repeat("X", 1+tr.IntN(12)), "invite", "InVITE", "[NVITE", "@CK", "`CK", "{CK", "A1K", "SIP/2.0", "GET", "i", "Z", "z")
	out.WriteString(method)
	out.WriteString(pick(tr.Rand, " ", " ", " ", " ", " ", " ", "  ", "\t", "", strings.Repeat(" ", tr.IntN(60))))
	out.WriteString(pick(tr.Rand, "sip:", "sip:", "sips:", "tel:", "SIP:", "SiPs:", "TeL:", "sip", "sips", "sipx:", "http:", "*", "/", "tEl;", "tel\x1a", "sips\x1a", "\x13ip:"))
	out.WriteString("100@192.0.2.1 SIP/2.0\r\n\r\n"[:tr.IntN(26)])
	if tr.IntN(8) == 0 {
		out.Truncate(tr.IntN(out.Len() + 1))
	}
	return out.Bytes()
}

// spoil leaves most of the frames whole and mistreats the others. The kernel's
// test-run takes no frame without anything behind its Ethernet header.
func (tr *traffic) spoil(out []byte) []byte {
	if tr.IntN(4) > 0 {
		return append(out, make([]byte, max(0, etherHeader+1-len(out)))...)
	}
	reach := min(len(out)-12, pick(tr.Rand, 64, 64, 160))
	for range 1 + tr.IntN(3) {
		// Headers are where it hurts.
		at := 12 + tr.IntN(reach)
		switch tr.IntN(3) {
		case 0:
			out[at] ^= 1 << tr.IntN(8)
		case 1:
			out[at] = byte(tr.Uint32())
		case 2:
			out[at] += byte(tr.IntN(5)) - 2
		}
	}
	if tr.IntN(4) == 0 && len(out) > etherHeader+1 {
		out = out[:etherHeader+1+tr.IntN(len(out)-etherHeader)]
	}
	return out
}
