package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ringfence/ringfence/appliance"
)

// The editions of a document NAME: NAME.json is in force, NAME.previous.json
// was before it, NAME.damaged.json is the last one that could not be read.
const (
	current  = ".json"
	previous = ".previous.json"
	damaged  = ".damaged.json"
	pending  = ".json.new"
)

// maxDocument is the largest document that is read, in bytes: far above any
// site, far below the memory of the smallest board.
const maxDocument = 4 << 20

// Document hands the newest edition that accept takes to accept, and returns
// an empty note where that is the one in force. Otherwise note says what was
// wrong with it and what was taken instead; the unreadable file is kept beside
// it. err is fs.ErrNotExist where no edition was ever stored, and the first
// edition's error where accept takes none.
func (s *Store) Document(name appliance.Document, accept func([]byte) error) (note string, err error) {
	s.documents.Lock()
	defer s.documents.Unlock()
	first := s.offer(name, current, accept)
	if first == nil {
		return "", nil
	}
	if errors.Is(first, fs.ErrNotExist) && !s.exists(name, previous) && !s.exists(name, damaged) {
		return "", fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
	}
	kept := s.setDocumentAside(name)
	if second := s.offer(name, previous, accept); second != nil {
		return "", fmt.Errorf("read %s%s: %w%s", name, current, notMissing(first), kept)
	}
	return fmt.Sprintf("the edition before it is in force, because %s%s can't be used: %v%s", name, current, first, kept), nil
}

// notMissing turns "no such file" into an error that is not fs.ErrNotExist:
// a document that vanished is damage, not a new box.
func notMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the file has gone")
	}
	return err
}

func (s *Store) offer(name appliance.Document, edition string, accept func([]byte) error) error {
	data, err := readBounded(s.path(name, edition))
	if err != nil {
		return err
	}
	return accept(data)
}

// setDocumentAside renames the edition in force, so that nothing overwrites
// what somebody may want to mend by hand.
func (s *Store) setDocumentAside(name appliance.Document) string {
	if err := os.Rename(s.path(name, current), s.path(name, damaged)); err == nil {
		_ = syncFolder(s.dir) // losing the rename repeats it at the next start
	}
	if !s.exists(name, damaged) {
		return ""
	}
	return fmt.Sprintf(" (kept as %s%s)", name, damaged)
}

// PutDocument makes data the edition in force and keeps the one before it. It
// is written aside, flushed, read back from the file, renamed, and the folder
// flushed: after a crash at any point one whole edition is in force. On an
// error the old edition still is.
func (s *Store) PutDocument(name appliance.Document, data []byte) error {
	s.documents.Lock()
	defer s.documents.Unlock()
	if len(data) > maxDocument {
		return fmt.Errorf("write %s: %d bytes are more than %d", name, len(data), maxDocument)
	}
	aside := s.path(name, pending)
	if err := writeVerified(aside, data); err != nil {
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
func (s *Store) keepPrevious(name appliance.Document) error {
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
func (s *Store) putBack(name appliance.Document) {
	if err := os.Rename(s.path(name, previous), s.path(name, current)); errors.Is(err, fs.ErrNotExist) {
		os.Remove(s.path(name, current))
	}
}

func (s *Store) path(name appliance.Document, edition string) string {
	return filepath.Join(s.dir, string(name)+edition)
}

func (s *Store) exists(name appliance.Document, edition string) bool {
	_, err := os.Lstat(s.path(name, edition))
	return err == nil
}

// writeVerified writes data to path with mode 0600, flushes it and reads it
// back.
func writeVerified(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	back, err := readBounded(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, data) {
		return fmt.Errorf("read back %s: the bytes differ from those written", filepath.Base(path))
	}
	return nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxDocument {
		return nil, fmt.Errorf("%d bytes are more than %d", info.Size(), maxDocument)
	}
	return os.ReadFile(path)
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
