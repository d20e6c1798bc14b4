package inspector

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

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
	said := i.judge(q, *q.uri, rules.UseCall, direction)
	urgent := exempt(q, said)
	if i.screened(q, urgent) || i.turnedAway(q, urgent) {
		return
	}
	// Whoever calls a number that is blocked hears so, and it is recorded, whatever else
	// is wrong with his message: that is looked at where the call may pass.
	blocked := said.Verdict != appliance.Allow && !i.outsized(q.Message)
	if !urgent && !blocked {
		if no, bad := i.unfit(q); bad {
			i.refuse(q, no)
			return
		}
	}
	if !i.txs.room(urgent) || !i.dialogs.room(urgent) || !urgent && i.crowds(q) {
		i.overloaded(q)
		return
	}
	tx, err := i.txs.serve(q.key(q.Method), q.Method, q.back, urgent)
	if err != nil {
		i.overloaded(q)
		return
	}
	record := recordOf(q, *q.uri, rules.UseCall, direction, said)
	what := i.class(q, &record, said.Dialled)
	i.calls.place(q, &record)
	said = i.behave(q, &record, said)
	i.tallies.count(said.Reason)
	if said.Verdict != appliance.Allow {
		i.turnAway(q, tx, record)
		return
	}
	if blocked { // and released
		if no, bad := i.unfit(q); bad {
			i.refuseCall(q, tx, record, no)
			return
		}
	}
	if direction == appliance.Outbound {
		i.alarm(q, said)
	}
	i.connect(q, tx, record, said, urgent, what)
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
	if _, ok := i.bridged(q); !ok {
		return noDialog, true
	}
	if no, bad := tooBrisk(q); bad {
		return no, true
	}
	if exhausted(q) {
		return badCSeq, true
	}
	if no, bad := undescribed(q); bad {
		return no, true
	}
	contact, ok := q.Contact()
	if !ok {
		return refusal{status: 400, phrase: "Missing Contact", reason: appliance.ReasonMalformedMessage}, true
	}
	if !i.mayTarget(q.sip, q.who, contact.URI) && !q.fromRemote(contact.URI) {
		return refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost, detail: "Contact"}, true
	}
	return refusal{}, false
}

