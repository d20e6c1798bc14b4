package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fetch"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/store"
)

func TestEveryFieldOfACallIsAColumn(t *testing.T) {
	var fields []string
	of := reflect.TypeFor[appliance.Call]()
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name != "trail" { // a list of lists: in JSON alone
			fields = append(fields, name)
		}
	}
	names := callHeading()
	slices.Sort(fields)
	slices.Sort(names)
	if !slices.Equal(fields, names) {
		t.Errorf("fields  %v\ncolumns %v", fields, names)
	}
}

func TestCellsAreNoFormulas(t *testing.T) {
	for cell, want := range map[string]string{
		"": "", "101": "101", "+61252615550": "+61252615550", "-7": "-7", "=1+1": "'=1+1", "+61*2": "'+61*2", "-cmd|x": "'-cmd|x", "@SUM(1)": "'@SUM(1)",
		"'=x": "''=x", "＝1": "'＝1", "\t=1": "·=1", "a\r\nb": "a··b", "+": "'+", "anna=": "anna=",
	} {
		if got := safe(cell); got != want {
			t.Errorf("%q: %q; want %q", cell, got, want)
		}
	}
}

// TestReplayReadsWhatIsExported holds the two ends of a file against each other.
func TestReplayReadsWhatIsExported(t *testing.T) {
	calls := []appliance.Call{
		{ID: "a", CallID: "=1@pbx", Direction: appliance.Outbound, Start: noon, Answer: noon.Add(time.Second), End: noon.Add(time.Minute), From: "'101", Dialled: "+61*2", Trunk: "@home", Forwarded: true},
		{ID: "b", Direction: appliance.Inbound, Start: noon, From: "+61252615550"},
	}
	var file strings.Builder
	each := func(do func(appliance.Call) error) error {
		for _, call := range calls {
			if err := do(call); err != nil {
				return err
			}
		}
		return nil
	}
	if err := writeCSV(&file, callHeading(), callRow, each); err != nil {
		t.Fatal(err)
	}
	var dialled string
	rows, err := fraud.ParseHistory(strings.NewReader(file.String()), func(text string) fraud.Attempt { dialled = text; return fraud.Attempt{} })
	if err != nil {
		t.Fatalf("%v\n%s", err, file.String())
	}
	out, in := rows[0], rows[1]
	if dialled != "+61*2" || out.Attempt.Extension != "'101" || out.Attempt.Trunk != "@home" || out.Attempt.Key != "=1@pbx '101" || !out.Attempt.Forwarded ||
		!out.Answer.Equal(calls[0].Answer) || !out.End.Equal(calls[0].End) || !in.Inbound || in.Attempt.Number != "+61252615550" {
		t.Errorf("dialled %q, rows %+v", dialled, rows)
	}
}

// TestExportHasEveryCall has more calls than pages hold, many of one moment, and
// one that arrives meanwhile.
func TestExportHasEveryCall(t *testing.T) {
	dir := t.TempDir()
	disk, err := store.Open(filepath.Join(dir, "state"), store.Retention{Age: 1e6 * time.Hour, Rows: 5000}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	const many = 2300
	calls := make([]appliance.Call, many)
	for n := range calls {
		calls[n] = appliance.Call{ID: fmt.Sprintf("c%07d", (n*7919)%many), Direction: appliance.Outbound, Start: noon.Add(time.Duration(n/900) * time.Second)}
	}
	if err := disk.Append(calls, nil); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	stop, err := serve(disk, socket, fetch.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	seen := map[string]int{}
	late := appliance.Call{ID: "late", Direction: appliance.Outbound, Start: noon.Add(48 * time.Hour)}
	err = newTestApp(socket, io.Discard).client().EachCall(t.Context(), appliance.CallFilter{}, func(call appliance.Call) error {
		seen[call.ID]++
		if len(seen) == 500 {
			return disk.Append([]appliance.Call{late}, nil)
		}
		return nil
	})
	if err != nil || len(seen) != many+2 || seen["late"] != 0 {
		t.Errorf("%d of %d calls, late %d: %v", len(seen), many+2, seen["late"], err)
	}
	checkWhole(t, socket, many+3)
}

// checkWhole runs the command and counts what it writes.
func checkWhole(t *testing.T, socket string, want int) {
	t.Helper()
	var table, list strings.Builder
	for format, to := range map[string]*strings.Builder{"--csv": &table, "--json": &list} {
		status := run(context.Background(), env{args: []string{"--socket", socket, "calls", format}, stdout: to, stderr: t.Output(),
			getenv: func(string) string { return "" }, now: time.Now, zone: time.UTC})
		if status != exitDone {
			t.Fatalf("%s: status %d", format, status)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(table.String())).ReadAll()
	if err != nil || len(rows) != want+1 {
		t.Errorf("%d rows; want %d: %v", len(rows), want+1, err)
	}
	var answer struct{ Calls []appliance.Call }
	if err := json.Unmarshal([]byte(list.String()), &answer); err != nil || len(answer.Calls) != want {
		t.Errorf("%d calls; want %d: %v", len(answer.Calls), want, err)
	}
}

func newTestApp(socket string, to io.Writer) *app {
	e := env{stdout: to, stderr: to, getenv: func(string) string { return "" }, now: time.Now, zone: time.UTC}
	return &app{env: e, socket: socket, view: newView(e)}
}
