package inspector

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// relay carries one request on: it joins the server transaction that the
// request came in by with the client transaction that it left by (RFC 3261
// section 16). It never forks.
type relay struct {
	i       *Inspector
	q       *request
	in      *serverTx
	urgent  bool
	errand  errand
	limited bool    // it is an INVITE: Timer C runs
	journey journey // where else it may go

	mu          sync.Mutex
	voyage      // how it is under way
	provisional bool
	ringing     bool      // more than 100 has come back
	patience    time.Time // until when a silent target is waited for while there are others
	final       int       // status of the first final response sent back, 0 before
	cancelled   bool
	cancelSent  bool
	broken      bool            // the neighbour could not be reached or never answered
	reason      string          // the Reason of the CANCEL that came
	won         *string         // tag of the first answer, nil before
	hungUp      map[string]bool // tags of the answers that were hung up on
	deadline    time.Time       // Timer C, or after CANCEL the end of patience
	cut         *ringing        // the call was cut while it rang
}

// errand is what a relayed request is for.
type errand interface {
	// answered sees one response and what is about to be sent back for it, which
	// it may change. It is called for one response at a time.
	answered(r *relay, res, out *message.Message)
	// ended hears the status of the first final response, from the neighbour or
	// made up here. It is called once.
	ended(r *relay, status int)
}

// relays is the set of INVITEs under way, for Timer C.
type relays struct {
	mu  sync.Mutex
	all map[*relay]struct{}
}

func (s *relays) add(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*relay]struct{})
	}
	s.all[r] = struct{}{}
}

func (s *relays) remove(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, r)
}

// due returns the relays whose deadline has passed.
func (s *relays) due(now time.Time) []*relay {
	s.mu.Lock()
	defer s.mu.Unlock()
	var late []*relay
	for r := range s.all {
		if r.late(now) {
			late = append(late, r)
		}
	}
	return late
}

// send relays q, written as out, by to. The server transaction exists already,
// so that repeats of the request are absorbed from here on.
func (i *Inspector) send(q *request, tx *serverTx, out *message.Message, to flow, branch string, urgent bool, what errand) {
	r := i.carry(q, tx, urgent, what)
	r.voyage = voyage{to, branch, out}
	if _, err := i.txs.request(branch, out, to, urgent, r); err != nil {
		r.failed(err)
	}
}

// carry begins to relay q.
func (i *Inspector) carry(q *request, tx *serverTx, urgent bool, what errand) *relay {
	r := &relay{i: i, q: q, in: tx, urgent: urgent, errand: what, limited: q.Method == "INVITE"}
	r.deadline = r.timerC(q.at)
	if q.from.stream != nil {
		q.from.stream.pending.Add(1)
	}
	tx.attach(r)
	if r.limited {
		i.relays.add(r)
	}
	return r
}

// settled notes that the sender has its final response.
func (r *relay) settled() {
	r.i.relays.remove(r)
	if r.q.from.stream != nil {
		r.q.from.stream.pending.Add(-1)
	}
}

// crowds reports whether a phone has more requests under way on its connection
// than one phone can mean. The PBX and trunks speak for many.
func (i *Inspector) crowds(q *request) bool {
	return q.from.stream != nil && q.who.side == inside && !q.who.pbx && int(q.from.stream.pending.Load()) >= i.bounds.pending
}

// response implements clientHandler.
func (r *relay) response(res *message.Message) {
	if !r.heard(res.Status) {
		r.afterwards(res)
		return
	}
	if r.hungUpLate(res) {
		return
	}
	r.i.settle(r, res)
	if r.extra(res) {
		r.i.txs.spawn(func() { r.hangUp(res) })
		return
	}
	if res.Status == 100 {
		return // 100 Trying is hop by hop (RFC 3261 section 16.7 step 5)
	}
	r.i.home(r.q.sip, r.to, res)
	out := r.upstream(res)
	r.errand.answered(r, res, out)
	r.finish(out)
}

// heard notes that the neighbour spoke and restarts Timer C. It reports false
// where the request has been given up.
func (r *relay) heard(status int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final >= 300 || r.final != 0 && status < 200 {
		return false
	}
	if status < 200 {
		r.provisional, r.ringing = true, r.ringing || status > 100
		if (status > 100 || r.opensHelp()) && !r.cancelled {
			r.deadline = r.timerC(r.i.now())
		}
		if r.cancelled && !r.cancelSent {
			r.cancelSent = true
			r.i.txs.spawn(r.sendCancel)
		}
	}
	return true
}

// timerC is until when an INVITE may go on without an answer, as of now. Whoever says
// for ever that it rings, or plays early media, is believed for a while only. A call
// for help is different: once anybody has heard it, its caller decides how long to
// wait, in the queue of an emergency service too (RFC 3261 section 16.8 leaves the
// choice).
func (r *relay) timerC(now time.Time) time.Time {
	if r.opensHelp() && r.provisional {
		return r.q.at.Add(r.i.bounds.help)
	}
	until, last := now.Add(r.i.bounds.ringing), r.q.at.Add(r.i.bounds.waiting)
	if last.Before(until) {
		return last
	}
	return until
}

// opensHelp reports whether it is the INVITE of a call for help, and not one inside
// that call.
func (r *relay) opensHelp() bool { return r.urgent && r.limited && r.q.toTag == "" }

