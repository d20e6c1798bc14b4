package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// FetchFeed asks a feed's server for another edition now, and puts it in force
// like ImportFeed: whole or not at all. It waits while another feed is fetched.
// What comes of it is kept, but for a try that ctx ended.
func (c *Control) FetchFeed(ctx context.Context, name string) (api.Imported, error) {
	select {
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-ctx.Done():
		return api.Imported{}, ctx.Err()
	}
	state := c.State()
	wanted, err := state.feed(name)
	switch {
	case err != nil:
		return api.Imported{}, err
	case wanted.URL == "":
		return api.Imported{}, &appliance.Error{Code: appliance.CodeInvalid, Field: "url",
			Message: fmt.Sprintf("the documents give no url of feed %s: its content is imported", name)}
	}
	last := c.attempts.of(wanted, c.now())
	got, err := c.ask(ctx, state, wanted, last)
	switch {
	case err != nil && ctx.Err() != nil:
		return api.Imported{}, err
	case err != nil:
		c.refused(subjectFeeds, fmt.Errorf("%s: %w", name, err))
		c.keepAttempt(last.failed(c.now(), err))
		return api.Imported{}, err
	}
	answer, err := c.takeFetched(wanted, got)
	if err != nil {
		c.keepAttempt(last.failed(c.now(), err))
		return api.Imported{}, err
	}
	c.keepAttempt(last.succeeded(c.now(), got, answer.Feed.Digest))
	answer.Feed = c.describe(c.State(), wanted)
	return answer, nil
}

// ask gets an edition other than the one in force. Only where that is just what
// the server sent before, read in the same way, may the server answer that
// nothing has changed.
func (c *Control) ask(ctx context.Context, s *State, wanted owned, last attempt) (appliance.Fetched, error) {
	known := last.Validators
	if have := s.contents[wanted.Name]; !have.sound() || have.digest != last.Digest {
		known = appliance.Validators{}
	}
	own, err := c.network.Own()
	if err != nil {
		return appliance.Fetched{}, fmt.Errorf("fetch %s: read the box's own addresses: %w", wanted.Name, err)
	}
	forbidden := slices.Clone(s.Settings.Network.LAN)
	for _, addr := range own {
		forbidden = append(forbidden, netip.PrefixFrom(addr.Unmap().WithZone(""), addr.Unmap().BitLen()))
	}
	got, err := c.web.Get(ctx, wanted.URL, known, forbidden)
	if err != nil {
		return appliance.Fetched{}, fmt.Errorf("fetch %s: %w", wanted.Name, err)
	}
	return got, nil
}

func (c *Control) takeFetched(wanted owned, got appliance.Fetched) (api.Imported, error) {
	if got.Same {
		state := c.State()
		return api.Imported{Feed: c.describe(state, wanted), Generation: state.Rules.Digest(), Unchanged: true}, nil
	}
	c.imports.Lock()
	defer c.imports.Unlock()
	return c.bring(wanted, got.Body, byFetch)
}

// longestPause is how long the clock is not looked at: it may be set.
const longestPause = time.Minute

// FetchDue fetches every feed whose time has come, one after another, and returns
// how long until there is something to do again: a second to a minute. What goes
// wrong is kept with the feed, and in the journal.
func (c *Control) FetchDue(ctx context.Context) time.Duration {
	for _, one := range c.State().feeds() {
		if ctx.Err() == nil && one.URL != "" && !c.due(one, c.State()).After(c.now()) {
			_, _ = c.FetchFeed(ctx, one.Name)
		}
	}
	pause := longestPause
	for _, one := range c.State().feeds() {
		if one.URL != "" {
			pause = min(pause, c.due(one, c.State()).Sub(c.now()))
		}
	}
	return max(pause, time.Second)
}

// describeFetch says what there is to say of fetching.
func (c *Control) describeFetch(out *api.Feed, s *State, one owned) {
	now, have := c.now(), s.contents[one.Name]
	last := c.attempts.of(one, now)
	out.URL, out.Every = one.URL, fmt.Sprintf("%dh", one.Every/time.Hour)
	out.Tried, out.Fetched, out.Error, out.Next = last.Tried, last.Fetched, last.Error, c.due(one, s).UTC()
	if age := now.Sub(later(last.Fetched, have.imported)); have.sound() && age > staleAfter*one.Every {
		out.Note = fmt.Sprintf("stale for %s, it should be fetched every %s%s", spell(age), out.Every, lastTry(last.Error))
	}
}

// staleAfter is how many times its every a feed may be old before that is worth
// a word: a server is away for a night now and then.
const staleAfter = 3

func lastTry(problem string) string {
	if problem == "" {
		return ""
	}
	return "; the last try: " + problem
}

// spell writes an age as a person says it.
func spell(age time.Duration) string {
	if age < 48*time.Hour {
		return fmt.Sprintf("%d hours", age/time.Hour)
	}
	return fmt.Sprintf("%d days", age/(24*time.Hour))
}
