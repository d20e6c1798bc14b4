package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// The largest files, in bytes: far above any site, far below the memory of the
// smallest board.
const (
	maxDocument = 4 << 20
	maxFeed     = 64 << 20 // as large as the largest feed that is imported
	maxList     = 64 << 20 // 65,536 bans with the longest reasons
)

func (s *Store) onDocuments() shelf { return shelf{s.dir, ".json", maxDocument} }
func (s *Store) onFeeds() shelf     { return shelf{filepath.Join(s.dir, "feeds"), ".feed", maxFeed} }
func (s *Store) onLists() shelf     { return shelf{s.dir, ".json", maxList} }

// Document hands the newest edition that accept takes to accept, and returns
// an empty note where that is the one in force. Otherwise note says what was
// wrong with it and what was taken instead; the unreadable file is kept beside
// it. err is fs.ErrNotExist where no edition was ever stored, and the first
// edition's error where accept takes none.
func (s *Store) Document(name appliance.Document, accept func([]byte) error) (note string, err error) {
	s.files.Lock()
	defer s.files.Unlock()
	_, note, err = s.onDocuments().take(string(name), accept)
	return note, err
}

// PutDocument makes data the edition in force and keeps the one before it. On
// an error the old edition still is in force.
func (s *Store) PutDocument(name appliance.Document, data []byte) error {
	s.files.Lock()
	defer s.files.Unlock()
	return s.onDocuments().put(string(name), data)
}

// Names, fetches, accounts and the box's certificate outlive a restart like documents do: Document tells how.

// Accounts hands what is kept of learned accounts to accept.
func (s *Store) Accounts(accept func([]byte) error) (note string, err error) {
	return s.list("accounts", accept)
}

// PutAccounts makes data what is kept of learned accounts.
func (s *Store) PutAccounts(data []byte) error { return s.putList("accounts", data) }

// Names hands what is kept of DNS names to accept.
func (s *Store) Names(accept func([]byte) error) (note string, err error) {
	return s.list("names", accept)
}

// PutNames makes data what is kept of DNS names.
func (s *Store) PutNames(data []byte) error { return s.putList("names", data) }

// Fetches hands what is kept of fetching feeds to accept.
func (s *Store) Fetches(accept func([]byte) error) (note string, err error) {
	return s.list("fetches", accept)
}

// PutFetches makes data what is kept of fetching feeds.
func (s *Store) PutFetches(data []byte) error { return s.putList("fetches", data) }

// Identity hands what is kept of the box's own certificate to accept.
func (s *Store) Identity(accept func([]byte) error) (note string, err error) {
	return s.list("identity", accept)
}

// PutIdentity makes data what is kept of the box's own certificate. It holds a
// private key, and is for the owner of the state folder alone.
func (s *Store) PutIdentity(data []byte) error { return s.putList("identity", data) }

func (s *Store) list(name string, accept func([]byte) error) (note string, err error) {
	s.files.Lock()
	defer s.files.Unlock()
	_, note, err = s.onLists().take(name, accept)
	return note, err
}

func (s *Store) putList(name string, data []byte) error {
	s.files.Lock()
	defer s.files.Unlock()
	return s.onLists().put(name, data)
}

// Feeds returns the names of the feeds that there is content of.
func (s *Store) Feeds() ([]string, error) {
	s.files.Lock()
	defer s.files.Unlock()
	shelf := s.onFeeds()
	entries, err := os.ReadDir(shelf.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list feeds: %w", err)
	}
	var out []string
	seen := make(map[string]bool)
	for _, entry := range entries {
		// An edition of any kind is content: one that has lost the file in force
		// still has something to tell.
		name, isFeed := strings.CutSuffix(entry.Name(), shelf.ext)
		name = strings.TrimSuffix(strings.TrimSuffix(name, previous), damaged)
		if isFeed && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out, nil
}

// Feed hands a feed's content to accept, like Document, and returns when it was
// written.
func (s *Store) Feed(name string, accept func([]byte) error) (at time.Time, note string, err error) {
	s.files.Lock()
	defer s.files.Unlock()
	return s.onFeeds().take(name, accept)
}

// PutFeed makes data the content of a feed, like PutDocument.
func (s *Store) PutFeed(name string, data []byte) error {
	s.files.Lock()
	defer s.files.Unlock()
	shelf := s.onFeeds()
	if err := os.Mkdir(shelf.dir, 0o700); err == nil {
		err = syncFolder(s.dir)
		if err != nil {
			return fmt.Errorf("make feeds folder: %w", err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make feeds folder: %w", err)
	}
	return shelf.put(name, data)
}

// RemoveFeed forgets a feed's content, every edition of it.
func (s *Store) RemoveFeed(name string) error {
	s.files.Lock()
	defer s.files.Unlock()
	return s.onFeeds().remove(name)
}

// Kept hands what is kept under a name to accept, like Document.
func (s *Store) Kept(name string, accept func([]byte) error) (note string, err error) {
	return s.list(name, accept)
}

// Keep makes data what is kept under a name.
func (s *Store) Keep(name string, data []byte) error { return s.putList(name, data) }

// Outbox is the notices that have not been delivered, a file each.
func (s *Store) Outbox() Outbox {
	return Outbox{shelf{filepath.Join(s.dir, "outbox"), ".json", maxDocument}, &s.files}
}

// Outbox is a folder of items.
type Outbox struct {
	shelf shelf
	mu    *sync.Mutex
}

// Put writes one item, whole or not at all.
func (o Outbox) Put(name string, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := os.MkdirAll(o.shelf.dir, 0o700); err != nil {
		return fmt.Errorf("make outbox: %w", err)
	}
	return o.shelf.put(name, data)
}

// Drop removes an item; that there is none is no error.
func (o Outbox) Drop(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shelf.remove(name)
}

// All returns every item by name.
func (o Outbox) All() (map[string][]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	entries, err := os.ReadDir(o.shelf.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list outbox: %w", err)
	}
	all := make(map[string][]byte)
	for _, entry := range entries {
		name, item := strings.CutSuffix(entry.Name(), o.shelf.ext)
		if !item || strings.HasSuffix(name, previous) || strings.HasSuffix(name, damaged) {
			continue
		}
		_, _, err := o.shelf.take(name, func(data []byte) error { all[name] = data; return nil })
		if err != nil {
			return nil, fmt.Errorf("read outbox: %w", err)
		}
	}
	return all, nil
}
