// Package store owns the data partition: the two documents, the content of
// feeds and when it was fetched, the bans and what DNS names stood for as plain
// files, and one SQLite database with the call records and the journal. Nothing else writes there. It
// judges nothing: documents and feeds are bytes to it.
//
// A file is never edited in place: it is written aside, flushed, read back
// and renamed, and the edition before it is kept. The database can be lost
// without harm to enforcement: a damaged one is set aside (kept for whoever
// wants to look) and a new one started. The audit log is appended to, and set
// aside likewise.
package store

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Retention bounds what the database keeps. All bounds hold.
type Retention struct {
	Age   time.Duration // records older than this are pruned
	Rows  int           // call records, and journal entries of each kind
	Bytes int64         // of the database; 0 for no bound of its own
}

// Store is an open data partition. It is safe for concurrent use.
type Store struct {
	dir  string
	keep Retention
	now  func() time.Time
	lock *os.File // the directory itself, flocked for the life of the Store

	mu       sync.RWMutex // guards db; held for reading while db is in use
	db       *database    // nil until it could be opened
	appended int          // rows since the last prune; guarded by write
	write    sync.Mutex   // one writer

	chain chain
	files sync.Mutex // one file at a time; guards bans
	bans  string     // digest of the list of bans in force
}

// Open takes the folder dir (made with mode 0700 where it is missing) for this
// process alone. The database is opened too, but where that is not possible
// (full disk, read-only medium) Open still succeeds: documents can be read,
// and every later use tries again and reports the error.
func Open(dir string, keep Retention, now func() time.Time) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, keep: keep, now: now, lock: lock}
	_ = s.withDatabase(func(*database) error { return nil }) // Probe tells
	return s, nil
}

// lockFolder flocks the folder itself: that works on a read-only medium, leaves
// no file behind, and ends with the process however it ends.
func lockFolder(dir string) (*os.File, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		folder.Close()
		return nil, fmt.Errorf("lock state folder %s (is another daemon using it?): %w", dir, err)
	}
	return folder, nil
}

// Close flushes the database and gives the folder up.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.lock.Close()
	s.chain.mu.Lock()
	if s.chain.file != nil {
		_ = s.chain.file.Close() // every line was flushed
		s.chain.file = nil
	}
	s.chain.mu.Unlock()
	if s.db == nil {
		return nil
	}
	err := s.db.close()
	s.db = nil
	return err
}

// Probe writes for real, once into the database and once as a document would
// be written, and returns the first error.
func (s *Store) Probe() error {
	if err := s.probeDatabase(); err != nil {
		return fmt.Errorf("write database: %w", err)
	}
	s.files.Lock()
	defer s.files.Unlock()
	path := filepath.Join(s.dir, "probe.new")
	defer os.Remove(path)
	if err := s.onDocuments().writeVerified(path, make([]byte, probeBytes)); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}

// probeBytes is about the size of a busy site's settings, so that a disk that
// passes the probe takes the next change too.
const probeBytes = 16 << 10

// Space returns the bytes that are free for use and the size of the partition.
func (s *Store) Space() (free, total uint64, err error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &stat); err != nil {
		return 0, 0, fmt.Errorf("read free space: %w", err)
	}
	size := uint64(stat.Bsize)
	return stat.Bavail * size, stat.Blocks * size, nil
}