// mayTarget reports whether a neighbour may name uri as the place where it wants
// to be reached. A neighbour on the LAN names no address that a trunk could reach
// without us.
func (i *Inspector) mayTarget(sip *rules.SIP, who party, uri message.URI) bool {
	if uri.Scheme != "sip" && uri.Scheme != "sips" {
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
	i.calls.refused(q, record, status, false)
	i.reply(q, tx, status, phrase, headers)
}

// refuseCall refuses a request that was let pass, for another reason.
func (i *Inspector) refuseCall(q *request, tx *serverTx, record appliance.Call, no refusal) {
	i.tallies.count(no.reason)
	record.Verdict, record.Reason = appliance.Block, no.reason
	i.calls.refused(q, record, no.status, true)
	i.reply(q, tx, no.status, no.phrase, no.headers)
}

// connect sends an allowed INVITE on.
func (i *Inspector) connect(q *request, tx *serverTx, record appliance.Call, said rules.Decision, urgent bool, what *try) {
	ways, no := i.ways(q, said)
	if no.status != 0 {
		i.refuseCall(q, tx, record, no)
		return
	}
	// Whoever is refused hears so at once: only a call that is let on takes longer than
	// 200 ms (RFC 3261 section 17.2.1).
	_ = tx.respond(100, sealed(responseTo(q, 100, "Trying", "")))
	a := &attempt{call: i.calls.begin(q, record, urgent), theirs: q.All("Record-Route"), urgent: urgent, longest: i.longest(said, urgent)}
	a.try, a.call.dialled = what, strings.Clone(said.Dialled)
	if q.who.side == outside {
		i.past.arrived(q, ways[0].known.remote.Addr(), a.call)
	}
	if !urgent {
		named, _ := i.bridged(q) // unfit has asked before
		a.inherited = inherited(named)
	}
	write := func(w way, to flow, branch string) *message.Message {
		if w.trunk != nil {
			a.call.carriedBy(w.trunk.Name)
		}
		a.ours = securedRoutes(w.uri, recordRoutes(q.from, to))
		out := outgoingRequest(q, w.uri, to, branch, nil, slices.Concat(a.ours, a.theirs))
		fit(out, urgent)
		if !urgent {
			a.timing = timed(out)
		}
		a.offered(i, q.sip, q, out, to)
		return out
	}
	i.sendAlong(q, tx, ways, write, urgent, a)
}

// attempt is the errand of an INVITE that opens a dialog.
type attempt struct {
	call   *call
	ours   []string // Record-Route values that we added, topmost first
	theirs []string // those that the INVITE came with
	urgent bool

	mu   sync.Mutex
	talk talk // what the INVITE offers; mu and the relay's turn are held where it changes, one of them where it is read

	longest   time.Duration // of the call, once it is answered
	inherited time.Time     // when it ends at the latest, from what it is bridged to; may be zero
	timing    timing
	try       *try
}

// longest is how long a call may last: an hour where only an exception lets it go
// to a dear destination abroad, and longer than any other where it is for help.
func (i *Inspector) longest(said rules.Decision, urgent bool) time.Duration {
	switch {
	case urgent:
		return i.bounds.help
	case said.Costly():
		return i.bounds.costly
	}
	return i.bounds.call
}

// early is how long an early dialog lives without news. That of a call for help
// lives as long as its INVITE may wait: gone before, it would have PRACK and UPDATE
// refused.
func (a *attempt) early(i *Inspector) time.Duration {
	if a.urgent {
		return i.bounds.help
	}
	return i.bounds.early
}

// answered implements errand.
func (a *attempt) answered(r *relay, res, out *message.Message) {
	switch {
	case res.Status < 300:
		a.learn(r, res, out)
		if out.Status/100 == 2 && res.Status >= 200 {
			a.won(r, res.Status)
		}
	case res.Status < 400:
		r.i.redirect(r.q, out)
	}
}

// won notes the first answer.
func (a *attempt) won(r *relay, status int) {
	r.i.calls.answered(a.call, status, r.i.now())
	r.i.past.answered(a.try)
	if r.q.who.side != outside {
		return
	}
	number := *r.q.uri
	if strings.HasPrefix(number.User, aliasPrefix) {
		number = r.q.toAddr.URI
	}
	r.i.past.owns(number)
}

// learn opens or confirms the dialog of one response. The Record-Route that goes
// back is written anew: what the far side added, ours, and what the INVITE came
// with, so that a far side that forgets ours can't lead the call around the box.
func (a *attempt) learn(r *relay, res, out *message.Message) {
	to, err := res.To()
	if err != nil || to.Tag() == "" {
		a.undo(r, res, out)
		return
	}
	beyond := beyondUs(res.All("Record-Route"), append(a.ours[:len(a.ours):len(a.ours)], a.theirs...))
	for _, route := range append(append(append([]string(nil), beyond...), facing(r.q.from, r.to, a.ours)...), a.theirs...) {
		out.Add("Record-Route", route)
	}
	var d *dialog
	if !r.i.outsized(res) {
		d = a.enter(r, to.Tag(), beyond, res)
	}
	if d == nil {
		r.i.tallies.count(appliance.ReasonOverload)
		a.undo(r, res, out)
		return
	}
	a.confirm(r, d, res, out)
	r.i.hear(d, 1, out)
	if res.Status >= 200 {
		a.abandonOthers(r, d)
	}
}

// undo turns an answer down whose dialog can't be kept, because it has no tag of
// its own or the table is full: nobody could end that call from here. The far side
// is acknowledged and hung up on.
func (a *attempt) undo(r *relay, res, out *message.Message) {
	if res.Status < 200 {
		return
	}
	*out = *responseTo(r.q, 502, "Bad Gateway", stableID(5, r.in.key))
	r.i.txs.spawn(func() { r.hangUp(res) })
}

// enter returns the dialog of one response. A fork beyond the bound gets none
// until it answers.
func (a *attempt) enter(r *relay, tag string, beyond []string, res *message.Message) *dialog {
	for pass := range passesMax {
		if d, _ := r.i.dialogs.crossing(r.q.CallID(), r.q.fromTag, tag, pass); d != nil && d.call == a.call {
			return d
		}
	}
	if res.Status < 200 && len(a.call.forks()) >= r.i.bounds.forks {
		return nil
	}
	d := r.i.dialogs.enter(a.dialog(r, tag, res.Get("To"), beyond), a.urgent)
	if d == nil || d.call != a.call {
		return nil // the tags are those of another call: it keeps its dialog
	}
	r.i.calls.join(a.call, d)
	d.mu.Lock()
	r.i.keep(d) // what the INVITE offered
	d.mu.Unlock()
	if k := a.call.cutBy(); k != nil {
		r.i.markDialog(d, k)
	}
	return d
}

// confirm brings a dialog up to date with a response. One that is confirmed
// already is left alone: a repeated 2xx may be older than a target refresh.
func (a *attempt) confirm(r *relay, d *dialog, res, out *message.Message) {
	now := r.i.now()
	if res.Status >= 200 && !a.urgent {
		d.refreshed(a.timing, out, now)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.confirmed {
		return
	}
	if contact, ok := res.Contact(); ok {
		d.legs[1].aim(contact.URI)
	}
	d.deadline = now.Add(a.early(r.i))
	if res.Status >= 200 {
		d.confirmed, d.awaitsACK = true, true
		d.ends = now.Add(a.longest)
		if !a.inherited.IsZero() && a.inherited.Before(d.ends) {
			d.ends = a.inherited
		}
		d.deadline = d.ends
	}
}

// beyondUs returns the Record-Route values of a response that stand above those
// which the request was sent with. A call that crosses the box twice has ours
// twice: they are counted from the end. A far side that has changed what it was
// sent is read up to our topmost one.
func beyondUs(routes, sent []string) []string {
	if len(sent) == 0 {
		return nil
	}
	if n := len(routes) - len(sent); n >= 0 && routes[n] == sent[0] {
		return routes[:n]
	}
	return routes[:max(slices.Index(routes, sent[0]), 0)]
}

// dialog writes the dialog that a response with this tag makes.
func (a *attempt) dialog(r *relay, tag, to string, beyond []string) *dialog {
	now := r.i.now()
	d := &dialog{
		callID: strings.Clone(r.q.CallID()), caller: strings.Clone(r.q.fromTag), callee: strings.Clone(tag),
		call: a.call, urgent: a.urgent, deadline: now.Add(a.early(r.i)), opened: spot(*r.q.uri),
	}
	// Where a Contact is missing, the address that a side spoke from, and the
	// Request-URI that reached it, have to do.
	caller := message.URI{Scheme: "sip", User: r.q.fromAddr.URI.User, Host: r.q.from.remote.Addr().String(), Port: r.q.from.remote.Port()}
	d.legs[0] = leg{who: r.q.who, flow: r.q.from, routes: keptAll(a.theirs), target: kept(caller)}
	if contact, ok := r.q.Contact(); ok {
		d.legs[0].target = kept(contact.URI)
	}
	d.talk = talk{sides: a.talk.sides, urgent: a.urgent, said: a.talk.said}
	d.legs[1] = leg{who: partyOf(r.q.sip, r.to.remote), flow: r.to, routes: reversed(keptAll(beyond)), target: r.sentTo()}
	d.legs[0].previous, d.legs[1].previous = d.legs[0].target, d.legs[1].target
	d.legs[0].cseq = r.q.cseq.Number
	d.parties = [2]string{strings.Clone(r.q.Get("From")), strings.Clone(to)}
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
	defer a.concluded(r.i)
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
