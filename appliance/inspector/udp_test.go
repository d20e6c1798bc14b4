package inspector

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

// TestSockaddr: an address that the kernel gave goes back to it as it came.
func TestSockaddr(t *testing.T) {
	for _, text := range []string{"192.0.2.1:5060", "[2001:db8::1]:5061", "[fe80::1%7]:50600"} {
		at := netip.MustParseAddrPort(text)
		if got := addrPortOf(sockaddrOf(at)); got != at {
			t.Errorf("%s became %s", at, got)
		}
	}
	link, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if got := zoneID("lo"); got != uint32(link.Index) {
		t.Errorf("lo is number %d, want %d", got, link.Index)
	}
	if got := addrPortOf(nil); got.IsValid() {
		t.Errorf("no address became %s", got)
	}
}

// TestClosedSocket: closing ends the reader, which frees the socket, and nothing is
// sent by its number any more.
func TestClosedSocket(t *testing.T) {
	s, err := listenUDP(context.Background(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.send([]byte("x"), s.bound.Addr(), s.bound); err != nil {
		t.Fatal(err)
	}
	read, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer s.free()
		buf, control := make([]byte, 16), make([]byte, 128)
		if n, from, err := s.receive(buf, control); err != nil || n != 1 || from.remote != s.bound || from.local != s.bound {
			t.Errorf("read %d bytes of %+v, %v", n, from, err)
		}
		close(read)
		for !s.ended() {
			_, _, _ = s.receive(buf, control) // waits until it is closed
		}
	}()
	<-read
	s.close()
	<-ended
	if err := s.send([]byte("x"), s.bound.Addr(), s.bound); !errors.Is(err, net.ErrClosed) {
		t.Errorf("sent after the end: %v", err)
	}
	if s.fd >= 0 {
		t.Error("the socket is still open")
	}
}
