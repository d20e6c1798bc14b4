package gate

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

var (
	peer4  = netip.MustParseAddr("192.0.2.50") // may send tunnels
	firm4  = netip.MustParseAddr("203.0.113.8")
	crook4 = netip.MustParseAddr("198.18.0.9") // on the feed
	crook6 = netip.MustParseAddr("2001:db8:bad::9")
)

// fortress is the perimeter of the table tests with all that a perimeter can
// hold.
func fortress() rules.Guard {
	guard := perimeter
	guard.Ports[rules.ServiceOpen] = []uint16{1194}
	guard.Sources = append(slices.Clone(perimeter.Sources),
		rules.Source{Prefix: netip.PrefixFrom(peer4, 32), Services: 1 << rules.ServiceTunnel},
		rules.Source{Prefix: netip.PrefixFrom(firm4, 32), Services: sip, Firm: true})
	guard.Feeds = []rules.Feed{{Name: "crooks", List: feed.List{
		V4:      []feed.Range4{{First: 0xc6120000, Last: 0xc613ffff}},
		V6:      []feed.Range6{{First: feed.Address6{High: 0x20010db80bad0000}, Last: feed.Address6{High: 0x20010db80badffff, Low: 1<<64 - 1}}},
		Entries: 2,
	}}}
	guard.Limits[rules.ServiceOpen] = rules.Limit{PerSecond: 1, Burst: 2}
	return guard
}

// evasion is a way to get something past the gate, or honest traffic that a
// gate against it must not cost. item is its number in section 3 of
// perimeter.md, the research's list of pitfalls.
type evasion struct {
	item  int
	name  string
	steps []step // the last one is the frame that counts
	want  appliance.Reason
	why   string
}

func in(frames ...[]byte) (steps []step) {
	for _, frame := range frames {
		steps = append(steps, step{act: "in", frame: frame})
	}
	return steps
}

func after(act string, source netip.Addr, then ...[]byte) []step {
	return append([]step{{act: act, source: source}}, in(then...)...)
}

// replyTo is what comes back after a frame has left.
func replyTo(f frame, in frame) []step {
	return []step{{act: "out", frame: f.outward().bytes()}, {act: "in", frame: in.bytes()}}
}

const invite = "INVITE sip:0011252615550148@192.0.2.1 SIP/2.0\r\n"

// TestEvasions puts each way before kernel and model, and prints all with -v.
func TestEvasions(t *testing.T) {
	var k kernel
	if os.Geteuid() == 0 {
		if loaded, whole := any(loadProgram(t)).(kernel); whole {
			k = loaded
			k.enforce(fortress())
		}
	}
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 1, ' ', 0)
	check(t, write(table, "case\t| expected\t| seen\t| why"))
	for _, e := range evasions() {
		seen := e.seen(k)
		name := fmt.Sprintf("%d. %s", e.item, e.name)
		check(t, write(table, "%s\t| %s\t| %s\t| %s", name, verdictOf(e.want), seen, e.why))
		if seen != verdictOf(e.want) {
			t.Errorf("%s: %s, want %s, of %s", name, seen, verdictOf(e.want), hex.EncodeToString(e.steps[len(e.steps)-1].frame))
		}
	}
	check(t, table.Flush())
	t.Logf("kernel asked: %t\n%s", k != nil, out.String())
}

func evasions() []evasion {
	return slices.Concat(fragmentEvasions(), headerEvasions(), linkEvasions(), tunnelEvasions(), protocolEvasions(), stateEvasions(), payloadEvasions())
}

func verdictOf(reason appliance.Reason) string {
	return fmt.Sprintf("%s (%s)", reason.Verdict(), reason)
}

// seen asks the model, and the kernel where there is one.
func (e evasion) seen(k kernel) string {
	told := story{fortress(), e.steps}
	guard, m := told.guard, &rules.Memory{Now: present}
	var model appliance.Reason
	for _, step := range e.steps {
		model = step.model(&guard, m)
	}
	if k == nil {
		return verdictOf(model)
	}
	if kernel, _ := told.ends(k); kernel != model {
		return "kernel " + verdictOf(kernel) + ", model " + verdictOf(model)
	}
	return verdictOf(model)
}