// extra reports whether a response is a second answer to an INVITE that opens a
// call, from another fork: the caller talks to the first one, and the box ends the
// other (RFC 3261 section 13.2.2.4), which would else be paid for as well.
func (r *relay) extra(res *message.Message) bool {
	if res.Status/100 != 2 || !r.limited || r.q.toTag != "" {
		return false
	}
	to, err := res.To()
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.won == nil {
		tag := strings.Clone(to.Tag())
		r.won = &tag
	}
	return *r.won != to.Tag()
}

// home holds a neighbour on the LAN that answers to its own address: named as its
// Contact, another one could be reached without us.
func (i *Inspector) home(sip *rules.SIP, from flow, res *message.Message) {
	who := partyOf(sip, from.remote)
	if who.side != inside || res.Status >= 300 {
		return
	}
	contact, ok := res.Contact()
	if !ok || i.mayTarget(sip, who, contact.URI) {
		return
	}
	at := message.URI{Scheme: "sip", User: contact.URI.User, Host: from.remote.Addr().WithZone("").String(), Port: from.remote.Port()}
	res.Set("Contact", message.NameAddr{URI: at}.String())
}

// upstream writes a response anew for whoever sent the request: its own Vias,
// From, Call-ID and CSeq, and the To with the tag of the answer.
func (r *relay) upstream(res *message.Message) *message.Message {
	tag := ""
	if to, err := res.To(); err == nil {
		tag = to.Tag()
	}
	out := responseTo(r.q, res.Status, res.Phrase, tag)
	if res.Status < 400 {
		carryContacts(out, res) // of a refusal it would be somebody else to try
	}
	carry(out, res, partyOf(r.q.sip, r.to.remote))
	if encodings := res.Get("Content-Encoding"); encodings != "" {
		out.Body = nil
	}
	knownBody(out, r.urgent)
	return out
}

// finish sends a response back and tells the errand of the first final one. Nobody may
// use it afterwards.
func (r *relay) finish(out *message.Message) {
	status := out.Status
	r.mu.Lock()
	first := r.final == 0 && status >= 200
	if first {
		r.final = status
	}
	r.mu.Unlock()
	if first {
		r.settled()
	}
	_ = r.in.respond(status, sealed(out))
	if first {
		r.errand.ended(r, status)
	}
}

// failed implements clientHandler: the neighbour can't be reached, or never
// answered.
func (r *relay) failed(cause error) {
	status, phrase := 503, "Service Unavailable"
	if timedOut(cause) {
		status, phrase = 408, "Request Timeout"
	}
	r.vanished()
	r.mu.Lock()
	r.broken = !r.cancelled && !errors.Is(cause, errFull)
	r.mu.Unlock()
	if errors.Is(cause, errFull) {
		r.i.tallies.count(appliance.ReasonOverload)
	}
	r.giveUp(status, phrase)
}

// unreached reports whether the final response was made up for want of one.
func (r *relay) unreached() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

// giveUp answers the request with a final response made up here, unless one has
// been sent.
func (r *relay) giveUp(status int, phrase string) {
	r.mu.Lock()
	if r.final != 0 {
		r.mu.Unlock()
		return
	}
	if r.cancelled {
		status, phrase = 487, "Request Terminated"
	}
	r.final = status
	r.mu.Unlock()
	r.settled()
	out := responseTo(r.q, status, phrase, stableID(5, r.in.key))
	_ = r.in.respond(status, sealed(out))
	r.errand.ended(r, status)
	if c := r.i.txs.client(r.branch, r.q.Method); c != nil {
		r.i.txs.finish(c) // an answer may still come: see hangUp
	}
}

// late reports whether Timer C, or the patience after CANCEL, has run out.
func (r *relay) late(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.final == 0 && !now.Before(r.deadline)
}

// expire acts on Timer C: it cancels what rings, and gives up what does not
// answer a CANCEL (RFC 3261 section 16.8).
func (r *relay) expire(now time.Time) {
	r.mu.Lock()
	giveUp := r.cancelled || !r.provisional
	r.mu.Unlock()
	if giveUp {
		r.giveUp(408, "Request Timeout")
		return
	}
	r.cancel(now, "")
}

// cancel passes a CANCEL on, at once where the neighbour has answered with a
// provisional response, else as soon as it does (RFC 3261 section 9.1).
func (r *relay) cancel(now time.Time, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final != 0 || r.cancelled {
		return
	}
	r.cancelled, r.reason = true, reason
	r.deadline = now.Add(r.i.bounds.cancelled)
	if r.provisional {
		r.cancelSent = true
		r.i.txs.spawn(r.sendCancel)
	}
}

func (r *relay) sendCancel() {
	r.mu.Lock()
	under, reason := r.voyage, r.reason
	r.mu.Unlock()
	cancel := hopByHop(under.sent, "CANCEL")
	if reason != "" {
		cancel.Add("Reason", reason)
	}
	// Its transaction only repeats it; the INVITE's own final response tells.
	_, _ = r.i.txs.request(under.branch, cancel, under.to, true, unheard{})
}

// unheard is the handler of a request whose answer changes nothing.
type unheard struct{}

func (unheard) response(*message.Message) {}
func (unheard) failed(error)              {}

// cancel answers a CANCEL and passes it on to where its INVITE went.
func (i *Inspector) cancel(q *request) {
	tx := i.txs.server(q.key("INVITE"))
	if tx == nil {
		i.refuse(q, noDialog)
		return
	}
	i.reply(q, nil, 200, "OK", nil)
	if r := tx.attached(); r != nil {
		r.cancel(q.at, q.Get("Reason"))
	}
}
