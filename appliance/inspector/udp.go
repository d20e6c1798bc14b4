package inspector

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// datagramMax is the largest UDP payload, bytes.
const datagramMax = 65535

// udpSocket is one listening UDP socket. A wildcard socket learns from
// IP_PKTINFO which of the box's addresses each datagram was sent to, and
// answers from that one. One wildcard socket rather than one socket per address
// because addresses come and go with DHCP while calls are up.
type udpSocket struct {
	conn  *net.UDPConn
	bound netip.AddrPort
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
	conn := packet.(*net.UDPConn)
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &udpSocket{conn: conn, bound: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())}, nil
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
	n, controlLen, flags, remote, err := s.conn.ReadMsgUDPAddrPort(buf, control)
	if err != nil {
		return 0, flow{}, err
	}
	from = flow{transport: "udp", socket: s, remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return 0, from, nil
	}
	if local := addressedTo(control[:controlLen]); local.IsValid() {
		from.local = netip.AddrPortFrom(local, s.bound.Port())
	}
	return n, from, nil
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
	_, _, err := s.conn.WriteMsgUDPAddrPort(wire, s.sourceControl(local), remote)
	if err != nil {
		return fmt.Errorf("send to udp %s: %w", remote, err)
	}
	return nil
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
