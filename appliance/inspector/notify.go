package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// notify handles a NOTIFY outside any subscription. A provider tells registered
// phones of waiting messages that way (RFC 3842, without the SUBSCRIBE), and
// phones use an event of their own making to keep a way through NAT open. Any
// other event is refused: a phone would restart, or fetch its settings anew, at a
// trunk's word.
func (i *Inspector) notify(q *request) {
	event, _, _ := strings.Cut(q.Get("Event"), ";")
	switch {
	case strings.EqualFold(event, "keep-alive"):
		i.reply(q, nil, 200, "OK", nil)
	case q.who.side == outside && strings.EqualFold(event, "message-summary"):
		i.lamp(q)
	default:
		i.refuse(q, refusal{status: 489, phrase: "Bad Event", reason: appliance.ReasonUnknownDialog,
			headers: []field{{"Allow-Events", "message-summary"}}})
	}
}

// lamp passes the count of waiting messages on to the phone or PBX.
func (i *Inspector) lamp(q *request) {
	if no, bad := extensionRefusal(q); bad {
		i.refuse(q, no)
		return
	}
	if no, bad := bodyRefusal(q); bad {
		i.refuse(q, no)
		return
	}
	next, no := i.inward(q)
	if no.status != 0 {
		i.refuse(q, no)
		return
	}
	tx, err := i.txs.serve(q.key(q.Method), q.Method, q.back, false)
	if err != nil {
		i.overloaded(q)
		return
	}
	branch := i.branches.fresh(q)
	out := outgoingRequest(q, next.uri, next.flow, branch, nil, nil)
	fit(out, false)
	i.send(q, tx, out, next.flow, branch, false, plainErrand{})
}

// plainErrand is the errand of a request after which nothing has to be kept.
type plainErrand struct{}

// answered implements errand.
func (plainErrand) answered(r *relay, res, out *message.Message) {
	if res.Status/100 == 3 {
		r.i.redirect(r.q, out)
	}
}

// ended implements errand.
func (plainErrand) ended(*relay, int) {}
