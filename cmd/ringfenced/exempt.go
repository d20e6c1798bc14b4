package main

import (
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance/gate"
	"github.com/ringfence/ringfence/appliance/network"
)

// spare returns the interfaces of the LAN that the gate may meet by accident: a
// driver may run one program for all of its ports (mtk_eth_soc does), so that
// the LAN would be judged like the internet.
func (p *perimeter) spare(wan []string, lan []netip.Prefix) []network.Link {
	carriers, err := network.Carriers()
	if err != nil {
		p.event("which interfaces are the LAN's can't be told: %v", err)
		return p.exempt
	}
	return exemptOf(wan, lan, carriers, func(name string) (network.Link, bool) {
		links, err := network.Links([]string{name})
		if err != nil {
			return network.Link{}, false
		}
		return network.Link{Name: name, Index: links[0].Index, Driver: links[0].Driver}, true
	})
}

// exemptOf returns those of the interfaces that carry addresses of the LAN, or
// that packets pass on the way to these, that have the driver of a WAN interface.
func exemptOf(wan []string, lan []netip.Prefix, carriers []network.Carrier, find func(name string) (network.Link, bool)) (exempt []network.Link) {
	var drivers []string
	for _, name := range wan {
		if link, found := find(name); found && link.Driver != "" {
			drivers = append(drivers, link.Driver)
		}
	}
	for _, carrier := range carriers {
		if !slices.ContainsFunc(carrier.Addresses, func(addr netip.Addr) bool { return within(lan, addr) }) {
			continue
		}
		for _, name := range slices.Concat(carrier.Ways...) {
			link, found := find(name)
			if found && slices.Contains(drivers, link.Driver) && !slices.Contains(wan, name) && !slices.Contains(exempt, link) {
				exempt = append(exempt, link)
			}
		}
	}
	return exempt[:min(len(exempt), gate.MaxExempt)]
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(one netip.Prefix) bool { return one.Contains(addr.WithZone("")) })
}
