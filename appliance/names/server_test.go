package names

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/ringfence/ringfence/appliance"
)

// zone is a DNS server on loopback, UDP and TCP, whose records a test sets.
type zone struct {
	at netip.AddrPort

	mu      sync.Mutex
	records map[string][]dns.RR // by "name. TYPE"
	rcodes  map[string]int      // by "name." or "name. TYPE"
	asked   []string            // "udp sip.example.net. A"
	// tamper, where it is set, answers a question over UDP in the zone's place.
	tamper func(w dns.ResponseWriter, q, honest *dns.Msg)
}

func newZone(t testing.TB) *zone {
	t.Helper()
	z := &zone{records: map[string][]dns.RR{}, rcodes: map[string]int{}}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.at = netip.MustParseAddrPort(tcp.Addr().String())
	udp, err := net.ListenPacket("udp", z.at.String())
	if err != nil {
		t.Skipf("SKIPPED, THE DNS IS NOT TESTED: UDP %s is taken: %v", z.at, err)
	}
	for _, server := range []*dns.Server{{Listener: tcp, Handler: z}, {PacketConn: udp, Handler: z}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			server.Shutdown()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	return z
}

// ServeDNS answers like a resolver: with the whole chain of CNAMEs.
func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	network := w.RemoteAddr().Network()
	name, kind := strings.ToLower(q.Question[0].Name), dns.TypeToString[q.Question[0].Qtype]
	z.asked = append(z.asked, network+" "+name+" "+kind)
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	reply.Answer, reply.Rcode = z.find(name, kind)
	if network == "udp" {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		reply.Truncate(size)
		if z.tamper != nil {
			z.tamper(w, q, reply)
			return
		}
	}
	w.WriteMsg(reply)
}

func (z *zone) find(name, kind string) (answer []dns.RR, rcode int) {
	exists := false
	for range 20 {
		for _, key := range []string{name, name + " " + kind} {
			if rcode := z.rcodes[key]; rcode != 0 {
				return nil, rcode
			}
		}
		for key := range z.records {
			exists = exists || strings.HasPrefix(key, name+" ")
		}
		if found := z.records[name+" "+kind]; len(found) > 0 {
			return append(answer, found...), dns.RcodeSuccess
		}
		alias := z.records[name+" CNAME"]
		if len(alias) == 0 {
			break
		}
		answer = append(answer, alias...)
		name = alias[0].(*dns.CNAME).Target
	}
	if !exists && len(answer) == 0 {
		return nil, dns.RcodeNameError
	}
	return answer, dns.RcodeSuccess
}

// set replaces everything that the zone holds.
func (z *zone) set(t testing.TB, lines ...string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	clear(z.records)
	clear(z.rcodes)
	for _, line := range lines {
		record := rr(t, line)
		key := record.Header().Name + " " + dns.TypeToString[record.Header().Rrtype]
		z.records[key] = append(z.records[key], record)
	}
}

func (z *zone) fail(key string, rcode int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcodes[key] = rcode
}

func (z *zone) tampering(how func(w dns.ResponseWriter, q, honest *dns.Msg)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.tamper = how
}

// questions returns what was asked since the last call.
func (z *zone) questions() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	out := z.asked
	z.asked = nil
	return out
}

func rr(t testing.TB, line string) dns.RR {
	t.Helper()
	record, err := dns.NewRR(line)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// box is a Tracker that asks a zone, and the test's clock.
type box struct {
	*Tracker
	*zone
	now     time.Time
	changes int
	events  []appliance.Event
}

func newBox(t testing.TB, names ...string) *box {
	t.Helper()
	b := &box{zone: newZone(t), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b.Tracker = New(Config{
		Servers: []netip.AddrPort{b.at},
		Now:     func() time.Time { return b.now },
		Changed: func() { b.changes++ },
	}, func(e appliance.Event) { b.events = append(b.events, e) })
	b.Track(names, nil)
	return b
}

// after moves the clock, lets the Tracker do what is due, and returns whether
// it called Changed.
func (b *box) after(t testing.TB, d time.Duration) bool {
	t.Helper()
	b.now = b.now.Add(d)
	before := b.changes
	b.step(t.Context())
	if b.changes > before+len(b.entries) {
		t.Errorf("one step called Changed %d times for %d names", b.changes-before, len(b.entries))
	}
	return b.changes > before
}

// holds checks what a name stands for.
func (b *box) holds(t testing.TB, name string, want ...string) {
	t.Helper()
	got, known := b.Addresses()[name]
	if !known || !slices.Equal(texts(got), want) {
		t.Errorf("%s stands for %v (known: %v); want %v", name, got, known, want)
	}
}

// trouble returns the error that State shows for a name.
func (b *box) trouble(name string) string {
	for _, one := range b.State() {
		if one.Name == name {
			return one.Error
		}
	}
	return "not tracked"
}

// told returns the messages reported since the last call.
func (b *box) told() string {
	var out []string
	for _, e := range b.events {
		out = append(out, e.Verdict.String()+" "+e.Subject+": "+e.Message)
	}
	b.events = nil
	return strings.Join(out, "\n")
}
