package inspector

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/transaction"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// patience bounds every wait: only a failing test ever waits that long.
const patience = 20 * time.Second

// quick are the timers of RFC 3261 with a tenth of T1, so that Timer B and F fire
// within a test.
func quick() transaction.Timers {
	return transaction.Timers{T1: 50 * time.Millisecond, T2: 400 * time.Millisecond, T4: 500 * time.Millisecond}
}

// site is a box with its neighbours' addresses on the loopback: each test has a
// network of its own.
type site struct {
	t      testing.TB
	box    netip.AddrPort
	pbxAt  netip.AddrPort
	itspAt netip.AddrPort
	in     *Inspector
	stop   context.CancelFunc
	done   chan struct{} // closed when Run has returned
	now    *clock
	media  Media // nil where no test asks for it
	keys   atomic.Pointer[Keys]
	set    settings.Settings
	facts  rules.Facts
	rules  atomic.Pointer[rules.Rules]

	observing Observing // set by a setup
	memory    []byte    // that the watch begins with, where there is any
	behaviour Behaviour // nil where no test asks for it

	mu     sync.Mutex
	events []appliance.Event
	bans   []string // "source until why"
	noBans error
	news   chan struct{}
}

// clock is a time that tests move.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(by time.Duration) time.Time {
	c.mu.Lock()
	c.ahead += by
	c.mu.Unlock()
	return c.now()
}

const domain = "sip.itsp.example"

// setup changes what a site is made of before it is built.
type settingsDoc = settings.Settings

type setup func(s *site, set *settings.Settings, bounds *limits)

func overTCP(_ *site, set *settings.Settings, _ *limits) { set.Trunks[0].Transport = settings.TCP }

func withoutPBX(_ *site, set *settings.Settings, _ *limits) { set.SIP.PBX = settings.Peer{} }

// newSite starts a box on a loopback network of its own: .1 is the box, .2 the
// PBX, .3 the trunk, .4 to .7 are other hosts of the LAN, the rest strangers.
func newSite(t testing.TB, setups ...setup) *site {
	t.Helper()
	net24 := [4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(256)), 0}
	at := func(host byte) netip.AddrPort {
		a := net24
		a[3] = host
		return netip.AddrPortFrom(netip.AddrFrom4(a), 5060)
	}
	s := &site{t: t, box: at(1), pbxAt: at(2), itspAt: at(3), now: &clock{}, news: make(chan struct{}, 1)}
	set := settings.Default()
	set.Site = settings.Site{Name: "test", Country: "AU", AreaCode: "2", Extensions: 3}
	set.Network = settings.Network{LAN: []netip.Prefix{netip.PrefixFrom(at(4).Addr(), 30)}}
	set.SIP = settings.SIP{Listen: []netip.AddrPort{s.box}, PBX: settings.Peer{Address: s.pbxAt, Transport: settings.UDP}, Refusal: 403}
	set.Trunks = []settings.Trunk{{Name: "itsp", Domain: domain, Address: s.itspAt, Transport: settings.UDP}}
	bounds := defaultLimits()
	bounds.drain, bounds.withdraw, bounds.timers = 0, 0, quick()
	for _, change := range setups {
		change(s, &set, &bounds)
	}
	s.start(set, bounds)
	return s
}

func (s *site) start(set settings.Settings, bounds limits) {
	s.t.Helper()
	s.set = set
	s.compile()
	watch, err := NewWatch(s.rules.Load, s.record, s.shutOut, s.now.now)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.memory != nil {
		if err := watch.Restore(s.memory); err != nil {
			s.t.Fatal(err)
		}
	}
	s.in = build(Parts{Rules: s.rules.Load, Keys: s.presentKeys, Report: s.record, Watch: watch, Media: s.media, Behaviour: s.behaviour}, bounds, s.now.now)
	s.in.observe(s.observing)
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.done = make(chan struct{})
	var failure error
	go func() {
		defer close(s.done)
		failure = s.in.Run(ctx)
	}()
	s.t.Cleanup(func() {
		s.stop()
		if <-s.done; failure != nil {
			s.t.Errorf("run: %v", failure)
		}
	})
	s.until("the listeners are open", func() bool { return len(s.in.Listeners()) > 0 || s.stopped() })
	if s.box.Port() == 0 || s.box.Addr().IsUnspecified() {
		return
	}
}

