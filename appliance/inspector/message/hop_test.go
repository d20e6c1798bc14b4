package message

import (
	"strings"
	"testing"
)

// TestAckHop: what is read by its topmost Via alone is an ACK whose first header is
// that Via, and Parse reads the same hop. Everything else is left to Parse.
func TestAckHop(t *testing.T) {
	const ack = "ACK sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKx;rport\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKy\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n" +
		"Call-ID: e\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
	hop, ok := AckHop([]byte(ack))
	if !ok || hop.Branch() != "z9hG4bKx" || hop.Host != "192.0.2.9" || hop.Port != 5062 {
		t.Fatalf("read %+v, %v", hop, ok)
	}
	m, err := Parse([]byte(ack))
	if err != nil {
		t.Fatal(err)
	}
	if top, err := m.TopVia(); err != nil || top != hop {
		t.Errorf("Parse reads %+v, %v", top, err)
	}
	for _, change := range [][2]string{
		{"ACK ", "INVITE "},
		{"ACK ", "ack "},
		{"ACK ", "ACK\t"},
		{" SIP/2.0\r\nVia", " SIP/3.0\r\nVia"},
		{"Via: SIP/2.0/UDP 192.0.2.9", "Max-Forwards: 70\r\nVia: SIP/2.0/UDP 192.0.2.9"},
		{";branch=z9hG4bKx;rport\r\n", ";branch=z9hG4bKx\r\n ;rport\r\n"},
		{";branch=z9hG4bKx;rport\r\n", ";branch=z9hG4bKx\r\n\t;rport\r\n"},
		{";branch=z9hG4bKx;rport", ";branch=z9hG4bKx;branch=z9hG4bKz"},
		{";branch=z9hG4bKx;rport", ";branch=z9hG4bKx, SIP/2.0/UDP 192.0.2.7"},
		{";branch=z9hG4bKx;rport", ";branch=z9hG4bKx;rport;x=\x01"},
		{"SIP/2.0/UDP 192.0.2.9", "SIP/2.0/UDP 192.0.2.999"},
		{ack, ""},
		{ack, "ACK sip:101@192.0.2.1 SIP/2.0\r\n"},
		{ack, "ACK sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx"},
		{ack, "ACK sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n"},
	} {
		text := strings.Replace(ack, change[0], change[1], 1)
		if hop, ok := AckHop([]byte(text)); ok {
			t.Errorf("%q: read %+v", text, hop)
		}
	}
}
