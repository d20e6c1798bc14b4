package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

func call(i int, verdict appliance.Verdict) appliance.Call {
	return appliance.Call{
		ID: fmt.Sprintf("aaaa%04d", i), CallID: fmt.Sprintf("%d@pbx", i), Direction: appliance.Outbound,
		Start: noon.Add(time.Duration(i) * time.Second), Dialled: "0011252615550148", Number: "+252615550148",
		Verdict: verdict, Reason: appliance.ReasonHighRisk, Rule: "+252", List: "high-risk", Why: "Somalia", Status: 403,
	}
}

func appendAll(t *testing.T, s *Store, calls []appliance.Call, events []appliance.Event) {
	t.Helper()
	if err := s.Append(calls, events); err != nil {
		t.Fatal(err)
	}
}

func ids(calls []appliance.Call) string {
	var out []string
	for _, one := range calls {
		out = append(out, strings.TrimPrefix(one.ID, "aaaa000"))
	}
	return strings.Join(out, " ")
}

func TestCalls(t *testing.T) {
	s := open(t, t.TempDir())
	answered := call(2, appliance.Allow)
	answered.Answer = noon.Add(10 * time.Second)
	appendAll(t, s, []appliance.Call{call(1, appliance.Block), call(2, appliance.Allow), call(3, appliance.Block)}, nil)
	appendAll(t, s, []appliance.Call{answered}, nil)
	block, allow := appliance.Block, appliance.Allow
	for name, tc := range map[string]struct {
		filter appliance.CallFilter
		want   string
	}{
		"all, newest first": {appliance.CallFilter{}, "3 2 1"},
		"limit":             {appliance.CallFilter{Limit: 2}, "3 2"},
		"since":             {appliance.CallFilter{Since: noon.Add(2 * time.Second)}, "3 2"},
		"blocked":           {appliance.CallFilter{Verdict: &block}, "3 1"},
		"allowed":           {appliance.CallFilter{Verdict: &allow}, "2"},
		"prefix":            {appliance.CallFilter{ID: "aaaa"}, "3 2 1"},
		"whole ID":          {appliance.CallFilter{ID: "aaaa0002"}, "2"},
		"prefix is no glob": {appliance.CallFilter{ID: "%"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Calls(context.Background(), tc.filter)
			if err != nil || ids(got) != tc.want {
				t.Fatalf("got %q, err %v; want %q", ids(got), err, tc.want)
			}
		})
	}
	got, err := s.Calls(context.Background(), appliance.CallFilter{ID: answered.ID})
	if err != nil || !reflect.DeepEqual(got, []appliance.Call{answered}) {
		t.Fatalf("got %+v, err %v; want the record as reported last", got, err)
	}
}

// TestAppendManyAtOnce: more calls than one statement takes, one of them twice in
// the same statement and once in another, and later again.
func TestAppendManyAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	const many = 2*rowsAtOnce + 5
	var calls []appliance.Call
	for n := range many {
		calls = append(calls, call(n, appliance.Block))
	}
	twice := call(3, appliance.Allow)
	calls[9], calls[rowsAtOnce+9] = twice, twice
	calls[rowsAtOnce+9].Status = 200
	appendAll(t, s, calls, nil)
	got, err := s.Calls(context.Background(), appliance.CallFilter{})
	if err != nil || len(got) != many-2 {
		t.Fatalf("%d calls, err %v; want %d", len(got), err, many-2)
	}
	got, err = s.Calls(context.Background(), appliance.CallFilter{ID: twice.ID})
	if err != nil || len(got) != 1 || got[0].Status != 200 || got[0].Verdict != appliance.Allow {
		t.Fatalf("got %+v, err %v; want the last report", got, err)
	}
	twice.Status = 486
	appendAll(t, s, []appliance.Call{twice}, nil)
	got, err = s.Calls(context.Background(), appliance.CallFilter{ID: twice.ID})
	if err != nil || len(got) != 1 || got[0].Status != 486 {
		t.Fatalf("got %+v, err %v; want the last report", got, err)
	}
}

// TestRowBoundOfCalls: no more than the newest arrivals are left of a flood of
// calls, without anybody calling Prune.
func TestRowBoundOfCalls(t *testing.T) {
	s := open(t, t.TempDir())
	var calls []appliance.Call
	for n := range pruneEvery {
		calls = append(calls, call(n, appliance.Block))
	}
	appendAll(t, s, calls, nil)
	got, err := s.Calls(context.Background(), appliance.CallFilter{})
	if err != nil || len(got) != keep.Rows {
		t.Fatalf("%d calls, err %v; want %d", len(got), err, keep.Rows)
	}
	for _, one := range got {
		if !slices.ContainsFunc(calls[pruneEvery-keep.Rows:], func(c appliance.Call) bool { return c.ID == one.ID }) {
			t.Errorf("%s is not among the newest", one.ID)
		}
	}
}

