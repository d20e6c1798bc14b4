package gate

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

var localPorts = flag.Int("ports", 65535, "how many local ports TestReplies goes through, beside those that are guarded")

// portsToTry is that many of all ports, evenly, and every one that is guarded.
func portsToTry(n int) (all []uint16) {
	step := max(1, 65535/max(1, n))
	for port := 1; port <= 65535; port += step {
		all = append(all, uint16(port))
	}
	all = append(all, rules.StandardPorts()...)
	slices.Sort(all)
	return slices.Compact(all)
}

// TestReplies opens flows from every local port, by NAT and by the box itself,
// to a server that is on no list, and wants every answer. Whoever wasn't asked
// stays outside.
func TestReplies(t *testing.T) {
	for _, mode := range []Mode{ModeNative, ModeStack} {
		t.Run(string(mode), func(t *testing.T) {
			w := newTown(t, mode == ModeStack)
			w.masquerade()
			g, _ := w.open("wan")
			w.wants(g, mode, false)
			check(t, g.swap(townGuard(), "abcd"))
			for i, trip := range []struct {
				name, from     string
				kind           int
				source, remote netip.Addr
				ports          int
			}{
				{"UDP of the LAN, by NAT", w.lan, unix.SOCK_DGRAM, lanTown, serverTown, *localPorts},
				{"TCP of the LAN, by NAT", w.lan, unix.SOCK_STREAM, lanTown, serverTown, *localPorts},
				{"UDP of the box", w.box, unix.SOCK_DGRAM, boxTown, serverTown, *localPorts},
				{"TCP of the box", w.box, unix.SOCK_STREAM, boxTown, serverTown, *localPorts},
				{"UDP of the LAN, IPv6", w.lan, unix.SOCK_DGRAM, lanTown6, serverTown6, 1000},
				{"TCP of the LAN, IPv6", w.lan, unix.SOCK_STREAM, lanTown6, serverTown6, 1000},
			} {
				began := time.Now()
				server := netip.AddrPortFrom(trip.remote, uint16(7000+i))
				w.serve(trip.kind, server)
				ports := portsToTry(trip.ports)
				for batch := range slices.Chunk(ports, 64) {
					w.roundTrip(trip.name, trip.from, trip.kind, trip.source, batch, server)
				}
				w.hears(trip.name, false)
				w.knocks(g, server)
				t.Logf("%s: answers to %d ports in %v", trip.name, len(ports), time.Since(began).Round(time.Millisecond))
			}
		})
	}
}

// serve tells whoever comes the port that it was seen to come from.
func (w *town) serve(kind int, at netip.AddrPort) {
	w.Helper()
	if kind == unix.SOCK_DGRAM {
		conn := w.listen(w.outside, at)
		go func() {
			for buffer := make([]byte, 64); ; {
				_, from, err := conn.ReadFromUDPAddrPort(buffer)
				if errors.Is(err, net.ErrClosed) {
					return
				} else if err == nil {
					_, _ = conn.WriteToUDPAddrPort(binary.BigEndian.AppendUint16(nil, from.Port()), from)
				}
			}
		}()
		return
	}
	w.in(w.outside, func() {
		listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		check(w, err)
		w.Cleanup(func() { check(w, listener.Close()) })
		go func() {
			for {
				conn, err := listener.AcceptTCP()
				if err != nil {
					return
				}
				_, _ = conn.Write(binary.BigEndian.AppendUint16(nil, conn.RemoteAddr().(*net.TCPAddr).AddrPort().Port()))
				_ = conn.Close()
			}
		}()
	})
}

// roundTrip goes to the server from each port and wants its word that the port
// was seen outside. What conntrack remembers is emptied, lest its table fill.
func (w *town) roundTrip(name, from string, kind int, source netip.Addr, ports []uint16, server netip.AddrPort) {
	w.Helper()
	fds := make([]int, len(ports))
	w.in(from, func() {
		for i, port := range ports {
			fds[i] = w.depart(kind, netip.AddrPortFrom(source, port), server)
		}
	})
	for i, port := range ports {
		answer := make([]byte, 2)
		if n, err := patiently(func() (int, error) { return unix.Read(fds[i], answer) }); err != nil || n != 2 || binary.BigEndian.Uint16(answer) != port {
			w.Fatalf("%s, port %d: the answer is % x, err %v", name, port, answer[:max(0, n)], err)
		}
		check(w, unix.Close(fds[i]))
	}
	_ = netlink.ConntrackTableFlush(netlink.ConntrackTable) // where there is one
}

