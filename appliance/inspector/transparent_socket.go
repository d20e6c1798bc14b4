package inspector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// interceptor holds the sockets of transparent mode: one for UDP and one for TCP
// for each intercepted port and address family, however many telephones there are.
// The socket of a port takes what was sent to that port of any host, and sends
// from that port in the name of any host.
type interceptor struct {
	sockets   []*udpSocket
	acceptors []*net.TCPListener
}

// intercept binds the sockets. They stand beside the listeners on the same ports,
// so those share their port for that moment: afterwards nobody else can bind it.
func (d *door) intercept(ctx context.Context, ports []uint16) error {
	if len(ports) == 0 {
		return nil
	}
	if err := d.share(1); err != nil {
		return err
	}
	for _, ip6 := range []bool{false, true} {
		for _, port := range ports {
			err := d.interceptAt(ctx, netip.AddrPortFrom(rules.Interceptor(ip6), port))
			if ip6 && errors.Is(err, unix.EAFNOSUPPORT) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return d.share(0)
}

func (d *door) interceptAt(ctx context.Context, at netip.AddrPort) error {
	config := net.ListenConfig{Control: prepareTransparent}
	packet, err := config.ListenPacket(ctx, networkOf("udp", at.Addr()), at.String())
	if err != nil {
		return fmt.Errorf("intercept udp port %d: %w", at.Port(), err)
	}
	socket, err := takeUDP(packet.(*net.UDPConn))
	if err != nil {
		return err
	}
	socket.ear, socket.transparent = d.ear, true
	d.through.sockets = append(d.through.sockets, socket)
	listener, err := config.Listen(ctx, networkOf("tcp", at.Addr()), at.String())
	if err != nil {
		return fmt.Errorf("intercept tcp port %d: %w", at.Port(), err)
	}
	d.through.acceptors = append(d.through.acceptors, listener.(*net.TCPListener))
	return nil
}

// prepareTransparent lets a socket take and send packets of any address
// (ip(7), IP_TRANSPARENT), and share its port with a listener of ours.
func prepareTransparent(network, address string, raw syscall.RawConn) error {
	if network[:3] == "udp" {
		if err := prepare(network, address, raw); err != nil {
			return err
		}
	}
	return setOptions(raw, func(fd int) error {
		return errors.Join(transparent(fd, network[3:] == "6"), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
}

func transparent(fd int, ip6 bool) error {
	if ip6 {
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
}

func setOptions(raw syscall.RawConn, set func(fd int) error) error {
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = set(int(fd)) }); err != nil {
		return err
	}
	return failure
}

// share says of every socket whether its port may be bound again. It is said of the
// new ones, too: Linux asks the first that it finds on a port.
func (d *door) share(on int) error {
	set := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, on) }
	var failures []error
	for _, socket := range slices.Concat(d.sockets, d.through.sockets) {
		failures = append(failures, socket.control(set))
	}
	for _, acceptor := range slices.Concat(d.acceptors, d.through.acceptors) {
		raw, err := acceptor.SyscallConn()
		if err == nil {
			err = setOptions(raw, set)
		}
		failures = append(failures, err)
	}
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("share a listener's port: %w", err)
	}
	return nil
}

// serveThrough starts the readers of the intercepted ports.
func (d *door) serveThrough(ctx context.Context) {
	for _, socket := range d.through.sockets {
		d.tasks.Go(func() { d.serveUDP(socket) })
	}
	for _, acceptor := range d.through.acceptors {
		d.tasks.Go(func() { acceptAll(ctx, acceptor, d.acceptThrough) })
	}
}

// acceptThrough admits a connection that was made to another host, which its local
// address is.
func (d *door) acceptThrough(conn *net.TCPConn) {
	local, remote := nearEnd(conn), unmapped(conn.RemoteAddr())
	if !d.inside.welcome(remote) {
		reset(conn)
		return
	}
	stream := d.greeting(conn)
	stream.transparent = true
	if !d.admit(stream, remote) {
		d.inside.crowded()
		reset(conn)
		return
	}
	d.tasks.Go(func() {
		defer d.dismiss(stream)
		d.run(flow{transport: settings.TCP, local: local, remote: remote, stream: stream}, conn)
	})
}

// transparent reports whether there is anything in another's name.
func (d *door) transparent() bool { return len(d.through.sockets) > 0 }

// inNameOf returns a flow to a host of the LAN that seems to come from another:
// from its own port where that is an intercepted one, so that the answer is
// intercepted, else from the first that is. found is false where there is no
// socket for it.
func (d *door) inNameOf(transport settings.Transport, name, at netip.AddrPort) (to flow, found bool, err error) {
	var by *udpSocket
	for _, socket := range d.through.sockets {
		if socket.bound.Addr().Is4() != at.Addr().Is4() || name.Addr().Is4() != at.Addr().Is4() {
			continue
		}
		if by == nil || socket.bound.Port() == name.Port() {
			by = socket
		}
	}
	if by == nil {
		return flow{}, false, nil
	}
	local := netip.AddrPortFrom(name.Addr(), by.bound.Port())
	if transport != settings.TCP {
		return flow{transport: settings.UDP, local: local, remote: at, socket: by}, true, nil
	}
	stream, err := d.streamInNameOf(local, at)
	return flow{transport: settings.TCP, local: local, remote: at, stream: stream}, true, err
}

// pair names a connection that is dialled in another's name.
type pair struct{ name, at netip.AddrPort }

// streamInNameOf returns the connection that was dialled in that name, or dials.
func (d *door) streamInNameOf(local, remote netip.AddrPort) (*connection, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shuttered {
		return nil, errClosed
	}
	key := pair{local, remote}
	if stream, ok := d.dialledAs[key]; ok && !stream.closed() {
		return stream, nil
	}
	if len(d.dialledAs) >= d.bounds.dialled {
		return nil, errBacklog
	}
	stream := newConnection(nil, d.bounds, d.bounds.dialledQueue)
	stream.transparent, stream.ear = true, d.ear
	d.streams[stream] = guest{}
	d.dialledAs[key] = stream
	d.tasks.Go(func() {
		defer d.forgetAs(stream, key)
		d.dialAs(flow{transport: settings.TCP, local: local, remote: remote, stream: stream})
	})
	return stream, nil
}

func (d *door) forgetAs(stream *connection, key pair) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, stream)
	if d.dialledAs[key] == stream {
		delete(d.dialledAs, key)
	}
}

