package inspector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// datagramMax is the largest UDP payload, bytes.
const datagramMax = 65535

// udpSocket is one listening UDP socket. A wildcard socket learns from
// IP_PKTINFO which of the box's addresses each datagram was sent to, and
// answers from that one. One wildcard socket rather than one socket per address
// because addresses come and go with DHCP while calls are up.
//
// Its reader waits in the kernel, on a thread of its own, and not in Go's poller: with
// that every datagram woke a thread to hear that the reader was at work already, and
// each short pause between two of them woke the runtime's monitor, which together
// were a tenth of what a call costs.
type udpSocket struct {
	bound netip.AddrPort

	mu     sync.RWMutex // held while fd is in use: its number may be another file's later
	fd     int
	closed bool

	// transparent means that it takes what was sent to other hosts, and sends in
	// their name.
	transparent bool
	ear         *ear
}

// listenUDP binds one address. IPv6 sockets take no IPv4-mapped traffic, so
// that every source has one spelling.
func listenUDP(ctx context.Context, at netip.AddrPort) (*udpSocket, error) {
	config := net.ListenConfig{Control: prepare}
	packet, err := config.ListenPacket(ctx, networkOf("udp", at.Addr()), at.String())
	if err != nil {
		return nil, fmt.Errorf("listen on udp %s: %w", at, err)
	}
	return takeUDP(packet.(*net.UDPConn))
}

// sendWait is how long a datagram waits for room where the way out is congested.
const sendWait = 250 * time.Millisecond

// takeUDP takes a socket out of Go's hands, and closes what is left there.
func takeUDP(conn *net.UDPConn) (*udpSocket, error) {
	defer func() { _ = conn.Close() }()
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s := &udpSocket{bound: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), fd: -1}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("take the socket of udp %s: %w", bound, err)
	}
	err = setOptions(raw, func(fd int) (err error) {
		if s.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err
		}
		wait := unix.NsecToTimeval(int64(sendWait))
		return errors.Join(unix.SetNonblock(s.fd, false), unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait))
	})
	if err != nil {
		s.free()
		return nil, fmt.Errorf("take the socket of udp %s: %w", bound, err)
	}
	return s, nil
}

// close ends the reader and refuses to send. The socket itself goes with free, which
// the reader calls last, or whoever has started none.
func (s *udpSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.fd >= 0 {
		_ = unix.Shutdown(s.fd, unix.SHUT_RD) // says that there is no connection, and wakes the reader all the same
	}
}

func (s *udpSocket) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
	s.closed = true
}

// control runs set on the socket.
func (s *udpSocket) control(set func(fd int) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return net.ErrClosed
	}
	return set(s.fd)
}

// networkOf returns "udp4", "udp6", "tcp4" or "tcp6".
func networkOf(transport string, addr netip.Addr) string {
	if addr.Is4() {
		return transport + "4"
	}
	return transport + "6"
}

// receiveBuffer is room for the burst that comes when power or internet return
// to an office full of phones, bytes.
const receiveBuffer = 4 << 20

// prepare asks for packet information and, where the process may, for more
// buffer than net.core.rmem_max.
func prepare(network, _ string, raw syscall.RawConn) error {
	var failure error
	err := raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		if network == "udp4" {
			// A message larger than a path takes is cut by the routers on it: many
			// paths swallow the ICMP that would say how small it has to be.
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
			failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			return
		}
		failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
	if err != nil {
		return err
	}
	return failure
}

// receive reads one datagram into buf. A datagram that was sent to a broadcast
// or multicast address has no local address to answer from: local is invalid.
func (s *udpSocket) receive(buf, control []byte) (n int, from flow, err error) {
	n, controlLen, flags, remote, err := syscall.Recvmsg(s.fd, buf, control, 0) // only the reader frees it
	if err != nil {
		return 0, flow{}, err
	}
	from = flow{transport: "udp", socket: s, remote: addrPortOf(remote)}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return 0, from, nil
	}
	if local := addressedTo(control[:controlLen]); local.IsValid() {
		from.local = netip.AddrPortFrom(local, s.bound.Port())
	}
	return n, from, nil
}

// ended reports whether the socket has been closed.
func (s *udpSocket) ended() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// addressedTo reads the destination out of the packet information (ip(7),
// ipv6(7)). It is invalid where the destination is no unicast address of ours.
func addressedTo(control []byte) netip.Addr {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return netip.Addr{}
		}
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: ifindex, ipi_spec_dst (the local address), ipi_addr
			// (the destination in the header): they differ for a broadcast.
			local, sent := netip.AddrFrom4([4]byte(data[4:8])), netip.AddrFrom4([4]byte(data[8:12]))
			if local != sent {
				return netip.Addr{}
			}
			return local
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			local := netip.AddrFrom16([16]byte(data[:16]))
			if local.IsMulticast() {
				return netip.Addr{}
			}
			return local
		}
		control = rest
	}
	return netip.Addr{}
}

// send writes one datagram from local to remote.
func (s *udpSocket) send(wire []byte, local netip.Addr, remote netip.AddrPort) error {
	err := s.control(func(fd int) error {
		control, to := s.sourceControl(local), sockaddrOf(remote)
		for {
			// A wait that is bounded is not taken up again after a signal (signal(7)), and
			// Go's scheduler sends many.
			if _, err := syscall.SendmsgN(fd, wire, control, to, 0); err != syscall.EINTR {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("send to udp %s: %w", remote, err)
	}
	return nil
}

// addrPortOf reads an address of the kernel's. A zone is the number of its interface.
func addrPortOf(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return netip.AddrPortFrom(addr, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// sockaddrOf writes one.
func sockaddrOf(at netip.AddrPort) syscall.Sockaddr {
	if at.Addr().Is4() {
		return &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &syscall.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16(), ZoneId: zoneID(at.Addr().Zone())}
}

// zoneID is the number of a zone's interface, 0 for none.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	link, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(link.Index)
}

// sourceControl asks the kernel to send from local, where it would not by itself.
func (s *udpSocket) sourceControl(local netip.Addr) []byte {
	if local == s.bound.Addr() {
		return nil
	}
	if local.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: local.As16()})
}
