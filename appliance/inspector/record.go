package inspector

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// call is the record of one judged attempt while it lives.
type call struct {
	mu      sync.Mutex
	record  appliance.Call
	source  netip.AddrPort
	attempt uint64 // see attempts
	dialogs map[*dialog]struct{}
	closed  bool
	dialled string // as it was sent on
	typed   string // digits that came by INFO before the answer
	urgent  bool   // to an emergency number
	cut     *cut   // nil unless it was ended from here
}

// calls holds the records of live calls and reports every change of one. It is
// bounded by the transactions and dialogs that calls stand on.
type calls struct {
	report    func(appliance.Event)
	ring      *ring
	firmware  string
	behaviour Behaviour // nil where there is none
	current   func() *rules.Rules
	evidence  *evidence

	mu       sync.Mutex
	all      map[string]*call
	attempts attempts
}

func newCalls(report func(appliance.Event), ring *ring, bounds limits) *calls {
	return &calls{report: report, ring: ring, evidence: newEvidence(bounds), all: make(map[string]*call), attempts: newAttempts()}
}

// recordOf writes what was decided on q. Of what was dialled it keeps no password
// and no headers.
func recordOf(q *request, dialled message.URI, use rules.Use, direction appliance.Direction, said rules.Decision) appliance.Call {
	dialled.Password, dialled.Headers = "", ""
	return appliance.Call{
		ID: randomID(5), CallID: strings.Clone(q.CallID()), Direction: direction, Use: string(use), Start: q.at,
		From: strings.Clone(q.fromAddr.URI.User), Source: q.from.remote.String(), Account: q.caller.account, Attribution: q.caller.by, Dialled: dialled.String(),
		Number: said.Number, Label: said.Label, Trunk: said.Trunk, Verdict: said.Verdict,
		Reason: said.Reason, Rule: said.Rule, List: said.List, Why: said.Why, Trail: trailOf(q.rules, said),
	}
}

// tell reports one record as an event.
func (s *calls) tell(source netip.AddrPort, record appliance.Call, at time.Time) {
	s.report(appliance.Event{
		Time: at, Kind: appliance.EventCall, Verdict: record.Verdict, Reason: record.Reason,
		Source: source, Subject: record.From, Message: record.Reason.Sentence(), Call: &record,
	})
}

// stamp writes who judged into a record that nobody else has yet.
func (s *calls) stamp(record *appliance.Call) {
	if record.Trail != nil {
		record.Trail.Firmware = s.firmware
	}
}

// place makes the record of an INVITE part of the attempt that it belongs to, before
// anybody hears of it.
func (s *calls) place(q *request, record *appliance.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts.join(s.attempts.key(q.CallID(), q.fromTag), record)
}

// refused reports an attempt that ended where it began, where there is room for its
// record. begun says that the behaviour engine let it pass, and counts it as a call.
func (s *calls) refused(q *request, record appliance.Call, status int, begun bool) {
	record.End, record.Status = q.at, status
	s.stamp(&record)
	if q.Method == "INVITE" && q.toTag == "" {
		s.mu.Lock()
		s.attempts.failed(s.attempts.key(q.CallID(), q.fromTag), record.ID)
		s.mu.Unlock()
	}
	if begun || record.Direction == appliance.Inbound {
		s.over(&record)
	}
	kept := s.evidence.keeps(q.from.remote, q.who.block(q.from.remote.Addr()), placedBy(q, &record), q.at)
	if !kept {
		s.ring.forget(record.CallID)
		return
	}
	s.ring.settled(record.CallID, false)
	s.tell(q.from.remote, record, q.at)
}

// alone reports a request that was judged by itself and is over, and lets go of its
// messages where nothing is wrong with it.
func (s *calls) alone(source netip.AddrPort, record appliance.Call, at time.Time) {
	s.stamp(&record)
	s.ring.settled(record.CallID, record.Verdict == appliance.Allow && record.Status < 400)
	if s.behaviour != nil && record.Direction == appliance.Outbound {
		s.behaviour.Ended(record.ID, true) // it was no call that lasted
	}
	s.tell(source, record, at)
}

