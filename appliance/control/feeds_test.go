package control

import (
	"errors"
	"io"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

// withFeeds returns default settings that name feeds.
func withFeeds(names ...string) []byte {
	s := settings.Default()
	for _, name := range names {
		s.Feeds = append(s.Feeds, document.Feed{Name: name, Format: feed.FormatCIDR})
	}
	return settings.Encode(s)
}

func mustImport(t *testing.T, b *box, name, data string) api.Imported {
	t.Helper()
	imported, err := b.ImportFeed(name, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return imported
}

// denies reports whether a feed in force at the gate holds an address.
func (b *box) denies(addr string) bool {
	for _, one := range b.gate.guard.Feeds {
		if one.List.Contains(netip.MustParseAddr(addr)) {
			return true
		}
	}
	return false
}

func (b *box) feedState(name string) string {
	for _, one := range b.Feeds().Feeds {
		if one.Name == name {
			return one.State
		}
	}
	return ""
}

func TestFeedLife(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	p := policy.Builtin()
	p.Serial, p.Feeds = 1, []document.Feed{{Name: "hotspots", Format: feed.FormatCIDR}}
	b.mustOffer(p)
	applied := mustChange(t, b, withFeeds("own"))
	if len(applied.Notes) < 1 || !strings.Contains(strings.Join(applied.Notes, "\n"), "feed own denies nobody until it is imported") {
		t.Errorf("notes %q", applied.Notes)
	}
	if checks := b.Checks(); len(checks) != 2 || checks[0].Level != appliance.Amber || checks[0].Message != "feed hotspots was never imported: it denies nobody" {
		t.Errorf("checks %+v", checks)
	}
	first := mustImport(t, b, "own", "198.51.100.0/24\n")
	if !b.denies("198.51.100.9") || first.Generation != b.gate.Generation() || first.Feed.Entries != 1 || first.Feed.Owner != "settings" || !first.Feed.Imported.Equal(noon) {
		t.Errorf("imported %+v", first)
	}
	mustImport(t, b, "hotspots", "203.0.114.0/24\n203.0.115.0/24\n")
	if got := b.gate.guard.Feeds; len(got) != 2 || got[0].Name != "hotspots" {
		t.Errorf("the gate holds %+v", got)
	}
	if checks := b.Checks(); len(checks) != 1 || checks[0].Level != appliance.Green || !strings.Contains(checks[0].Message, "2 in force with 3 entries") {
		t.Errorf("checks %+v", checks)
	}
	// A restart finds them; a document that no longer names one keeps the rest.
	b.store.Close()
	b = newBox(t, dir)
	if !b.denies("198.51.100.9") || !b.denies("203.0.115.9") {
		t.Fatal("a restart lost a feed")
	}
	mustChange(t, b, withFeeds())
	if b.denies("198.51.100.9") || b.feedState("own") != api.FeedUnused {
		t.Errorf("feeds %+v", b.Feeds())
	}
	mustChange(t, b, withFeeds("own"))
	if !b.denies("198.51.100.9") {
		t.Error("a feed that is named again is not in force")
	}
	removed, err := b.RemoveFeed("own")
	if err != nil || removed.Feed.State != api.FeedMissing || b.denies("198.51.100.9") {
		t.Errorf("removed %+v, err %v", removed, err)
	}
	if _, err := b.RemoveFeed("own"); appliance.CodeOf(err) != appliance.CodeNotFound {
		t.Errorf("removed twice: %v", err)
	}
}

// TestImportIsAllOrNothing has every step say no in turn.
func TestImportIsAllOrNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*box)
		feed    string
		data    string
		code    appliance.Code
		says    string
	}{
		"a bad line":   {func(*box) {}, "own", "192.0.2.0/24\n192.0.2.0/33\n", appliance.CodeInvalid, "feed: line 2: "},
		"nothing":      {func(*box) {}, "own", "", appliance.CodeInvalid, "feed: "},
		"unknown feed": {func(*box) {}, "other", "192.0.2.0/24\n", appliance.CodeNotFound, `no document names a feed "other"`},
		"gate":         {func(b *box) { b.gate.refuse = errNo }, "own", "192.0.2.0/24\n", appliance.CodeUnavailable, "no"},
		"disk":         {func(b *box) { b.store.refuse = errNo }, "own", "192.0.2.0/24\n", appliance.CodeUnavailable, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, t.TempDir())
			mustChange(t, b, withFeeds("own"))
			mustImport(t, b, "own", "198.51.100.0/24\n")
			before, generation := b.State(), b.gate.Generation()
			tc.prepare(b)
			_, err := b.ImportFeed(tc.feed, strings.NewReader(tc.data))
			if err == nil || appliance.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("err %v; want %s saying %q", err, tc.code, tc.says)
			}
			if b.State() != before || b.gate.Generation() != generation || !b.denies("198.51.100.9") {
				t.Error("something changed")
			}
			data, err := os.ReadFile(filepath.Join(b.dir, "feeds", "own.feed"))
			if err != nil {
				t.Fatal(err)
			}
			if list, err := feed.Decode(data); err != nil || !list.Contains(netip.MustParseAddr("198.51.100.9")) {
				t.Errorf("stored %+v, err %v", list, err)
			}
		})
	}
}

