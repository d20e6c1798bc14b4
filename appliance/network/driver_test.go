package network

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestXDPDriver(t *testing.T) {
	for driver, want := range map[string]string{
		"igc":                 "the driver igc has native XDP; attaching restarts the port; the MTU can be 1500 at most",
		"ice":                 "the driver ice has native XDP",
		"r8169":               "the driver r8169 has no native XDP",
		"802.1Q VLAN Support": "the driver 802.1Q VLAN Support has no native XDP; guard the port below it instead",
	} {
		if known, note := XDPDriver(driver); !known || note != want {
			t.Errorf("%s: known %v, %q; want %q", driver, known, note, want)
		}
	}
	if known, note := XDPDriver("ppp"); !known || !strings.Contains(note, "can't be guarded") {
		t.Errorf("ppp: known %v, %q", known, note)
	}
	for driver, want := range map[string]string{
		"":       "the interface does not tell its driver",
		"foomac": "it is not known whether the driver foomac has native XDP",
	} {
		if known, note := XDPDriver(driver); known || note != want {
			t.Errorf("%q: known %v, %q; want %q", driver, known, note, want)
		}
	}
}

func TestNoDriverIsBothWays(t *testing.T) {
	able := natively()
	for _, driver := range slices.AppendSeq(frameless(), maps.Keys(generically())) {
		if _, both := able[driver]; both {
			t.Errorf("%s has native XDP and has not", driver)
		}
	}
}

// What ethtool shows in this kernel is what the table is keyed by.
func TestDriverNamesAreThoseOfTheKernel(t *testing.T) {
	for _, c := range []struct{ add, link, want string }{
		{"link set wan up", "wan", "has native XDP"},
		{"link add name lan0 type bridge", "lan0", "has no native XDP"},
		{"link add link wan name wan.7 type vlan id 7", "wan.7", "has no native XDP"},
		{"link add link wan name wan.m type macvlan", "wan.m", "has no native XDP"},
		{"link add name wg0 type wireguard", "wg0", "carries no Ethernet frames"},
		{"tuntap add name tun0 mode tun", "tun0", "has native XDP"},
		{"link add name bond0 type bond", "bond0", "has native XDP"},
	} {
		t.Run(c.link, func(t *testing.T) {
			inNamespace(t)
			if out, err := exec.Command("ip", strings.Fields(c.add)...).CombinedOutput(); err != nil {
				t.Skipf("SKIPPED, THE NAME OF A DRIVER IS NOT TESTED: ip %s: %v: %s", c.add, err, out)
			}
			links, err := Links([]string{c.link})
			if err != nil {
				t.Fatal(err)
			}
			if known, note := XDPDriver(links[0].Driver); !known || !strings.Contains(note, c.want) {
				t.Errorf("%q; want that it %s", note, c.want)
			}
		})
	}
}
