package control

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
)

// content is what a feed holds, as it was imported or fetched.
type content struct {
	list     feed.List
	digest   string
	imported time.Time
	note     string // what is wrong with a later edition
	trouble  string // why there is no list although there was an import
}

// sound reports whether there is content, and the newest that there was.
func (c content) sound() bool { return c.digest != "" && c.trouble == "" && c.note == "" }

// owned is a feed of a document.
type owned struct {
	document.Feed
	owner appliance.Document
}

// feeds are those of both documents, in the order of the rules.
func (s *State) feeds() []owned {
	var out []owned
	for _, one := range s.Policy.Feeds {
		out = append(out, owned{one, appliance.DocumentPolicy})
	}
	for _, one := range s.Settings.Feeds {
		out = append(out, owned{one, appliance.DocumentSettings})
	}
	return out
}

func (s *State) feed(name string) (owned, error) {
	list := s.feeds()
	at := slices.IndexFunc(list, func(one owned) bool { return one.Name == name })
	if at < 0 {
		return owned{}, &appliance.Error{Code: appliance.CodeNotFound, Field: "name",
			Message: fmt.Sprintf("no document names a feed %q: it goes into the feeds of the settings first, with its format", name)}
	}
	return list[at], nil
}

// loadFeeds reads the content of every feed that there is any of, whether or not
// a document names it: one may do so any time.
func (c *Control) loadFeeds() map[string]content {
	out := make(map[string]content)
	names, err := c.lists.Feeds()
	if err != nil {
		c.log.Error("load feeds", "err", err)
	}
	for _, name := range names {
		one, found := c.loadFeed(name)
		if found {
			out[name] = one
		}
	}
	return out
}