func TestDamagedFeed(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	mustChange(t, b, withFeeds("own"))
	mustImport(t, b, "own", "198.51.100.0/24\n")
	mustImport(t, b, "own", "198.51.100.0/25\n")
	spoil := func() {
		b.store.Close()
		if err := os.WriteFile(filepath.Join(dir, "feeds", "own.feed"), []byte("rffeed"), 0o600); err != nil {
			t.Fatal(err)
		}
		b = newBox(t, dir)
	}
	spoil()
	if !b.denies("198.51.100.200") || b.Checks()[0].Level != appliance.Amber || !strings.Contains(b.Checks()[0].Message, "the edition before it") {
		t.Errorf("the edition before is not in force: %+v", b.Checks())
	}
	if err := os.Remove(filepath.Join(dir, "feeds", "own.previous.feed")); err != nil {
		t.Fatal(err)
	}
	spoil()
	if b.denies("198.51.100.9") || b.feedState("own") != api.FeedDamaged || b.Checks()[0].Level != appliance.Red {
		t.Errorf("feeds %+v, checks %+v", b.Feeds(), b.Checks())
	}
	mustImport(t, b, "own", "198.51.100.0/24\n")
	if !b.denies("198.51.100.9") || b.Checks()[0].Level != appliance.Green {
		t.Errorf("checks %+v after it was mended", b.Checks())
	}
}

func TestFeedReadByOtherWords(t *testing.T) {
	b := newBox(t, t.TempDir())
	mustChange(t, b, withFeeds("own"))
	mustImport(t, b, "own", "198.51.100.0/24\n")
	s := settings.Default()
	s.Feeds = []document.Feed{{Name: "own", Format: feed.FormatDROP}}
	if applied := mustChange(t, b, settings.Encode(s)); !strings.Contains(strings.Join(applied.Notes, "\n"), "import it again") {
		t.Errorf("notes %q", applied.Notes)
	}
}

// endless is a body that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	e.read += len(p)
	return len(p), nil
}

func TestImportIsBounded(t *testing.T) {
	if api.MaxFeed != feed.MaxSize {
		t.Errorf("the API takes %d bytes of a feed, the parser %d", api.MaxFeed, feed.MaxSize)
	}
	b := newBox(t, t.TempDir())
	mustChange(t, b, withFeeds("own"))
	body := &endless{}
	answer := httptest.NewRecorder()
	b.server().ServeHTTP(answer, httptest.NewRequest("PUT", "/feeds/own", body))
	if answer.Code != 413 || body.read > api.MaxFeed+1<<20 {
		t.Errorf("status %d after %d bytes: %s", answer.Code, body.read, answer.Body)
	}
}

