package inspector

import (
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// side says on which side of the box a neighbour stands. The zero value is a
// stranger, who gets no answer.
type side uint8

const (
	stranger side = iota
	inside
	outside
)

// party is who speaks, judged by the source address alone: everything that a
// message says of its sender is a label.
type party struct {
	side side
	pbx  bool // the configured PBX; only where side is inside
	// remote is somebody on the WAN whom a document lets register; only where side
	// is inside. Unlike a neighbour on the LAN he hears nothing before he is known.
	remote bool
	trunk  *settings.Trunk // the first trunk that the source belongs to; only where side is outside
}

// partyOf sorts a source. The exact address and port of a peer decide first,
// then its exact address, then the longest network, so that a trunk may stand
// inside a LAN prefix and the PBX inside a trunk's.
func partyOf(sip *rules.SIP, source netip.AddrPort) party {
	if found := exactParty(sip, func(at netip.AddrPort) bool { return at == source }); found.side != stranger {
		return found
	}
	addr := source.Addr().WithZone("")
	if found := exactParty(sip, func(at netip.AddrPort) bool { return at.Addr() == addr }); found.side != stranger {
		return found
	}
	return networkParty(sip, addr)
}

func exactParty(sip *rules.SIP, same func(netip.AddrPort) bool) party {
	if sip.PBX.Address.IsValid() && same(sip.PBX.Address) {
		return party{side: inside, pbx: true}
	}
	for i := range sip.Trunks {
		if same(sip.Trunks[i].Address) || i < len(sip.Targets) && slices.ContainsFunc(sip.Targets[i], func(t appliance.Target) bool { return same(t.Address) }) {
			return party{side: outside, trunk: &sip.Trunks[i]}
		}
	}
	return party{}
}

func networkParty(sip *rules.SIP, addr netip.Addr) party {
	found, bits := party{}, -1
	for _, network := range sip.LAN {
		if network.Bits() > bits && network.Contains(addr) {
			found, bits = party{side: inside}, network.Bits()
		}
	}
	for i := range sip.Trunks {
		for _, network := range sip.Trunks[i].Networks {
			if network.Bits() > bits && network.Contains(addr) {
				found, bits = party{side: outside, trunk: &sip.Trunks[i]}, network.Bits()
			}
		}
	}
	if found.side == stranger && sip.May(addr) {
		return party{side: inside, remote: true}
	}
	return found
}

// trunkNamed returns the trunk of that name, or nil.
func trunkNamed(sip *rules.SIP, name string) *settings.Trunk {
	for i := range sip.Trunks {
		if sip.Trunks[i].Name == name {
			return &sip.Trunks[i]
		}
	}
	return nil
}

// ofTrunk reports whether addr belongs to the trunk: two trunks may share
// addresses, so this is asked rather than comparing names.
func ofTrunk(trunk *settings.Trunk, addr netip.Addr) bool {
	addr = addr.WithZone("")
	if trunk.Address.Addr() == addr {
		return true
	}
	for _, network := range trunk.Networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// ofLAN reports whether addr stands on the LAN side.
func ofLAN(sip *rules.SIP, addr netip.Addr) bool {
	addr = addr.WithZone("")
	if sip.PBX.Address.IsValid() && sip.PBX.Address.Addr() == addr {
		return true
	}
	for _, network := range sip.LAN {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
