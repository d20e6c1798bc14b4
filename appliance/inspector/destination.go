package inspector

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// destination is where an allowed request goes, and under which Request-URI.
type destination struct {
	uri  string
	flow flow
}

var (
	noTrunk = refusal{status: 503, phrase: "Service Unavailable", reason: appliance.ReasonNoTrunk}
	noUser  = refusal{status: 404, phrase: "Not Found", reason: appliance.ReasonUnknownUser}
)

// destination is the first of the ways for a request that opens something. A
// refusal with a status says that there is none.
func (i *Inspector) destination(q *request, said rules.Decision) (destination, refusal) {
	ways, no := i.ways(q, said)
	if no.status != 0 {
		return destination{}, no
	}
	for _, one := range ways {
		if to, err := one.flow(i); err == nil {
			return destination{one.uri, to}, refusal{}
		}
	}
	return destination{}, noTrunk
}

// inner finds the way for a request that opens something and leads to no trunk:
// from a trunk to whom it is for, or from a phone to the PBX. The boolean is false
// where it leads to a trunk.
func (i *Inspector) inner(q *request, said rules.Decision) (destination, refusal, bool) {
	if q.who.side == outside {
		next, no := i.inward(q)
		return next, no, true
	}
	if b := i.remoteBinding(q, *q.uri); b != nil {
		next, no := i.registered(q, b)
		return next, no, true
	}
	if q.office() && !exempt(q, said) {
		next, no := i.remoteCall(q)
		return next, no, true
	}
	if addr, literal := q.uri.Addr(); literal && q.sip.PBX.Address.IsValid() && addr == q.sip.PBX.Address.Addr() {
		// A phone that calls the PBX through the box. The PBX's own calls to itself
		// have no business here.
		if user, plain := plainUser(*q.uri); plain && !q.who.pbx {
			next, no := i.toPBX(q, user)
			return next, no, true
		}
		if !exempt(q, said) {
			return destination{}, noUser, true
		}
	}
	return destination{}, refusal{}, false
}

// inward finds who is meant by a request from a trunk: the registered contact
// behind an alias of ours, else the PBX, else the contact whose account has that
// name.
func (i *Inspector) inward(q *request) (destination, refusal) {
	if b := i.bindings.alias(q.uri.User, q.at); b != nil {
		return i.registered(q, b)
	}
	if b := i.bindings.called(q.sip, q.who.trunk, *q.uri, q.at); b != nil {
		return i.registered(q, b)
	}
	if next, found := i.passedOn(q); found {
		return next, refusal{}
	}
	user, plain := plainUser(*q.uri)
	if plain && strings.HasPrefix(user, aliasPrefix) {
		// An alias from before a restart: nobody on the LAN knows that name, but the
		// To says which number was called.
		user, plain = plainUser(q.toAddr.URI)
	}
	if !plain {
		return destination{}, noUser
	}
	if q.sip.PBX.Address.IsValid() {
		return i.toPBX(q, user)
	}
	if b := i.bindings.account(user, q.at); b != nil {
		return i.registered(q, b)
	}
	return destination{}, noUser
}

func (i *Inspector) toPBX(q *request, user string) (destination, refusal) {
	pbx := q.sip.PBX
	to, err := i.towardInside(q, pbx.Transport, pbx.Address)
	if err != nil {
		return destination{}, refusal{status: 503, phrase: "Service Unavailable", reason: appliance.ReasonUnknownUser}
	}
	uri := message.URI{Scheme: "sip", User: user, Host: pbx.Address.Addr().String(), Port: pbx.Address.Port()}
	return destination{uri.String(), to}, refusal{}
}

// registered is the way to a registered contact: by the flow that it registered
// over, or to its own address where that connection is gone.
func (i *Inspector) registered(q *request, b *binding) (destination, refusal) {
	to, err := i.reach(q.sip, b.flow, b.contact, partyOf(q.sip, b.flow.remote))
	if err != nil {
		return destination{}, refusal{status: 480, phrase: "Temporarily Unavailable", reason: appliance.ReasonUnknownUser}
	}
	return destination{b.contact.String(), to}, refusal{}
}

// plainUser returns the user part as it may be sent to a PBX: digits, letters
// and dial characters, without parameters, separators or escapes. The boolean is
// false for anything else: an Asterisk reads more than a name out of
// "500&PJSIP/itsp/1416".
func plainUser(uri message.URI) (string, bool) {
	user, _, _ := strings.Cut(uri.User, ";")
	user = strings.ReplaceAll(user, "%23", "#")
	for _, c := range []byte(user) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("+*#-_.", rune(c)) {
			return "", false
		}
	}
	return escapeUser(user), user != ""
}

// reach returns the flow for a request to a neighbour that spoke before by
// known and wants to be reached at target: over the open TCP connection, or another
// one where that is gone; over UDP at its target, where that is an address of its own
// set, else where it spoke from. Names are never looked up.
func (i *Inspector) reach(sip *rules.SIP, known flow, target message.URI, who party) (flow, error) {
	if known.stream != nil && known.alive() {
		return known, nil
	}
	var wanted netip.AddrPort
	// What a telephone behind somebody else's NAT calls its address is none here.
	if addr, literal := onLink(target, known); literal && !who.remote && i.reachable(sip, addr, known, who) {
		wanted = netip.AddrPortFrom(addr, portToward(target, known.transport))
	}
	if known.stream == nil {
		if wanted.IsValid() {
			known.remote = wanted
		}
		return known, nil
	}
	if known.intercepted() {
		at := wanted
		if !at.IsValid() {
			at = known.remote
		}
		if to, found, err := i.door.inNameOf(known.transport, known.local, at); found {
			return to, err
		}
	}
	to, err := i.rejoin(sip, known, wanted, target.User)
	if errors.Is(err, errGone) {
		return i.configured(sip, known)
	}
	return to, err
}

// onLink is the address that a target names. A link-local one is on the link that the
// neighbour speaks from, which no URI can say; from elsewhere it is none.
func onLink(target message.URI, known flow) (netip.Addr, bool) {
	addr, literal := target.Addr()
	if literal && addr.Is6() && addr.IsLinkLocalUnicast() {
		zone := known.remote.Addr().Zone()
		return addr.WithZone(zone), zone != ""
	}
	return addr, literal
}

// reachable reports whether a neighbour may be reached at addr: its own address,
// or another of its set. The box itself is nobody's address: a PBX behind NAT
// may name it, and a request sent there would come back as if the box called.
func (i *Inspector) reachable(sip *rules.SIP, addr netip.Addr, known flow, who party) bool {
	switch {
	case addr == known.remote.Addr():
		return true
	case i.door.ours(addr):
		return false
	case who.side == inside:
		return ofLAN(sip, addr)
	case who.trunk != nil:
		return ofTrunk(who.trunk, addr)
	}
	return false
}
