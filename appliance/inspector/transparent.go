package inspector

import (
	"net/netip"
	"sync"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Transparent mode: the kernel hands over SIP that a telephone sends to its
// provider, and that a provider sends to a telephone, without either knowing of
// the box. Such a flow's local address is another host's: the one that the
// message was sent to. What goes back by it comes from there.
//
// Towards the provider every telephone speaks from the box's own address and
// port, with its Contact as it stands. They are told apart by the Contact that
// the provider calls: whatever its far-end NAT handling makes of the host, the user
// part comes back. Where two telephones register the same user at one provider, the
// second one's Contact gets an alias, as in explicit mode. A port of the box's for
// each telephone would tell them apart, too, as NAT does; but such ports are lost
// with the daemon, and the provider calls them for the rest of the hour, while
// 5060 is always there and always guarded.

// intercepted reports whether the neighbour speaks to another host than the box.
func (f flow) intercepted() bool {
	return f.socket != nil && f.socket.transparent || f.stream != nil && f.stream.transparent
}

// meant is the trunk that an intercepted request from the LAN was on its way to,
// nil where it is none's: of several at one address the one with that domain.
func (q *request) meant(domain string) *settings.Trunk {
	var first *settings.Trunk
	for n := range q.sip.Trunks {
		trunk := &q.sip.Trunks[n]
		if !ofTrunk(trunk, q.from.local.Addr()) {
			continue
		}
		if trunk.Domain == domain {
			return trunk
		}
		if first == nil {
			first = trunk
		}
	}
	return first
}

// strayed refuses an intercepted request to a host that is no trunk's: a
// telephone must not call anybody who would connect it to whatever it asks for. A
// call for help goes to a trunk instead.
func (i *Inspector) strayed(q *request) bool {
	if !q.from.intercepted() {
		return false
	}
	at := q.from.local
	if q.who.side == outside && ofLAN(q.sip, at.Addr()) || q.who.side == inside && q.meant("") != nil {
		return false
	}
	if q.who.side == inside && (q.Method == "INVITE" || q.Method == "MESSAGE") {
		if exempt(q, i.judge(q, *q.uri, useOf(q.Method), appliance.Outbound)) {
			return false
		}
	}
	i.refuse(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost,
		detail: "sent to " + at.String() + ", which is no trunk's"})
	return true
}

func useOf(method string) rules.Use {
	if method == "MESSAGE" {
		return rules.UseMessage
	}
	return rules.UseCall
}

// hint names the trunk that an intercepted request is on its way to: the judge
// shall not choose another. It is empty for any other request, and for a call for
// help that went astray.
func (i *Inspector) hint(q *request, host string) string {
	if q.who.side != inside || !q.from.intercepted() {
		return ""
	}
	if trunk := q.meant(host); trunk != nil {
		return trunk.Name
	}
	return ""
}

// onward is the way of an intercepted request from the LAN: to the very host that
// it was sent to, over the transport that it was sent by. The telephone has chosen
// one of its provider's hosts, and its registration may be with that one alone.
// The boolean is false for any other request.
func (i *Inspector) onward(q *request) (to flow, found bool, err error) {
	if q.who.side != inside || !q.from.intercepted() || q.meant("") == nil {
		return flow{}, false, nil
	}
	to, err = i.door.toward(q.from.transport, q.from.local)
	return to, true, err
}

// towardTrunk is the way of a request from the LAN to its trunk.
func (i *Inspector) towardTrunk(q *request, trunk *settings.Trunk) (flow, error) {
	if to, found, err := i.onward(q); found {
		return to, err
	}
	return i.towardTrunkAt(q.sip, trunk, q.CallID(), netip.AddrPort{})
}

// asSent gives a Request-URI that we have written the host that an intercepted
// one had, where that is the address that it was sent to: a digest is computed
// over it.
func (q *request) asSent(written string) string {
	addr, literal := q.uri.Addr()
	uri, err := message.ParseURI(written)
	if err != nil || uri.Scheme != "sip" || q.who.side != inside || !q.from.intercepted() || !literal || addr != q.from.local.Addr() {
		return written
	}
	uri.Host, uri.Port = q.uri.Host, q.uri.Port
	return uri.String()
}

// towardInside is the way of a trunk's request to a host of the LAN that has no
// flow of its own: in the trunk's name where that host knows of no box, else in
// ours.
func (i *Inspector) towardInside(q *request, transport settings.Transport, at netip.AddrPort) (flow, error) {
	if q.who.side == outside && i.habits.transparent(at.Addr(), i.door.transparent()) {
		if to, found, err := i.door.inNameOf(transport, q.from.remote, at); found {
			return to, err
		}
	}
	return i.door.towardPeer(transport, at, peerOfPBX(q.sip.PBX))
}

// passedOn is the way of an intercepted request from a trunk to a host of the LAN
// that no binding is known of: where the network would have carried it. The
// boolean is false for any other request.
func (i *Inspector) passedOn(q *request) (destination, bool) {
	if q.who.side != outside || !q.from.intercepted() {
		return destination{}, false
	}
	to, found, err := i.door.inNameOf(q.from.transport, q.from.remote, q.from.local)
	return destination{plainTarget(*q.uri).String(), to}, found && err == nil
}

// ownRoute reports whether a Route is one that our Record-Route made: it leads to
// us, or to the host in whose name we speak to a telephone.
func (i *Inspector) ownRoute(q *request, uri message.URI) bool {
	if i.ownHost(uri) {
		return true
	}
	addr, literal := uri.Addr()
	return literal && q.from.intercepted() && netip.AddrPortFrom(addr, portOf(uri)) == q.from.local
}

// habitsMax bounds the table of hosts of the LAN; where it is full it is begun
// anew.
const habitsMax = 4096

// habits knows of hosts of the LAN whether they speak to the box or to others. A
// PBX that calls the box its outbound proxy wants its calls from there, and one
// that has never heard of it from its provider.
type habits struct {
	mu  sync.RWMutex
	all map[netip.Addr]bool // whether what it sent last was intercepted
}

// note remembers how a request came.
func (h *habits) note(q *request) {
	if q.who.side != inside {
		return
	}
	addr, intercepted := q.from.remote.Addr(), q.from.intercepted()
	h.mu.RLock()
	known, found := h.all[addr]
	h.mu.RUnlock()
	if found && known == intercepted {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil || len(h.all) >= habitsMax {
		h.all = make(map[netip.Addr]bool)
	}
	h.all[addr] = intercepted
}

// transparent reports whether a host knows of no box; unknown says what to
// assume of one that has not spoken.
func (h *habits) transparent(addr netip.Addr, unknown bool) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if known, found := h.all[addr]; found {
		return known
	}
	return unknown
}
