package main

import (
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance/gate"
	"github.com/ringfence/ringfence/appliance/network"
)

// blind are drivers that run one program for all of their ports, and register
// their queues with a device that has no index (mtk_create_page_pool in the
// kernel's mtk_eth_soc.c): a program there can't tell the LAN from the internet.
var blind = []string{"mtk_soc_eth"}

// stackedOf returns the interfaces that can't be guarded in their driver, since a
// port of the LAN has the same one, and it is blind.
func stackedOf(wan []string, exempt []network.Link, find func(name string) (network.Link, bool)) (stacked []string) {
	for _, name := range wan {
		link, found := find(name)
		shared := slices.ContainsFunc(exempt, func(one network.Link) bool { return one.Driver == link.Driver })
		if found && shared && slices.Contains(blind, link.Driver) {
			stacked = append(stacked, name)
		}
	}
	return stacked
}

func linkNamed(name string) (network.Link, bool) {
	links, err := network.Links([]string{name})
	if err != nil {
		return network.Link{}, false
	}
	return network.Link{Name: name, Index: links[0].Index, Driver: links[0].Driver}, true
}

// spare returns the interfaces of the LAN that the gate may meet by accident: a
// driver may run one program for all of its ports, so that the LAN would be
// judged like the internet.
func (p *perimeter) spare(wan []string, lan []netip.Prefix) []network.Link {
	carriers, err := network.Carriers()
	if err != nil {
		p.event("which interfaces are the LAN's can't be told: %v", err)
		return p.exempt
	}
	return exemptOf(wan, lan, carriers, linkNamed)
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
