package inspector

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

func TestSlowSenderIsCutOff(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.headerDeadline = 100 * time.Millisecond })
	slow := s.dial("slow", s.host(4).Addr())
	slow.raw("INVITE sip:+61491570156@")
	if text, open := <-slow.inbox; open {
		t.Fatalf("got %q, want the connection closed", text)
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.idle = 100 * time.Millisecond })
	idle := s.dial("idle", s.host(4).Addr())
	if text, open := <-idle.inbox; open {
		t.Fatalf("got %q, want the connection closed", text)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) {
		bounds.connections, bounds.connectionsKept, bounds.connectionsPerSource = 3, 0, 2
	})
	first := s.dial("first", s.host(4).Addr())
	first.ping()
	s.dial("second", s.host(4).Addr()).ping()
	s.turnedAway(4)
	s.dial("third", s.host(5).Addr()).ping()
	s.turnedAway(6)
	first.stream.Close()
	s.until("the place is free again", func() bool {
		s.in.door.mu.Lock()
		defer s.in.door.mu.Unlock()
		return len(s.in.door.streams) == 2
	})
	s.dial("fourth", s.host(6).Addr()).ping()
}

// TestSilenceHoldsNoPlace: who says nothing but keepalives is sent away before long,
// and whoever has said something may be as silent as he likes.
func TestSilenceHoldsNoPlace(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.greeting = time.Second })
	phone := s.dial("phone", s.host(4).Addr())
	phone.ping()
	silent, pinging := s.dial("silent", s.host(5).Addr()), s.dial("pinging", s.host(5).Addr())
	pinging.raw("\r\n\r\n")
	pinging.expect("\r\n")
	for _, a := range []*agent{silent, pinging} {
		if text, open := <-a.inbox; open {
			t.Fatalf("%s got %q, want the connection closed", a.name, text)
		}
	}
	phone.raw("\r\n\r\n")
	phone.expect("\r\n")
	phone.ping()
}

// TestFullTableForgetsTheSilent: the oldest connection without a message gives way, a
// phone that spoke never does, and there are places that only the PBX and trunks get.
func TestFullTableForgetsTheSilent(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) {
		bounds.connections, bounds.connectionsKept, bounds.connectionsPerSource = 4, 2, 2
	})
	first := s.dial("first", s.host(4).Addr())
	s.until("the first is admitted", func() bool { return s.guests() == 1 })
	second := s.dial("second", s.host(5).Addr())
	s.until("the second is admitted", func() bool { return s.guests() == 2 })
	third := s.dial("third", s.host(6).Addr())
	third.ping()
	if text, open := <-first.inbox; open {
		t.Fatalf("got %q, want the oldest connection closed", text)
	}
	second.ping()
	s.turnedAway(7)
	s.dial("pbx", s.pbxAt.Addr()).ping()
	s.dial("itsp", s.itspAt.Addr()).ping()
	second.ping()
	third.ping()
}

// TestSourceAtItsBoundForgetsTheSilent: of one source's connections, too.
func TestSourceAtItsBoundForgetsTheSilent(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.connectionsPerSource = 1 })
	silent := s.dial("silent", s.host(4).Addr())
	s.until("it is admitted", func() bool { return s.guests() == 1 })
	s.dial("next", s.host(4).Addr()).ping()
	if text, open := <-silent.inbox; open {
		t.Fatalf("got %q, want the connection closed", text)
	}
	if got := s.guests(); got != 1 {
		t.Errorf("%d are counted, want 1", got)
	}
}

// guests is how many accepted connections are open.
func (s *site) guests() int {
	s.in.door.mu.Lock()
	defer s.in.door.mu.Unlock()
	return s.in.door.guests
}

// TestPlaces: on the WAN a whole /64 is one source, on the LAN each address is.
func TestPlaces(t *testing.T) {
	s := newSite(t, func(_ *site, set *settings.Settings, _ *limits) {
		set.Network.LAN = append(set.Network.LAN, netip.MustParsePrefix("2001:db8:1::/64"))
		set.Trunks[0].Networks = []netip.Prefix{netip.MustParsePrefix("2001:db8:2::/48")}
	})
	for _, c := range []struct {
		remote, block string
		kept          bool
	}{
		{"[2001:db8:1::5]:5060", "2001:db8:1::5/128", false},
		{"[2001:db8:2::5]:5060", "2001:db8:2::/64", true},
		{"[2001:db8:3::5]:5060", "2001:db8:3::/64", false},
		{"203.0.113.9:5060", "203.0.113.9/32", false},
		{s.pbxAt.String(), s.pbxAt.Addr().String() + "/32", true},
		{s.itspAt.String(), s.itspAt.Addr().String() + "/32", true},
	} {
		if block, kept := s.in.place(netip.MustParseAddrPort(c.remote)); block.String() != c.block || kept != c.kept {
			t.Errorf("%s: %v, %v; want %s, %v", c.remote, block, kept, c.block, c.kept)
		}
	}
}

// turnedAway has a host connect in vain.
func (s *site) turnedAway(from byte) {
	s.t.Helper()
	before := s.tally(appliance.ReasonOverload)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: s.host(from).Addr().AsSlice()}}
	if conn, err := dialer.Dial("tcp", s.box.String()); err == nil { // the reset may come before
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			s.t.Error("a connection beyond the bound was answered")
		}
	}
	s.until("it is counted", func() bool { return s.tally(appliance.ReasonOverload) == before+1 })
}

