package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFeeds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if names, err := s.Feeds(); err != nil || len(names) != 0 {
		t.Fatalf("a new box has feeds %v, err %v", names, err)
	}
	var got accept
	if _, _, err := s.Feed("hotspots", got.json); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("err %v; want fs.ErrNotExist", err)
	}
	for _, text := range []string{`1`, `2`} {
		if err := s.PutFeed("hotspots", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutFeed("own", []byte(`3`)); err != nil {
		t.Fatal(err)
	}
	at, note, err := s.Feed("hotspots", got.json)
	if err != nil || note != "" || got.taken != "2" || at.IsZero() {
		t.Fatalf("took %q of %v, note %q, err %v", got.taken, at, note, err)
	}
	if names, err := s.Feeds(); err != nil || !slices.Equal(names, []string{"hotspots", "own"}) {
		t.Fatalf("feeds %v, err %v", names, err)
	}
	// Damaged, the edition before it is taken; removed, nothing is left.
	if err := os.WriteFile(filepath.Join(dir, "feeds", "hotspots.feed"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, note, err := s.Feed("hotspots", got.json); err != nil || got.taken != "1" || !strings.Contains(note, "kept as hotspots.damaged.feed") {
		t.Fatalf("took %q, note %q, err %v", got.taken, note, err)
	}
	if err := s.RemoveFeed("hotspots"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Feed("hotspots", got.json); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("err %v; want a removed feed to be as one that never was", err)
	}
	if names, err := s.Feeds(); err != nil || !slices.Equal(names, []string{"own"}) {
		t.Fatalf("feeds %v, err %v", names, err)
	}
}

// TestFeedThatCannotBeWritten leaves the edition in force alone.
func TestFeedThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.PutFeed("own", []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "feeds", "own.feed.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.PutFeed("own", []byte(`2`)); err == nil {
		t.Fatal("nothing was written and nothing was said")
	}
	var got accept
	if _, note, err := s.Feed("own", got.json); err != nil || note != "" || got.taken != "1" {
		t.Fatalf("took %q, note %q, err %v", got.taken, note, err)
	}
	if err := s.PutFeed("big", make([]byte, maxFeed+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Fatalf("err %v", err)
	}
}

func TestLists(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var got accept
	if _, err := s.Names(got.json); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("err %v", err)
	}
	for _, put := range []func([]byte) error{s.PutAccounts, s.PutNames, s.PutFetches, s.PutIdentity} {
		if err := put([]byte(`[]`)); err != nil {
			t.Fatal(err)
		}
	}
	for _, take := range []func(func([]byte) error) (string, error){s.Accounts, s.Names, s.Fetches, s.Identity} {
		got = accept{}
		if note, err := take(got.json); note != "" || err != nil || got.taken != "[]" {
			t.Fatalf("took %q, note %q, err %v", got.taken, note, err)
		}
	}
}
