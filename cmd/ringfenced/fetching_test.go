package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/fetch"
	"github.com/ringfence/ringfence/appliance/settings"
	"github.com/ringfence/ringfence/appliance/store"
)

// fetchingBox is a box without a WAN port, whose clock moves by the pauses of its
// task: a day passes in the time that its fetches take.
type fetchingBox struct {
	*control.Control
	lists *httptest.Server

	mu     sync.Mutex
	clock  time.Time
	answer http.HandlerFunc
}

func (b *fetchingBox) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

func (b *fetchingBox) set(answer http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// elsewhere is a network in which 127.0.0.1 is not the box.
type elsewhere struct{ surroundings }

func (elsewhere) Own() ([]netip.Addr, error) { return nil, nil }

func newFetchingBox(t *testing.T, local func(netip.Addr) bool) *fetchingBox {
	t.Helper()
	b := &fetchingBox{clock: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	b.lists = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		answer := b.answer
		b.mu.Unlock()
		answer(w, r)
	}))
	b.lists.Config.ErrorLog = log.New(io.Discard, "", 0)
	b.lists.StartTLS()
	t.Cleanup(b.lists.Close)
	web := fetch.Config{RootCAs: x509.NewCertPool(), Local: local}
	web.RootCAs.AddCert(b.lists.Certificate())

	discard := func(appliance.Event) {}
	disk, err := store.Open(t.TempDir(), retention(), b.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	tracker, _ := newTracker(env{resolv: filepath.Join(t.TempDir(), "none"), now: b.now}, discard)
	around := control.Network(surroundings{tracker})
	if local != nil {
		around = elsewhere{surroundings{tracker}}
	}
	wan := newPerimeter(config{bpffs: "/sys/fs/bpf/nowhere"}, env{proc: "/proc", now: b.now}, discard)
	b.Control = control.New(control.Hands{Gate: wan, Documents: disk, Lists: disk, Records: disk, Audits: disk, Network: around, Web: fetch.New(web)},
		control.NewQueue(), b.now, slog.New(slog.DiscardHandler))
	return b
}

// until runs the task until ready says so, which is asked before each pause.
func (b *fetchingBox) until(t *testing.T, ready func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	shut := make(chan struct{})
	close(shut)
	done := false
	task := fetching{b.Control, shut, func(_ context.Context, pause time.Duration, _ <-chan struct{}) {
		if done = ready(); done {
			cancel()
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.clock = b.clock.Add(pause)
	}}
	if err := task.run(ctx); err != nil || !done {
		t.Fatalf("err %v, and what was waited for has not come: %+v", err, b.Feeds())
	}
}

func (b *fetchingBox) name(t *testing.T, feeds ...document.Feed) {
	t.Helper()
	s := settings.Default()
	s.Network.LAN = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	s.Feeds = feeds
	if _, err := b.Change(settings.Encode(s), ""); err != nil {
		t.Fatal(err)
	}
}

func (b *fetchingBox) denies(addr string) bool {
	for _, one := range b.Rules().Guard().Feeds {
		if one.List.Contains(netip.MustParseAddr(addr)) {
			return true
		}
	}
	return false
}

func (b *fetchingBox) feed() document.Feed {
	return document.Feed{Name: "own", Format: feed.FormatCIDR, URL: b.lists.URL + "/own", Every: 24 * time.Hour}
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) }
}

// aDay is every, with the share that a site may add, and a minute.
const aDay = 24*time.Hour + 3*time.Hour + time.Minute

func TestFeedsAreKeptCurrent(t *testing.T) {
	b := newFetchingBox(t, func(netip.Addr) bool { return false })
	start := b.now()
	b.set(says("198.51.100.0/24"))
	b.name(t, b.feed())
	b.until(t, func() bool { return b.denies("198.51.100.9") })
	if took := b.now().Sub(start); took > time.Minute {
		t.Errorf("the first fetch took %s", took)
	}
	b.set(says("203.0.114.0/24"))
	fetched := b.now()
	b.until(t, func() bool { return b.denies("203.0.114.9") })
	if took := b.now().Sub(fetched); took < 24*time.Hour || took > aDay || b.denies("198.51.100.9") {
		t.Errorf("the second fetch came after %s", took)
	}
	// A server that has trouble for four days changes nothing but the colour.
	b.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	fetched = b.now()
	b.until(t, func() bool { return b.now().Sub(fetched) > 4*24*time.Hour })
	checks := b.Checks()
	if !b.denies("203.0.114.9") || len(checks) != 1 || checks[0].Level != appliance.Amber || !strings.HasPrefix(checks[0].Message, "stale for 4 days") {
		t.Errorf("checks %+v", checks)
	}
	b.set(says("198.51.100.0/24"))
	failed := b.now()
	b.until(t, func() bool { return b.denies("198.51.100.9") })
	if took := b.now().Sub(failed); took > aDay || b.Checks()[0].Level != appliance.Green {
		t.Errorf("back after %s, checks %+v", took, b.Checks())
	}
}

// TestFeedGoesWhileItIsFetched has the documents change under the task, and the
// task go on with what they name then.
func TestFeedGoesWhileItIsFetched(t *testing.T) {
	b := newFetchingBox(t, func(netip.Addr) bool { return false })
	other := b.feed()
	other.Name, other.URL = "other", b.lists.URL+"/other"
	b.set(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			b.name(t, other)
			fmt.Fprintln(w, "198.51.100.0/24")
			return
		}
		fmt.Fprintln(w, "203.0.114.0/24")
	})
	b.name(t, b.feed())
	b.until(t, func() bool { return b.denies("203.0.114.9") })
	if feeds := b.Feeds().Feeds; b.denies("198.51.100.9") || len(feeds) != 1 || feeds[0].Name != "other" {
		t.Errorf("feeds %+v", feeds)
	}
}

// TestNothingIsFetchedFromTheBoxItself has the fetcher of a real box.
func TestNothingIsFetchedFromTheBoxItself(t *testing.T) {
	b := newFetchingBox(t, nil)
	b.set(func(http.ResponseWriter, *http.Request) { t.Error("the box asked itself") })
	b.name(t, b.feed())
	b.until(t, func() bool { return b.Feeds().Feeds[0].Error != "" })
	if problem := b.Feeds().Feeds[0].Error; !strings.Contains(problem, "127.0.0.1 is no address on the internet") {
		t.Errorf("the feed says %s", problem)
	}
}

// TestTaskEnds ends before the gate is shut, and in the middle of a fetch.
func TestTaskEnds(t *testing.T) {
	b := newFetchingBox(t, func(netip.Addr) bool { return false })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (fetching{b.Control, make(chan struct{}), nil}).run(ctx); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), patience)
	b.set(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	b.name(t, b.feed())
	shut := make(chan struct{})
	close(shut)
	task := fetching{b.Control, shut, func(_ context.Context, pause time.Duration, _ <-chan struct{}) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.clock = b.clock.Add(pause)
	}}
	if err := task.run(ctx); err != nil || b.Feeds().Feeds[0].Error != "" {
		t.Errorf("err %v, feeds %+v", err, b.Feeds())
	}
}
