package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

var keep = Retention{Age: 24 * time.Hour, Rows: 10}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, keep, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// accept takes whatever is JSON, and remembers it.
type accept struct{ taken string }

func (a *accept) json(data []byte) error {
	if !json.Valid(data) {
		return errors.New("not JSON")
	}
	a.taken = string(data)
	return nil
}

func TestDocumentOfANewBox(t *testing.T) {
	s := open(t, t.TempDir())
	var got accept
	note, err := s.Document(appliance.DocumentSettings, got.json)
	if !errors.Is(err, fs.ErrNotExist) || note != "" {
		t.Fatalf("note %q, err %v; want fs.ErrNotExist alone", note, err)
	}
}

func TestDocumentEditions(t *testing.T) {
	for name, tc := range map[string]struct {
		damage    func(dir string) error
		taken     string
		wantNote  string
		wantError string
	}{
		"sound": {func(string) error { return nil }, `{"edition":2}`, "", ""},
		"cut short": {func(dir string) error { return os.Truncate(filepath.Join(dir, "settings.json"), 4) },
			`{"edition":1}`, "kept as settings.damaged.json", ""},
		"vanished": {func(dir string) error { return os.Remove(filepath.Join(dir, "settings.json")) },
			`{"edition":1}`, "", ""},
		"too long": {func(dir string) error { return os.Truncate(filepath.Join(dir, "settings.json"), maxDocument+1) },
			`{"edition":1}`, "more than", ""},
		"both damaged": {func(dir string) error {
			return errors.Join(os.Truncate(filepath.Join(dir, "settings.json"), 4),
				os.Truncate(filepath.Join(dir, "settings.previous.json"), 4))
		}, "", "", "not JSON (kept as settings.damaged.json)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			for _, edition := range []string{`{"edition":1}`, `{"edition":2}`} {
				if err := s.PutDocument(appliance.DocumentSettings, []byte(edition)); err != nil {
					t.Fatal(err)
				}
			}
			if err := tc.damage(dir); err != nil {
				t.Fatal(err)
			}
			// The second reading is the next start: a new box it is not.
			for range 2 {
				var got accept
				note, err := s.Document(appliance.DocumentSettings, got.json)
				if got.taken != tc.taken || !strings.Contains(note, tc.wantNote) || (err != nil) != (tc.wantError != "") {
					t.Fatalf("took %q, note %q, err %v; want %+v", got.taken, note, err, tc)
				}
				if errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("err %v: a damaged box must not look like a new one", err)
				}
				if tc.taken == `{"edition":1}` && note == "" {
					t.Fatal("the older edition was taken without a word")
				}
				tc.wantNote, tc.wantError = "", strings.TrimPrefix(tc.wantError, "not JSON ")
			}
		})
	}
}

func TestPutDocumentAfterDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put := func(text string) {
		t.Helper()
		if err := s.PutDocument(appliance.DocumentPolicy, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put(`1`)
	put(`2`)
	if err := os.WriteFile(filepath.Join(dir, "policy.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got accept
	if _, err := s.Document(appliance.DocumentPolicy, got.json); err != nil || got.taken != "1" {
		t.Fatalf("took %q, err %v", got.taken, err)
	}
	put(`3`)
	if note, err := s.Document(appliance.DocumentPolicy, got.json); note != "" || err != nil || got.taken != "3" {
		t.Fatalf("took %q, note %q, err %v", got.taken, note, err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "policy.damaged.json"))
	if err != nil || string(kept) != "{" {
		t.Fatalf("the damaged file was not kept: %q, %v", kept, err)
	}
}

func TestDocumentsArePrivate(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.PutDocument(appliance.DocumentPolicy, []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "policy.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, err %v; want 0600", info.Mode(), err)
	}
}

func TestSecondDaemonIsTurnedAway(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := Open(dir, keep, time.Now); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Fatalf("err %v; want the folder to be locked", err)
	}
}
