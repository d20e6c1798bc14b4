package network

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestCarriers(t *testing.T) {
	inNamespace(t)
	bridged := true
	for command := range strings.SplitSeq("link add br0 type bridge; link add p0 type veth peer name p1; link set p0 master br0; addr add 10.2.0.1/24 dev br0", "; ") {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Logf("SKIPPED, BRIDGES ARE NOT TESTED: ip %s: %v: %s", command, err, out)
			bridged = false
			break
		}
	}
	got, err := Carriers()
	if err != nil {
		t.Fatal(err)
	}
	on := make(map[netip.Addr]string)
	for _, one := range got {
		for _, addr := range one.Addresses {
			on[addr] = fmt.Sprint(one.Name, one.Ways)
		}
	}
	if on[netip.MustParseAddr("192.0.2.1")] != "wan[[wan]]" || on[netip.MustParseAddr("2001:db8::1")] != "wan[[wan]]" {
		t.Errorf("got %v", on)
	}
	if bridged && on[netip.MustParseAddr("10.2.0.1")] != "br0[[p0 br0]]" {
		t.Errorf("got %v", on)
	}
	if _, found := on[netip.MustParseAddr("127.0.0.1")]; found {
		t.Error("loopback is among them")
	}
}

// TestWays stands interfaces on each other that not every kernel here has.
func TestWays(t *testing.T) {
	attrs := func(index int, name string, parent, master int) netlink.LinkAttrs {
		return netlink.LinkAttrs{Index: index, Name: name, ParentIndex: parent, MasterIndex: master}
	}
	links := []netlink.Link{
		&netlink.Device{LinkAttrs: attrs(1, "eth0", 0, 0)},
		&netlink.Vlan{LinkAttrs: attrs(2, "eth0.10", 1, 6)},
		&netlink.Vlan{LinkAttrs: attrs(3, "eth0.10.20", 2, 0)},
		&netlink.Veth{LinkAttrs: attrs(4, "veth0", 1, 0)}, // its peer has the index of another, elsewhere
		&netlink.Device{LinkAttrs: attrs(5, "eth1", 0, 6)},
		&netlink.Bridge{LinkAttrs: attrs(6, "br0", 0, 0)},
		&netlink.Bridge{LinkAttrs: attrs(7, "br1", 0, 0)},
		&netlink.Macvlan{LinkAttrs: attrs(8, "mac0", 6, 0)},
		&netlink.GenericLink{LinkAttrs: attrs(9, "lan1", 1, 0), LinkType: "dsa"},
		&netlink.Macvlan{LinkAttrs: attrs(10, "self", 10, 0)}, // never so, and yet it ends
	}
	want := map[string]string{
		"eth0": "[[eth0]]", "eth0.10": "[[eth0 eth0.10]]", "eth0.10.20": "[[eth0 eth0.10 eth0.10.20]]", "veth0": "[[veth0]]",
		"br0": "[[eth0 eth0.10 br0] [eth1 br0]]", "br1": "[[br1]]", "mac0": "[[eth0 eth0.10 br0 mac0] [eth1 br0 mac0]]", "lan1": "[[eth0 lan1]]",
	}
	for _, one := range links {
		got := fmt.Sprint(ways(links, one, 0))
		if wanted, known := want[one.Attrs().Name]; known && got != wanted {
			t.Errorf("%s is reached by %s; want %s", one.Attrs().Name, got, wanted)
		}
	}
}
