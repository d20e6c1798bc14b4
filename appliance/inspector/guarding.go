package inspector

import (
	"strconv"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/guard"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// slowedFor is what an account that was wrong too often is told to wait.
const slowedFor = 30 * time.Second

// slowed is the answer to it. 503 with Retry-After has a phone come back, which
// 403 would not (RFC 3261 section 20.33).
var slowed = refusal{status: 503, phrase: "Service Unavailable", reason: appliance.ReasonSlowed,
	headers: []field{{"Retry-After", strconv.Itoa(int(slowedFor / time.Second))}}}

// screened asks the guard about a request that opens something, and reports
// whether that was its end. A call for help, and what belongs to a dialog, is
// never asked about.
func (i *Inspector) screened(q *request, urgent bool) bool {
	if urgent || q.toTag != "" || q.who.side != inside || settles(q.Method) {
		return false
	}
	if q.Method != "REGISTER" && i.unknown(q) {
		i.ignore(q)
		return true
	}
	action, found := i.watch.guard.Admit(q.sip.Guard, i.asGuarded(q), q.at)
	i.watch.found(found)
	switch action {
	case guard.Drop:
		i.tallies.count(appliance.ReasonScanner)
	case guard.Slow:
		i.refuse(q, slowed)
	default:
		return false
	}
	return true
}

// silenced turns away what somebody on the WAN sends before anybody has registered
// from there: no answer of any kind says that there is a box. What may be a call for
// help, and what belongs to one, is another matter, and a REGISTER is how one begins.
func (i *Inspector) silenced(q *request) bool {
	if !i.unknown(q) {
		return false
	}
	switch {
	case q.Method == "CANCEL" && i.txs.server(q.key("INVITE")) != nil:
		return false
	case q.toTag != "":
		if d, _ := i.party(q); d != nil {
			return false
		}
	case q.Method == "REGISTER" || q.Method == "INVITE" || q.Method == "MESSAGE":
		// Of the last two the judge says what they are: see screened.
		if addressable(*q.uri) && q.hops > 0 && !i.branches.looped(q) {
			return false
		}
	}
	i.ignore(q)
	return true
}

// unknown reports whether a request comes from the WAN, from where nobody is
// registered.
func (i *Inspector) unknown(q *request) bool { return q.who.remote && !i.atHome(q) }

// ignore counts a request that gets no answer, as the guard does.
func (i *Inspector) ignore(q *request) {
	probe := i.asGuarded(q)
	action, found := i.watch.guard.Admit(q.sip.Guard, probe, q.at)
	i.watch.found(found)
	if action == guard.Drop {
		i.tallies.count(appliance.ReasonScanner)
		return
	}
	i.stray(q, probe)
}

// atHome reports whether a source on the WAN is one of a telephone that registered:
// just now, or before a restart that has lost the registrations.
func (i *Inspector) atHome(q *request) bool {
	from := q.from.remote.Addr()
	return i.bindings.from(from, q.at) || i.watch.guard.Office(from, q.at)
}

// stray turns away a request from the WAN where nobody is registered: silence, as
// any stranger gets, and a count of whom he asks for.
func (i *Inspector) stray(q *request, probe guard.Request) {
	i.tallies.count(appliance.ReasonUnregistered)
	i.watch.found(i.watch.guard.Refused(q.sip.Guard, probe, q.at))
	i.report(appliance.Event{
		Time: q.at, Kind: appliance.EventRefusal, Reason: appliance.ReasonUnregistered, Source: q.from.remote,
		Subject: q.fromAddr.URI.User, Message: q.Method + " dropped: " + appliance.ReasonUnregistered.Sentence(),
	})
}

// unwelcome refuses a registration for who asks, or from where.
func (i *Inspector) unwelcome(q *request, no refusal) {
	i.watch.found(i.watch.guard.Refused(q.sip.Guard, i.asGuarded(q), q.at))
	i.refuse(q, no)
}

// settle learns what the far end made of a request from inside.
func (i *Inspector) settle(r *relay, res *message.Message) {
	q := r.q
	if q.who.side != inside || q.toTag != "" || res.Status == 100 {
		return
	}
	if !telling(q, res.Status) {
		return
	}
	probe := i.asGuarded(q)
	answer := guard.Answer{Status: res.Status}
	answer.Nonces, answer.Stale = challenges(res)
	now := i.now()
	i.watch.found(i.watch.guard.Settle(q.sip.Guard, probe, answer, now))
	switch {
	case res.Status < 300 && (probe.Credentials != nil || q.Method == "REGISTER" && res.Status >= 200):
		i.accept(r, probe, now)
	case probe.Credentials != nil && (res.Status == 403 && q.Method == "REGISTER" || (res.Status == 401 || res.Status == 407) && !answer.Stale):
		i.watch.accounts.failed(probe.Account, now)
	}
}

// telling reports whether a response says anything about who sent the request.
func telling(q *request, status int) bool {
	switch q.Method {
	case "REGISTER":
		return true
	case "INVITE", "MESSAGE", "SUBSCRIBE":
		return status == 401 || status == 407 || status == 404 || q.Has("Authorization") || q.Has("Proxy-Authorization")
	}
	return false
}

// accept learns an account, and has the record of a call say who places it. Of a
// source on the WAN nothing is believed before it proved that it hears us.
func (i *Inspector) accept(r *relay, probe guard.Request, now time.Time) {
	q := r.q
	if q.who.remote && !i.watch.guard.Reliable(probe.Source) {
		return
	}
	if !i.watch.guard.Proves(probe) {
		probe.Credentials = nil
	}
	if probe.Credentials == nil && q.Method != "REGISTER" {
		return
	}
	trunk := i.registrarOf(q)
	seen := sighting{name: probe.Account, registrar: nameOf(trunk), kind: appliance.AccountExtension, from: q.from.remote, agent: probe.Words.Agent, at: now}
	if q.who.pbx {
		seen.kind = appliance.AccountTrunk
	}
	if c := probe.Credentials; c != nil {
		seen.username, seen.realm = c.User, c.Realm
	}
	if alarm := i.watch.accounts.learn(seen); alarm != "" {
		i.report(appliance.Event{
			Time: now, Kind: appliance.EventGuard, Verdict: appliance.Allow, Reason: appliance.ReasonDestinationAllowed,
			Source: q.from.remote, Subject: probe.Account, Message: alarm,
		})
	}
	if probe.Credentials == nil {
		return
	}
	if d, ok := digestOf(q.Message); ok && i.behaviour != nil {
		i.behaviour.Accepted(probe.Account, d)
	}
	switch what := r.errand.(type) {
	case *attempt:
		i.calls.attribute(what.call, caller{probe.Account, appliance.AttributionDigest})
	case *delivery:
		what.record.Account, what.record.Attribution = probe.Account, appliance.AttributionDigest
	}
}
