package watch

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// Facts are what the box can see by itself.
type Facts interface {
	// Exposure says what of the site is open to strangers on the WAN; empty where
	// nothing is. The error is for when that can't be told.
	Exposure() (string, error)
	// Strangers returns where the account of a name is registered from, of the
	// sources that no document names; of all accounts where it is empty.
	Strangers(account string) ([]string, error)
}

// errNoBlock is that of the engine, as the control API knows it.
var errNoBlock = &appliance.Error{Code: appliance.CodeNotFound, Message: "there is no such toll-block"}

// Checklist returns what must be shown before a block is left, with what the box
// verifies now.
func (w *Watch) Checklist(of fraud.Subject) ([]fraud.Item, error) {
	for _, b := range w.engine.Blocks() {
		if b.Subject == of {
			return w.checklist(b), nil
		}
	}
	return nil, errNoBlock
}

func (w *Watch) checklist(b fraud.Block) []fraud.Item {
	checks, misdial := b.Checks()
	w.retest(b.Subject)
	var items []fraud.Item
	for _, check := range checks {
		items = append(items, w.item(b, check))
	}
	if misdial {
		items = append(items, fraud.Item{
			Check: fraud.CheckMisdial, Sentence: fraud.CheckMisdial.Sentence(), Attestable: true,
			Why: "every number would be a local one without its international prefix; a person's word for that is enough to leave the block",
		})
	}
	return items
}

func (w *Watch) item(b fraud.Block, check fraud.Check) fraud.Item {
	item := fraud.Item{Check: check, Sentence: check.Sentence()}
	switch check {
	case fraud.CheckSecret:
		item.Why, item.Verified = w.secret(b.Subject, b.Since)
		item.Attestable = !item.Verified && !w.stillWeak(b.Subject)
	case fraud.CheckExposure:
		open, err := w.Facts.Exposure()
		item.Verified, item.Why = err == nil && open == "", open
		switch {
		case err != nil:
			item.Why = "can't be told: " + err.Error()
		case item.Verified:
			item.Why = "the gate is in force on every WAN interface with the present rules"
		}
	case fraud.CheckRegistration:
		from, err := w.Facts.Strangers(b.Subject.Name)
		item.Verified, item.Attestable = err == nil && len(from) == 0, err == nil && len(from) > 0
		switch {
		case err != nil:
			item.Why, item.Attestable = "can't be told: "+err.Error(), true
		case item.Verified:
			item.Why = "every registration comes from the LAN or a source that the documents name"
		default:
			item.Why = fmt.Sprintf("registered from %v", from)
		}
	}
	return item
}

// stillWeak reports whether the box has proof that the secret is a bad one: against
// that nobody's word counts.
func (w *Watch) stillWeak(of fraud.Subject) bool {
	for _, one := range w.Weak() {
		if of.Kind != fraud.Extension || one.Account == of.Name {
			return true
		}
	}
	return false
}

// Reopen leaves a toll-block: what the box verifies now counts, and by's word for
// the checks that may rest on one. The error names what is missing.
func (w *Watch) Reopen(of fraud.Subject, by string, words []fraud.Word) ([]fraud.Proof, error) {
	items, err := w.Checklist(of)
	if err != nil {
		return nil, err
	}
	at := w.Now()
	var proofs []fraud.Proof
	for _, item := range items {
		if item.Verified {
			proofs = append(proofs, fraud.Proof{Check: item.Check, Verified: true, By: "box", Why: item.Why, At: at.Wall})
		} else if word := wordFor(words, item.Check); word != nil {
			if !item.Attestable {
				return nil, &appliance.Error{Code: appliance.CodeForbidden, Field: string(item.Check), Message: "no word counts against what the box sees: " + item.Why}
			}
			proofs = append(proofs, fraud.Proof{Check: item.Check, By: by, Why: word.Why, At: at.Wall})
		}
	}
	actions, err := w.engine.Reopen(at, of, proofs)
	if errors.Is(err, fraud.ErrNoBlock) {
		return nil, errNoBlock
	}
	if err != nil {
		return nil, &appliance.Error{Code: appliance.CodeForbidden, Message: err.Error()}
	}
	w.later(actions)
	for _, proof := range proofs {
		how := "attested by " + proof.By
		if proof.Verified {
			how = "verified by the box"
		}
		w.journal(appliance.Allow, of, fmt.Sprintf("%s, %s: %s", proof.Check.Sentence(), how, proof.Why))
	}
	return proofs, nil
}

func wordFor(words []fraud.Word, check fraud.Check) *fraud.Word {
	for i := range words {
		if words[i].Check == check && words[i].Why != "" {
			return &words[i]
		}
	}
	return nil
}

// Blocks returns the toll-blocks in force, the oldest first.
func (w *Watch) Blocks() []fraud.Block { return w.engine.Blocks() }

// Block enters a toll-block by hand.
func (w *Watch) Block(of fraud.Subject, scope fraud.Scope, by, why string) error {
	actions, err := w.engine.Block(w.Now(), of, scope, by, why)
	if err != nil {
		return &appliance.Error{Code: appliance.CodeInvalid, Message: err.Error()}
	}
	w.later(actions)
	return nil
}

// Release lets exactly one number pass the lists for a while.
func (w *Watch) Release(number, by string, d time.Duration) (fraud.Release, error) {
	release, err := w.engine.Release(w.Now(), number, by, d)
	if err != nil {
		return fraud.Release{}, &appliance.Error{Code: appliance.CodeInvalid, Field: "number", Message: err.Error()}
	}
	w.Report(appliance.Event{Time: w.Now().Wall, Kind: appliance.EventFraud, Reason: appliance.ReasonReleased, Verdict: appliance.Allow, Subject: by,
		Message: fmt.Sprintf("%s is released for %s", number, d)})
	return release, nil
}

// Withdraw ends a release.
func (w *Watch) Withdraw(number string) error {
	if !w.engine.Withdraw(number) {
		return &appliance.Error{Code: appliance.CodeNotFound, Message: number + " is not released"}
	}
	return nil
}

// Releases returns those in force.
func (w *Watch) Releases() []fraud.Release { return w.engine.Releases(w.Now()) }

// Findings returns the latest ones, oldest first.
func (w *Watch) Findings() []fraud.Finding { return w.engine.Findings() }

// Spent returns what is spent of the limits.
func (w *Watch) Spent() []fraud.Spent { return w.engine.Spent(w.Now()) }

// Config is what the engine is told, with the rate deck in force.
func (w *Watch) Config() fraud.Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.config()
}
