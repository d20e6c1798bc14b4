package control

import (
	"context"
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
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
	"github.com/ringfence/ringfence/appliance/store"
	"github.com/ringfence/ringfence/appliance/watch"
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
	noBan   netip.Prefix // one that alone is refused
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
	if g.noBan == ban.Source {
		return errNo
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
	targets  map[string][]appliance.Target
	refuse   error
}

func (n *fakeNetwork) Resolved() map[string][]netip.Addr { return n.resolved }

func (n *fakeNetwork) Targets() map[string][]appliance.Target { return n.targets }

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

func (f *fullStore) AppendBan(change []byte) error {
	if f.refuse != nil {
		return f.refuse
	}
	return f.Store.AppendBan(change)
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

type noCalls struct{ pardoned *[]string }

func (noCalls) Live() []appliance.Call {
	return []appliance.Call{{ID: "bbbbbbbb", Start: noon, Direction: appliance.Outbound, Verdict: appliance.Allow, Reason: appliance.ReasonInternal},
		{ID: "bbsosbbb", Start: noon, Direction: appliance.Outbound, Verdict: appliance.Allow, Reason: appliance.ReasonEmergency}}
}

func (noCalls) Cut(_ context.Context, id, reason string) (appliance.Cut, error) {
	if id == "bbsosbbb" {
		return appliance.Cut{}, &appliance.Error{Code: appliance.CodeForbidden, Field: "id", Message: "a call to an emergency number is never cut"}
	}
	return appliance.Cut{ID: id, Reason: reason, Start: noon, Media: "stopped in both directions", Sides: []appliance.CutSide{
		{Side: "provider", Address: "203.0.113.9:5060", State: appliance.CutChallenged, Status: 401, Tries: 1}}}, nil
}

func (noCalls) Cuts() []appliance.Cut {
	return []appliance.Cut{{ID: "bbbbbbbb", Sides: []appliance.CutSide{}, Complete: true}}
}

func (noCalls) Tallies() map[appliance.Reason]uint64 {
	return map[appliance.Reason]uint64{appliance.ReasonHighRisk: 3}
}

// noPost is the surroundings of a watch that has nobody to tell.
type noPost struct{}

func (noPost) Add(appliance.Notice) error { return nil }
func (noPost) Waiting() map[string]int    { return map[string]int{"mail": 2} }
func (noPost) SetSecret(name, _ string) error {
	if name != "mail" {
		return &appliance.Error{Code: appliance.CodeNotFound, Field: "name", Message: "there is no such secret"}
	}
	return nil
}
func (noPost) Cut(string, string) error           { return nil }
func (noPost) Exposure() (string, error)          { return "", nil }
func (noPost) Strangers(string) ([]string, error) { return nil, nil }
func (noCalls) Accounts() []appliance.Account {
	return []appliance.Account{
		{Name: "101@a.example", Kind: appliance.AccountExtension, Registrar: "a", Username: "auth101", Realm: "a.example", First: noon, Last: noon, Proven: noon,
			Allowed: []string{"lan"}, Sources: []appliance.AccountSource{{Address: netip.MustParseAddrPort("192.168.1.7:5060"), Agent: "desk", First: noon, Last: noon}},
			Registrations: []appliance.Registration{{Contact: "sip:101@192.168.1.7", Source: netip.MustParseAddrPort("192.168.1.7:5060"), Until: noon.Add(time.Hour)}}},
		{Name: "101@b.example", Kind: appliance.AccountTrunk, Registrar: "b", Allowed: []string{}, Sources: []appliance.AccountSource{}, Registrations: []appliance.Registration{}, First: noon, Last: noon},
		{Name: "102@b.example", Label: "Anna", Kind: appliance.AccountExtension, Allowed: []string{}, Sources: []appliance.AccountSource{}, Registrations: []appliance.Registration{}, Failures: 3, Failed: noon},
	}
}

func (noCalls) Suspects(limit int) ([]appliance.Suspect, int) {
	all := []appliance.Suspect{{Source: netip.MustParsePrefix("198.51.100.66/32"), Seen: noon, State: "ignored", Until: noon.Add(time.Minute), Why: "24 accounts tried in 60 s",
		Accounts: 24, MaxAccounts: 20, Guesses: 1, MaxGuesses: 60, Window: 60, Slowed: []string{"101@pbx"}, Bans: 1, Proven: noon, Reliable: true}}
	return all[:min(limit, 1)], 1
}

func (n noCalls) Pardon(source netip.Prefix) {
	if n.pardoned != nil {
		*n.pardoned = append(*n.pardoned, source.String())
	}
}
func (noCalls) Trunks() []appliance.Trunk {
	return []appliance.Trunk{{Name: "main", Domain: "itsp.example", State: appliance.TrunkUp, Since: noon, Fallback: []string{"spare"}, Targets: []appliance.TargetState{
		{Target: appliance.Target{Address: netip.MustParseAddrPort("198.51.100.1:5061"), Transport: "tls", Host: "a.itsp.example", Priority: 10, Weight: 5},
			State: appliance.TrunkUp, Since: noon, Heard: noon, Latency: 12.5},
		{Target: appliance.Target{Address: netip.MustParseAddrPort("198.51.100.2:5061"), Transport: "tls"},
			State: appliance.TrunkDown, Since: noon, Error: "no answer", RetryAfter: noon},
	}}, {Name: "spare", Domain: "spare.example", State: appliance.TrunkDown, Error: "spare.example does not resolve", Targets: []appliance.TargetState{}}}
}

// someCertificates are those of a box with one that it made itself.
type someCertificates struct{}

func (someCertificates) Certificates() []appliance.Certificate {
	return []appliance.Certificate{{For: "listeners", Names: []string{"ringfence"}, Until: noon, Fingerprint: "ab12", Own: true, PEM: "-----BEGIN"},
		{For: "trunk main", Names: []string{}, Error: "read CA /x.pem: no such file"}}
}

func (c someCertificates) Reload() []appliance.Certificate { return c.Certificates() }

// Trace knows the messages of one call.
func (noCalls) Trace(callID string) appliance.Trace {
	if callID != "kept" {
		return appliance.Trace{Note: "none"}
	}
	at := netip.MustParseAddrPort("10.0.0.1:5060")
	return appliance.Trace{Messages: []appliance.Message{{Time: noon, Repeats: 1, Last: noon, Transport: "udp", Local: at, Remote: at,
		Side: appliance.SideLAN, Peer: "pbx", Length: 3, Text: "BYE"}, {Time: noon, Sent: true, Local: at, Remote: at}}}
}

func (noCalls) Export() appliance.Export {
	return appliance.Export{Address: "192.0.2.9:9060", Sent: 7, Dropped: 1, Trouble: "it is far"}
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
	watch   *watch.Watch
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
	hands := Hands{Gate: b.gate, Documents: b.store, Lists: b.store, Records: b.store, Network: b.network, Web: b.web, Audits: b.store}
	b.Control = New(hands, b.queue, now, slog.New(slog.DiscardHandler))
	b.watch, err = watch.New(watch.Hands{Keeper: b.store, Messenger: noPost{}, Cutter: noPost{}, Rules: b.Rules, Site: func() string { return "test" },
		Now: func() fraud.Moment { return fraud.Moment{Wall: now(), Up: now().Sub(noon)} }, Report: b.queue.Report, Facts: noPost{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) server() *Server {
	return NewServer(b.Control, noCalls{}, b.watch, green{}, someCertificates{}, slog.New(slog.DiscardHandler))
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
