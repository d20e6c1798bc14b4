package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// load reads both documents and compiles them. It has an answer for everything
// that a disk can hold.
func (c *Control) load() *State {
	next := &State{Policy: policy.Builtin(), Settings: settings.Default(), Notes: map[appliance.Document]Note{}}
	c.read(next, appliance.DocumentPolicy, Note{appliance.Green, "the built-in policy is in force, no provider manages this box"},
		func(data []byte) (err error) { return decode(&next.Policy, policy.Decode, data) })
	c.read(next, appliance.DocumentSettings, Note{appliance.Amber, "no settings have been made yet"},
		func(data []byte) (err error) { return decode(&next.Settings, settings.Decode, data) })
	next.contents = c.loadFeeds()
	err := c.compile(next)
	if err == nil {
		return next
	}
	// Each document is sound but they contradict each other: one of them was
	// put here by hand. The provider's word is kept, the local additions not.
	next.Notes[appliance.DocumentSettings] = Note{appliance.Red, fmt.Sprintf("the settings contradict the policy and are not in force: %v", err)}
	next.Settings = restricted(next.Settings)
	if err = c.compile(next); err != nil {
		next.Notes[appliance.DocumentPolicy] = Note{appliance.Red, fmt.Sprintf("the policy can't be compiled, everything guarded is refused: %v", err)}
		next.Rules, next.resolved, next.targets, next.compiled = &rules.Rules{}, c.network.Resolved(), c.network.Targets(), c.now()
	}
	return next
}

// compile gives a state its rules, with the facts as they are now. Where that
// can't be, the state stays as it is.
func (c *Control) compile(s *State) error {
	resolved, targets, now := c.network.Resolved(), c.network.Targets(), c.now()
	facts := rules.Facts{Feeds: make(map[string]feed.List), Names: resolved, Targets: targets}
	for name, one := range s.contents {
		if one.trouble == "" {
			facts.Feeds[name] = one.list
		}
	}
	compiled, err := rules.Compile(s.Policy, s.Settings, facts, now)
	if err != nil {
		return err
	}
	s.Rules, s.resolved, s.targets, s.compiled = compiled, resolved, targets, now
	return nil
}

// fresh reports whether compiling again would make no difference: what DNS names
// stand for has not changed, no exception has ended, and the clock was not set
// back to before one did.
func (c *Control) fresh(s *State) bool {
	now, expires := c.now(), s.Rules.Expires()
	return !now.Before(s.compiled) && (expires.IsZero() || now.Before(expires)) &&
		maps.EqualFunc(s.resolved, c.network.Resolved(), slices.Equal) &&
		maps.EqualFunc(s.targets, c.network.Targets(), slices.Equal)
}

// restricted keeps of settings what can loosen nothing: where the box stands,
// its interfaces and its own blocks.
func restricted(s settings.Settings) settings.Settings {
	out := settings.Default()
	out.Site, out.Network = s.Site, s.Network
	out.Destinations.Block = s.Destinations.Block
	return out
}

func decode[T any](into *T, read func([]byte) (T, error), data []byte) error {
	value, err := read(data)
	if err == nil {
		*into = value
	}
	return err
}

// read fills in one document, or leaves the built-in one and notes why.
func (c *Control) read(next *State, name appliance.Document, none Note, accept func([]byte) error) {
	note, err := c.documents.Document(name, accept)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		next.Notes[name] = none
	case err != nil:
		next.Notes[name] = Note{appliance.Red, fmt.Sprintf("the built-in %s is in force, because the stored one can't be used: %v", name, err)}
	case note != "":
		next.Notes[name] = Note{appliance.Red, note}
	}
	if note, found := next.Notes[name]; found && note.Level == appliance.Red {
		c.log.Error("document can't be used", "document", name, "why", note.Message)
	}
}

// revision names an edition.
func revision(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:16]
}
