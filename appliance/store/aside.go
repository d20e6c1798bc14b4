package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// aside stands between a file's name and a UTC time in the name that it is kept
// under where it can't be used.
const aside = ".aside-"

// asideKept is how many of one file are kept: the newest ones. A medium that fails
// again and again must not fill itself with the evidence.
const asideKept = 2

const asideStamp = "20060102T150405Z"

// setAside renames a file, and those that belong to it by these suffixes, so that
// the next use starts a new one.
func (s *Store) setAside(file string, suffixes ...string) error {
	suffixes = append(suffixes, "") // the file itself last: a new one must not meet what belonged to it
	name := file + aside + s.now().UTC().Format(asideStamp)
	for _, suffix := range suffixes {
		old := filepath.Join(s.dir, file+suffix)
		if err := os.Rename(old, filepath.Join(s.dir, name+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	names := s.asides(file)
	for _, name := range names[:max(0, len(names)-asideKept)] {
		for _, suffix := range suffixes {
			os.Remove(filepath.Join(s.dir, name+suffix))
		}
	}
	return syncFolder(s.dir)
}

// asides lists what was set aside of a file, oldest first.
func (s *Store) asides(file string) []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		stamp, found := strings.CutPrefix(entry.Name(), file+aside)
		if found && len(stamp) == len(asideStamp) {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names
}

func (s *Store) newestAside(file string) (name string, at time.Time) {
	names := s.asides(file)
	if len(names) == 0 {
		return "", time.Time{}
	}
	name = names[len(names)-1]
	at, _ = time.Parse(asideStamp, strings.TrimPrefix(name, file+aside))
	return name, at
}

// SetAside returns the name of the newest database that could not be used, and
// when it was set aside; an empty name where there is none.
func (s *Store) SetAside() (name string, at time.Time) { return s.newestAside(file) }

// AuditSetAside is SetAside for the audit log.
func (s *Store) AuditSetAside() (name string, at time.Time) { return s.newestAside(chainFile) }
