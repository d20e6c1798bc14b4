package inspector

import (
	"net/netip"
	"sync"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// salvage relays a BYE whose dialog the box no longer knows, because it was
// restarted during the call: answered with 481, one side would hang up and the
// other might be billed on. It reports false where the BYE is to be refused.
//
// This opens no door. A BYE creates nothing and dials nothing; the far side acts
// on it only where its Call-ID and both tags are those of a live dialog, which is
// all that RFC 3261 section 15 asks of anybody who ends a call, and nothing but
// the two sides and the box has seen them. Between the LAN and a trunk it goes
// one way only, to the other side: no trunk reaches another, and none reaches
// more of the LAN than the PBX, a registered phone, or one datagram without a body
// at an unprivileged port; of a trunk nothing is reached but its SIP ports. On the
// WAN only a telephone that is registered has calls to end (see silenced), and those
// are the PBX's.
// A dialog that the box does know is never salvaged: for it within has decided.
func (i *Inspector) salvage(q *request) bool {
	known, _ := i.dialogs.find(q.CallID(), q.fromTag, q.toTag)
	if q.Method != "BYE" || known != nil || q.uri.Scheme != "sip" {
		return false
	}
	beyond, ours := i.beyondRoute(q)
	if !ours {
		return false
	}
	next, routes, found := i.orphan(q, beyond)
	if !found {
		return false
	}
	if i.outsized(q.Message) {
		i.refuse(q, tooLarge)
		return true
	}
	if no, bad := extensionRefusal(q); bad {
		i.refuse(q, no)
		return true
	}
	i.carryOrphan(q, next, routes)
	return true
}

// carryOrphan sends it on, bare. Nobody knows whether there is such a call, so that
// it takes nothing of what is kept for calls for help.
func (i *Inspector) carryOrphan(q *request, next destination, routes []string) {
	what := salvaged{source: q.from.remote.Addr()}
	if !i.salvages.begin(i.bounds, what.source) {
		i.overloaded(q)
		return
	}
	tx, err := i.txs.serve(q.key(q.Method), q.Method, q.back, false)
	if err != nil {
		i.salvages.end(what.source)
		i.overloaded(q)
		return
	}
	i.tallies.count(appliance.ReasonSalvaged)
	branch := i.branches.fresh(q)
	out := outgoingRequest(q, next.uri, next.flow, branch, routes, nil)
	out.Body = nil
	for _, name := range [...]string{"Contact", "Content-Type", "Content-Disposition", "Replaces"} {
		out.Del(name)
	}
	i.send(q, tx, out, next.flow, branch, false, what)
}

// salvages counts the salvaged requests that wait for their answer.
type salvages struct {
	mu  sync.Mutex
	all int
	of  map[netip.Addr]int // by source; never zero
}

// begin counts one more. It reports false where there are enough.
func (s *salvages) begin(bounds limits, source netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= bounds.salvages || s.of[source] >= bounds.salvagesPerSource {
		return false
	}
	if s.of == nil {
		s.of = make(map[netip.Addr]int)
	}
	s.all++
	s.of[source]++
	return true
}

func (s *salvages) end(source netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[source]--; s.of[source] == 0 {
		delete(s.of, source)
	}
}

// salvaged is the errand of a salvaged request.
type salvaged struct {
	plainErrand
	source netip.Addr
}

// ended implements errand.
func (e salvaged) ended(r *relay, _ int) { r.i.salvages.end(e.source) }

// beyondRoute returns the route set beyond us. The boolean is false where the
// topmost Route is none that our Record-Route would have made.
func (i *Inspector) beyondRoute(q *request) ([]message.NameAddr, bool) {
	routes, err := q.Routes()
	if err != nil {
		return nil, false
	}
	n := 0
	for n < len(routes) && n < 2 && routes[n].URI.User == "" && i.ownRoute(q, routes[n].URI) {
		n++ // two where the legs differed (RFC 5658)
	}
	return routes[n:], n > 0
}

// orphan finds the other side of a call that is forgotten.
func (i *Inspector) orphan(q *request, beyond []message.NameAddr) (next destination, routes []string, found bool) {
	if q.who.side == outside {
		next, found = i.orphanInside(q)
		return next, nil, found
	}
	if q.office() {
		to, err := i.towardInside(q, q.sip.PBX.Transport, q.sip.PBX.Address)
		return destination{plainTarget(*q.uri).String(), to}, nil, err == nil
	}
	trunk, at := orphanTrunk(q, beyond)
	if trunk == nil {
		return destination{}, nil, false
	}
	to, found, err := i.onward(q)
	if !found {
		to, err = i.towardTrunkAt(q.sip, trunk, q.CallID(), at)
	}
	if err != nil {
		return destination{}, nil, false
	}
	for _, route := range beyond {
		routes = append(routes, route.String())
	}
	return destination{plainTarget(*q.uri).String(), to}, routes, true
}

// orphanTrunk returns the trunk that the next Route names, else the Request-URI,
// and its address; else the only trunk there is, whose gateway may be anywhere.
func orphanTrunk(q *request, beyond []message.NameAddr) (*settings.Trunk, netip.AddrPort) {
	named := []message.URI{*q.uri}
	if len(beyond) > 0 {
		named = []message.URI{beyond[0].URI, *q.uri}
	}
	for _, uri := range named {
		addr, literal := uri.Addr()
		for n := range q.sip.Trunks {
			trunk := &q.sip.Trunks[n]
			switch {
			case uri.Host == trunk.Domain, literal && addr == trunk.Address.Addr():
				return trunk, trunk.Address
			case literal && ofTrunk(trunk, addr) && partyOf(q.sip, netip.AddrPortFrom(addr, portOf(uri))).side == outside:
				return trunk, gateway(q.sip, trunk, netip.AddrPortFrom(addr, portOf(uri)))
			}
		}
	}
	if len(q.sip.Trunks) == 1 {
		return &q.sip.Trunks[0], q.sip.Trunks[0].Address
	}
	return nil, netip.AddrPort{}
}

// gateway returns the address of a trunk's host where its port is one that the trunk
// takes SIP at, else the trunk's own: what a Contact names may be anything, and no
// other service of the provider's hosts is anybody's business here.
func gateway(sip *rules.SIP, trunk *settings.Trunk, at netip.AddrPort) netip.AddrPort {
	if trunk.Address.IsValid() && trunk.Address.Port() == at.Port() {
		return at
	}
	for _, target := range targetsOf(sip, trunk) {
		if target.Address.Port() == at.Port() {
			return at
		}
	}
	return trunk.Address
}

// orphanInside returns the way to the side of the LAN: the registered contact or
// the PBX where the Request-URI names it, an address of the LAN over UDP, else
// the PBX, whose Contact a router before us may have changed.
func (i *Inspector) orphanInside(q *request) (destination, bool) {
	uri, pbx := plainTarget(*q.uri), q.sip.PBX.Address
	addr, literal := uri.Addr()
	var to flow
	var err error
	if b := i.bindings.reached(uri, q.at); b != nil {
		to, err = i.reach(q.sip, b.flow, b.contact, party{side: inside})
	} else if literal && ofLAN(q.sip, addr) && addr != pbx.Addr() && !i.door.ours(addr) && portOf(uri) >= 1024 {
		to, err = i.towardInside(q, settings.UDP, netip.AddrPortFrom(addr, portOf(uri)))
	} else if pbx.IsValid() {
		to, err = i.towardInside(q, q.sip.PBX.Transport, pbx)
	} else {
		return destination{}, false
	}
	return destination{uri.String(), to}, err == nil
}