func (c *Control) loadFeed(name string) (one content, found bool) {
	at, note, err := c.lists.Feed(name, func(data []byte) (err error) {
		one.list, err = feed.Decode(data)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return content{}, false
	case err != nil:
		c.log.Error("feed can't be used", "feed", name, "why", err)
		return content{trouble: err.Error()}, true
	case note != "":
		c.log.Error("feed can't be used", "feed", name, "why", note)
	}
	one.digest, one.imported, one.note = one.list.Digest(), at, note
	return one, true
}

// ImportFeed puts the content of a feed that a document names in force, read in
// the format that the document gives, whole or not at all: on an error nothing
// has changed, and the error names the first line that is wrong. data may be as
// long as feed.MaxSize, and take its time: no other feed waits for it. Where
// maxUploads are under way already, CodeUnavailable says so.
func (c *Control) ImportFeed(name string, data io.Reader) (api.Imported, error) {
	wanted, err := c.State().feed(name)
	if err != nil {
		return api.Imported{}, err
	}
	select {
	case c.uploads <- struct{}{}:
		defer func() { <-c.uploads }()
	default:
		return api.Imported{}, &appliance.Error{Code: appliance.CodeUnavailable,
			Message: fmt.Sprintf("%d uploads of feeds are under way: try again", maxUploads)}
	}
	raw, err := io.ReadAll(data)
	if err != nil {
		return api.Imported{}, fmt.Errorf("read body: %w", err)
	}
	c.imports.Lock()
	defer c.imports.Unlock()
	return c.bring(wanted, raw, byImport)
}

// maxUploads is how many uploads are held in memory: one may be stuck, and each may
// have feed.MaxSize.
const maxUploads = 2

// The ways in which content comes, as the journal calls them.
const (
	byImport = "imported"
	byFetch  = "fetched"
)

// howBrought is the way in which a feed is to come.
func howBrought(url string) string {
	if url == "" {
		return byImport
	}
	return byFetch
}

// bring parses content and puts it in force. The caller holds c.imports.
func (c *Control) bring(wanted owned, raw []byte, how string) (api.Imported, error) {
	list, err := feed.Parse(wanted.Format, raw, wanted.Countries)
	if err != nil {
		c.refused(subjectFeeds, fmt.Errorf("%s: %w", wanted.Name, err))
		return api.Imported{}, err
	}
	next := content{list: list, digest: list.Digest(), imported: c.now()}
	answer, err := c.putFeed(wanted, next, how)
	if err != nil {
		c.refused(subjectFeeds, fmt.Errorf("%s: %w", wanted.Name, err))
		return api.Imported{}, err
	}
	if !answer.Unchanged {
		c.journal(appliance.Allow, subjectFeeds, fmt.Sprintf("%s is %s: %d entries, digest %s, rules %s",
			wanted.Name, how, list.Entries, next.digest, answer.Generation))
	}
	return answer, nil
}

// putFeed compiles, enforces and stores. What was fetched once more and holds the
// same addresses is left alone: many servers don't say so, and the disk of a box
// has only so many writes in it.
func (c *Control) putFeed(wanted owned, next content, how string) (api.Imported, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.State()
	if now, err := before.feed(wanted.Name); err != nil || sourceOf(now) != sourceOf(wanted) {
		return api.Imported{}, &appliance.Error{Code: appliance.CodeConflict,
			Message: "the documents changed while the feed was read: try again"}
	}
	if have := before.contents[wanted.Name]; how == byFetch && have.sound() && have.digest == next.digest {
		return api.Imported{Feed: c.describe(before, wanted), Generation: before.Rules.Digest(), Unchanged: true}, nil
	}
	store := func() error { return c.lists.PutFeed(wanted.Name, feed.Encode(next.list)) }
	changed := before.copy()
	changed.contents[wanted.Name] = next
	if err := c.change(before, changed, store); err != nil {
		return api.Imported{}, err
	}
	return api.Imported{Feed: c.describe(changed, wanted), Generation: changed.Rules.Digest()}, nil
}

// change compiles and applies a state whose feeds differ from those before.
func (c *Control) change(before, next *State, store func() error) error {
	if err := c.compile(next); err != nil {
		return err
	}
	return c.apply(before, next, store)
}

// RemoveFeed forgets a feed's content. A document that names it goes on naming
// it: it is shown as missing then.
func (c *Control) RemoveFeed(name string) (api.Imported, error) {
	c.imports.Lock()
	defer c.imports.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.State()
	if _, found := before.contents[name]; !found {
		return api.Imported{}, &appliance.Error{Code: appliance.CodeNotFound, Field: "name",
			Message: fmt.Sprintf("there is no content of a feed %q", name)}
	}
	next := before.copy()
	delete(next.contents, name)
	if err := c.change(before, next, func() error { return c.lists.RemoveFeed(name) }); err != nil {
		c.refused(subjectFeeds, fmt.Errorf("%s: %w", name, err))
		return api.Imported{}, err
	}
	c.journal(appliance.Allow, subjectFeeds, fmt.Sprintf("the content of %s is removed: rules %s", name, next.Rules.Digest()))
	one, err := next.feed(name)
	if err != nil {
		one = owned{Feed: document.Feed{Name: name}}
	}
	return api.Imported{Feed: c.describe(next, one), Generation: next.Rules.Digest()}, nil
}

// Feeds lists the feeds of both documents in the order of the rules, and then
// content that no document names.
func (c *Control) Feeds() api.Feeds {
	state := c.State()
	out := api.Feeds{Feeds: []api.Feed{}}
	named := make(map[string]bool)
	for _, one := range state.feeds() {
		named[one.Name] = true
		out.Feeds = append(out.Feeds, c.describe(state, one))
	}
	var unused []api.Feed
	for name := range state.contents {
		if !named[name] {
			unused = append(unused, c.describe(state, owned{Feed: document.Feed{Name: name}}))
		}
	}
	slices.SortFunc(unused, func(a, b api.Feed) int { return strings.Compare(a.Name, b.Name) })
	out.Feeds = append(out.Feeds, unused...)
	return out
}

func (c *Control) describe(s *State, one owned) api.Feed {
	have, found := s.contents[one.Name]
	out := api.Feed{
		Name: one.Name, Owner: string(one.owner), Format: string(one.Format), Countries: full(one.Countries),
		State: api.FeedInForce, Entries: have.list.Entries, Digest: have.digest, Imported: have.imported.UTC(), Note: have.note,
	}
	if one.URL != "" {
		c.describeFetch(&out, s, one)
	}
	switch {
	case have.trouble != "":
		out.State, out.Note = api.FeedDamaged, have.trouble
	case one.owner == "":
		out.State = api.FeedUnused
	case !found:
		out.State = api.FeedMissing
	}
	if have.imported.IsZero() {
		out.Imported = time.Time{}
	}
	return out
}

// Checks says what health should know of feeds and bans: a word for all where
// all is well, and one for each that is not.
func (c *Control) Checks() []appliance.Check {
	var out []appliance.Check
	named, entries := 0, 0
	for _, one := range c.Feeds().Feeds {
		check := appliance.Check{Name: "feed " + one.Name, Level: appliance.Amber}
		switch {
		case one.State == api.FeedUnused:
			continue
		case one.State == api.FeedMissing:
			check.Message = fmt.Sprintf("feed %s was never %s: it denies nobody%s", one.Name, howBrought(one.URL), lastTry(one.Error))
		case one.State == api.FeedDamaged:
			check.Level, check.Message = appliance.Red, fmt.Sprintf("feed %s can't be used, it denies nobody: %s", one.Name, one.Note)
		case one.Note != "":
			check.Message = one.Note
		}
		if check.Message != "" {
			out = append(out, check)
		}
		named, entries = named+1, entries+one.Entries
	}
	if named > 0 && len(out) == 0 {
		out = append(out, appliance.Check{Name: "feeds", Level: appliance.Green,
			Message: fmt.Sprintf("%d in force with %d entries", named, entries)})
	}
	return append(out, c.checkBans()...)
}

func (c *Control) checkBans() []appliance.Check {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.bans.trouble != nil:
		return []appliance.Check{{Name: "bans", Level: appliance.Red, Message: fmt.Sprintf("the gate does not hold the bans: %v", c.bans.trouble)}}
	case c.bans.note.Message != "":
		return []appliance.Check{{Name: "bans", Level: c.bans.note.Level, Message: c.bans.note.Message}}
	}
	return nil
}
