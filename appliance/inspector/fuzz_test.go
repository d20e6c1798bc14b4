package inspector

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// FuzzReceive sends arbitrary datagrams as the PBX and reads what leaves for the
// trunk: it must be a message that our own strict parser takes, and whoever it
// calls must be allowed by the judge. No datagram may make the code panic.
func FuzzReceive(f *testing.F) {
	for _, uri := range []string{mobile, "sip:+252615550148@sip.itsp.example", "tel:0011252615550148", "sip:000@sip.itsp.example"} {
		a := &agent{at: netip.MustParseAddrPort("127.0.0.2:5060"), box: netip.MustParseAddrPort("127.0.0.1:5060")}
		f.Add([]byte(a.wire(a.invite(uri, "seed"))))
		f.Add([]byte(a.wire(strings.ReplaceAll(a.invite(uri, "seed"), "INVITE", "MESSAGE"))))
		f.Add([]byte(a.wire(registerAs("1"))))
		f.Add([]byte(a.wire(cancelOf(a, uri, "seed"))))
		bye := strings.Replace(strings.ReplaceAll(a.invite(uri, "seed"), "INVITE", "BYE"), "To: <"+uri+">", "Route: <sip:$box;lr>\nTo: <"+uri+">;tag=b", 1)
		f.Add([]byte(a.wire(bye)))
	}
	s := newSite(f)
	trunk, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.itspAt))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { trunk.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		from := flow{transport: "udp", local: s.box, remote: s.pbxAt, socket: s.in.door.sockets[0]}
		s.in.receive(from, data)
		for _, sent := range waiting(t, trunk) {
			s.judgeSent(t, sent)
		}
		s.in.txs.shed(time.Now())
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Kind == appliance.EventDaemon {
				t.Fatalf("%s, for %q", e.Message, data)
			}
		}
		s.events = s.events[:0]
	})
}

func (s *site) judgeSent(t *testing.T, sent []byte) {
	m, err := message.Parse(sent)
	if err != nil {
		t.Fatalf("the trunk got what no strict parser takes: %v\n%q", err, sent)
	}
	if m.Method != "INVITE" && m.Method != "MESSAGE" {
		return
	}
	said := s.in.current().Call(rules.Call{URI: m.URI, Direction: appliance.Outbound, Use: rules.UseCall})
	if said.Verdict != appliance.Allow {
		t.Fatalf("%s reached the trunk, which the judge blocks for %s", m.URI, said.Reason)
	}
}

// waiting returns the datagrams that a socket holds now.
func waiting(t *testing.T, conn *net.UDPConn) [][]byte {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	buf := make([]byte, 65536)
	err = raw.Control(func(fd uintptr) {
		for {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			all = append(all, append([]byte(nil), buf[:n]...))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
