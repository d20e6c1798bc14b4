package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ringfence/ringfence/appliance"
)

// The audit log is two files of JSON lines: audit.log is appended to, and becomes
// audit.previous.log when it is full. The first line that is kept says by its
// Before that there were others. A damaged audit.log is set aside, like a database.
const (
	chainFile     = "audit.log"
	chainPrevious = "audit.previous.log"
	maxChain      = 8 << 20 // bytes of one file: tens of thousands of lines
	maxAudit      = 64 << 10
)

// chain is the audit log. The zero value is closed.
type chain struct {
	mu   sync.Mutex
	file *os.File
	size int64
	last appliance.Audit // of which Seq and Hash count
}

// Audit appends a line to the audit log, flushed to the disk when it returns nil.
// Seq, Before and Hash are filled in.
func (s *Store) Audit(line appliance.Audit) error {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	if err := s.openChain(); err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	line.Time = line.Time.UTC()
	line.Seq, line.Before = s.chain.last.Seq+1, s.chain.last.Hash
	line.Hash = line.Sum()
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	if len(data) > maxAudit {
		return fmt.Errorf("write audit log: a line of %d bytes", len(data))
	}
	if err := s.appendChain(append(data, '\n')); err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	s.chain.last = line
	return nil
}

// appendChain writes one line, whole: what a full disk cut short is taken back.
func (s *Store) appendChain(data []byte) error {
	if s.chain.size+int64(len(data)) > maxChain {
		if err := s.turnChain(); err != nil {
			return err
		}
	}
	_, err := s.chain.file.Write(data)
	if err == nil {
		err = s.chain.file.Sync()
	}
	if err != nil {
		return errors.Join(err, s.chain.file.Truncate(s.chain.size))
	}
	s.chain.size += int64(len(data))
	return nil
}

func (s *Store) turnChain() error {
	if err := s.chain.file.Close(); err != nil {
		return err
	}
	s.chain.file = nil
	if err := os.Rename(filepath.Join(s.dir, chainFile), filepath.Join(s.dir, chainPrevious)); err != nil {
		return err
	}
	return s.openChain()
}

// openChain finds the end of the log. A last line that a power cut left half
// written is cut off: it was never told to be there.
func (s *Store) openChain() error {
	if s.chain.file != nil {
		return nil
	}
	last, size, err := s.findEnd()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(s.dir, chainFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		return errors.Join(err, file.Close())
	}
	s.chain.file, s.chain.size, s.chain.last = file, size, last
	return nil
}

// findEnd returns the line that the next one follows, and how much of the file in
// use stays. A damaged file is set aside. The next line begins a new chain then: it
// goes on counting, but has no Before, so that nobody takes the lines that are kept
// for all that there were. Only the first line of a box has the number 1.
func (s *Store) findEnd() (last appliance.Audit, size int64, err error) {
	now, err := s.endOf(chainFile)
	if err != nil || !now.damaged && now.last.Seq > 0 {
		return now.last, now.size, err
	}
	before, err := s.endOf(chainPrevious)
	if err != nil || !now.damaged {
		return before.last, now.size, err
	}
	if err := s.setAside(chainFile); err != nil {
		return appliance.Audit{}, 0, fmt.Errorf("set the damaged one aside: %w", err)
	}
	return appliance.Audit{Seq: max(1, now.last.Seq, before.last.Seq)}, 0, nil
}

// chainEnd is what is known of one file of the log.
type chainEnd struct {
	last    appliance.Audit // the last line that can be read; Seq is 0 where none can
	size    int64           // of all whole lines
	damaged bool            // by something else than a power cut
}

// endOf reads a file of the log; one that is not there is empty.
func (s *Store) endOf(name string) (chainEnd, error) {
	file, err := os.Open(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return chainEnd{}, nil
	}
	if err != nil {
		return chainEnd{}, err
	}
	defer file.Close()
	return readEnd(file)
}

// readEnd reads a log to its end. What is longer than any line that is written,
// lines of which none can be read, and an end that is no half line are damage. A
// single line that can't be read is not: Audits tells of it.
func readEnd(log io.Reader) (end chainEnd, err error) {
	reader := bufio.NewReaderSize(log, maxAudit+1)
	for long := false; ; {
		line, err := reader.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			end.damaged, long = true, true
			continue
		case errors.Is(err, io.EOF):
			nothing := end.last.Seq == 0 && (end.size > 0 || bytes.HasPrefix(line, []byte{0}))
			end.damaged = end.damaged || nothing || !halfLine(line)
			return end, nil
		case err != nil:
			return end, err
		}
		var one appliance.Audit
		if !long && json.Unmarshal(line, &one) == nil && one.Seq > 0 {
			end.last = one
		}
		end.size, long = end.size+int64(len(line)), false
	}
}

// halfLine reports whether a power cut may have left text of a line: its beginning,
// and zeros where a block was allotted and never written; or nothing.
func halfLine(text []byte) bool {
	text = bytes.TrimRight(text, "\x00")
	err := json.NewDecoder(bytes.NewReader(text)).Decode(new(appliance.Audit))
	return len(text) == 0 || err == nil || errors.Is(err, io.ErrUnexpectedEOF)
}

// Audits returns the lines after a seq, oldest first, at most limit, and why the
// chain does not hold: empty where every line that is kept follows from the one
// before it.
func (s *Store) Audits(after uint64, limit int) (lines []appliance.Audit, broken string, err error) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	var before appliance.Audit
	for _, name := range []string{chainPrevious, chainFile} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("read audit log: %w", err)
		}
		for text := range bytes.Lines(data) {
			var line appliance.Audit
			if err := json.Unmarshal(text, &line); err != nil {
				broken = fmt.Sprintf("the line after %d can't be read", before.Seq)
				continue
			}
			if why := follows(before, line); why != "" && broken == "" {
				broken = why
			}
			before = line
			if line.Seq > after && len(lines) < limit {
				lines = append(lines, line)
			}
		}
	}
	return lines, broken, nil
}

// follows says why a line does not follow another; before the first of those that
// are kept there may be any, but not none.
func follows(before, line appliance.Audit) string {
	switch {
	case line.Hash != line.Sum():
		return fmt.Sprintf("line %d was changed", line.Seq)
	case line.Before == "" && line.Seq > 1:
		return fmt.Sprintf("line %d begins a new chain, since the log before it was damaged and set aside", line.Seq)
	case before.Seq == 0:
		return ""
	case line.Seq != before.Seq+1 || line.Before != before.Hash:
		return fmt.Sprintf("line %d does not follow line %d", line.Seq, before.Seq)
	}
	return ""
}
