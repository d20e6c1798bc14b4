package rules

import (
	"testing"
)

func TestTunnels(t *testing.T) {
	datagram := v4(stranger, 17, 0, 0, "", udp(1, 5060, ""))
	datagram6 := v6(stranger6, 17, udp(1, 5060, ""))
	gre := func(header string, inner []byte) []byte { return frame4(peer, 47, append(hexed(header), inner...)) }
	in4 := func(source string) []byte { return frame4(source, 4, datagram) }
	m := outlaws("198.51.100.1")
	guarded().Egress(outward("198.51.100.1", 4, nil), m)
	guarded().Egress(outward("198.51.100.2", 4, nil), m)
	judgeAll(t, guarded(), m, []step{
		{"stranger", in4(stranger), tunnelSource},
		{"provider", in4(provider), tunnelSource},
		{"peer", in4(peer), sipSource},
		{"a flow from inside", in4("198.51.100.2"), sipSource},
		{"a flow from inside, banned", in4("198.51.100.1"), banned},
		{"inner provider", frame4(peer, 4, v4(provider, 17, 0, 0, "", udp(1, 5060, ""))), sipAllowed},
		{"6in4", frame4(peer, 41, datagram6), sipSource},
		{"4, but IPv6", frame4(peer, 4, datagram6), malformedPacket},
		{"41, but IPv4", frame4(peer, 41, datagram), malformedPacket},
		{"nothing", frame4(peer, 4, nil), malformedPacket},
		{"inner beyond outer", append(frame4(peer, 4, datagram[:27]), datagram[27]), malformedPacket},
		{"inner padded", frame4(peer, 4, append(datagram, 0, 0)), sipSource},
		{"inner redirect", frame4(peer, 4, v4(stranger, 1, 0, 0, "", hexed("05"))), redirectICMP},
		{"inner source route", frame4(peer, 4, v4(stranger, 17, 0, 0, "83040400", udp(1, 53, ""))), sourceRoute},
		{"inner request", frame4(peer, 4, v4(stranger, 17, 0, 0, "", udp(1, 53, "INVITE sip:"))), sipPayload},
		{"tunnel in tunnel", frame4(peer, 4, v4(peer, 4, 0, 0, "", datagram)), tunnelDepth},
		{"GRE in tunnel", frame4(peer, 41, v6(stranger6, 47, nil)), tunnelDepth},
		{"in an IPv6 chain", frame6(stranger6, 60, append(hexed("0400 000000000000"), datagram...)), tunnelSource},

		{"gre", gre("0000 0800", datagram), sipSource},
		{"gre of IPv6", gre("0000 86dd", datagram6), sipSource},
		{"gre of 3", gre("0000 08", nil), malformedPacket},
		{"gre with checksum", gre("8000 0800 00000000", datagram), sipSource},
		{"gre with key", gre("2000 0800 00000000", datagram), sipSource},
		{"gre with sequence", gre("1000 0800 00000000", datagram), sipSource},
		{"gre with all", gre("b000 0800 00000000 00000000 00000000", datagram), sipSource},
		{"gre with all, cut", gre("b000 0800 00000000 00000000 000000", nil), malformedPacket},
		{"gre with routing", gre("4000 0800 00000000", datagram), malformedPacket},
		{"gre with reserved bits", gre("0ff8 0800", datagram), sipSource},
		{"gre version 1", gre("3001 880b 0000 0000", nil), other},
		{"gre version 1 with routing", gre("4001 0800", datagram), other},
		{"gre of Ethernet", gre("0000 6558", datagram), tunnelDepth},
		{"gre of Ethernet, cut", gre("1000 6558", nil), malformedPacket},
	})
}

func TestTunnelFragments(t *testing.T) {
	const first, second = 0x2000, 0x0001
	outer := func(identification, word uint16, body []byte) []byte {
		return ether("0800", v4(peer, 4, identification, word, "", body))
	}
	bad := v4(stranger, 17, 3, 0, "", udp(1, 5060, "0123456789abcdef"))
	innerFirst := v4(stranger, 17, 5, first, "", udp(1, 5060, "01234567"))
	innerLater := v4(stranger, 17, 5, second, "", make([]byte, 8))
	long6 := v6(stranger6, 60, append(hexed("1100 000000000000"), udp(1, 5060, "01234567")...))
	in6 := func(data []byte) []byte { return ether("0800", v4(peer, 41, 6, first, "", data)) }
	judgeAll(t, guarded(), &Memory{Now: moment}, []step{
		{"whole outer, inner cut", outer(1, 0, bad[:32]), malformedPacket},
		{"first outer, inner cut", outer(1, first, bad[:32]), sipSource},
		{"outer's later", outer(1, second, bad), dropped},
		{"inner has no later of its own", frame4(peer, 4, v4(stranger, 17, 3, second, "", make([]byte, 8))), later},
		{"inner header cut", outer(2, first, bad[:27]), tiny},
		{"outer's later", outer(2, second, bad), dropped},
		{"inner IPv4 header cut", outer(3, first, bad[:19]), tiny},
		{"whole outer, inner first", frame4(peer, 4, innerFirst), sipSource},
		{"inner's later", frame4(peer, 4, innerLater), dropped},
		{"and outside", ether("0800", innerLater), dropped},
		{"first outer, inner later", outer(4, first, innerLater), dropped},
		{"outer's later", outer(4, second, bad), dropped},
		{"first outer, inner first", outer(5, first, v4(stranger, 17, 6, first, "", udp(1, 5060, "01234567"))), sipSource},
		{"inner's later is unknown", frame4(peer, 4, v4(stranger, 17, 6, second, "", make([]byte, 8))), later},
		{"first outer, IPv6 cut", in6(long6[:56]), sipSource},
		{"first outer, IPv6 cut in UDP", in6(long6[:55]), tiny},
		{"first outer, IPv6 cut in its chain", in6(long6[:47]), tiny},
		{"first outer, IPv6 header cut", in6(long6[:39]), tiny},
		{"first outer, GRE cut", ether("0800", v4(peer, 47, 7, first, "", hexed("8000 0800"))), tiny},
		{"from a stranger", ether("0800", v4(stranger, 4, 8, first, "", bad)), tunnelSource},
		{"its later", ether("0800", v4(stranger, 4, 8, second, "", bad)), dropped},
	})
}
