package inspector

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// relay carries one request on: it joins the server transaction that the
// request came in by with the client transaction that it left by (RFC 3261
// section 16). It never forks.
type relay struct {
	i       *Inspector
	q       *request
	in      *serverTx
	to      flow
	branch  string
	urgent  bool
	errand  errand
	limited bool // it is an INVITE: Timer C runs
	hungUp  atomic.Bool

	mu          sync.Mutex
	sent        *message.Message
	provisional bool
	final       int // status of the first final response sent back, 0 before
	cancelled   bool
	cancelSent  bool
	broken      bool      // the neighbour could not be reached or never answered
	reason      string    // the Reason of the CANCEL that came
	deadline    time.Time // Timer C, or after CANCEL the end of patience
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
	r := &relay{i: i, q: q, in: tx, to: to, branch: branch, urgent: urgent, errand: what,
		sent: out, limited: q.Method == "INVITE", deadline: q.at.Add(i.bounds.ringing)}
	tx.attach(r)
	if r.limited {
		i.relays.add(r)
	}
	if _, err := i.txs.request(branch, out, to, urgent, r); err != nil {
		r.failed(err)
	}
}

// response implements clientHandler.
func (r *relay) response(res *message.Message) {
	if !r.heard(res.Status) {
		if res.Status/100 == 2 && r.limited && r.q.toTag == "" {
			r.i.txs.spawn(func() { r.hangUp(res) })
		}
		return
	}
	if res.Status == 100 {
		return // 100 Trying is hop by hop (RFC 3261 section 16.7 step 5)
	}
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
		r.provisional = true
		if status > 100 && !r.cancelled {
			r.deadline = r.i.now().Add(r.i.bounds.ringing)
		}
		if r.cancelled && !r.cancelSent {
			r.cancelSent = true
			r.i.txs.spawn(r.sendCancel)
		}
	}
	return true
}

// upstream writes a response anew for whoever sent the request: its own Vias,
// From, Call-ID and CSeq, and the To with the tag of the answer.
func (r *relay) upstream(res *message.Message) *message.Message {
	tag := ""
	if to, err := res.To(); err == nil {
		tag = to.Tag()
	}
	out := responseTo(r.q, res.Status, res.Phrase, tag)
	carryContacts(out, res)
	carry(out, res, partyOf(r.q.sip, r.to.remote))
	if encodings := res.Get("Content-Encoding"); encodings != "" {
		out.Body = nil
	}
	knownBody(out, r.urgent)
	return out
}

// finish sends a response back and tells the errand of the first final one.
func (r *relay) finish(out *message.Message) {
	r.mu.Lock()
	first := r.final == 0 && out.Status >= 200
	if first {
		r.final = out.Status
	}
	r.mu.Unlock()
	_ = r.in.respond(out.Status, written(out))
	if first {
		r.i.relays.remove(r)
		r.errand.ended(r, out.Status)
	}
}

// failed implements clientHandler: the neighbour can't be reached, or never
// answered.
func (r *relay) failed(cause error) {
	status, phrase := 503, "Service Unavailable"
	if timedOut(cause) {
		status, phrase = 408, "Request Timeout"
	}
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
	r.i.relays.remove(r)
	out := responseTo(r.q, status, phrase, stableID(5, r.in.key))
	_ = r.in.respond(status, written(out))
	r.errand.ended(r, status)
	if c := r.i.txs.client(r.branch, r.q.Method); c != nil {
		r.i.txs.finish(c.tx.Terminate) // an answer may still come: see hangUp
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
	cancel := hopByHop(r.sent, "CANCEL")
	if r.reason != "" {
		cancel.Add("Reason", r.reason)
	}
	// Its transaction only repeats it; the INVITE's own final response tells.
	_, _ = r.i.txs.request(r.branch, cancel, r.to, true, unheard{})
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
