package inspector

import (
	"net/url"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// transfer judges the Refer-To of a REFER and returns it written anew. It
// returns "" where it has refused the request: whom the other side would call
// is asked of the judge like any call.
func (i *Inspector) transfer(q *request, d *dialog, to int) string {
	target, err := q.ReferTo()
	if err != nil {
		i.refuse(q, refusal{status: 400, phrase: "Bad Refer-To", reason: appliance.ReasonMalformedMessage, detail: "Refer-To"})
		return ""
	}
	forbidden := refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonUnknownMethod, detail: "Refer-To method"}
	if method, ok := target.URI.Params.Get("method"); ok && method != "INVITE" {
		i.refuse(q, forbidden)
		return ""
	}
	replaces, replaced, ok := i.replacing(target.URI)
	if !ok {
		i.refuse(q, noDialog)
		return ""
	}
	if replaced != nil && !replaced.mayTake(q, "Refer-To") {
		i.refuse(q, noDialog)
		return ""
	}
	written, other := "", d.legs[to].who
	if replaced != nil && replaced.aims(target.URI) {
		written = i.join(q, target.URI, replaces, other)
	} else if uri, ok := i.judgeTransfer(q, target.URI, other); ok {
		written = referTo(uri, replaces)
	}
	if written != "" && replaced != nil {
		replaced.bequeath(d.address(to))
	}
	return written
}

// join lets a transfer name somebody who is in the replaced call by the Contact
// that he gave. Where that could be dialled it is judged all the same: a trunk
// may look at the user part only.
func (i *Inspector) join(q *request, uri message.URI, replaces string, other party) string {
	if dialable(uri) && len(q.sip.Trunks) > 0 {
		dialled := message.URI{Scheme: "sip", User: uri.User, Host: q.sip.Trunks[0].Domain}
		if q.office() && other.pbx {
			dialled.Host = q.sip.PBX.Address.Addr().String()
		}
		if _, ok := i.judgeTransfer(q, dialled, other); !ok {
			return ""
		}
	}
	return referTo(sparse(uri).String(), replaces)
}

// judgeTransfer asks the judge whether the other side of a dialog may be told to call
// uri, and records the answer.
func (i *Inspector) judgeTransfer(q *request, uri message.URI, other party) (string, bool) {
	bare := uri
	bare.Headers = ""
	bare.Params = bare.Params.Del("method")
	said := i.judge(q, bare, rules.UseTransfer, appliance.Outbound)
	written, ok := referred(q, said, other)
	if said.Verdict == appliance.Allow && !ok {
		said.Verdict, said.Reason = appliance.Block, appliance.ReasonUnknownNumber
	}
	record := recordOf(q, bare, rules.UseTransfer, appliance.Outbound, said)
	said = i.behave(q, &record, said)
	i.tallies.count(said.Reason)
	if said.Verdict != appliance.Allow {
		status, phrase, headers := refusalOf(q.sip)
		i.calls.refused(q, record, status, false)
		i.reply(q, nil, status, phrase, headers)
		return "", false
	}
	record.End = q.at
	i.calls.alone(q.from.remote, record, q.at)
	return written, true
}

// referred writes whom the other side is to call. What is the PBX's own passes
// without a look at any list: a trunk is never told to call that, since it would read
// it as a number of its own.
func referred(q *request, said rules.Decision, other party) (string, bool) {
	if q.office() && other.pbx {
		at := q.sip.PBX.Address
		return atOffice(said, at.Addr().String(), at.Port())
	}
	trunk := trunkNamed(q.sip, said.Trunk)
	if trunk == nil || said.Reason == appliance.ReasonInternal && q.sip.PBX.Address.IsValid() && other.side == outside {
		return "", false
	}
	return callee(said, trunk), true
}

// replacing reads the Replaces that a Refer-To's URI may carry as a header. The
// boolean is false where it names no live call. Every other header in the URI is
// left out: it would be put into an INVITE that nobody has judged.
func (i *Inspector) replacing(uri message.URI) (escaped string, replaced *dialog, ok bool) {
	for one := range strings.SplitSeq(uri.Headers, "&") {
		name, value, _ := strings.Cut(one, "=")
		if !strings.EqualFold(name, "Replaces") {
			continue
		}
		text, err := url.PathUnescape(value)
		if err != nil || escaped != "" {
			return "", nil, false
		}
		replaces, err := message.ParseReplaces(text)
		if err != nil {
			return "", nil, false
		}
		if replaced = i.dialogs.live(replaces); replaced == nil {
			return "", nil, false
		}
		escaped = value
	}
	return escaped, replaced, true
}

// aims reports whether uri is the target of one of the dialog's legs: a call to
// somebody who is in that call already.
func (d *dialog) aims(uri message.URI) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return sameTarget(uri, d.legs[0].target) || sameTarget(uri, d.legs[1].target)
}

// sparse is a URI without parameters and headers.
func sparse(uri message.URI) message.URI {
	return message.URI{Scheme: uri.Scheme, User: uri.User, Host: uri.Host, Port: uri.Port}
}

func referTo(uri, replaces string) string {
	if replaces != "" {
		uri += "?Replaces=" + replaces
	}
	return "<" + uri + ">"
}

// redirect judges every Contact of a 3xx and leaves out those that may not be
// called. Where none is left the response becomes a 480: neither a phone nor a
// trunk may send the caller on to where it may not call. 305 names a proxy, and
// there is no other proxy than this one.
func (i *Inspector) redirect(q *request, out *message.Message) {
	contacts, _, err := out.Contacts()
	out.Del("Contact")
	kept := 0
	for _, contact := range contacts {
		if err != nil || out.Status == 305 {
			break
		}
		bare := contact.URI
		bare.Headers = ""
		said := i.judge(q, bare, rules.UseRedirect, appliance.Outbound)
		record := recordOf(q, bare, rules.UseRedirect, appliance.Outbound, said)
		said = i.behave(q, &record, said)
		i.tallies.count(said.Reason)
		record.End, record.Status = i.now(), out.Status
		written, ok := instead(q, said)
		if said.Verdict == appliance.Allow && ok {
			kept++
			out.Add("Contact", "<"+written+">"+string(keepParams(contact.Params)))
		} else {
			record.Status = 480
		}
		i.calls.alone(q.from.remote, record, i.now())
	}
	if kept == 0 {
		out.Status, out.Phrase = 480, "Temporarily Unavailable"
	}
}

// instead writes whom the caller is to call instead.
func instead(q *request, said rules.Decision) (string, bool) {
	if q.office() {
		return atOffice(said, q.fromAddr.URI.Host, q.fromAddr.URI.Port)
	}
	trunk := trunkNamed(q.sip, said.Trunk)
	if trunk == nil {
		return "", false
	}
	return callee(said, trunk), true
}
