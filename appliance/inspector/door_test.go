package inspector

import (
	"net"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

func TestOptionsAnsweredHere(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.ping()
	itsp.ping()
	pbx.send(`
OPTIONS sip:+61255501234@sip.itsp.example SIP/2.0
Via: $via;branch=z9hG4bK-number
From: <sip:201@$me>;tag=a
To: <sip:+61255501234@sip.itsp.example>
Call-ID: number
CSeq: 1 OPTIONS
`)
	pbx.expect("SIP/2.0 404 ")
	itsp.nothing()
}

func TestStrangersGetSilence(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	stranger := s.udp("stranger", s.host(200))
	for _, text := range []string{
		"OPTIONS sip:$box SIP/2.0\nVia: $via;branch=z9hG4bK-1\nFrom: <sip:a@$me>;tag=1\nTo: <sip:$box>\nCall-ID: s1\nCSeq: 1 OPTIONS\n",
		"INVITE sip:000@$box SIP/2.0\nVia: $via;branch=z9hG4bK-2\nFrom: <sip:a@$me>;tag=1\nTo: <sip:$box>\nCall-ID: s2\nCSeq: 1 INVITE\nContact: <sip:a@$me>\n",
		"REGISTER sip:sip.itsp.example SIP/2.0\nVia: $via;branch=z9hG4bK-3\nFrom: <sip:a@x.example>;tag=1\nTo: <sip:a@x.example>\nCall-ID: s3\nCSeq: 1 REGISTER\n",
		"garbage",
	} {
		stranger.send(text)
	}
	s.until("all four are counted", func() bool { return s.tally(appliance.ReasonUnknownSource) == 4 })
	pbx.nothing()
	itsp.nothing()
	select {
	case text := <-stranger.inbox:
		t.Fatalf("the stranger was answered:\n%s", text)
	default:
	}
}

func TestStrangerOverTCPIsReset(t *testing.T) {
	s := newSite(t)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: s.host(200).Addr().AsSlice()}}
	conn, err := dialer.Dial("tcp", s.box.String())
	if err == nil { // the reset may come before connect returns
		defer conn.Close()
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatal("the stranger was answered")
		}
	}
	s.until("the stranger is counted", func() bool { return s.tally(appliance.ReasonUnknownSource) == 1 })
}

func TestMalformedIsNamedToTheLANOnly(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	bad := "OPTIONS sip:$box SIP/2.0\nVia: $via;branch=z9hG4bK-bad\nFrom: <sip:a@$me>;tag=1\nTo: <sip:$box>\nCall-ID: bad\nCSeq: 1 OPTIONS\nCSeq: 2 OPTIONS\n"
	pbx.send(bad)
	if got := startOf(pbx.expect("SIP/2.0 400")); got != "SIP/2.0 400 Bad CSeq" {
		t.Errorf("got %q, want the header named", got)
	}
	itsp.send(bad)
	itsp.nothing()
	if got := s.tally(appliance.ReasonMalformedMessage); got != 2 {
		t.Errorf("counted %d malformed messages, want 2", got)
	}
}

func TestMalformedOverTCPIsAnsweredAndClosed(t *testing.T) {
	s := newSite(t)
	phone := s.dial("phone", s.host(4).Addr())
	phone.raw("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK-x\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\nContent-Length: 300\r\n\r\nINVITE sip:+252615550148@sip.itsp.example SIP/2.0\r\n\r\n")
	if got := startOf(phone.expect("SIP/2.0 400")); got != "SIP/2.0 400 Bad Content-Length" {
		t.Errorf("got %q, want the header named", got)
	}
	if text, open := <-phone.inbox; open {
		t.Fatalf("the connection goes on after a framing error:\n%s", text)
	}
}

func TestKeepalives(t *testing.T) {
	s := newSite(t)
	pbx := s.pbx()
	for _, text := range []string{"", "\r\n", "\r\n\r\n", "\x00"} {
		pbx.raw(text)
	}
	pbx.nothing()
	if got := s.tally(appliance.ReasonMalformedMessage); got != 0 {
		t.Errorf("counted %d keepalives as malformed", got)
	}
	phone := s.dial("phone", s.host(4).Addr())
	phone.raw("\r\n\r\n")
	phone.expect("\r\n")
	phone.ping()
}

func TestUnknownMethods(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for method, want := range map[string]string{
		"FOO": "SIP/2.0 501", "invite": "SIP/2.0 501", "PUBLISH": "SIP/2.0 405", "REFER": "SIP/2.0 403",
		"INFO": "SIP/2.0 481", "UPDATE": "SIP/2.0 481", "PRACK": "SIP/2.0 481", "BYE": "SIP/2.0 481", "NOTIFY": "SIP/2.0 489", "CANCEL": "SIP/2.0 481",
	} {
		pbx.send(strings.ReplaceAll(`
METHOD sip:x@sip.itsp.example SIP/2.0
Via: $via;branch=z9hG4bK-METHOD
From: <sip:201@$me>;tag=a
To: <sip:x@sip.itsp.example>
Call-ID: METHOD
CSeq: 1 METHOD
Refer-To: <sip:+61255501234@sip.itsp.example>
`, "METHOD", method))
		got := pbx.expect("SIP/2.0 ")
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", method, startOf(got), want)
		}
		if strings.HasPrefix(want, "SIP/2.0 501") && get(got, "Allow") == "" {
			t.Errorf("%s: no Allow in %q", method, got)
		}
	}
	itsp.nothing()
}
