package message

import (
	"strings"
	"testing"
)

// TestAckHop: an ACK whose first header is one Via in the usual form is known by it,
// and Parse reads the same hop. Everything else is left to Parse.
func TestAckHop(t *testing.T) {
	const ack = "ACK sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5062;rport=1;branch=z9hG4bKx;received=192.0.2.9\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKy\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n" +
		"Call-ID: e\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
	for _, sentBy := range []string{"192.0.2.9:5062", "192.0.2.9", "pbx.example:5060", "[2001:db8::9]:5062", "[2001:db8::9]"} {
		text := []byte(strings.Replace(ack, "192.0.2.9:5062", sentBy, 1))
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		top, err := m.TopVia()
		if err != nil {
			t.Fatal(err)
		}
		hop, ok := AckHop(text)
		if !ok || string(hop.Branch) != top.Branch() || string(hop.Host) != top.Host || hop.Port != top.Port {
			t.Errorf("%s: read %q %q %d, %v; Parse reads %+v", sentBy, hop.Branch, hop.Host, hop.Port, ok, top)
		}
	}
	const branch = ";rport=1;branch=z9hG4bKx;received=192.0.2.9"
	for _, change := range [][2]string{
		{"ACK ", "INVITE "},
		{"ACK ", "ack "},
		{"ACK ", "ACK\t"},
		{" SIP/2.0\r\nVia", " SIP/3.0\r\nVia"},
		{"Via: SIP", "v: SIP"},
		{"Via: SIP", "Via:  SIP"},
		{"/UDP", "/TCP"},
		{"Via: SIP/2.0/UDP 192.0.2.9", "Max-Forwards: 70\r\nVia: SIP/2.0/UDP 192.0.2.9"},
		{branch, branch + "\r\n ;x"},
		{branch, branch + "\r\n\t;x"},
		{branch, branch + ", SIP/2.0/UDP 192.0.2.7"},
		{branch, ""},
		{"9:5062", "9:"},
		{"9:5062", "9:99999"},
		{"9:5062", "9:sip"},
		{ack, ""},
		{ack, "ACK sip:101@192.0.2.1 SIP/2.0\r\n"},
		{ack, "ACK sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx"},
		{ack, "ACK sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n"},
	} {
		text := strings.Replace(ack, change[0], change[1], 1)
		if hop, ok := AckHop([]byte(text)); ok {
			t.Errorf("%q: read %q %q %d", text, hop.Branch, hop.Host, hop.Port)
		}
	}
}
