package network

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Tunnel is a device that takes packets out of the UDP datagrams that come to a
// port, whoever sends them: the far end that it was given is for the way out.
type Tunnel struct {
	Name string
	Kind string
	Port int
}

// Tunnels lists such devices, whatever they stand on: the kernel takes their
// datagrams from every interface.
func Tunnels() ([]Tunnel, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []Tunnel
	for _, one := range links {
		port := 0
		switch device := one.(type) {
		case *netlink.Vxlan:
			port = device.Port
		case *netlink.Geneve:
			port = int(device.Dport)
		case *netlink.BareUDP:
			port = int(device.Port)
		default:
			continue
		}
		out = append(out, Tunnel{one.Attrs().Name, one.Type(), port})
	}
	slices.SortFunc(out, func(a, b Tunnel) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