func TestEvents(t *testing.T) {
	s := open(t, t.TempDir())
	change := appliance.Event{Time: noon, Kind: appliance.EventChange, Verdict: appliance.Allow, Subject: "settings", Message: "applied"}
	gate := appliance.Event{Time: noon.Add(time.Minute), Kind: appliance.EventGate, Message: "swapped"}
	appendAll(t, s, nil, []appliance.Event{change, gate})
	all, err := s.Events(context.Background(), appliance.EventFilter{})
	if err != nil || len(all) != 2 || !reflect.DeepEqual(all[0].Event, gate) || !reflect.DeepEqual(all[1].Event, change) {
		t.Fatalf("got %+v, err %v", all, err)
	}
	for name, filter := range map[string]appliance.EventFilter{
		"kind": {Kind: appliance.EventGate}, "since": {Since: noon.Add(time.Second)},
		"after": {After: all[1].Seq}, "limit": {Limit: 1},
	} {
		got, err := s.Events(context.Background(), filter)
		if err != nil || len(got) != 1 || got[0].Message != "swapped" {
			t.Errorf("%s: got %+v, err %v", name, got, err)
		}
	}
}

func TestRecordsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendAll(t, s, []appliance.Call{call(1, appliance.Block)}, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Calls(context.Background(), appliance.CallFilter{})
	if err != nil || len(got) != 1 {
		t.Fatalf("got %d calls, err %v", len(got), err)
	}
}

func TestPrune(t *testing.T) {
	s := open(t, t.TempDir())
	old := call(0, appliance.Block)
	old.Start = noon.Add(-25 * time.Hour)
	appendAll(t, s, []appliance.Call{call(1, appliance.Allow), old}, []appliance.Event{
		{Time: noon.Add(-25 * time.Hour), Kind: appliance.EventGate, Message: "old"},
		{Time: noon, Kind: appliance.EventChange, Message: "change"}})
	var flood []appliance.Event
	for range pruneEvery {
		flood = append(flood, appliance.Event{Time: noon, Kind: appliance.EventRefusal, Message: "refused"})
	}
	appendAll(t, s, nil, flood)
	refusals, err := s.Events(context.Background(), appliance.EventFilter{Kind: appliance.EventRefusal})
	if err != nil || len(refusals) != keep.Rows {
		t.Fatalf("%d refusals, err %v; want the bound of %d enforced without Prune", len(refusals), err, keep.Rows)
	}
	if err := s.Prune(); err != nil {
		t.Fatal(err)
	}
	others, err := s.Events(context.Background(), appliance.EventFilter{Kind: appliance.EventChange})
	if err != nil || len(others) != 1 {
		t.Fatalf("%d changes, err %v; a flood of refusals must not drive them out", len(others), err)
	}
	if gone, _ := s.Events(context.Background(), appliance.EventFilter{Kind: appliance.EventGate}); len(gone) != 0 {
		t.Fatalf("%d gate events are older than the retention", len(gone))
	}
	calls, err := s.Calls(context.Background(), appliance.CallFilter{})
	if err != nil || ids(calls) != "1" {
		t.Fatalf("calls %q, err %v; want the old one pruned", ids(calls), err)
	}
	if entry := refusals[0]; entry.Seq != int64(pruneEvery)+2 {
		t.Fatalf("newest seq %d; want it counted on", entry.Seq)
	}
}

func TestDamagedDatabaseIsSetAside(t *testing.T) {
	overwrite := func(offset int64) func(string) error {
		return func(path string) error {
			db, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = db.WriteAt([]byte(strings.Repeat("not a page ", 400)), offset)
			return errors.Join(err, db.Close())
		}
	}
	for name, damage := range map[string]func(string) error{
		"header": overwrite(0),
		"page":   overwrite(4096 + 1),
		"newer schema": func(path string) error {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				return err
			}
			_, err = db.Exec("PRAGMA user_version = 1000")
			return errors.Join(err, db.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			appendAll(t, s, []appliance.Call{call(1, appliance.Block)}, nil)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			aside, at := s.SetAside()
			if !strings.HasPrefix(aside, "ringfence.db.aside-") || !at.Equal(noon) {
				t.Fatalf("set aside %q at %v", aside, at)
			}
			if info, err := os.Stat(filepath.Join(dir, aside)); err != nil || info.Size() == 0 {
				t.Fatalf("the damaged database was not kept: %v", err)
			}
			appendAll(t, s, []appliance.Call{call(2, appliance.Block)}, nil)
			calls, err := s.Calls(context.Background(), appliance.CallFilter{})
			if err != nil || ids(calls) != "2" {
				t.Fatalf("calls %q, err %v", ids(calls), err)
			}
		})
	}
}

