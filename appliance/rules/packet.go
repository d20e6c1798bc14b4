package rules

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
)

// Packet judges one Ethernet frame as it enters on the WAN, by a gate that
// remembers nothing: the slow, obvious model of the XDP program. A nil or zero
// Rules shuts StandardPorts for every source and lets the rest pass.
func (r *Rules) Packet(frame []byte) (appliance.Verdict, appliance.Reason) {
	return r.Guard().Judge(frame, nil)
}

// StandardPorts returns the destination ports that stay shut for every source,
// in every protocol that has ports, while there are no rules: SIP, SIP over
// TLS, the alternative SIP port that appliances use, and the three common web
// ports. The rest passes then, because a box that has lost its rules must not
// cost the site its internet or the installer the way in to mend it.
func StandardPorts() []uint16 {
	return []uint16{5060, 5061, 50600, 80, 443, 8080}
}

// Judge is Rules.Packet for a perimeter alone, with a memory that the frame
// may change. A nil memory is an empty one that is thrown away. frame begins at
// the Ethernet destination address and has no frame check sequence. A Guard
// without any port counts as no rules.
func (g Guard) Judge(frame []byte, m *Memory) (appliance.Verdict, appliance.Reason) {
	if m == nil {
		m = &Memory{}
	}
	family, packet, end := unwrap(frame)
	reason := appliance.Reason(end)
	if end == readable {
		reason = g.judgePacket(family, packet, m, outside)
	}
	return reason.Verdict(), reason
}

// place says where an IP packet was found.
type place int

const (
	outside place = iota // in a frame
	within               // in a tunnel's packet
	torn                 // in the first fragment of a tunnel's packet, which ends before the tunnel's packet does
)

// judgePacket judges an IP packet and remembers of a first fragment what became
// of it. In a tunnel's first fragment it is the tunnel's that counts: later
// fragments come as the tunnel's, too.
func (g Guard) judgePacket(family family, packet []byte, m *Memory, where place) appliance.Reason {
	p, end := readIP(family, packet, where == torn)
	reason := g.decide(p, end, m, where)
	if p.first != nil && where != torn {
		m.conclude(*p.first, reason)
	}
	return reason
}

func (g Guard) decide(p packet, end outcome, m *Memory, where place) appliance.Reason {
	switch end {
	case continued:
		return choose(m.refused(p.later), appliance.ReasonFragmentDropped, appliance.ReasonFragmentLater)
	case encapsulated:
		return g.judgeTunnel(p, m, where)
	case readable:
		return g.judgePorts(p, m)
	}
	return appliance.Reason(end)
}

// judgeTunnel lets through only what configured peers send, or peers to whom
// somebody inside speaks, and then judges what is in it: it re-enters on a
// device that the gate doesn't see.
func (g Guard) judgeTunnel(p packet, m *Memory, where place) appliance.Reason {
	switch {
	case where != outside:
		return appliance.ReasonTunnelDepth
	case g.empty():
	case g.outlawed(p.source, m):
		return appliance.ReasonBanned
	case !g.grants(p.source, ServiceTunnel) && !m.knows(g, p.flow()):
		return appliance.ReasonTunnelSource
	}
	family, inner, end := decapsulate(p)
	if end != readable {
		return appliance.Reason(end)
	}
	if p.first != nil {
		return g.judgePacket(family, inner, m, torn)
	}
	return g.judgePacket(family, inner, m, within)
}

// judgePorts asks for cuts after what guarded ports drop anyway, so that a flood
// of that need not.
func (g Guard) judgePorts(p packet, m *Memory) appliance.Reason {
	reason, guarded := g.judgeService(p, m)
	switch {
	case guarded && reason.Verdict() == appliance.Block:
		return reason
	case m.isCut(p.flow()):
		return appliance.ReasonMediaCut
	case guarded:
		return reason
	case g.empty():
		return appliance.ReasonNotGuarded
	}
	return g.judgeUnguarded(p, m)
}

// judgeService judges a packet to a guarded port, and reports whether it is one.
func (g Guard) judgeService(p packet, m *Memory) (reason appliance.Reason, guarded bool) {
	if g.empty() {
		return appliance.ReasonNoRules, slices.Contains(StandardPorts(), p.to)
	}
	service, guarded := g.service(p.to)
	switch {
	case !guarded:
		return 0, false
	case service == ServiceOpen:
		return g.judgeOpen(p, m), true
	case g.grants(p.source, service):
		return g.judgeAllowed(p, service, m), true
	}
	return g.judgeStranger(p, service, m), true
}