func (w *town) depart(kind int, from, to netip.AddrPort) int {
	w.Helper()
	family, local, remote := unix.AF_INET, sockaddr(from), sockaddr(to)
	if from.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	check(w, err)
	check(w, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	check(w, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})) // no TIME_WAIT
	timeout(w, fd)
	check(w, unix.Bind(fd, local))
	if err := unix.Connect(fd, remote); err != nil && err != unix.EINPROGRESS {
		check(w, fmt.Errorf("connect from %v: %w", from, err))
	}
	if kind == unix.SOCK_DGRAM {
		_, err := unix.Write(fd, []byte("?"))
		check(w, err)
	}
	check(w, unix.SetNonblock(fd, false))
	return fd
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// knocks has those knock at every guarded port whom nobody asked: a stranger,
// and another port of a server that was.
func (w *town) knocks(g *Gate, server netip.AddrPort) {
	w.Helper()
	remotes := []netip.Addr{strangerTown, serverTown}
	before := tallyOf(w, g, appliance.ReasonSIPSource) + tallyOf(w, g, appliance.ReasonHTTPSource)
	for _, remote := range remotes {
		conn := w.listen(w.outside, netip.AddrPortFrom(remote, server.Port()+100))
		for _, port := range rules.StandardPorts() {
			_, err := conn.WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(boxTown, port))
			check(w, err)
		}
	}
	want := before + uint64(len(remotes)*len(rules.StandardPorts()))
	soon(w, "all knocks are dropped", func() bool {
		return tallyOf(w, g, appliance.ReasonSIPSource)+tallyOf(w, g, appliance.ReasonHTTPSource) == want
	})
}

// Streams that begin at guarded ports carry data both ways.
func TestRepliesCarryData(t *testing.T) {
	w := newTown(t, false)
	w.masquerade()
	g, _ := w.open("wan")
	check(t, g.swap(townGuard(), "abcd"))
	listener := w.accept(netip.AddrPortFrom(serverTown, 443))
	const size = 1 << 20
	for _, port := range rules.StandardPorts() {
		var conn net.Conn
		w.in(w.lan, func() {
			dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(lanTown, port)), Timeout: patience}
			var err error
			conn, err = dialer.Dial("tcp", listener.Addr().String())
			check(t, err)
		})
		check(t, conn.SetDeadline(time.Now().Add(patience)))
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(make([]byte, size))
			sent <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
		}()
		n, err := io.Copy(io.Discard, conn)
		if sendErr := <-sent; err != nil || sendErr != nil || n != size {
			t.Errorf("port %d: %d bytes came back: %v, %v", port, n, err, sendErr)
		}
		check(t, conn.Close())
	}
	if tallyOf(t, g, appliance.ReasonReply) == 0 {
		t.Error("no packet was counted as a reply")
	}
}

// accept echoes streams.
func (w *town) accept(at netip.AddrPort) (listener *net.TCPListener) {
	w.Helper()
	w.in(w.outside, func() {
		var err error
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		check(w, err)
	})
	w.Cleanup(func() { check(w, listener.Close()) })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener
}

// TestTunnelsThatBeganInside sends what carries packets from the LAN by NAT to a
// peer that no document names.
func TestTunnelsThatBeganInside(t *testing.T) {
	w := newTown(t, false)
	w.masquerade()
	g, _ := w.open("wan")
	check(t, g.swap(townGuard(), "abcd"))
	inner4 := frame{source: stranger4, protocol: protoUDP, port: 40000, payload: 8}.packet()
	inner6 := frame{source: stranger6, protocol: protoUDP, port: 40000, payload: 8}.packet()
	hidden := frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 8}.packet()
	for _, c := range []struct {
		name                    string
		protocol                int
		payload, answer, refuse []byte
	}{
		{"GRE", protoGRE, append([]byte{0, 0, 8, 0}, inner4...), append([]byte{0, 0, 8, 0}, inner4...), append([]byte{0, 0, 8, 0}, hidden...)},
		{"6in4", proto6in4, inner6, inner6, nil},
	} {
		inside, peer := w.raw(w.lan, c.protocol), w.raw(w.outside, c.protocol)
		before := tallyOf(t, g, appliance.ReasonTunnelSource)
		check(t, unix.Sendto(peer, c.answer, 0, sockaddr(netip.AddrPortFrom(boxTown, 0))))
		soon(t, c.name+" of a stranger is dropped", func() bool { return tallyOf(t, g, appliance.ReasonTunnelSource) == before+1 })
		check(t, unix.Sendto(inside, c.payload, 0, sockaddr(netip.AddrPortFrom(serverTown, 0))))
		if from, got := receive(t, peer); from != boxTown || string(got) != string(c.payload) {
			t.Fatalf("%s: the peer got % x from %v", c.name, got, from)
		}
		if c.refuse != nil { // what is inside is judged all the same
			check(t, unix.Sendto(peer, c.refuse, 0, sockaddr(netip.AddrPortFrom(boxTown, 0))))
		}
		check(t, unix.Sendto(peer, c.answer, 0, sockaddr(netip.AddrPortFrom(boxTown, 0))))
		if from, got := receive(t, inside); from != serverTown || string(got) != string(c.answer) {
			t.Fatalf("%s: the LAN got % x from %v", c.name, got, from)
		}
	}
	if got := tallyOf(t, g, appliance.ReasonSIPSource); got != 1 {
		t.Errorf("%d hidden packets were dropped, want 1", got)
	}
}

