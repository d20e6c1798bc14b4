package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// attempt is what came of fetching a feed up to now.
type attempt struct {
	Name       string               `json:"name"`
	Source     string               `json:"source"` // as sourceOf: another url or way to read it begins anew
	Tried      time.Time            `json:"tried,omitzero"`
	Fetched    time.Time            `json:"fetched,omitzero"` // last success, also where nothing had changed
	Failures   int                  `json:"failures"`         // since
	Error      string               `json:"error,omitempty"`
	Digest     string               `json:"digest,omitempty"` // of the content that the server sent last
	Validators appliance.Validators `json:"validators"`

	since time.Time // when it began
}

// failed and succeeded are what follows.
func (a attempt) failed(now time.Time, err error) attempt {
	a.Tried, a.Failures, a.Error = now.UTC(), a.Failures+1, clip(err.Error())
	return a
}

func (a attempt) succeeded(now time.Time, got appliance.Fetched, digest string) attempt {
	a.Tried, a.Fetched, a.Failures, a.Error, a.Validators = now.UTC(), now.UTC(), 0, "", got.Validators
	if !got.Same { // else digest may be that of an import meanwhile
		a.Digest = digest
	}
	return a
}

// attempts are those of all feeds. They have a lock of their own: who asks how a
// feed does shall not wait for rules to be compiled.
type attempts struct {
	mu    sync.Mutex
	known map[string]attempt
}

// of returns what is known of a feed, which begins now where nothing is.
func (a *attempts) of(one owned, now time.Time) attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, found := a.known[one.Name]
	if source := sourceOf(one); !found || last.Source != source {
		last = attempt{Name: one.Name, Source: source, since: now}
		a.known[one.Name] = last
	}
	return last
}

// sourceOf names all that makes another list of a feed.
func sourceOf(one owned) string {
	return revision([]byte(strings.Join(append([]string{one.URL, string(one.Format)}, one.Countries...), "\n")))
}

// storedAttempts is what is kept on disk, so that a restart neither asks every
// server again nor forgets how old a list is.
type storedAttempts struct {
	Schema int       `json:"schema"`
	Feeds  []attempt `json:"feeds"`
}

const attemptsSchema = 1

// loadAttempts begins with what was kept. Where that can't be used, everything is
// fetched again.
func (c *Control) loadAttempts() {
	c.attempts.known = make(map[string]attempt)
	note, err := c.lists.Fetches(func(data []byte) error {
		var stored storedAttempts
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&stored); err != nil {
			return err
		}
		if stored.Schema != attemptsSchema {
			return fmt.Errorf("schema %d; want %d", stored.Schema, attemptsSchema)
		}
		for _, one := range stored.Feeds {
			c.attempts.known[one.Name] = one
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) || note != "" {
		c.log.Warn("feeds are fetched anew", "err", err, "note", note)
	}
}

// keepAttempt notes what came of a try, and forgets feeds that no document has
// fetched any more. A disk that does not take it costs a fetch after the next
// restart.
func (c *Control) keepAttempt(next attempt) {
	named := make(map[string]bool)
	for _, one := range c.State().feeds() {
		named[one.Name] = one.URL != ""
	}
	c.attempts.mu.Lock()
	defer c.attempts.mu.Unlock()
	c.attempts.known[next.Name] = next
	maps.DeleteFunc(c.attempts.known, func(name string, _ attempt) bool { return !named[name] })
	stored := storedAttempts{attemptsSchema, slices.SortedFunc(maps.Values(c.attempts.known),
		func(a, b attempt) int { return strings.Compare(a.Name, b.Name) })}
	data, err := json.MarshalIndent(stored, "", "  ")
	if err == nil {
		err = c.lists.PutFetches(data)
	}
	if err != nil {
		c.log.Error("keep what was fetched when", "err", err)
	}
}

// Pauses between two tries. Each box adds a share of its own to each of them, so
// that a fleet does not ask a server in the same moment.
const (
	firstSpread = time.Minute // before the first try of a feed, and of the daemon
	firstRetry  = time.Minute // and then twice as long each time, up to every
	spreadPart  = 8           // the share of other pauses is up to an eighth
)

// due says when a feed is to be fetched next; a moment that has passed means now.
// It is now, too, where its content is lost, and where the last try is yet to
// come: the clock was set back then.
func (c *Control) due(one owned, s *State) time.Time {
	now := c.now()
	last, share := c.attempts.of(one, now), shareOf(s.Settings.Site.Name, one.Name)
	pause := one.Every
	if last.Failures > 0 {
		// The doubling ends far above a week and far below an overflow.
		pause = min(firstRetry<<min(last.Failures-1, 20), one.Every)
	}
	next := last.Tried.Add(pause + part(pause/spreadPart, share))
	lost := last.Failures == 0 && !s.contents[one.Name].sound()
	if last.Tried.IsZero() || last.Tried.After(now) || lost {
		next = now
	}
	first := later(c.started, last.since).Add(part(firstSpread, share))
	if next.Before(first) && first.Sub(now) <= firstSpread {
		return first
	}
	return next
}

// shareOf is from 0 to 1, and the same whenever a box asks for the same feed.
func shareOf(site, feed string) float64 {
	sum := sha256.Sum256([]byte(site + "\n" + feed))
	return float64(binary.BigEndian.Uint32(sum[:])) / math.MaxUint32
}

func part(of time.Duration, share float64) time.Duration { return time.Duration(float64(of) * share) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
