package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

const (
	moment = time.Hour // the time in memories of these tests, since boot
	long   = 100 * time.Hour
)

// outlaws returns a memory of bans that are in force.
func outlaws(sources ...string) *Memory {
	m := &Memory{Now: moment}
	for _, source := range sources {
		m.Ban(address(source), long)
	}
	return m
}

func TestNoRules(t *testing.T) {
	inner := v4(stranger, 17, 0, 0, "", udp(1, 5060, ""))
	for name, g := range map[string]Guard{
		"zero":    {},
		"sources": {Sources: guarded().Sources, Feeds: guarded().Feeds},
	} {
		m := outlaws(stranger)
		judgeAll(t, g, m, []step{
			{name + " sip", frame4(provider, 17, udp(1, 5060, "")), noRules},
			{name + " sctp", frame6(stranger6, 132, ports(1, 50600)), noRules},
			{name + " other port, banned", frame4(stranger, 6, tcp(1, 22, syn, "")), notGuarded},
			{name + " other port, on the feed", frame4(crook, 6, tcp(1, 22, syn, "")), notGuarded},
			{name + " request to another port", frame4(stranger, 17, udp(1, 22, "INVITE sip:")), notGuarded},
			{name + " tunnel", frame4(stranger, 4, inner), noRules},
			{name + " tunnel of GRE", frame4(stranger, 47, append(hexed("0000 0800"), inner...)), noRules},
			{name + " PPTP", frame4(stranger, 47, hexed("3001 880b")), other},
			{name + " tunnel in a tunnel", frame4(stranger, 4, v4(stranger, 47, 0, 0, "", nil)), tunnelDepth},
			{name + " redirect", frame4(stranger, 1, hexed("05")), redirectICMP},
			{name + " echo", frame4(stranger, 1, hexed("08")), other},
		})
	}
}

func TestUnguardedPorts(t *testing.T) {
	g := guarded()
	const request = "OPTIONS sip:100@192.0.2.1 SIP/2.0\r\n"
	opening := func(source string) []byte { return frame4(source, 6, tcp(5060, 22, syn, "")) }
	m := outlaws(stranger, admin)
	m.Ban(address("198.51.100.67"), moment) // has just run out
	judgeAll(t, g, m, []step{
		{"banned, opens", opening(stranger), banned},
		{"banned until now", opening("198.51.100.67"), notGuarded},
		{"banned but firm", opening(admin), notGuarded},
		{"banned, SYN and ACK", frame4(stranger, 6, tcp(1, 22, syn|ack, "")), notGuarded},
		{"banned, FIN", frame4(stranger, 6, tcp(1, 22, 1, "")), notGuarded},
		{"banned, udp", frame4(stranger, 17, udp(1, 22, "")), notGuarded},
		{"listed, opens", opening(crook), onFeed},
		{"listed, SYN and others", frame4(crook, 6, tcp(1, 22, syn|0xe9, "")), onFeed},
		{"listed, goes on", frame4(crook, 6, tcp(1, 22, ack, "")), notGuarded},
		{"listed, udp", frame4(crook, 17, udp(1, 22, "")), notGuarded},
		{"listed, sctp", frame4(crook, 132, ports(1, 22)), notGuarded},
		{"listed, IPv6", frame6(crook6, 6, tcp(1, 22, syn, "")), onFeed},
		{"request", frame4(stranger, 17, udp(1, 22, request)), sipPayload},
		{"request beyond the datagram's length", frame4(stranger, 17, with(udp(1, 22, request), 4, "0008")), sipPayload},
		{"request over tcp", frame6(stranger6, 6, tcp(1, 22, ack, request)), sipPayload},
		{"request in the first packet", frame6(stranger6, 6, tcp(1, 22, syn, request)), sipPayload},
		{"request over udp-lite", frame4(stranger, 136, udp(1, 22, request)), sipPayload},
		{"provider's request", frame4(provider, 17, udp(1, 22, request)), notGuarded},
		{"tunnel peer's request", frame4(peer, 17, udp(1, 22, request)), sipPayload},
		{"response", frame4(stranger, 17, udp(1, 22, "SIP/2.0 200 OK\r\n")), notGuarded},
	})
	g.Egress(frame4(crook, 6, nil), m) // malformed: nothing
	g.Egress(outward(crook, 6, tcp(2000, 80, syn, "")), m)
	judgeAll(t, g, m, []step{
		{"request in a stream that began inside", frame4(crook, 6, tcp(80, 2000, ack, request)), notGuarded},
		{"request in another stream", frame4(crook, 6, tcp(80, 2001, ack, request)), sipPayload},
	})
}

