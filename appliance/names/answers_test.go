package names

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A broken load balancer that fails for AAAA does not make the name fail.
func TestHalfAnAnswerIsTaken(t *testing.T) {
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 300 IN A 192.0.2.1")
	b.fail("sip.example.net. AAAA", dns.RcodeServerFailure)
	b.after(t, 0)
	b.holds(t, sip, "192.0.2.1")
	state := b.State()[0]
	if want := "AAAA of sip.example.net: ask " + b.at.String() + ": it says SERVFAIL"; state.Error != want {
		t.Errorf("error %q; want %q", state.Error, want)
	}
	if state.Success != b.now || state.Next.Sub(b.now) != firstRetry {
		t.Errorf("got %+v; want a success, and another try soon", state)
	}
}

func TestTheSecondServerAnswersForTheFirst(t *testing.T) {
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1")
	sick := newZone(t)
	sick.fail("sip.example.net.", dns.RcodeServerFailure)
	shut := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1) // refused at once
	b.config.Servers = []netip.AddrPort{shut, sick.at, b.at}
	b.after(t, 0)
	b.holds(t, sip, "192.0.2.1")
	if b.trouble(sip) != "" || len(sick.questions()) == 0 {
		t.Errorf("error %q", b.trouble(sip))
	}
}

func TestServiceStandsForItsTargets(t *testing.T) {
	const service = "_sip._udp.example.net"
	b := newBox(t, service)
	b.set(t,
		"_sip._udp.example.net. 600 IN SRV 20 0 5060 b.example.org.",
		"_sip._udp.example.net. 600 IN SRV 10 0 5060 a.example.org.",
		"a.example.org. 90 IN A 192.0.2.1",
		"b.example.org. 600 IN A 192.0.2.2",
		"b.example.org. 600 IN AAAA 2001:db8::2",
	)
	b.after(t, 0)
	b.holds(t, service, "192.0.2.1", "192.0.2.2", "2001:db8::2")
	if got := b.questions(); len(got) != 5 || got[1] != "udp a.example.org. A" {
		t.Errorf("asked %v", got)
	}
	if got := b.State()[0].Next.Sub(b.now); got != 90*time.Second {
		t.Errorf("asked again after %v", got)
	}
	// One target fails, the other moves.
	b.set(t,
		"_sip._udp.example.net. 600 IN SRV 20 0 5060 b.example.org.",
		"_sip._udp.example.net. 600 IN SRV 10 0 5060 a.example.org.",
		"b.example.org. 600 IN A 192.0.2.3",
	)
	b.fail("a.example.org.", dns.RcodeServerFailure)
	b.after(t, 90*time.Second)
	b.holds(t, service, "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::2")
	if got := b.trouble(service); !strings.Contains(got, "A of a.example.org") || strings.Contains(got, "b.example.org") {
		t.Errorf("error %q", got)
	}
	// RFC 2782: decidedly no such service.
	b.set(t, "_sip._udp.example.net. 600 IN SRV 0 0 0 .")
	b.after(t, 24*time.Hour+10*time.Minute)
	b.holds(t, service)
	if got := b.trouble(service); got != "SRV of _sip._udp.example.net: no such record" {
		t.Errorf("error %q", got)
	}
}

func TestTheBestTargetsAreTaken(t *testing.T) {
	const service = "_sip._tcp.example.net"
	b := newBox(t, service)
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("_sip._tcp.example.net. 600 IN SRV %d 0 5060 h%d.example.net.", 100-i, i),
			fmt.Sprintf("h%d.example.net. 600 IN A 192.0.2.%d", i, i+1))
	}
	b.set(t, lines...)
	b.after(t, 0)
	if got := b.Addresses()[service]; len(got) != maxTargets || got[0].String() != "192.0.2.5" {
		t.Errorf("got %v; want the 16 of the lowest priority value", got)
	}
	if !strings.Contains(b.trouble(service), "4 targets are left out") {
		t.Errorf("error %q", b.trouble(service))
	}
}