// judgeUnguarded keeps known evil from opening connections, and requests of
// strangers from whatever port the telephones really listen on.
func (g Guard) judgeUnguarded(p packet, m *Memory) appliance.Reason {
	if p.opens {
		if g.outlawed(p.source, m) {
			return appliance.ReasonBanned
		}
		if g.denied(p.source) {
			return appliance.ReasonFeed
		}
	}
	hides := p.torn && len(p.payload) < requestHead // the rest would come later
	if !p.speaks() || g.grants(p.source, ServiceSIP) || !hides && !looksLikeRequest(p.payload) {
		return g.judgeMedia(p, m)
	}
	if hides {
		return appliance.ReasonFragmentTiny
	}
	// A stream that began inside may carry anything at the start of a segment,
	// and a telephone may be called by whom it registered with.
	forgeable := p.protocol != protocolTCP
	if m.knows(g, p.flow()) && !(forgeable && g.outlawed(p.source, m)) {
		return g.judgeMedia(p, m)
	}
	return appliance.ReasonSIPPayload
}

// judgeAllowed judges a packet to a shut port from a source that may use it.
func (g Guard) judgeAllowed(p packet, service Service, m *Memory) appliance.Reason {
	if g.outlawed(p.source, m) {
		if p.protocol == protocolTCP && g.isReply(p, m) {
			return appliance.ReasonReply
		}
		return appliance.ReasonBanned
	}
	if m.exceeds(g.Limits[service], p.source, service) {
		return appliance.ReasonRateLimit
	}
	return choose(service == ServiceSIP, appliance.ReasonSIPAllowed, appliance.ReasonHTTPAllowed)
}

// judgeStranger judges a packet to a shut port from anybody else: what somebody
// inside began may go on, though over UDP, which is easily forged, not with a
// banned source.
func (g Guard) judgeStranger(p packet, service Service, m *Memory) appliance.Reason {
	forgeable := p.protocol != protocolTCP
	if g.isReply(p, m) && !(forgeable && g.outlawed(p.source, m)) {
		return appliance.ReasonReply
	}
	return choose(service == ServiceSIP, appliance.ReasonSIPSource, appliance.ReasonHTTPSource)
}

func (g Guard) judgeOpen(p packet, m *Memory) appliance.Reason {
	if g.outlawed(p.source, m) {
		if p.protocol == protocolTCP && g.isReply(p, m) {
			return appliance.ReasonReply
		}
		return appliance.ReasonBanned
	}
	if g.denied(p.source) {
		if g.isReply(p, m) {
			return appliance.ReasonReply
		}
		return appliance.ReasonFeed
	}
	if m.exceeds(g.Limits[ServiceOpen], p.source, ServiceOpen) {
		return appliance.ReasonRateLimit
	}
	return appliance.ReasonOpenService
}

// isReply reports whether p belongs to a flow that began inside. A packet that
// opens a connection belongs to none yet.
func (g Guard) isReply(p packet, m *Memory) bool { return !p.opens && m.knows(g, p.flow()) }

func (g Guard) empty() bool {
	for _, ports := range g.Ports {
		if len(ports) > 0 {
			return false
		}
	}
	return true
}

// service returns what a port serves. Tunnels have no ports.
func (g Guard) service(port uint16) (service Service, guarded bool) {
	for _, service := range []Service{ServiceSIP, ServiceHTTP, ServiceOpen} {
		if slices.Contains(g.Ports[service], port) {
			return service, true
		}
	}
	return 0, false
}

// services asks every source: where networks overlap, each adds its own. Bits
// that stand for no service count for nothing.
func (g Guard) services(address netip.Addr) (services uint8) {
	for _, source := range g.Sources {
		if source.Prefix.Contains(address) {
			services |= source.Services & (1<<Services - 1)
		}
	}
	return services
}

func (g Guard) grants(address netip.Addr, service Service) bool {
	return g.services(address)&(1<<service) != 0
}

// outlawed reports whether a ban of the address is in force.
func (g Guard) outlawed(address netip.Addr, m *Memory) bool {
	return m.banned(address) && !g.firm(address)
}

func (g Guard) firm(address netip.Addr) bool {
	for _, source := range g.Sources {
		if source.Firm && source.Prefix.Contains(address) {
			return true
		}
	}
	return false
}

// denied reports whether a feed lists the address and no source excuses it.
func (g Guard) denied(address netip.Addr) bool {
	for _, one := range g.Feeds {
		if lists(one.List, address) {
			return g.services(address) == 0
		}
	}
	return false
}

// lists is List.Contains, but that an address which maps an IPv4 one is, in a
// packet, an IPv6 address like any other.
func lists(list feed.List, address netip.Addr) bool {
	if !address.Is4In6() {
		return list.Contains(address)
	}
	octets := address.As16()
	at := feed.Address6{High: binary.BigEndian.Uint64(octets[:8]), Low: binary.BigEndian.Uint64(octets[8:])}
	return slices.ContainsFunc(list.V6, func(r feed.Range6) bool { return !at.Less(r.First) && !r.Last.Less(at) })
}

func choose(condition bool, yes, no appliance.Reason) appliance.Reason {
	if condition {
		return yes
	}
	return no
}
