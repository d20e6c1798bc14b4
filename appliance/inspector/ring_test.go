package inspector

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
	"github.com/ringfence/ringfence/appliance/trace"
)

// keeping has a site keep messages, where the usual test keeps none.
func keeping(what settings.Messages) setup {
	return func(_ *site, set *settings.Settings, _ *limits) { set.SIP.Messages = what }
}

const forbidden = "sip:0011252615550148@sip.itsp.example"

// crossed writes which messages are kept, each with its direction as the box sees
// it and where the neighbour stands.
func crossed(t appliance.Trace) string {
	var lines []string
	for _, m := range t.Messages {
		way := "<"
		if m.Sent {
			way = ">"
		}
		line := fmt.Sprintf("%s%s %s", way, m.Peer, strings.TrimSuffix(startOf(m.Text), " SIP/2.0"))
		if m.Repeats > 0 {
			line += fmt.Sprintf(" x%d", m.Repeats+1)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func checkCrossed(t *testing.T, got appliance.Trace, want ...string) {
	t.Helper()
	if text := crossed(got); text != strings.Join(want, "\n") {
		t.Errorf("kept (note %q):\n%s\nwant:\n%s", got.Note, text, strings.Join(want, "\n"))
	}
}

// drawn logs a ladder, for people.
func drawn(t *testing.T, call appliance.Call, kept appliance.Trace) {
	t.Helper()
	var text strings.Builder
	for _, line := range trace.Ladder(call, kept, trace.Style{}) {
		text.WriteString("\n" + line.Text)
	}
	t.Log(text.String())
}

func TestRefusedCallIsKept(t *testing.T) {
	s := newSite(t, keeping(settings.MessagesRefused))
	pbx := s.pbx()
	invite := strings.Replace(pbx.invite(forbidden, "no"), "Supported",
		`Proxy-Authorization: Digest username="201", realm="itsp", nonce="n0nce", uri="sip:x", response="0123456789abcdef", cnonce="c"`+"\nSupported", 1)
	pbx.send(invite)
	pbx.expect("SIP/2.0 403")
	pbx.send(invite)
	pbx.ping()
	got := s.in.Trace("no")
	checkCrossed(t, got, "<pbx INVITE "+forbidden+" x2", ">pbx SIP/2.0 403 Forbidden x2")
	record := s.call("it is recorded", func(c appliance.Call) bool { return c.CallID == "no" })
	drawn(t, record, got)
	first := got.Messages[0]
	for _, secret := range []string{"n0nce", "0123456789abcdef", `cnonce="c"`} {
		if strings.Contains(first.Text, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
	if !strings.Contains(first.Text, `username="201"`) || !strings.Contains(first.Text, "X-Routing: ") {
		t.Errorf("what came in is not shown as it was:\n%s", first.Text)
	}
	if first.Transport != "udp" || first.Remote != s.pbxAt || first.Local != s.box || first.Side != appliance.SideLAN || first.Last.Before(first.Time) {
		t.Errorf("message %+v", first)
	}
}

func TestTrailOfARecord(t *testing.T) {
	s := newSite(t, func(s *site, _ *settings.Settings, _ *limits) { s.observing.Firmware = "v9" })
	pbx := s.pbx()
	pbx.send(pbx.invite(forbidden, "trail"))
	pbx.expect("SIP/2.0 403")
	c := s.call("it is recorded", func(c appliance.Call) bool { return c.CallID == "trail" })
	if c.Trail == nil || len(c.Trail.Candidates) == 0 || c.Trail.Firmware != "v9" || len(c.Trail.Generation) != 16 || len(c.Trail.Edition) != 8 {
		t.Fatalf("trail %+v", c.Trail)
	}
	decided := slices.IndexFunc(c.Trail.Candidates, func(one appliance.Weighed) bool { return one.Number == c.Number })
	if decided < 0 || c.Trail.Candidates[decided].Rule != c.Rule || c.Trail.Candidates[decided].Verdict != appliance.Block {
		t.Errorf("what decided is not in the trail: %+v", c.Trail.Candidates)
	}
}

func TestHealthyCallIsForgotten(t *testing.T) {
	s := newSite(t, keeping(settings.MessagesRefused))
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "fine")
	during := s.in.Trace("fine")
	checkCrossed(t, during, "<pbx INVITE "+mobile, ">pbx SIP/2.0 100 Trying", ">itsp INVITE "+mobile,
		"<itsp SIP/2.0 180 Ringing", ">pbx SIP/2.0 180 Ringing", "<itsp SIP/2.0 200 OK", ">pbx SIP/2.0 200 OK",
		"<pbx ACK sip:line@"+itsp.at.String(), ">itsp ACK sip:line@"+itsp.at.String())
	c.hangUp(s)
	s.call("it has ended", func(c appliance.Call) bool { return c.CallID == "fine" && !c.End.IsZero() })
	if after := s.in.Trace("fine"); len(after.Messages) != 0 || after.Note == "" {
		t.Errorf("a call that was fine is kept:\n%s", crossed(after))
	}
	s.in.ring.mu.Lock()
	defer s.in.ring.mu.Unlock()
	if s.in.ring.bytes != 0 || len(s.in.ring.all) != 0 || s.in.ring.live.Len() != 0 || s.in.ring.loose.Len() != 0 {
		t.Errorf("the ring holds %d bytes of %d calls", s.in.ring.bytes, len(s.in.ring.all))
	}
}

func TestWhatTheSettingsKeep(t *testing.T) {
	for what, want := range map[settings.Messages]bool{settings.MessagesAll: true, settings.MessagesOff: false} {
		s := newSite(t, keeping(what))
		pbx, itsp := s.pbx(), s.itsp()
		establish(pbx, itsp, mobile, "fine").hangUp(s)
		s.call("it has ended", func(c appliance.Call) bool { return c.CallID == "fine" && !c.End.IsZero() })
		if got := len(s.in.Trace("fine").Messages) > 0; got != want {
			t.Errorf("%q keeps a call that was fine: %v", what, got)
		}
	}
}

// TestOffForgets has the settings change to off while something is kept.
func TestOffForgets(t *testing.T) {
	s := newSite(t, keeping(settings.MessagesRefused))
	pbx := s.pbx()
	pbx.send(pbx.invite(forbidden, "gone"))
	pbx.expect("SIP/2.0 403")
	if got := s.in.Trace("gone"); len(got.Messages) == 0 {
		t.Fatal("nothing was kept")
	}
	s.in.ring.sweep()
	if got := s.in.Trace("gone"); len(got.Messages) == 0 {
		t.Fatal("a sweep forgets what is to be kept")
	}
	r := newRing(s.in.bounds, func() *rules.Rules { return nil }, s.now.now)
	r.beginLocked("gone")
	r.sweep()
	if len(r.all) != 0 || r.bytes != 0 || r.trace("gone").Note == "" {
		t.Errorf("%d calls, %d bytes", len(r.all), r.bytes)
	}
}

// TestRefusedTransferIsKept: the call itself is fine, and was answered.
func TestRefusedTransferIsKept(t *testing.T) {
	s := newSite(t, keeping(settings.MessagesRefused))
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "refer")
	pbx.send(c.fromCaller("REFER", "2 REFER", "r", "Contact: <sip:201@$me>", "Refer-To: <sip:+252615550148@sip.itsp.example>"))
	pbx.expect("SIP/2.0 403")
	pbx.send(c.fromCaller("BYE", "3 BYE", "bye"))
	itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
	s.call("it has ended", func(c appliance.Call) bool { return c.Use == "call" && !c.End.IsZero() })
	record := s.call("the transfer is recorded", func(c appliance.Call) bool { return c.Use == "transfer" })
	got := s.in.Trace("refer")
	if text := crossed(got); !strings.Contains(text, "<pbx REFER ") || !strings.Contains(text, ">pbx SIP/2.0 403 Forbidden\n") {
		t.Errorf("kept:\n%s", text)
	}
	drawn(t, record, got)
}

// TestCancelledAndAnsweredLadders are those that a person asks for.
func TestCancelledAndAnsweredLadders(t *testing.T) {
	s := newSite(t, keeping(settings.MessagesAll))
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "cancel"))
	invite := itsp.expect("INVITE ")
	itsp.send(answer(invite, "180 Ringing", "callee", "Contact: <"+itsp.contact()+">"))
	pbx.expect("SIP/2.0 180")
	pbx.send(strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL", offer, "", "Content-Type: application/sdp", "Subject: x").Replace(pbx.invite(mobile, "cancel")))
	itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "callee"))
	itsp.send(answer(invite, "487 Request Terminated", "callee"))
	itsp.expect("ACK ")
	record := s.call("it has ended", func(c appliance.Call) bool { return c.CallID == "cancel" && !c.End.IsZero() })
	got := s.in.Trace("cancel")
	drawn(t, record, got)
	for _, want := range []string{"<pbx CANCEL ", ">pbx SIP/2.0 200 OK", ">itsp CANCEL ", "<itsp SIP/2.0 487", ">pbx SIP/2.0 487"} {
		if !strings.Contains(crossed(got), want) {
			t.Errorf("%q is missing in:\n%s", want, crossed(got))
		}
	}

	pbx.send(pbx.invite(mobile, "prack"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "183 Session Progress", "callee", "Contact: <"+itsp.contact()+">", "Require: 100rel", "RSeq: 7", "Content-Type: application/sdp"+offer))
	c.ok = pbx.expect("SIP/2.0 183")
	pbx.send(c.fromCaller("PRACK", "2 PRACK", "prack", "RAck: 7 1 INVITE"))
	itsp.send(answer(itsp.expect("PRACK "), "200 OK", ""))
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	s.call("it is answered", func(c appliance.Call) bool { return c.CallID == "prack" && !c.Answer.IsZero() })
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	c.hangUp(s)
	record = s.call("it has ended", func(c appliance.Call) bool { return c.CallID == "prack" && !c.End.IsZero() })
	got = s.in.Trace("prack")
	drawn(t, record, got)
	if text := crossed(got); !strings.Contains(text, ">itsp PRACK ") || strings.Count(text, "BYE") != 2 {
		t.Errorf("kept:\n%s", text)
	}
}

