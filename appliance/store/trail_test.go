package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

func trailOf(candidates, length int) *appliance.Trail {
	trail := &appliance.Trail{Serial: 7, Generation: "0123456789abcdef", Firmware: "v1", Candidates: []appliance.Weighed{}}
	for n := range candidates {
		trail.Candidates = append(trail.Candidates, appliance.Weighed{
			Number: fmt.Sprintf("+2526155501%02d", n), Via: []string{strings.Repeat("x", length)}, Reason: appliance.ReasonHighRisk, Rule: "+252"})
	}
	return trail
}

func TestTrailIsKeptBesideTheRecord(t *testing.T) {
	s := open(t, t.TempDir())
	one := call(1, appliance.Block)
	one.Trail = trailOf(3, 10)
	appendAll(t, s, []appliance.Call{one, call(2, appliance.Block)}, nil)
	got, err := s.Calls(context.Background(), appliance.CallFilter{ID: one.ID, Trail: true})
	if err != nil || !reflect.DeepEqual(got, []appliance.Call{one}) {
		t.Fatalf("got %+v, err %v", got, err)
	}
	for _, filter := range []appliance.CallFilter{{}, {ID: call(2, appliance.Block).ID, Trail: true}} {
		got, err := s.Calls(context.Background(), filter)
		if err != nil || len(got) == 0 || got[0].Trail != nil {
			t.Errorf("%+v: got %+v, err %v", filter, got, err)
		}
	}
}

func TestTrailIsBounded(t *testing.T) {
	text, err := encodeTrail(nil, trailOf(appliance.MaxCandidates, 1000))
	if err != nil || len(text.String) > trailBytes || !strings.Contains(text.String, `"omitted":1`) {
		t.Errorf("%d bytes, err %v", len(text.String), err)
	}
	long := trailOf(0, 0)
	long.Generation = strings.Repeat("x", trailBytes)
	if _, err := encodeTrail(nil, long); err == nil {
		t.Error("no error for a trail that can't be made short enough")
	}
}

func TestCallsByNumberAndAccount(t *testing.T) {
	s := open(t, t.TempDir())
	short, known := call(2, appliance.Allow), call(3, appliance.Block)
	short.Number, short.From = "000", "102"
	known.From = "102"
	appendAll(t, s, []appliance.Call{call(1, appliance.Block), short, known}, nil)
	for name, tc := range map[string]struct {
		filter appliance.CallFilter
		want   string
	}{
		"prefix":               {appliance.CallFilter{Number: "+252"}, "3 1"},
		"prefix without plus":  {appliance.CallFilter{Number: "25261"}, "3 1"},
		"short code":           {appliance.CallFilter{Number: "000"}, "2"},
		"no such number":       {appliance.CallFilter{Number: "+61"}, ""},
		"no wildcard":          {appliance.CallFilter{Number: "%"}, ""},
		"account":              {appliance.CallFilter{Account: "102"}, "3 2"},
		"account and number":   {appliance.CallFilter{Account: "102", Number: "+252"}, "3"},
		"account is no prefix": {appliance.CallFilter{Account: "10"}, ""},
	} {
		got, err := s.Calls(context.Background(), tc.filter)
		if err != nil || ids(got) != tc.want {
			t.Errorf("%s: got %q, err %v; want %q", name, ids(got), err, tc.want)
		}
	}
}

// oldSchema writes a database as the first edition left it, with rows in it.
func oldSchema(t *testing.T, dir string, calls int) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := migrate(db, 0); err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		const record = `{"id":"aaaa%04d","call_id":"1@pbx","direction":"outbound","use":"call","start":"2026-07-01T12:00:00Z","from":"101",
			"source":"10.0.0.1:5060","dialled":"0011252","number":"+25261","label":"Somalia","trunk":"t","verdict":"block",
			"reason":"high_risk","rule":"+252","list":"high-risk","why":"Somalia","status":403}`
		if _, err := db.Exec("INSERT INTO calls (id, start, verdict, record) VALUES (?, ?, 0, ?)", fmt.Sprintf("aaaa%04d", i), noon.UnixNano()+int64(i), fmt.Sprintf(record, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMigrationKeepsTheRows opens a database of the first schema.
func TestMigrationKeepsTheRows(t *testing.T) {
	dir := t.TempDir()
	oldSchema(t, dir, 3)
	s := open(t, dir)
	if aside, _ := s.SetAside(); aside != "" {
		t.Fatalf("it was set aside as %s", aside)
	}
	got, err := s.Calls(context.Background(), appliance.CallFilter{Number: "252", Account: "101", Trail: true})
	if err != nil || ids(got) != "2 1 0" || got[0].Trail != nil || got[0].Reason != appliance.ReasonHighRisk {
		t.Fatalf("got %+v, err %v", got, err)
	}
	again := got[1]
	again.Trail = trailOf(1, 1)
	appendAll(t, s, []appliance.Call{again}, nil)
	if got, err = s.Calls(context.Background(), appliance.CallFilter{ID: again.ID, Trail: true}); err != nil || !reflect.DeepEqual(got, []appliance.Call{again}) {
		t.Fatalf("got %+v, err %v", got, err)
	}
	var version int
	if err := s.db.reader.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version != len(migrations) {
		t.Fatalf("schema %d, err %v", version, err)
	}
}

func TestDatabaseIsBoundedInBytes(t *testing.T) {
	s := open(t, t.TempDir())
	s.keep.Rows, s.keep.Bytes = 1<<20, 512<<10
	var flood []appliance.Call
	for i := range 2000 {
		one := call(i, appliance.Block)
		one.Trail = trailOf(5, 100)
		flood = append(flood, one)
	}
	appendAll(t, s, flood, nil)
	var pages, size int64
	if err := s.db.reader.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if err := s.db.reader.QueryRow("PRAGMA page_size").Scan(&size); err != nil {
		t.Fatal(err)
	}
	got, err := s.Calls(context.Background(), appliance.CallFilter{})
	if err != nil || pages*size > s.keep.Bytes || len(got) < 100 || got[0].ID != "aaaa1999" {
		t.Errorf("%d bytes hold %d calls, err %v; want the newest ones within the bound", pages*size, len(got), err)
	}
}