func TestCNAMEsAreFollowed(t *testing.T) {
	chain := func(hops int) (lines []string) {
		name := sip
		for i := range hops {
			next := fmt.Sprintf("c%d.example.org", i)
			lines = append(lines, fmt.Sprintf("%s. %d IN CNAME %s.", name, 100+i, next))
			name = next
		}
		return append(lines, name+". 600 IN A 192.0.2.1")
	}
	for hops, want := range map[int][]string{1: {"192.0.2.1"}, 8: {"192.0.2.1"}, 9: nil} {
		b := newBox(t, sip)
		b.set(t, chain(hops)...)
		b.after(t, 0)
		b.holds(t, sip, want...)
		if hops <= maxHops && b.State()[0].Next.Sub(b.now) != 100*time.Second {
			t.Errorf("%d hops: a CNAME's TTL does not count", hops)
		}
	}
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 60 IN CNAME loop.example.net.", "loop.example.net. 60 IN CNAME sip.example.net.")
	b.after(t, 0)
	b.holds(t, sip)
	if got := b.trouble(sip); !strings.Contains(got, "CNAME") {
		t.Errorf("error %q", got)
	}
}

// A server that does not follow leaves it to us.
func TestAChainThatBreaksOffIsAskedFor(t *testing.T) {
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 60 IN CNAME a.example.org.", "a.example.org. 60 IN A 192.0.2.1")
	b.tampering(func(w dns.ResponseWriter, q, honest *dns.Msg) {
		if len(honest.Answer) > 1 {
			honest.Answer = honest.Answer[:1]
		}
		w.WriteMsg(honest)
	})
	b.after(t, 0)
	b.holds(t, sip, "192.0.2.1")
	if got := b.questions(); !slices.Contains(got, "udp a.example.org. A") {
		t.Errorf("asked %v", got)
	}
}

func TestATruncatedAnswerComesOverTCP(t *testing.T) {
	b := newBox(t, sip)
	var lines []string
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("sip.example.net. 60 IN AAAA 2001:db8::%x", i+1))
	}
	b.set(t, append(lines, "sip.example.net. 60 IN A 192.0.2.1")...)
	b.after(t, 0)
	want := []string{"udp sip.example.net. A", "udp sip.example.net. AAAA", "tcp sip.example.net. AAAA"}
	if got := b.questions(); !slices.Equal(got, want) {
		t.Errorf("asked %v; want %v", got, want)
	}
	got := b.Addresses()[sip]
	if len(got) != MaxAddresses || got[0].String() != "192.0.2.1" || got[63].String() != "2001:db8::3f" {
		t.Errorf("got %d addresses, %v; want the first 64", len(got), got)
	}
	if !strings.Contains(b.trouble(sip), "101 addresses, of which 64 are taken") {
		t.Errorf("error %q", b.trouble(sip))
	}
}

