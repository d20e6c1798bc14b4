package inspector

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// BenchmarkCall takes a whole call through: INVITE, 180, 200, ACK, BYE and 200, from
// their datagrams to those that leave. ns/call leaves out what its two ends do.
func BenchmarkCall(b *testing.B) {
	s := newSite(b)
	caller, callee := s.wire(b, s.pbxAt), s.wire(b, s.itspAt)
	var spent time.Duration
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		spent += wholeCall(caller, callee, n)
		if n%1000 == 0 {
			s.in.sweep(s.now.advance(10 * time.Second)) // the dialogs are long over
			s.mu.Lock()
			s.events = nil
			s.mu.Unlock()
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(n), "ns/call")
}

// wire is one end of a call. It hears by its socket, and what it says is handed to
// the inspector.
type wire struct {
	b        testing.TB
	in       *Inspector
	conn     *net.UDPConn
	flow     flow
	hears    []byte // the last message
	says     []byte // the next one
	handling time.Duration
}

func (s *site) wire(b testing.TB, at netip.AddrPort) *wire {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	from := flow{transport: "udp", local: s.box, remote: at, socket: s.in.door.sockets[0]}
	return &wire{b: b, in: s.in, conn: conn, flow: from, hears: make([]byte, datagramMax)}
}

func (w *wire) hear(start string) {
	w.b.Helper()
	if err := w.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.b.Fatal(err)
	}
	n, _, err := w.conn.ReadFromUDPAddrPort(w.hears[:cap(w.hears)])
	if err != nil {
		w.b.Fatalf("wait for %s: %v", start, err)
	}
	if w.hears = w.hears[:n]; !bytes.HasPrefix(w.hears, []byte(start)) {
		w.b.Fatalf("want %s, got\n%s", start, w.hears)
	}
}

// say sends what was written, with a body or without.
func (w *wire) say(body string) {
	kind := ""
	if body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	w.says = fmt.Appendf(w.says, "%sContent-Length: %d\r\n\r\n%s", kind, len(body), body)
	start := time.Now()
	w.in.receive(w.flow, w.says)
	w.handling += time.Since(start)
}

// answer answers what was heard last.
func (w *wire) answer(line, tag, body string) {
	w.says = fmt.Appendf(w.says[:0], "SIP/2.0 %s\r\n", line)
	for header := range bytes.SplitSeq(w.hears, []byte("\r\n")) {
		name, _, _ := bytes.Cut(header, []byte(":"))
		switch string(name) {
		case "Via", "Record-Route", "From", "Call-ID", "CSeq":
			w.says = fmt.Appendf(w.says, "%s\r\n", header)
		case "To":
			w.says = fmt.Appendf(w.says, "%s%s\r\n", header, tag)
		}
	}
	w.says = fmt.Appendf(w.says, "Contact: <sip:%s>\r\n", w.flow.remote)
	w.say(body)
}

const toneOffer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"

// wholeCall makes the n-th call and returns how long its messages took.
func wholeCall(caller, callee *wire, n int) time.Duration {
	before := caller.handling + callee.handling
	at := caller.flow.remote
	ask := func(method, uri, routes, to string, cseq int, body string) {
		caller.says = fmt.Appendf(caller.says[:0], "%[1]s %[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bK-%[4]d-%[5]s;rport\r\n"+
			"%[6]sMax-Forwards: 70\r\nFrom: <sip:101@%[7]s>;tag=%[4]d\r\nTo: %[8]s\r\nCall-ID: %[4]d-1234@%[7]s\r\nCSeq: %[9]d %[1]s\r\n"+
			"Contact: <sip:pbx@%[3]s>\r\n", method, uri, at, n, method, routes, at.Addr(), to, cseq)
		caller.say(body)
	}
	ask("INVITE", mobile, "", "<"+mobile+">", 1, toneOffer)
	caller.hear("SIP/2.0 100")
	callee.hear("INVITE ")
	callee.answer("180 Ringing", ";tag=callee", "")
	caller.hear("SIP/2.0 180")
	callee.answer("200 OK", ";tag=callee", toneOffer)
	caller.hear("SIP/2.0 200")
	ok, routes := string(caller.hears), ""
	for _, route := range every(ok, "Record-Route") {
		routes = "Route: " + route + "\r\n" + routes
	}
	target := strings.Trim(get(ok, "Contact"), "<>")
	ask("ACK", target, routes, get(ok, "To"), 1, "")
	callee.hear("ACK ")
	ask("BYE", target, routes, get(ok, "To"), 2, "")
	callee.hear("BYE ")
	callee.answer("200 OK", "", "")
	caller.hear("SIP/2.0 200")
	return caller.handling + callee.handling - before
}