func TestRequests(t *testing.T) {
	many := func(text string, n int) string { return strings.Repeat(text, n) }
	for payload, want := range map[string]bool{
		"INVITE sip:": true, "ACK SIP:": true, "BYE sips:": true, "SUBSCRIBE tel:": true, "REGISTER SiPs:": true, "ABC TEL:": true,
		"INVITE sips:": true, "invite sip:": true, "I sip:": true, "ABCDEFGHIJ sip:": true, "ABCDEFGHIJK sip:": false,
		"INVITE  sip:": true, "INVITE\tsip:": true, "INVITE \t  tel:": true, "INVITE\rsip:": false, "INVITEsip:": false,
		"": false, "I": false, "INVITE": false, "INVITE ": false, " INVITE sip:": false, "INVITE sip": false, "INVITE sips": false,
		"INVITE http:": false, "INVITE tel\x1a": false, "INVITE sips\x1a": false, "IN4ITE sip:": false,
		"GET / HTTP/1.1": false, "HTTP/1.1 200 OK": false, "SIP/2.0 200 OK": false, "SSH-2.0-x": false, "\x80\x00sip:": false,
		"\r\n\r\nINVITE sip:": true, many("\r\n", 20) + "INVITE sip:": true, "\r\n\r\n": false, many("\n", 63): false,
		many("\n", 64): true, many("\r\n", 31) + "IN": true, many("\n", 53) + "INVITE": false, "INVITE" + many(" ", 57): false,
		"INVITE" + many(" ", 58): true, "INVITE" + many(" ", 53) + "sips:": true, "INVITE" + many(" ", 53) + "http:": false, many("x", 64): false,
	} {
		if got := looksLikeRequest([]byte(payload)); got != want {
			t.Errorf("%q is taken for a request: %v", payload, got)
		}
		got := looksLikeRequest([]byte(payload + many("%", 100)))
		if cut := len(payload) > requestHead-len("sips:"); got != want && !cut {
			t.Errorf("%q and more is taken for a request: %v", payload, got)
		}
	}
}

func TestGuardedPorts(t *testing.T) {
	g := guarded()
	g.Feeds = append(g.Feeds, Feed{Name: "provider"}) // empty
	m := outlaws(stranger, admin, "203.0.113.66", "2001:db8:1::ffff")
	judgeAll(t, g, m, []step{
		{"provider", frame4(provider, 17, udp(1, 5060, "")), sipAllowed},
		{"provider's tcp", frame6("2001:db8:1:1::9", 6, tcp(1, 5061, syn, "")), sipAllowed},
		{"provider's sctp", frame4(provider, 132, ports(1, 5061)), sipAllowed},
		{"provider's web", frame4(provider, 6, tcp(1, 443, syn, "")), httpSource},
		{"admin, firm", frame4(admin, 6, tcp(1, 443, syn, "")), httpAllowed},
		{"admin by the network around, firm", frame4(admin, 17, udp(1, 5060, "")), sipAllowed},
		{"banned provider", frame4("203.0.113.66", 17, udp(1, 5060, "")), banned},
		{"banned provider's /64", frame6("2001:db8:1::9", 17, udp(1, 5060, "")), banned},
		{"stranger", frame4("198.51.100.1", 17, udp(5060, 5060, "")), sipSource},
		{"banned stranger", frame4(stranger, 17, udp(1, 5060, "")), sipSource},
		{"listed stranger", frame4(crook, 6, tcp(1, 443, syn, "")), httpSource},
		{"tunnel peer", frame4(peer, 17, udp(1, 5060, "")), sipSource},
		{"open", frame4("198.51.100.1", 17, udp(1, 1194, "")), openService},
		{"open, request", frame4("198.51.100.1", 17, udp(1, 1194, "INVITE sip:")), openService},
		{"open, banned", frame4(stranger, 17, udp(1, 1194, "")), banned},
		{"open, banned and firm", frame4(admin, 17, udp(1, 1194, "")), openService},
		{"open, listed", frame6(crook6, 17, udp(1, 1194, "")), onFeed},
	})
}

