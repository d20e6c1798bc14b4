package sdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const head = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\n"

func places(list ...string) (all []netip.AddrPort) {
	for _, one := range list {
		all = append(all, netip.MustParseAddrPort(one))
	}
	return all
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, text     string
		media, control []netip.AddrPort // of every m=
		direction      Direction        // of the last
	}{
		{"the session's address", "c=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0 8", places("192.0.2.1:4000"), places("192.0.2.1:4001"), SendRecv},
		{"its own address", "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.2", places("192.0.2.2:4000"), places("192.0.2.2:4001"), SendRecv},
		{"IPv6", "c=IN IP6 2001:db8::1\nm=audio 4000 RTP/SAVP 0", places("[2001:db8::1]:4000"), places("[2001:db8::1]:4001"), SendRecv},
		{"several ports", "c=IN IP4 192.0.2.1\nm=video 4000/2 RTP/AVP 31", places("192.0.2.1:4000", "192.0.2.1:4002"), places("192.0.2.1:4001", "192.0.2.1:4003"), SendRecv},
		{"rtcp elsewhere", "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp:5001", places("192.0.2.1:4000"), places("192.0.2.1:5001"), SendRecv},
		{"rtcp on another host", "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp:5001 IN IP4 192.0.2.9", places("192.0.2.1:4000"), places("192.0.2.9:5001"), SendRecv},
		{"no rtcp", "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp:0", places("192.0.2.1:4000"), nil, SendRecv},
		{"the last port", "c=IN IP4 192.0.2.1\nm=audio 65535 RTP/AVP 0", places("192.0.2.1:65535"), nil, SendRecv},
		{"hold by attribute", "c=IN IP4 192.0.2.1\na=inactive\nm=audio 4000 RTP/AVP 0", places("192.0.2.1:4000"), places("192.0.2.1:4001"), Inactive},
		{"its own direction", "c=IN IP4 192.0.2.1\na=inactive\nm=audio 4000 RTP/AVP 0\na=sendonly", places("192.0.2.1:4000"), places("192.0.2.1:4001"), SendOnly},
		{"hold by address", "c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0", nil, nil, SendRecv},
		{"refused, and without an address", "m=audio 0 RTP/AVP 0", nil, nil, SendRecv},
		{"a fax after speech", "c=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\nm=image 5000 udptl t38", places("192.0.2.1:5000"), places("192.0.2.1:5001"), SendRecv},
		{"over TCP", "c=IN IP4 192.0.2.1\nm=message 9 TCP/MSRP *", nil, nil, SendRecv},
		{"two", "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 31", places("192.0.2.1:4000", "192.0.2.1:4002"), places("192.0.2.1:4001", "192.0.2.1:4003"), SendRecv},
		{"nothing", "", nil, nil, ""},
	} {
		for _, end := range []string{"\n", "\r\n"} {
			session, err := Read([]byte(strings.ReplaceAll(head+c.text+"\n", "\n", end)))
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			var media, control []netip.AddrPort
			direction := Direction("")
			for _, m := range session.Media {
				some, other := m.Endpoints(nil, nil)
				media, control, direction = append(media, some...), append(control, other...), m.Direction
			}
			if !slices.Equal(media, c.media) || !slices.Equal(control, c.control) || direction != c.direction {
				t.Errorf("%s: media %v, RTCP %v, %s; want %v, %v, %s", c.name, media, control, direction, c.media, c.control, c.direction)
			}
		}
	}
}

func TestCandidates(t *testing.T) {
	session, err := Read([]byte(head + `c=IN IP4 192.0.2.1
m=audio 4000 RTP/SAVPF 0
a=rtcp-mux
a=candidate:1 1 UDP 2130706431 10.0.0.2 4000 typ host
a=candidate:2 1 udp 1694498815 203.0.113.4 6000 typ srflx raddr 10.0.0.2 rport 4000
a=candidate:3 1 udp 2130706431 5b5a2b1c.local 6001 typ host
a=candidate:4 1 tcp 2130706431 10.0.0.2 9 typ host tcptype active
a=candidate:5 1 udp 2130706431 2001:db8::5 6002 typ host
`))
	if err != nil {
		t.Fatal(err)
	}
	m := session.Media[0]
	if want := places("10.0.0.2:4000", "203.0.113.4:6000", "[2001:db8::5]:6002"); !slices.Equal(m.Candidates, want) || !m.Muxed {
		t.Errorf("candidates %v, muxed %v; want %v", m.Candidates, m.Muxed, want)
	}
}