func fragmentEvasions() []evasion {
	f := frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 1200, id: 7}
	first, later, large := f, f, frame{source: provider4, protocol: protoUDP, port: 5060, payload: 1200, id: 7}
	first.more, later.offset = true, 151
	largeFirst, largeLater := large, large
	largeFirst.more, largeLater.offset = true, 151
	elsewhere := later
	elsewhere.destination = netip.MustParseAddr("198.51.100.2")
	tcpSecond := frame{source: stranger4, protocol: protoTCP, port: 80, offset: 1}
	stub := frame{source: stranger4, protocol: protoUDP, more: true, body: []byte{0x13, 0xc4, 0x13, 0xc4}}
	v6 := func(protocol byte, chain ...extension) frame {
		return frame{source: stranger6, protocol: protocol, port: 5060, payload: 32, chain: chain}
	}
	incomplete := v6(extDest, extension{extFragment, 8, 1})
	incomplete.content = []byte{}
	return []evasion{
		{1, "later fragment whose payload looks like a free port", in(later.bytes()), appliance.ReasonFragmentLater, "it has no ports, and nothing without its first"},
		{1, "later fragment after its first was dropped", in(first.bytes(), later.bytes()), appliance.ReasonFragmentDropped, "the receiver would keep it and wait"},
		{1, "the same to another address", in(first.bytes(), elsewhere.bytes()), appliance.ReasonFragmentLater, "the destination names the packet, too"},
		{1, "large INVITE of a provider", in(largeFirst.bytes(), largeLater.bytes()), appliance.ReasonFragmentLater, "honest INVITEs do fragment"},
		{1, "provider's identification, after a stranger's was dropped", in(first.bytes(), largeFirst.bytes(), largeLater.bytes()), appliance.ReasonFragmentLater, "the source names the packet, too"},
		{1, "first fragment of a stranger", in(first.bytes()), appliance.ReasonSIPSource, "it has ports"},
		{2, "TCP fragment at offset 8", in(tcpSecond.bytes()), appliance.ReasonFragmentTiny, "it would overwrite the flags: RFC 3128"},
		{2, "the same in IPv6", in(v6(protoTCP, extension{extFragment, 8, 1 << 3}).bytes()), appliance.ReasonFragmentTiny, "RFC 3128"},
		{2, "first fragment with 4 bytes of UDP", in(stub.bytes()), appliance.ReasonFragmentTiny, "RFC 1858"},
		{2, "IPv6 chain that isn't whole in the first fragment", in(incomplete.bytes()), appliance.ReasonFragmentTiny, "RFC 7112"},
		{3, "atomic fragment", in(v6(protoUDP, extension{extFragment, 8, 0}).bytes()), appliance.ReasonSIPSource, "it is an ordinary packet: RFC 6946"},
		{3, "atomic fragment behind other headers", in(v6(protoUDP, extension{extHop, 8, 0}, extension{extDest, 16, 0}, extension{extFragment, 8, 0}, extension{extDest, 8, 0}).bytes()), appliance.ReasonSIPSource, "a fragment header may stand anywhere"},
	}
}

