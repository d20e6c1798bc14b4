package inspector

import (
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
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
	if i.barred(q, d, from) {
		return
	}
	if d.call == nil && q.Method != "SUBSCRIBE" && q.Method != "NOTIFY" {
		i.refuse(q, noDialog) // a subscription is no call
		return
	}
	if no, bad := i.unfitWithin(q, d, from); bad {
		i.refuse(q, no)
		return
	}
	if q.Method == "INFO" && !i.dials(q, d, from) {
		status, phrase, headers := refusalOf(q.sip)
		i.reply(q, nil, status, phrase, headers)
		return
	}
	if no, bad := undescribed(q); bad && !d.urgent {
		i.refuse(q, no)
		return
	}
	referTo := ""
	if q.Method == "REFER" {
		if referTo = i.transfer(q, d, 1-from); referTo == "" {
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
	for pass := range passesMax {
		d, from := i.dialogs.crossing(q.CallID(), q.fromTag, q.toTag, pass)
		if d == nil && pass == 0 && q.Method == "NOTIFY" {
			d, from = i.subscribed(q)
		}
		if d != nil && i.belongs(q, d, from) {
			return d, from
		}
	}
	return nil, 0
}

// belongs reports whether q comes from one side of a dialog and is for the other.
func (i *Inspector) belongs(q *request, d *dialog, from int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.legs[from].speaks(q.sip, q.from.remote.Addr()) && (d.aimedAt(1-from, *q.uri) || i.rewritten(q, &d.legs[1-from]))
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
func (i *Inspector) unfitWithin(q *request, d *dialog, from int) (refusal, bool) {
	if no, bad := extensionRefusal(q); bad {
		return no, true
	}
	if no, bad := bodyRefusal(q); bad {
		return no, true
	}
	if no, bad := tooBrisk(q); bad {
		return no, true
	}
	if q.Has("Replaces") || q.Has("Join") {
		// They belong to an INVITE that opens a call (RFC 3891 section 3, RFC 3911
		// section 4).
		return refusal{status: 400, phrase: "Bad Replaces", reason: appliance.ReasonMalformedMessage}, true
	}
	if _, ok := i.bridged(q); !ok {
		return noDialog, true
	}
	if exhausted(q) {
		return badCSeq, true
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
	if len(contacts) == 1 && (!i.mayTarget(q.sip, q.who, contacts[0].URI) && !q.fromRemote(contacts[0].URI) || i.renumbers(q, d, from, contacts[0].URI)) {
		return refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost, detail: "Contact"}, true
	}
	return refusal{}, false
}

// renumbers reports whether a neighbour on the LAN wants to be reached from now on
// at something that is dialled, and that it may not call: a PBX that routes what
// comes in by number would place that call.
func (i *Inspector) renumbers(q *request, d *dialog, from int, uri message.URI) bool {
	d.mu.Lock()
	same := uri.User == d.legs[from].target.User || uri.User == d.legs[from].previous.User
	d.mu.Unlock()
	if same || q.who.side != inside || !dialable(uri) || len(q.sip.Trunks) == 0 {
		return false
	}
	dialled := message.URI{Scheme: "sip", User: uri.User, Host: q.sip.Trunks[0].Domain}
	said := i.judge(q, dialled, rules.UseCall, appliance.Outbound)
	return said.Verdict != appliance.Allow && said.Reason != appliance.ReasonUnknownNumber
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
		_ = tx.respond(100, sealed(responseTo(q, 100, "Trying", "")))
	}
	if q.Method == "BYE" && (err != nil || next.insecure()) {
		i.endAlone(q, tx, d)
		return
	}
	if err != nil {
		i.reply(q, tx, 480, "Temporarily Unavailable", nil)
		return
	}
	if next.insecure() {
		i.tallies.count(noSIPS.reason)
		i.reply(q, tx, noSIPS.status, noSIPS.phrase, noSIPS.headers)
		return
	}
	branch := i.branches.fresh(q)
	var recorded []string
	if d.call == nil && q.Method == "NOTIFY" {
		recorded = recordRoutes(q.from, next.flow) // it may open the dialog (RFC 6665)
	}
	out := outgoingRequest(q, next.uri, next.flow, branch, routes, recorded)
	plainBody(out, false)
	i.hear(d, from, out)
	if referTo != "" {
		out.Add("Refer-To", referTo)
	}
	what := &exchange{d: d, from: from}
	if !d.urgent {
		what.timing = timed(out)
	}
	i.send(q, tx, out, next.flow, branch, urgent, what)
}

// endAlone takes a BYE that has no way to the other side. The call is over all the
// same: refused, its sender would be gone and the call would count on.
func (i *Inspector) endAlone(q *request, tx *serverTx, d *dialog) {
	i.reply(q, tx, 200, "OK", nil)
	i.hangUp(d, q.at)
}

// across learns what the request says of its sender and returns the way to the
// other leg.
func (i *Inspector) across(q *request, d *dialog, from int) (destination, []string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.legs[from].flow = q.from
	d.legs[from].cseq = max(d.legs[from].cseq, q.cseq.Number)
	d.awaitsACK = d.awaitsACK && q.Method != "ACK"
	to := &d.legs[1-from]
	way, err := i.reach(q.sip, to.flow, to.nextHop(), to.who)
	uri, routes := pathTo(to.target, to.routes)
	return destination{uri, way}, routes, err
}

// exchange is the errand of a request inside a dialog.
type exchange struct {
	d      *dialog
	from   int
	timing timing
}

// answered implements errand: a 2xx refreshes the targets of both legs.
func (e *exchange) answered(r *relay, res, out *message.Message) {
	if res.Status/100 == 3 {
		r.i.redirect(r.q, out)
	}
	if res.Status < 300 {
		r.i.hear(e.d, 1-e.from, out)
	}
	if res.Status/100 == 2 && (r.q.Method == "UPDATE" || r.q.Method == "PRACK") {
		r.i.answeredMedia(e.d)
	}
	if res.Status/100 != 2 || !refreshes(r.q.Method) {
		return
	}
	if r.q.Method == "SUBSCRIBE" && e.d.call == nil {
		e.d.until(subscribedUntil(r, res))
	}
	if e.d.call != nil && timers(r.q.Method) && !e.d.urgent {
		e.d.refreshed(e.timing, out, r.i.now())
	}
	e.d.mu.Lock()
	defer e.d.mu.Unlock()
	e.d.awaitsACK = e.d.awaitsACK || r.q.Method == "INVITE"
	if contact, ok := r.q.Contact(); ok {
		e.d.legs[e.from].aim(contact.URI)
	}
	if contact, ok := res.Contact(); ok && !r.i.outsized(res) {
		e.d.legs[1-e.from].aim(contact.URI)
	}
}

// ended implements errand.
func (e *exchange) ended(r *relay, status int) {
	now := r.i.now()
	if status >= 300 && (r.q.Method == "INVITE" || r.q.Method == "UPDATE") {
		r.i.refusedMedia(e.d, e.from)
	}
	switch r.q.Method {
	case "BYE":
		// A challenged BYE is repeated with credentials (RFC 3261 section 15.1.1).
		switch {
		case status/100 == 2, status == 481, status == 408:
			r.i.hangUp(e.d, now)
		case status != 401 && status != 407:
			// Whoever takes the BYE for an old one, or knows better, goes on counting:
			// it gets one with the right number.
			r.i.finish(e.d, "")
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
	i.releaseMedia(d)
	d.deadline = now.Add(i.bounds.linger)
	if d.referred {
		d.deadline = now.Add(i.bounds.early)
	}
	if d.cut != nil {
		d.deadline = now.Add(i.bounds.call) // what is left of it is the cut's
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
	if err != nil || next.insecure() {
		return
	}
	q.vias = q.incomingVias()
	out := onto(draft(), q, next.uri, next.flow, i.branches.stateless(q), routes, nil)
	plainBody(out, false)
	i.hear(d, from, out)
	i.answeredMedia(d)
	_ = next.flow.send(sealed(out), nil)
}
