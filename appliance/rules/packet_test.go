package rules

import (
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// Reasons, as the tables of this package's gate tests call them.
const (
	malformedPacket = appliance.ReasonMalformed
	tiny            = appliance.ReasonFragmentTiny
	later           = appliance.ReasonFragmentLater
	sourceRoute     = appliance.ReasonSourceRoute
	redirectICMP    = appliance.ReasonRedirectICMP
	other           = appliance.ReasonOtherProtocol
	notIP           = appliance.ReasonNotIP
	notGuarded      = appliance.ReasonNotGuarded
	sipSource       = appliance.ReasonSIPSource
	httpSource      = appliance.ReasonHTTPSource
	sipAllowed      = appliance.ReasonSIPAllowed
	httpAllowed     = appliance.ReasonHTTPAllowed
	openService     = appliance.ReasonOpenService
	banned          = appliance.ReasonBanned
	onFeed          = appliance.ReasonFeed
	reply           = appliance.ReasonReply
	sipPayload      = appliance.ReasonSIPPayload
	tunnelSource    = appliance.ReasonTunnelSource
	tunnelDepth     = appliance.ReasonTunnelDepth
	rateLimit       = appliance.ReasonRateLimit
	dropped         = appliance.ReasonFragmentDropped
	noRules         = appliance.ReasonNoRules
)

func TestPacketWithoutRules(t *testing.T) {
	frame := frame4(provider, protocolUDP, udp(5060, 5060, ""))
	for name, none := range map[string]*Rules{"nil": nil, "zero": {}} {
		if verdict, reason := none.Packet(frame); verdict != appliance.Block || reason != noRules {
			t.Errorf("%s rules: %v (%v)", name, verdict, reason)
		}
	}
}

func TestFrames(t *testing.T) {
	packet := v4(stranger, protocolUDP, 0, 0, "", udp(5060, 5060, ""))
	packet6 := v6(stranger6, protocolUDP, udp(5060, 5060, ""))
	judgeEach(t, guarded(), []step{
		{"nothing", nil, malformedPacket},
		{"13 bytes", ether("0800", nil)[:13], malformedPacket},
		{"arp", ether("0806", nil), notIP},
		{"802.3 length", ether("0026", hexed("4242 03")), notIP},
		{"tag", ether("8100 0001 0800", packet), sipSource},
		{"tags in any order", ether("8100 0001 88a8 0002 0800", packet), sipSource},
		{"two tags, IPv6", ether("88a8 0001 88a8 0002 86dd", packet6), sipSource},
		{"third tag", ether(strings.Repeat("8100 0001", 3)+"0800", packet), appliance.ReasonVLANDepth},
		{"third tag cut", ether("8100 0001 8100 0001 88a8", nil), appliance.ReasonVLANDepth},
		{"tag cut", ether("8100 000108", nil), malformedPacket},
		{"second tag cut", ether("8100 0001 8100 0001", nil), malformedPacket},
		{"padded", append(ether("0800", packet), make([]byte, 18)...), sipSource},

		{"session, IPv4", session("0021", packet), sipSource},
		{"session, IPv6", session("0057", packet6), sipSource},
		{"session, compressed IPv4", session("21", packet), sipSource},
		{"session, compressed IPv6", session("57", packet6), sipSource},
		{"session, LCP", session("c021", packet), notIP},
		{"session, odd first byte", session("2100", packet), malformedPacket}, // 0x21, then a 0 for a version
		{"session, not quite IPv4", session("0221", packet), notIP},
		{"session, odd version, type and code", with(session("0021", packet), 14, "ffff"), sipSource},
		{"session in tags", ether("8100 0001 88a8 0002 8864", session("0021", packet)[14:]), sipSource},
		{"session in three tags", ether("8100 0001 88a8 0002 8100 0003 8864", session("0021", packet)[14:]), appliance.ReasonVLANDepth},
		{"session, header cut", session("0021", packet)[:19], malformedPacket},
		{"session, payload cut", session("0021", packet)[:47], malformedPacket},
		{"session, length 0", with(session("0021", packet), 18, "0000"), malformedPacket},
		{"session, half a protocol", with(session("0021", packet), 18, "0001"), malformedPacket},
		{"session, a whole compressed protocol, no packet", with(session("21", packet), 18, "0001"), malformedPacket},
		{"session, length short of packet", with(session("0021", packet), 18, "001d"), malformedPacket},
		{"session, padded", append(session("0021", packet), make([]byte, 18)...), sipSource},
		{"session, packet reaches into the padding", with(append(session("0021", packet), make([]byte, 18)...), 24, "001d"), malformedPacket},
		{"discovery", ether("8863", hexed("1109 0000 0000")), notIP},
	})
}

func TestIPv4(t *testing.T) {
	whole := frame4(stranger, protocolUDP, udp(5060, 5060, ""))
	options := func(digits string) []byte {
		return ether("0800", v4(stranger, protocolUDP, 0, 0, digits, udp(5060, 5060, "")))
	}
	judgeEach(t, guarded(), []step{
		{"19 bytes", whole[:33], malformedPacket},
		{"version 6", with(whole, 14, "65"), malformedPacket},
		{"header of 16", with(whole, 14, "44"), malformedPacket},
		{"total below header", with(whole, 16, "0013"), malformedPacket},
		{"options beyond total", with(whole, 14, "4f"), malformedPacket},
		{"total beyond frame", with(whole, 16, "001d"), malformedPacket},
		{"options, ended", options("00ffffff"), sipSource},
		{"options, none", options("01010101"), sipSource},
		{"router alert", options("94040000"), sipSource},
		{"length missing", options("01010194"), malformedPacket},
		{"length 1", options("94010000"), malformedPacket},
		{"length beyond header", options("94050000"), malformedPacket},
		{"loose source route", options("83040400"), sourceRoute},
		{"strict source route", options("89040400"), sourceRoute},
		{"source route of 2", options("01018302"), sourceRoute},
		{"source route behind others", options("01 9404 0000 8303 04"), sourceRoute},
		{"source route after the end", options("00830400"), sipSource},
		{"source route within an option", options("4404 8303"), sipSource},
		{"source route, length 1", options("83010000"), malformedPacket},
		{"source route, then broken", options("83020194"), sourceRoute},
		{"source route, beyond header", options("83050000"), malformedPacket},
		{"later fragment with source route", ether("0800", v4(stranger, 17, 0, 1, "83040400", make([]byte, 8))), later},
		{"first fragment with source route", ether("0800", v4(stranger, 17, 0, 0x2000, "83040400", make([]byte, 8))), sourceRoute},
		{"allowed source with source route", ether("0800", v4(provider, 17, 0, 0, "83040400", udp(1, 5060, ""))), sourceRoute},
		{"source route of icmp", ether("0800", v4(stranger, 1, 0, 0, "83040400", make([]byte, 8))), sourceRoute},
	})
}

func TestIPv6(t *testing.T) {
	datagram := udp(5060, 5060, "")
	chain := func(next byte, digits string) []byte {
		return frame6(stranger6, next, append(hexed(digits), datagram...))
	}
	const eight = "3c00 000000000000 3c00 000000000000 3c00 000000000000 3c00 000000000000 3c00 000000000000 3c00 000000000000 3c00 000000000000"
	whole := frame6(stranger6, protocolUDP, datagram)
	judgeEach(t, guarded(), []step{
		{"39 bytes", whole[:53], malformedPacket},
		{"version 4", with(whole, 14, "40"), malformedPacket},
		{"payload beyond frame", with(whole, 18, "0009"), malformedPacket},
		{"payload 0", with(whole, 18, "0000"), malformedPacket},
		{"mapped source is no IPv4 source", frame6("::ffff:"+provider, protocolUDP, datagram), sipSource},
		{"hop-by-hop", chain(0, "1100 000000000000"), sipSource},
		{"routing type 2", chain(43, "1100 0200 00000000"), sipSource},
		{"routing type 0", chain(43, "1100 0000 00000000"), sourceRoute},
		{"routing type 0 of no segments behind another", chain(0, "2b00 0000 00000000 1100 0000 00000000"), sourceRoute},
		{"routing type 0, cut", chain(43, "1102 0000 00000000"), malformedPacket},
		{"routing type 0 in a first fragment", chain(44, "2b00 0001 00000001 1100 0000 00000000"), sourceRoute},
		{"authentication, in units of 4", chain(51, "1101 0000 00000000 00000000"), sipSource},
		{"mobility, hip, shim6", chain(135, "8b00 000000000000 8c00 000000000000 1100 000000000000"), sipSource},
		{"eight", chain(60, eight+"1100 000000000000"), sipSource},
		{"nine", chain(60, eight+"3c00 000000000000 1100 000000000000"), appliance.ReasonHeaderChain},
		{"nine, the last cut", frame6(stranger6, 60, hexed(eight+"3c00 000000000000")), appliance.ReasonHeaderChain},
		{"cut", chain(60, "1102 000000000000"), malformedPacket},
		{"cut in a first fragment", chain(44, "3c00 0001 00000001 1102 000000000000"), tiny},
		{"fragment header cut", frame6(stranger6, 44, hexed("1100 0001 0000")), malformedPacket},
		{"atomic fragment", chain(44, "1100 0000 00000001"), sipSource},
		{"atomic fragment with reserved bits", chain(44, "11ff 0006 00000001"), sipSource},
		{"first fragment", chain(44, "1100 0001 00000001"), sipSource},
		{"later fragment", chain(44, "1100 0009 00000001"), later},
		{"later fragment of tcp, tiny", chain(44, "0600 0008 00000001"), tiny},
		{"later fragment of tcp at 2", chain(44, "0600 0010 00000001"), later},
		{"no next header", chain(59, ""), other},
		{"esp", chain(50, ""), other},
	})
}

func TestTransport(t *testing.T) {
	in4 := func(protocol byte, body []byte) []byte { return frame4(stranger, protocol, body) }
	first := func(protocol byte, body []byte) []byte {
		return ether("0800", v4(stranger, protocol, 0, 0x2000, "", body))
	}
	judgeEach(t, guarded(), []step{
		{"udp of 7", in4(17, udp(1, 5060, "")[:7]), malformedPacket},
		{"udp of 7, first fragment", first(17, udp(1, 5060, "")[:7]), tiny},
		{"udp length 7", in4(17, with(udp(1, 5060, ""), 4, "0007")), malformedPacket},
		{"udp length 7, first fragment", first(17, with(udp(1, 5060, ""), 4, "0007")), malformedPacket},
		{"udp length beyond", in4(17, with(udp(1, 5060, ""), 4, "0009")), malformedPacket},
		{"udp length beyond, first fragment", first(17, with(udp(1, 5060, ""), 4, "0009")), sipSource},
		{"udp length short", in4(17, with(udp(1, 5060, "abc"), 4, "0008")), sipSource},
		{"udp-lite, any coverage", in4(136, with(udp(1, 5060, ""), 4, "ffff")), sipSource},
		{"udp-lite of 7", in4(136, udp(1, 5060, "")[:7]), malformedPacket},
		{"tcp of 19", in4(6, tcp(1, 443, ack, "")[:19]), malformedPacket},
		{"tcp of 19, first fragment", first(6, tcp(1, 443, ack, "")[:19]), tiny},
		{"tcp header of 16", in4(6, with(tcp(1, 443, ack, ""), 12, "40")), malformedPacket},
		{"tcp header of 16, first fragment", first(6, with(tcp(1, 443, ack, ""), 12, "40")), malformedPacket},
		{"tcp options cut", in4(6, with(tcp(1, 443, ack, ""), 12, "60")), malformedPacket},
		{"tcp options cut, first fragment", first(6, with(tcp(1, 443, ack, ""), 12, "60")), tiny},
		{"tcp", in4(6, tcp(1, 443, ack, "")), httpSource},
		{"sctp", in4(132, ports(1, 5060)), sipSource},
		{"sctp of 11", in4(132, ports(1, 5060)[:11]), malformedPacket},
		{"sctp of 11, first fragment", first(132, ports(1, 5060)[:11]), tiny},
		{"dccp", frame6(stranger6, 33, ports(1, 443)), httpSource},
		{"dccp of 11", in4(33, ports(1, 443)[:11]), malformedPacket},
		{"byte order", in4(17, udp(1, 0xc413, "")), notGuarded},
		{"guarded source port", in4(17, udp(5060, 53, "")), notGuarded},
		{"echo", in4(1, hexed("0800")), other},
		{"redirect", in4(1, hexed("05")), redirectICMP},
		{"redirect, first fragment", first(1, hexed("0501 0000 00000000")), redirectICMP},
		{"empty icmp", in4(1, nil), other},
		{"redirect from a provider", frame4(provider, 1, hexed("05")), redirectICMP},
		{"redirect of IPv6", frame6(stranger6, 58, hexed("89")), redirectICMP},
		{"empty icmp of IPv6", frame6(stranger6, 58, nil), other},
		{"packet too big", frame6(stranger6, 58, hexed("02")), other},
		{"5 is no redirect of IPv6", frame6(stranger6, 58, hexed("05")), other},
		{"icmp in IPv6", frame6(stranger6, 1, hexed("05")), other},
		{"icmpv6 in IPv4", in4(58, hexed("89")), other},
		{"L2TP", in4(115, nil), other},
	})
}

// FuzzJudge: whatever the frame, there is a verdict, its reason is one of the
// kernel's and stands beside it, and a stranger gets nothing that a source with
// every service would not. What a frame that leaves does is never a panic.
func FuzzJudge(f *testing.F) {
	for _, seed := range [][]byte{
		frame4(provider, protocolUDP, udp(1, 5060, "INVITE sip:")),
		session("57", v6(stranger6, 44, append(hexed("0600 0001 00000001"), tcp(1, 443, syn, "")...))),
		frame4(peer, protocolGRE, append(hexed("b000 0800 00000000 00000000 00000000"), v4(stranger, 17, 0, 0, "", udp(1, 5060, ""))...)),
		ether("88a8 0001 8100 0002", nil),
	} {
		f.Add(seed)
	}
	wide := guarded()
	wide.Sources = []Source{
		{Prefix: prefix("0.0.0.0/0"), Services: 1<<Services - 1},
		{Prefix: prefix("::/0"), Services: 1<<Services - 1},
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m := &Memory{}
		verdict, reason := guarded().Judge(frame, m)
		if reason >= appliance.FirstCallReason || verdict != reason.Verdict() {
			t.Fatalf("%v beside %v", verdict, reason)
		}
		if wider, why := wide.Judge(frame, nil); verdict == appliance.Allow && wider != appliance.Allow {
			t.Fatalf("more sources refuse (%v) what fewer allow (%v)", why, reason)
		}
		guarded().Egress(frame, m)
		guarded().Judge(frame, m)
	})
}
