package inspector

import (
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
	dialogs map[*dialog]struct{}
	closed  bool
}

// calls holds the records of live calls and reports every change of one. It is
// bounded by the transactions and dialogs that calls stand on.
type calls struct {
	report func(appliance.Event)
	mu     sync.Mutex
	all    map[string]*call
}

func newCalls(report func(appliance.Event)) *calls {
	return &calls{report: report, all: make(map[string]*call)}
}

// recordOf writes what was decided on q. Of what was dialled it keeps no password
// and no headers.
func recordOf(q *request, dialled message.URI, use rules.Use, direction appliance.Direction, said rules.Decision) appliance.Call {
	dialled.Password, dialled.Headers = "", ""
	return appliance.Call{
		ID: randomID(5), CallID: strings.Clone(q.CallID()), Direction: direction, Use: string(use), Start: q.at,
		From: strings.Clone(q.fromAddr.URI.User), Source: q.from.remote.String(), Dialled: strings.Clone(dialled.String()),
		Number: said.Number, Label: said.Label, Trunk: said.Trunk, Verdict: said.Verdict,
		Reason: said.Reason, Rule: said.Rule, List: said.List, Why: said.Why,
	}
}

// tell reports one record as an event.
func (s *calls) tell(source netip.AddrPort, record appliance.Call, at time.Time) {
	s.report(appliance.Event{
		Time: at, Kind: appliance.EventCall, Verdict: record.Verdict, Reason: record.Reason,
		Source: source, Subject: record.From, Message: record.Reason.Sentence(), Call: &record,
	})
}

// refused reports an attempt that ended where it began.
func (s *calls) refused(q *request, record appliance.Call, status int) {
	record.End, record.Status = q.at, status
	s.tell(q.from.remote, record, q.at)
}

// begin reports a decided call and keeps it until it ends.
func (s *calls) begin(q *request, record appliance.Call) *call {
	c := &call{record: record, source: q.from.remote, dialogs: make(map[*dialog]struct{})}
	s.mu.Lock()
	s.all[record.ID] = c
	s.mu.Unlock()
	s.tell(q.from.remote, record, q.at)
	return c
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
	if status != 0 {
		c.record.Status = status
	}
	if reason != appliance.ReasonNoRules {
		c.record.Reason, c.record.Verdict = reason, reason.Verdict()
	}
	record := c.record
	c.mu.Unlock()
	s.mu.Lock()
	delete(s.all, record.ID)
	s.mu.Unlock()
	s.tell(c.source, record, now)
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
	last := len(c.dialogs) == 0 && !c.record.Answer.IsZero()
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
