package inspector

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// changed is the INVITE of the PBX as bytes, with changes that no text could hold.
func (e *scene) changed(changes ...string) string {
	return replaced(e.t, e.pbx.wire(e.invite(mobile)), changes)
}

// stream opens a TCP connection of another phone.
func (e *scene) stream() *agent {
	e.t.Helper()
	phone := e.s.dial("phone", e.s.host(4).Addr())
	phone.t = e.t
	return phone
}

// ends waits until the box has closed a connection, and returns what came before.
func (e *scene) ends(a *agent) (all []string) {
	e.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case text, open := <-a.inbox:
			if !open {
				return all
			}
			all = append(all, text)
		case <-timeout:
			e.t.Fatalf("the connection stays open; got %q", all)
		}
	}
}

// closed sends bytes over TCP after which the box answers with a 400 that names
// the header, and closes: where the next message begins is not known any more.
func (e *scene) closed(raw, header, problem string) {
	e.t.Helper()
	before := e.s.tally(appliance.ReasonMalformedMessage)
	phone := e.stream()
	raw = strings.NewReplacer("SIP/2.0/UDP", "SIP/2.0/TCP", e.pbx.at.String(), phone.at.String()).Replace(raw)
	phone.raw(raw)
	got := e.ends(phone)
	if len(got) != 1 {
		e.t.Fatalf("got %q", got)
	}
	wantBytes(e.t, e.s, got[0], rejectBytes(raw, header, problem))
	e.quiet(e.itsp, e.pbx)
	if counted := e.s.tally(appliance.ReasonMalformedMessage) - before; counted != 1 {
		e.t.Errorf("counted %d times, want once", counted)
	}
}

// hangs sends bytes over TCP that are no SIP: the box closes without a word.
func (e *scene) hangs(raw string) {
	e.t.Helper()
	before := e.s.tally(appliance.ReasonMalformedMessage)
	phone := e.stream()
	phone.raw(raw)
	if got := e.ends(phone); len(got) != 0 {
		e.t.Errorf("got %q", got)
	}
	e.quiet(e.itsp, e.pbx)
	if counted := e.s.tally(appliance.ReasonMalformedMessage) - before; counted != 1 {
		e.t.Errorf("counted %d times, want once", counted)
	}
}

const (
	notCRLF  = "holds a line that does not end with CRLF"
	control  = "holds a control character"
	repeated = "stands more than once"
)

func inSubject(id, what, text, problem string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		e.malformed(e.changed("Allow: ", "Subject: "+text+"\r\nAllow: "), "Subject", problem)
	}}
}

func twice(id, what, line, header, problem string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		e.malformed(e.changed("Allow: ", line+"\r\nAllow: "), header, problem)
	}}
}

