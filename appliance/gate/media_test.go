package gate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// rtp is a packet of G.711 with a number in the place of the sequence number and
// the time stamp (RFC 3550 section 5.1).
func rtp(number uint32) []byte {
	out := make([]byte, 172)
	out[0] = 0x80
	binary.BigEndian.PutUint32(out[4:], number)
	return out
}

// party is one end of a stream.
type party struct {
	conn *net.UDPConn
	to   netip.AddrPort

	mu   sync.Mutex
	got  map[uint32]time.Time
	from netip.AddrPort // of the last packet
}

// party listens in a namespace until the test ends.
func (w *town) party(namespace string, at netip.AddrPort) *party {
	w.Helper()
	p := &party{conn: w.listen(namespace, at), got: map[uint32]time.Time{}}
	go func() {
		for buffer := make([]byte, 2048); ; {
			n, from, err := p.conn.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if n < 12 {
				continue
			}
			p.mu.Lock()
			p.got[binary.BigEndian.Uint32(buffer[4:])], p.from = time.Now(), from
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *party) send(t testing.TB, number uint32) {
	for { // an ICMP error of an earlier one is told instead
		if _, err := p.conn.WriteToUDPAddrPort(rtp(number), p.to); !errors.Is(err, unix.ECONNREFUSED) {
			check(t, err)
			return
		}
	}
}

func (p *party) has(number uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.got[number]
	return ok
}

func (p *party) above(number uint32) (count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for one := range p.got {
		if one > number {
			count++
		}
	}
	return count
}

func (p *party) last() (at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.got {
		if one.After(at) {
			at = one
		}
	}
	return at
}

// talks sends a packet each way until both have come: the first opens NAT's way
// for the other's.
func (w *town) talks(inner, outer *party, number uint32) {
	w.Helper()
	soon(w, "the LAN is heard", func() bool { inner.send(w, number); return outer.has(number) })
	outer.mu.Lock()
	outer.to = outer.from
	outer.mu.Unlock()
	soon(w, "the provider is heard", func() bool { outer.send(w, number); return inner.has(number) })
}

// TestCutStopsMedia has RTP flow through NAT in both directions, cuts it, and counts
// what passes after Cut has returned: nothing, while another call of the same two
// hosts goes on.
func TestCutStopsMedia(t *testing.T) {
	for _, mode := range []Mode{ModeNative, ModeStack} {
		for _, c := range []struct {
			name         string
			inner, outer netip.Addr
			occupied     bool // NAT has to take another port
		}{
			{"IPv4, by NAT", lanTown, providerTown, false},
			{"IPv4, by NAT under another port", lanTown, providerTown, true},
			{"IPv6", lanTown6, serverTown6, false},
		} {
			t.Run(string(mode)+", "+c.name, func(t *testing.T) {
				w := newTown(t, mode == ModeStack)
				w.masquerade()
				g, _ := w.open("wan")
				w.wants(g, mode, false)
				check(t, g.swap(townGuard(), "abcd"))
				_ = netlink.ConntrackTableFlush(netlink.ConntrackTable)
				outer := w.party(w.outside, netip.AddrPortFrom(c.outer, 30000))
				if c.occupied {
					box := w.listen(w.box, netip.AddrPortFrom(boxTown, 4000))
					_, err := box.WriteToUDPAddrPort([]byte("mine"), netip.AddrPortFrom(c.outer, 30000))
					check(t, err)
				}
				inner := w.party(w.lan, netip.AddrPortFrom(c.inner, 4000))
				inner.to = netip.AddrPortFrom(c.outer, 30000)
				otherOuter, otherInner := w.party(w.outside, netip.AddrPortFrom(c.outer, 30002)), w.party(w.lan, netip.AddrPortFrom(c.inner, 4002))
				otherInner.to = netip.AddrPortFrom(c.outer, 30002)
				w.talks(inner, outer, 1)
				w.talks(otherInner, otherOuter, 1)
				if port := outer.to.Port(); (port != 4000) != c.occupied { // as talks has seen it
					t.Fatalf("NAT sends from port %d", port)
				}
				w.cutting(g, inner, outer, otherInner, otherOuter)
			})
		}
	}
}

// cutting cuts one of two calls while both send a packet each millisecond.
func (w *town) cutting(g *Gate, inner, outer, otherInner, otherOuter *party) {
	w.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var senders sync.WaitGroup
	for _, one := range []*party{inner, outer} {
		senders.Go(func() {
			for number := uint32(2); ctx.Err() == nil; number++ {
				one.send(w, number)
				time.Sleep(time.Millisecond)
			}
		})
	}
	soon(w, "both talk", func() bool { return inner.above(1) > 20 && outer.above(1) > 20 })
	began := time.Now()
	check(w, g.Cut(time.Hour, appliance.MediaKey{Remote: outer.conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), RemotePort: 30000}))
	took := time.Since(began)
	time.Sleep(50 * time.Millisecond) // they go on to send
	stop()
	senders.Wait()
	// Whatever was sent before these has arrived or never will: one link, one queue.
	w.talks(otherInner, otherOuter, 2)
	w.Logf("Cut returned after %v; the last packet came to the LAN %v and to the provider %v after it was called",
		took.Round(time.Microsecond), late(inner, began), late(outer, began))
	const after = 1_000_000
	before := w.tallies(g)
	for n := range uint32(100) {
		inner.send(w, after+n)
		outer.send(w, after+n)
	}
	w.talks(otherInner, otherOuter, 3)
	if in, out := inner.above(after-1), outer.above(after-1); in+out != 0 {
		w.Errorf("%d packets came to the LAN and %d to the provider after the cut", in, out)
	}
	now := w.tallies(g)
	in, out := now[appliance.ReasonMediaCut].Packets-before[appliance.ReasonMediaCut].Packets, now[appliance.ReasonMediaCutOut].Packets-before[appliance.ReasonMediaCutOut].Packets
	if in != 100 || out != 100 {
		w.Errorf("%d were dropped on the way in and %d on the way out, want 100 each", in, out)
	}
	check(w, g.Uncut(appliance.MediaKey{Remote: outer.conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), RemotePort: 30000}))
	w.talks(inner, outer, 4)
}

