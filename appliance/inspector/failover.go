package inspector

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// way is one place where a request can go, and under which Request-URI.
type way struct {
	uri    string
	trunk  *settings.Trunk // nil where it leads to the LAN
	target appliance.Target
	known  flow // where it leads to the LAN
}

// key names the target of a way; only where it leads to a trunk.
func (w way) key() targetKey { return keyOf(w.trunk.Name, w.target) }

// maxTries bounds to how many targets one request is sent, one after the other.
const maxTries = 8

// ways are where an allowed request that opens something can go, in order: the
// targets of the trunk that the judge chose, then those of the trunks that take
// over from it; what is known to be down comes last. An intercepted request goes to
// the host that it was sent to; it is the first of several for a call for help only,
// which may not end with one host that does not take it. A refusal with a status
// says that there is none.
func (i *Inspector) ways(q *request, said rules.Decision) ([]way, refusal) {
	if next, no, inner := i.inner(q, said); inner {
		if q.uri.Scheme == "sips" && no.status == 0 {
			if next.flow.transport != settings.TLS {
				return nil, noSIPS
			}
			next.uri = secured(next.uri)
		}
		return []way{{uri: next.uri, known: next.flow}}, no
	}
	trunk := trunkNamed(q.sip, said.Trunk)
	if trunk == nil {
		return nil, noTrunk
	}
	to, found, err := i.onward(q)
	if found && err == nil {
		first := way{uri: q.asSent(callee(said, trunk)), known: to}
		return i.behind(q, said, trunk, first), refusal{}
	}
	if found && !exempt(q, said) {
		return nil, noTrunk
	}
	return i.feasible(q, i.trunksWays(q, said, trunk), exempt(q, said))
}

// behind are the ways of an intercepted request: the host that it was sent to, and
// for a call for help whatever else there is.
func (i *Inspector) behind(q *request, said rules.Decision, trunk *settings.Trunk, first way) []way {
	if !exempt(q, said) {
		return []way{first}
	}
	others, _ := i.feasible(q, i.trunksWays(q, said, trunk), true) // none is no refusal: there is the first
	others = slices.DeleteFunc(others, func(w way) bool {
		return w.trunk == trunk && w.target.Address == first.known.remote && w.target.Transport == string(first.known.transport)
	})
	return append([]way{first}, others[:min(len(others), maxTries-1)]...)
}

// trunksWays are the ways to a trunk, then to those that take over from it.
func (i *Inspector) trunksWays(q *request, said rules.Decision, trunk *settings.Trunk) []way {
	all := i.trunkWays(q, trunk, callee(said, trunk))
	for _, name := range takingOver(q, said, trunk) {
		other := trunkNamed(q.sip, name)
		if other == nil {
			continue
		}
		// Another provider reads another number out of the same string.
		again := q.rules.Call(rules.Call{
			URI: i.normal(q, *q.uri).String(), Direction: appliance.Outbound, Use: rules.UseCall, From: q.fromAddr.URI.User, Trunk: name,
		})
		if again.Verdict == appliance.Allow {
			all = append(all, i.trunkWays(q, other, callee(again, other))...)
		}
	}
	return all
}

// registrarWays are where a REGISTER can go: to the targets of a trunk, or to the
// PBX.
func (i *Inspector) registrarWays(q *request, where registrar) ([]way, refusal) {
	uri := where.uri.String()
	if where.trunk == nil {
		to, err := i.door.towardPeer(q.sip.PBX.Transport, q.sip.PBX.Address, peerOfPBX(q.sip.PBX))
		if err != nil {
			return nil, noTrunk
		}
		return []way{{uri: uri, known: to}}, refusal{}
	}
	if to, found, err := i.onward(q); found {
		if err != nil {
			return nil, noTrunk
		}
		return []way{{uri: q.asSent(uri), known: to}}, refusal{}
	}
	return i.feasible(q, i.trunkWays(q, where.trunk, uri), false)
}

// takingOver are the trunks that may carry what a trunk can't: those of its
// settings, and for a call for help every other.
func takingOver(q *request, said rules.Decision, trunk *settings.Trunk) []string {
	names := slices.Clone(trunk.Fallback)
	for n := range q.sip.Trunks {
		other := q.sip.Trunks[n].Name
		if exempt(q, said) && other != trunk.Name && !slices.Contains(names, other) {
			names = append(names, other)
		}
	}
	return names
}

// trunkWays are the ways to one trunk under one Request-URI.
func (i *Inspector) trunkWays(q *request, trunk *settings.Trunk, uri string) []way {
	var out []way
	for _, target := range i.ordered(q.sip, trunk, q.CallID()) {
		out = append(out, way{uri: uri, trunk: trunk, target: target})
	}
	return out
}

