package inspector

import (
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// within handles a request inside a dialog. That a To tag is there proves
// nothing: the dialog must be one of ours, the sender one of its two sides, and
// the Request-URI the other side's target.
func (i *Inspector) within(q *request) {
	d, from := i.party(q)
	if d == nil {
		if !i.salvage(q) {
			i.refuse(q, noDialog)
		}
		return
	}
	if !understood(q.Method) {
		i.refuse(q, unknownMethod)
		return
	}
	if d.call == nil && q.Method != "SUBSCRIBE" && q.Method != "NOTIFY" {
		i.refuse(q, noDialog) // a subscription is no call
		return
	}
	if no, bad := i.unfitWithin(q); bad {
		i.refuse(q, no)
		return
	}
	referTo := ""
	if q.Method == "REFER" {
		if referTo = i.transfer(q); referTo == "" {
			return
		}
	}
	i.forward(q, d, from, referTo)
}

// understood lists the methods that may run inside a dialog.
func understood(method string) bool {
	switch method {
	case "INVITE", "BYE", "UPDATE", "PRACK", "INFO", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "OPTIONS":
		return true
	}
	return false
}

// party returns the dialog of q and the sender's leg, or nil where q has no
// business in it.
func (i *Inspector) party(q *request) (*dialog, int) {
	d, from := i.dialogs.find(q.CallID(), q.fromTag, q.toTag)
	if d == nil && q.Method == "NOTIFY" {
		d, from = i.subscribed(q)
	}
	if d == nil {
		return nil, 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.legs[from].speaks(q.sip, q.from.remote.Addr()) {
		return nil, 0
	}
	if !d.aimedAt(1-from, q.uri) && !i.rewritten(q, &d.legs[1-from]) {
		return nil, 0
	}
	return d, from
}

// rewritten reports whether a Request-URI is the leg's target with another host.
// A provider that sees a private address in a Contact puts the address there that
// the packet came from: ours, or that of a router before us. So does a PBX that is
// told to rewrite Contacts, with ours. The request goes to the stored target, so
// that the host decides nothing.
func (i *Inspector) rewritten(q *request, to *leg) bool {
	if q.uri.Scheme != "sip" || q.uri.User != to.target.User && q.uri.User != to.previous.User {
		return false
	}
	addr, literal := q.uri.Addr()
	return q.who.side == outside || literal && i.door.ours(addr)
}

// unfitWithin returns the refusal of an in-dialog request for what it carries.
func (i *Inspector) unfitWithin(q *request) (refusal, bool) {
	if no, bad := extensionRefusal(q); bad {
		return no, true
	}
	if no, bad := bodyRefusal(q); bad {
		return no, true
	}
	if !refreshes(q.Method) {
		return refusal{}, false
	}
	if i.outsized(q.Message) {
		return tooLarge, true
	}
	contacts, _, err := q.Contacts()
	if err != nil || len(contacts) > 1 {
		return refusal{status: 400, phrase: "Bad Contact", reason: appliance.ReasonMalformedMessage}, true
	}
	if len(contacts) == 1 && !i.mayTarget(q.sip, q.who, contacts[0].URI) {
		return refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost, detail: "Contact"}, true
	}
	return refusal{}, false
}

// refreshes reports whether a method is a target refresh request (RFC 3261
// section 12.2, RFC 3311, RFC 6665).
func refreshes(method string) bool {
	switch method {
	case "INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY":
		return true
	}
	return false
}

// forward sends an in-dialog request on to the other leg. referTo is the judged
// target of a REFER, "" for any other method.
func (i *Inspector) forward(q *request, d *dialog, from int, referTo string) {
	next, routes, err := i.across(q, d, from)
	// A BYE frees what others wait for.
	urgent := d.urgent || q.Method == "BYE"
	tx, busy := i.txs.serve(q.key(q.Method), q.Method, q.back, urgent)
	if busy != nil {
		i.overloaded(q)
		return
	}
	if q.Method == "INVITE" {
		_ = tx.respond(100, written(responseTo(q, 100, "Trying", "")))
	}
	if err != nil {
		i.reply(q, tx, 480, "Temporarily Unavailable", nil)
		return
	}
	branch := i.branches.fresh(q)
	var recorded []string
	if d.call == nil && q.Method == "NOTIFY" {
		recorded = recordRoutes(q.from, next.flow) // it may open the dialog (RFC 6665)
	}
	out := outgoingRequest(q, next.uri, next.flow, branch, routes, recorded)
	plainBody(out, false)
	if referTo != "" {
		out.Add("Refer-To", referTo)
	}
	i.send(q, tx, out, next.flow, branch, urgent, &exchange{d: d, from: from})
}

// across learns what the request says of its sender and returns the way to the
// other leg.
func (i *Inspector) across(q *request, d *dialog, from int) (destination, []string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.legs[from].flow = q.from
	d.awaitsACK = d.awaitsACK && q.Method != "ACK"
	to := &d.legs[1-from]
	way, err := i.reach(q.sip, to.flow, to.nextHop(), to.who)
	return destination{to.target.String(), way}, to.routes, err
}

// exchange is the errand of a request inside a dialog.
type exchange struct {
	d    *dialog
	from int
}

// answered implements errand: a 2xx refreshes the targets of both legs.
func (e *exchange) answered(r *relay, res, out *message.Message) {
	if res.Status/100 == 3 {
		r.i.redirect(r.q, out)
	}
	if res.Status/100 != 2 || !refreshes(r.q.Method) {
		return
	}
	if r.q.Method == "SUBSCRIBE" && e.d.call == nil {
		e.d.until(subscribedUntil(r, res))
	}
	e.d.mu.Lock()
	defer e.d.mu.Unlock()
	e.d.awaitsACK = e.d.awaitsACK || r.q.Method == "INVITE"
	if contacts, _, err := r.q.Contacts(); err == nil && len(contacts) == 1 {
		e.d.legs[e.from].aim(contacts[0].URI)
	}
	if contacts, _, err := res.Contacts(); err == nil && len(contacts) == 1 && !r.i.outsized(res) {
		e.d.legs[1-e.from].aim(contacts[0].URI)
	}
}

// ended implements errand.
func (e *exchange) ended(r *relay, status int) {
	now := r.i.now()
	switch r.q.Method {
	case "BYE":
		// A challenged BYE is repeated with credentials; after anything else the
		// session is over (RFC 3261 section 15.1.1).
		if status != 401 && status != 407 {
			r.i.hangUp(e.d, now)
		}
	case "REFER":
		e.d.mu.Lock()
		e.d.referred = e.d.referred || status/100 == 2
		e.d.mu.Unlock()
	case "SUBSCRIBE":
		if status/100 != 2 && e.d.call == nil {
			e.d.until(now.Add(r.i.bounds.cancelled))
		}
	case "NOTIFY":
		if e.d.call == nil && terminated(r.q.Message) {
			e.d.until(now.Add(r.i.bounds.cancelled))
		}
	}
}

// hangUp ends the call of a dialog. The dialog itself stays a while for a
// crossing BYE, and longer where a transfer still has to be reported.
func (i *Inspector) hangUp(d *dialog, now time.Time) {
	d.mu.Lock()
	d.over = true
	d.deadline = now.Add(i.bounds.linger)
	if d.referred {
		d.deadline = now.Add(i.bounds.early)
	}
	d.mu.Unlock()
	if d.call != nil {
		i.calls.leave(d.call, d, now)
	}
}

// ack handles an ACK: the one to a refusal ends at the server transaction, the
// one to a 2xx crosses the box without any. Nothing ever answers it.
func (i *Inspector) ack(q *request) {
	if tx := i.txs.server(q.key("INVITE")); tx != nil && tx.acknowledged() {
		return
	}
	d, from := i.party(q)
	if d == nil || q.hops == 0 || i.branches.looped(q) {
		i.tallies.count(appliance.ReasonUnknownDialog)
		return
	}
	if _, bad := bodyRefusal(q); bad {
		i.tallies.count(appliance.ReasonBody)
		return
	}
	next, routes, err := i.across(q, d, from)
	if err != nil {
		return
	}
	out := outgoingRequest(q, next.uri, next.flow, i.branches.stateless(q), routes, nil)
	plainBody(out, false)
	_ = next.flow.send(written(out), nil)
}
