package control

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/fetch"
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
	guard   rules.Guard
	history []string
	bans    map[netip.Prefix]appliance.Ban
	refuse  error
	noBans  error
}

func (g *fakeGate) Enforce(wan []string, r *rules.Rules) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return g.refuse
	}
	g.wan, g.digest, g.guard = wan, r.Digest(), r.Guard()
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

func (g *fakeGate) Dump(w io.Writer) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return g.refuse
	}
	_, err := fmt.Fprintf(w, "generation %s\n", g.digest)
	return err
}

func (g *fakeGate) Ban(ban appliance.Ban) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.noBans != nil {
		return g.noBans
	}
	if g.bans == nil {
		g.bans = map[netip.Prefix]appliance.Ban{}
	}
	g.bans[ban.Source] = appliance.Ban{Source: ban.Source, Until: ban.Until}
	return nil
}

func (g *fakeGate) Unban(source netip.Prefix) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.bans, source)
	return g.noBans
}

func (g *fakeGate) Bans() ([]appliance.Ban, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.bans)), g.noBans
}

// fakeNetwork is a box at 203.0.113.1 with a DNS that the test writes.
type fakeNetwork struct {
	resolved map[string][]netip.Addr
	refuse   error
}

func (n *fakeNetwork) Resolved() map[string][]netip.Addr { return n.resolved }

func (n *fakeNetwork) Own() ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("fe80::1%wan0")}, n.refuse
}

// someWeb is a real fetcher, in whose place a test puts another.
type someWeb struct{ Web }

// fullStore is a real store whose document writes can be made to fail.
type fullStore struct {
	*store.Store
	refuse error
}

func (f *fullStore) PutFeed(name string, data []byte) error {
	if f.refuse != nil {
		return f.refuse
	}
	return f.Store.PutFeed(name, data)
}

func (f *fullStore) RemoveFeed(name string) error {
	if f.refuse != nil {
		return f.refuse
	}
	return f.Store.RemoveFeed(name)
}

func (f *fullStore) PutBans(data []byte) error {
	if f.refuse != nil {
		return f.refuse
	}
	return f.Store.PutBans(data)
}

func (f *fullStore) PutFetches(data []byte) error {
	if f.refuse != nil {
		return f.refuse
	}
	return f.Store.PutFetches(data)
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
	gate    *fakeGate
	store   *fullStore
	network *fakeNetwork
	web     *someWeb
	queue   *Queue
	dir     string
	clock   time.Time
}

func newBox(t *testing.T, dir string) *box {
	t.Helper()
	b := openBox(t, dir, &fakeGate{})
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// openBox returns a box that has not shut its gate yet.
func openBox(t *testing.T, dir string, gate *fakeGate) *box {
	t.Helper()
	b := &box{gate: gate, network: &fakeNetwork{}, web: &someWeb{fetch.New(fetch.Config{})}, queue: NewQueue(), dir: dir, clock: noon}
	now := func() time.Time { return b.clock }
	opened, err := store.Open(dir, store.Retention{Age: time.Hour, Rows: 100}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	b.store = &fullStore{Store: opened}
	hands := Hands{Gate: b.gate, Documents: b.store, Lists: b.store, Records: b.store, Network: b.network, Web: b.web}
	b.Control = New(hands, b.queue, now, slog.New(slog.DiscardHandler))
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
