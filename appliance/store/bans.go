package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// Bans are a list, which is a file like a document, and a journal of what changed
// since it was written: a scanner that is banned must not cost a whole list on
// flash each time. The journal's first line names the list that it follows, so
// that one which a crash left behind beside a newer list is not applied to that.
// Each line has a checksum; a line that a crash cut short was never in force.

const (
	bansName    = "bans"
	journalName = bansName + ".journal"
	maxJournal  = 64 << 20 // bytes; whoever writes it replaces the list long before
)

// Bans hands the list to accept, like Document, and then each change since then,
// oldest first, to change. Where no list can be used the changes are handed over
// all the same, and err says why. Lines of the journal that are damaged are left
// out, and note says so.
func (s *Store) Bans(accept, change func([]byte) error) (note string, err error) {
	s.files.Lock()
	defer s.files.Unlock()
	taken := digest(nil)
	_, note, err = s.onLists().take(bansName, func(data []byte) error {
		taken = digest(data)
		return accept(data)
	})
	s.bans = taken
	follows, lines, damaged, journalErr := s.readJournal()
	switch {
	case errors.Is(journalErr, fs.ErrNotExist):
		return note, err
	case journalErr != nil:
		return note, errors.Join(err, journalErr)
	case err == nil && note == "" && follows != taken:
		return "", nil // a crash came between a new list and the end of this journal
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("read %s: the file has gone, and its journal has not", bansName)
	}
	for _, line := range lines {
		if change(line) != nil {
			damaged++
		}
	}
	if damaged > 0 && note == "" {
		note = fmt.Sprintf("%d damaged entries of %s were left out", damaged, journalName)
	}
	return note, err
}

// PutBans makes data the list of bans, and ends the journal of the one before.
func (s *Store) PutBans(data []byte) error {
	s.files.Lock()
	defer s.files.Unlock()
	if err := s.onLists().put(bansName, data); err != nil {
		return err
	}
	s.bans = digest(data)
	// A journal that stays is known to follow another list.
	if err := os.Remove(s.journal()); err == nil {
		_ = syncFolder(s.dir)
	}
	return nil
}

// AppendBan adds one change to the journal. It is on disk when AppendBan returns
// nil; on an error it is not, and the journal is as before.
func (s *Store) AppendBan(change []byte) error {
	s.files.Lock()
	defer s.files.Unlock()
	if bytes.IndexByte(change, '\n') >= 0 {
		return errors.New("append ban: a change is one line")
	}
	file, size, err := s.openJournal()
	if err != nil {
		return fmt.Errorf("append ban: %w", err)
	}
	defer file.Close()
	_, err = file.Write(sealed(change))
	if err = errors.Join(err, file.Sync()); err != nil {
		// What was written in part must not stand before the next line.
		return fmt.Errorf("append ban: %w", errors.Join(err, file.Truncate(size)))
	}
	return nil
}

// openJournal opens the journal of the list in force at its end, and begins one
// where there is none, or where it follows another list.
func (s *Store) openJournal() (*os.File, int64, error) {
	head := sealed([]byte(s.bans))
	file, err := os.OpenFile(s.journal(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, err
	}
	size, err := s.position(file, head)
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, size, nil
}

// position puts the file where the next line goes, and returns where that is.
func (s *Store) position(file *os.File, head []byte) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if size > maxJournal {
		return 0, fmt.Errorf("%s has %d bytes, more than %d", journalName, size, maxJournal)
	}
	found := make([]byte, len(head))
	if _, err := file.ReadAt(found, 0); err != nil || !bytes.Equal(found, head) {
		return s.begin(file, head)
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, size-1); err != nil {
		return 0, err
	}
	if last[0] != '\n' {
		if size, err = s.tear(file); err != nil {
			return 0, err
		}
	}
	_, err = file.Seek(size, 0)
	return size, err
}

// tear removes the line that a crash cut short. It was never in force, and must
// not come into force by what is written behind it.
func (s *Store) tear(file *os.File) (int64, error) {
	data, err := os.ReadFile(s.journal())
	if err != nil {
		return 0, err
	}
	size := int64(bytes.LastIndexByte(data, '\n') + 1)
	return size, file.Truncate(size)
}

func (s *Store) begin(file *os.File, head []byte) (int64, error) {
	if err := file.Truncate(0); err != nil {
		return 0, err
	}
	if _, err := file.WriteAt(head, 0); err != nil {
		return 0, err
	}
	if err := errors.Join(file.Sync(), syncFolder(s.dir)); err != nil {
		return 0, err
	}
	_, err := file.Seek(int64(len(head)), 0)
	return int64(len(head)), err
}

// readJournal returns which list the journal follows, and its sound lines.
func (s *Store) readJournal() (follows string, lines [][]byte, damaged int, err error) {
	info, err := os.Stat(s.journal())
	if err != nil {
		return "", nil, 0, err
	}
	if info.Size() > maxJournal {
		return "", nil, 0, fmt.Errorf("read %s: %d bytes are more than %d", journalName, info.Size(), maxJournal)
	}
	data, err := os.ReadFile(s.journal())
	if err != nil {
		return "", nil, 0, err
	}
	for first := true; ; first = false {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return follows, lines, damaged, nil // what is left was cut short: nobody was told that it is in force
		}
		data = rest
		text, sound := unsealed(line)
		switch {
		case first && sound:
			follows = string(text)
		case sound:
			lines = append(lines, text)
		default:
			damaged++
		}
	}
}

func (s *Store) journal() string { return filepath.Join(s.dir, journalName) }

// sealed is a line with its checksum before it.
func sealed(text []byte) []byte {
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text)
}

func unsealed(line []byte) ([]byte, bool) {
	sum, text, found := bytes.Cut(line, []byte(" "))
	return text, found && string(sum) == fmt.Sprintf("%08x", crc32.ChecksumIEEE(text))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
