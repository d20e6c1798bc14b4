package names

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/ringfence/ringfence/appliance"
)

const sip = "sip.example.net"

func TestANameIsAskedForAgainWhenItsTTLRunsOut(t *testing.T) {
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 300 IN A 192.0.2.9", "sip.example.net. 120 IN AAAA 2001:db8::9", "sip.example.net. 300 IN A 192.0.2.1")
	if b.holds(t, sip); !b.after(t, 0) {
		t.Error("the first addresses were no change")
	}
	b.holds(t, sip, "192.0.2.1", "192.0.2.9", "2001:db8::9")
	if got := b.questions(); !slices.Equal(got, []string{"udp sip.example.net. A", "udp sip.example.net. AAAA"}) {
		t.Errorf("asked %v", got)
	}
	b.set(t, "sip.example.net. 300 IN A 192.0.2.2")
	if b.after(t, 119*time.Second) || len(b.questions()) != 0 {
		t.Error("asked again before the shortest TTL ran out")
	}
	if !b.after(t, time.Second) || len(b.questions()) != 2 {
		t.Error("the TTL ran out, and nothing came of it")
	}
	b.holds(t, sip, "192.0.2.1", "192.0.2.2", "192.0.2.9", "2001:db8::9")
}

func TestTTLIsClamped(t *testing.T) {
	for _, c := range []struct {
		ttl  uint32
		want time.Duration
	}{
		{0, 30 * time.Second}, {1, 30 * time.Second}, {31, 31 * time.Second}, {3601, time.Hour},
		{1<<31 - 1, time.Hour}, {1 << 31, 30 * time.Second}, // RFC 2181, section 8
	} {
		b := newBox(t, sip)
		b.set(t, fmt.Sprintf("sip.example.net. %d IN A 192.0.2.1", c.ttl))
		b.after(t, 0)
		if got := b.State()[0].Next.Sub(b.now); got != c.want {
			t.Errorf("a TTL of %d: asked again after %v; want %v", c.ttl, got, c.want)
		}
	}
}

// A TTL that became shorter takes nothing back that a longer one promised.
func TestALongerPromiseIsKept(t *testing.T) {
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 3600 IN A 192.0.2.1")
	b.after(t, 0)
	promised := b.State()[0].Addresses[0].Until
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1")
	b.entries[sip].next = b.now // as if another of its records had run out
	b.after(t, time.Minute)
	if got := b.State()[0].Addresses[0]; got.Until != promised || got.Seen != b.now {
		t.Errorf("got %+v; want that it is kept until %v", got, promised)
	}
}

func TestOnlyAChangeIsAChange(t *testing.T) {
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1", "sip.example.net. 60 IN A 192.0.2.2")
	b.after(t, 0)
	b.set(t, "sip.example.net. 60 IN A 192.0.2.2", "sip.example.net. 60 IN A 192.0.2.1", "sip.example.net. 60 IN A 192.0.2.2")
	if b.after(t, time.Minute) {
		t.Error("another order was a change")
	}
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1")
	if b.after(t, time.Minute) {
		t.Error("an address that is still in grace was a change")
	}
	b.told()
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1", "sip.example.net. 60 IN A 192.0.2.3")
	if !b.after(t, time.Minute) {
		t.Error("a new address was no change")
	}
	if got := b.told(); got != "allow sip.example.net: the addresses of sip.example.net changed: new: 192.0.2.3" {
		t.Errorf("told %q", got)
	}
}

