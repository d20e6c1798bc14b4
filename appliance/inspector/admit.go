package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// request takes one request through what holds for every method: repeats, the
// two methods that belong to another transaction, hops and loops. Then it goes
// to its dialog, or to its method.
func (i *Inspector) request(q *request) {
	if !i.unroute(q) {
		i.tallies.count(appliance.ReasonMalformedMessage)
		return
	}
	if q.Method == "ACK" {
		i.ack(q)
		return
	}
	if tx := i.txs.server(q.key(q.Method)); tx != nil {
		tx.again()
		return
	}
	switch {
	case i.silenced(q):
	case q.Method == "CANCEL":
		i.cancel(q)
	case !addressable(*q.uri):
		i.refuse(q, refusal{status: 416, phrase: "Unsupported URI Scheme", reason: appliance.ReasonForeignHost, detail: "Request-URI"})
	case q.hops == 0 && q.Method == "OPTIONS" && q.toTag == "":
		i.options(q) // it ends here, as a traceroute does (RFC 3261 section 16.3)
	case q.hops == 0:
		i.refuse(q, refusal{status: 483, phrase: "Too Many Hops", reason: appliance.ReasonHops})
	case i.branches.looped(q):
		i.refuse(q, refusal{status: 482, phrase: "Loop Detected", reason: appliance.ReasonLoop})
	case (q.toTag != "" || q.Method != "INVITE" && q.Method != "MESSAGE") && (i.turnedAway(q, false) || i.screened(q, false)):
		// Whether one of those two is a call for help is asked later.
	case q.Method != "INVITE" && !settles(q.Method) && i.crowds(q):
		i.overloaded(q)
	case q.toTag != "":
		i.within(q)
	default:
		i.without(q)
	}
}

// addressable reports whether a Request-URI is of a scheme that can be routed (RFC
// 3261 section 16.3 step 2). Of a URN the judge says whether it is one for help.
func addressable(uri message.URI) bool {
	switch uri.Scheme {
	case "sip", "sips", "tel", "urn":
		return true
	}
	return false
}

// methods lists what is understood, for Allow.
const methods = "INVITE, ACK, CANCEL, BYE, REGISTER, OPTIONS, SUBSCRIBE, NOTIFY, REFER, INFO, MESSAGE, PRACK, UPDATE"

// without handles a request outside any dialog.
func (i *Inspector) without(q *request) {
	if i.strayed(q) {
		return
	}
	i.habits.note(q)
	switch q.Method {
	case "INVITE":
		i.invite(q)
	case "REGISTER":
		i.register(q)
	case "OPTIONS":
		i.options(q)
	case "MESSAGE":
		i.text(q)
	case "SUBSCRIBE":
		i.subscribe(q)
	case "NOTIFY":
		i.notify(q)
	case "BYE", "PRACK", "UPDATE", "INFO":
		i.refuse(q, noDialog)
	case "REFER":
		// A REFER outside a dialog asks for a call that nobody is in.
		i.refuse(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonUnknownDialog})
	case "PUBLISH":
		i.refuse(q, refusal{status: 405, phrase: "Method Not Allowed", reason: appliance.ReasonUnknownMethod,
			headers: []field{{"Allow", methods}}})
	default:
		i.refuse(q, unknownMethod)
	}
}

var (
	tooLarge      = refusal{status: 513, phrase: "Message Too Large", reason: appliance.ReasonOverload}
	noDialog      = refusal{status: 481, phrase: "Call/Transaction Does Not Exist", reason: appliance.ReasonUnknownDialog}
	unknownMethod = refusal{status: 501, phrase: "Not Implemented", reason: appliance.ReasonUnknownMethod,
		headers: []field{{"Allow", methods}}}
)

// cseqRoom is how many numbers must be left behind that of a request (RFC 3261
// section 8.1.1.5): with none left, no BYE of the box could end the call.
const cseqRoom = 1 << 16

var badCSeq = refusal{status: 400, phrase: "Bad CSeq", reason: appliance.ReasonMalformedMessage}

func exhausted(q *request) bool { return q.cseq.Number > 1<<31-1-cseqRoom }

// extensions are the option tags that Require may name: those that need nothing
// of a proxy, or that this one does.
var extensions = map[string]bool{
	"100rel": true, "timer": true, "replaces": true, "precondition": true,
	"path": true, "outbound": true, "gruu": true, "norefersub": true,
	"histinfo": true, "from-change": true, "early-session": true, "eventlist": true,
	"geolocation-sip": true, "geolocation-http": true, "tdialog": true,
	"join": true, "199": true,
}

// extensionRefusal returns a 420 for option tags that are not known here: an
// unknown one may hold another callee, such as recipient-list-invite (RFC 5366).
// The boolean is false where there is nothing to refuse.
func extensionRefusal(q *request) (refusal, bool) {
	var unknown string
	for _, name := range [...]string{"Proxy-Require", "Require"} {
		tags, err := q.Tokens(name)
		if err != nil {
			return refusal{status: 400, phrase: "Bad " + name, reason: appliance.ReasonMalformedMessage}, true
		}
		for _, tag := range tags {
			if name == "Require" && extensions[strings.ToLower(tag)] {
				continue
			}
			if unknown != "" {
				unknown += ", "
			}
			unknown += tag
		}
	}
	if unknown == "" {
		return refusal{}, false
	}
	return refusal{status: 420, phrase: "Bad Extension", reason: appliance.ReasonExtension,
		headers: []field{{"Unsupported", unknown}}}, true
}
