package watch

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// Digest sends the summary of the day that ends now; a quiet day is worth a line,
// too, for silence may be a broken mail server.
func (w *Watch) Digest() {
	now := w.Now().Wall
	n := appliance.Notice{Kind: appliance.NoticeDigest, Title: "Summary of " + now.Add(-time.Hour).Format("Monday 2 January")}
	counts := make(map[fraud.RuleID]int)
	for _, f := range w.engine.Findings() {
		if now.Sub(f.At) <= 24*time.Hour && f.Level >= fraud.Warning && !f.Shadow {
			counts[f.Rule]++
		}
	}
	for _, id := range byCount(counts) {
		n.Happened = append(n.Happened, fmt.Sprintf("%d findings by the rule %s", counts[id], id))
	}
	for _, b := range w.engine.Blocks() {
		n.Done = append(n.Done, fmt.Sprintf("The %s is blocked since %s: %s", b.Subject, b.Since.Format("2 January 15:04"), b.Why))
	}
	for _, one := range w.Weak() {
		n.Next = append(n.Next, fmt.Sprintf("Change the password of %s: %s.", one.Account, one.Class.Sentence()))
	}
	if len(n.Happened) == 0 {
		n.Happened = []string{"Nothing out of the ordinary."}
	}
	w.send(n)
}

func byCount(counts map[fraud.RuleID]int) []fraud.RuleID {
	var ids []fraud.RuleID
	for id := range counts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b fraud.RuleID) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return ids
}

// TestNotice sends one by hand, to see whether notices arrive.
func (w *Watch) TestNotice(by string) {
	w.send(appliance.Notice{
		Kind: appliance.NoticeTest, Urgent: true, Title: "Notices of this box arrive", Happened: []string{by + " asked for this message."},
	})
}

// digestAt is the hour of the site at which the digest is sent.
const digestAt = 7

// Minute does what the clock on the wall asks for. It wants to be called each
// minute: it sends the digest, where daily says so, and tells when business hours
// begin and end.
func (w *Watch) Minute(daily bool) {
	hours := w.Config().Hours
	now := w.Now().Wall
	local := now.In(hours.Zone)
	open := hours.Open(now)
	day := local.Format(time.DateOnly)
	w.mu.Lock()
	due := daily && local.Hour() == digestAt && w.digested != day
	if due {
		w.digested = day
	}
	turned := w.opened != nil && *w.opened != open && hours.Set()
	w.opened = &open
	w.mu.Unlock()
	if due {
		w.Digest()
	}
	if turned {
		said := map[bool]string{true: "business hours have begun", false: "business hours are over: calls of the classes named in the settings are refused"}[open]
		w.Report(appliance.Event{Time: now, Kind: appliance.EventFraud, Verdict: appliance.Allow, Subject: "hours", Message: said})
	}
}
