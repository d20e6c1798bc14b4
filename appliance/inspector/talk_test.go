package inspector

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// kernelTables is what the kernel was told: the tables of appliance/gate without
// their ends. cmd/ringfenced tests the inspector with the real ones.
type kernelTables struct {
	mu            sync.Mutex
	permits, cuts map[appliance.MediaKey]time.Duration
	heard         []appliance.Conversation
	failure       error
}

func newTables() *kernelTables {
	return &kernelTables{permits: map[appliance.MediaKey]time.Duration{}, cuts: map[appliance.MediaKey]time.Duration{}}
}

func guarded(s *site, _ *settings.Settings, _ *limits) { s.media = newTables() }

func (k *kernelTables) put(in map[appliance.MediaKey]time.Duration, life time.Duration, keys []appliance.MediaKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range keys {
		in[key] = life
	}
	return k.failure
}

func (k *kernelTables) take(from map[appliance.MediaKey]time.Duration, keys []appliance.MediaKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range keys {
		delete(from, key)
	}
	return k.failure
}

func (k *kernelTables) Permit(life time.Duration, keys ...appliance.MediaKey) error {
	return k.put(k.permits, life, keys)
}
func (k *kernelTables) Forget(keys ...appliance.MediaKey) error { return k.take(k.permits, keys) }
func (k *kernelTables) Cut(life time.Duration, keys ...appliance.MediaKey) error {
	return k.put(k.cuts, life, keys)
}
func (k *kernelTables) Uncut(keys ...appliance.MediaKey) error { return k.take(k.cuts, keys) }
func (k *kernelTables) Conversations(inside []netip.AddrPort) (found []appliance.Conversation, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range k.heard {
		if slices.Contains(inside, one.Inside) {
			found = append(found, one)
		}
	}
	return found, k.failure
}

func (k *kernelTables) cut() []appliance.MediaKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return sorted(k.cuts)
}

func (k *kernelTables) permitted() []appliance.MediaKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return sorted(k.permits)
}

func sorted(in map[appliance.MediaKey]time.Duration) (all []appliance.MediaKey) {
	for key := range in {
		all = append(all, key)
	}
	slices.SortFunc(all, compareKeys)
	return all
}

// described is a body, as offer is, of audio at a place.
func described(at netip.Addr, port int, more ...string) string {
	family := "IP4"
	if at.Is6() {
		family = "IP6"
	}
	return fmt.Sprintf("\n\nv=0\no=- 1 1 IN %s %s\ns=-\nc=IN %[1]s %[2]s\nt=0 0\nm=audio %d RTP/AVP 0\n", family, at, port) + strings.Join(more, "")
}

func withBody(text, body string) string { return strings.Replace(text, offer, body, 1) }

var far = netip.MustParseAddr("203.0.113.40")

// keysFor are the permits of audio between our ports and the far end, or of our
// ports alone.
func keysFor(port uint16, remote netip.Addr) []appliance.MediaKey {
	keys := []appliance.MediaKey{{LocalPort: port}, {LocalPort: port + 1}}
	if remote.IsValid() {
		keys = append(keys, appliance.MediaKey{Remote: remote, LocalPort: port}, appliance.MediaKey{Remote: remote, LocalPort: port + 1})
	}
	return keys
}

func (s *site) permits(when string, want ...[]appliance.MediaKey) {
	s.t.Helper()
	all := slices.Concat(want...)
	slices.SortFunc(all, compareKeys)
	all = slices.Compact(all)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got := s.media.(*kernelTables).permitted()
		if slices.Equal(got, all) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v is permitted, want %v", when, got, all)
		}
	}
}