func TestForgedAnswersArePassedOver(t *testing.T) {
	evil := "203.0.113.66"
	forged := func(change func(m *dns.Msg)) func(t *testing.T, w dns.ResponseWriter, honest *dns.Msg) {
		return func(t *testing.T, w dns.ResponseWriter, honest *dns.Msg) {
			m := honest.Copy()
			m.Answer = []dns.RR{rr(t, m.Question[0].Name+" 60 IN A "+evil)}
			change(m)
			w.WriteMsg(m)
		}
	}
	for name, send := range map[string]func(t *testing.T, w dns.ResponseWriter, honest *dns.Msg){
		"wrong ID":      forged(func(m *dns.Msg) { m.Id++ }),
		"a question":    forged(func(m *dns.Msg) { m.Response = false }),
		"other name":    forged(func(m *dns.Msg) { m.Question[0].Name = "www.example.net." }),
		"other type":    forged(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }),
		"other class":   forged(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
		"no question":   forged(func(m *dns.Msg) { m.Question = nil }),
		"two questions": forged(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
		"other opcode":  forged(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
		"garbage": func(_ *testing.T, w dns.ResponseWriter, _ *dns.Msg) {
			w.Write([]byte("not DNS at all, and long enough"))
		},
		"a short packet": func(_ *testing.T, w dns.ResponseWriter, _ *dns.Msg) { w.Write([]byte{1}) },
	} {
		for _, many := range []int{1, 20} {
			t.Run(fmt.Sprintf("%s %d", name, many), func(t *testing.T) {
				b := newBox(t, sip)
				b.set(t, "sip.example.net. 60 IN A 192.0.2.1")
				b.tampering(func(w dns.ResponseWriter, _, honest *dns.Msg) {
					for range many {
						send(t, w, honest)
					}
					w.WriteMsg(honest)
				})
				b.after(t, 0)
				b.holds(t, sip, "192.0.2.1")
				overTCP := slices.Contains(b.questions(), "tcp sip.example.net. A")
				if overTCP != (many > maxStrangers) {
					t.Errorf("TCP: %v", overTCP)
				}
			})
		}
	}
}

// Whoever guesses the ID must guess the mixture of letters too; a server that
// does not keep it is asked over TCP.
func TestTheMixtureOfLettersIsChecked(t *testing.T) {
	b := newBox(t, "a-long-name-of-which-some-letter-is-always-upper-case."+sip)
	name := b.State()[0].Name
	b.set(t, name+". 60 IN A 192.0.2.1")
	b.tampering(func(w dns.ResponseWriter, _, honest *dns.Msg) {
		m := honest.Copy()
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
		m.Answer = []dns.RR{rr(t, name+". 60 IN A 203.0.113.66")}
		w.WriteMsg(m)
	})
	b.after(t, 0)
	b.holds(t, name, "192.0.2.1")
}

func TestRecordsOfOtherNamesAreIgnored(t *testing.T) {
	const service = "_sip._udp.example.net"
	b := newBox(t, sip, service)
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1",
		"_sip._udp.example.net. 60 IN SRV 0 0 5060 a.example.org.", "a.example.org. 60 IN A 192.0.2.2")
	b.tampering(func(w dns.ResponseWriter, q, honest *dns.Msg) {
		for _, line := range []string{
			"www.example.net. 60 IN A 203.0.113.66", "example.net. 60 IN A 203.0.113.66",
			"sip.example.net. 60 CH A 203.0.113.66", "x.sip.example.net. 60 IN CNAME a.example.org.",
			"other.example.net. 60 IN CNAME sip.example.net.", "_sip._tcp.example.net. 60 IN SRV 0 0 5060 evil.example.org.",
			"sip.example.net. 60 IN TXT 203.0.113.66",
		} {
			honest.Answer = append([]dns.RR{rr(t, line)}, honest.Answer...)
		}
		honest.Ns = append(honest.Ns, rr(t, "sip.example.net. 60 IN A 203.0.113.66"))
		honest.Extra = append(honest.Extra, rr(t, "sip.example.net. 60 IN A 203.0.113.66"), rr(t, "a.example.org. 60 IN A 203.0.113.66"))
		w.WriteMsg(honest)
	})
	b.after(t, 0)
	b.holds(t, sip, "192.0.2.1")
	b.holds(t, service, "192.0.2.2")
}

func TestAddressesThatAreNoProvidersAreRefused(t *testing.T) {
	b := newBox(t)
	b.Track([]string{sip}, []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fd00:1::/64"), netip.MustParsePrefix("198.51.100.7/32")})
	var lines []string
	for _, bad := range []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.8.8.8", "169.254.1.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"192.168.1.77", "198.51.100.7", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:192.0.2.1",
		"fe80::1", "fec0::1", "ff02::1", "100::1", "fd00:1::7",
	} {
		kind := "A"
		if strings.Contains(bad, ":") {
			kind = "AAAA"
		}
		lines = append(lines, fmt.Sprintf("sip.example.net. 60 IN %s %s", kind, bad))
	}
	b.set(t, lines...)
	if b.after(t, 0) {
		t.Error("a refused answer was a change")
	}
	b.holds(t, sip)
	if got := b.trouble(sip); !strings.Contains(got, "refused: 0.0.0.0 is unspecified, 0.1.2.3 is no host's address") {
		t.Errorf("error %q", got)
	}
	if got := b.told(); !strings.Contains(got, "block sip.example.net: an answer for sip.example.net is refused") {
		t.Errorf("told %q", got)
	}
	// Private elsewhere is a VPN's, and what stays refused is told once.
	b.set(t, append(lines, "sip.example.net. 60 IN A 192.168.2.1", "sip.example.net. 60 IN A 10.0.0.1", "sip.example.net. 60 IN AAAA fd00:2::1")...)
	b.after(t, time.Minute)
	b.holds(t, sip, "10.0.0.1", "192.168.2.1", "fd00:2::1")
	if got := b.told(); strings.Contains(got, "refused") {
		t.Errorf("told %q", got)
	}
	// The LAN moves to where an address is held already.
	b.Track([]string{sip}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	b.holds(t, sip, "192.168.2.1", "fd00:2::1")
}