// dialAs is dial from an address that is another host's.
func (d *door) dialAs(to flow) {
	dialer := net.Dialer{
		Timeout: d.bounds.dial, LocalAddr: &net.TCPAddr{IP: to.local.Addr().AsSlice()},
		Control: func(network, _ string, raw syscall.RawConn) error {
			return setOptions(raw, func(fd int) error { return transparent(fd, network[3:] == "6") })
		},
	}
	conn, err := dialer.Dial(networkOf("tcp", to.remote.Addr()), to.remote.String())
	if err != nil {
		to.stream.close(fmt.Errorf("dial tcp %s in the name of %s: %w", to.remote, to.local.Addr(), err))
		to.stream.drain()
		return
	}
	if !to.stream.opened(conn) {
		_ = conn.Close()
		to.stream.drain()
		return
	}
	d.run(to, conn)
}

// shut closes the listeners for TCP.
func (t *interceptor) shut() {
	for _, acceptor := range t.acceptors {
		_ = acceptor.Close()
	}
}

// listeners names the sockets, such as "udp 192.0.0.8:5060".
func (t *interceptor) listeners() []string {
	var all []string
	for _, socket := range t.sockets {
		all = append(all, "udp "+socket.bound.String(), "tcp "+socket.bound.String())
	}
	return all
}