var evasionFrames = []evasionRow{
	inSubject("F1a", "a bare LF", "a\nRoute: <sip:203.0.113.9;lr>", notCRLF),
	inSubject("F1b", "a bare CR", "a\rRoute: <sip:203.0.113.9;lr>", control),
	inSubject("F1c", "a NUL", "a\x00b", control),
	inSubject("F1d", "a vertical tab", "a\vb", control),
	inSubject("F1e", "a form feed", "a\fb", control),
	inSubject("F1f", "an escape", "a\x1bb", control),
	inSubject("F1g", "a DEL", "a\x7fb", control),
	inSubject("F1h", "a control of Latin-1", "a\u0085b", control),
	inSubject("F1i", "a backspace", "a\bb", control),
	{"F1j", "a LF in the start line", func(e *scene) {
		e.malformed(e.changed(" SIP/2.0\r\nVia", "\nX: y SIP/2.0\r\nVia"), "Request-Line", notCRLF)
	}},
	{"F1k", "a NUL in the start line", func(e *scene) {
		e.malformed(e.changed("@sip.itsp.example SIP/2.0", "\x00@sip.itsp.example SIP/2.0"), "Request-Line", control)
	}},
	{"F1l", "headers that end with LF LF", func(e *scene) {
		raw := strings.ReplaceAll(e.pbx.wire(e.invite(mobile)), "\r\n", "\n")
		e.dropped(e.pbx, raw, appliance.ReasonMalformedMessage)
	}},
	{"F2a", "a control character before the colon of a second To", func(e *scene) {
		e.malformed(e.changed("Allow: ", "To\x01: <sip:x@y>;tag=1\r\nAllow: "), "To", control)
	}},
	{"F2b", "spaces before the colon", func(e *scene) {
		e.passes(e.invite(mobile, "Allow: ", "Allow \t : "), e.bytesOut(mobile, mobile))
	}},
	{"F2c", "a vertical tab before the colon", func(e *scene) {
		e.malformed(e.changed("Allow: ", "To\t\v: <sip:x@y>;tag=1\r\nAllow: "), "To", control)
	}},
	{"F2d", "a no-break space before the colon", func(e *scene) {
		e.malformed(e.changed("Allow: ", "To\u00a0: <sip:x@y>;tag=1\r\nAllow: "), "", "a line is no header")
	}},
	{"F2e", "a colon on the next line", func(e *scene) {
		e.malformed(e.changed("Allow: ", "Route\r\n : <sip:203.0.113.9;lr>\r\nAllow: "), "", "a line is no header")
	}},
	{"F2f", "a comment as a name", func(e *scene) {
		e.malformed(e.changed("Allow: ", "(To): <sip:x@y>;tag=1\r\nAllow: "), "", "a line is no header")
	}},
	{"F3a", "a folded header", func(e *scene) {
		e.passes(e.invite(mobile, "Allow: INVITE, ACK", "Allow: INVITE,\n\tACK"), e.bytesOut(mobile, mobile))
	}},
	{"F3b", "a folded To", func(e *scene) {
		e.passes(e.invite(mobile, "To: <", "To:\n  \t<"), e.bytesOut(mobile, mobile))
	}},
	{"F3c", "a header hidden in a fold", func(e *scene) {
		e.passes(e.invite(mobile, "Allow: ", "Subject: a\n Route: <sip:203.0.113.9;lr>\nAllow: "),
			e.bytesOut(mobile, mobile, "Allow: ", "Subject: a Route: <sip:203.0.113.9;lr>\r\nAllow: "))
	}},
	{"F3d", "a folded start line", func(e *scene) {
		e.malformed(e.changed(" SIP/2.0\r\nVia", " SIP/2.0\r\n x\r\nVia"), "Request-Line", "is folded")
	}},
	{"F3e", "a fold of nothing", func(e *scene) {
		e.malformed(e.changed("Allow: ", "Subject: a\r\n \r\nAllow: "), "Subject", "is continued by a blank line")
	}},
	twice("F4a", "two To", "To: <sip:+252615550148@sip.itsp.example>", "To", repeated),
	twice("F4b", "To and t", "t: <sip:+252615550148@sip.itsp.example>", "To", repeated),
	twice("F4c", "two From", "f: <sip:202@x.example>;tag=other", "From", repeated),
	twice("F4d", "two Call-ID", "i: other", "Call-ID", repeated),
	twice("F4e", "two CSeq", "CSEQ: 1 INVITE", "CSeq", repeated),
	twice("F4f", "two Content-Length", "l: 0", "Content-Length", repeated),
	twice("F4g", "two Contact", "m: <sip:202@10.0.0.9>", "Contact", repeated),
	twice("F4h", "two Max-Forwards", "max-forwards: 255", "Max-Forwards", repeated),
	twice("F4i", "two Replaces", "Replaces: a;to-tag=b;from-tag=c\r\nReplaces: a;to-tag=b;from-tag=c", "Replaces", repeated),
	twice("F4j", "two Refer-To", "Refer-To: <sip:1@a>\r\nr: <sip:+252@a>", "Refer-To", repeated),
	{"F4k", "two addresses in To", func(e *scene) {
		e.malformed(e.changed("To: <"+mobile+">", "To: <"+mobile+">, <sip:+252615550148@"+domain+">"), "To", "holds more than its grammar allows")
	}},
	{"F5a", "no length on a stream", func(e *scene) {
		e.closed(e.changed("Content-Length: 87\r\n", ""), "Content-Length", "is missing")
	}},
	{"F5b", "a negative length", func(e *scene) {
		e.malformed(e.changed("Content-Length: 87", "Content-Length: -87"), "Content-Length", "is not a number")
	}},
	{"F5c", "a length with a space", func(e *scene) {
		e.malformed(e.changed("Content-Length: 87", "Content-Length: 8 7"), "Content-Length", "is not a number")
	}},
	{"F5d", "more than the datagram", func(e *scene) {
		e.malformed(e.changed("Content-Length: 87", "Content-Length: 88"), "Content-Length", "is larger than the message")
	}},
	{"F5e", "less than the datagram", func(e *scene) {
		raw := e.pbx.wire(e.invite(mobile)) + "INVITE sip:+252615550148@sip.itsp.example SIP/2.0\r\n\r\n"
		e.pbx.raw(raw)
		got := e.itsp.expect("INVITE ")
		wantBytes(e.t, e.s, got, e.bytesOut(mobile, mobile))
		e.busy(got, raw)
	}},
	{"F5f", "two lengths on a stream, the first of them 0", func(e *scene) {
		e.closed(e.changed("Content-Length: 87\r\n", "Content-Length: 0\r\nContent-Length: 87\r\n"), "Content-Length", repeated)
	}},
	{"F5g", "a signed length", func(e *scene) {
		e.malformed(e.changed("Content-Length: 87", "Content-Length: +87"), "Content-Length", "is not a number")
	}},
	{"F5h", "a length in hex", func(e *scene) {
		e.malformed(e.changed("Content-Length: 87", "Content-Length: 0x57"), "Content-Length", "is not a number")
	}},
	{"F5i", "a length without bound", func(e *scene) {
		e.malformed(e.changed("Content-Length: 87", "Content-Length: 18446744073709551703"), "Content-Length", "is a number out of range")
	}},
	{"F5j", "no length in a datagram", func(e *scene) {
		raw := e.changed("Content-Length: 87\r\n", "")
		e.pbx.raw(raw)
		got := e.itsp.expect("INVITE ")
		wantBytes(e.t, e.s, got, e.bytesOut(mobile, mobile))
		e.busy(got, raw)
	}},
	{"F6a", "byte by byte", func(e *scene) {
		phone := e.stream()
		for _, one := range []byte(phone.wire(phone.invite("sip:+252615550148@"+domain, e.id))) {
			phone.raw(string(one))
		}
		phone.expect("SIP/2.0 403")
		e.quiet(e.itsp)
	}},
	{"F6b", "a blocked INVITE pipelined behind an honest one", func(e *scene) {
		phone := e.stream()
		phone.raw(phone.wire(phone.invite(mobile, e.id)) + phone.wire(phone.invite("sip:+252615550148@"+domain, e.id+"2")))
		got := e.itsp.expect("INVITE " + mobile)
		if refused := phone.expect("SIP/2.0 403"); get(refused, "Call-ID") != e.id+"2" {
			e.t.Errorf("got\n%s", refused)
		}
		e.itsp.send(answer(got, "486 Busy Here", "busy"))
		e.itsp.expect("ACK ")
		e.quiet(e.itsp)
	}},
	{"F6c", "line ends inside a message", func(e *scene) {
		phone := e.stream()
		wire := phone.wire(phone.invite("sip:+252615550148@"+domain, e.id))
		phone.raw("\r\n\r\n\r\n\r\n" + wire[:40])
		phone.raw(wire[40:] + "\r\n\r\n")
		phone.expect("SIP/2.0 403")
		phone.raw("\r\n\r\n")
		e.quiet(e.itsp)
	}},
	{"F6d", "more than 64 KiB", func(e *scene) {
		phone := e.stream()
		phone.raw(strings.Replace(phone.wire(phone.invite(mobile, e.id)), "Content-Length: 87", "Content-Length: 70000", 1))
		got := e.ends(phone)
		if len(got) != 1 || !strings.HasPrefix(got[0], "SIP/2.0 513 ") {
			e.t.Errorf("got %q", got)
		}
		e.quiet(e.itsp)
	}},
	{"F6e", "a head that never ends", func(e *scene) {
		e.s = newSite(e.t, shortDeadline)
		phone := e.stream()
		wire := phone.wire(phone.invite(mobile, e.id))
		phone.raw(wire[:strings.Index(wire, "Allow")])
		if got := e.ends(phone); len(got) != 0 {
			e.t.Errorf("got %q", got)
		}
		e.quiet(e.itsp)
	}},
	{"F6f", "a body that never ends", func(e *scene) {
		e.s = newSite(e.t, shortDeadline)
		phone := e.stream()
		wire := phone.wire(phone.invite(mobile, e.id))
		phone.raw(wire[:len(wire)-1])
		if got := e.ends(phone); len(got) != 0 {
			e.t.Errorf("got %q", got)
		}
		e.quiet(e.itsp)
	}},
	{"F7a", "an INVITE of many fragments", func(e *scene) {
		// That fragments pass the gate is shown by its own table, TestEvasions in
		// package gate; here, that what they carry is not cut.
		candidates := strings.Repeat("a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host\n", 120)
		body := strings.ReplaceAll(candidates, "\n", "\r\n")
		e.passes(e.invite(mobile)+candidates, e.bytesOut(mobile, mobile, "Content-Length: 87", fmt.Sprintf("Content-Length: %d", 87+len(body)))+body)
	}},
	{"F8a", "an IPv4 address inside an IPv6 one as host", func(e *scene) {
		// Frames in frames are the gate's table. A mapped address in a message would
		// have two readings.
		e.malformed(e.changed("@sip.itsp.example SIP/2.0", "@[::ffff:203.0.113.9] SIP/2.0"), "Request-Line", "holds a wrong IPv6 address")
	}},
	{"F8b", "a mapped source is the IPv4 source", func(e *scene) {
		sip := e.s.in.current().SIP()
		mapped := netip.AddrPortFrom(netip.AddrFrom16(e.s.itspAt.Addr().As16()).Unmap(), 5060)
		if got := partyOf(&sip, mapped); got.side != outside {
			e.t.Errorf("got %+v", got)
		}
	}},
	{"F9a", "another source port of the trunk", func(e *scene) {
		other := e.s.udp("itsp", netip.AddrPortFrom(e.s.itspAt.Addr(), 0))
		other.t = e.t
		other.ping()
	}},
	{"F9b", "a stranger's well-formed INVITE", func(e *scene) {
		stranger := e.s.udp("stranger", e.s.host(99))
		stranger.t = e.t
		before := e.s.tally(appliance.ReasonUnknownSource)
		for _, uri := range []string{mobile, "sip:000@" + domain, "sip:201@$box"} {
			stranger.send(stranger.invite(uri, e.id))
		}
		e.s.until("it is counted", func() bool { return e.s.tally(appliance.ReasonUnknownSource) == before+3 })
		e.quiet(e.pbx, e.itsp)
		if len(stranger.inbox) != 0 {
			e.t.Errorf("a stranger got %q", <-stranger.inbox)
		}
	}},
	{"F9c", "a stranger on TCP", func(e *scene) {
		before := e.s.tally(appliance.ReasonUnknownSource)
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: e.s.host(99).Addr().AsSlice()}, Timeout: patience}
		if conn, err := dialer.Dial("tcp", e.s.box.String()); err == nil { // it may be reset before it is there
			defer conn.Close()
			if got, _ := io.ReadAll(conn); len(got) != 0 {
				e.t.Errorf("got %q", got)
			}
		}
		e.s.until("it is counted", func() bool { return e.s.tally(appliance.ReasonUnknownSource) == before+1 })
	}},
	{"F10a", "SigComp", func(e *scene) {
		e.dropped(e.pbx, "\xf8\x01\x02\r\n\r\nINVITE", appliance.ReasonMalformedMessage)
	}},
	{"F10b", "comp=sigcomp", func(e *scene) {
		e.dials("sip:+61491570156@"+domain+";comp=sigcomp", mobile)
	}},
	{"F10c", "a WebSocket handshake", func(e *scene) {
		e.hangs("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
	}},
	{"F10d", "transport=ws", func(e *scene) { e.dials("sip:+61491570156@"+domain+";transport=ws", mobile) }},
	{"F10e", "transport=sctp and dtls", func(e *scene) {
		e.dials("sip:+61491570156@"+domain+";transport=tls-sctp", mobile)
	}},
	{"F11a", "TLS where SIP in the clear is spoken", func(e *scene) {
		e.hangs("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("\x42", 154))
	}},
	{"F11b", "a sips URI asks for TLS to the end", func(e *scene) {
		e.judged(e.pbx, e.invite("sips:+252615550148@"+domain))
	}},
	{"F12a", "IAX2", func(e *scene) {
		e.dropped(e.pbx, "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x01", appliance.ReasonMalformedMessage)
	}},
	{"F12b", "MGCP", func(e *scene) {
		e.dropped(e.pbx, "RSIP 1200 *@gw.example MGCP 1.0\r\nRM: restart\r\n\r\n", appliance.ReasonMalformedMessage)
	}},
	{"F12c", "H.225", func(e *scene) {
		e.hangs("\x03\x00\x00\x12\x08\x02\x00\x01\x05\x04\x03\x80\x90\xa2\x7e\x00\x01\x05")
	}},
	{"F12d", "SCCP", func(e *scene) { e.hangs("\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00") }},
	{"F13a", "a compressed body", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Content-Type", "Content-Encoding: gzip\nContent-Type"), "415 Unsupported Media Type",
			"Accept: "+acceptedBodies, "Accept-Encoding: identity")
	}},
	{"F13b", "a compressed body, in short", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Content-Type", "e: identity, deflate\nContent-Type"), "415 Unsupported Media Type",
			"Accept: "+acceptedBodies, "Accept-Encoding: identity")
	}},
	{"F13c", "two sessions", func(e *scene) {
		e.answered(e.pbx, e.parted("application/sdp", "v=0", "application/sdp", "v=1"), "415 Unsupported Media Type", "Accept: "+acceptedBodies)
	}},
	{"F13d", "a session and a list of callees", func(e *scene) {
		e.passes(e.parted("application/resource-lists+xml", "<entry uri='sip:+252615550148@x'/>", "application/sdp", "v=0"), e.session("v=0"))
	}},
	{"F13e", "a session inside a part", func(e *scene) {
		e.answered(e.pbx, e.parted("multipart/mixed;boundary=c", "--c\nContent-Type: application/sdp\n\nv=0\n--c--", "text/plain", "x"),
			"415 Unsupported Media Type", "Accept: "+acceptedBodies)
	}},
	{"F13f", "a session beside one inside a part", func(e *scene) {
		e.passes(e.parted("multipart/mixed;boundary=c", "--c\nContent-Type: application/sdp\n\nv=9\n--c--", "application/sdp", "v=0"), e.session("v=0"))
	}},
	{"F13g", "a body without a type", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Content-Type: application/sdp", "Subject: x"), "415 Unsupported Media Type", "Accept: "+acceptedBodies)
	}},
	{"F13h", "a part in base64", func(e *scene) {
		e.answered(e.pbx, e.parted("application/sdp\nContent-Transfer-Encoding: base64", "dj0w", "text/plain", "x"),
			"415 Unsupported Media Type", "Accept: "+acceptedBodies)
	}},
}

