package control

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
	"github.com/ringfence/ringfence/appliance/store"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// fakeGate stands for the kernel in the tests of this package, so that it can
// say no; cmd/ringfenced is tested with the real one.
type fakeGate struct {
	mu      sync.Mutex
	wan     []string
	digest  string
	history []string
	refuse  error
}

func (g *fakeGate) Enforce(wan []string, r *rules.Rules) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return g.refuse
	}
	g.wan, g.digest = wan, r.Digest()
	g.history = append(g.history, g.digest)
	return nil
}

func (g *fakeGate) Generation() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.digest
}

func (g *fakeGate) Tallies() (appliance.Tallies, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return nil, g.refuse
	}
	return appliance.Tallies{appliance.ReasonSIPSource: {Packets: 7, Bytes: 700}}, nil
}

// fullStore is a real store whose document writes can be made to fail.
type fullStore struct {
	*store.Store
	refuse error
}

func (f *fullStore) PutDocument(name appliance.Document, data []byte) error {
	if f.refuse != nil {
		return f.refuse
	}
	return f.Store.PutDocument(name, data)
}

type noCalls struct{}

func (noCalls) Live() []appliance.Call {
	return []appliance.Call{{ID: "bbbbbbbb", Start: noon, Direction: appliance.Outbound, Verdict: appliance.Allow, Reason: appliance.ReasonInternal}}
}

func (noCalls) Tallies() map[appliance.Reason]uint64 {
	return map[appliance.Reason]uint64{appliance.ReasonHighRisk: 3}
}

type green struct{}

func (green) Status() appliance.Status {
	checks := []appliance.Check{{Name: "gate", Level: appliance.Green, Message: "well"}}
	return appliance.Status{Level: appliance.WorstOf(checks), Time: noon, Version: "test", Checks: checks}
}

// box is a control with a real store in a folder of its own.
type box struct {
	*Control
	gate  *fakeGate
	store *fullStore
	queue *Queue
	dir   string
	clock time.Time
}

func newBox(t *testing.T, dir string) *box {
	t.Helper()
	b := &box{gate: &fakeGate{}, queue: NewQueue(), dir: dir, clock: noon}
	now := func() time.Time { return b.clock }
	opened, err := store.Open(dir, store.Retention{Age: time.Hour, Rows: 100}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	b.store = &fullStore{Store: opened}
	b.Control = New(b.gate, b.store, b.store, b.queue, now, slog.New(slog.DiscardHandler))
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) server() *Server {
	return NewServer(b.Control, noCalls{}, green{}, slog.New(slog.DiscardHandler))
}

// named returns default settings under another name.
func named(name string) []byte {
	s := settings.Default()
	s.Site.Name = name
	return settings.Encode(s)
}

func mustChange(t *testing.T, b *box, data []byte) api.Applied {
	t.Helper()
	applied, err := b.Change(data, "")
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

var errNo = errors.New("no")