func TestReadRefuses(t *testing.T) {
	address := "c=IN IP4 192.0.2.1\n"
	audio := address + "m=audio 4000 RTP/AVP 0\n"
	for name, text := range map[string]string{
		"nothing":                "",
		"no version":             "o=- 1 1 IN IP4 192.0.2.1",
		"version 1":              "v=1",
		"a second version":       head + "v=0",
		"a blank line":           head + "\n" + audio,
		"a line of one letter":   head + "m\n" + audio,
		"upper case":             head + "C=IN IP4 192.0.2.1",
		"a space before":         head + " c=IN IP4 192.0.2.1",
		"a bare CR":              head + "c=IN IP4 192.0.2.1\rm=audio 4000 RTP/AVP 0",
		"a NUL":                  head + "c=IN IP4 192.0.2.1\x00",
		"no address":             head + "m=audio 4000 RTP/AVP 0",
		"a name":                 head + "c=IN IP4 media.example\nm=audio 4000 RTP/AVP 0",
		"the wrong family":       head + "c=IN IP6 192.0.2.1",
		"octal":                  head + "c=IN IP4 192.0.02.1",
		"hexadecimal":            head + "c=IN IP4 0xc0000201",
		"mapped":                 head + "c=IN IP6 ::ffff:192.0.2.1",
		"a zone":                 head + "c=IN IP6 fe80::1%eth0",
		"multicast":              head + "c=IN IP4 224.2.1.1/127",
		"a telephone's network":  head + "c=TN RFC2543 +1-201-406-4090",
		"two spaces":             head + "c=IN  IP4 192.0.2.1",
		"two addresses":          head + address + address,
		"two of its own":         head + audio + address + address,
		"port 65536":             head + address + "m=audio 65536 RTP/AVP 0",
		"a negative port":        head + address + "m=audio -1 RTP/AVP 0",
		"a signed port":          head + address + "m=audio +4000 RTP/AVP 0",
		"no count":               head + address + "m=audio 4000/ RTP/AVP 0",
		"no ports":               head + address + "m=audio 4000/0 RTP/AVP 0",
		"many ports":             head + address + "m=audio 4000/5 RTP/AVP 0",
		"ports beyond the last":  head + address + "m=audio 65534/2 RTP/AVP 0",
		"no format":              head + address + "m=audio 4000 RTP/AVP",
		"two rtcp":               head + audio + "a=rtcp:1\na=rtcp:2",
		"a bad rtcp":             head + audio + "a=rtcp:x",
		"a rtcp of a name":       head + audio + "a=rtcp:1 IN IP4 media.example",
		"a short candidate":      head + audio + "a=candidate:1 1 udp 1 192.0.2.1 4000",
		"a candidate's bad port": head + audio + "a=candidate:1 1 udp 1 192.0.2.1 x typ host",
		"many media":             head + address + strings.Repeat("m=audio 4000 RTP/AVP 0\n", MaxMedia+1),
		"many lines":             head + strings.Repeat("b=AS:1\n", maxLines),
		"many bytes":             head + strings.Repeat("b=AS:1111111111111111111111111111111111\n", 2000),
	} {
		if session, err := Read([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, session)
		}
	}
}

// FuzzRead: whatever is read stays within the bounds, and names places that a
// packet can go to.
func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "c=IN IP4 192.0.2.1\nm=audio 4000/2 RTP/AVP 0\na=rtcp:4001\na=candidate:1 1 udp 1 192.0.2.1 4000 typ host\n"))
	f.Add([]byte(head + "c=IN IP6 2001:db8::1\na=inactive\nm=image 65535 udptl t38\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		session, err := Read(body)
		if err != nil {
			return
		}
		if len(session.Media) > MaxMedia {
			t.Fatalf("%d media", len(session.Media))
		}
		for _, m := range session.Media {
			media, control := m.Endpoints(nil, nil)
			if len(media) > MaxPorts || len(control) > MaxPorts || len(m.Candidates) > MaxCandidates {
				t.Fatalf("beyond the bounds: %+v", m)
			}
			for _, one := range slices.Concat(media, control, m.Candidates) {
				if !one.IsValid() || one.Port() == 0 || one.Addr().IsUnspecified() || one.Addr().IsMulticast() {
					t.Fatalf("%v is no place, of %s", one, fmt.Sprintf("%+v", m))
				}
			}
		}
	})
}
