package fraud

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scope is what a toll-block shuts. Emergency and internal calls and whatever
// comes in always work.
type Scope uint8

// The scopes. The zero Scope is the usual one: what fraudsters earn by.
const (
	ScopePremium       Scope = iota // international and premium calls
	ScopeInternational              // international calls alone
	ScopeAll                        // everything but emergency and internal calls
)

var scopeNames = [...]string{"international-and-premium", "international", "all-but-emergency-and-internal"}

// String returns the name of the scope.
func (s Scope) String() string { return scopeNames[min(int(s), len(scopeNames)-1)] }

// ScopeNamed returns the scope of a name, and false where there is none.
func ScopeNamed(name string) (Scope, bool) {
	for scope, known := range scopeNames {
		if known == name {
			return Scope(scope), true
		}
	}
	return ScopePremium, false
}

// covers reports whether a block of this scope shuts a class.
func (s Scope) covers(class Class) bool {
	switch s {
	case ScopeInternational:
		return class.International()
	case ScopeAll:
		return class != Emergency && class != Internal
	}
	return class.Chargeable()
}

// Block is a toll-block: it stands until somebody proves that its cause is gone,
// through restarts and whatever the clock says.
type Block struct {
	Subject  Subject   `json:"subject"`
	Scope    Scope     `json:"scope"`
	Rule     RuleID    `json:"rule"`
	Why      string    `json:"why"`
	Owner    string    `json:"owner"` // "box", or the person who entered it
	Since    time.Time `json:"since"`
	Evidence []Finding `json:"evidence"` // the first ones, at most maxEvidence
	Policy   string    `json:"policy"`   // digest of the rules at the time
}

// Check is one thing that must be shown before a block is left.
type Check string

// The checks.
const (
	CheckSecret       Check = "secret-changed"      // the old secret no longer answers
	CheckExposure     Check = "no-exposure"         // nothing of the site is open on the WAN
	CheckRegistration Check = "registrations-known" // no registration from an unknown source
	CheckMisdial      Check = "misdial"             // all of it was one wrong prefix
)

// Sentence says what a check asks, for a person.
func (c Check) Sentence() string {
	switch c {
	case CheckSecret:
		return "The old password no longer works"
	case CheckExposure:
		return "Nothing of the site is open to strangers on the WAN"
	case CheckRegistration:
		return "Nobody is registered from an unknown address"
	case CheckMisdial:
		return "All of it was a wrong prefix"
	}
	return string(c)
}

// Item is one line of the checklist before a block is left.
type Item struct {
	Check    Check  `json:"check"`
	Sentence string `json:"sentence"` // what is asked
	Verified bool   `json:"verified"` // the box sees that it is so
	Why      string `json:"why"`      // what it sees, or why it can't tell
	// Attestable says that a named person's word will do.
	Attestable bool `json:"attestable"`
}

// Word is a person's word for a check.
type Word struct {
	Check Check  `json:"check"`
	Why   string `json:"why"`
}

// Proof says how a check was met: by the box itself, or by the word of a person.
type Proof struct {
	Check    Check     `json:"check"`
	Verified bool      `json:"verified"` // the box saw it; else By vouches for it
	By       string    `json:"by"`
	Why      string    `json:"why"` // what was seen, or said
	At       time.Time `json:"at"`
}

// ErrNoBlock says that a subject is not blocked.
var ErrNoBlock = errors.New("there is no toll-block")

// Checks returns what must be shown before b is left. A block that stands on
// numbers alone which are local ones without their prefix may be left by that one
// explanation instead.
func (b *Block) Checks() (all []Check, misdial bool) {
	misdial = len(b.Evidence) > 0
	for _, f := range b.Evidence {
		misdial = misdial && f.Misdial
	}
	return []Check{CheckSecret, CheckExposure, CheckRegistration}, misdial
}

// Missing returns the checks that proofs do not meet. A proof needs a name.
func (b *Block) Missing(proofs []Proof) []Check {
	met := func(check Check) bool {
		return slices.ContainsFunc(proofs, func(p Proof) bool { return p.Check == check && p.By != "" && p.Why != "" })
	}
	needed, misdial := b.Checks()
	if misdial && met(CheckMisdial) {
		return nil
	}
	return slices.DeleteFunc(needed, met)
}

// blocks is the toll-blocks in force.
type blocks struct{ all map[Subject]*Block }

func (b *blocks) of(s Subject) *Block { return b.all[s] }