// What a source may do excuses it from feeds, whatever it is.
func TestSourcesBeatFeeds(t *testing.T) {
	g := guarded()
	for services, want := range map[uint8]appliance.Reason{0: onFeed, 1 << Services: onFeed, 1 << ServiceTunnel: openService, 1: openService} {
		g.Sources = []Source{{Prefix: prefix("198.18.0.0/24"), Services: services}}
		judgeEach(t, g, []step{{"listed source", frame4(crook, 17, udp(1, 1194, "")), want}})
	}
}

// Replies to flows that began inside pass guarded ports, but nothing opens a
// connection by them, and a ban closes what is easily forged.
func TestReplies(t *testing.T) {
	const udpProtocol, tcpProtocol = 17, 6
	pair := func(protocol byte, local uint16, flags byte) (out, in []byte) {
		if protocol == tcpProtocol {
			return tcp(local, 9000, syn, ""), tcp(9000, local, flags, "")
		}
		return udp(local, 9000, ""), udp(9000, local, "")
	}
	for _, c := range []struct {
		name, source string
		protocol     byte
		local        uint16
		flags        byte
		ban          bool
		want         appliance.Reason
	}{
		{"udp to sip", stranger, udpProtocol, 5060, 0, false, reply},
		{"udp to sip, banned", stranger, udpProtocol, 5060, 0, true, sipSource},
		{"tcp to http", stranger, tcpProtocol, 443, syn | ack, false, reply},
		{"tcp to http, banned", stranger, tcpProtocol, 443, ack, true, reply},
		{"tcp to http, opens", stranger, tcpProtocol, 443, syn, false, httpSource},
		{"tcp of a provider", provider, tcpProtocol, 5060, ack, false, sipAllowed},
		{"tcp of a banned provider", provider, tcpProtocol, 5060, ack, true, reply},
		{"tcp of a banned provider, opens", provider, tcpProtocol, 5060, syn, true, banned},
		{"udp of a banned provider", provider, udpProtocol, 5060, 0, true, banned},
		{"udp to open", stranger, udpProtocol, 1194, 0, false, openService},
		{"udp to open, banned", stranger, udpProtocol, 1194, 0, true, banned},
		{"udp to open, listed", crook, udpProtocol, 1194, 0, false, reply},
		{"udp to open, listed and banned", crook, udpProtocol, 1194, 0, true, banned},
		{"tcp to open, banned", stranger, tcpProtocol, 1194, ack, true, reply},
		{"tcp to open, banned, opens", stranger, tcpProtocol, 1194, syn, true, banned},
		{"tcp to open, listed", crook, tcpProtocol, 1194, ack, false, reply},
		{"tcp to open, listed, opens", crook, tcpProtocol, 1194, syn, false, onFeed},
		{"udp to any", stranger, udpProtocol, 2000, 0, true, notGuarded},
	} {
		m := &Memory{Now: moment}
		out, in := pair(c.protocol, c.local, c.flags)
		guarded().Egress(outward(c.source, c.protocol, out), m)
		if c.ban {
			m.Ban(address(c.source), long)
		}
		judgeAll(t, guarded(), m, []step{{c.name, frame4(c.source, c.protocol, in), c.want}})
	}
}

// outward is a frame that leaves for an address.
func outward(to string, protocol byte, body []byte) []byte {
	frame := frame4(here, protocol, body)
	copy(frame[30:], address(to).AsSlice())
	return frame
}

// outward6 is the same in IPv6.
func outward6(to string, next byte, body []byte) []byte {
	frame := frame6(here6, next, body)
	copy(frame[38:], address(to).AsSlice())
	return frame
}
