package gate

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance/rules"
)

// TestLinuxGetsNothingPast asks neither the model nor the gate, but the stack
// behind it: whatever a stranger makes of a datagram, in fragments that overlap,
// repeat or lie, no socket on a guarded port may see it, and none on another port
// an INVITE. Without the gate it must be seen, or the attack is none.
func TestLinuxGetsNothingPast(t *testing.T) {
	for name, hook := range map[string]func(lab, *Gate){
		"no gate": func(_ lab, g *Gate) { check(t, g.Detach()) },
		"stack": func(l lab, g *Gate) {
			_, err := ingressHook(pinsIn(l.dir)).put(int(indexesOf([]string{"tap0"})[0]), g.kernel.Ingress)
			check(l, err)
		},
		"driver": func(l lab, _ *Gate) { l.open("wan", "tap0") },
	} {
		for _, tracked := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s := newShore(t, tracked)
				g, _ := s.open("wan")
				check(t, g.swap(rules.Guard{Ports: [rules.Services][]uint16{{5060}}}, "linux"))
				hook(s.lab, g)
				s.attack(*packets / 15)
				if past := s.guarded + s.requests; (past > 0) != (name == "no gate") || s.harmless == 0 {
					t.Errorf("-seed %d: %d datagrams reached the guarded port and %d requests another, of %d", s.seed, s.guarded, s.requests, s.harmless)
				}
			})
		}
	}
}

// shore is the box behind a tap, with sockets on a guarded port and another.
type shore struct {
	lab
	*rand.Rand
	seed                        uint64
	tap                         int
	sockets                     [2]*net.UDPConn
	guarded, requests, harmless int // what was received
}

// newShore has connections tracked, where the host can: that puts fragments
// together before the stack does.
func newShore(t *testing.T, tracked bool) *shore {
	l := newLab(t)
	l.enter(l.box)
	s := &shore{lab: l, seed: *seed, tap: openTap(t, "tap0", unix.IFF_TAP)}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	s.Rand = rand.New(rand.NewPCG(s.seed, 4))
	l.run("ip", "link", "set", "tap0", "address", "02:00:00:00:00:01")
	l.run("ip", "link", "set", "tap0", "up")
	l.run("ip", "address", "flush", "dev", "wan")
	for _, address := range []string{"192.0.2.1/24", "2001:db8:7::1/64"} {
		l.run("ip", "address", "add", address, "dev", "tap0", "nodad")
	}
	if tracked {
		rule := "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in ct state new accept"
		if out, err := exec.Command("nft", rule).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED, DEFRAGMENTING BY CONNTRACK IS NOT TESTED: nft: %v: %s", err, out)
		}
	}
	for i, port := range []int{5060, 5080} {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		check(t, err)
		t.Cleanup(func() { check(t, conn.Close()) })
		s.sockets[i] = conn
	}
	return s
}

func (s *shore) attack(trains int) {
	content := slices.Concat([]byte(invite), bytes.Repeat([]byte("Via: x\r\n"), 12))
	for range trains {
		train := s.train(pick[uint16](s.Rand, 5060, 5080), content[:s.IntN(len(content))])
		if s.IntN(4) == 0 { // something else by the same name comes first
			other := s.train(5080, bytes.Repeat([]byte{'x'}, s.IntN(120)))
			other.v6, other.id = train.v6, train.id
			parts := other.packets()
			s.send(parts[:s.IntN(len(parts)+1)])
		}
		s.send(train.packets())
		s.receive()
	}
}

// send tags some packets for no VLAN, damages some and pads others.
func (s *shore) send(packets [][]byte) {
	s.Helper()
	for _, packet := range packets {
		frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
		for range pick(s.Rand, 0, 0, 0, 0, 0, 1, 2, 3, 4) {
			frame = append(frame, pick(s.Rand, []byte{0x81, 0, 0x20, 0}, []byte{0x88, 0xa8, 0, 0})...)
		}
		kind := []byte{8, 0}
		if packet[0]>>4 == 6 {
			kind = []byte{0x86, 0xdd}
		}
		if s.IntN(12) == 0 {
			packet[s.IntN(min(len(packet), 80))] ^= 1 << s.IntN(8)
			seal(packet)
		}
		frame = slices.Concat(frame, kind, packet, make([]byte, s.IntN(3)*s.IntN(30)))
		_, err := unix.Write(s.tap, frame)
		check(s, err)
	}
}

func (s *shore) receive() {
	s.Helper()
	buffer := make([]byte, 4096)
	for i, socket := range s.sockets {
		raw, err := socket.SyscallConn()
		check(s, err)
		for {
			var size int
			check(s, raw.Control(func(fd uintptr) { size, err = syscall.Read(int(fd), buffer) }))
			if err != nil {
				break // nothing is left
			}
			switch {
			case i == 0:
				s.guarded++
			case bytes.HasPrefix(buffer[:size], []byte("INVITE sip:")):
				s.requests++
			default:
				s.harmless++
			}
		}
	}
}

// train is a stranger's datagram on its way in fragments.
type train struct {
	*rand.Rand
	v6       bool
	id       uint32
	datagram []byte
}