// TestRingOverTCP shows that what came over a connection is kept as it stood
// there, byte by byte.
func TestRingOverTCP(t *testing.T) {
	s := newSite(t, keeping(settings.MessagesRefused))
	phone := s.dial("phone", s.host(5).Addr())
	first := phone.wire(strings.Replace(phone.invite(forbidden, "tcp1"), "Subject", "subject", 1))
	second := phone.wire(strings.Replace(phone.invite(forbidden, "tcp2"), "Call-ID: ", "i:   ", 1))
	phone.raw(first + second)
	phone.expect("SIP/2.0 403")
	phone.expect("SIP/2.0 403")
	for id, want := range map[string]string{"tcp1": first, "tcp2": second} {
		got := s.in.Trace(id)
		if len(got.Messages) < 2 || got.Messages[0].Text != want || got.Messages[0].Transport != "tcp" || got.Messages[0].Length != len(want) {
			t.Errorf("%s is kept as %+v", id, got)
		}
	}
}

// TestAttempts counts the tries of one attempt, and tells another destination under
// the same name apart.
func TestAttempts(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	again := func(uri string, n int) string {
		return strings.NewReplacer("z9hG4bK-inv-", fmt.Sprintf("z9hG4bK-inv%d-", n), "1 INVITE", fmt.Sprintf("%d INVITE", n)).Replace(pbx.invite(uri, "auth"))
	}
	pbx.send(again(mobile, 1))
	itsp.send(answer(itsp.expect("INVITE "), "407 Proxy Authentication Required", "x", `Proxy-Authenticate: Digest realm="i", nonce="n"`))
	pbx.expect("SIP/2.0 407")
	first := s.call("the challenge is recorded", func(c appliance.Call) bool { return c.Status == 407 })
	if first.Tries != 1 || first.Attempt != "" {
		t.Errorf("first record %+v", first)
	}
	pbx.send(again(mobile, 2))
	itsp.send(answer(itsp.expect("INVITE "), "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	second := s.call("it is answered", func(c appliance.Call) bool { return c.Status == 200 })
	if second.ID != first.ID || second.Tries != 2 || !second.Start.Equal(first.Start) || !second.End.IsZero() {
		t.Errorf("first %+v\nsecond %+v", first, second)
	}
	if live := s.in.Live(); len(live) != 1 || live[0].ID != first.ID {
		t.Errorf("live %+v", live)
	}
	for n := 3; n < 5; n++ {
		pbx.send(again(forbidden, n))
		pbx.expect("SIP/2.0 403")
	}
	other := s.call("both are refused", func(c appliance.Call) bool { return c.Status == 403 && c.Tries == 2 })
	if other.ID == first.ID || other.Attempt != "" {
		t.Errorf("another destination is %+v", other)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	a := newAttempts()
	for n := range 3 * attemptsKept {
		a.join(a.key(fmt.Sprint(n), "tag"), &appliance.Call{ID: fmt.Sprint(n)})
	}
	if len(a.known) > attemptsKept {
		t.Errorf("%d attempts are remembered", len(a.known))
	}
	late := appliance.Call{ID: "late", Start: time.Unix(1e9, 0)}
	a.join(a.key(fmt.Sprint(3*attemptsKept-1), "tag"), &late)
	if late.Attempt != "" || late.Tries != 1 {
		t.Errorf("after a day it is the same attempt: %+v", late)
	}
}

// ringOf returns a ring that keeps what its settings say.
func ringOf(t *testing.T, bounds limits) (*site, *ring) {
	s := newSite(t, keeping(settings.MessagesRefused))
	return s, newRing(bounds, s.in.current, s.now.now)
}

func TestRingIsBounded(t *testing.T) {
	bounds := defaultLimits()
	bounds.keptBytes, bounds.keptCall, bounds.keptMessage, bounds.keptMessages = 64<<10, 16<<10, 1<<10, 20
	s, r := ringOf(t, bounds)
	by := flow{transport: "udp", local: s.box, remote: s.pbxAt}
	text := func(n int) []byte { return []byte(fmt.Sprintf("INFO %d %s", n, strings.Repeat("x", 2000))) }
	heard(r, by, "live", true, text(0))
	r.opened("live")
	for n := range 300 {
		heard(r, by, "live", false, text(n))
		r.told(by, []byte("live"), text(-n-1))
		if n%3 == 0 {
			heard(r, by, fmt.Sprint("refused", n), true, text(n))
			r.settled(fmt.Sprint("refused", n), false)
		}
	}
	r.mu.Lock()
	if r.bytes > bounds.keptBytes || r.all["live"] == nil || len(r.all["live"].kept) > bounds.keptMessages || r.all["live"].bytes > bounds.keptCall {
		t.Errorf("%d bytes in %d calls", r.bytes, len(r.all))
	}
	r.mu.Unlock()
	got := r.trace("live")
	if len(got.Messages) <= trace.Head || got.Omitted == 0 || !strings.HasPrefix(got.Messages[0].Text, "INFO 0 ") || !strings.HasPrefix(got.Messages[len(got.Messages)-1].Text, "INFO -300 ") {
		t.Errorf("the first and the last ones are not kept: %s", crossed(got))
	}
	if m := got.Messages[0]; m.Length <= len(m.Text) || len(m.Text) != bounds.keptMessage {
		t.Errorf("a long message is kept with %d bytes of %d", len(m.Text), m.Length)
	}
	if last := r.trace("refused297"); len(last.Messages) != 1 {
		t.Errorf("the last refused call is not kept: %+v", last)
	}
	if first := r.trace("refused0"); len(first.Messages) != 0 {
		t.Error("the first refused call is still kept")
	}
}

// TestRingFromEverySide has many hands at one ring.
func TestRingFromEverySide(t *testing.T) {
	bounds := defaultLimits()
	bounds.keptBytes = 32 << 10
	s, r := ringOf(t, bounds)
	by := flow{transport: "udp", local: s.box, remote: s.pbxAt}
	var hands sync.WaitGroup
	for hand := range 4 {
		hands.Go(func() {
			for n := range 500 {
				id := fmt.Sprint(n % 17)
				heard(r, by, id, n%3 == 0, []byte(fmt.Sprint("m", hand, n)))
				r.opened(id)
				r.told(by, []byte(id), []byte(fmt.Sprint("s", hand, n)))
				r.trace(id)
				r.over(id, n%2 == 0)
			}
		})
	}
	hands.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := 0
	for _, one := range r.all {
		sum += one.bytes
	}
	if sum != r.bytes || r.live.Len()+r.loose.Len() != len(r.all) {
		t.Errorf("%d bytes counted, %d there; %d + %d of %d calls listed", r.bytes, sum, r.live.Len(), r.loose.Len(), len(r.all))
	}
}

// collected is a tap that keeps what it takes.
type collected struct {
	mu   sync.Mutex
	all  []appliance.Message
	want bool
}

func (c *collected) Wants() bool { return c.want }
func (c *collected) Take(callID string, m appliance.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Peer = callID
	c.all = append(c.all, m)
}

// TestTap taps a call while nothing is kept.
func TestTap(t *testing.T) {
	tap := &collected{want: true}
	s := newSite(t, func(s *site, _ *settings.Settings, _ *limits) { s.observing.Tap = tap })
	pbx := s.pbx()
	pbx.send(pbx.invite(forbidden, "tapped"))
	pbx.expect("SIP/2.0 403")
	tap.mu.Lock()
	defer tap.mu.Unlock()
	checkCrossed(t, appliance.Trace{Messages: tap.all}, "<tapped INVITE "+forbidden, ">tapped SIP/2.0 403 Forbidden")
}

func TestCallIDIn(t *testing.T) {
	for wire, want := range map[string]string{
		"SIP/2.0 200 OK\r\nVia: x\r\nCall-ID: a@b\r\nCSeq: 1 BYE\r\n\r\n": "a@b", "\r\n": "", "INVITE\r\nCall-ID: cut": "",
	} {
		if got := string(callIDIn([]byte(wire))); got != want {
			t.Errorf("%q: %q", wire, got)
		}
	}
}

// BenchmarkEar is what a message of a call that is fine pays: an INVITE that comes
// in, the one that goes out, and the call's end.
func BenchmarkEar(b *testing.B) {
	s := newSite(b, keeping(settings.MessagesRefused))
	pbx := s.agent("pbx", s.pbxAt)
	wire := []byte(pbx.wire(pbx.invite(mobile, "bench")))
	by := flow{transport: "udp", local: s.box, remote: s.pbxAt}
	ear := s.in.door.ear
	b.ReportAllocs()
	for b.Loop() {
		heard(ear.ring, by, "bench", true, wire)
		ear.ring.opened("bench")
		for range 7 {
			wire[len(wire)-2]++ // another message each time
			ear.sent(by, wire)
		}
		ear.ring.over("bench", true)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8, "ns/message")
}