// raw is a socket of an IP protocol. Outside it is the server's.
func (w *town) raw(namespace string, protocol int) (fd int) {
	w.Helper()
	w.in(namespace, func() {
		var err error
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		check(w, err)
		if namespace == w.outside {
			check(w, unix.Bind(fd, sockaddr(netip.AddrPortFrom(serverTown, 0))))
		}
	})
	timeout(w, fd)
	w.Cleanup(func() { check(w, unix.Close(fd)) })
	return fd
}

func receive(t testing.TB, fd int) (from netip.Addr, payload []byte) {
	t.Helper()
	buffer := make([]byte, 2048)
	var source unix.Sockaddr
	n, err := patiently(func() (n int, err error) { n, source, err = unix.Recvfrom(fd, buffer, 0); return n, err })
	check(t, err)
	return netip.AddrFrom4(source.(*unix.SockaddrInet4).Addr), buffer[20:n] // after the IP header
}

// Whoever is only answered has no flow: off the allowlist, he stays outside.
func TestAnswersBeginNoFlow(t *testing.T) {
	w := newTown(t, false)
	g, _ := w.open("wan")
	check(t, g.swap(townGuard(strangerTown), "both"))
	w.hears("while both are allowed", true)
	stranger := netip.AddrPortFrom(strangerTown, 5060)
	for _, text := range []string{
		"SIP/2.0 200 OK\r\n\r\n",
		"OPTIONS sip:stranger SIP/2.0\r\n\r\n", // nor does who may come in anyway need one
	} {
		_, err := w.phone.WriteToUDPAddrPort([]byte(text), stranger)
		check(t, err)
		w.arrives(strangerTown, text)
	}
	caller, called := w.connect(stranger)
	check(t, g.swap(townGuard(), "one"))
	w.hears("off the list", false)
	// An answer now makes none either, nor does more of the same connection.
	_, err := w.phone.WriteToUDPAddrPort([]byte("SIP/2.0 200 OK\r\n\r\n"), stranger)
	check(t, err)
	_, err = called.Write([]byte("more"))
	check(t, err)
	before := tallyOf(t, g, appliance.ReasonSIPSource)
	_, err = caller.Write([]byte("more"))
	check(t, err)
	soon(t, "the connection's packets are dropped", func() bool { return tallyOf(t, g, appliance.ReasonSIPSource) > before })
	w.hears("off the list and answered", false)
	check(t, called.SetReadDeadline(time.Now().Add(-time.Second)))
	if n, err := called.Read(make([]byte, 8)); n > 0 || err == nil {
		t.Errorf("%d bytes came through, err %v", n, err)
	}
	// What begins inside now is a flow, which a ban cuts.
	_, err = w.phone.WriteToUDPAddrPort([]byte("REGISTER sip:stranger SIP/2.0\r\n\r\n"), stranger)
	check(t, err)
	w.hears("asked", true)
	check(t, g.Ban(appliance.Ban{Source: netip.PrefixFrom(strangerTown, 32), Until: time.Now().Add(time.Hour)}))
	w.hears("banned", false)
	check(t, g.Unban(netip.PrefixFrom(strangerTown, 32)))
	w.hears("no longer banned", true)
}

// arrives wants somebody outside to get a datagram of the telephone.
func (w *town) arrives(at netip.Addr, text string) {
	w.Helper()
	check(w, w.calls[at].SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 2048)
	n, err := w.calls[at].Read(buffer)
	check(w, err)
	if string(buffer[:n]) != text {
		w.Fatalf("%v got %q, want %q", at, buffer[:n], text)
	}
}

// connect has somebody outside connect to the box's port 5060.
func (w *town) connect(from netip.AddrPort) (caller, called net.Conn) {
	w.Helper()
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(boxTown, 5060)))
	check(w, err)
	w.in(w.outside, func() {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: patience}
		caller, err = dialer.Dial("tcp", listener.Addr().String())
		check(w, err)
	})
	called, err = listener.Accept()
	check(w, err)
	check(w, listener.Close())
	w.Cleanup(func() { check(w, errors.Join(caller.Close(), called.Close())) })
	return caller, called
}
