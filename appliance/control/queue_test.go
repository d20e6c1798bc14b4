package control

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ringfence/ringfence/appliance"
)

func TestQueueKeepsTheLatestOfACall(t *testing.T) {
	b := newBox(t, t.TempDir())
	call := appliance.Call{ID: "aaaaaaaa", Start: noon, Verdict: appliance.Allow, Reason: appliance.ReasonInbound}
	b.queue.Report(appliance.Event{Kind: appliance.EventCall, Call: &call})
	answered := call
	answered.Status = 200
	b.queue.Report(appliance.Event{Kind: appliance.EventCall, Call: &answered})
	b.queue.Report(appliance.Event{Time: noon, Kind: appliance.EventRegistration, Subject: "1001"})
	b.Flush()
	calls, err := b.records.Calls(context.Background(), appliance.CallFilter{})
	if err != nil || len(calls) != 1 || calls[0].Status != 200 {
		t.Fatalf("calls %+v, err %v", calls, err)
	}
	entries, err := b.records.Events(context.Background(), appliance.EventFilter{})
	if err != nil || len(entries) != 1 || entries[0].Subject != "1001" {
		t.Fatalf("entries %+v, err %v; calls do not belong into the journal", entries, err)
	}
}

// TestNoReaderLags: whatever was reported before somebody asks is in the answer,
// though nobody has written it yet.
func TestNoReaderLags(t *testing.T) {
	b := newBox(t, t.TempDir())
	for n := range 3 {
		id := strings.Repeat(string(rune('a'+n)), 8)
		b.queue.Report(appliance.Event{Kind: appliance.EventCall, Call: &appliance.Call{ID: id, Start: noon}})
		calls, err := b.records.Calls(context.Background(), appliance.CallFilter{ID: id})
		if err != nil || len(calls) != 1 {
			t.Fatalf("right after call %s was decided: %+v, %v", id, calls, err)
		}
	}
	b.queue.Report(appliance.Event{Time: noon, Kind: appliance.EventRegistration, Subject: "1001"})
	entries, err := b.records.Events(context.Background(), appliance.EventFilter{})
	if err != nil || len(entries) != 1 || entries[0].Subject != "1001" {
		t.Fatalf("entries %+v, err %v", entries, err)
	}
}

// TestGroupWritesACallOnce: what a call was in between is nobody's business, and
// what others reported in between keeps its order.
func TestGroupWritesACallOnce(t *testing.T) {
	b := newBox(t, t.TempDir())
	var events []appliance.Event
	for status, id := range []string{"aaaaaaaa", "bbbbbbbb", "aaaaaaaa"} {
		events = append(events, appliance.Event{Kind: appliance.EventCall, Call: &appliance.Call{ID: id, Status: status}},
			appliance.Event{Kind: appliance.EventGate, Subject: id})
	}
	got := b.gather(events)
	if len(got.calls) != 2 || got.calls[0].Status != 2 || got.calls[1].ID != "bbbbbbbb" {
		t.Errorf("calls %+v", got.calls)
	}
	if len(got.events) != 3 || got.events[1].Subject != "bbbbbbbb" {
		t.Errorf("events %+v", got.events)
	}
}

func TestQueueIsBounded(t *testing.T) {
	b := newBox(t, t.TempDir())
	for range queueLength + 10 {
		b.queue.Report(appliance.Event{Time: noon, Kind: appliance.EventRefusal, Message: "malformed"})
	}
	b.Flush()
	got := b.Journal()
	if got.Lost != 10 || got.Suppressed != queueLength-refusalsPerSecond || got.Unwritten != 0 {
		t.Fatalf("journal %+v", got)
	}
	entries, err := b.records.Events(context.Background(), appliance.EventFilter{})
	if err != nil || len(entries) != refusalsPerSecond {
		t.Fatalf("%d entries, err %v", len(entries), err)
	}
}

func TestRecordsThatTheDiskRefusesAreCounted(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.Control.records = refusingRecords{b.store}
	b.queue.Report(appliance.Event{Time: noon, Kind: appliance.EventGate})
	b.queue.Report(appliance.Event{Kind: appliance.EventCall, Call: &appliance.Call{ID: "aaaaaaaa"}})
	b.Flush()
	if got := b.Journal().Unwritten; got != 2 {
		t.Fatalf("%d unwritten; want 2", got)
	}
}

type refusingRecords struct{ Records }

func (refusingRecords) Append([]appliance.Call, []appliance.Event) error { return errNo }

func TestRunWritesWithoutBeingAsked(t *testing.T) {
	b := newBox(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.queue.Report(appliance.Event{Time: noon, Kind: appliance.EventGate})
	for {
		// Not through b.records: whoever asks there makes it write.
		entries, err := b.store.Events(ctx, appliance.EventFilter{Kind: appliance.EventGate})
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 1 {
			break
		}
		runtime.Gosched() // the test's own time limit is the only one
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("ü", maxText)
	got := clip(long)
	if len(got) > maxText || !utf8.ValidString(got) || !strings.HasSuffix(got, ellipsis) {
		t.Fatalf("clip gave %d bytes, valid %v", len(got), utf8.ValidString(got))
	}
	if clip("short") != "short" {
		t.Fatal("a short text was clipped")
	}
}

func TestRecentIsARing(t *testing.T) {
	var r recent
	for i := range recentLength + 5 {
		r.add(appliance.Drop{Length: uint16(i)})
	}
	got := r.newest(0, recentLength+5)
	if len(got) != recentLength || got[0].Seq != recentLength+5 || got[recentLength-1].Seq != 6 {
		t.Fatalf("%d samples from %d to %d", len(got), got[0].Seq, got[len(got)-1].Seq)
	}
	if after := r.newest(recentLength+3, 10); len(after) != 2 {
		t.Fatalf("%d samples after the last but two", len(after))
	}
	if all := r.newest(recentLength+6, 10); len(all) != 10 {
		t.Fatalf("%d samples after one of an earlier daemon", len(all))
	}
}
