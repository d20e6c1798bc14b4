package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

func openAt(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Retention{Age: time.Hour, Rows: 100}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func note(t *testing.T, s *Store, message string) {
	t.Helper()
	if err := s.Audit(appliance.Audit{Time: time.Date(2026, 11, 16, 10, 0, 0, 0, time.UTC), Actor: "Ann", Action: "change", Subject: "settings", Message: message}); err != nil {
		t.Fatal(err)
	}
}

func TestAuditChain(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	for n := range 3 {
		note(t, s, fmt.Sprint("line ", n))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir)
	note(t, s, "after a restart")
	lines, broken, err := s.Audits(1, 2)
	if err != nil || broken != "" || len(lines) != 2 || lines[0].Seq != 2 || lines[1].Before != lines[0].Hash {
		t.Fatalf("lines %+v, broken %q, %v", lines, broken, err)
	}
	if lines, _, _ := s.Audits(0, 100); len(lines) != 4 || lines[0].Before != "" || lines[3].Message != "after a restart" {
		t.Errorf("lines %+v", lines)
	}
}

// TestAuditTamper: a line that was changed, taken out, put in or swapped is seen.
func TestAuditTamper(t *testing.T) {
	for name, spoil := range map[string]func([]string) []string{
		"changed":  func(l []string) []string { l[1] = strings.Replace(l[1], "Ann", "Bob", 1); return l },
		"taken":    func(l []string) []string { return append(l[:1], l[2:]...) },
		"swapped":  func(l []string) []string { l[1], l[2] = l[2], l[1]; return l },
		"repeated": func(l []string) []string { return append(l[:2], l[1:]...) },
		"nonsense": func(l []string) []string { l[1] = "{}\n"; return l },
	} {
		dir := t.TempDir()
		s := openAt(t, dir)
		for n := range 4 {
			note(t, s, fmt.Sprint("line ", n))
		}
		path := filepath.Join(dir, chainFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := spoil(strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n"))
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, broken, err := s.Audits(0, 10); err != nil || broken == "" {
			t.Errorf("%s: not seen (%v)", name, err)
		}
	}
}

// TestAuditPowerCut: half a line is no line, and the next one follows the last
// whole one.
func TestAuditPowerCut(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	note(t, s, "one")
	note(t, s, "two")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, chainFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir)
	note(t, s, "three")
	lines, broken, err := s.Audits(0, 10)
	if err != nil || broken != "" || len(lines) != 2 || lines[1].Message != "three" || lines[1].Seq != 2 {
		t.Errorf("lines %+v, broken %q, %v", lines, broken, err)
	}
}

// TestAuditTurns: the log is bounded, and the chain holds over both files.
func TestAuditTurns(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	long := string(bytes.Repeat([]byte("x"), 60_000))
	const many = 400 // 24 MB
	for range many {
		note(t, s, long)
	}
	lines, broken, err := s.Audits(0, many)
	if err != nil || broken != "" || len(lines) == 0 || len(lines) >= many || lines[len(lines)-1].Seq != many {
		t.Fatalf("%d lines, broken %q, %v", len(lines), broken, err)
	}
	total := int64(0)
	for _, name := range []string{chainFile, chainPrevious} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 2*maxChain {
		t.Errorf("%d bytes", total)
	}
	if err := s.Audit(appliance.Audit{Message: long + long}); err == nil {
		t.Error("a line beyond the bound was taken")
	}
}

func TestOutbox(t *testing.T) {
	dir := t.TempDir()
	o := openAt(t, dir).Outbox()
	if all, err := o.All(); err != nil || len(all) != 0 {
		t.Fatalf("a new outbox: %v, %v", all, err)
	}
	for _, name := range []string{"a.mail", "b.mail"} {
		if err := o.Put(name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Drop("a.mail"); err != nil {
		t.Fatal(err)
	}
	if err := o.Drop("a.mail"); err != nil {
		t.Errorf("dropped twice: %v", err)
	}
	if all, err := o.All(); err != nil || len(all) != 1 || string(all["b.mail"]) != "b.mail" {
		t.Errorf("all %v, %v", all, err)
	}
}
