// Package control is the single writer: it owns the two documents and the rules
// compiled from them, and is the only one that changes them. It takes what the
// hands report, keeps it, and serves the control API.
//
// A change is decoded, compiled, given to the gate, stored, and only then
// published. An error on the way leaves everything as it was.
package control

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Gate is the perimeter in the kernel.
type Gate interface {
	// Enforce makes r the generation in force on the WAN interfaces named, all
	// of them or, on an error, as it was.
	Enforce(wan []string, r *rules.Rules) error
	// Generation returns the digest in force, read back; empty where none is.
	Generation() string
	// Tallies returns the exact counts by reason.
	Tallies() (appliance.Tallies, error)
}

// Documents keeps the two documents.
type Documents interface {
	// Document hands the newest edition that accept takes to accept; note says
	// what was wrong with a newer one. err is fs.ErrNotExist on a new box.
	Document(name appliance.Document, accept func([]byte) error) (note string, err error)
	// PutDocument makes data the edition in force, or changes nothing.
	PutDocument(name appliance.Document, data []byte) error
}

// Records keeps calls and events.
type Records interface {
	Append(calls []appliance.Call, events []appliance.Event) error
	Calls(ctx context.Context, filter appliance.CallFilter) ([]appliance.Call, error)
	Events(ctx context.Context, filter appliance.EventFilter) ([]appliance.Entry, error)
}

// State is one published pair of documents with its rules. It never changes.
type State struct {
	Policy   policy.Policy
	Settings settings.Settings
	Rules    *rules.Rules
	// Notes are what a person should know of a document in force: that it is
	// damaged, or that there is none yet. Empty values mean all is well.
	Notes map[appliance.Document]Note
	// Superseded is closed when another state takes its place.
	Superseded <-chan struct{}

	supersede chan struct{}
	revisions map[appliance.Document]string
}

// Note is one sentence about a document, and how bad that is.
type Note struct {
	Level   appliance.Level
	Message string
}

// Control is the single writer. It is safe for concurrent use.
type Control struct {
	gate      Gate
	documents Documents
	records   Records
	queue     *Queue
	recent    *recent
	now       func() time.Time
	log       *slog.Logger
	started   time.Time

	mu    sync.Mutex // one change at a time
	state atomic.Pointer[State]
}

// New loads and compiles the documents. It gives nothing to the gate yet: Start
// does. It always returns a Control with rules: a document that can't be used
// gives way to the edition before it, and that to the built-in one, with a Note
// that says so.
func New(gate Gate, documents Documents, records Records, queue *Queue, now func() time.Time, log *slog.Logger) *Control {
	c := &Control{
		gate: gate, documents: documents, records: records, queue: queue,
		recent: &recent{}, now: now, log: log, started: now(),
	}
	c.publish(c.load())
	return c
}

// State returns what is in force, in one atomic load.
func (c *Control) State() *State { return c.state.Load() }

// Rules returns the rules in force, in one atomic load. It is never nil.
func (c *Control) Rules() *rules.Rules { return c.state.Load().Rules }

// Sample keeps a dropped packet that the gate showed, for display.
func (c *Control) Sample(drop appliance.Drop) { c.recent.add(drop) }

// publish makes next the state in force and wakes those who wait for it.
func (c *Control) publish(next *State) {
	next.supersede = make(chan struct{})
	next.Superseded = next.supersede
	next.revisions = map[appliance.Document]string{
		appliance.DocumentPolicy:   revision(policy.Encode(next.Policy)),
		appliance.DocumentSettings: revision(settings.Encode(next.Settings)),
	}
	if before := c.state.Swap(next); before != nil {
		close(before.supersede)
	}
}

// Revision names the edition of a document in force: the first 16 hex digits of
// the SHA-256 over its canonical form.
func (s *State) Revision(name appliance.Document) string { return s.revisions[name] }