func late(p *party, began time.Time) time.Duration {
	return max(0, p.last().Sub(began)).Round(time.Microsecond)
}

func (w *town) tallies(g *Gate) appliance.Tallies {
	w.Helper()
	all, err := g.Tallies()
	check(w, err)
	return all
}

// TestCutOfAnotherPort: where the provider sends from a port that no description
// names, its address and our port tell, and nothing of others is lost.
func TestCutOfAnotherPort(t *testing.T) {
	w := newTown(t, false)
	g, _ := w.open("wan")
	check(t, g.swap(townGuard(), "abcd"))
	inner, named, odd := w.party(w.lan, netip.AddrPortFrom(lanTown6, 4000)), w.party(w.outside, netip.AddrPortFrom(serverTown6, 30000)), w.party(w.outside, netip.AddrPortFrom(serverTown6, 31111))
	other := w.party(w.lan, netip.AddrPortFrom(lanTown6, 4002))
	inner.to, named.to, odd.to = netip.AddrPortFrom(serverTown6, 30000), netip.AddrPortFrom(lanTown6, 4000), netip.AddrPortFrom(lanTown6, 4000)
	soon(t, "the odd port is heard", func() bool { odd.send(t, 1); return inner.has(1) })
	check(t, g.Cut(time.Hour, appliance.MediaKey{Remote: serverTown6, LocalPort: 4000}))
	for n := range uint32(50) {
		odd.send(t, 100+n)
		named.send(t, 200+n)
		inner.send(t, 300+n)
	}
	odd.to = netip.AddrPortFrom(lanTown6, 4002)
	soon(t, "another port of the LAN is heard", func() bool { odd.send(t, 2); return other.has(2) })
	other.to = netip.AddrPortFrom(serverTown6, 30000)
	soon(t, "and sends", func() bool { other.send(t, 3); return named.has(3) })
	if inner.above(99) != 0 || named.above(99) != 0 {
		t.Errorf("%d and %d packets passed", inner.above(99), named.above(99))
	}
}