// compile puts the site's settings and facts in force.
func (s *site) compile() {
	s.t.Helper()
	compiled, err := rules.Compile(policy.Builtin(), s.set, s.facts, time.Now())
	if err != nil {
		s.t.Fatalf("compile rules: %v", err)
	}
	s.rules.Store(compiled)
}

func (s *site) stopped() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// shutOut is the perimeter of a test.
func (s *site) shutOut(source netip.Prefix, until time.Time, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bans = append(s.bans, source.String()+" "+why)
	return s.noBans
}

func (s *site) record(e appliance.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// until polls for something that another goroutine brings about.
func (s *site) until(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// call waits for the latest record of a call that satisfies want.
func (s *site) call(what string, want func(appliance.Call) bool) appliance.Call {
	s.t.Helper()
	var found appliance.Call
	s.until(what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range slices.Backward(s.events) {
			if e.Call != nil && want(*e.Call) {
				found = *e.Call
				return true
			}
		}
		return false
	})
	return found
}

func (s *site) tally(reason appliance.Reason) uint64 { return s.in.Tallies()[reason] }

func (s *site) host(last byte) netip.AddrPort {
	a := s.box.Addr().As4()
	a[3] = last
	return netip.AddrPortFrom(netip.AddrFrom4(a), 5060)
}

// agent is a SIP neighbour that speaks raw text.
type agent struct {
	t      testing.TB
	name   string
	at     netip.AddrPort // its own address
	box    netip.AddrPort // where it sends to
	tcp    bool
	secure bool // over TLS
	packet *net.UDPConn
	stream net.Conn
	inbox  chan string
	seen   map[string]bool
	kept   []string // read from inbox and not expected yet
}

func (s *site) pbx() *agent  { return s.udp("pbx", s.pbxAt) }
func (s *site) itsp() *agent { return s.udp("itsp", s.itspAt) }

// udp opens an agent at its address.
func (s *site) udp(name string, at netip.AddrPort) *agent {
	s.t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		s.t.Fatalf("open %s: %v", name, err)
	}
	a := s.agent(name, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	a.packet = conn
	s.t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 65536)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			a.inbox <- string(buf[:n])
		}
	}()
	return a
}

func (s *site) agent(name string, at netip.AddrPort) *agent {
	return &agent{t: s.t, name: name, at: at, box: s.box, inbox: make(chan string, 4096), seen: make(map[string]bool)}
}

// dial opens a TCP agent from its address to the box.
func (s *site) dial(name string, from netip.Addr) *agent {
	s.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: patience}
	conn, err := dialer.Dial("tcp", s.box.String())
	if err != nil {
		s.t.Fatalf("dial the box as %s: %v", name, err)
	}
	return s.streaming(name, conn)
}

func (s *site) streaming(name string, conn net.Conn) *agent {
	a := s.agent(name, conn.LocalAddr().(*net.TCPAddr).AddrPort())
	a.tcp, a.stream = true, conn
	s.t.Cleanup(func() { conn.Close() })
	go func() {
		defer close(a.inbox)
		reader := bufio.NewReader(conn)
		for {
			text, err := readMessage(reader)
			if err != nil {
				return
			}
			a.inbox <- text
		}
	}()
	return a
}

// accept waits for the box to connect to a listener.
func (s *site) accept(name string, listener net.Listener) *agent {
	s.t.Helper()
	_ = listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := listener.Accept()
	if err != nil {
		s.t.Fatalf("accept as %s: %v", name, err)
	}
	return s.streaming(name, conn)
}

