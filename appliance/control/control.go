// Package control is the single writer: it owns the two documents and the rules
// compiled from them, and is the only one that changes them. It takes what the
// hands report, keeps it, and serves the control API.
//
// A change is decoded, compiled, given to the gate, stored, and only then
// published. An error on the way leaves everything as it was.
package control

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
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
	// Dump writes the generation in force as text, read back.
	Dump(w io.Writer) error
	Banner
}

// Banner is the part of the gate that shuts single sources out. Bans are held
// beside the generation in force, and outlive it. Where nothing is guarded, all
// of it does nothing.
type Banner interface {
	// Ban puts a ban in force, or another end where the source is banned already.
	Ban(ban appliance.Ban) error
	// Unban lifts the ban of a source; there need not be one.
	Unban(source netip.Prefix) error
	// Bans reads the bans back. The kernel knows no reasons.
	Bans() ([]appliance.Ban, error)
}

// Documents keeps the two documents.
type Documents interface {
	// Document hands the newest edition that accept takes to accept; note says
	// what was wrong with a newer one. err is fs.ErrNotExist on a new box.
	Document(name appliance.Document, accept func([]byte) error) (note string, err error)
	// PutDocument makes data the edition in force, or changes nothing.
	PutDocument(name appliance.Document, data []byte) error
}

// Lists keeps the content of feeds, and the bans.
type Lists interface {
	// Feeds returns the names of the feeds that there is content of.
	Feeds() ([]string, error)
	// Feed hands content to accept, like Documents, and returns its age.
	Feed(name string, accept func([]byte) error) (at time.Time, note string, err error)
	PutFeed(name string, data []byte) error
	RemoveFeed(name string) error
	// Bans hands the list of bans to accept, like Documents, and then what has
	// changed since it was written to change, oldest first.
	Bans(accept, change func([]byte) error) (note string, err error)
	// PutBans writes another list, and AppendBan one change of the last one.
	PutBans(data []byte) error
	AppendBan(change []byte) error
	// Fetches hands what came of fetching feeds to accept, like Documents.
	Fetches(accept func([]byte) error) (note string, err error)
	PutFetches(data []byte) error
}

// Web is where the content of feeds comes from.
type Web interface {
	// Get asks a server for an edition other than the known one, and connects to
	// no forbidden address. What it returns is whole.
	Get(ctx context.Context, url string, known appliance.Validators, forbidden []netip.Prefix) (appliance.Fetched, error)
}

// Network is what is known of the box's surroundings.
type Network interface {
	// Resolved returns what the DNS names of the documents stand for now.
	Resolved() map[string][]netip.Addr
	// Targets returns what the locators of trunks lead to, best first.
	Targets() map[string][]appliance.Target
	// Own returns the box's own addresses.
	Own() ([]netip.Addr, error)
}

// Hands are the parts that a Control asks for; all of them are there.
type Hands struct {
	Gate      Gate
	Documents Documents
	Lists     Lists
	Records   Records
	Network   Network
	Web       Web
	Audits    Audits
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
	contents  map[string]content            // of feeds, by name; also of those that no document names any more
	resolved  map[string][]netip.Addr       // as of compiled
	targets   map[string][]appliance.Target // likewise
	compiled  time.Time
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
	lists     Lists
	records   Records
	network   Network
	web       Web
	audits    Audits
	queue     *Queue
	writing   writing
	recent    *recent
	tops      *tops
	now       func() time.Time
	log       *slog.Logger
	started   time.Time

	fetching chan struct{} // holds one while a feed is fetched: one at a time
	uploads  chan struct{} // holds one for each feed that is uploaded
	attempts attempts

	imports sync.Mutex // one content at a time is put in force: they are large
	mu      sync.Mutex // one change at a time; guards bans
	bans    bans
	state   atomic.Pointer[State]
}

// New loads and compiles the documents. It gives nothing to the gate yet: Start
// does. It always returns a Control with rules: a document that can't be used
// gives way to the edition before it, and that to the built-in one, with a Note
// that says so.
func New(hands Hands, queue *Queue, now func() time.Time, log *slog.Logger) *Control {
	c := &Control{
		gate: hands.Gate, documents: hands.Documents, lists: hands.Lists, network: hands.Network, web: hands.Web, audits: hands.Audits,
		fetching: make(chan struct{}, 1), uploads: make(chan struct{}, maxUploads), queue: queue, recent: &recent{}, tops: newTops(), now: now, log: log, started: now(),
	}
	c.records = settled{hands.Records, c.Flush}
	c.publish(c.load())
	c.bans = c.loadBans()
	c.loadAttempts()
	return c
}

// State returns what is in force, in one atomic load.
func (c *Control) State() *State { return c.state.Load() }

// Rules returns the rules in force, in one atomic load. It is never nil.
func (c *Control) Rules() *rules.Rules { return c.state.Load().Rules }

// Sample keeps a dropped packet that the gate showed, for display.
func (c *Control) Sample(drop appliance.Drop) {
	drop.Weight = max(drop.Weight, 1)
	c.recent.add(drop)
	c.tops.sample(c.now(), drop)
}

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
