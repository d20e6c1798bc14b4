package control

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Start puts the loaded rules into the gate, with what DNS names stand for by
// now, and then the bans. Until it has returned nil nothing may listen.
func (c *Control) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(); err != nil {
		c.log.Error("start with the rules as they were loaded", "err", err)
	}
	return c.enforce(c.State())
}

// Refresh compiles again and has the gate enforce the result where it differs
// from what the gate holds: exceptions run out, names resolve to other
// addresses, clocks are set, and a gate may have been reloaded behind our back.
// Bans that the gate did not take are brought to it again. It is cheap where
// nothing changed.
func (c *Control) Refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endBans()
	err := c.refresh()
	switch now := c.State(); {
	case c.gate.Generation() != now.Rules.Digest():
		err = errors.Join(err, c.enforce(now))
	case c.bans.trouble != nil:
		c.bringBans()
	}
	return err
}

// refresh compiles again where that may make a difference, and publishes what
// does.
func (c *Control) refresh() error {
	before := c.State()
	if c.fresh(before) {
		return nil
	}
	next := *before
	if err := c.compile(&next); err != nil {
		return fmt.Errorf("compile again: %w", err)
	}
	if next.Rules.Digest() == before.Rules.Digest() {
		c.state.Store(&next) // the same rules: nobody has to be woken
		return nil
	}
	if err := c.enforce(&next); err != nil {
		return err
	}
	c.publish(&next)
	if maps.EqualFunc(before.resolved, next.resolved, slices.Equal) && maps.EqualFunc(before.targets, next.targets, slices.Equal) {
		c.journal(appliance.Allow, subjectSettings, "an exception has run out")
	} else {
		c.journal(appliance.Allow, subjectNames, "DNS names stand for other addresses: rules "+next.Rules.Digest())
	}
	return nil
}

// What the journal's entries of changes are about, besides the documents.
const (
	subjectSettings = string(appliance.DocumentSettings)
	subjectNames    = "names"
	subjectFeeds    = "feeds"
	subjectBans     = "bans"
	subjectGuard    = "guard"
)

// enforce gives a state's rules to the gate. One that may be another gate than
// before is given the bans, too.
func (c *Control) enforce(s *State) error {
	if err := c.gate.Enforce(s.Settings.Network.WAN, s.Rules); err != nil {
		return fmt.Errorf("enforce generation %s: %w", s.Rules.Digest(), err)
	}
	c.bringBans()
	return nil
}

// Change puts the installer's settings in force. match is the revision that
// they were made from, or empty. Errors are appliance.Errors, or wrap what the
// gate or the disk said; then nothing has changed.
func (c *Control) Change(data []byte, match string) (api.Applied, error) {
	wanted, err := settings.Decode(data)
	if err != nil {
		c.refused(string(appliance.DocumentSettings), err)
		return api.Applied{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settle(appliance.DocumentSettings, match, func(next *State) error {
		next.Settings = wanted
		return nil
	})
}

// Offer puts a provider's policy in force. Its serial must be higher than the
// one in force; the same edition again is no error. Errors are as for Change.
func (c *Control) Offer(data []byte, match string) (api.Applied, error) {
	wanted, err := policy.Decode(data)
	if err != nil {
		c.refused(string(appliance.DocumentPolicy), err)
		return api.Applied{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settle(appliance.DocumentPolicy, match, func(next *State) error {
		if err := newer(next.Policy, wanted); err != nil {
			return err
		}
		next.Policy = wanted
		return nil
	})
}

// newer makes sure that an old policy, sound and signed once, can't come back.
func newer(inForce, wanted policy.Policy) error {
	mistake := &appliance.Error{Code: appliance.CodeInvalid, Field: "serial"}
	switch {
	case wanted.Serial > inForce.Serial:
		return nil
	case wanted.Serial < inForce.Serial:
		mistake.Message = fmt.Sprintf("%d is older than %d, the edition in force", wanted.Serial, inForce.Serial)
		return mistake
	case bytes.Equal(policy.Encode(wanted), policy.Encode(inForce)):
		return nil
	default:
		mistake.Message = fmt.Sprintf("%d is in force already with another content; a new edition needs a higher serial", wanted.Serial)
		return mistake
	}
}

// settle edits a copy of the state in force and applies it. The caller holds
// c.mu.
func (c *Control) settle(name appliance.Document, match string, edit func(next *State) error) (api.Applied, error) {
	applied, err := c.tryChange(name, match, edit)
	if err != nil {
		c.refused(string(name), err)
	}
	return applied, err
}

func (c *Control) tryChange(name appliance.Document, match string, edit func(next *State) error) (api.Applied, error) {
	before := c.State()
	if have := before.Revision(name); match != "" && match != have {
		return api.Applied{}, &appliance.Error{Code: appliance.CodeConflict,
			Message: fmt.Sprintf("the %s changed meanwhile: read revision %s and try again", name, have)}
	}
	next := before.copy()
	delete(next.Notes, name)
	if err := edit(next); err != nil {
		return api.Applied{}, err
	}
	if err := c.compile(next); err != nil {
		return api.Applied{}, err
	}
	store := func() error {
		if err := c.documents.PutDocument(name, encode(name, next)); err != nil {
			return fmt.Errorf("store the %s: %w", name, err)
		}
		return nil
	}
	if err := c.apply(before, next, store); err != nil {
		return api.Applied{}, err
	}
	applied := api.Applied{Revision: next.Revision(name), Generation: next.Rules.Digest(), Notes: notes(before, next)}
	c.journal(appliance.Allow, string(name), fmt.Sprintf("revision %s is in force", applied.Revision))
	return applied, nil
}

// copy returns a state to edit.
func (s *State) copy() *State {
	return &State{Policy: s.Policy, Settings: s.Settings, Notes: maps.Clone(s.Notes), contents: maps.Clone(s.contents)}
}

// apply gives next to the gate, stores what has changed and publishes.
//
// The gate comes first because it is the step that can say no: a document on
// disk that no gate takes would stop every later start. The disk comes before
// publishing because what is answered as done has to survive a power cut. A
// crash between the two leaves the gate with a generation that no document
// tells of; the next start compiles the stored one and swaps it back, and
// nobody was told otherwise. Where the disk says no the gate is swapped back
// here; should that fail too, health sees two digests and Refresh tries again.
func (c *Control) apply(before, next *State, store func() error) error {
	if err := c.enforce(next); err != nil {
		return err
	}
	if err := store(); err != nil {
		if back := c.enforce(before); back != nil {
			c.log.Error("take the change back", "err", back)
		}
		return err
	}
	c.publish(next)
	return nil
}

func encode(name appliance.Document, s *State) []byte {
	if name == appliance.DocumentPolicy {
		return policy.Encode(s.Policy)
	}
	return settings.Encode(s.Settings)
}

// journal records a change at once: it must not be lost in a flood of refusals.
func (c *Control) journal(verdict appliance.Verdict, subject, message string) {
	c.log.Info("change", "subject", subject, "verdict", verdict, "message", message)
	event := appliance.Event{
		Time: c.now(), Kind: appliance.EventChange, Verdict: verdict, Subject: subject, Message: clip(message),
	}
	if err := c.records.Append(nil, []appliance.Event{event}); err != nil {
		c.queue.unwritten.Add(1)
		c.log.Error("keep the journal", "err", err)
	}
	c.audit("box", verdict.String(), subject, message)
}

func (c *Control) refused(subject string, err error) {
	c.journal(appliance.Block, subject, "turned down: "+err.Error())
}
