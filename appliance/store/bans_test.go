package store

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// replayed is what Bans hands over.
type replayed struct {
	accept
	changes []string
}

func (r *replayed) change(line []byte) error {
	if string(line) == "wrong" {
		return errors.New("wrong")
	}
	r.changes = append(r.changes, string(line))
	return nil
}

func replay(t *testing.T, s *Store) (replayed, string) {
	t.Helper()
	var got replayed
	note, err := s.Bans(got.json, got.change)
	if err != nil {
		t.Fatal(err)
	}
	return got, note
}

func appendBans(t *testing.T, s *Store, changes ...string) {
	t.Helper()
	for _, one := range changes {
		if err := s.AppendBan([]byte(one)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBansAndTheirJournal(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var got replayed
	if _, err := s.Bans(got.json, got.change); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("err %v", err)
	}
	if err := s.PutBans([]byte(`["a"]`)); err != nil {
		t.Fatal(err)
	}
	appendBans(t, s, "1", "2")
	s.Close()
	s = open(t, dir)
	if got, note := replay(t, s); got.taken != `["a"]` || !slices.Equal(got.changes, []string{"1", "2"}) || note != "" {
		t.Fatalf("took %q and %q, note %q", got.taken, got.changes, note)
	}
	appendBans(t, s, "3")
	if got, _ := replay(t, s); !slices.Equal(got.changes, []string{"1", "2", "3"}) {
		t.Fatalf("changes %q", got.changes)
	}
	if err := s.PutBans([]byte(`["b"]`)); err != nil {
		t.Fatal(err)
	}
	if got, _ := replay(t, s); got.taken != `["b"]` || len(got.changes) != 0 {
		t.Fatalf("took %q and %q", got.taken, got.changes)
	}
	if err := s.AppendBan([]byte("1\n2")); err == nil {
		t.Error("two lines were taken for one change")
	}
}

// TestJournalOfAnotherList leaves what a crash does between a new list and the end
// of the journal of the one before.
func TestJournalOfAnotherList(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.PutBans([]byte(`["a"]`)); err != nil {
		t.Fatal(err)
	}
	appendBans(t, s, "1")
	old, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutBans([]byte(`["b"]`)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, journalName), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, note := replay(t, s); got.taken != `["b"]` || len(got.changes) != 0 || note != "" {
		t.Fatalf("took %q and %q, note %q", got.taken, got.changes, note)
	}
	appendBans(t, s, "2")
	if got, _ := replay(t, s); !slices.Equal(got.changes, []string{"2"}) {
		t.Fatalf("changes %q", got.changes)
	}
	// Where the newer list is damaged, the one before it goes on with its journal.
	if err := os.WriteFile(filepath.Join(dir, "bans.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, note := replay(t, s); got.taken != `["a"]` || !slices.Equal(got.changes, []string{"2"}) || note == "" {
		t.Fatalf("took %q and %q, note %q", got.taken, got.changes, note)
	}
}

// TestJournalCutShort cuts the journal at every byte: what was acknowledged before
// the cut is there, and the next change is taken.
func TestJournalCutShort(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.PutBans([]byte(`["a"]`)); err != nil {
		t.Fatal(err)
	}
	appendBans(t, s, "first", "second")
	path := filepath.Join(dir, journalName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(string(whole[:cut]), "\n") - 1
		got, note := replay(t, s)
		if len(got.changes) != max(lines, 0) || note != "" {
			t.Fatalf("cut at %d: changes %q, note %q; want %d", cut, got.changes, note, lines)
		}
		appendBans(t, s, "after")
		if got, _ := replay(t, s); len(got.changes) != max(lines, 0)+1 || got.changes[len(got.changes)-1] != "after" {
			t.Fatalf("cut at %d, then appended: %q", cut, got.changes)
		}
	}
}

func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.PutBans([]byte(`["a"]`)); err != nil {
		t.Fatal(err)
	}
	appendBans(t, s, "first", "second", "wrong", "third")
	path := filepath.Join(dir, journalName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(whole), "second", "secand", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	got, note := replay(t, s)
	if !slices.Equal(got.changes, []string{"first", "third"}) || note != "2 damaged entries of bans.journal were left out" {
		t.Fatalf("changes %q, note %q", got.changes, note)
	}
	// A list that has gone is damage, although its journal is there.
	if err := errors.Join(os.Remove(filepath.Join(dir, "bans.json"))); err != nil {
		t.Fatal(err)
	}
	var lost replayed
	if _, err := s.Bans(lost.json, lost.change); err == nil || errors.Is(err, fs.ErrNotExist) || len(lost.changes) != 2 {
		t.Fatalf("err %v, changes %q", err, lost.changes)
	}
}

// TestJournalOnAFullDisk fills a real file system.
func TestJournalOnAFullDisk(t *testing.T) {
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
	if err := s.PutBans([]byte(`["a"]`)); err != nil {
		t.Fatal(err)
	}
	appendBans(t, s, "first")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	if err := s.AppendBan(make([]byte, 64<<10)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("append on a full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	appendBans(t, s, "second")
	if got, note := replay(t, s); !slices.Equal(got.changes, []string{"first", "second"}) || note != "" {
		t.Fatalf("changes %q, note %q", got.changes, note)
	}
}

const victimFolder = "RINGFENCE_TEST_BANS"

// TestBanVictim is the process that TestKilledBanWriter kills: it appends and
// rewrites, and says what it was told is on disk.
func TestBanVictim(t *testing.T) {
	dir := os.Getenv(victimFolder)
	if dir == "" {
		t.Skip("only the victim of TestKilledBanWriter")
	}
	s := open(t, dir)
	var got replayed
	if _, err := s.Bans(got.json, got.change); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	last := got.last()
	for {
		last++
		var err error
		if last%50 == 1 {
			err = s.PutBans([]byte(strconv.Itoa(last)))
		} else {
			err = s.AppendBan([]byte(strconv.Itoa(last)))
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("kept %d\n", last)
	}
}

// last is the highest number that was kept, in the list or in the journal.
func (r *replayed) last() int {
	last, _ := strconv.Atoi(r.taken)
	for _, one := range r.changes {
		if n, _ := strconv.Atoi(one); n > last {
			last = n
		}
	}
	return last
}

// TestKilledBanWriter kills a writer again and again with kill -9: nothing that it
// was told is kept is lost, and nothing is kept with a gap.
func TestKilledBanWriter(t *testing.T) {
	dir := t.TempDir()
	for round := range 12 {
		victim := exec.Command(os.Args[0], "-test.run", "^TestBanVictim$")
		victim.Env = append(os.Environ(), victimFolder+"="+dir)
		out, err := victim.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		kept, lines := 0, bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			fmt.Sscanf(lines.Text(), "kept %d", &kept)
			if n == 30+17*round {
				if err := victim.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = victim.Wait()
		s := open(t, dir)
		got, note := replay(t, s)
		if got.last() < kept || note != "" {
			t.Fatalf("round %d: %d was kept, %d is there, note %q", round, kept, got.last(), note)
		}
		first, _ := strconv.Atoi(got.taken)
		for n, one := range got.changes {
			if one != strconv.Itoa(first+1+n) {
				t.Fatalf("round %d: after %d the journal says %q", round, first, got.changes)
			}
		}
		s.Close()
	}
}
