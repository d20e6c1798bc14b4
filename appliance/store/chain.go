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
// Before that there were others.
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
	file, err := os.OpenFile(filepath.Join(s.dir, chainFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	last, size, err := endOf(file)
	if err == nil && last.Seq == 0 {
		last, err = s.lastOfPrevious()
	}
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s.chain.file, s.chain.size, s.chain.last = file, size, last
	return nil
}

func (s *Store) lastOfPrevious() (appliance.Audit, error) {
	file, err := os.Open(filepath.Join(s.dir, chainPrevious))
	if errors.Is(err, fs.ErrNotExist) {
		return appliance.Audit{}, nil
	}
	if err != nil {
		return appliance.Audit{}, err
	}
	defer file.Close()
	last, _, err := endOf(file)
	return last, err
}

// endOf reads a log to the end of its last whole line.
func endOf(file *os.File) (last appliance.Audit, size int64, err error) {
	reader := bufio.NewReaderSize(file, maxAudit)
	for {
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return last, size, nil
		}
		if err != nil {
			return last, size, err
		}
		var one appliance.Audit
		if json.Unmarshal(line, &one) == nil {
			last = one
		}
		size += int64(len(line))
	}
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
// are kept there may be any.
func follows(before, line appliance.Audit) string {
	switch {
	case line.Hash != line.Sum():
		return fmt.Sprintf("line %d was changed", line.Seq)
	case before.Seq == 0:
		return ""
	case line.Seq != before.Seq+1 || line.Before != before.Hash:
		return fmt.Sprintf("line %d does not follow line %d", line.Seq, before.Seq)
	}
	return ""
}
