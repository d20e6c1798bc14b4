package inspector

import (
	"strconv"
	"strings"

	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// hangUp ends a call that was answered after its caller had been told that it
// would not be: with an ACK, so that the answer is not repeated, and a BYE, so
// that nobody pays for it (RFC 3261 section 13.2.2.4).
func (r *relay) hangUp(res *message.Message) {
	target := r.sentTo()
	if contact, ok := res.Contact(); ok {
		target = plainTarget(contact.URI)
	}
	branch := r.i.branches.fresh(r.q)
	_ = r.to.send(written(r.closing("ACK", 0, branch, target, res)), nil)
	if !r.hangsUp(res) {
		return // the answer was repeated because the ACK was lost
	}
	branch = r.i.branches.fresh(r.q)
	bye := r.closing("BYE", 1, branch, target, res)
	_, _ = r.i.txs.request(branch, bye, r.to, true, r.lateBye())
}

// hangsUp reports whether an answer still needs its BYE, and notes that it gets
// one. How many may be noted is bounded by the forks of one INVITE.
func (r *relay) hangsUp(res *message.Message) bool {
	to, err := res.To()
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hungUp[to.Tag()] || len(r.hungUp) >= r.i.bounds.forks {
		return false
	}
	if r.hungUp == nil {
		r.hungUp = make(map[string]bool)
	}
	r.hungUp[strings.Clone(to.Tag())] = true
	return true
}

// sentTo is the Request-URI that the request went on under.
func (r *relay) sentTo() message.URI {
	uri, _ := message.ParseURI(strings.Clone(r.sent.URI)) // we wrote it
	return uri
}

// closing writes an in-dialog request to whoever answered.
func (r *relay) closing(method string, ahead uint32, branch string, target message.URI, res *message.Message) *message.Message {
	uri, routes := pathTo(target, reversed(beyondUs(res.All("Record-Route"), r.sent.All("Record-Route"))))
	out := &message.Message{Method: method, URI: uri}
	out.Add("Via", hop(r.to, branch))
	for _, route := range routes {
		out.Add("Route", route)
	}
	out.Add("Max-Forwards", strconv.Itoa(message.DefaultMaxForwards))
	identity(out, r.sent)
	out.Set("To", res.Get("To"))
	number, _, _ := strings.Cut(r.sent.Get("CSeq"), " ")
	n, _ := strconv.ParseUint(number, 10, 32)
	out.Set("CSeq", message.CSeq{Number: uint32(n) + ahead, Method: method}.String())
	return out
}