func (s *shore) train(port uint16, content []byte) train {
	t := train{Rand: s.Rand, v6: s.IntN(2) == 0, id: s.Uint32N(4)}
	t.datagram = append(make([]byte, 8, 8+len(content)), content...)
	binary.BigEndian.PutUint16(t.datagram, 7777)
	binary.BigEndian.PutUint16(t.datagram[2:], port)
	size := len(t.datagram) - s.IntN(2)*s.IntN(3) // it may be shorter than its packet
	binary.BigEndian.PutUint16(t.datagram[4:], uint16(size))
	if size = max(size, 8); t.v6 {
		source, target := t.ends()
		pseudo := slices.Concat(source, target, []byte{0, 0, 0, protoUDP, 0, 0}, t.datagram[4:6])
		binary.BigEndian.PutUint16(t.datagram[6:], checksum(slices.Concat(pseudo, t.datagram[:size])))
	}
	return t
}

func (t train) ends() (source, target []byte) {
	if t.v6 {
		return netip.MustParseAddr("2001:db8:7::66").AsSlice(), netip.MustParseAddr("2001:db8:7::1").AsSlice()
	}
	return netip.MustParseAddr("192.0.2.66").AsSlice(), netip.MustParseAddr("192.0.2.1").AsSlice()
}

// packets cuts the datagram, by the rules in most places.
func (t train) packets() (out [][]byte) {
	cuts := []int{0}
	for at := 0; len(cuts) < 6 && t.IntN(4) > 0; {
		if at += pick(t.Rand, 8, 8, 16, 24, 32, 40, 40, 48, 8*(1+t.IntN(8))); at >= len(t.datagram) {
			break
		}
		cuts = append(cuts, at)
	}
	for i, at := range cuts {
		end, more := len(t.datagram), i+1 < len(cuts)
		if more {
			end = min(end, cuts[i+1]+pick(t.Rand, 0, 0, 0, 0, 0, 0, t.IntN(8), 8*t.IntN(4))) // the kernel trims what is no multiple of 8
		}
		out = append(out, t.packet(at, end, more))
		if t.IntN(6) == 0 {
			out = append(out, t.packet(at, end, more || t.IntN(2) == 0))
		}
		if t.IntN(8) == 0 {
			out = append(out, t.packet(at, at, true))
		}
	}
	if t.IntN(2) == 0 {
		t.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

func (t train) packet(at, end int, more bool) []byte {
	word := uint16(at)
	if more {
		word |= 1
	}
	source, target := t.ends()
	if t.v6 {
		chain, next := t.chain(word, word > 0 || end < len(t.datagram))
		head := []byte{0x60, 0, 0, 0, 0, 0, next, 64}
		if size := len(chain) + end - at; next != extHop || t.IntN(3) > 0 { // else it is taken for a jumbogram
			binary.BigEndian.PutUint16(head[4:], uint16(size))
		}
		return slices.Concat(head, source, target, chain, t.datagram[at:end])
	}
	options := t.options()
	head := []byte{0x45 + byte(len(options)/4), 0, 0, 0, 0, byte(t.id), 0, 0, 64, protoUDP, 0, 0}
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(options)+end-at))
	binary.BigEndian.PutUint16(head[6:], word>>3|word<<13|pick[uint16](t.Rand, 0, 0, 0, 0, 0, 0, 0x4000, 0x8000))
	out := slices.Concat(head, source, target, options, t.datagram[at:end])
	seal(out)
	return out
}

func (t train) options() []byte {
	out := make([]byte, 4*t.IntN(2)*t.IntN(11))
	for at := 0; at < len(out); {
		kind, size := pick[byte](t.Rand, 0, 1, 1, 1, 7, 68, 148, 130, 131), max(2, t.IntN(6))
		if kind == 148 {
			size = 4
		}
		if kind < 2 || at+size > len(out) {
			out[at] = kind & 1
			at++
			continue
		}
		out[at], out[at+1] = kind, byte(size)
		at += size
	}
	return out
}

// chain makes the extension headers. word is a fragment header's offset and flag.
func (t train) chain(word uint16, fragment bool) (out []byte, next byte) {
	var kinds []byte
	for range pick(t.Rand, 0, 0, 1, 2) {
		kinds = append(kinds, pick[byte](t.Rand, extDest, extDest, extRouting))
	}
	if fragment || t.IntN(3) == 0 {
		kinds = append(kinds, slices.Repeat([]byte{extFragment}, pick(t.Rand, 1, 1, 1, 1, 1, 1, 1, 2))...)
	}
	for range pick(t.Rand, 0, 0, 0, 1, 2) {
		if word < 8 {
			kinds = append(kinds, extDest)
		}
	}
	if t.IntN(6) == 0 {
		kinds = slices.Insert(kinds, 0, extHop)
	}
	next = protoUDP
	for _, kind := range slices.Backward(kinds) {
		header := make([]byte, 8*pick(t.Rand, 1, 1, 2, 3))
		header[1], header[2], header[3] = byte(len(header)/8-1), 1, byte(len(header)-4) // one option of padding
		switch kind {
		case extFragment:
			header = binary.BigEndian.AppendUint16([]byte{0, 0}, word|pick[uint16](t.Rand, 0, 0, 2, 6))
			header = binary.BigEndian.AppendUint32(header, t.id)
		case extRouting:
			header[2], header[3] = pick[byte](t.Rand, 2, 3, 4, 5), 0
		}
		header[0] = next
		out, next = append(header, out...), kind
	}
	return out, next
}

// seal sets an IPv4 packet's header checksum.
func seal(packet []byte) {
	size := int(packet[0]&15) * 4
	if packet[0]>>4 != 4 || size < 20 || size > len(packet) {
		return
	}
	packet[10], packet[11] = 0, 0
	binary.BigEndian.PutUint16(packet[10:], checksum(packet[:size]))
}

// checksum is RFC 1071's.
func checksum(data []byte) uint16 {
	var sum uint32
	for i, octet := range data {
		sum += uint32(octet) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
