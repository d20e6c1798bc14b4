package control

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
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
	"github.com/ringfence/ringfence/appliance/fetch"
	"github.com/ringfence/ringfence/appliance/settings"
)

// publisher is a TLS server that answers as the test says, on 127.0.0.1, which
// is on the internet here. It is asked by one box at a time.
type publisher struct {
	*httptest.Server
	answer http.HandlerFunc
	asked  []http.Header
	config fetch.Config
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked = append(p.asked, r.Header)
		p.answer(w, r)
	}))
	p.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	t.Cleanup(p.Close)
	p.config = fetch.Config{RootCAs: x509.NewCertPool(), Local: func(netip.Addr) bool { return false }}
	p.config.RootCAs.AddCert(p.Certificate())
	return p
}

// says has the publisher answer 200 with a list.
func (p *publisher) says(text string) {
	p.answer = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// document names feeds that come from the publisher every six hours, on a LAN
// that is not where it is.
func (p *publisher) document(names ...string) []byte {
	s := settings.Default()
	s.Network.LAN = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.2/32")}
	for _, name := range names {
		s.Feeds = append(s.Feeds, document.Feed{Name: name, Format: feed.FormatCIDR, URL: p.URL + "/" + name, Every: 6 * time.Hour})
	}
	return settings.Encode(s)
}

// fed is a box with a feed of the publisher's.
func fed(t *testing.T, p *publisher) *box {
	t.Helper()
	b := newBox(t, t.TempDir())
	b.web.Web = fetch.New(p.config)
	mustChange(t, b, p.document("own"))
	return b
}

func (b *box) feedLine(name string) api.Feed {
	for _, one := range b.Feeds().Feeds {
		if one.Name == name {
			return one
		}
	}
	return api.Feed{}
}

func (b *box) mustFetch(t *testing.T) api.Imported {
	t.Helper()
	got, err := b.FetchFeed(context.Background(), "own")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// work does what is due and moves the clock to where there is something to do
// again, until nothing but waiting has been done for a span of time.
func (b *box) work(span time.Duration) {
	for end := b.clock.Add(span); b.clock.Before(end); {
		b.clock = b.clock.Add(b.FetchDue(context.Background()))
	}
}

func TestFetch(t *testing.T) {
	p := newPublisher(t)
	b := fed(t, p)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		if r.Header.Get("If-None-Match") == `"one"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "198.51.100.0/24\n")
	}
	if line := b.feedLine("own"); line.State != api.FeedMissing || line.Every != "6h" || !line.Tried.IsZero() || line.Next.IsZero() {
		t.Errorf("before: %+v", line)
	}
	if checks := b.Checks(); checks[0].Level != appliance.Amber || checks[0].Message != "feed own was never fetched: it denies nobody" {
		t.Errorf("checks %+v", checks)
	}
	first := b.mustFetch(t)
	if first.Unchanged || !b.denies("198.51.100.9") || first.Generation != b.gate.Generation() || first.Feed.Entries != 1 || !first.Feed.Fetched.Equal(noon) {
		t.Errorf("fetched %+v", first)
	}
	b.clock = noon.Add(time.Hour)
	swaps := len(b.gate.history)
	same := b.mustFetch(t)
	if !same.Unchanged || same.Generation != first.Generation || !same.Feed.Fetched.Equal(b.clock) || !same.Feed.Imported.Equal(noon) || len(b.gate.history) != swaps {
		t.Errorf("fetched again %+v", same)
	}
	// Imported by hand meanwhile, what the server sent before is another edition.
	mustImport(t, b, "own", "203.0.114.0/24\n")
	if got := b.mustFetch(t); got.Unchanged || !b.denies("198.51.100.9") || b.denies("203.0.114.9") {
		t.Errorf("after an import: %+v", got)
	}
	// Read in another way, too.
	s := b.State().Settings
	s.Feeds = []document.Feed{s.Feeds[0]}
	s.Feeds[0].Format = feed.FormatDROP
	mustChange(t, b, settings.Encode(s))
	if line := b.feedLine("own"); !line.Fetched.IsZero() {
		t.Errorf("of another format: %+v", line)
	}
	b.mustFetch(t)
	if last := p.asked[len(p.asked)-1]; last.Get("If-None-Match") != "" || last.Get("User-Agent") != "ringfence" {
		t.Errorf("asked with %v", last)
	}
}

// TestFetchedOnceMore has a server that knows no validators.
func TestFetchedOnceMore(t *testing.T) {
	p := newPublisher(t)
	p.says("198.51.100.0/24\n")
	b := fed(t, p)
	b.mustFetch(t)
	before := b.State()
	p.says("198.51.100.0/25\n198.51.100.128/25 # the same\n")
	b.store.refuse = errNo // nothing has to be written
	if got := b.mustFetch(t); !got.Unchanged || b.State() != before {
		t.Errorf("got %+v", got)
	}
}

// TestFetchIsAllOrNothing has everything say no in turn.
func TestFetchIsAllOrNothing(t *testing.T) {
	packed := func() []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(bytes.Repeat([]byte("#\n"), 1<<20))
		w.Close()
		return out.Bytes()
	}()
	redirect := func(to string) func(*box, *publisher) {
		return func(_ *box, p *publisher) {
			p.answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
		}
	}
	for name, tc := range map[string]struct {
		prepare func(*box, *publisher)
		says    string
	}{
		"500": {func(_ *box, p *publisher) {
			p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
		}, "500 Internal Server Error"},
		"redirect to http":      {redirect("http://lists.example.net/"), "is not https"},
		"redirect into the LAN": {redirect("https://127.0.0.2:1/"), "127.0.0.2 is no address on the internet"},
		"redirect to the box":   {redirect("https://203.0.113.1/"), "203.0.113.1 is no address on the internet"},
		"url into the LAN": {func(b *box, p *publisher) {
			if _, err := b.Change([]byte(strings.Replace(string(p.document("own")), "127.0.0.2/32", "127.0.0.0/8", 1)), ""); err != nil {
				panic(err)
			}
		}, "127.0.0.1 is no address on the internet"},
		"no addresses of its own": {func(b *box, _ *publisher) { b.network.refuse = errNo }, "read the box's own addresses: no"},
		"cut off": {func(_ *box, p *publisher) {
			p.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "99")
				fmt.Fprint(w, "192.0.2.0/24\n")
			}
		}, "the list is cut off"},
		"too long": {func(_ *box, p *publisher) { p.says(strings.Repeat("#\n", 1<<16)) }, "longer than 65536 bytes"},
		"bomb": {func(_ *box, p *publisher) {
			p.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				w.Write(packed)
			}
		}, "longer than 65536 bytes"},
		"hanging": {func(_ *box, p *publisher) {
			p.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); panic(http.ErrAbortHandler) }
		}, "timeout awaiting response headers"},
		"bad line": {func(_ *box, p *publisher) { p.says("192.0.2.0/24\n192.0.2.0/33\n192.0.2.0/34\n") }, `line 2: "192.0.2.0/33"`},
		"nothing":  {func(_ *box, p *publisher) { p.says("") }, "feed: "},
		"gate":     {func(b *box, p *publisher) { p.says("192.0.2.0/24\n"); b.gate.refuse = errNo }, "no"},
		"disk":     {func(b *box, p *publisher) { p.says("192.0.2.0/24\n"); b.store.refuse = errNo }, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			p.config.Most, p.config.Answer = 1<<16, 50*time.Millisecond
			p.says("198.51.100.0/24\n")
			b := fed(t, p)
			mustImport(t, b, "own", "198.51.100.0/24\n")
			tc.prepare(b, p)
			before, generation := b.State(), b.gate.Generation()
			_, err := b.FetchFeed(context.Background(), "own")
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("err %v; want one that says %q", err, tc.says)
			}
			if b.State() != before || b.gate.Generation() != generation || !b.denies("198.51.100.9") {
				t.Error("something changed")
			}
			if line := b.feedLine("own"); line.Error != err.Error() || line.State != api.FeedInForce || !line.Fetched.IsZero() || !line.Tried.Equal(noon) {
				t.Errorf("the feed says %+v", line)
			}
			entries, journalErr := b.store.Events(context.Background(), appliance.EventFilter{Limit: 1})
			if journalErr != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].Message, "turned down: own: ") || !strings.Contains(entries[0].Message, tc.says) {
				t.Errorf("the journal says %+v, %v", entries, journalErr)
			}
			data, readErr := os.ReadFile(filepath.Join(b.dir, "feeds", "own.feed"))
			if readErr != nil {
				t.Fatal(readErr)
			}
			if list, err := feed.Decode(data); err != nil || !list.Contains(netip.MustParseAddr("198.51.100.9")) {
				t.Errorf("stored %+v, err %v", list, err)
			}
		})
	}
}

// TestFeedGoesDuringAFetch changes the settings while the server answers.
func TestFeedGoesDuringAFetch(t *testing.T) {
	for name, next := range map[string]func(*publisher) []byte{
		"removed": func(p *publisher) []byte { return p.document() },
		"by hand": func(*publisher) []byte { return withFeeds("own") },
		"elsewere": func(p *publisher) []byte {
			return bytes.ReplaceAll(p.document("own"), []byte("/own"), []byte("/other"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			b := fed(t, p)
			p.answer = func(w http.ResponseWriter, _ *http.Request) {
				if _, err := b.Change(next(p), ""); err != nil {
					t.Error(err)
				}
				fmt.Fprint(w, "198.51.100.0/24\n")
			}
			_, err := b.FetchFeed(context.Background(), "own")
			if appliance.CodeOf(err) != appliance.CodeConflict || b.denies("198.51.100.9") {
				t.Errorf("err %v", err)
			}
			if names, err := b.store.Feeds(); err != nil || len(names) != 0 {
				t.Errorf("stored %v, %v", names, err)
			}
			if line := b.feedLine("own"); !line.Tried.IsZero() || line.Error != "" {
				t.Errorf("the feed says %+v", line)
			}
		})
	}
}

// TestFetchGivesUp ends the one who asked, which is nobody's failure.
func TestFetchGivesUp(t *testing.T) {
	p := newPublisher(t)
	b := fed(t, p)
	ctx, cancel := context.WithCancel(context.Background())
	p.answer = func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	if _, err := b.FetchFeed(ctx, "own"); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	if line := b.feedLine("own"); !line.Tried.IsZero() || line.Error != "" {
		t.Errorf("the feed says %+v", line)
	}
	b.fetching <- struct{}{} // another is being fetched
	if _, err := b.FetchFeed(ctx, "own"); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
}

// TestRetries looks at when a server that has trouble is asked, on a clock that
// moves from one look to the next.
func TestRetries(t *testing.T) {
	p := newPublisher(t)
	b := fed(t, p)
	var at []time.Duration
	fails := true
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		at = append(at, b.clock.Sub(noon))
		if fails {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "198.51.100.0/24\n")
	}
	b.work(40 * time.Hour)
	if len(at) < 12 || at[0] <= 0 || at[0] > firstSpread {
		t.Fatalf("asked at %v", at)
	}
	for i := 1; i < len(at); i++ {
		pause, want := at[i]-at[i-1], min(time.Minute<<(i-1), 6*time.Hour)
		if pause < want || pause > want+want/spreadPart+time.Second {
			t.Errorf("after %d failures %s passed; want %s and a little", i, pause, want)
		}
	}
	fails = false
	b.work(7 * time.Hour)
	if !b.denies("198.51.100.9") || b.feedLine("own").Error != "" {
		t.Fatalf("the feed says %+v", b.feedLine("own"))
	}
	fails, at = true, nil
	b.work(7 * time.Hour)
	if len(at) < 2 || at[1]-at[0] > 2*time.Minute {
		t.Errorf("after a success, asked at %v", at)
	}
}

func TestStale(t *testing.T) {
	p := newPublisher(t)
	p.says("198.51.100.0/24\n")
	b := fed(t, p)
	b.mustFetch(t)
	p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
	b.clock = noon.Add(18 * time.Hour)
	_, err := b.FetchFeed(context.Background(), "own")
	if checks := b.Checks(); err == nil || len(checks) != 1 || checks[0].Level != appliance.Green {
		t.Errorf("checks %+v", checks)
	}
	for age, says := range map[time.Duration]string{
		19 * time.Hour: "stale for 19 hours, it should be fetched every 6h; the last try: fetch own: ",
		80 * time.Hour: "stale for 3 days, it should be fetched every 6h; the last try: fetch own: ",
	} {
		b.clock = noon.Add(age)
		checks := b.Checks()
		if len(checks) != 1 || checks[0].Level != appliance.Amber || !strings.HasPrefix(checks[0].Message, says) || !strings.Contains(checks[0].Message, "404 Not Found") {
			t.Errorf("checks %+v; want %s", checks, says)
		}
	}
	p.says("198.51.100.0/24\n")
	b.mustFetch(t)
	if checks := b.Checks(); len(checks) != 1 || checks[0].Level != appliance.Green {
		t.Errorf("checks %+v", checks)
	}
}

// TestFetchesOutliveARestart asks with the validators from before it.
func TestFetchesOutliveARestart(t *testing.T) {
	p := newPublisher(t)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Wed, 01 Jul 2026 12:00:00 GMT")
		if r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "198.51.100.0/24\n")
	}
	b := fed(t, p)
	b.mustFetch(t)
	restart := func() {
		b.store.Close()
		b = newBox(t, b.dir)
		b.web.Web = fetch.New(p.config)
	}
	restart()
	b.work(5 * time.Hour)
	if line := b.feedLine("own"); len(p.asked) != 1 || !line.Fetched.Equal(noon) {
		t.Fatalf("asked %d times, the feed says %+v", len(p.asked), line)
	}
	b.work(2 * time.Hour)
	if line := b.feedLine("own"); len(p.asked) != 2 || line.Fetched.Before(noon.Add(6*time.Hour)) || !b.denies("198.51.100.9") {
		t.Fatalf("asked %d times, the feed says %+v", len(p.asked), line)
	}
	// What is lost is fetched at once, and whole.
	b.store.Close()
	if err := os.WriteFile(filepath.Join(b.dir, "feeds", "own.feed"), []byte("rffeed"), 0o600); err != nil {
		t.Fatal(err)
	}
	restart()
	b.work(2 * time.Minute)
	if !b.denies("198.51.100.9") || b.feedState("own") != api.FeedInForce || len(p.asked) != 3 {
		t.Errorf("asked %d times, the feed says %+v", len(p.asked), b.feedLine("own"))
	}
	for _, text := range []string{`{`, `{"schema":2,"feeds":[]}`, `{"schema":1,"feeds":[],"x":1}`} {
		b.store.Close()
		if err := os.WriteFile(filepath.Join(b.dir, "fetches.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(b.dir, "fetches.previous.json")); err != nil {
			t.Fatal(err)
		}
		restart()
		asked := len(p.asked)
		b.work(2 * time.Minute)
		if len(p.asked) != asked+1 || p.asked[asked].Get("If-Modified-Since") != "" {
			t.Errorf("%s: asked %d times", text, len(p.asked)-asked)
		}
		b.work(7 * time.Hour)
	}
}

// TestClockIsSet sets it far back and far ahead: neither keeps a feed from being
// fetched for longer than the pause that it has.
func TestClockIsSet(t *testing.T) {
	p := newPublisher(t)
	p.says("198.51.100.0/24\n")
	b := fed(t, p)
	b.work(2 * time.Minute)
	for _, to := range []time.Time{noon.AddDate(-50, 0, 0), noon.AddDate(50, 0, 0), noon} {
		b.clock = to
		asked := len(p.asked)
		b.work(2 * time.Minute)
		if len(p.asked) != asked+1 {
			t.Errorf("at %s asked %d times", to, len(p.asked)-asked)
		}
	}
}

// TestFleetIsSpread has a thousand sites ask for the same feed.
func TestFleetIsSpread(t *testing.T) {
	var tenths [10]int
	for i := range 1000 {
		share := shareOf(fmt.Sprintf("site %d", i), "drop")
		tenths[min(int(share*10), 9)]++
	}
	for i, n := range tenths {
		if n < 50 {
			t.Errorf("%d of 1000 sites ask in tenth %d", n, i)
		}
	}
	if shareOf("a", "b") != shareOf("a", "b") || shareOf("a", "b") == shareOf("b", "b") {
		t.Error("a site's share is not its own")
	}
}

func TestFetchByHandOnly(t *testing.T) {
	b := newBox(t, t.TempDir())
	mustChange(t, b, withFeeds("own"))
	if _, err := b.FetchFeed(context.Background(), "own"); err == nil || !strings.HasPrefix(err.Error(), "url: the documents give no url of feed own") {
		t.Errorf("err %v", err)
	}
	if _, err := b.FetchFeed(context.Background(), "other"); appliance.CodeOf(err) != appliance.CodeNotFound {
		t.Errorf("err %v", err)
	}
	if pause := b.FetchDue(context.Background()); pause != longestPause || !b.feedLine("own").Next.IsZero() {
		t.Errorf("pause %s, %+v", pause, b.feedLine("own"))
	}
}

func TestNotesOfFetchedFeeds(t *testing.T) {
	p := newPublisher(t)
	b := newBox(t, t.TempDir())
	if applied := mustChange(t, b, p.document("own")); !strings.Contains(strings.Join(applied.Notes, "\n"), "feed own denies nobody until it is fetched") {
		t.Errorf("notes %q", applied.Notes)
	}
}