func (s *site) listen(at netip.AddrPort) net.Listener {
	s.t.Helper()
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		s.t.Fatalf("listen: %v", err)
	}
	s.t.Cleanup(func() { listener.Close() })
	return listener
}

func readMessage(reader *bufio.Reader) (string, error) {
	var text strings.Builder
	length := 0
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return "", err
		}
		text.WriteString(line)
		if value, ok := strings.CutPrefix(line, "Content-Length:"); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(reader, body); err != nil {
		return "", err
	}
	return text.String() + string(body), nil
}

func (a *agent) transport() string {
	switch {
	case a.secure:
		return "TLS"
	case a.tcp:
		return "TCP"
	}
	return "UDP"
}

// raw sends bytes as they are.
func (a *agent) raw(text string) {
	a.t.Helper()
	var err error
	if a.tcp {
		_, err = io.WriteString(a.stream, text)
	} else {
		_, err = a.packet.WriteToUDPAddrPort([]byte(text), a.box)
	}
	if err != nil {
		a.t.Fatalf("%s: send: %v", a.name, err)
	}
}

// send sends a message written with LF line ends. $me, $box and $via stand for
// the agent's address, the box's, and a Via without its branch; Content-Length
// is added.
func (a *agent) send(text string) {
	a.t.Helper()
	a.raw(a.wire(text))
}

func (a *agent) wire(text string) string {
	text = strings.NewReplacer(
		"$me", a.at.String(), "$box", a.box.String(),
		"$via", fmt.Sprintf("SIP/2.0/%s %s;rport", a.transport(), a.at),
	).Replace(strings.TrimLeft(text, "\n"))
	head, body, _ := strings.Cut(text, "\n\n")
	head = strings.ReplaceAll(strings.TrimRight(head, "\n"), "\n", "\r\n")
	body = strings.ReplaceAll(body, "\n", "\r\n")
	return fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// expect returns the next message that starts with start. Messages seen before
// are retransmissions and are skipped; others are kept for later.
func (a *agent) expect(start string) string {
	a.t.Helper()
	for n, text := range a.kept {
		if strings.HasPrefix(text, start) {
			a.kept = slices.Delete(a.kept, n, n+1)
			return text
		}
	}
	timeout := time.After(patience)
	for {
		select {
		case text, open := <-a.inbox:
			if !open {
				a.t.Fatalf("%s: the connection closed while waiting for %q; kept: %q", a.name, start, a.kept)
			}
			if a.seen[text] {
				continue
			}
			a.seen[text] = true
			if strings.HasPrefix(text, start) {
				return text
			}
			a.kept = append(a.kept, text)
		case <-timeout:
			a.t.Fatalf("%s: waited in vain for %q; kept: %q", a.name, start, a.kept)
		}
	}
}

// nothing asserts that no new message but those of start has come. A ping that
// is answered proves that whatever the box sent before has arrived.
func (a *agent) nothing(but ...string) {
	a.t.Helper()
	a.ping()
	for _, text := range a.kept {
		if !slices.ContainsFunc(but, func(start string) bool { return strings.HasPrefix(text, start) }) {
			a.t.Fatalf("%s: got an unexpected message:\n%s", a.name, text)
		}
	}
}

var pings struct {
	sync.Mutex
	n int
}

// ping is answered by the box itself: everything that it read before from this
// agent has been handled.
func (a *agent) ping() {
	a.t.Helper()
	pings.Lock()
	pings.n++
	id := fmt.Sprintf("ping%d", pings.n)
	pings.Unlock()
	a.send(fmt.Sprintf(`
OPTIONS sip:$box SIP/2.0
Via: $via;branch=z9hG4bK-%[1]s
Max-Forwards: 70
From: <sip:ping@$me>;tag=%[1]s
To: <sip:$box>
Call-ID: %[1]s
CSeq: 1 OPTIONS
`, id))
	for {
		if text := a.expect("SIP/2.0 200"); get(text, "Call-ID") == id {
			return
		}
	}
}
