package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/network"
)

// lockedOut names the WAN interfaces that every way passes by which the LAN
// reaches the box. The gate guards a WAN interface against whoever is no provider
// or administrator, and so nobody on the LAN could manage the box any more. One
// way in is enough: a box behind another router has a private address on its WAN
// port too, in a network that the settings may well call LAN. A VLAN of a WAN
// port is guarded with the port, whatever stands on it; a bridge between WAN and
// LAN has a way in on the side of the LAN still.
func lockedOut(wan []string, lan []netip.Prefix, carriers []network.Carrier) appliance.Errors {
	if wayIn(wan, lan, carriers) {
		return nil
	}
	var mistakes appliance.Errors
	for j, inside := range lan {
		addr, guards := onlyBy(wan, inside, carriers)
		for i, name := range wan {
			if slices.Contains(guards, name) {
				mistakes = append(mistakes, &appliance.Error{Code: appliance.CodeInvalid, Field: fmt.Sprintf("network.wan[%d]", i),
					Message: fmt.Sprintf("%s is the only way to %s, the box's address inside network.lan[%d] (%s): the LAN would be locked out of the box; name another interface, or take out of network.lan what is not the LAN",
						name, addr, j, inside)})
			}
		}
	}
	return mistakes
}

// wayIn reports whether some address of the box on the LAN is reached by a way
// that no WAN interface guards.
func wayIn(wan []string, lan []netip.Prefix, carriers []network.Carrier) bool {
	for _, carrier := range carriers {
		onLAN := func(one netip.Addr) bool {
			return slices.ContainsFunc(lan, func(inside netip.Prefix) bool { return inside.Contains(one.WithZone("")) })
		}
		open := func(way []string) bool { return guardOf(wan, way) == "" }
		if slices.ContainsFunc(carrier.Addresses, onLAN) && slices.ContainsFunc(carrier.Ways, open) {
			return true
		}
	}
	return false
}

// guardOf returns the WAN interface that guards a way, or nothing.
func guardOf(wan, way []string) string {
	at := slices.IndexFunc(way, func(name string) bool { return slices.Contains(wan, name) })
	if at < 0 {
		return ""
	}
	return way[at]
}

// onlyBy returns the WAN interfaces that guard the ways to the box's addresses
// inside a network, and one of these addresses.
func onlyBy(wan []string, inside netip.Prefix, carriers []network.Carrier) (addr netip.Addr, guards []string) {
	for _, carrier := range carriers {
		at := slices.IndexFunc(carrier.Addresses, func(one netip.Addr) bool { return inside.Contains(one.WithZone("")) })
		if at < 0 {
			continue
		}
		for _, way := range carrier.Ways {
			guards = append(guards, guardOf(wan, way))
		}
		addr = carrier.Addresses[at]
	}
	return addr, guards
}