func headerEvasions() []evasion {
	f := frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 8}
	shifted, short, version := f, edit(f, func(ip []byte) { ip[0] = 0x44 }), edit(f, func(ip []byte) { ip[0] = 0x65 })
	shifted.options = 40
	routed := func(kind byte) []byte {
		c := f
		c.port, c.options, c.list = 53, 8, []byte{1, kind, 7, 4, 192, 0, 2, 1}
		return c.bytes()
	}
	broken := f
	broken.options, broken.list = 4, []byte{0x94, 0, 0, 0}
	v6 := func(chain ...extension) []byte {
		return frame{source: stranger6, protocol: protoUDP, port: 5060, payload: 8, chain: chain}.bytes()
	}
	esp := frame{source: stranger6, protocol: 50, payload: 32}
	return []evasion{
		{4, "40 bytes of options", in(shifted.bytes()), appliance.ReasonSIPSource, "the ports are where the header ends"},
		{4, "header of 16 bytes", in(short), appliance.ReasonMalformed, "the source would be read as a port"},
		{4, "IPv6 under IPv4's type", in(version), appliance.ReasonMalformed, "the type and the version contradict"},
		{4, "loose source route", in(routed(131)), appliance.ReasonSourceRoute, "replies would go where the sender wants"},
		{4, "strict source route", in(routed(137)), appliance.ReasonSourceRoute, "as above"},
		{4, "option without a length", in(broken.bytes()), appliance.ReasonMalformed, "a walk would never end, or miss what follows"},
		{5, "authentication header", in(v6(extension{extAH, 28, 0})), appliance.ReasonSIPSource, "its length is in units of 4 bytes"},
		{5, "eight headers", in(v6(chainOf(8, 8)...)), appliance.ReasonSIPSource, "the bound"},
		{5, "nine headers", in(v6(chainOf(9, 8)...)), appliance.ReasonHeaderChain, "no honest sender needs them"},
		{5, "mobility, HIP and shim6", in(v6(extension{135, 8, 0}, extension{139, 8, 0}, extension{140, 8, 0})), appliance.ReasonSIPSource, "they lead to a next header"},
		{5, "routing header of type 0", in(v6(extension{extRouting, 24, 0x0001})), appliance.ReasonSourceRoute, "RFC 5095"},
		{5, "ESP", in(esp.bytes()), appliance.ReasonOtherProtocol, "what is encrypted is not searched for ports"},
	}
}

func linkEvasions() []evasion {
	f := frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 8}
	tagged := func(tags ...uint16) []byte { c := f; c.tags = tags; return c.bytes() }
	ppp := func(protocol []byte, tags ...uint16) []byte {
		c := f
		c.tags, c.session = tags, &session{head: [2]byte{0x11, 0}, protocol: protocol}
		return c.bytes()
	}
	odd := f
	odd.session = &session{head: [2]byte{0x23, 0x42}}
	v6 := frame{source: stranger6, protocol: protoTCP, port: 443, session: &session{head: [2]byte{0x11, 0}, protocol: []byte{0x57}}}
	long := f
	long.session = &session{head: [2]byte{0x11, 0}, excess: 1}
	bare := func(kind ...byte) []byte { return append(append(make([]byte, 12), kind...), make([]byte, 28)...) }
	return []evasion{
		{6, "802.1Q", in(tagged(tagC)), appliance.ReasonSIPSource, "a tag hides nothing"},
		{6, "802.1ad and 802.1Q", in(tagged(tagS, tagC)), appliance.ReasonSIPSource, "nor do two"},
		{6, "three tags", in(tagged(tagC, tagC, tagC)), appliance.ReasonVLANDepth, "Linux would take off all of them"},
		{6, "PPPoE session", in(ppp(nil)), appliance.ReasonSIPSource, "the port's frames are the session's"},
		{6, "PPPoE with a compressed protocol", in(ppp([]byte{0x21})), appliance.ReasonSIPSource, "Linux takes it unasked"},
		{6, "PPPoE of IPv6, compressed", in(v6.bytes()), appliance.ReasonHTTPSource, "as above"},
		{6, "PPPoE of another version and code", in(odd.bytes()), appliance.ReasonSIPSource, "Linux doesn't look"},
		{6, "PPPoE in two tags", in(ppp(nil, tagS, tagC)), appliance.ReasonSIPSource, "carriers do so"},
		{6, "PPPoE longer than its frame", in(long.bytes()), appliance.ReasonMalformed, "it contradicts itself"},
		{6, "LCP", in(ppp([]byte{0xc0, 0x21})), appliance.ReasonNotIP, "else there is no session"},
		{6, "PPPoE discovery", in(bare(0x88, 0x63)), appliance.ReasonNotIP, "as above"},
		{6, "ARP", in(bare(0x08, 0x06)), appliance.ReasonNotIP, "else there is no network"},
		{6, "EAPOL", in(bare(0x88, 0x8e)), appliance.ReasonNotIP, "as above"},
		{6, "LLDP", in(bare(0x88, 0xcc)), appliance.ReasonNotIP, "as above"},
	}
}

