package network

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

func someLock() Lock {
	return Lock{
		WAN: []string{"wan"}, Inside: []string{"lan"},
		Interceptor4: netip.MustParseAddr("192.0.0.8"), Interceptor6: netip.MustParseAddr("100::8"),
		SIP: []uint16{5060, 50600}, TLS: []uint16{5061}, OpaqueTLS: true, Other: []uint16{4569},
		Trunks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("198.51.100.10/32"), netip.MustParsePrefix("2001:db8:51::/64")},
		LAN:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("10.128.0.0/9"), netip.MustParsePrefix("fc00::/7")},
		Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:5060"), netip.MustParseAddrPort("[::]:5060"), netip.MustParseAddrPort("192.0.2.1:5070")},
		Passes: []Pass{{Port: 4569, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")}}},
	}
}

func run(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

func TestLockStandsAndGoes(t *testing.T) {
	inNamespace(t)
	lock := someLock()
	if _, err := LockTallies(lock); !errors.Is(err, ErrUnlocked) {
		t.Fatalf("before: err %v; want ErrUnlocked", err)
	}
	if err := Shut(lock); err != nil {
		t.Fatal(err)
	}
	if counts, err := LockTallies(lock); err != nil || len(counts) != 0 {
		t.Fatalf("after: %v, err %v", counts, err)
	}
	if stands, err := Locked(); err != nil || !stands {
		t.Errorf("shut, and yet: locked %t, err %v", stands, err)
	}
	text := run(t, "nft list table inet ringfence")
	for _, want := range []string{
		"tproxy ip to 192.0.0.8", "tproxy ip6 to [100::8]", "10.0.0.0/8", "198.51.100.0/24", "fc00::/7",
		"type filter hook prerouting priority raw", "type filter hook forward priority filter",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the kernel does not hold %q:\n%s", want, text)
		}
	}
	for _, family := range []string{"-4", "-6"} {
		if rules := run(t, "ip "+family+" rule"); !strings.Contains(rules, "fwmark 0x5246 lookup 21062") {
			t.Errorf("ip %s rule: %s", family, rules)
		}
		if routes := run(t, "ip "+family+" route show table 21062"); !strings.Contains(routes, "local default dev lo") {
			t.Errorf("ip %s route: %s", family, routes)
		}
	}
	lock.Inside = nil
	if err := Shut(lock); err != nil {
		t.Fatal(err)
	}
	if text := run(t, "nft list table inet ringfence"); strings.Contains(text, "iifname @inside goto") || !strings.Contains(text, "oifname @wan goto locked") {
		t.Errorf("without transparent mode:\n%s", text)
	}
	if rules := run(t, "ip rule"); strings.Contains(rules, "0x5246") {
		t.Errorf("the rule stays: %s", rules)
	}
	for range 2 { // the second time there is nothing to take away
		if err := Open(); err != nil {
			t.Fatal(err)
		}
		if stands, err := Locked(); err != nil || stands {
			t.Errorf("open, and yet: locked %t, err %v", stands, err)
		}
		if text := run(t, "nft list ruleset"); strings.TrimSpace(text) != "" {
			t.Errorf("left behind:\n%s", text)
		}
	}
}

// TestLockIsReadBack breaks it in each way that it can be broken in, and has it
// mended.
func TestLockIsReadBack(t *testing.T) {
	inNamespace(t)
	lock := someLock()
	for _, harm := range []string{
		"nft flush ruleset",
		"nft flush chain inet ringfence locked",
		"nft delete table inet ringfence",
		"nft add rule inet ringfence take accept",
		"nft insert rule inet ringfence forward accept",
		"ip rule del fwmark 0x5246",
		"ip -6 rule del fwmark 0x5246",
		"ip route flush table 21062",
	} {
		if err := Shut(lock); err != nil {
			t.Fatal(err)
		}
		run(t, harm)
		if _, err := LockTallies(lock); !errors.Is(err, ErrUnlocked) {
			t.Errorf("%s: err %v; want ErrUnlocked", harm, err)
		}
		if err := Shut(lock); err != nil {
			t.Fatal(err)
		}
		if _, err := LockTallies(lock); err != nil {
			t.Errorf("%s, mended: %v", harm, err)
		}
	}
}

func TestLockGoesOnCounting(t *testing.T) {
	inNamespace(t)
	lock := someLock()
	if err := Shut(lock); err != nil {
		t.Fatal(err)
	}
	run(t, "nft add rule inet ringfence depart oifname lo counter name egress_sip")
	// This thread's sockets are the namespace's.
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		_, _ = conn.Write([]byte("x")) // the second hears that nobody listens
	}
	if err := Shut(lock); err != nil { // one rule too many: the table is replaced
		t.Fatal(err)
	}
	counts, err := LockTallies(lock)
	if got := counts[appliance.ReasonEgressSIP].Packets; err != nil || got < 2 {
		t.Errorf("%d packets are left of 3 that were counted, err %v", got, err)
	}
}

func TestIntervalsNeverOverlap(t *testing.T) {
	parse := func(list ...string) (out []netip.Prefix) {
		for _, one := range list {
			out = append(out, netip.MustParsePrefix(one))
		}
		return out
	}
	for _, test := range []struct {
		of   []netip.Prefix
		ip4  bool
		want string
	}{
		{parse("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/9"), true, "10.0.0.0 -11.0.0.0"},
		{parse("10.0.0.0/9", "10.128.0.0/9"), true, "10.0.0.0 -11.0.0.0"},
		{parse("192.0.2.1/32", "192.0.2.3/32", "::1/128"), true, "192.0.2.1 -192.0.2.2 192.0.2.3 -192.0.2.4"},
		{parse("240.0.0.0/4"), true, "240.0.0.0"},
		{parse("fc00::/7", "10.0.0.0/8"), false, "fc00:: -fe00::"},
		{nil, true, ""},
	} {
		var got []string
		for _, one := range spansOf(test.of, test.ip4) {
			addr, _ := netip.AddrFromSlice(one.Key)
			text := addr.String()
			if one.IntervalEnd {
				text = "-" + text
			}
			got = append(got, text)
		}
		if !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%v: got %v; want %s", test.of, got, test.want)
		}
	}
}
