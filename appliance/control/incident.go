package control

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// Bounds of one bundle.
const (
	maxIncidentCalls = 1000
	maxIncidentLines = 5000 // of the journal, and of the audit log
	pageOfRecords    = 500
)

// around is how long before what happened, and after a single call, the surroundings
// are of interest.
const around = time.Hour

// incident is what a bundle of evidence is about, and everything that is known of it.
type incident struct {
	about    string // as it was asked for, whole
	from     time.Time
	until    time.Time // zero: up to now
	blocks   []fraud.Block
	findings []fraud.Finding
	calls    []appliance.Call // oldest first, with trails
	omitted  int              // calls that found no room: the oldest ones
	events   []appliance.Entry
	audits   []appliance.Audit
	broken   string // why the chain of the audit log does not hold
}

// incidentOf finds everything about a call, or about a subject of the engine.
func (s *Server) incidentOf(ctx context.Context, id string) (*incident, error) {
	i := &incident{}
	var err error
	if id == "site" || strings.Contains(id, ":") {
		err = s.aboutSubject(ctx, i, id)
	} else {
		err = s.aboutCall(ctx, i, id)
	}
	if err == nil {
		err = s.surroundings(ctx, i)
	}
	return i, err
}

func (s *Server) aboutCall(ctx context.Context, i *incident, id string) error {
	call, err := s.callNamed(ctx, id)
	if err != nil {
		return err
	}
	end := call.Start
	if call.End.After(end) {
		end = call.End
	}
	i.about, i.from, i.until, i.calls = "call "+call.ID, call.Start.Add(-around), end.Add(around), []appliance.Call{call}
	for _, b := range s.watch.Blocks() {
		if placedBy(b.Subject, call) {
			i.blocks = append(i.blocks, b)
		}
	}
	for _, f := range s.watch.Findings() {
		if f.Call == call.ID || placedBy(f.Subject, call) && i.covers(f.At) {
			i.findings = append(i.findings, f)
		}
	}
	return nil
}

// aboutSubject begins where the evidence of its toll-block does; where none is in
// force, a day before the latest of what was found.
func (s *Server) aboutSubject(ctx context.Context, i *incident, id string) error {
	of, err := subjectOf(id)
	if err != nil {
		return err
	}
	i.about = of.Reference()
	for _, b := range s.watch.Blocks() {
		if b.Subject == of {
			i.blocks, i.from = append(i.blocks, b), b.Since
			for _, f := range b.Evidence {
				i.from = earlier(i.from, f.At)
			}
		}
	}
	all := slices.DeleteFunc(s.watch.Findings(), func(f fraud.Finding) bool { return f.Subject != of })
	if len(i.blocks) == 0 && len(all) == 0 {
		return &appliance.Error{Code: appliance.CodeNotFound, Field: "id", Message: fmt.Sprintf("there is no toll-block of %s, and nothing was found about it", i.about)}
	}
	if len(i.blocks) == 0 {
		latest := slices.MaxFunc(all, func(a, b fraud.Finding) int { return a.At.Compare(b.At) })
		i.from = latest.At.Add(-24 * time.Hour)
	}
	i.from = i.from.Add(-around)
	for _, f := range all {
		if i.covers(f.At) {
			i.findings = append(i.findings, f)
		}
	}
	return s.callsOf(ctx, i, of)
}

// callsOf gathers the outbound calls of a subject, the newest ones where there are
// too many.
func (s *Server) callsOf(ctx context.Context, i *incident, of fraud.Subject) error {
	filter := appliance.CallFilter{Since: i.from, Trail: true, Limit: pageOfRecords}
	for {
		page, err := s.control.records.Calls(ctx, filter)
		if err != nil {
			return err
		}
		for _, call := range page {
			filter.Before, filter.BeforeID = call.Start, call.ID
			switch {
			case call.Direction != appliance.Outbound || !placedBy(of, call):
			case len(i.calls) < maxIncidentCalls:
				i.calls = append(i.calls, call)
			default:
				i.omitted++
			}
		}
		if len(page) < pageOfRecords {
			slices.Reverse(i.calls)
			return nil
		}
	}
}

// placedBy reports whether a call belongs to a subject. Where no account is known, one
// that only claims to be of an extension in its From does too: that may be the point.
func placedBy(of fraud.Subject, call appliance.Call) bool {
	switch of.Kind {
	case fraud.Site:
		return true
	case fraud.Trunk:
		return call.Trunk == of.Name
	}
	if call.Account != "" {
		return call.Account == of.Name
	}
	host, _, err := net.SplitHostPort(call.Source)
	return call.From == of.Name || err == nil && host == of.Name
}

// surroundings adds what the journal and the audit log hold of the time.
func (s *Server) surroundings(ctx context.Context, i *incident) error {
	for filter := (appliance.EventFilter{Since: i.from, Limit: pageOfRecords}); len(i.events) < maxIncidentLines; {
		page, err := s.control.records.Events(ctx, filter)
		if err != nil {
			return err
		}
		for _, entry := range page {
			filter.Before = entry.Seq
			if i.covers(entry.Time) {
				i.events = append(i.events, entry)
			}
		}
		if len(page) < pageOfRecords {
			break
		}
	}
	slices.Reverse(i.events)
	lines, broken, err := s.control.audits.Audits(0, 1<<30)
	if err != nil {
		return err
	}
	i.broken = broken
	// From the first line of the time to the last one, so that the chain can be followed.
	inside := func(line appliance.Audit) bool { return i.covers(line.Time) }
	if first := slices.IndexFunc(lines, inside); first >= 0 {
		lines = lines[first:]
		for len(lines) > 0 && !inside(lines[len(lines)-1]) {
			lines = lines[:len(lines)-1]
		}
		i.audits = lines[max(0, len(lines)-maxIncidentLines):]
	}
	slices.SortStableFunc(i.findings, func(a, b fraud.Finding) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return nil
}

func (i *incident) covers(at time.Time) bool {
	return !at.Before(i.from) && (i.until.IsZero() || !at.After(i.until))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
