package message

import (
	"reflect"
	"strings"
	"testing"
)

// crlf makes the line ends of a raw string those of the wire.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const invite = `INVITE sip:0011252611234567@pbx.example.com;user=phone SIP/2.0
Via: SIP/2.0/UDP 192.168.1.50:5060;branch=z9hG4bK4b43c2ff8.1;rport
Max-Forwards: 70
From: "Reception" <sip:200@pbx.example.com>;tag=1928301774
To: <sip:0011252611234567@pbx.example.com;user=phone>
Call-ID: a84b4c76e66710@192.168.1.50
CSeq: 314159 INVITE
Contact: <sip:200@192.168.1.50:5060;transport=udp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-0004f2aabbcc>"
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, SUBSCRIBE, PRACK, UPDATE
Supported: replaces, 100rel, timer
User-Agent: Phone/1.2
Session-Expires: 1800;refresher=uac
Min-SE: 90
Content-Type: application/sdp
Content-Length: 148

v=0
o=- 2890844526 2890844526 IN IP4 192.168.1.50
s=-
c=IN IP4 192.168.1.50
t=0 0
m=audio 49172 RTP/AVP 8 0
a=rtpmap:8 PCMA/8000
a=ptime:20
`

func TestParseTypicalInvite(t *testing.T) {
	m, err := Parse(crlf(invite))
	if err != nil {
		t.Fatal(err)
	}
	if m.Method != "INVITE" || m.URI != "sip:0011252611234567@pbx.example.com;user=phone" {
		t.Errorf("start line read as %q %q", m.Method, m.URI)
	}
	if got := string(m.Append(nil)); !strings.HasPrefix(got, "INVITE sip:0011252611234567@pbx.example.com;user=phone SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.50:5060;branch=z9hG4bK4b43c2ff8.1;rport\r\n") {
		t.Errorf("emitted\n%s", got)
	}
	again, err := Parse(m.Append(nil))
	if err != nil || !reflect.DeepEqual(bare(m), bare(again)) {
		t.Errorf("round trip: %v\n%+v\n%+v", err, m, again)
	}
}

func BenchmarkParseAppend(b *testing.B) {
	datagram := crlf(invite)
	out := make([]byte, 0, 2048)
	b.ReportAllocs()
	b.SetBytes(int64(len(datagram)))
	for b.Loop() {
		m, err := Parse(datagram)
		if err != nil {
			b.Fatal(err)
		}
		out = m.Append(out[:0])
	}
}