func TestMessagesByteByByteAndInOneSegment(t *testing.T) {
	s := newSite(t)
	phone, itsp := s.dial("phone", s.host(4).Addr()), s.itsp()
	for _, c := range phone.wire(phone.invite(mobile, "bytes")) {
		phone.raw(string(c))
	}
	itsp.expect("INVITE ")
	phone.raw(phone.wire(phone.invite(mobile, "one")) + "\r\n\r\n" + phone.wire(phone.invite(mobile, "two")))
	itsp.expect("INVITE ")
	itsp.expect("INVITE ")
}

// TestFatInvite: a request beyond the MTU is normal on UDP.
func TestFatInvite(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	fat := strings.Repeat("a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host\n", 400)
	pbx.send(pbx.invite(mobile, "fat") + fat)
	if got := itsp.expect("INVITE "); !strings.HasSuffix(bodyOf(got), strings.ReplaceAll(fat, "\n", "\r\n")) {
		t.Errorf("the body was cut to %d bytes", len(bodyOf(got)))
	}
}

// TestTablesEmptyThemselves: whatever was opened is gone in the end.
func TestTablesEmptyThemselves(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for n := range 5 {
		establish(pbx, itsp, mobile, fmt.Sprintf("many%d", n)).hangUp(s)
	}
	pbx.send(pbx.invite("sip:+252615550148@sip.itsp.example", "blocked"))
	pbx.send(ackTo(pbx.expect("SIP/2.0 403"), pbx, "sip:+252615550148@sip.itsp.example"))
	s.until("every transaction has ended", func() bool {
		s.in.txs.mu.Lock()
		defer s.in.txs.mu.Unlock()
		return len(s.in.txs.servers)+len(s.in.txs.clients) == 0
	})
	s.in.sweep(s.now.advance(time.Minute))
	s.in.relays.mu.Lock()
	defer s.in.relays.mu.Unlock()
	if len(s.in.relays.all) != 0 || s.in.dialogs.size() != 0 || len(s.in.Live()) != 0 {
		t.Errorf("left over: %d relays, %d dialogs, %d calls", len(s.in.relays.all), s.in.dialogs.size(), len(s.in.Live()))
	}
}

// TestPressureEndsFinishedTransactionsEarly: repeats of what is over are worth
// less than new calls.
func TestPressureEndsFinishedTransactionsEarly(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) {
		bounds.transactions, bounds.reserve, bounds.linger = 12, 1, 0
	})
	pbx, itsp := s.pbx(), s.itsp()
	for n := range 12 {
		establish(pbx, itsp, mobile, fmt.Sprintf("pressure%d", n)).hangUp(s)
		s.in.txs.shed(time.Now())
	}
	if got := s.tally(appliance.ReasonOverload); got != 0 {
		t.Errorf("%d requests turned away", got)
	}
}

// TestRefusalsKeepNobodyOut: whoever is refused again and again fills the table with
// transactions that are over. They make room for others at once.
func TestRefusalsKeepNobodyOut(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.transactions, bounds.reserve = 12, 1 })
	pbx, itsp := s.pbx(), s.itsp()
	for n := range 40 {
		pbx.send(pbx.invite(forbidden, fmt.Sprintf("flood%d", n)))
		if refusal := pbx.expect("SIP/2.0 403"); n%2 == 0 { // the others are never acknowledged
			pbx.send(ackTo(refusal, pbx, forbidden))
		}
	}
	establish(pbx, itsp, mobile, "other").hangUp(s)
	if got := s.tally(appliance.ReasonOverload); got != 0 {
		t.Errorf("%d requests turned away", got)
	}
}

func TestHandlingNeverTakesTheBoxDown(t *testing.T) {
	s := newSite(t)
	pbx := s.pbx()
	func() {
		defer s.in.catch()
		var nothing *request
		_ = nothing.hops
	}()
	s.until("the panic is told", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Kind == appliance.EventDaemon && strings.Contains(e.Message, "panicked at limits_test.go:") {
				return true
			}
		}
		return false
	})
	pbx.ping()
	s.in.txs.spawn(func() { panic("in a goroutine of its own") })
	s.until("that panic is caught too", func() bool { return s.tally(appliance.ReasonMalformedMessage) == 2 })
}

func TestListenerThatCannotBeBound(t *testing.T) {
	s := newSite(t)
	second := build(Parts{Rules: s.in.current, Keys: s.in.door.keys, Report: s.in.report, Watch: s.in.watch}, defaultLimits(), time.Now)
	err := second.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "listen on udp "+s.box.String()) {
		t.Errorf("got error %v, want the address named", err)
	}
	if got := second.Listeners(); len(got) != 0 {
		t.Errorf("listeners %q after a failure", got)
	}
	if _, err := New(Parts{}); err == nil {
		t.Error("New takes no rules and no report")
	}
}

// TestDeadTrunkBlocksNoOther: while one trunk is not answering, calls by another
// pass.
func TestDeadTrunkBlocksNoOther(t *testing.T) {
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		dead := settings.Trunk{Name: "dead", Domain: "dead.example", Address: s.host(9), Transport: settings.TCP}
		set.Trunks = append(set.Trunks, dead)
	})
	listener := s.listen(s.host(9)) // it takes the connection and says nothing
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite("sip:+61491570156@dead.example", "dead"))
	s.accept("dead", listener).expect("INVITE sip:+61491570156@dead.example")
	establish(pbx, itsp, mobile, "alive").hangUp(s)
	// Its neighbour in the table may not speak for its calls.
	c := establish(pbx, itsp, mobile, "owned")
	other := s.udp("dead", s.host(9))
	other.send(c.fromCallee("BYE", "1 BYE", "foreign"))
	other.expect("SIP/2.0 481")
	c.hangUp(s)
}
