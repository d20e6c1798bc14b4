package control

import (
	"bytes"
	"fmt"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Start puts the loaded rules into the gate. Until it has returned nil nothing
// may listen.
func (c *Control) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enforce(c.State())
}

// Refresh compiles again and has the gate enforce the result where it differs
// from what the gate holds: exceptions run out, clocks are set, and a gate may
// have been reloaded behind our back. It is cheap where nothing changed.
func (c *Control) Refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.State()
	compiled, err := rules.Compile(before.Policy, before.Settings, c.now())
	if err != nil {
		return fmt.Errorf("compile again: %w", err)
	}
	next := *before
	next.Rules = compiled
	if compiled.Digest() == before.Rules.Digest() {
		if c.gate.Generation() == compiled.Digest() {
			return nil
		}
		return c.enforce(before)
	}
	if err := c.enforce(&next); err != nil {
		return err
	}
	c.publish(&next)
	c.journal(appliance.Allow, appliance.DocumentSettings, "an exception has run out")
	return nil
}

func (c *Control) enforce(s *State) error {
	if err := c.gate.Enforce(s.Settings.Network.WAN, s.Rules); err != nil {
		return fmt.Errorf("enforce generation %s: %w", s.Rules.Digest(), err)
	}
	return nil
}

// Change puts the installer's settings in force. match is the revision that
// they were made from, or empty. Errors are appliance.Errors, or wrap what the
// gate or the disk said; then nothing has changed.
func (c *Control) Change(data []byte, match string) (api.Applied, error) {
	wanted, err := settings.Decode(data)
	if err != nil {
		c.refused(appliance.DocumentSettings, err)
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
		c.refused(appliance.DocumentPolicy, err)
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
		c.refused(name, err)
	}
	return applied, err
}

func (c *Control) tryChange(name appliance.Document, match string, edit func(next *State) error) (api.Applied, error) {
	before := c.State()
	if have := before.Revision(name); match != "" && match != have {
		return api.Applied{}, &appliance.Error{Code: appliance.CodeConflict,
			Message: fmt.Sprintf("the %s changed meanwhile: read revision %s and try again", name, have)}
	}
	next := &State{Policy: before.Policy, Settings: before.Settings, Notes: without(before.Notes, name)}
	if err := edit(next); err != nil {
		return api.Applied{}, err
	}
	compiled, err := rules.Compile(next.Policy, next.Settings, c.now())
	if err != nil {
		return api.Applied{}, err
	}
	next.Rules = compiled
	if err := c.apply(name, before, next); err != nil {
		return api.Applied{}, err
	}
	applied := api.Applied{Revision: next.Revision(name), Generation: compiled.Digest(), Notes: notes(before, next)}
	c.journal(appliance.Allow, name, fmt.Sprintf("revision %s is in force", applied.Revision))
	return applied, nil
}

// apply gives next to the gate, stores the changed document and publishes.
//
// The gate comes first because it is the step that can say no: a document on
// disk that no gate takes would stop every later start. The disk comes before
// publishing because what is answered as done has to survive a power cut. A
// crash between the two leaves the gate with a generation that no document
// tells of; the next start compiles the stored one and swaps it back, and
// nobody was told otherwise. Where the disk says no the gate is swapped back
// here; should that fail too, health sees two digests and Refresh tries again.
func (c *Control) apply(name appliance.Document, before, next *State) error {
	if err := c.enforce(next); err != nil {
		return err
	}
	if err := c.documents.PutDocument(name, encode(name, next)); err != nil {
		if back := c.enforce(before); back != nil {
			c.log.Error("take the change back", "err", back)
		}
		return fmt.Errorf("store the %s: %w", name, err)
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

func without(notes map[appliance.Document]Note, name appliance.Document) map[appliance.Document]Note {
	out := map[appliance.Document]Note{}
	for other, note := range notes {
		if other != name {
			out[other] = note
		}
	}
	return out
}

// journal records a change at once: it must not be lost in a flood of refusals.
func (c *Control) journal(verdict appliance.Verdict, name appliance.Document, message string) {
	c.log.Info("document", "document", name, "verdict", verdict, "message", message)
	event := appliance.Event{
		Time: c.now(), Kind: appliance.EventChange, Verdict: verdict, Subject: string(name), Message: clip(message),
	}
	if err := c.records.Append(nil, []appliance.Event{event}); err != nil {
		c.queue.unwritten.Add(1)
		c.log.Error("keep the journal", "err", err)
	}
}

func (c *Control) refused(name appliance.Document, err error) {
	c.journal(appliance.Block, name, "turned down: "+err.Error())
}