func TestAsidesAreBounded(t *testing.T) {
	dir := t.TempDir()
	at := noon
	for range asideKept + 3 {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Repeat("garbage", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, keep, func() time.Time { return at })
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Hour)
	}
	names, err := filepath.Glob(filepath.Join(dir, file+aside+"*"))
	if err != nil || len(names) != asideKept {
		t.Fatalf("kept %q, err %v; want %d", names, err, asideKept)
	}
}

// TestKilledWriter leaves the database as kill -9 does: copied with its log
// while it is open and in use.
func TestKilledWriter(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	s := open(t, dir)
	for i := range 5 {
		appendAll(t, s, []appliance.Call{call(i, appliance.Block)}, nil)
	}
	if err := os.CopyFS(filepath.Join(copied, "state"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	after := open(t, filepath.Join(copied, "state"))
	calls, err := after.Calls(context.Background(), appliance.CallFilter{})
	if err != nil || ids(calls) != "4 3 2 1 0" {
		t.Fatalf("calls %q, err %v", ids(calls), err)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := open(t, t.TempDir())
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for j := range 20 {
				if err := s.Append([]appliance.Call{call(i*100+j, appliance.Block)}, nil); err != nil {
					t.Error(err)
				}
				if _, err := s.Calls(context.Background(), appliance.CallFilter{Limit: 5}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if calls, err := s.Calls(context.Background(), appliance.CallFilter{}); err != nil || len(calls) != 80 {
		t.Fatalf("%d calls, err %v", len(calls), err)
	}
}

// TestFullDisk fills a real file system.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, THE FULL DISK IS NOT TESTED: mounting a small tmpfs needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("SKIPPED, THE FULL DISK IS NOT TESTED: mount tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := open(t, dir)
	t.Cleanup(func() { s.Close() })
	if err := s.PutDocument(appliance.DocumentSettings, []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	if err := s.Probe(); err != nil {
		t.Fatalf("probe an empty disk: %v", err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	if err := s.Probe(); err == nil {
		t.Fatal("the probe passed on a full disk")
	}
	if err := s.PutDocument(appliance.DocumentSettings, make([]byte, 64<<10)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("put a document on a full disk: %v", err)
	}
	var flood []appliance.Call
	for i := range 2000 {
		flood = append(flood, call(i, appliance.Block))
	}
	if err := s.Append(flood, nil); err == nil {
		t.Fatal("two thousand records fitted on a full disk")
	}
	var got accept
	if note, err := s.Document(appliance.DocumentSettings, got.json); note != "" || err != nil || got.taken != "1" {
		t.Fatalf("took %q, note %q, err %v; want the old edition", got.taken, note, err)
	}
	if free, total, err := s.Space(); err != nil || free > 64<<10 || total != 1<<20 {
		t.Fatalf("free %d of %d, err %v", free, total, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.Probe(); err != nil {
		t.Fatalf("probe after there is room again: %v", err)
	}
	appendAll(t, s, []appliance.Call{call(1, appliance.Block)}, nil)
}

// TestPagesOfCalls walks through records of few moments, a page at a time.
func TestPagesOfCalls(t *testing.T) {
	s := open(t, t.TempDir())
	var calls []appliance.Call
	for n := range 10 {
		calls = append(calls, appliance.Call{ID: fmt.Sprintf("call%d", (n*7)%10), Start: noon.Add(time.Duration(n/4) * time.Second)})
	}
	if err := s.Append(calls, nil); err != nil {
		t.Fatal(err)
	}
	all, err := s.Calls(t.Context(), appliance.CallFilter{})
	if err != nil || len(all) != 10 {
		t.Fatal(len(all), err)
	}
	var paged []appliance.Call
	filter := appliance.CallFilter{Limit: 3}
	for {
		page, err := s.Calls(t.Context(), filter)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		last := page[len(page)-1]
		filter.Before, filter.BeforeID = last.Start, last.ID
	}
	if !reflect.DeepEqual(paged, all) {
		t.Errorf("paged %v\nall   %v", paged, all)
	}
}