// TestMediaGuard sends RTP from the internet at a phone with a global address, as
// nobody's call, and as somebody's.
func TestMediaGuard(t *testing.T) {
	for _, mode := range []Mode{ModeNative, ModeStack} {
		t.Run(string(mode), func(t *testing.T) {
			w := newTown(t, mode == ModeStack)
			events := make(chan appliance.Event, 1024)
			g, err := Open(Config{Interfaces: []string{"wan"}, Dir: w.dir}, func(e appliance.Event) { events <- e })
			check(t, err)
			t.Cleanup(func() { check(t, g.Detach()) })
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- g.Run(ctx, func(appliance.Drop) {}) }()
			t.Cleanup(func() { stop(); check(t, <-done) })

			guard := townGuard()
			guard.Media = rules.MediaObserve
			check(t, g.swap(guard, "observe"))
			phone, server := w.party(w.lan, netip.AddrPortFrom(lanTown6, 4000)), w.party(w.outside, netip.AddrPortFrom(serverTown6, 30000))
			server.to, phone.to = netip.AddrPortFrom(lanTown6, 4000), netip.AddrPortFrom(serverTown6, 30000)
			soon(t, "what is only observed passes", func() bool { server.send(t, 1); return phone.has(1) })
			w.stray(events, appliance.ReasonMediaObserved)

			guard.Media = rules.MediaEnforce
			check(t, g.swap(guard, "enforce"))
			key := appliance.MediaKey{Remote: serverTown6, LocalPort: 4000}
			number := uint32(1)
			// passes says whether a packet comes through. It is followed by one that is no
			// media, which always does.
			passes := func() bool {
				t.Helper()
				number += 2
				server.send(t, number)
				plain := rtp(number + 1)
				plain[0] = 0
				_, err := server.conn.WriteToUDPAddrPort(plain, server.to)
				check(t, err)
				soon(t, "what is no media passes", func() bool { return phone.has(number + 1) })
				return phone.has(number)
			}
			for _, step := range []struct {
				what string
				do   func() error
				want bool
			}{
				{"nobody's", func() error { return nil }, false},
				{"negotiated", func() error { return g.Permit(time.Hour, key) }, true},
				{"of a call that is over", func() error { return g.Forget(key) }, false},
				{"permitted for too short", func() error { return g.Permit(time.Nanosecond, key) }, false},
				{"to another port", func() error { return g.Permit(time.Hour, appliance.MediaKey{Remote: serverTown6, LocalPort: 4002}) }, false},
				{"to a port where the provider's may come", func() error { return g.Permit(time.Hour, appliance.MediaKey{LocalPort: 4000}) }, false},
				{"while somebody calls for help", func() error { return g.Permit(time.Hour, appliance.MediaKey{}) }, true},
				{"and not any more", func() error { return g.Forget(appliance.MediaKey{}) }, false},
			} {
				check(t, step.do())
				if got := passes(); got != step.want {
					t.Errorf("RTP that is %s passes: %v, want %v", step.what, got, step.want)
				}
			}
			w.stray(events, appliance.ReasonMediaStray)
			// Whom somebody inside sends to may answer.
			soon(t, "the phone is heard", func() bool { phone.send(t, 7); return server.has(7) })
			if !passes() {
				t.Error("what somebody inside asked for is dropped")
			}
			// The provider, from wherever it likes, to a port that was negotiated.
			guard.Sources = append(guard.Sources, rules.Source{Prefix: netip.PrefixFrom(serverTown6, 128), Services: sip})
			check(t, g.swap(guard, "provider"))
			check(t, g.Permit(time.Hour, appliance.MediaKey{LocalPort: 4000}))
			if !passes() {
				t.Error("the provider's media is dropped")
			}
		})
	}
}

// stray waits for an event on media that is nobody's.
func (w *town) stray(events <-chan appliance.Event, reason appliance.Reason) {
	w.Helper()
	for limit := time.After(patience); ; {
		select {
		case e := <-events:
			if e.Reason != reason {
				continue
			}
			if e.Kind != appliance.EventGate || e.Verdict != reason.Verdict() || e.Source != netip.AddrPortFrom(serverTown6, 30000) || !strings.Contains(e.Message, fmt.Sprint(lanTown6)) {
				w.Errorf("event %+v", e)
			}
			return
		case <-limit:
			w.Fatalf("nobody told of %v", reason)
		}
	}
}

