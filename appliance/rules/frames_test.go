package rules

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
)

// Package gate compares Judge with the XDP program frame by frame; what stands
// here holds the model against the specification and needs no kernel.

const (
	provider  = "203.0.113.9"
	admin     = "203.0.113.7"
	stranger  = "198.51.100.66"
	here      = "192.0.2.1"
	peer      = "192.0.2.50"
	crook     = "198.18.0.9" // on the feed
	provider6 = "2001:db8:1::9"
	stranger6 = "2001:db8:2::66"
	here6     = "2001:db8:ffff::1"
	crook6    = "2001:db8:bad::9"
)

const syn, ack = 0x02, 0x10

// hexed turns hex digits, which may stand apart, into bytes.
func hexed(parts ...string) []byte {
	out, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		panic(err)
	}
	return out
}

// ether puts an Ethernet header before what the hex digits of a type and
// whatever precedes it, tags say, announce.
func ether(kind string, data []byte) []byte {
	return slices.Concat(hexed("020000000001 020000000002", kind), data)
}

// session wraps PPP in a PPPoE session.
func session(protocol string, data []byte) []byte {
	data = append(hexed(protocol), data...)
	return ether("8864", slices.Concat(hexed("1100 0001"), binary.BigEndian.AppendUint16(nil, uint16(len(data))), data))
}

// v4 is an IPv4 packet with every length correct. word is flags and offset,
// options hex digits.
func v4(source string, protocol byte, identification, word uint16, options string, body []byte) []byte {
	header := append(make([]byte, 20), hexed(options)...)
	header[0] = 0x40 | byte(len(header)/4)
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(body)))
	binary.BigEndian.PutUint16(header[4:], identification)
	binary.BigEndian.PutUint16(header[6:], word)
	header[8], header[9] = 64, protocol
	copy(header[12:], netip.MustParseAddr(source).AsSlice())
	copy(header[16:], netip.MustParseAddr(here).AsSlice())
	return append(header, body...)
}

// v6 is an IPv6 packet with every length correct.
func v6(source string, next byte, body []byte) []byte {
	header := make([]byte, 40)
	header[0] = 0x60
	binary.BigEndian.PutUint16(header[4:], uint16(len(body)))
	header[6], header[7] = next, 64
	copy(header[8:], netip.MustParseAddr(source).AsSlice())
	copy(header[24:], netip.MustParseAddr(here6).AsSlice())
	return append(header, body...)
}

func udp(from, to uint16, payload string) []byte {
	out := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
	out = binary.BigEndian.AppendUint16(out, uint16(8+len(payload)))
	return append(append(out, 0, 0), payload...)
}

func tcp(from, to uint16, flags byte, payload string) []byte {
	out := make([]byte, 20)
	binary.BigEndian.PutUint16(out, from)
	binary.BigEndian.PutUint16(out[2:], to)
	out[12], out[13] = 0x50, flags
	return append(out, payload...)
}

// ports is the beginning of SCTP and DCCP.
func ports(from, to uint16) []byte { return tcp(from, to, 0, "")[:12] }

// frame4 and frame6 are whole frames without anything special.
func frame4(source string, protocol byte, body []byte) []byte {
	return ether("0800", v4(source, protocol, 0, 0, "", body))
}

func frame6(source string, next byte, body []byte) []byte {
	return ether("86dd", v6(source, next, body))
}

// with changes bytes of a copy, from at on.
func with(frame []byte, at int, digits string) []byte {
	out := slices.Clone(frame)
	copy(out[at:], hexed(digits))
	return out
}

// guarded is the perimeter of these tests.
func guarded() Guard {
	return Guard{
		Ports: [Services][]uint16{{5060, 5061}, {443}, {1194}},
		Sources: []Source{
			{Prefix: prefix("192.0.2.50/32"), Services: 1 << ServiceTunnel},
			{Prefix: prefix("203.0.113.0/24"), Services: 1 << ServiceSIP},
			{Prefix: prefix("203.0.113.7/32"), Services: 1 << ServiceHTTP, Firm: true},
			{Prefix: prefix("2001:db8:1::/48"), Services: 1 << ServiceSIP},
		},
		Feeds: []Feed{crooks()},
	}
}

// step is a frame and what the gate must say of it.
type step struct {
	name  string
	frame []byte
	want  appliance.Reason
}

// judgeAll puts frames before the judge, one after the other, with one memory.
func judgeAll(t *testing.T, g Guard, m *Memory, steps []step) {
	t.Helper()
	for _, s := range steps {
		if verdict, reason := g.Judge(s.frame, m); reason != s.want || verdict != s.want.Verdict() {
			t.Errorf("%s: %v (%v), want %v", s.name, verdict, reason, s.want)
		}
	}
}

// judgeEach does the same with a new memory for each.
func judgeEach(t *testing.T, g Guard, steps []step) {
	t.Helper()
	for _, s := range steps {
		judgeAll(t, g, nil, []step{s})
	}
}

func address(s string) netip.Addr { return netip.MustParseAddr(s) }

// crooks lists 198.18.0.0/15 and 2001:db8:bad::/48.
func crooks() Feed {
	return Feed{Name: "crooks", List: feed.List{
		V4: []feed.Range4{{First: 0xc6120000, Last: 0xc613ffff}},
		V6: []feed.Range6{{First: feed.Address6{High: 0x20010db80bad0000}, Last: feed.Address6{High: 0x20010db80badffff, Low: 1<<64 - 1}}},
	}}
}