// TestMediaOfACall: the offer opens the LAN's ports for the provider, early media
// names its place, a re-INVITE moves it, a refused one does not, and the end of the
// call closes all.
func TestMediaOfACall(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	lan := pbx.at.Addr()
	none := netip.Addr{}
	pbx.send(withBody(pbx.invite(mobile, "media"), described(lan, 4000)))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	s.permits("the offer is out", keysFor(4000, none))
	itsp.send(answer(c.invite, "183 Session Progress", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(far, 30000)))
	pbx.expect("SIP/2.0 183")
	s.permits("early media", keysFor(4000, far))
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(far, 30000)))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	s.permits("answered", keysFor(4000, far))

	move := func(cseq, branch string, port int) string {
		return c.fromCaller("INVITE", cseq+" INVITE", branch, "Contact: <sip:201@$me>", "Content-Type: application/sdp"+described(lan, port))
	}
	pbx.send(move("2", "refused", 4100))
	invite := itsp.expect("INVITE ")
	s.permits("a re-INVITE is open", keysFor(4000, far), keysFor(4100, far))
	itsp.send(answer(invite, "488 Not Acceptable Here", ""))
	pbx.expect("SIP/2.0 488")
	itsp.expect("ACK ")
	s.permits("it was refused", keysFor(4000, far))

	pbx.send(move("3", "moved", 4200))
	other := netip.MustParseAddr("203.0.113.41")
	itsp.send(answer(itsp.expect("INVITE "), "200 OK", "", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(other, 31000)))
	pbx.expect("SIP/2.0 200")
	s.permits("it was answered", keysFor(4000, far), keysFor(4000, other), keysFor(4200, far), keysFor(4200, other))
	pbx.send(c.fromCaller("ACK", "3 ACK", "ack3"))
	itsp.expect("ACK ")
	s.permits("and acknowledged", keysFor(4200, other))

	c.hangUp(s)
	s.permits("over")
}

// TestMediaOfALateOffer: the INVITE says nothing, the answer offers, and the ACK
// answers.
func TestMediaOfALateOffer(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(strings.Replace(withBody(pbx.invite(mobile, "late"), ""), "\nContent-Type: application/sdp", "", 1))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	s.permits("nothing is said")
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(far, 30000)))
	c.ok = pbx.expect("SIP/2.0 200")
	s.permits("the LAN has not answered")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack", "Content-Type: application/sdp"+described(pbx.at.Addr(), 4000)))
	itsp.expect("ACK ")
	s.permits("answered in the ACK", keysFor(4000, far))
	c.hangUp(s)
	s.permits("over")
}

// TestMediaOfPrack: a reliable provisional response offers, the PRACK answers.
func TestMediaOfPrack(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(strings.Replace(withBody(pbx.invite(mobile, "prack"), ""), "\nContent-Type: application/sdp", "", 1))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "183 Session Progress", "callee", "Contact: <"+itsp.contact()+">", "Require: 100rel", "RSeq: 1", "Content-Type: application/sdp"+described(far, 30000)))
	c.ok = pbx.expect("SIP/2.0 183")
	pbx.send(c.fromCaller("PRACK", "2 PRACK", "prack", "RAck: 1 1 INVITE", "Content-Type: application/sdp"+described(pbx.at.Addr(), 4000)))
	itsp.send(answer(itsp.expect("PRACK "), "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	s.permits("answered in the PRACK", keysFor(4000, far))
	// The provider moves its media by an UPDATE while it rings.
	itsp.send(c.fromCallee("UPDATE", "1 UPDATE", "update", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(netip.MustParseAddr("203.0.113.50"), 30002)))
	pbx.send(answer(pbx.expect("UPDATE "), "200 OK", "", "Contact: <sip:201@$me>", "Content-Type: application/sdp"+described(pbx.at.Addr(), 4000)))
	itsp.expect("SIP/2.0 200")
	s.permits("moved", keysFor(4000, netip.MustParseAddr("203.0.113.50")))
}

// TestMediaOfForks: each early dialog has media of its own; those that lose go.
func TestMediaOfForks(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(withBody(pbx.invite(mobile, "forks"), described(pbx.at.Addr(), 4000)))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	ends := map[string]netip.Addr{"one": netip.MustParseAddr("203.0.113.1"), "two": netip.MustParseAddr("203.0.113.2")}
	for _, tag := range []string{"one", "two"} {
		itsp.send(answer(c.invite, "183 Session Progress", tag, "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(ends[tag], 30000)))
		pbx.expect("SIP/2.0 183")
	}
	s.permits("two forks", keysFor(4000, ends["one"]), keysFor(4000, ends["two"]))
	itsp.send(answer(c.invite, "200 OK", "two", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(ends["two"], 30000)))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	s.in.sweep(s.now.advance(40 * time.Second))
	s.permits("one is left", keysFor(4000, ends["two"]))
	c.hangUp(s)
	s.permits("over")
}

// TestMediaOnHold: a stream that is held is not gone, whichever way it is written.
func TestMediaOnHold(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(withBody(pbx.invite(mobile, "hold"), described(pbx.at.Addr(), 4000)))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(far, 30000)))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	for n, body := range []string{
		described(pbx.at.Addr(), 4000, "a=sendonly\n"), described(netip.IPv4Unspecified(), 4000), described(pbx.at.Addr(), 4000, "a=inactive\n"),
	} {
		cseq := fmt.Sprintf("%d ", n+2)
		pbx.send(c.fromCaller("INVITE", cseq+"INVITE", "hold"+cseq[:1], "Contact: <sip:201@$me>", "Content-Type: application/sdp"+body))
		itsp.send(answer(itsp.expect("INVITE "), "200 OK", "", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(netip.IPv4Unspecified(), 30000)))
		pbx.expect("SIP/2.0 200")
		pbx.send(c.fromCaller("ACK", cseq+"ACK", "ack"+cseq[:1]))
		itsp.expect("ACK ")
		s.permits("held by"+body, keysFor(4000, far))
	}
	// Port 0 is the end of a stream (RFC 3264 section 8.2).
	pbx.send(c.fromCaller("INVITE", "9 INVITE", "gone", "Contact: <sip:201@$me>", "Content-Type: application/sdp"+described(pbx.at.Addr(), 0)))
	itsp.send(answer(itsp.expect("INVITE "), "200 OK", "", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(far, 0)))
	pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "9 ACK", "ack9"))
	itsp.expect("ACK ")
	s.permits("refused by both")
}

