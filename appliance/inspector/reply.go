package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
)

// field is one header of a response that is made here.
type field struct{ name, value string }

// refusal is a response that says no, and why it is counted.
type refusal struct {
	status  int
	phrase  string
	reason  appliance.Reason
	headers []field
	detail  string // what stood in the way, for the event; never a secret
}

// reply answers a request here, within its transaction where tx is one, else in
// one of its own, or without where the table is full.
func (i *Inspector) reply(q *request, tx *serverTx, status int, phrase string, headers []field) {
	res := responseTo(q, status, phrase, stableID(5, q.key(q.Method), q.CallID()))
	for _, one := range headers {
		res.Add(one.name, one.value)
	}
	wire := sealed(res)
	if tx == nil {
		var err error
		if tx, err = i.txs.serve(q.key(q.Method), q.Method, q.back, false); err != nil {
			_ = q.back.send(wire, nil)
			return
		}
	}
	_ = tx.respond(status, wire)
}

// refuse says no to a request that no call record stands for.
func (i *Inspector) refuse(q *request, no refusal) {
	i.tallies.count(no.reason)
	if no.reason == appliance.ReasonMalformedMessage {
		if q.who.side != inside {
			return // whoever sends such things learns nothing of how they are read
		}
		no.headers = append(no.headers, warning(no.phrase))
	}
	text := q.Method + " refused: " + no.reason.Sentence()
	if no.detail != "" {
		text += " (" + no.detail + ")"
	}
	i.report(appliance.Event{
		Time: q.at, Kind: appliance.EventRefusal, Reason: no.reason,
		Source: q.from.remote, Subject: q.fromAddr.URI.User, Message: text,
	})
	i.reply(q, nil, no.status, no.phrase, no.headers)
}

// warning says to a person at the far end what was wrong (RFC 3261 section 20.43,
// 399: miscellaneous). It must not quote what came.
func warning(text string) field {
	return field{"Warning", `399 ringfence "` + strings.ReplaceAll(text, `"`, "'") + `"`}
}

// overloaded turns a request away because a table is full. A neighbour on the
// LAN is told when to come back.
func (i *Inspector) overloaded(q *request) {
	i.tallies.count(appliance.ReasonOverload)
	if q.who.side != inside || q.who.remote {
		return
	}
	res := responseTo(q, 503, "Service Unavailable", stableID(5, q.key(q.Method), q.CallID()))
	res.Add("Retry-After", "10")
	_ = q.back.send(sealed(res), nil)
}

// malformed counts bytes that are no message. A neighbour on the LAN hears which
// header is wrong, as far as the bytes say whom to answer.
func (i *Inspector) malformed(from flow, who party, data []byte, cause error) {
	i.tallies.count(appliance.ReasonMalformedMessage)
	if who.side != inside || who.remote {
		return
	}
	i.report(appliance.Event{
		Time: i.now(), Kind: appliance.EventRefusal, Reason: appliance.ReasonMalformedMessage,
		Source: from.remote, Message: "message refused: " + cause.Error(),
	})
	if res, ok := rejection(data, cause); ok {
		_ = from.send(res, nil)
	}
}

// options answers a ping. The question whether a number exists is never passed
// on.
func (i *Inspector) options(q *request) {
	if no, bad := extensionRefusal(q); bad {
		i.refuse(q, no)
		return
	}
	if q.who.side == inside && dialable(*q.uri) {
		i.refuse(q, refusal{status: 404, phrase: "Not Found", reason: appliance.ReasonUnknownUser})
		return
	}
	i.reply(q, nil, 200, "OK", []field{{"Allow", methods}, {"Accept", "application/sdp"}, {"Supported", "100rel, timer, replaces"}})
}