// begin reports a decided call and keeps it until it ends.
func (s *calls) begin(q *request, record appliance.Call, urgent bool) *call {
	s.stamp(&record)
	s.mu.Lock()
	key := s.attempts.key(q.CallID(), q.fromTag)
	c := &call{record: record, source: q.from.remote, attempt: key, dialogs: make(map[*dialog]struct{}), urgent: urgent}
	s.all[record.ID] = c
	s.mu.Unlock()
	s.ring.opened(record.CallID)
	s.tell(q.from.remote, record, q.at)
	return c
}

// find returns the live call with that ID, or nil.
func (s *calls) find(id string) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

// attribute notes who places a call, once the far end has accepted his credentials.
// The next report of the call says so.
func (s *calls) attribute(c *call, who caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Account, c.record.Attribution = who.account, who.by
}

// carriedBy notes which trunk carries the call now, where that is another than the
// judge chose.
func (c *call) carriedBy(trunk string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Trunk = trunk
}

// answered notes the first 2xx.
func (s *calls) answered(c *call, status int, now time.Time) {
	c.mu.Lock()
	if c.closed || !c.record.Answer.IsZero() {
		c.mu.Unlock()
		return
	}
	c.record.Answer, c.record.Status = now, status
	record := c.record
	c.mu.Unlock()
	if s.behaviour != nil && record.Direction == appliance.Outbound {
		s.behaviour.Answered(record.ID)
	}
	s.tell(c.source, record, now)
}

// end closes a record, once. status is kept from the answer where it is 0. A
// reason that blocks replaces the one that let the call pass: the trunk did not
// carry it.
func (s *calls) end(c *call, status int, reason appliance.Reason, now time.Time) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.record.End = now
	if c.cut != nil {
		reason, c.record.Why = appliance.ReasonCut, c.cut.why
	}
	if status != 0 {
		c.record.Status = status
	}
	if reason != appliance.ReasonNoRules {
		c.record.Reason, c.record.Verdict = reason, reason.Verdict()
	}
	record := c.record
	c.mu.Unlock()
	well := !record.Answer.IsZero() && record.Verdict == appliance.Allow
	s.mu.Lock()
	if s.all[record.ID] == c { // else another try has taken its place
		delete(s.all, record.ID)
	}
	if record.Answer.IsZero() {
		s.attempts.failed(c.attempt, record.ID)
	}
	s.mu.Unlock()
	s.ring.over(record.CallID, well)
	s.over(&record)
	s.tell(c.source, record, now)
}

// because notes why the box ends a call.
func (s *calls) because(c *call, why appliance.Ended) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Ended = why
}

// join puts a dialog on a call.
func (s *calls) join(c *call, d *dialog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialogs[d] = struct{}{}
}

// leave takes a dialog off a call. An answered call ends with its last dialog.
func (s *calls) leave(c *call, d *dialog, now time.Time) {
	c.mu.Lock()
	delete(c.dialogs, d)
	last := !c.record.Answer.IsZero()
	for other := range c.dialogs {
		last = last && !other.answered() // a fork that lost may still linger
	}
	c.mu.Unlock()
	if last {
		s.end(c, 0, appliance.ReasonNoRules, now)
	}
}

// forks returns how many dialogs a call has.
func (c *call) forks() []*dialog {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*dialog, 0, len(c.dialogs))
	for d := range c.dialogs {
		all = append(all, d)
	}
	return all
}

// abandon ends the records of the calls that go on when the inspector stops. The one
// after it does not know them, and whoever counts what is up must not wait for it.
func (s *calls) abandon(now time.Time) {
	s.mu.Lock()
	open := slices.Collect(maps.Values(s.all))
	s.mu.Unlock()
	for _, c := range open {
		s.because(c, appliance.EndedUnwatched)
		s.end(c, 0, appliance.ReasonNoRules, now)
	}
}

// live returns a copy of every live record, oldest first.
func (s *calls) live() []appliance.Call {
	s.mu.Lock()
	open := make([]*call, 0, len(s.all))
	for _, c := range s.all {
		open = append(open, c)
	}
	s.mu.Unlock()
	records := make([]appliance.Call, 0, len(open))
	for _, c := range open {
		c.mu.Lock()
		records = append(records, c.record)
		c.mu.Unlock()
	}
	slices.SortFunc(records, func(a, b appliance.Call) int { return a.Start.Compare(b.Start) })
	return records
}