func tunnelEvasions() []evasion {
	inner := frame{source: provider4, protocol: protoUDP, port: 5060, payload: 8}.packet() // forged
	bad := frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 8}.packet()
	bad6 := frame{source: stranger6, protocol: protoUDP, port: 5060, payload: 8}.packet()
	carry := func(source netip.Addr, protocol byte, head []byte, packet []byte) frame {
		return frame{source: source, protocol: protocol, body: slices.Concat(head, packet)}
	}
	gre, gre6 := []byte{0, 0, 8, 0}, []byte{0xb0, 0, 0x86, 0xdd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	nested := carry(peer4, protoIPIP, nil, carry(peer4, protoIPIP, nil, bad).packet())
	first := carry(peer4, protoIPIP, nil, bad[:32])
	first.more, first.id = true, 7
	rest := frame{source: peer4, protocol: protoIPIP, offset: 4, id: 7}
	begun := carry(stranger4, protoGRE, gre, inner)
	return []evasion{
		{8, "IPv4 in IPv4 of a stranger", in(carry(stranger4, protoIPIP, nil, inner).bytes()), appliance.ReasonTunnelSource, "it would come out of a device without a gate"},
		{8, "IPv6 in IPv4 of a provider", in(carry(provider4, proto6in4, nil, bad6).bytes()), appliance.ReasonTunnelSource, "a provider is no tunnel's peer"},
		{8, "GRE of a stranger", in(carry(stranger4, protoGRE, gre, inner).bytes()), appliance.ReasonTunnelSource, "as above"},
		{8, "IPv4 in IPv6 of a stranger", in(carry(stranger6, protoIPIP, nil, inner).bytes()), appliance.ReasonTunnelSource, "as above"},
		{8, "stranger in a peer's tunnel", in(carry(peer4, protoIPIP, nil, bad).bytes()), appliance.ReasonSIPSource, "what is inside is judged, too"},
		{8, "stranger in a peer's GRE with all fields", in(carry(peer4, protoGRE, gre6, bad6).bytes()), appliance.ReasonSIPSource, "the inner packet is where the fields end"},
		{8, "provider in a peer's tunnel", in(carry(peer4, protoGRE, gre, inner).bytes()), appliance.ReasonSIPAllowed, "a configured tunnel works"},
		{8, "GRE with a route of its own", in(carry(peer4, protoGRE, []byte{0x40, 0, 8, 0}, bad).bytes()), appliance.ReasonMalformed, "RFC 1701's field has no fixed size"},
		{8, "tunnel in a tunnel", in(nested.bytes()), appliance.ReasonTunnelDepth, "one is looked into"},
		{8, "inner packet over the outer's fragments", in(first.bytes()), appliance.ReasonSIPSource, "its ports are in the first"},
		{8, "the rest of it", in(first.bytes(), rest.bytes()), appliance.ReasonFragmentDropped, "what was dropped inside is dropped as a whole"},
		{8, "GRE answer to somebody inside", replyTo(begun, begun), appliance.ReasonSIPAllowed, "VPN clients work"},
	}
}

