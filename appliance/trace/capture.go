package trace

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Capture writes messages as a capture file (pcapng, draft-ietf-opsawg-pcapng)
// that Wireshark, tshark and sngrep open. The frames are made up around the
// messages: the addresses and ports are those that were used, and what went over
// TLS is shown as plain TCP. A message that was repeated stands there for its first
// and its last time.
func Capture(to io.Writer, messages []appliance.Message) error {
	c := capture{out: bufio.NewWriter(to), next: map[[2]netip.AddrPort]uint32{}}
	c.block(blockSection, sectionHeader())
	c.block(blockInterface, interfaceHeader())
	for n := range messages {
		m := &messages[n]
		c.message(m, m.Time, "")
		if m.Repeats > 0 {
			c.message(m, m.Last, fmt.Sprintf("repeat %d, the last one", m.Repeats))
		}
	}
	if err := c.out.Flush(); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// capture writes blocks. An error of the writer stays in out until it is flushed.
type capture struct {
	out  *bufio.Writer
	next map[[2]netip.AddrPort]uint32 // sequence numbers of TCP, by direction
}

// Types of blocks (draft-ietf-opsawg-pcapng section 4).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6
)

// Options of blocks.
const (
	optionComment    = 1
	optionResolution = 9
	linkRaw          = 101 // LINKTYPE_RAW: IPv4 or IPv6 without any link header
)

func sectionHeader() []byte {
	out := le32(nil, 0x1a2b3c4d)                          // byte order
	out = le16(le16(out, 1), 0)                           // version 1.0
	return binary.LittleEndian.AppendUint64(out, 1<<64-1) // length unknown
}

func interfaceHeader() []byte {
	out := le32(le16(le16(nil, linkRaw), 0), 0)
	return ended(option(out, optionResolution, []byte{9})) // nanoseconds
}

func le16(out []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(out, v) }
func le32(out []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(out, v) }
func be16(out []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(out, v) }
func be32(out []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(out, v) }

func option(out []byte, code uint16, value []byte) []byte {
	return padded(append(le16(le16(out, code), uint16(len(value))), value...))
}

func ended(out []byte) []byte { return le32(out, 0) }

func padded(out []byte) []byte {
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

func (c *capture) block(kind uint32, body []byte) {
	length := uint32(len(body) + 12)
	_, _ = c.out.Write(le32(append(le32(le32(nil, kind), length), body...), length))
}

// longest is what fits into an IP packet beside its headers.
const longest = 65535 - 40 - 20

func (c *capture) message(m *appliance.Message, at time.Time, comment string) {
	from, to := plainAddress(m.Remote), plainAddress(m.Local)
	if m.Sent {
		from, to = to, from
	}
	payload := []byte(m.Text)
	payload = payload[:min(len(payload), longest)]
	if m.Length > len(payload) {
		comment = joined(comment, fmt.Sprintf("cut: %d bytes on the wire", m.Length))
	}
	if m.Transport != "udp" && m.Transport != "tcp" {
		comment = joined(comment, "crossed the wire over "+m.Transport)
	}
	frame := c.frame(m.Transport, from, to, payload)
	stamp := uint64(at.UnixNano())
	out := le32(le32(le32(nil, 0), uint32(stamp>>32)), uint32(stamp))
	out = padded(append(le32(le32(out, uint32(len(frame))), uint32(len(frame))), frame...))
	if comment != "" {
		out = ended(option(out, optionComment, []byte(comment)))
	}
	c.block(blockPacket, out)
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

func plainAddress(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// Protocol numbers of IP.
const (
	protocolTCP = 6
	protocolUDP = 17
)

func (c *capture) frame(transport string, from, to netip.AddrPort, payload []byte) []byte {
	if transport == "udp" {
		header := be16(be16(nil, from.Port()), to.Port())
		header = be16(be16(header, uint16(8+len(payload))), 0)
		return packet(from.Addr(), to.Addr(), protocolUDP, append(header, payload...), 6)
	}
	flow := [2]netip.AddrPort{from, to}
	sequence, acknowledged := c.next[flow]+1, c.next[[2]netip.AddrPort{to, from}]+1
	c.next[flow] += uint32(len(payload))
	header := be32(be32(be16(be16(nil, from.Port()), to.Port()), sequence), acknowledged)
	header = append(header, 5<<4, 0x18) // 20 bytes of header; PSH and ACK
	header = be16(be16(be16(header, 65535), 0), 0)
	return packet(from.Addr(), to.Addr(), protocolTCP, append(header, payload...), 16)
}

// packet puts an IP header before a segment whose checksum stands at the given
// place.
func packet(from, to netip.Addr, protocol byte, segment []byte, checksum int) []byte {
	pseudo := append(append([]byte(nil), from.AsSlice()...), to.AsSlice()...)
	pseudo = append(be32(pseudo, uint32(len(segment))), 0, 0, 0, protocol)
	sum := sumOf(append(pseudo, segment...))
	if sum == 0 && protocol == protocolUDP {
		sum = 0xffff // zero would mean none (RFC 768)
	}
	binary.BigEndian.PutUint16(segment[checksum:], sum)
	if from.Is4() && to.Is4() {
		header := be16([]byte{0x45, 0}, uint16(20+len(segment)))
		header = append(header, 0, 0, 0x40, 0, 64, protocol, 0, 0)
		header = append(append(header, from.AsSlice()...), to.AsSlice()...)
		binary.BigEndian.PutUint16(header[10:], sumOf(header))
		return append(header, segment...)
	}
	source, destination := from.As16(), to.As16()
	header := be16(be32(nil, 6<<28), uint16(len(segment)))
	header = append(append(append(header, protocol, 64), source[:]...), destination[:]...)
	return append(header, segment...)
}

// sumOf is the internet checksum (RFC 1071).
func sumOf(data []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(data[i])<<8 | uint32(data[i+1])
	}
	if len(data)%2 == 1 {
		sum += uint32(data[len(data)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