// TestMediaOfTheCaller: calls from the provider, and a call that nobody takes.
func TestMediaOfTheCaller(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	itsp.send(withBody(itsp.invite("sip:+61255501234@"+s.box.String(), "in"), described(far, 30000)))
	invite := pbx.expect("INVITE ")
	s.permits("the LAN has not answered")
	pbx.send(answer(invite, "183 Session Progress", "callee", "Contact: <"+pbx.contact()+">", "Content-Type: application/sdp"+described(pbx.at.Addr(), 4000)))
	itsp.expect("SIP/2.0 183")
	s.permits("early media", keysFor(4000, far))
	pbx.send(answer(invite, "486 Busy Here", "callee"))
	itsp.expect("SIP/2.0 486")
	s.permits("busy")
}

// TestMediaOfACallForHelp: all media passes while it lasts, whatever it says of it.
func TestMediaOfACallForHelp(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(withBody(pbx.invite("sip:000@"+domain, "help"), "\n\nv=0\nc=IN IP4 nowhere.example\nm=audio 4000 RTP/AVP 0\n"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	everything := []appliance.MediaKey{{}}
	s.permits("it rings", everything)
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(far, 30000)))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	s.permits("answered", everything)
	pbx.send(c.fromCaller("INVITE", "2 INVITE", "odd", "Contact: <sip:201@$me>", "Content-Type: application/sdp", "", "v=0", "m=?"))
	itsp.expect("INVITE ")
	c.hangUp(s)
	s.permits("over")
}

// TestMediaThatCantBeRead: nobody on the LAN may hide where its media goes. What a
// trunk writes is its own matter, and told.
func TestMediaThatCantBeRead(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(withBody(pbx.invite(mobile, "hidden"), "\n\nv=0\nc=IN IP4 media.example\nm=audio 4000 RTP/AVP 0\n"))
	if no := pbx.expect("SIP/2.0 488"); !strings.Contains(get(no, "Warning"), "399 ringfence") {
		t.Errorf("got\n%s", no)
	}
	pbx.send(withBody(pbx.invite(mobile, "plain"), described(pbx.at.Addr(), 4000)))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp\n\nv=0\nc=IN IP4 media.example\nm=audio 4000 RTP/AVP 0\n"))
	c.ok = pbx.expect("SIP/2.0 200")
	if !strings.Contains(c.ok, "media.example") {
		t.Errorf("got\n%s", c.ok)
	}
	s.permits("by the LAN's word alone", keysFor(4000, netip.Addr{}))
	s.mu.Lock()
	told := slices.ContainsFunc(s.events, func(e appliance.Event) bool {
		return strings.HasPrefix(e.Message, "a session description passes unread")
	})
	s.mu.Unlock()
	if !told {
		t.Error("nobody heard of it")
	}
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	pbx.send(c.fromCaller("UPDATE", "2 UPDATE", "hide", "Contact: <sip:201@$me>", "Content-Type: application/sdp", "", "v=0", "c=IN IP4 x.example", "m=audio 1 RTP/AVP 0"))
	pbx.expect("SIP/2.0 488")
	itsp.nothing()
}

