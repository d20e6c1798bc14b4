package inspector

import (
	"net/netip"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// invite handles an INVITE that opens a dialog. The judge is asked first, so
// that an emergency call passes whatever else would turn it away.
func (i *Inspector) invite(q *request) {
	direction := appliance.Outbound
	if q.who.side == outside {
		direction = appliance.Inbound
	}
	said := i.judge(q, q.uri, rules.UseCall, direction)
	urgent := exempt(q, said)
	if i.turnedAway(q, urgent) {
		return
	}
	if !urgent {
		if no, bad := i.unfit(q); bad {
			i.refuse(q, no)
			return
		}
	}
	if !i.txs.room(urgent) || !i.dialogs.room(urgent) {
		i.overloaded(q)
		return
	}
	tx, err := i.txs.serve(q.key(q.Method), q.Method, q.back, urgent)
	if err != nil {
		i.overloaded(q)
		return
	}
	_ = tx.respond(100, written(responseTo(q, 100, "Trying", "")))
	i.tallies.count(said.Reason)
	record := recordOf(q, q.uri, rules.UseCall, direction, said)
	if said.Verdict != appliance.Allow {
		i.turnAway(q, tx, record)
		return
	}
	if direction == appliance.Outbound {
		i.alarm(q, said)
	}
	i.connect(q, tx, record, said, urgent)
}

// unfit returns the refusal of an INVITE for what it carries, whoever is called.
func (i *Inspector) unfit(q *request) (refusal, bool) {
	if i.outsized(q.Message) {
		return tooLarge, true
	}
	if no, bad := extensionRefusal(q); bad {
		return no, true
	}
	if no, bad := bodyRefusal(q); bad {
		return no, true
	}
	if q.Has("Replaces") {
		replaces, err := q.Replaces()
		if err != nil || i.dialogs.live(replaces) == nil {
			return noDialog, true
		}
	}
	contacts, _, err := q.Contacts()
	if err != nil || len(contacts) != 1 {
		return refusal{status: 400, phrase: "Missing Contact", reason: appliance.ReasonMalformedMessage}, true
	}
	if !i.mayTarget(q.sip, q.who, contacts[0].URI) {
		return refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost, detail: "Contact"}, true
	}
	return refusal{}, false
}

// mayTarget reports whether a neighbour may name uri as the place where it wants
// to be reached. A neighbour on the LAN names no address that a trunk could reach
// without us.
func (i *Inspector) mayTarget(sip *rules.SIP, who party, uri message.URI) bool {
	if uri.Scheme != "sip" {
		return false
	}
	if who.side == outside {
		return true
	}
	addr, literal := uri.Addr()
	return !literal || i.private(sip, addr)
}

// private reports whether a neighbour on the LAN may give addr as its own: one of
// the LAN, the box's as PBXs behind NAT do, or any private one (RFC 1918, RFC
// 4193), such as that of a container. What is not on the LAN only labels it, like
// a host name: requests go to the address that it speaks from.
func (i *Inspector) private(sip *rules.SIP, addr netip.Addr) bool {
	return ofLAN(sip, addr) || i.door.ours(addr) || addr.IsPrivate()
}

// turnAway refuses a judged request.
func (i *Inspector) turnAway(q *request, tx *serverTx, record appliance.Call) {
	status, phrase, headers := refusalOf(q.sip)
	i.calls.refused(q, record, status)
	i.reply(q, tx, status, phrase, headers)
}

// connect sends an allowed INVITE on.
func (i *Inspector) connect(q *request, tx *serverTx, record appliance.Call, said rules.Decision, urgent bool) {
	next, no := i.destination(q, said)
	if no.status != 0 {
		i.tallies.count(no.reason)
		record.Verdict, record.Reason = appliance.Block, no.reason
		i.calls.refused(q, record, no.status)
		i.reply(q, tx, no.status, no.phrase, no.headers)
		return
	}
	branch := i.branches.fresh(q)
	ours := recordRoutes(q.from, next.flow)
	theirs := q.All("Record-Route")
	out := outgoingRequest(q, next.uri, next.flow, branch, nil, append(ours, theirs...))
	fit(out, urgent)
	a := &attempt{call: i.calls.begin(q, record), ours: ours, theirs: theirs, urgent: urgent}
	i.send(q, tx, out, next.flow, branch, urgent, a)
}

// attempt is the errand of an INVITE that opens a dialog.
type attempt struct {
	call   *call
	ours   []string // Record-Route values that we added, topmost first
	theirs []string // those that the INVITE came with
	urgent bool
}

// answered implements errand.
func (a *attempt) answered(r *relay, res, out *message.Message) {
	switch {
	case res.Status < 300:
		a.learn(r, res, out)
		if res.Status >= 200 {
			r.i.calls.answered(a.call, res.Status, r.i.now())
		}
	case res.Status < 400:
		r.i.redirect(r.q, out)
	}
}