// feasible sorts and bounds the ways. A sips URI has none but over TLS (RFC 3261
// section 26.2.2), and stays a sips URI; a call for help goes as it can.
func (i *Inspector) feasible(q *request, all []way, urgent bool) ([]way, refusal) {
	if len(all) == 0 {
		return nil, noTrunk
	}
	if q.uri.Scheme == "sips" {
		plain := func(w way) bool { return w.target.Transport != string(settings.TLS) }
		if !urgent {
			all = slices.DeleteFunc(all, plain)
		}
		if len(all) == 0 {
			return nil, noSIPS
		}
		for n := range all {
			if !plain(all[n]) {
				all[n].uri = secured(all[n].uri)
			}
		}
	}
	now := q.at
	slices.SortStableFunc(all, func(x, y way) int {
		return rank(i.trunks.usable(x.key(), now)) - rank(i.trunks.usable(y.key(), now))
	})
	return all[:min(len(all), maxTries)], refusal{}
}

// noSIPS refuses a sips URI that could only be sent on without TLS (RFC 5630
// section 5.3).
var noSIPS = refusal{status: 480, phrase: "Temporarily Unavailable", reason: appliance.ReasonSIPS,
	headers: []field{{"Warning", `380 ringfence "SIPS Not Allowed"`}}}

// insecure reports whether a sips URI would be sent on without TLS.
func (d destination) insecure() bool {
	return strings.HasPrefix(d.uri, "sips:") && d.flow.transport != settings.TLS
}

// secured writes a sip URI as a sips one.
func secured(uri string) string {
	read, err := message.ParseURI(uri)
	if err != nil || read.Scheme != "sip" {
		return uri
	}
	read.Scheme, read.Params = "sips", read.Params.Del("transport")
	return read.String()
}

// securedRoutes are Record-Route values for a request to a sips URI (RFC 3261
// section 16.6 step 4).
func securedRoutes(uri string, routes []string) []string {
	if !strings.HasPrefix(uri, "sips:") {
		return routes
	}
	out := make([]string, 0, len(routes))
	for _, route := range routes {
		if read, err := message.ParseNameAddr(route); err == nil {
			read.URI.Scheme, read.URI.Params = "sips", read.URI.Params.Del("transport")
			route = read.String()
		}
		out = append(out, route)
	}
	return out
}

// flow returns the flow of a way.
func (w way) flow(i *Inspector) (flow, error) {
	if w.trunk == nil {
		return w.known, nil
	}
	return i.towardTarget(w.trunk, w.target)
}

// writer writes a request for one way of it, anew for each.
type writer func(w way, to flow, branch string) *message.Message

// journey is a request's way through its ways: a serial search (RFC 3261 section
// 16.7 step 5, RFC 3263 section 4.3). The relay's turn guards it.
type journey struct {
	turn  sync.Mutex // one response, failure or step at a time
	write writer
	ahead []way  // not tried yet
	visit *visit // the present one
}

// visit is one attempt at one way: what the client transaction tells.
type visit struct {
	r     *relay
	way   way
	began time.Time
	heard bool // anything at all came back
	ended bool // it has failed
	// left is what is left of a try that was given up: it withdraws what an answer
	// that came too late would begin.
	left *relay
	// withdrawn means that left has sent its CANCEL.
	withdrawn bool
}

// sendAlong relays q along ways: to the first that can be reached and answers
// with anything but 503.
func (i *Inspector) sendAlong(q *request, tx *serverTx, ways []way, write writer, urgent bool, what errand) {
	r := i.carry(q, tx, urgent, what)
	r.journey.turn.Lock()
	r.journey.write, r.journey.ahead = write, ways
	err := r.step()
	r.journey.turn.Unlock()
	if err != nil {
		r.failed(err)
	}
}

// step sends the request the next way that takes it. The error is that of the
// last one.
func (r *relay) step() error {
	err := errNoWay
	for len(r.journey.ahead) > 0 {
		next := r.journey.ahead[0]
		r.journey.ahead = r.journey.ahead[1:]
		if err = r.embark(next); err == nil || errors.Is(err, errFull) {
			return err
		}
		r.missed(next, err)
	}
	return err
}

var errNoWay = errors.New("there is no other way")

