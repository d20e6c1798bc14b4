package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The editions of a file NAME: NAME.ext is in force, NAME.previous.ext was
// before it, NAME.damaged.ext is the last one that could not be read.
const (
	current  = ""
	previous = ".previous"
	damaged  = ".damaged"
)

// shelf is a folder of files of one kind, each with its editions. It is not
// safe for concurrent use.
type shelf struct {
	dir  string
	ext  string // with its dot
	most int64  // bytes of the largest file that is read or written
}

// take hands the newest edition that accept takes to accept, and returns when
// that was written. note is empty where it is the one in force. Otherwise it
// says what was wrong with that and what was taken instead; the unreadable file
// is kept beside it. err is fs.ErrNotExist where no edition was ever stored, and
// the first edition's error where accept takes none.
func (s shelf) take(name string, accept func([]byte) error) (at time.Time, note string, err error) {
	at, first := s.offer(name, current, accept)
	if first == nil {
		return at, "", nil
	}
	if errors.Is(first, fs.ErrNotExist) && !s.exists(name, previous) && !s.exists(name, damaged) {
		return time.Time{}, "", fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
	}
	kept := s.setAside(name)
	at, second := s.offer(name, previous, accept)
	if second != nil {
		return time.Time{}, "", fmt.Errorf("read %s: %w%s", s.file(name, current), notMissing(first), kept)
	}
	return at, fmt.Sprintf("the edition before it is in force, because %s can't be used: %v%s", s.file(name, current), first, kept), nil
}

// notMissing turns "no such file" into an error that is not fs.ErrNotExist:
// a file that vanished is damage, not a new box.
func notMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the file has gone")
	}
	return err
}

func (s shelf) offer(name, edition string, accept func([]byte) error) (time.Time, error) {
	data, at, err := s.read(s.path(name, edition))
	if err != nil {
		return time.Time{}, err
	}
	return at, accept(data)
}

// setAside renames the edition in force, so that nothing overwrites what
// somebody may want to mend by hand.
func (s shelf) setAside(name string) string {
	if err := os.Rename(s.path(name, current), s.path(name, damaged)); err == nil {
		_ = syncFolder(s.dir) // losing the rename repeats it at the next start
	}
	if !s.exists(name, damaged) {
		return ""
	}
	return fmt.Sprintf(" (kept as %s)", s.file(name, damaged))
}

// put makes data the edition in force and keeps the one before it. It is
// written aside, flushed, read back from the file, renamed, and the folder
// flushed: after a crash at any point one whole edition is in force. On an
// error the old edition still is.
func (s shelf) put(name string, data []byte) error {
	if int64(len(data)) > s.most {
		return fmt.Errorf("write %s: %d bytes are more than %d", name, len(data), s.most)
	}
	aside := s.path(name, current) + ".new"
	if err := s.writeVerified(aside, data); err != nil {
		os.Remove(aside)
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := s.keepPrevious(name); err != nil {
		os.Remove(aside)
		return fmt.Errorf("keep the %s in force: %w", name, err)
	}
	if err := os.Rename(aside, s.path(name, current)); err != nil {
		os.Remove(aside)
		return fmt.Errorf("put %s in force: %w", name, err)
	}
	if err := syncFolder(s.dir); err != nil {
		s.putBack(name)
		return fmt.Errorf("put %s in force: %w", name, err)
	}
	return nil
}

// keepPrevious gives the edition in force a second name, without a moment in
// which it has none.
func (s shelf) keepPrevious(name string) error {
	second := s.path(name, previous) + ".new"
	os.Remove(second)
	err := os.Link(s.path(name, current), second)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Rename(second, s.path(name, previous))
}

// putBack undoes a rename whose flush failed; the caller reports that error.
func (s shelf) putBack(name string) {
	if err := os.Rename(s.path(name, previous), s.path(name, current)); errors.Is(err, fs.ErrNotExist) {
		os.Remove(s.path(name, current))
	}
}

// remove forgets every edition, the one in force last: after a crash on the way
// it still is.
func (s shelf) remove(name string) error {
	for _, edition := range []string{damaged, previous, current} {
		if err := os.Remove(s.path(name, edition)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return syncFolder(s.dir)
}

func (s shelf) file(name, edition string) string { return name + edition + s.ext }

func (s shelf) path(name, edition string) string { return filepath.Join(s.dir, s.file(name, edition)) }

func (s shelf) exists(name, edition string) bool {
	_, err := os.Lstat(s.path(name, edition))
	return err == nil
}

// writeVerified writes data to path with mode 0600, flushes it and reads it
// back.
func (s shelf) writeVerified(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	back, _, err := s.read(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, data) {
		return fmt.Errorf("read back %s: the bytes differ from those written", filepath.Base(path))
	}
	return nil
}

// read returns a file within the bound, and when it was written.
func (s shelf) read(path string) ([]byte, time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	if info.Size() > s.most {
		return nil, time.Time{}, fmt.Errorf("%d bytes are more than %d", info.Size(), s.most)
	}
	data, err := os.ReadFile(path)
	return data, info.ModTime(), err
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
