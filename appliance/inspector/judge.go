package inspector

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// judge puts one would-be callee to the rules. A host that is the box itself, or
// a trunk's next hop, is written as the domain of the trunk that it stands for:
// a PBX that uses the box as its outbound proxy may address either.
func (i *Inspector) judge(q *request, uri message.URI, use rules.Use, direction appliance.Direction) rules.Decision {
	if said, ok := i.toRemote(q, uri, use); ok {
		return said
	}
	uri = i.normal(q, q.ofOffice(uri))
	return q.rules.Call(rules.Call{
		URI: uri.String(), Direction: direction, Use: use, From: q.fromAddr.URI.User, Trunk: i.hint(q, uri.Host),
	})
}

// normal returns uri with its host as the rules know it.
func (i *Inspector) normal(q *request, uri message.URI) message.URI {
	if len(q.sip.Trunks) == 0 {
		return uri
	}
	addr, literal := uri.Addr()
	if !literal {
		return named(q.sip, uri)
	}
	if q.who.side == inside && q.from.intercepted() && addr == q.from.local.Addr() {
		if trunk := q.meant(""); trunk != nil {
			uri.Host, uri.Port = trunk.Domain, 0
			return uri
		}
	}
	for n := range q.sip.Trunks {
		if q.sip.Trunks[n].Address.Addr() == addr || slices.ContainsFunc(q.sip.Targets[n], func(t appliance.Target) bool { return t.Address.Addr() == addr }) {
			uri.Host, uri.Port = q.sip.Trunks[n].Domain, 0
			return uri
		}
	}
	if i.ownHost(uri) {
		uri.Host, uri.Port = q.sip.Trunks[0].Domain, 0
	}
	return uri
}

// named returns uri with the domain of the trunk whose next hop its host names,
// where that is none of the domains.
func named(sip *rules.SIP, uri message.URI) message.URI {
	hop := ""
	for n := range sip.Trunks {
		if sip.Trunks[n].Domain == uri.Host {
			return uri
		}
		if hop == "" && sip.Trunks[n].Host == uri.Host && uri.Host != "" {
			hop = sip.Trunks[n].Domain
		}
	}
	if hop != "" {
		uri.Host, uri.Port = hop, 0
	}
	return uri
}

// ownHost reports whether a URI leads to one of our own listeners.
func (i *Inspector) ownHost(uri message.URI) bool {
	addr, literal := uri.Addr()
	if !literal {
		return false
	}
	return i.door.owns(netip.AddrPortFrom(addr, portOf(uri)))
}

// callee is the URI that a judged destination is sent on under: the canonical
// dialled string at the trunk's domain, and nothing else of what came in. A
// service URN of an emergency call stays what it is (RFC 5031).
func callee(said rules.Decision, trunk *settings.Trunk) string {
	if strings.HasPrefix(said.Dialled, "urn:") {
		return said.Dialled
	}
	return message.URI{Scheme: "sip", User: escapeUser(said.Dialled), Host: trunk.Domain}.String()
}

// escapeUser escapes what may not stand in a user part (RFC 3261 section 25.1):
// of the dial characters that is "#" only.
func escapeUser(user string) string { return strings.ReplaceAll(user, "#", "%23") }

// dialable reports whether a URI's user part could be a number: it holds a digit
// and nothing but dial characters once parameters are cut off.
func dialable(uri message.URI) bool {
	if uri.Scheme == "tel" {
		return true
	}
	user, _, _ := strings.Cut(uri.User, ";")
	if plain, err := url.PathUnescape(user); err == nil {
		user = plain
	}
	return strings.ContainsAny(user, "0123456789") && strings.Trim(user, "0123456789+*#-.()ABCDabcd") == ""
}

// alarm tells, without refusing, that a label names another kind of destination
// than the Request-URI does: some switches route by To.
func (i *Inspector) alarm(q *request, said rules.Decision) {
	for _, named := range q.labels() {
		uri := named.uri
		if sameTarget(uri, *q.uri) {
			continue
		}
		meant := i.judge(q, uri, rules.UseCall, appliance.Outbound)
		if meant.Verdict == appliance.Allow || meant.Class == said.Class || said.Verdict == appliance.Block {
			continue
		}
		i.report(appliance.Event{
			Time: q.at, Kind: appliance.EventRefusal, Verdict: said.Verdict, Reason: meant.Reason,
			Source: q.from.remote, Subject: q.fromAddr.URI.User,
			Message: named.header + " names another destination than the Request-URI: " + meant.Reason.Sentence(),
		})
	}
}

// label is a URI that says who was meant to be called, besides the Request-URI
// that decides.
type label struct {
	header string
	uri    message.URI
}

func (q *request) labels() []label {
	all := []label{{"To", q.toAddr.URI}}
	if called, err := q.Addresses("P-Called-Party-ID"); err == nil && len(called) > 0 {
		all = append(all, label{"P-Called-Party-ID", called[0].URI})
	}
	return all
}

// refusalOf is the final response to a judged and blocked request. It says no
// more than that the call was rejected: which list holds the number is nobody's
// business on the wire (RFC 3326 for Reason, ITU-T Q.850 cause 21).
func refusalOf(sip *rules.SIP) (status int, phrase string, headers []field) {
	status, phrase = 403, "Forbidden"
	if sip.Refusal == 603 {
		status, phrase = 603, "Decline"
	}
	return status, phrase, []field{{"Reason", `Q.850;cause=21;text="call rejected"`}}
}