// embark sends the request one way.
func (r *relay) embark(next way) error {
	to, err := next.flow(r.i)
	if err != nil {
		return err
	}
	now := r.i.now()
	before := r.voyage
	branch := r.i.branches.fresh(r.q)
	r.depart(voyage{to: to, branch: branch, sent: r.journey.write(next, to, branch)}, now)
	last := r.journey.visit
	r.journey.visit = &visit{r: r, way: next, began: now}
	if err = r.i.txs.requestOver(branch, r.sent, to, r.urgent, r.journey.visit); err != nil {
		r.journey.visit = last
		if before.sent != nil {
			r.depart(before, now)
		}
	}
	return err
}

// voyage is how a relayed request is under way now. Both the relay's turn and its
// lock are held where it changes, and one of them where it is read.
type voyage struct {
	to     flow
	branch string
	sent   *message.Message
}

func (r *relay) depart(next voyage, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.voyage, r.provisional = next, false
	r.deadline, r.patience = r.timerC(now), now.Add(r.i.bounds.firstWord)
}

// heading is where the request is under way to, for whoever does not hold the
// relay's turn.
func (r *relay) heading() flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to
}

// missed notes that a way could not be taken.
func (r *relay) missed(w way, cause error) {
	if w.trunk != nil && !errors.Is(cause, errFull) {
		r.i.trunks.failed(w.key(), reasonOf(cause), r.i.now())
	}
}

// reasonOf is a failure in words for a person.
func reasonOf(cause error) error {
	if timedOut(cause) {
		return errSilent
	}
	return cause
}

var errSilent = errors.New("no answer")

// response implements clientHandler.
func (t *visit) response(res *message.Message) {
	t.r.journey.turn.Lock()
	defer t.r.journey.turn.Unlock()
	if t.left != nil {
		t.late(res)
		return
	}
	if t != t.r.journey.visit {
		return
	}
	first := !t.heard
	t.heard = true
	if t.way.trunk != nil && (first || res.Status >= 200) {
		// How long a telephone rings says nothing of the trunk.
		took := time.Duration(0)
		if first {
			took = t.r.i.now().Sub(t.began)
		}
		t.r.i.trunks.answered(t.way.key(), res, took, t.r.i.now())
	}
	if res.Status == 503 && t.r.another() {
		if t.r.step() == nil {
			return
		}
	}
	t.r.response(res)
}

// failed implements clientHandler.
func (t *visit) failed(cause error) {
	if !t.elsewhere(cause) {
		t.r.failed(cause)
	}
}

// elsewhere notes a failure and goes on to the next way. It reports false where
// there is none, and the request has failed.
func (t *visit) elsewhere(cause error) bool {
	t.r.journey.turn.Lock()
	defer t.r.journey.turn.Unlock()
	if t.ended || t.left != nil || t != t.r.journey.visit {
		return true
	}
	t.ended = true
	t.r.missed(t.way, cause)
	return !t.heard && t.r.another() && t.r.step() == nil
}

// another reports whether the request may be sent another way: none is under way
// any more, nothing but 100 has been said to the sender, and it has not thought
// better of it.
func (r *relay) another() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.journey.ahead) > 0 && r.final == 0 && !r.cancelled && !r.ringing
}

// impatient reports whether the present target of an INVITE has not said a word
// for longer than it may while there are others.
func (r *relay) impatient(now time.Time) bool {
	r.journey.turn.Lock()
	defer r.journey.turn.Unlock()
	t := r.journey.visit
	if t == nil || t.heard || !r.another() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.patience)
}

// giveWay leaves a silent target and goes on to the next. The request may still
// reach the silent one: what it answers then is withdrawn.
func (r *relay) giveWay() {
	r.journey.turn.Lock()
	defer r.journey.turn.Unlock()
	t := r.journey.visit
	if t == nil || t.heard || t.left != nil || !r.another() {
		return
	}
	r.missed(t.way, errSilent)
	left := &relay{i: r.i, q: r.q, voyage: r.voyage, urgent: r.urgent}
	if r.step() == nil {
		t.left = left
	} // else it is waited for, as there is nobody else
}

// late withdraws what a target begins that was given up.
func (t *visit) late(res *message.Message) {
	switch {
	case t.left.sent.Method != "INVITE" || res.Status >= 300:
	case res.Status >= 200:
		t.r.i.txs.spawn(func() { t.left.hangUp(res) })
	case !t.withdrawn:
		t.withdrawn = true
		t.r.i.txs.spawn(t.left.recall)
	}
}

// impatientOnes are the INVITEs whose target is silent while there are others.
func (s *relays) impatientOnes(now time.Time) []*relay {
	var out []*relay
	for _, r := range s.open() {
		if r.impatient(now) {
			out = append(out, r)
		}
	}
	return out
}