// TestSlowUpload has an upload take its time, and everything else go on meanwhile.
func TestSlowUpload(t *testing.T) {
	b := newBox(t, t.TempDir())
	mustChange(t, b, withFeeds("slow", "own"))
	body, client := io.Pipe()
	slow := make(chan error, 1)
	go func() { _, err := b.ImportFeed("slow", body); slow <- err }()
	if _, err := client.Write([]byte("192.0.2.0/24\n")); err != nil {
		t.Fatal(err)
	}
	others := make(chan error, 1)
	go func() {
		_, imported := b.ImportFeed("own", strings.NewReader("198.51.100.0/24\n"))
		_, removed := b.RemoveFeed("own")
		others <- errors.Join(imported, removed)
	}()
	select {
	case err := <-others:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the other feed waits for the slow one")
	}

	// What is held in memory is bounded.
	another, alike := io.Pipe()
	second := make(chan error, 1)
	go func() { _, err := b.ImportFeed("own", another); second <- err }()
	if _, err := alike.Write([]byte("198.51.100.0/24\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ImportFeed("own", strings.NewReader("")); appliance.CodeOf(err) != appliance.CodeUnavailable {
		t.Errorf("one more: %v", err)
	}
	if err := errors.Join(client.Close(), <-slow); err != nil || !b.denies("192.0.2.7") {
		t.Errorf("the slow one: %v", err)
	}

	// The feed may be another one when its content is there.
	mustChange(t, b, withFeeds("slow"))
	if err := errors.Join(alike.Close(), <-second); err == nil || b.denies("198.51.100.7") {
		t.Errorf("a feed that went while it was uploaded: %v", err)
	}
	mustImport(t, b, "slow", "192.0.2.0/25\n")
}

func TestNamesChange(t *testing.T) {
	b := newBox(t, t.TempDir())
	s := settings.Default()
	s.Trunks = []settings.Trunk{{Name: "a", Domain: "a.example", Address: netip.MustParseAddrPort("198.51.100.1:5060"),
		Transport: settings.UDP, Names: []string{"sip.example.net"}}}
	mustChange(t, b, settings.Encode(s))
	before := b.State()
	b.network.resolved = map[string][]netip.Addr{"sip.example.net": {netip.MustParseAddr("198.51.100.77")}}
	if err := b.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := b.gate.guard.Sources; len(got) != 2 || got[1].Prefix.Addr() != netip.MustParseAddr("198.51.100.77") || b.State() == before {
		t.Fatalf("the gate lets %+v in", got)
	}
	select {
	case <-before.Superseded:
	default:
		t.Error("those who wait for a change were not woken")
	}
	// Nothing changed: nothing is swapped. Names that nobody uses are nothing.
	swaps := len(b.gate.history)
	b.network.resolved = map[string][]netip.Addr{"sip.example.net": {netip.MustParseAddr("198.51.100.77")}, "x": nil}
	if err := errors.Join(b.Refresh(), b.Refresh()); err != nil || len(b.gate.history) != swaps {
		t.Errorf("err %v, %d swaps", err, len(b.gate.history)-swaps)
	}
	b.gate.refuse = errNo
	b.network.resolved = nil
	if err := b.Refresh(); !errors.Is(err, errNo) || len(b.State().Rules.Guard().Sources) != 2 {
		t.Errorf("err %v with sources %+v", err, b.State().Rules.Guard().Sources)
	}
	b.gate.refuse = nil
	if err := b.Refresh(); err != nil || len(b.gate.guard.Sources) != 1 {
		t.Errorf("err %v with sources %+v", err, b.gate.guard.Sources)
	}
}

func TestTops(t *testing.T) {
	b := newBox(t, t.TempDir())
	if err := b.Observe(); err != nil {
		t.Fatal(err)
	}
	b.Sample(appliance.Drop{Source: netip.MustParseAddrPort("198.51.100.66:5060"), Protocol: "udp",
		Destination: netip.MustParseAddrPort("203.0.113.1:5060"), Weight: 64, Reason: appliance.ReasonSIPSource})
	b.Sample(appliance.Drop{Source: netip.MustParseAddrPort("[2001:db8::66]:5060"), Protocol: "tcp",
		Destination: netip.MustParseAddrPort("[2001:db8:1::1]:443"), Reason: appliance.ReasonHTTPSource})
	got := b.top(0, 10)
	if got.Window != "5m" || got.Packets != 65 || len(got.Sources) != 2 || got.Sources[0] != (api.Count{Key: "198.51.100.66", Count: 64}) ||
		got.Sources[1].Key != "2001:db8::/64" || got.Ports[1] != (api.Count{Key: "tcp/443", Count: 1}) {
		t.Errorf("got %+v", got)
	}
	b.clock = noon.Add(2 * time.Hour)
	if got := b.top(0, 10); got.Packets != 0 || len(got.Sources) != 0 {
		t.Errorf("after the window: %+v", got)
	}
}