func protocolEvasions() []evasion {
	of := func(protocol byte, port uint16) []byte {
		return frame{source: stranger4, protocol: protocol, port: port, payload: 8}.bytes()
	}
	icmp := func(source netip.Addr, protocol, kind byte) []byte {
		return frame{source: source, protocol: protocol, content: []byte{kind, 1, 0, 0, 0, 0, 0, 0}}.bytes()
	}
	cut := func(n int) []byte {
		return frame{source: stranger4, protocol: protoUDP, body: []byte{0x13, 0xc4, 0x13, 0xc4, 0, 8, 0}[:n]}.bytes()
	}
	f := frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 8}
	summed := edit(f, func(ip []byte) { ip[10], ip[11], ip[26], ip[27] = 0xde, 0xad, 0xbe, 0xef })
	return []evasion{
		{9, "SCTP to 5060", in(of(protoSCTP, 5060)), appliance.ReasonSIPSource, "RFC 4168 is SIP over SCTP"},
		{9, "DCCP to 443", in(of(protoDCCP, 443)), appliance.ReasonHTTPSource, "a port is shut in every protocol"},
		{9, "UDP-Lite to 5060", in(of(protoUDPLite, 5060)), appliance.ReasonSIPSource, "as above"},
		{10, "3 bytes of UDP", in(cut(3)), appliance.ReasonMalformed, "there are no ports to judge by"},
		{10, "7 bytes of UDP", in(cut(7)), appliance.ReasonMalformed, "ports, but no header"},
		{10, "total length beyond the frame", in(edit(f, func(ip []byte) { ip[2] = 0x40 })), appliance.ReasonMalformed, "it contradicts itself"},
		{11, "guarded source port", in(frame{source: stranger4, protocol: protoUDP, from: 53, port: 5060}.bytes()), appliance.ReasonSIPSource, "the sender picks it"},
		{11, "from 5060 to a free port", in(of(protoUDP, 53)), appliance.ReasonNotGuarded, "as above"},
		{16, "ICMP error", in(icmp(stranger4, protoICMP, 3)), appliance.ReasonOtherProtocol, "path MTU discovery needs it"},
		{16, "packet too big", in(icmp(stranger6, protoICMPv6, 2)), appliance.ReasonOtherProtocol, "as above"},
		{16, "neighbour solicitation", in(icmp(stranger6, protoICMPv6, 135)), appliance.ReasonOtherProtocol, "else there is no IPv6"},
		{16, "ICMP redirect", in(icmp(stranger4, protoICMP, 5)), appliance.ReasonRedirectICMP, "nobody out there tells routes"},
		{16, "ICMPv6 redirect", in(icmp(stranger6, protoICMPv6, 137)), appliance.ReasonRedirectICMP, "as above"},
		{16, "DHCP", in(of(protoUDP, 68)), appliance.ReasonNotGuarded, "else there is no address"},
		{16, "multicast DNS", in(frame{source: stranger4, destination: netip.MustParseAddr("224.0.0.251"), protocol: protoUDP, port: 5353}.bytes()), appliance.ReasonNotGuarded, "not guarded"},
		{16, "SIP by multicast", in(frame{source: stranger4, destination: netip.MustParseAddr("224.0.1.75"), protocol: protoUDP, port: 5060}.bytes()), appliance.ReasonSIPSource, "the port decides, not the destination"},
		{19, "wrong checksums", in(summed), appliance.ReasonSIPSource, "cards and veth fill them in later"},
	}
}

