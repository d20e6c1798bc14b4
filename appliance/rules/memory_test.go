package rules

import (
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

func TestBans(t *testing.T) {
	m := &Memory{Now: moment}
	for _, c := range []struct {
		ban, ask string
		until    time.Duration
		want     bool
	}{
		{stranger, stranger, moment + 1, true},
		{stranger, stranger, moment, false},
		{stranger, "198.51.100.67", long, false},
		{stranger, "::ffff:198.51.100.66", long, false},
		{"::ffff:198.51.100.66", stranger, long, false},
		{"::ffff:198.51.100.66", "::1", long, true},
		{stranger6, "2001:db8:2:0:ffff:ffff:ffff:ffff", long, true},
		{stranger6, "2001:db8:2:1::", long, false},
	} {
		m.Ban(address(c.ban), c.until)
		if got := m.banned(address(c.ask)); got != c.want {
			t.Errorf("a ban of %s until %v holds for %s: %v", c.ban, c.until, c.ask, got)
		}
		m.Unban(address(c.ban))
		if m.banned(address(c.ask)) {
			t.Errorf("%s is banned still", c.ask)
		}
	}
}

// fragment4 is a fragment of UDP with an identification.
func fragment4(source string, identification, word uint16, body []byte) []byte {
	return ether("0800", v4(source, 17, identification, word, "", body))
}

func TestFragments(t *testing.T) {
	const first, second = 0x2000, 0x0001
	const long = "a payload that is long enough to tell that it is no request of anybody for anything"
	bad, good := udp(1, 5060, "12345678"), udp(1, 53, "12345678")
	in6 := func(identification string, word, next string, body []byte) []byte {
		return frame6(stranger6, 44, append(hexed(next, "00", word, identification), body...))
	}
	m := &Memory{Now: moment}
	judgeAll(t, guarded(), m, []step{
		{"later without first", fragment4(stranger, 7, second, bad), later},
		{"first, dropped", fragment4(stranger, 7, first, bad), sipSource},
		{"its later", fragment4(stranger, 7, second, bad), dropped},
		{"again", fragment4(stranger, 7, second, bad), dropped},
		{"with more", fragment4(stranger, 7, first|second, bad), dropped},
		{"other identification", fragment4(stranger, 8, second, bad), later},
		{"other source", fragment4(provider, 7, second, bad), later},
		{"other destination", with(fragment4(stranger, 7, second, bad), 30, "c0000202"), later},
		{"other protocol", with(fragment4(stranger, 7, second, bad), 23, "88"), later},
		{"tcp at 1 stays tiny", with(fragment4(stranger, 7, second, bad), 23, "06"), tiny},
		{"first, passed", fragment4(stranger, 7, first, udp(1, 53, long)), notGuarded},
		{"its later", fragment4(stranger, 7, second, good), later},
		{"first, may hide a request", fragment4(stranger, 12, first, good), tiny},
		{"its later", fragment4(stranger, 12, second, good), dropped},
		{"first, may hide one of a provider", fragment4(provider, 12, first, good), notGuarded},
		{"whole packets leave it", frame4(stranger, 17, bad), sipSource},
		{"of that name", fragment4(stranger, 0, second, bad), later},
		{"first, tiny", fragment4(stranger, 9, first, bad[:7]), tiny},
		{"its later", fragment4(stranger, 9, second, bad), dropped},
		{"first, broken options", ether("0800", v4(stranger, 17, 10, first, "94010000", bad)), malformedPacket},
		{"its later", fragment4(stranger, 10, second, bad), dropped},
		{"first, broken length", with(fragment4(stranger, 11, first, bad), 16, "ffff"), malformedPacket},
		{"isn't read, so its later", fragment4(stranger, 11, second, bad), later},

		{"IPv6 first", in6("00010007", "0001", "11", bad), sipSource},
		{"its later", in6("00010007", "0009", "11", bad), dropped},
		{"of whatever protocol", in6("00010007", "0009", "88", bad), dropped},
		{"other high bits", in6("00020007", "0009", "11", bad), later},
		{"IPv6 atomic, of that name", in6("00010007", "0000", "11", good), notGuarded},
		{"dropped still", in6("00010007", "0009", "11", bad), dropped},
		{"IPv6 first, chain cut", in6("00010008", "0001", "3c", nil), tiny},
		{"its later", in6("00010008", "0009", "11", bad), dropped},
		{"IPv6 header cut", frame6(stranger6, 44, hexed("1100 0001 0001")), malformedPacket},
	})
	// Nobody honest sends fragments of a fragment.
	judgeAll(t, guarded(), m, []step{
		{"later inside", in6("0000000a", "0001", "2c", append(hexed("1100 0009 00010007"), bad...)), malformedPacket},
		{"so is the outer's later", in6("0000000a", "0009", "11", bad), dropped},
		{"first twice", in6("0000000b", "0001", "2c", append(hexed("1100 0001 0000000c"), bad...)), malformedPacket},
		{"inner's later", in6("0000000c", "0009", "11", bad), later},
		{"first after an atomic one", in6("0000000d", "0000", "2c", append(hexed("1100 0001 0000000e"), bad...)), sipSource},
		{"its later", in6("0000000e", "0009", "11", bad), dropped},
	})
}

func TestLimits(t *testing.T) {
	g := guarded()
	g.Limits = [Services]Limit{{PerSecond: 2, Burst: 3}, {PerSecond: 3, Burst: 1}, {PerSecond: 0, Burst: 9}}
	m := &Memory{Now: moment}
	call := frame4(provider, 17, udp(1, 5060, ""))
	visit := frame4(admin, 6, tcp(1, 443, syn, ""))
	repeat := func(frame []byte, wants ...appliance.Reason) {
		t.Helper()
		for _, want := range wants {
			judgeAll(t, g, m, []step{{"limited", frame, want}})
		}
	}
	repeat(call, sipAllowed, sipAllowed, sipAllowed, rateLimit, rateLimit)
	repeat(frame4("203.0.113.10", 17, udp(1, 5060, "")), sipAllowed)
	repeat(frame6("2001:db8:1::1", 17, udp(1, 5060, "")), sipAllowed, sipAllowed)
	repeat(frame6("2001:db8:1::2", 17, udp(1, 5060, "")), sipAllowed, rateLimit)
	repeat(frame6("2001:db8:1:1::2", 17, udp(1, 5060, "")), sipAllowed)
	repeat(visit, httpAllowed, rateLimit)
	m.Now += time.Second/2 - 1
	repeat(call, rateLimit)
	repeat(visit, httpAllowed, rateLimit)
	m.Now++
	repeat(call, sipAllowed, rateLimit)
	m.Now += time.Hour
	repeat(call, sipAllowed, sipAllowed, sipAllowed, rateLimit)
	repeat(frame4(stranger, 17, udp(1, 1194, "")), openService, openService, openService)
	// A third of a second is 333,333,333 ns.
	repeat(visit, httpAllowed)
	m.Now += 333_333_332
	repeat(visit, rateLimit)
	m.Now++
	repeat(visit, httpAllowed)
	g.Limits[ServiceOpen] = Limit{PerSecond: 1, Burst: 1}
	repeat(frame4(provider, 17, udp(1, 1194, "")), openService, rateLimit) // a meter of its own
	g.Limits[ServiceHTTP] = Limit{PerSecond: 1<<32 - 1, Burst: 1}
	m.Now += time.Hour
	repeat(visit, httpAllowed, httpAllowed, httpAllowed)
	g.Limits[ServiceHTTP] = Limit{PerSecond: 1, Burst: 1<<32 - 1}
	repeat(visit, httpAllowed, httpAllowed, httpAllowed)
}

// Each row asks what a frame that leaves makes of what comes back, on a port
// that would be shut otherwise.
func TestEgress(t *testing.T) {
	const answer = "SIP/2.0 200 OK\r\n"
	gre := hexed("0000 0800")
	for _, c := range []struct {
		name    string
		out, in []byte
		want    appliance.Reason
	}{
		{"udp", outward(stranger, 17, udp(5060, 9, "")), frame4(stranger, 17, udp(9, 5060, "")), reply},
		{"other remote port", outward(stranger, 17, udp(5060, 9, "")), frame4(stranger, 17, udp(8, 5060, "")), sipSource},
		{"other local port", outward(stranger, 17, udp(5061, 9, "")), frame4(stranger, 17, udp(9, 5060, "")), sipSource},
		{"other remote", outward(stranger, 17, udp(5060, 9, "")), frame4("198.51.100.67", 17, udp(9, 5060, "")), sipSource},
		{"other protocol", outward(stranger, 17, udp(5060, 9, "")), frame4(stranger, 136, udp(9, 5060, "")), sipSource},
		{"mapped remote", outward(stranger, 17, udp(5060, 9, "")), frame6("::ffff:"+stranger, 17, udp(9, 5060, "")), sipSource},
		{"IPv6", outward6(stranger6, 17, udp(5060, 9, "")), frame6(stranger6, 17, udp(9, 5060, "")), reply},
		{"tagged session", ether("8100 0001 8864", session("0021", outward(stranger, 17, udp(5060, 9, ""))[14:])[14:]), frame4(stranger, 17, udp(9, 5060, "")), reply},
		{"an answer", outward(stranger, 17, udp(5060, 9, answer)), frame4(stranger, 17, udp(9, 5060, "")), sipSource},
		{"an answer over udp-lite", outward(stranger, 136, udp(5060, 9, answer)), frame4(stranger, 136, udp(9, 5060, "")), sipSource},
		{"no answer quite", outward(stranger, 17, udp(5060, 9, answer[:7])), frame4(stranger, 17, udp(9, 5060, "")), reply},
		{"an answer in small letters", outward(stranger, 17, udp(5060, 9, "sip/2.0 200")), frame4(stranger, 17, udp(9, 5060, "")), reply},
		{"udp-lite", outward(stranger, 136, udp(5060, 9, "")), frame4(stranger, 136, udp(9, 5060, "")), reply},
		{"sctp", outward(stranger, 132, ports(5060, 9)), frame4(stranger, 132, ports(9, 5060)), reply},
		{"dccp", outward(stranger, 33, ports(443, 9)), frame4(stranger, 33, ports(9, 443)), reply},
		{"tcp begins", outward(stranger, 6, tcp(443, 9, syn, "")), frame4(stranger, 6, tcp(9, 443, syn|ack, "")), reply},
		{"tcp goes on", outward(stranger, 6, tcp(443, 9, ack, "")), frame4(stranger, 6, tcp(9, 443, ack, "")), httpSource},
		{"tcp answers", outward(stranger, 6, tcp(443, 9, syn|ack, "")), frame4(stranger, 6, tcp(9, 443, ack, "")), httpSource},
		{"malformed", outward(stranger, 17, udp(5060, 9, "")[:7]), frame4(stranger, 17, udp(9, 5060, "")), sipSource},
		{"source-routed", outwardWords(0, "83040400"), frame4(stranger, 17, udp(9, 5060, "")), sipSource},
		{"first fragment", outwardWords(0x2000, ""), frame4(stranger, 17, udp(9, 5060, "")), reply},
		{"later fragment", outwardWords(0x0001, ""), frame4(stranger, 17, udp(9, 5060, "")), sipSource},
		{"to a source that the port is open to", outward(provider, 17, udp(5060, 9, "")), frame4(provider, 17, udp(9, 5060, "")), sipAllowed},
		{"to a source that has the other service", outward(provider, 17, udp(443, 9, "")), frame4(provider, 17, udp(9, 443, "")), reply},
		{"from an open port to a listed remote", outward(crook, 17, udp(1194, 9, "")), frame4(crook, 17, udp(9, 1194, "")), reply},
		{"from another to a listed remote", outward(crook, 6, tcp(99, 9, syn, "")), frame4(crook, 6, tcp(9, 99, syn, "")), onFeed},
		{"tunnel", outward(stranger, 47, nil), frame4(stranger, 47, append(gre, v4(stranger, 17, 0, 0, "", udp(1, 53, ""))...)), notGuarded},
		{"other tunnel", outward(stranger, 4, nil), frame4(stranger, 47, gre), tunnelSource},
		{"tunnelled", outward(peer, 4, outward(stranger, 17, udp(5060, 9, ""))[14:]), frame4(stranger, 17, udp(9, 5060, "")), sipSource},
		{"echo", outward(stranger, 1, nil), frame4(stranger, 17, udp(0, 5060, "")), sipSource},
	} {
		m := &Memory{Now: moment}
		guarded().Egress(c.out, m)
		judgeAll(t, guarded(), m, []step{{c.name, c.in, c.want}})
	}
}

// outwardWords is a datagram from port 5060 to port 9 with IPv4's odder fields.
func outwardWords(word uint16, options string) []byte {
	frame := ether("0800", v4(here, 17, 0, word, options, udp(5060, 9, "")))
	copy(frame[30:], address(stranger).AsSlice())
	return frame
}

// TestFlowsOfProviders: a provider's flow is not remembered, so it is no way
// around a ban or around a document that takes the service away.
func TestFlowsOfProviders(t *testing.T) {
	m := &Memory{Now: moment}
	guarded().Egress(outward(provider, 17, udp(5060, 9, "")), m)
	guarded().Egress(outward("198.51.100.1", 17, udp(1194, 9, "")), m)
	m.Ban(address(crook), long)
	guarded().Egress(outward(crook, 17, udp(1194, 9, "")), m)
	if len(m.flows) > 0 {
		t.Errorf("remembered %v", m.flows)
	}
}

func TestFlowsWithoutRules(t *testing.T) {
	m := &Memory{Now: moment}
	var none Guard
	none.Egress(outward(stranger, 17, udp(5060, 9, "")), m)
	none.Egress(outward(stranger, 6, tcp(5060, 9, ack, "")), m)
	if len(m.flows) > 0 {
		t.Errorf("remembered %v", m.flows)
	}
	none.Egress(outward(stranger, 6, tcp(5060, 9, syn, "")), m)
	none.Egress(outward(stranger, 41, nil), m)
	if len(m.flows) != 2 {
		t.Errorf("remembered %v", m.flows)
	}
}

// Each row lets a flow age and then asks for it.
func TestFlowsAge(t *testing.T) {
	const request = "INVITE sip:x"
	gre := append(hexed("0000 0800"), v4(stranger, 17, 0, 0, "", udp(1, 53, ""))...)
	for _, c := range []struct {
		name    string
		out, in []byte
		life    time.Duration
		fresh   appliance.Reason
		aged    appliance.Reason
	}{
		{"udp", outward(stranger, 17, udp(5060, 9, "")), frame4(stranger, 17, udp(9, 5060, "")), 180 * time.Second, reply, sipSource},
		{"tcp", outward(stranger, 6, tcp(443, 9, syn, "")), frame4(stranger, 6, tcp(9, 443, ack, "")), 7440 * time.Second, reply, httpSource},
		{"tunnel", outward(stranger, 47, gre), frame4(stranger, 47, gre), 600 * time.Second, notGuarded, tunnelSource},
		{"other tcp", outward(stranger, 6, tcp(2000, 9, syn, "")), frame4(stranger, 6, tcp(9, 2000, ack, request)), 1000 * time.Hour, notGuarded, notGuarded},
	} {
		m := &Memory{Now: moment}
		guarded().Egress(c.out, m)
		m.Now += c.life
		judgeAll(t, guarded(), m, []step{{c.name + " at its end", c.in, c.fresh}})
		if c.fresh == reply { // which does not renew
			guarded().Egress(c.out, m)
			m.Now += c.life
			judgeAll(t, guarded(), m, []step{{c.name + " renewed from inside", c.in, c.fresh}})
		}
		m.Now += c.life + 1
		judgeAll(t, guarded(), m, []step{{c.name + " after it", c.in, c.aged}})
	}
}

// TCP that goes on renews its flow where the port is guarded.
func TestTCPGoesOn(t *testing.T) {
	m := &Memory{Now: moment}
	guarded().Egress(outward(stranger, 6, tcp(443, 9, syn, "")), m)
	m.Now += 7000 * time.Second
	guarded().Egress(outward(stranger, 6, tcp(443, 9, ack, "")), m)
	m.Now += 7000 * time.Second
	judgeAll(t, guarded(), m, []step{{"renewed", frame4(stranger, 6, tcp(9, 443, ack, "")), reply}})
}

// A telephone behind a port that nobody guards is called by where it registered
// for as long as it sends what holds its NAT's binding open. What the remote has
// it answer counts for nothing.
func TestKeepalives(t *testing.T) {
	const request = "INVITE sip:x"
	for name, c := range map[string]struct {
		sent string
		want appliance.Reason
	}{
		"empty lines": {"\r\n\r\n", notGuarded},
		"nothing":     {"", notGuarded},
		"an answer":   {"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n", sipPayload},
	} {
		m := &Memory{Now: moment}
		guarded().Egress(outward(stranger, 17, udp(2000, 9, c.sent)), m)
		if len(m.flows) > 0 {
			t.Errorf("%s begins %v", name, m.flows)
		}
		guarded().Egress(outward(stranger, 17, udp(2000, 9, "REGISTER sip:x")), m)
		for range 4 {
			m.Now += 100 * time.Second
			guarded().Egress(outward(stranger, 17, udp(2000, 9, c.sent)), m)
		}
		judgeAll(t, guarded(), m, []step{{name, frame4(stranger, 17, udp(9, 2000, request)), c.want}})
	}
}