// learn opens or confirms the dialog of one response. The Record-Route that goes
// back is written anew: what the far side added, ours, and what the INVITE came
// with, so that a far side that forgets ours can't lead the call around the box.
func (a *attempt) learn(r *relay, res, out *message.Message) {
	to, err := res.To()
	if err != nil || to.Tag() == "" {
		return
	}
	beyond := beyondUs(res.All("Record-Route"), a.ours[0])
	for _, route := range append(append(append([]string(nil), beyond...), a.ours...), a.theirs...) {
		out.Add("Record-Route", route)
	}
	var d *dialog
	if !r.i.outsized(res) {
		d = a.enter(r, to.Tag(), beyond, res.Status)
	}
	if d == nil {
		r.i.tallies.count(appliance.ReasonOverload)
		return
	}
	a.confirm(r, d, res)
	if res.Status >= 200 {
		a.abandonOthers(r, d)
	}
}

// enter returns the dialog of one response. A fork beyond the bound gets none
// until it answers.
func (a *attempt) enter(r *relay, tag string, beyond []string, status int) *dialog {
	if d, _ := r.i.dialogs.find(r.q.CallID(), r.q.fromTag, tag); d != nil && d.call == a.call {
		return d
	}
	if status < 200 && len(a.call.forks()) >= r.i.bounds.forks {
		return nil
	}
	d := r.i.dialogs.enter(a.dialog(r, tag, beyond), a.urgent)
	if d == nil || d.call != a.call {
		return nil // the tags are those of another call: it keeps its dialog
	}
	r.i.calls.join(a.call, d)
	return d
}

// confirm brings a dialog up to date with a response. One that is confirmed
// already is left alone: a repeated 2xx may be older than a target refresh.
func (a *attempt) confirm(r *relay, d *dialog, res *message.Message) {
	now := r.i.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.confirmed {
		return
	}
	if contacts, _, err := res.Contacts(); err == nil && len(contacts) == 1 {
		d.legs[1].aim(contacts[0].URI)
	}
	d.deadline = now.Add(r.i.bounds.early)
	if res.Status >= 200 {
		d.confirmed, d.awaitsACK, d.deadline = true, true, now.Add(r.i.bounds.call)
	}
}

// beyondUs returns the Record-Route values above our own topmost one.
func beyondUs(routes []string, ours string) []string {
	for n, route := range routes {
		if route == ours {
			return routes[:n]
		}
	}
	return nil
}

// dialog writes the dialog that a response with this tag makes.
func (a *attempt) dialog(r *relay, tag string, beyond []string) *dialog {
	now := r.i.now()
	d := &dialog{
		callID: strings.Clone(r.q.CallID()), caller: strings.Clone(r.q.fromTag), callee: strings.Clone(tag),
		call: a.call, urgent: a.urgent, deadline: now.Add(r.i.bounds.early), opened: spot(r.q.uri),
	}
	// Where a Contact is missing, the address that a side spoke from, and the
	// Request-URI that reached it, have to do.
	caller := message.URI{Scheme: "sip", User: r.q.fromAddr.URI.User, Host: r.q.from.remote.Addr().String(), Port: r.q.from.remote.Port()}
	d.legs[0] = leg{who: r.q.who, flow: r.q.from, routes: keptAll(a.theirs), target: kept(caller)}
	if contacts, _, err := r.q.Contacts(); err == nil && len(contacts) == 1 {
		d.legs[0].target = kept(contacts[0].URI)
	}
	d.legs[1] = leg{who: partyOf(r.q.sip, r.to.remote), flow: r.to, routes: reversed(keptAll(beyond)), target: r.sentTo()}
	d.legs[0].previous, d.legs[1].previous = d.legs[0].target, d.legs[1].target
	return d
}

func reversed(list []string) []string {
	out := make([]string, 0, len(list))
	for n := len(list) - 1; n >= 0; n-- {
		out = append(out, list[n])
	}
	return out
}

// abandonOthers gives the other forks of an answered INVITE a last while, in
// which their own 2xx may still come (RFC 3261 section 13.2.2.4).
func (a *attempt) abandonOthers(r *relay, won *dialog) {
	end := r.i.now().Add(r.i.bounds.cancelled)
	for _, d := range a.call.forks() {
		d.mu.Lock()
		if d != won && !d.confirmed && d.deadline.After(end) {
			d.deadline = end
		}
		d.mu.Unlock()
	}
}

// ended implements errand.
func (a *attempt) ended(r *relay, status int) {
	if status < 300 {
		if len(a.call.forks()) == 0 { // no dialog could be kept: nothing else would end it
			r.i.calls.end(a.call, status, appliance.ReasonOverload, r.i.now())
		}
		return
	}
	reason := appliance.ReasonNoRules
	if r.unreached() {
		reason = appliance.ReasonNoTrunk
		r.i.tallies.count(reason)
	}
	now := r.i.now()
	r.i.calls.end(a.call, status, reason, now)
	for _, d := range a.call.forks() {
		r.i.drop(d, now)
	}
}