// A pool of which the DNS shows two at a time is known as a whole.
func TestRoundRobinIsKeptForItsGrace(t *testing.T) {
	b := newBox(t, sip)
	show := func(one, other int) {
		b.set(t, fmt.Sprintf("sip.example.net. 60 IN A 192.0.2.%d", one), fmt.Sprintf("sip.example.net. 60 IN A 192.0.2.%d", other))
	}
	for i := range 6 {
		show(i%4+1, (i+1)%4+1)
		b.after(t, time.Minute)
	}
	b.holds(t, sip, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
	show(1, 2) // 4 was seen two minutes ago, and 3 just now
	b.after(t, 24*time.Hour-3*time.Minute)
	b.holds(t, sip, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
	for _, left := range [][]string{{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, {"192.0.2.1", "192.0.2.2"}} {
		if !b.after(t, 2*time.Minute) {
			t.Error("what was not seen for its TTL and a day is no change when it goes")
		}
		b.holds(t, sip, left...)
	}
}

func TestAnOutageKeepsAddressesForTheirGrace(t *testing.T) {
	for _, rcode := range []int{dns.RcodeNameError, dns.RcodeServerFailure, dns.RcodeRefused} {
		t.Run(dns.RcodeToString[rcode], func(t *testing.T) {
			b := newBox(t, sip)
			b.set(t, "sip.example.net. 60 IN A 192.0.2.1")
			b.after(t, 0)
			b.fail("sip.example.net.", rcode)
			b.told()
			if b.after(t, time.Minute) {
				t.Error("the outage was a change")
			}
			b.holds(t, sip, "192.0.2.1")
			if got := b.told(); !strings.Contains(got, "block sip.example.net: sip.example.net does not resolve") || !strings.Contains(got, "kept for 24h0m0s") {
				t.Errorf("told %q", got)
			}
			if b.trouble(sip) == "" {
				t.Error("State shows no error")
			}
			b.after(t, 24*time.Hour-time.Second)
			b.holds(t, sip, "192.0.2.1")
			if b.told() != "" {
				t.Error("the same outage was told twice")
			}
			if !b.after(t, time.Second) {
				t.Error("the grace is over, and nobody is told")
			}
			b.holds(t, sip)
			b.set(t, "sip.example.net. 60 IN A 192.0.2.1")
			if !b.after(t, time.Minute) || b.trouble(sip) != "" || !strings.Contains(b.told(), "resolves again") {
				t.Errorf("after the outage: %v", b.State())
			}
			b.holds(t, sip, "192.0.2.1")
		})
	}
}

func TestFailuresAreRetriedEverMoreSlowly(t *testing.T) {
	b := newBox(t, sip)
	b.fail("sip.example.net.", dns.RcodeServerFailure)
	var pauses []time.Duration
	for range 8 {
		b.after(t, 0)
		pause := b.State()[0].Next.Sub(b.now)
		pauses = append(pauses, pause/time.Second)
		b.now = b.now.Add(pause)
	}
	if want := []time.Duration{2, 4, 8, 16, 32, 60, 60, 60}; !slices.Equal(pauses, want) {
		t.Errorf("paused %v; want %v (seconds)", pauses, want)
	}
	b.set(t, "sip.example.net. 300 IN A 192.0.2.1")
	b.after(t, 0)
	if got := b.State()[0].Next.Sub(b.now); got != 5*time.Minute {
		t.Errorf("after a success: paused %v", got)
	}
}

// Where a pool is larger than the bound, those go that were seen longest ago.
func TestNewAddressesDisplaceTheOldest(t *testing.T) {
	b := newBox(t, sip)
	for i := range 4 {
		var lines []string
		for j := range 30 {
			lines = append(lines, fmt.Sprintf("sip.example.net. 60 IN A 192.0.2.%d", 30*(3-i)+j+1))
		}
		b.set(t, lines...)
		b.after(t, time.Minute)
	}
	got := b.Addresses()[sip]
	if len(got) != MaxAddresses || got[0].String() != "192.0.2.1" || got[59].String() != "192.0.2.60" {
		t.Errorf("got %d addresses, %v", len(got), got)
	}
}

func TestTrack(t *testing.T) {
	b := newBox(t, sip, "www.example.net", sip)
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1", "www.example.net. 60 IN A 192.0.2.2", "new.example.net. 60 IN A 192.0.2.3")
	b.after(t, 0)
	b.questions()
	b.Track([]string{"NEW.example.net.", sip}, nil)
	b.after(t, 0)
	b.holds(t, sip, "192.0.2.1")
	b.holds(t, "NEW.example.net.", "192.0.2.3")
	if got := b.Addresses(); len(got) != 2 {
		t.Errorf("got %v; want what is wanted alone", got)
	}
	if got := b.questions(); !slices.Equal(got, []string{"udp new.example.net. A", "udp new.example.net. AAAA"}) {
		t.Errorf("asked %v; want the new name alone", got)
	}
}

func TestTooManyNamesAreLeftOut(t *testing.T) {
	var many []string
	for i := range 70 {
		many = append(many, fmt.Sprintf("h%d.example.net", i))
	}
	b := newBox(t, many...)
	if got := b.Addresses(); len(got) != MaxNames {
		t.Errorf("%d names are tracked", len(got))
	}
	if got := b.told(); !strings.Contains(got, "6 names are left out") {
		t.Errorf("told %q", got)
	}
	b.Track(many, nil)
	if got := b.told(); got != "" {
		t.Errorf("told again: %q", got)
	}
}

func TestNamesThatCannotBeAreNeverAskedFor(t *testing.T) {
	long := strings.Repeat("a", 63)
	bad := []string{"", ".", "localhost", "192.0.2.1", "2001:db8::1", "a.b.1", "sip..example.net", ".example.net", "-a.example.net",
		"a-.example.net", "sip.example.net..", "sip example.net", "sip.example.net\x00", "sïp.example.net", "*.example.net", `a\.b.example.net`,
		long + "a.net", strings.Join([]string{long, long, long, long}, ".")}
	b := newBox(t, bad...)
	if b.after(t, 0); len(b.questions()) != 0 {
		t.Error("asked for one of them")
	}
	for _, one := range b.State() {
		if one.Error == "" || !one.Next.IsZero() {
			t.Errorf("%q passed: %+v", one.Name, one)
		}
	}
	for _, good := range []string{sip, "Sip.Example.NET.", "_sip._udp.example.net", "a_b.example.net", "1.2.example.net", long + ".net",
		strings.Join([]string{long, long, long, long[:61]}, ".")} {
		if _, err := canonical(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestResolversComeFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	tracker := New(Config{ResolvConf: path, Now: time.Now}, func(appliance.Event) {})
	tracker.Track([]string{sip}, nil)
	tracker.step(t.Context())
	if got := tracker.State()[0].Error; !strings.Contains(got, "no such file") {
		t.Errorf("error %q", got)
	}
	text := "search example.net\nnameserver 192.0.2.53\nnameserver bad\nnameserver fe80::1%eth0\nnameserver 192.0.2.54\nnameserver 192.0.2.55\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(tracker.servers().servers); got != "[192.0.2.53:53 [fe80::1%eth0]:53 192.0.2.54:53]" {
		t.Errorf("got %s", got)
	}
}

func TestRestoreOutlivesARestart(t *testing.T) {
	b := newBox(t, sip)
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1", "sip.example.net. 60 IN A 192.0.2.2")
	b.after(t, 0)
	b.set(t, "sip.example.net. 60 IN A 192.0.2.1")
	b.after(t, time.Hour)
	text, err := json.Marshal(b.State())
	if err != nil {
		t.Fatal(err)
	}
	var saved []Name
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	saved[0].Addresses = append(saved[0].Addresses, Address{Addr: netip.MustParseAddr("127.0.0.1"), Until: b.now.Add(time.Hour)})
	saved = append(saved, Name{Name: "www.example.net", Addresses: saved[0].Addresses})

	again := newBox(t, sip)
	again.now = b.now.Add(23 * time.Hour)
	again.fail("sip.example.net.", dns.RcodeServerFailure)
	again.Restore(saved)
	again.after(t, 0)
	again.holds(t, sip, "192.0.2.1", "192.0.2.2")
	again.after(t, 2*time.Minute) // 192.0.2.2 was seen 24 hours, two minutes and its TTL ago
	again.holds(t, sip, "192.0.2.1")

	// A clock that stands years back keeps nothing for years.
	early := newBox(t, sip)
	early.now = time.Unix(0, 0)
	early.fail("sip.example.net.", dns.RcodeServerFailure)
	early.Restore(saved)
	early.after(t, 24*time.Hour)
	early.holds(t, sip, "192.0.2.1", "192.0.2.2")
	early.after(t, time.Hour)
	early.holds(t, sip)
}

func TestRun(t *testing.T) {
	z := newZone(t)
	z.set(t, "sip.example.net. 3600 IN A 192.0.2.1", "www.example.net. 3600 IN A 192.0.2.2")
	changed := make(chan struct{}, 16)
	tracker := New(Config{Servers: []netip.AddrPort{z.at}, Changed: func() { changed <- struct{}{} }}, func(appliance.Event) {})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tracker.Run(ctx) }()
	for _, name := range []string{sip, "www.example.net"} {
		tracker.Track([]string{name}, nil)
		<-changed
		if got := tracker.Addresses(); len(got) != 1 || len(got[name]) != 1 {
			t.Errorf("got %v; want one address of %s", got, name)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What is cut short by the end is no outage.
func TestRunEndsAmidAQuestion(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := newBox(t, sip)
	b.tampering(func(dns.ResponseWriter, *dns.Msg, *dns.Msg) { cancel() })
	if err := b.Run(ctx); err != nil {
		t.Error(err)
	}
	if got := b.State()[0]; got.Error != "" || b.told() != "" {
		t.Errorf("got %+v", got)
	}
}