func stateEvasions() []evasion {
	at := func(source netip.Addr, protocol byte, port uint16, flags byte) frame {
		return frame{source: source, protocol: protocol, from: 9000, port: port, flags: flags}
	}
	opening := at(stranger4, protoTCP, 50600, flagSYN)
	register := at(stranger4, protoUDP, 5060, 0)
	answer := register
	answer.content = []byte("SIP/2.0 401 Unauthorized\r\n")
	others := register
	others.from = 9001
	crooks := at(crook4, protoUDP, 1194, 0)
	banned := append(after("ban", stranger4), replyTo(register, register)...)
	return []evasion{
		{12, "answer to our connection from 50600", replyTo(opening, at(stranger4, protoTCP, 50600, flagSYN|flagACK)), appliance.ReasonReply, "the kernel may pick such a port"},
		{12, "connection to it instead", replyTo(opening, opening), appliance.ReasonSIPSource, "a SYN opens, it doesn't answer"},
		{12, "SYN and ACK out of nothing", in(at(stranger4, protoTCP, 50600, flagSYN|flagACK).bytes()), appliance.ReasonSIPSource, "nobody asked"},
		{13, "answer to a REGISTER from 5060", replyTo(register, register), appliance.ReasonReply, "symmetric SIP needs no list"},
		{13, "the same remote from another port", replyTo(register, others), appliance.ReasonSIPSource, "a flow is both ports"},
		{13, "stranger whom the PBX has answered", replyTo(answer, register), appliance.ReasonSIPSource, "an answer begins no flow"},
		{13, "banned remote over UDP", banned, appliance.ReasonSIPSource, "a datagram's source is easily forged"},
		{14, "feed: new connection to any port", in(at(crook4, protoTCP, 22, flagSYN).bytes()), appliance.ReasonFeed, "new flows only"},
		{14, "feed: IPv6", in(at(crook6, protoTCP, 22, flagSYN).bytes()), appliance.ReasonFeed, "as above"},
		{14, "feed: answer", in(at(crook4, protoTCP, 40000, flagACK).bytes()), appliance.ReasonNotGuarded, "somebody inside may go there"},
		{14, "feed: DNS answer", in(at(crook4, protoUDP, 40000, 0).bytes()), appliance.ReasonNotGuarded, "as above"},
		{14, "feed: open service", in(crooks.bytes()), appliance.ReasonFeed, "a datagram to it is a new flow"},
		{14, "feed: open service, asked from inside", replyTo(crooks, crooks), appliance.ReasonReply, "somebody inside began"},
		{15, "ban of a provider", after("ban", provider4, at(provider4, protoUDP, 5060, 0).bytes()), appliance.ReasonBanned, "one who is listed may be banned by hand"},
		{15, "ban of a firm provider", after("ban", firm4, at(firm4, protoUDP, 5060, 0).bytes()), appliance.ReasonSIPAllowed, "forged packets can't ban it"},
		{15, "ban that has run out", after("lapse", provider4, at(provider4, protoUDP, 5060, 0).bytes()), appliance.ReasonSIPAllowed, "bans end"},
		{15, "ban of a /64", after("ban", provider6, at(provider6.Next(), protoUDP, 5060, 0).bytes()), appliance.ReasonBanned, "its holder has all of it"},
		{15, "banned stranger's connection to any port", after("ban", stranger4, at(stranger4, protoTCP, 22, flagSYN).bytes()), appliance.ReasonBanned, "new flows only"},
		{15, "banned stranger's answer", after("ban", stranger4, at(stranger4, protoTCP, 40000, flagACK).bytes()), appliance.ReasonNotGuarded, "somebody inside may go there"},
		{15, "third packet of a flood to an open service", in(at(stranger4, protoUDP, 1194, 0).bytes(), at(stranger4, protoUDP, 1194, 0).bytes(), at(stranger4, protoUDP, 1194, 0).bytes()), appliance.ReasonRateLimit, "a source has its limit"},
	}
}

