package inspector

import (
	"errors"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// A neighbour whose connection is gone can still be in a dialog, wait for an
// answer, or be called: connections end when they have been idle, and calls do not.

var errGone = errors.New("its connection is gone, and nobody knows where it listens")

// rejoin returns another way to a neighbour that spoke by known: over a connection
// that is open, which it asked to be used (RFC 5923) or registered by, else over a
// new one. user is what it calls itself, and wanted where it wants to be reached; it
// may be invalid.
func (i *Inspector) rejoin(sip *rules.SIP, known flow, wanted netip.AddrPort, user string) (flow, error) {
	who := partyOf(sip, known.remote)
	whom, all := peerFor(sip, who, known), listens(sip, who, known, wanted)
	for _, at := range all {
		if to, open := i.door.opened(known.transport, at, whom); open {
			return to, nil
		}
	}
	if to, open := i.bindings.connected(known, user, who.remote, i.now()); open {
		return to, nil
	}
	if len(all) == 0 {
		return flow{}, errGone
	}
	return i.door.towardPeer(known.transport, all[0], whom)
}

// configured is the way to the PBX or a trunk by what the settings say, where a
// plain connection is gone and it has not told of an address to connect to.
func (i *Inspector) configured(sip *rules.SIP, gone flow) (flow, error) {
	who := partyOf(sip, gone.remote)
	switch {
	case gone.transport == settings.TLS:
	case who.pbx:
		return i.door.towardPeer(sip.PBX.Transport, sip.PBX.Address, peerOfPBX(sip.PBX))
	case who.trunk != nil:
		return i.towardTrunkAt(sip, who.trunk, "", netip.AddrPort{})
	}
	return flow{}, errGone
}

// peerFor is whose certificate a neighbour must show where the box connects to it.
// Nobody knows that of a telephone.
func peerFor(sip *rules.SIP, who party, known flow) peer {
	switch {
	case known.peer != peer{}:
		return known.peer
	case who.pbx:
		return peerOfPBX(sip.PBX)
	case who.trunk != nil:
		return peerOf(who.trunk)
	}
	return peer{}
}

// listens is where a neighbour may be connected to, likeliest first. The port that
// it connected from is none such, though some name it in their Contact.
func listens(sip *rules.SIP, who party, known flow, wanted netip.AddrPort) []netip.AddrPort {
	var all []netip.AddrPort
	if wanted.IsValid() && (wanted != known.remote || !known.accepted()) {
		all = append(all, wanted)
	}
	if !known.accepted() {
		all = append(all, known.remote)
	}
	if who.pbx && sip.PBX.Transport == known.transport {
		all = append(all, sip.PBX.Address)
	}
	if who.trunk == nil {
		return all
	}
	var others []netip.AddrPort
	for _, target := range targetsOf(sip, who.trunk) {
		switch {
		case target.Transport != string(known.transport):
		case target.Address.Addr() == known.remote.Addr():
			all = append(all, target.Address)
		default:
			others = append(others, target.Address)
		}
	}
	return append(all, others...)
}

// accepted reports whether the neighbour opened the connection.
func (f flow) accepted() bool { return f.stream != nil && !f.stream.greets.IsZero() }

// portToward is the port of a target that is reached over a transport.
func portToward(target message.URI, transport settings.Transport) uint16 {
	if target.Port == 0 && transport == settings.TLS {
		return securePort
	}
	return portOf(target)
}

// connected returns the newest open connection that a telephone has registered by
// from the address of one that is gone. Behind the NAT of somebody else the user of
// its Contact must be the same; on the LAN an address is one telephone, or the PBX.
func (s *bindings) connected(gone flow, user string, shared bool, now time.Time) (flow, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *binding
	for _, b := range s.hosts[gone.remote.Addr()] {
		same := b.contact.User == user
		if b.flow.transport != gone.transport || b.flow.stream == nil || !b.flow.alive() || !now.Before(b.expires) || shared && !same {
			continue
		}
		if best == nil || same && best.contact.User != user || same == (best.contact.User == user) && b.expires.After(best.expires) {
			best = b
		}
	}
	if best == nil {
		return flow{}, false
	}
	return best.flow, true
}
