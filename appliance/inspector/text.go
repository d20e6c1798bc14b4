package inspector

import (
	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// text handles a MESSAGE outside a dialog: a trunk bills one to a number like a
// call, so that it is judged like one.
func (i *Inspector) text(q *request) {
	direction := appliance.Outbound
	if q.who.side == outside {
		direction = appliance.Inbound
	}
	said := i.judge(q, *q.uri, rules.UseMessage, direction)
	urgent := exempt(q, said)
	if i.screened(q, urgent) || i.turnedAway(q, urgent) {
		return
	}
	if !urgent {
		if no, bad := extensionRefusal(q); bad {
			i.refuse(q, no)
			return
		}
		if no, bad := bodyRefusal(q); bad {
			i.refuse(q, no)
			return
		}
	}
	tx, err := i.txs.serve(q.key(q.Method), q.Method, q.back, urgent)
	if err != nil {
		i.overloaded(q)
		return
	}
	record := recordOf(q, *q.uri, rules.UseMessage, direction, said)
	said = i.behave(q, &record, said)
	i.tallies.count(said.Reason)
	if said.Verdict != appliance.Allow {
		i.turnAway(q, tx, record)
		return
	}
	ways, no := i.ways(q, said)
	if no.status != 0 {
		i.refuseCall(q, tx, record, no)
		return
	}
	write := func(w way, to flow, branch string) *message.Message {
		out := outgoingRequest(q, w.uri, to, branch, nil, nil)
		fit(out, urgent)
		return out
	}
	i.sendAlong(q, tx, ways, write, urgent, &delivery{record})
}

// delivery is the errand of a MESSAGE.
type delivery struct{ record appliance.Call }

// answered implements errand.
func (t *delivery) answered(r *relay, res, out *message.Message) {
	if res.Status/100 == 3 {
		r.i.redirect(r.q, out)
	}
}

// ended implements errand.
func (t *delivery) ended(r *relay, status int) {
	now := r.i.now()
	t.record.Status, t.record.End = status, now
	if r.unreached() {
		r.i.tallies.count(appliance.ReasonNoTrunk)
		t.record.Verdict, t.record.Reason = appliance.Block, appliance.ReasonNoTrunk
	}
	r.i.calls.alone(r.q.from.remote, t.record, now)
}
