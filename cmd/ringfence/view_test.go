package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	rows := [][]cell{{{"ä", plain}, {"a long sentence", red}}, {{"bbb", plain}, {"x\x1b[2J\n", plain}}}
	for name, tc := range map[string]struct {
		view view
		want string
	}{
		"plain":  {view{}, "A    B\nä    a long sentence\nbbb  x·[2J·\n"},
		"narrow": {view{width: 10}, "A    B\nä    a lo…\nbbb  x·[2…\n"},
		"colour": {view{colour: true}, "\x1b[2mA    \x1b[0m\x1b[2mB\x1b[0m\nä    \x1b[31ma long sentence\x1b[0m\nbbb  x·[2J·\n"},
	} {
		var out bytes.Buffer
		v := &tc.view
		v.out = &out
		v.table([]string{"A", "B"}, rows)
		if err := v.flush(); err != nil || out.String() != tc.want {
			t.Errorf("%s: err %v\n%q\nwant\n%q", name, err, out.String(), tc.want)
		}
	}
}

func TestPictureFitsTheScreen(t *testing.T) {
	v := &view{height: 2}
	v.printf("a\nb\nc\n")
	v.picture()
	if got := v.buffer.String(); got != "a"+clearRight+"\nb" {
		t.Fatalf("got %q", got)
	}
}

func TestWhen(t *testing.T) {
	v := &view{now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), zone: time.FixedZone("AEST", 10*3600)}
	for _, tc := range []struct {
		at   time.Time
		want string
	}{
		{v.now.Add(-time.Hour), "21:00:00"},
		{v.now.Add(3 * time.Hour), "2 Jul 01:00"},
		{v.now.AddDate(-1, 0, 0), "2025-07-01 22:00"},
		{time.Time{}, "-"},
	} {
		if got := v.when(tc.at); got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.at, got, tc.want)
		}
	}
}

func TestParseLength(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "2h30m": 150 * time.Minute, "7d": 7 * 24 * time.Hour,
		"": 0, "0": 0, "-1h": 0, "-1d": 0, "d": 0, "2": 0, "99999999999d": 0, "two": 0,
	} {
		got, err := parseLength(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %v, err %v; want %v", text, got, err, want)
		}
	}
}

func TestParseSince(t *testing.T) {
	now, zone := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), time.FixedZone("AEST", 10*3600)
	for text, want := range map[string]time.Time{
		"": {}, "24h": now.Add(-24 * time.Hour), "2026-06-01": time.Date(2026, 6, 1, 0, 0, 0, 0, zone),
		"2026-06-01T00:00:00Z": time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, err := parseSince(text, now, zone); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, err %v; want %v", text, got, err, want)
		}
	}
	if _, err := parseSince("yesterday", now, zone); err == nil {
		t.Error("yesterday was understood")
	}
}

func TestPut(t *testing.T) {
	const document = `{"n":3,"b":true,"s":"x","sip":{"listen":["a"]},"empty":[],"nums":[1],"list":[{"k":"v"}],"ports":{"open":[]}}`
	for _, tc := range []struct{ path, value, want string }{
		{"n", "4", `"n":4`},
		{"n", "four", `"n":"four"`},
		{"b", "false", `"b":false`},
		{"s", "5", `"s":"5"`},
		{"sip.listen", "b, c", `"listen":["b","c"]`},
		{"sip.listen", `["d"]`, `"listen":["d"]`},
		{"sip.listen", "", `"listen":[]`},
		{"sip.listen[1]", `e`, `"listen":["a","e"]`},
		{"nums", "7,8", `"nums":[7,8]`},
		{"empty", "0", `"empty":["0"]`},
		{"empty", "[5070]", `"empty":[5070]`},
		{"ports.open", "5070, 5071", `"open":[5070,5071]`},
		{"ports.open", "sip", `"open":["sip"]`},
		{"list[0].k", "w", `"list":[{"k":"w"}]`},
		{"list[1]", `{"k":"z"}`, `"list":[{"k":"v"},{"k":"z"}]`},
		{"sip.pbx", `{"address":"x"}`, `"pbx":{"address":"x"}`},
	} {
		tree, err := decodeTree([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		changed, err := put(tree, tc.path, tc.value)
		if err != nil {
			t.Errorf("%s: %v", tc.path, err)
			continue
		}
		got, err := json.Marshal(changed)
		if err != nil || !strings.Contains(string(got), tc.want) {
			t.Errorf("%s = %s: got %s, err %v; want %s", tc.path, tc.value, got, err, tc.want)
		}
	}
	for _, path := range []string{"", ".", "a..b", "list[2]", "list[x]", "list[-1]", "list[0", "list[0]x", "no.such", "s.x", "list.k"} {
		tree, _ := decodeTree([]byte(document))
		if changed, err := put(tree, path, "1"); err == nil {
			t.Errorf("path %q was taken: %v", path, changed)
		}
	}
}
