package names

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/ringfence/ringfence/appliance"
)

// aims checks where a locator leads, as "tls 192.0.2.1:5061 a.example.org 10/5".
func (b *box) aims(t testing.TB, locator string, want ...string) {
	t.Helper()
	got := []string{}
	for _, one := range b.Targets()[locator] {
		got = append(got, fmt.Sprintf("%s %s %d/%d", one, one.Host, one.Priority, one.Weight))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s leads to\n%s\nwant\n%s", locator, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestLocate goes through RFC 3263 section 4.
func TestLocate(t *testing.T) {
	const (
		a  = "a.example.org. 60 IN A 192.0.2.1"
		a6 = "a.example.org. 60 IN AAAA 2001:db8::1"
		c  = "b.example.org. 60 IN A 192.0.2.2"
		h  = "itsp.example. 60 IN A 192.0.2.9"
	)
	naptr := func(order, preference int, service, replacement string) string {
		return fmt.Sprintf(`itsp.example. 60 IN NAPTR %d %d "s" "%s" "" %s`, order, preference, service, replacement)
	}
	for name, tc := range map[string]struct {
		locator string
		zone    []string
		want    []string
		trouble string
	}{
		"a port": {"sip:itsp.example:5070;transport=tcp", []string{h, "_sip._tcp.itsp.example. 60 IN SRV 0 0 5080 a.example.org.", a},
			[]string{"tcp 192.0.2.9:5070 itsp.example 0/0"}, ""},
		"SRV by priority and weight": {"sip:itsp.example;transport=udp", []string{
			"_sip._udp.itsp.example. 60 IN SRV 20 0 5060 b.example.org.", "_sip._udp.itsp.example. 60 IN SRV 10 1 5062 b.example.org.",
			"_sip._udp.itsp.example. 60 IN SRV 10 9 5061 a.example.org.", a, a6, c},
			[]string{"udp 192.0.2.1:5061 a.example.org 10/9", "udp [2001:db8::1]:5061 a.example.org 10/9", "udp 192.0.2.2:5062 b.example.org 10/1", "udp 192.0.2.2:5060 b.example.org 20/0"}, ""},
		"TLS has a service of its own": {"sip:itsp.example;transport=tls", []string{
			"_sip._tcp.itsp.example. 60 IN SRV 0 0 5060 b.example.org.", "_sips._tcp.itsp.example. 60 IN SRV 0 0 5061 a.example.org.", a, c},
			[]string{"tls 192.0.2.1:5061 a.example.org 0/0"}, ""},
		"no SRV":                   {"sip:itsp.example;transport=udp", []string{h}, []string{"udp 192.0.2.9:5060 itsp.example 0/0"}, ""},
		"no SRV, for TLS":          {"sip:itsp.example;transport=tls", []string{h}, []string{"tls 192.0.2.9:5061 itsp.example 0/0"}, ""},
		"there is no such service": {"sip:itsp.example;transport=udp", []string{h, "_sip._udp.itsp.example. 60 IN SRV 0 0 0 ."}, nil, "no such record"},
		"a port of 0 is none":      {"sip:itsp.example;transport=udp", []string{"_sip._udp.itsp.example. 60 IN SRV 0 0 0 a.example.org.", a}, nil, "no such record"},
		"NAPTR by order, then preference": {"sip:itsp.example", []string{
			naptr(20, 1, "SIP+D2U", "_sip._udp.itsp.example."), naptr(10, 20, "SIP+D2U", "_sip._udp.other.example."), naptr(10, 10, "SIP+D2T", "_sip._tcp.itsp.example."),
			naptr(1, 1, "SIP+D2S", "_sip._sctp.itsp.example."), naptr(1, 1, "E2U+sip", "_sip._udp.itsp.example."),
			"_sip._tcp.itsp.example. 60 IN SRV 5 0 5060 a.example.org.", "_sip._udp.other.example. 60 IN SRV 0 0 5066 b.example.org.", a, c},
			[]string{"tcp 192.0.2.1:5060 a.example.org 5/0", "udp 192.0.2.2:5066 b.example.org 16384/0"}, ""},
		"TLS by NAPTR has nothing below it": {"sip:itsp.example", []string{
			naptr(10, 1, "SIPS+D2T", "_sips._tcp.itsp.example."), naptr(20, 1, "SIP+D2U", "_sip._udp.itsp.example."),
			"_sips._tcp.itsp.example. 60 IN SRV 0 0 5061 a.example.org.", "_sip._udp.itsp.example. 60 IN SRV 0 0 5060 b.example.org.", a, c},
			[]string{"tls 192.0.2.1:5061 a.example.org 0/0"}, ""},
		"no NAPTR: the first SRV": {"sip:itsp.example", []string{
			"_sips._tcp.itsp.example. 60 IN SRV 0 0 5061 a.example.org.", "_sip._tcp.itsp.example. 60 IN SRV 0 0 5060 b.example.org.", a, c},
			[]string{"tcp 192.0.2.2:5060 b.example.org 0/0"}, ""},
		"nothing but an address": {"sip:itsp.example", []string{h}, []string{"udp 192.0.2.9:5060 itsp.example 0/0"}, ""},
		"nothing":                {"sip:itsp.example", nil, nil, "no such name"},
		"no host's address":      {"sip:itsp.example;transport=udp", []string{"itsp.example. 60 IN A 127.0.0.1"}, nil, "loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, tc.locator)
			b.set(t, tc.zone...)
			b.after(t, 0)
			b.aims(t, tc.locator, tc.want...)
			if got := b.trouble(tc.locator); !strings.Contains(got, tc.trouble) || tc.trouble == "" && got != "" {
				t.Errorf("error %q, want %q", got, tc.trouble)
			}
		})
	}
}

// TestTargetsFollowTheTTL: what the DNS says anew counts when its time has come,
// and what it said last while it does not answer.
func TestTargetsFollowTheTTL(t *testing.T) {
	const locator = "sip:itsp.example;transport=udp"
	b := newBox(t, locator)
	b.set(t, "_sip._udp.itsp.example. 300 IN SRV 0 0 5060 a.example.org.", "a.example.org. 120 IN A 192.0.2.1")
	b.after(t, 0)
	b.aims(t, locator, "udp 192.0.2.1:5060 a.example.org 0/0")
	b.set(t, "_sip._udp.itsp.example. 300 IN SRV 0 0 5070 b.example.org.", "b.example.org. 120 IN A 192.0.2.2")
	b.questions()
	if b.after(t, 119*time.Second); len(b.questions()) != 0 {
		t.Error("asked before the TTL ran out")
	}
	b.aims(t, locator, "udp 192.0.2.1:5060 a.example.org 0/0")
	if !b.after(t, time.Second) {
		t.Error("nobody was told of the change")
	}
	b.aims(t, locator, "udp 192.0.2.2:5070 b.example.org 0/0")
	// The address stays in its grace for whoever calls from there still.
	b.holds(t, locator, "192.0.2.1", "192.0.2.2")

	b.fail("_sip._udp.itsp.example. SRV", dns.RcodeServerFailure)
	b.after(t, 2*time.Minute)
	b.aims(t, locator, "udp 192.0.2.2:5070 b.example.org 0/0")
	b.fail("b.example.org.", dns.RcodeServerFailure)
	b.set(t, "_sip._udp.itsp.example. 300 IN SRV 0 0 5070 b.example.org.", "_sip._udp.itsp.example. 300 IN SRV 5 0 5070 c.example.org.", "c.example.org. 60 IN A 192.0.2.3")
	b.fail("b.example.org.", dns.RcodeServerFailure)
	b.after(t, time.Minute)
	b.aims(t, locator, "udp 192.0.2.2:5070 b.example.org 0/0", "udp 192.0.2.3:5070 c.example.org 5/0")
	// The same addresses with another order are a change, too.
	b.set(t, "_sip._udp.itsp.example. 300 IN SRV 9 0 5070 b.example.org.", "_sip._udp.itsp.example. 300 IN SRV 5 0 5070 c.example.org.",
		"b.example.org. 60 IN A 192.0.2.2", "c.example.org. 60 IN A 192.0.2.3")
	if !b.after(t, time.Minute) {
		t.Error("nobody was told of the order")
	}
	b.aims(t, locator, "udp 192.0.2.3:5070 c.example.org 5/0", "udp 192.0.2.2:5070 b.example.org 9/0")
}

// TestTargetsOutliveARestart keeps what was on disk, as far as it may be let in.
func TestTargetsOutliveARestart(t *testing.T) {
	const locator = "sip:itsp.example;transport=tls"
	b := newBox(t, locator)
	b.set(t, "itsp.example. 60 IN A 192.0.2.1")
	b.after(t, 0)
	text, err := json.Marshal(b.State())
	if err != nil {
		t.Fatal(err)
	}
	var saved []Name
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	saved[0].Targets = append(saved[0].Targets,
		appliance.Target{Address: netip.MustParseAddrPort("127.0.0.1:5061"), Transport: "tls"},
		appliance.Target{Address: netip.MustParseAddrPort("192.0.2.1:5061"), Transport: "sctp"})
	again := newBox(t, locator)
	again.Restore(saved)
	again.aims(t, locator, "tls 192.0.2.1:5061 itsp.example 0/0")
	again.Track([]string{locator}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	again.aims(t, locator)
}
