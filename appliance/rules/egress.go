package rules

import (
	"bytes"

	"github.com/ringfence/ringfence/appliance"
)

// Egress takes note of a frame that leaves by the WAN, after NAT, so that the
// replies to what somebody inside began are known. It drops nothing but the media
// of calls that were cut. A nil memory is thrown away, as in Judge.
func (g Guard) Egress(frame []byte, m *Memory) appliance.Verdict {
	family, data, end := unwrap(frame)
	if end != readable || m == nil {
		return appliance.Allow
	}
	p, end := readIP(family, data, false)
	f := flow{protocol: p.protocol, remote: p.destination, remotePort: p.to, localPort: p.from}
	switch end {
	case encapsulated:
		m.see(f) // its ports are 0
	case readable:
		if m.isCut(f) {
			return appliance.Block
		}
		if g.begins(p, f, m) {
			m.see(f)
		}
		g.asksForMedia(f, m)
	}
	return appliance.Allow
}

// begins reports whether a packet that leaves begins a flow or goes on with it.
func (g Guard) begins(p packet, f flow, m *Memory) bool {
	service, guarded := g.service(f.localPort)
	_, known := m.flows[f]
	switch {
	case p.opens:
		return true
	case !guarded:
		// A telephone that registers anywhere can be called from there, for as long
		// as it holds its NAT's binding open.
		return p.speaks() && p.protocol != protocolTCP && (looksLikeRequest(p.payload) || known && len(p.payload) <= keepalive)
	case p.protocol == protocolTCP:
		return known
	case service == ServiceOpen:
		// Others pass an open service as they come.
		return g.denied(f.remote) && !m.banned(f.remote)
	}
	return !g.grants(f.remote, service) && !p.isAnswer()
}

// keepalive is the longest payload that holds a binding open between requests:
// empty lines, zeros, STUN.
const keepalive = 32

// speaks reports whether a packet's payload may be SIP.
func (p packet) speaks() bool {
	return p.protocol == protocolTCP || p.protocol == protocolUDP || p.protocol == protocolUDPLite
}

// isAnswer reports whether a datagram is a SIP response, which begins nothing.
func (p packet) isAnswer() bool {
	return bytes.HasPrefix(p.payload, []byte("SIP/2.0 "))
}