// parted is an INVITE with a body of two parts.
func (e *scene) parted(kind1, body1, kind2, body2 string) string {
	head, _, _ := strings.Cut(e.invite(mobile), "application/sdp")
	return head + "multipart/mixed;boundary=b\n\n--b\nContent-Type: " + kind1 + "\n\n" + body1 +
		"\n--b\nContent-Type: " + kind2 + "\n\n" + body2 + "\n--b--\n"
}

// session is the INVITE as the trunk gets it with another session description.
func (e *scene) session(body string) string {
	head, _, _ := strings.Cut(e.bytesOut(mobile, mobile, "Content-Length: 87", fmt.Sprintf("Content-Length: %d", len(body))), "\r\n\r\n")
	return head + "\r\n\r\n" + body
}

// busy ends an INVITE that the trunk got.
func (e *scene) busy(got, wire string) {
	e.t.Helper()
	e.itsp.send(answer(got, "486 Busy Here", "busy"))
	e.itsp.expect("ACK ")
	e.pbx.expect("SIP/2.0 100")
	e.pbx.expect("SIP/2.0 486")
	e.acknowledge(e.pbx, wire, "486")
	e.quiet(e.itsp)
}

// shortDeadline is of a site that does not wait for the rest of a message.
func shortDeadline(_ *site, _ *settings.Settings, bounds *limits) {
	bounds.headerDeadline = 200 * time.Millisecond
}

// TestEvasionFrames plays section 1.1.
func TestEvasionFrames(t *testing.T) { playEvasions(t, evasionFrames) }
