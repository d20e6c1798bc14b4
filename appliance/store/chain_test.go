package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// twoLines leaves a log of two lines in a folder.
func twoLines(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	s := openAt(t, dir)
	note(t, s, "one")
	note(t, s, "two")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, chainFile)
}

// TestAuditPowerCut: half a line is no line, and the next one follows the last
// whole one.
func TestAuditPowerCut(t *testing.T) {
	dir, path := twoLines(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, dir)
	note(t, s, "three")
	lines, broken, err := s.Audits(0, 10)
	if err != nil || broken != "" || len(lines) != 2 || lines[1].Message != "three" || lines[1].Seq != 2 {
		t.Errorf("lines %+v, broken %q, %v", lines, broken, err)
	}
}

// TestAuditDamage has what a failing flash may leave: it is kept under another name,
// and the log goes on, also after a restart, without a claim to be whole.
func TestAuditDamage(t *testing.T) {
	worn := func(size int) []byte { return bytes.Repeat([]byte("worn out "), size/9+1) }
	for name, tc := range map[string]struct {
		spoil func(log []byte) []byte
		next  uint64 // the number of the line after the damage
	}{
		"without a line":            {func([]byte) []byte { return worn(1000) }, 2},
		"long and without a line":   {func([]byte) []byte { return worn(2 * maxAudit) }, 2},
		"zeros":                     {func(log []byte) []byte { return make([]byte, len(log)) }, 2},
		"lines of nothing":          {func(log []byte) []byte { return bytes.Repeat([]byte("{}\n"), len(log)/3) }, 2},
		"a long line in between":    {func(log []byte) []byte { return slices.Concat(log[:len(log)/2], worn(2*maxAudit), log) }, 4},
		"a long end":                {func(log []byte) []byte { return append(log, worn(2*maxAudit)...) }, 4},
		"an end that is no line":    {func(log []byte) []byte { return append(log, worn(100)...) }, 4},
		"a line that is too long":   {func(log []byte) []byte { return append(log, append(worn(maxAudit), '\n')...) }, 4},
		"the beginning overwritten": {func(log []byte) []byte { return append(worn(len(log)-1), '{') }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openAt(t, dir)
			for n := range 3 {
				note(t, s, fmt.Sprint("line ", n))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, chainFile)
			log, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := tc.spoil(log)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			for n := range uint64(2) {
				s = openAt(t, dir)
				note(t, s, "goes on")
				lines, broken, err := s.Audits(0, 10)
				if err != nil || uint64(len(lines)) != n+1 || lines[n].Seq != tc.next+n || !strings.Contains(broken, fmt.Sprintf("line %d begins a new chain", tc.next)) {
					t.Fatalf("lines %+v, broken %q, %v", lines, broken, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			aside, at := s.AuditSetAside()
			if kept, err := os.ReadFile(filepath.Join(dir, aside)); err != nil || !bytes.Equal(kept, damaged) || time.Since(at) > time.Minute {
				t.Errorf("%d bytes of %d are kept as %q since %v; err %v", len(kept), len(damaged), aside, at, err)
			}
			if database, _ := s.SetAside(); database != "" {
				t.Errorf("the database was set aside, too: %s", database)
			}
		})
	}
}

// TestAuditDamageAfterATurn: the file before goes on to be shown, and the numbers
// never fall.
func TestAuditDamageAfterATurn(t *testing.T) {
	dir, path := twoLines(t)
	if err := os.Rename(path, filepath.Join(dir, chainPrevious)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("worn out"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, dir)
	note(t, s, "three")
	lines, broken, err := s.Audits(0, 10)
	if err != nil || len(lines) != 3 || lines[2].Seq != 3 || !strings.Contains(broken, "line 3 begins a new chain") {
		t.Errorf("lines %+v, broken %q, %v", lines, broken, err)
	}
}

// TestAuditPowerCuts cuts the log at every byte of its last line, also where that is
// the only one, and leaves zeros behind it: nothing is damaged.
func TestAuditPowerCuts(t *testing.T) {
	for whole := range 2 {
		dir := t.TempDir()
		s := openAt(t, dir)
		for range whole + 1 {
			note(t, s, "a line of Änn's")
		}
		path := filepath.Join(dir, chainFile)
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		start := bytes.LastIndexByte(log[:len(log)-1], '\n') + 1
		for _, zeros := range []int{0, 300} {
			for at := start + min(zeros, 1-whole); at < len(log); at++ { // nothing but zeros is damage
				end, err := readEnd(bytes.NewReader(append(log[:at:at], make([]byte, zeros)...)))
				if err != nil || end.damaged || end.size != int64(start) || end.last.Seq != uint64(whole) {
					t.Fatalf("cut at %d of %d, %d zeros: %+v, %v", at, len(log), zeros, end, err)
				}
			}
		}
	}
}

// TestAuditLongestLine: what is written can be read again.
func TestAuditLongestLine(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	long := maxAudit
	for s.Audit(appliance.Audit{Message: strings.Repeat("x", long)}) != nil {
		long--
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir)
	note(t, s, "after it")
	if lines, broken, err := s.Audits(0, 10); err != nil || broken != "" || len(lines) != 2 || len(lines[0].Message) != long {
		t.Errorf("%d lines, broken %q, %v", len(lines), broken, err)
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
