package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Carrier is an interface that carries addresses of the box.
type Carrier struct {
	Name      string
	Addresses []netip.Addr
	// Ways are the ways in by which packets reach it, each the interfaces that
	// they pass, the outermost first: a VLAN's are those of the port below it, a
	// bridge's and a bond's those of each member. Whatever guards one interface of
	// a way guards the way.
	Ways [][]string
}

// Carriers returns every interface that carries an address, by name. Loopback is
// none that anybody comes in by, and left out.
func Carriers() ([]Carrier, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	addrs := make(map[int][]netip.Addr)
	for _, one := range list {
		if addr, ok := netip.AddrFromSlice(one.IP); ok {
			addrs[one.LinkIndex] = append(addrs[one.LinkIndex], addr.Unmap())
		}
	}
	var out []Carrier
	for _, one := range links {
		attrs := one.Attrs()
		if attrs.RawFlags&unix.IFF_LOOPBACK == 0 && len(addrs[attrs.Index]) > 0 {
			out = append(out, Carrier{attrs.Name, addrs[attrs.Index], ways(links, one, 0)})
		}
	}
	slices.SortFunc(out, func(a, b Carrier) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// deepest is how many interfaces may stand on each other: more than the kernel
// allows (MAX_NEST_DEV of include/linux/netdevice.h).
const deepest = 8

// ways follows an interface down to the ports.
func ways(links []netlink.Link, of netlink.Link, depth int) [][]string {
	var out [][]string
	if depth < deepest {
		for _, below := range links {
			if standsOn(of, below) {
				for _, way := range ways(links, below, depth+1) {
					out = append(out, append(way, of.Attrs().Name))
				}
			}
		}
	}
	if len(out) == 0 {
		return [][]string{{of.Attrs().Name}}
	}
	return out
}

// standsOn reports whether an interface gets its packets from another. That a
// veth names its peer as what it stands on means nothing here: that is the far
// end of its cable, perhaps in another namespace.
func standsOn(of, below netlink.Link) bool {
	switch of.Type() {
	case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "dsa":
		return of.Attrs().ParentIndex == below.Attrs().Index
	case "bridge", "bond", "team":
		return below.Attrs().MasterIndex == of.Attrs().Index
	}
	return false
}