// TestMediaIsCut: by the far end, by its address and our port, and by what NAT
// knows: a provider that sends from elsewhere, under a port that NAT has changed.
// Ports that a live call shares are spared, and so is signalling.
func TestMediaIsCut(t *testing.T) {
	s := newSite(t, guarded)
	tables := s.media.(*kernelTables)
	pbx, itsp := s.pbx(), s.itsp()
	lan := pbx.at.Addr()
	elsewhere := netip.MustParseAddr("198.51.100.7")
	tables.mu.Lock()
	tables.heard = []appliance.Conversation{
		{Inside: netip.AddrPortFrom(lan, 4000), Key: appliance.MediaKey{Remote: elsewhere, RemotePort: 9000, LocalPort: 61000}},
		{Inside: netip.AddrPortFrom(lan, 4000), Key: appliance.MediaKey{Remote: itsp.at.Addr(), RemotePort: 5060, LocalPort: 61001}},
		{Inside: netip.AddrPortFrom(lan, 4444), Key: appliance.MediaKey{Remote: elsewhere, RemotePort: 1, LocalPort: 1}},
	}
	tables.mu.Unlock()
	call := func(id string, mine, theirs int) testCall {
		pbx.send(withBody(pbx.invite(mobile, id), described(lan, mine)))
		c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
		itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(far, theirs)))
		for c.ok == "" || get(c.ok, "CSeq") != "1 INVITE" {
			c.ok = pbx.expect("SIP/2.0 200")
		}
		pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
		itsp.expect("ACK ")
		return c
	}
	call("bad", 4000, 30000)
	id := s.in.Live()[0].ID
	call("good", 4100, 30001) // whose media comes from where the other's RTCP does
	done := make(chan error, 1)
	go func() {
		_, err := s.in.Cut(t.Context(), id, "")
		done <- err
	}()
	for _, a := range []*agent{itsp, pbx} {
		a.send(answer(a.expect("BYE "), "200 OK", ""))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := []appliance.MediaKey{
		{Remote: far, RemotePort: 30000}, {Remote: far, LocalPort: 4000}, {Remote: far, RemotePort: 30000, LocalPort: 4000},
		{Remote: far, LocalPort: 4001}, {Remote: far, RemotePort: 30001, LocalPort: 4001}, // 30001 is the good call's
		{Remote: elsewhere, RemotePort: 9000}, {Remote: elsewhere, LocalPort: 61000}, {Remote: elsewhere, RemotePort: 9000, LocalPort: 61000},
		{Remote: itsp.at.Addr(), LocalPort: 61001},
	}
	slices.SortFunc(want, compareKeys)
	if got := tables.cut(); !slices.Equal(got, want) {
		t.Errorf("cut is\n%v, want\n%v", got, want)
	}
	s.permits("the good call goes on", keysFor(4100, far))
	// The provider gives the port to another call.
	call("next", 4200, 30000)
	if got := tables.cut(); slices.Contains(got, appliance.MediaKey{Remote: far, RemotePort: 30000}) ||
		!slices.Contains(got, appliance.MediaKey{Remote: far, RemotePort: 30000, LocalPort: 4000}) {
		t.Errorf("cut is %v", got)
	}
	// All of it ends, and what is live is believed for longer.
	s.in.sweep(s.now.advance(10 * time.Minute))
	if got := tables.cut(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if life := tables.permits[appliance.MediaKey{LocalPort: 4200}]; life != permitLife {
		t.Errorf("permitted for %v", life)
	}
}

// TestMediaWithoutAKernel: what the kernel refuses is told once, and no call
// suffers.
func TestMediaWithoutAKernel(t *testing.T) {
	s := newSite(t, guarded)
	tables := s.media.(*kernelTables)
	tables.mu.Lock()
	tables.failure = errors.New("no room")
	tables.mu.Unlock()
	pbx, itsp := s.pbx(), s.itsp()
	for _, id := range []string{"a", "b"} {
		c := establish(pbx, itsp, mobile, id)
		if id == "a" {
			c.hangUp(s)
		}
	}
	s.mu.Lock()
	told := 0
	for _, e := range s.events {
		if e.Subject == "media" && strings.Contains(e.Message, "no room") {
			told++
		}
	}
	s.mu.Unlock()
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	done := s.cutting()
	itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	if result := <-done; !strings.Contains(result.Media, "no room") || !result.Complete {
		t.Errorf("%+v", result)
	}
}
