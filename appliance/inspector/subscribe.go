package inspector

import (
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// subscribeExpiry bounds a subscription without news of it (RFC 6665 names no
// default; event packages use an hour), and the longest that is believed.
const (
	subscribeExpiry    = time.Hour
	subscribeExpiryMax = 24 * time.Hour
)

// subscribe passes a SUBSCRIBE from the LAN to a trunk: for a name at its
// domain, or for a number that may be called. That of a telephone on the WAN goes to
// the PBX where there is one.
func (i *Inspector) subscribe(q *request) {
	if q.who.side != inside {
		i.refuse(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonUnknownMethod})
		return
	}
	if no, bad := i.unfit(q); bad {
		i.refuse(q, no)
		return
	}
	next, no := i.subscription(q)
	if no.status != 0 {
		i.refuse(q, no)
		return
	}
	if !i.dialogs.room(false) {
		i.overloaded(q)
		return
	}
	tx, err := i.txs.serve(q.key(q.Method), q.Method, q.back, false)
	if err != nil {
		i.overloaded(q)
		return
	}
	branch := i.branches.fresh(q)
	ours, theirs := recordRoutes(q.from, next.flow), q.All("Record-Route")
	out := outgoingRequest(q, next.uri, next.flow, branch, nil, append(ours, theirs...))
	fit(out, false)
	what := &watch{ours: ours, theirs: theirs}
	what.open(i, q, next.flow)
	i.send(q, tx, out, next.flow, branch, false, what)
}

// subscription finds the way of a SUBSCRIBE.
func (i *Inspector) subscription(q *request) (destination, refusal) {
	if dialable(*q.uri) || q.office() {
		said := i.judge(q, *q.uri, rules.UseCall, appliance.Outbound)
		if said.Verdict != appliance.Allow {
			status, phrase, headers := refusalOf(q.sip)
			return destination{}, refusal{status: status, phrase: phrase, reason: said.Reason, headers: headers}
		}
		return i.destination(q, said)
	}
	uri := i.normal(q, *q.uri)
	for n := range q.sip.Trunks {
		trunk := &q.sip.Trunks[n]
		if trunk.Domain != uri.Host || uri.Scheme != "sip" {
			continue
		}
		user, plain := plainUser(uri)
		if uri.User != "" && !plain {
			return destination{}, noUser
		}
		to, err := i.towardTrunk(q, trunk)
		if err != nil {
			return destination{}, noTrunk
		}
		return destination{message.URI{Scheme: "sip", User: user, Host: trunk.Domain}.String(), to}, refusal{}
	}
	return destination{}, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost, detail: "Request-URI"}
}

// watch is the errand of a SUBSCRIBE that opens a subscription.
type watch struct {
	ours, theirs []string
	half         *dialog // waits for the first NOTIFY, which may overtake the 2xx
}

func (w *watch) open(i *Inspector, q *request, to flow) {
	w.half = &dialog{callID: strings.Clone(q.CallID()), caller: strings.Clone(q.fromTag), opened: spot(*q.uri),
		deadline: q.at.Add(i.bounds.cancelled)}
	w.half.legs[0] = leg{who: q.who, flow: q.from, routes: keptAll(w.theirs)}
	if contact, ok := q.Contact(); ok {
		w.half.legs[0].aim(contact.URI)
	}
	w.half.legs[1] = leg{who: partyOf(q.sip, to.remote), flow: to}
	i.dialogs.enter(w.half, false)
}

// answered implements errand.
func (w *watch) answered(r *relay, res, out *message.Message) {
	if res.Status/100 == 3 {
		r.i.redirect(r.q, out)
	}
	to, err := res.To()
	if res.Status/100 != 2 || err != nil || to.Tag() == "" {
		return
	}
	beyond := beyondUs(res.All("Record-Route"), append(w.ours[:len(w.ours):len(w.ours)], w.theirs...))
	for _, route := range append(append(append([]string(nil), beyond...), facing(r.q.from, r.to, w.ours)...), w.theirs...) {
		out.Add("Record-Route", route)
	}
	d := r.i.dialogs.enter(w.half.fork(to.Tag(), reversed(beyond)), false)
	if d == nil || d.call != nil {
		return
	}
	if contact, ok := res.Contact(); ok {
		d.mu.Lock()
		d.legs[1].aim(contact.URI)
		d.mu.Unlock()
	}
	d.until(subscribedUntil(r, res))
}

// ended implements errand.
func (w *watch) ended(r *relay, status int) {
	if status/100 != 2 {
		r.i.dialogs.remove(w.half)
	}
}

// fork writes the dialog of one notifier.
func (d *dialog) fork(tag string, routes []string) *dialog {
	d.mu.Lock()
	defer d.mu.Unlock()
	full := &dialog{callID: d.callID, caller: d.caller, callee: strings.Clone(tag), opened: d.opened,
		confirmed: true, legs: d.legs, deadline: d.deadline}
	full.legs[1].routes = keptAll(routes)
	return full
}

// subscribed finds the subscription that the first NOTIFY of a notifier belongs
// to, and opens its dialog.
func (i *Inspector) subscribed(q *request) (*dialog, int) {
	half, _ := i.dialogs.find(q.CallID(), q.toTag, "")
	if half == nil || half.caller != q.toTag || !half.legs[1].speaks(q.sip, q.from.remote.Addr()) {
		return nil, 0
	}
	full := half.fork(q.fromTag, q.All("Record-Route"))
	if contact, ok := q.Contact(); ok {
		full.legs[1].aim(contact.URI)
	}
	if full = i.dialogs.enter(full, false); full == nil || full.call != nil {
		return nil, 0
	}
	return full, 1
}

// until sets the deadline of a dialog.
func (d *dialog) until(end time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deadline = end
}

// subscribedUntil reads how long a subscription lives from its 2xx, else from
// what was asked for.
func subscribedUntil(r *relay, res *message.Message) time.Time {
	lifetime := subscribeExpiry
	for _, text := range []string{res.Get("Expires"), r.q.Get("Expires")} {
		if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
			lifetime = min(time.Duration(seconds)*time.Second, subscribeExpiryMax)
			break
		}
	}
	// Its last NOTIFY still has to come.
	return r.i.now().Add(lifetime + r.i.bounds.cancelled)
}

// terminated reports whether a NOTIFY is the last of its subscription.
func terminated(m *message.Message) bool {
	state, _, _ := strings.Cut(m.Get("Subscription-State"), ";")
	return strings.EqualFold(strings.TrimSpace(state), "terminated")
}