// What stands here is not of the list: it is how scanners find telephones on
// other ports.
func payloadEvasions() []evasion {
	to := func(source netip.Addr, protocol byte, content string) []byte {
		return frame{source: source, protocol: protocol, from: 9000, port: 5080, content: []byte(content)}.bytes()
	}
	stream := frame{source: stranger4, protocol: protoTCP, from: 80, port: 40000, content: []byte(invite)}
	opening := stream
	opening.flags, opening.content = flagSYN, nil
	return []evasion{
		{0, "INVITE to another port", in(to(stranger4, protoUDP, invite)), appliance.ReasonSIPPayload, "a port is easily changed"},
		{0, "INVITE over TCP", in(to(stranger6, protoTCP, invite)), appliance.ReasonSIPPayload, "as above"},
		{0, "OPTIONS behind empty lines", in(to(stranger4, protoUDP, "\r\n\r\n\r\nOPTIONS SIPS:x")), appliance.ReasonSIPPayload, "receivers skip them: RFC 3261 section 7.5"},
		{0, "INVITE in small letters", in(to(stranger4, protoUDP, "invite sip:x")), appliance.ReasonSIPPayload, "pjsip takes it"},
		{0, "a method's first letter", in(to(stranger4, protoUDP, "I sip:x")), appliance.ReasonSIPPayload, "as above"},
		{0, "blanks before the scheme", in(to(stranger4, protoTCP, "INVITE \t  sip:x")), appliance.ReasonSIPPayload, "as above"},
		{0, "a hundred empty lines", in(to(stranger4, protoUDP, strings.Repeat("\r\n", 100)+invite)), appliance.ReasonSIPPayload, "what hides its scheme does so on purpose"},
		{0, "a keepalive of empty lines", in(to(stranger4, protoUDP, "\r\n\r\n")), appliance.ReasonNotGuarded, "RFC 5626 section 3.5.1"},
		{0, "an invite to nowhere", in(to(stranger4, protoUDP, "INVITE sip\x1a1@192.0.2.1 SIP/2.0\r\n")), appliance.ReasonNotGuarded, "no request has such a byte"},
		{0, "a provider's", in(to(provider4, protoUDP, invite)), appliance.ReasonNotGuarded, "media ports of a provider carry what they carry"},
		{0, "an answer", in(to(stranger4, protoUDP, "SIP/2.0 200 OK\r\n")), appliance.ReasonNotGuarded, "somebody inside asked, or nobody cares"},
		{0, "web server that sends such a text", replyTo(opening, stream), appliance.ReasonNotGuarded, "the stream began inside"},
	}
}

// A flow may be seen on another CPU after this one has read the clock.
func TestFlowSeenLater(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	p.forget()
	register := frame{source: stranger4, protocol: protoUDP, from: 9000, port: 5060}
	p.egress(register.outward().bytes())
	var key bpf.GateFlow
	check(t, p.Flows.NextKey(nil, &key))
	for _, c := range []struct {
		ago  time.Duration
		want appliance.Reason
	}{{-time.Second, appliance.ReasonReply}, {0, appliance.ReasonReply}, {179 * time.Second, appliance.ReasonReply}, {181 * time.Second, appliance.ReasonSIPSource}} {
		p.age(key, c.ago)
		if _, got := p.judge(register.bytes()); got != c.want {
			t.Errorf("seen %v ago: %v, want %v", c.ago, got, c.want)
		}
	}
}

// age has a flow seen last that long ago. A kernel that is younger skips the test.
func (p program) age(key bpf.GateFlow, ago time.Duration) {
	p.Helper()
	now := time.Now()
	seen := bootTime(now, now.Add(-ago))
	if seen == 0 {
		p.Skipf("NOT TESTED: this kernel has not been up for %v", ago)
	}
	check(p, p.Flows.Put(key, seen))
}

// A telephone that registered from any port holds its binding open, and can be
// called for as long.
func TestKeepaliveRenewsAFlow(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	p.forget()
	f := frame{source: stranger4, protocol: protoUDP, from: 9000, port: 40000, content: []byte(invite)}
	p.egress(f.outward().bytes())
	var key bpf.GateFlow
	check(t, p.Flows.NextKey(nil, &key))
	for _, c := range []struct {
		sent string
		want appliance.Reason
	}{{"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n", appliance.ReasonSIPPayload}, {"\r\n\r\n", appliance.ReasonNotGuarded}} {
		p.age(key, 200*time.Second)
		out := f
		out.content = []byte(c.sent)
		p.egress(out.outward().bytes())
		if _, got := p.judge(f.bytes()); got != c.want {
			t.Errorf("after %q went out: %v, want %v", c.sent, got, c.want)
		}
	}
}