// over returns the block that shuts a call, the site's first.
func (b *blocks) over(of [kinds]*state, claims []string, class Class) *Block {
	for _, s := range of {
		if block := b.all[s.subject]; block != nil && block.Scope.covers(class) {
			return block
		}
	}
	for _, name := range claims {
		if block := b.all[Subject{Extension, name}]; block != nil && block.Scope.covers(class) {
			return block
		}
	}
	return nil
}

// Block enters a toll-block by hand, or widens the one that there is.
func (e *Engine) Block(at Moment, of Subject, scope Scope, owner, why string) ([]Action, error) {
	if owner == "" || why == "" {
		return nil, errors.New("enter toll-block: want a name and a reason")
	}
	if of.Kind >= kinds || (of.Kind == Site) != (of.Name == "") {
		return nil, fmt.Errorf("enter toll-block: %s is no subject", of)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(at)
	if old := e.blocks.of(of); old != nil {
		old.Scope = max(old.Scope, scope)
		return append(e.cutUnder(old, at, up), Action{Kind: ActSave}), nil
	}
	return e.enter(Finding{At: at.Wall, Subject: of, Level: Critical, Why: why}, scope, owner, up, at), nil
}

// enter begins a toll-block on a finding's subject and asks for the end of the
// calls that it covers. The table is bounded by the site itself: what does not
// fit blocks the site.
func (e *Engine) enter(f Finding, scope Scope, owner string, up time.Duration, at Moment) []Action {
	if len(e.blocks.all) >= maxBlocks {
		f.Subject = Subject{Kind: Site}
		if e.blocks.of(f.Subject) != nil {
			return nil
		}
	}
	b := &Block{
		Subject: f.Subject, Scope: scope, Rule: f.Rule, Why: f.Why, Owner: owner, Since: at.Wall, Policy: e.policy,
		Evidence: append(e.earlier(f), f),
	}
	e.blocks.all[f.Subject] = b
	actions := []Action{{Kind: ActBlock, Finding: f, Block: b.copy()}}
	return append(append(actions, e.cutUnder(b, at, up)...), Action{Kind: ActSave})
}

// earlier returns what led to a finding: those of the same subject and rule
// within the day before.
func (e *Engine) earlier(f Finding) []Finding {
	var before []Finding
	for _, old := range e.findings {
		if old.Subject == f.Subject && old.Rule == f.Rule && f.At.Sub(old.At) <= 24*time.Hour && old != f {
			before = append(before, old)
		}
	}
	return before[max(0, len(before)-maxEvidence+1):]
}

func (b *Block) copy() *Block {
	out := *b
	out.Evidence = slices.Clone(b.Evidence)
	return &out
}

// cutUnder asks for the end of every live call that a block covers.
func (e *Engine) cutUnder(b *Block, at Moment, up time.Duration) (actions []Action) {
	for _, call := range e.inOrder() {
		if call.of[b.Subject.Kind].subject != b.Subject || call.cut != nil || !b.Scope.covers(call.class) {
			continue
		}
		actions = append(actions, call.end(Finding{
			At: at.Wall, Rule: b.Rule, Level: Critical, Subject: b.Subject, Number: call.number, Call: call.id,
			Why: "a toll-block was entered: " + b.Why,
		}, up))
	}
	return actions
}

// Reopen leaves a toll-block for the proofs given. It returns an error that names
// what is still missing.
func (e *Engine) Reopen(at Moment, of Subject, proofs []Proof) ([]Action, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock(at)
	b := e.blocks.of(of)
	if b == nil {
		return nil, fmt.Errorf("reopen %s: %w", of, ErrNoBlock)
	}
	if missing := b.Missing(proofs); len(missing) > 0 {
		names := make([]string, len(missing))
		for i, check := range missing {
			names[i] = string(check)
		}
		return nil, fmt.Errorf("reopen %s: not shown yet: %s", of, strings.Join(names, ", "))
	}
	delete(e.blocks.all, of)
	if s := e.states.all[of]; s != nil {
		s.settle()
	}
	return []Action{{Kind: ActReopen, Block: b.copy()}, {Kind: ActSave}}, nil
}

// settle forgets what led to a block, so that the next call does not enter it
// again. Counts of calls and money stay.
func (s *state) settle() {
	s.recent = newRecent(s.recent.size)
	s.suspect = suspicion{}
	s.told = make(map[RuleID]told)
}

// Blocks returns the toll-blocks in force, the oldest first.
func (e *Engine) Blocks() []Block {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]Block, 0, len(e.blocks.all))
	for _, b := range e.blocks.all {
		all = append(all, *b.copy())
	}
	slices.SortFunc(all, func(a, b Block) int {
		if order := a.Since.Compare(b.Since); order != 0 {
			return order
		}
		return strings.Compare(a.Subject.String(), b.Subject.String())
	})
	return all
}