// TestStraysAreBounded: a flood of sources makes few events.
func TestStraysAreBounded(t *testing.T) {
	told := 0
	g := &Gate{report: func(appliance.Event) { told++ }}
	known := strays{}
	at := time.Now()
	source := netip.MustParseAddr("198.51.0.0")
	for range 10_000 {
		source = source.Next()
		for range 2 {
			g.tell(known, appliance.Drop{Time: at, Source: netip.AddrPortFrom(source, 4000), Reason: appliance.ReasonMediaStray})
		}
	}
	if told != straySources || len(known) != straySources {
		t.Errorf("told %d times and remembers %d, want %d", told, len(known), straySources)
	}
	g.tell(known, appliance.Drop{Time: at.Add(strayPause), Source: netip.AddrPortFrom(source, 4000), Reason: appliance.ReasonMediaStray})
	if told != straySources+1 || len(known) != 1 {
		t.Errorf("later told %d times and remembers %d", told, len(known))
	}
}

// TestMediaOutlivesTheDaemon: permits and cuts stand while nobody is there, and
// whoever comes next finds them; what has run out is tidied away.
func TestMediaOutlivesTheDaemon(t *testing.T) {
	w := newTown(t, false)
	g, _ := w.open("wan")
	guard := townGuard()
	guard.Media = rules.MediaEnforce
	check(t, g.swap(guard, "abcd"))
	far := netip.MustParseAddr("203.0.113.77")
	check(t, g.Permit(time.Hour, appliance.MediaKey{Remote: far, LocalPort: 4000}, appliance.MediaKey{LocalPort: 4000}))
	check(t, g.Permit(time.Nanosecond, appliance.MediaKey{LocalPort: 4002}))
	check(t, g.Cut(time.Hour, appliance.MediaKey{Remote: far, RemotePort: 9}))
	check(t, g.Cut(time.Nanosecond, appliance.MediaKey{Remote: far, RemotePort: 10}))
	check(t, g.Close())
	if err := g.Permit(time.Hour, appliance.MediaKey{LocalPort: 1}); !errors.Is(err, errClosed) {
		t.Errorf("a closed gate permits: %v", err)
	}
	next, _ := w.open("wan")
	check(t, next.Tidy())
	count := func(table string) int {
		out := 0
		entries := map[string]interface {
			Next(key, value any) bool
		}{"ok": next.kernel.MediaOk.Iterate(), "cut": next.kernel.MediaCut.Iterate()}[table]
		var key [24]byte
		var until uint64
		for entries.Next(&key, &until) {
			out++
		}
		return out
	}
	if ok, cut := count("ok"), count("cut"); ok != 2 || cut != 1 || controlsOf(t, next).Cuts != 1 {
		t.Errorf("%d permits and %d cuts, counted %d; want 2, 1, 1", ok, cut, controlsOf(t, next).Cuts)
	}
}

func TestMediaRefuses(t *testing.T) {
	p := loadProgram(t)
	far := netip.MustParseAddr("203.0.113.77")
	for _, key := range []appliance.MediaKey{{}, {LocalPort: 4000}, {RemotePort: 4000}, {Remote: far}} {
		if err := p.gate.Cut(time.Hour, key); appliance.CodeOf(err) != appliance.CodeInvalid {
			t.Errorf("cut of %+v: %v", key, err)
		}
	}
	// A full table says so and loses nothing.
	keys := make([]appliance.MediaKey, 0, 70_000)
	for n := range cap(keys) {
		keys = append(keys, appliance.MediaKey{Remote: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), LocalPort: 4000})
	}
	if err := p.gate.Permit(time.Hour, keys...); appliance.CodeOf(err) != appliance.CodeUnavailable || !strings.Contains(err.Error(), "65536") {
		t.Errorf("a full table: %v", err)
	}
	check(t, p.gate.Forget(keys[0]))
	check(t, p.gate.Permit(time.Hour, keys[len(keys)-1]))
}
