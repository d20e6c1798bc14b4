package inspector

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/settings"
)

// visitors is who the door opens to.
type visitors interface {
	// welcome reports whether a TCP connection from an address is taken at all.
	welcome(netip.AddrPort) bool
	// receive takes one datagram. It must not keep data.
	receive(from flow, data []byte)
	// received takes one message from a connection, and reports whether the
	// connection may go on.
	received(from flow, m *message.Message) bool
	// broken hears why a connection can't be read any further; start is what came
	// since the last message, as far as that is known.
	broken(from flow, start []byte, cause error)
	// local reports whether an address is on the LAN.
	local(netip.AddrPort) bool
	// mistrusted hears of an accepted connection on which no TLS was agreed.
	mistrusted(remote netip.AddrPort, cause error)
	// place says by which addresses an accepted connection is counted, and whether it
	// is one that places are kept for.
	place(remote netip.AddrPort) (block netip.Prefix, kept bool)
	// crowded hears of a connection turned away because a table is full. It must not
	// ask the door for anything.
	crowded()
}

// door owns every socket: UDP and TCP on each listening address, TLS on those for
// it, and the connections that it dials.
type door struct {
	bounds  limits
	inside  visitors
	keys    func() Keys
	wanted  []netip.AddrPort // to listen on for TLS
	ear     *ear
	sockets []*udpSocket

	acceptors []*net.TCPListener
	through   interceptor
	routes    *routes
	tasks     sync.WaitGroup

	mu        sync.Mutex
	streams   map[*connection]guest // every open connection
	accepted  map[netip.Prefix]int  // how many of them, by whose places they take
	guests    int                   // and in all
	dialled   map[dialKey]*connection
	aliases   map[dialKey]*connection // accepted ones that stand for a neighbour's listening address
	securely  []secureListener
	trouble   error                // why there are fewer listeners for TLS than wanted
	dialledAs map[pair]*connection // in another's name
	shuttered bool
	serving   bool // every UDP socket has a reader
}

func newDoor(bounds limits, inside visitors, keys func() Keys) *door {
	return &door{
		bounds: bounds, inside: inside, keys: keys,
		routes:    newRoutes(bounds.route),
		streams:   make(map[*connection]guest),
		accepted:  make(map[netip.Prefix]int),
		dialled:   make(map[dialKey]*connection),
		dialledAs: make(map[pair]*connection),
		aliases:   make(map[dialKey]*connection),
	}
}

// open binds every address for UDP and TCP, or none, and those for TLS as far as
// they can be had.
func (d *door) open(ctx context.Context, addresses, secure []netip.AddrPort) error {
	for _, at := range addresses {
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		socket, err := listenUDP(ctx, at)
		if err != nil {
			d.shut()
			return err
		}
		socket.ear = d.ear
		d.sockets = append(d.sockets, socket)
		// Port 0 asks for any port: TCP then follows UDP.
		acceptor, err := listenTCP(ctx, socket.bound)
		if err != nil {
			d.shut()
			return err
		}
		d.acceptors = append(d.acceptors, acceptor)
	}
	d.wanted = secure
	d.openSecure(ctx)
	return nil
}

func listenTCP(ctx context.Context, at netip.AddrPort) (*net.TCPListener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, networkOf("tcp", at.Addr()), at.String())
	if err != nil {
		return nil, fmt.Errorf("listen on tcp %s: %w", at, err)
	}
	return listener.(*net.TCPListener), nil
}

// serve reads until ctx ends, then closes everything and waits for every
// goroutine that it started.
func (d *door) serve(ctx context.Context) {
	d.serving = true
	for _, socket := range d.sockets {
		d.tasks.Go(func() { d.serveUDP(socket) })
	}
	for _, acceptor := range d.acceptors {
		d.tasks.Go(func() { d.serveTCP(ctx, acceptor, false) })
	}
	d.tasks.Go(func() { d.serveSecure(ctx) })
	d.serveThrough(ctx)
	<-ctx.Done()
	d.shut()
	d.tasks.Wait()
}

func (d *door) shut() {
	for _, socket := range slices.Concat(d.sockets, d.through.sockets) {
		socket.close()
		if !d.serving {
			socket.free()
		}
	}
	for _, acceptor := range d.acceptors {
		_ = acceptor.Close()
	}
	d.through.shut()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shuttered = true
	for _, one := range d.securely {
		_ = one.acceptor.Close()
	}
	for stream := range d.streams {
		stream.close(errClosed)
	}
}

// serveUDP reads one socket. Messages are handled in the order in which they
// came: an INVITE and its CANCEL sent back to back must not overtake each other.
func (d *door) serveUDP(socket *udpSocket) {
	defer socket.free()
	buf, control := make([]byte, datagramMax), make([]byte, 128)
	for {
		n, from, err := socket.receive(buf, control)
		if socket.ended() {
			return
		}
		// Any other error is a report about a datagram sent earlier (ICMP port
		// unreachable, EMSGSIZE): the socket goes on.
		if err != nil || !from.local.IsValid() {
			continue
		}
		d.inside.receive(from, buf[:n])
	}
}

// toward returns a flow to a neighbour that we write to first. For TCP it is
// the open connection to that address, or a new one that is being dialled.
func (d *door) toward(transport settings.Transport, remote netip.AddrPort) (flow, error) {
	return d.towardPeer(transport, remote, peer{})
}

// towardPeer is toward for a neighbour that TLS may be spoken to: who is whom its
// certificate must prove it to be.
func (d *door) towardPeer(transport settings.Transport, remote netip.AddrPort, who peer) (flow, error) {
	to, err := d.course(transport, remote, who)
	if err != nil || to.socket != nil {
		return to, err
	}
	if to.stream, err = d.streamToward(to); err != nil {
		return flow{}, err
	}
	return to, nil
}

// opened is towardPeer over TCP or TLS where a connection is open already. The
// boolean is false where there is none.
func (d *door) opened(transport settings.Transport, remote netip.AddrPort, who peer) (flow, bool) {
	to, err := d.course(transport, remote, who)
	if err != nil || to.socket != nil {
		return flow{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	to.stream = d.openLocked(to.key())
	return to, to.stream != nil
}

// course is a flow but for its connection: over UDP that is all of it.
func (d *door) course(transport settings.Transport, remote netip.AddrPort, who peer) (flow, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	socket, local, err := d.socketToward(remote.Addr())
	if err != nil {
		return flow{}, err
	}
	switch transport {
	case settings.TCP:
		return flow{transport: settings.TCP, local: local, remote: remote}, nil
	case settings.TLS:
		return flow{transport: settings.TLS, local: d.secureLocal(local.Addr()), remote: remote, peer: who}, nil
	}
	return flow{transport: settings.UDP, local: local, remote: remote, socket: socket}, nil
}

// socketToward chooses the listening socket and the local address that reach
// remote: the address that the routing table says, on the socket bound to it or
// else on the wildcard; where neither exists, the first socket of the family.
func (d *door) socketToward(remote netip.Addr) (*udpSocket, netip.AddrPort, error) {
	local, err := d.routes.local(remote)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	var wildcard, first *udpSocket
	for _, socket := range d.sockets {
		bound := socket.bound.Addr()
		switch {
		case bound.Is4() != remote.Is4():
		case bound == local:
			return socket, socket.bound, nil
		case bound.IsUnspecified() && wildcard == nil:
			wildcard = socket
		case first == nil:
			first = socket
		}
	}
	if wildcard != nil {
		return wildcard, netip.AddrPortFrom(local, wildcard.bound.Port()), nil
	}
	if first != nil && !first.bound.Addr().IsUnspecified() {
		return first, first.bound, nil
	}
	return nil, netip.AddrPort{}, fmt.Errorf("send to %s: no listener of its address family", remote)
}

// listeners names every listening address, such as "udp 192.0.2.1:5060".
func (d *door) listeners() []string {
	var all []string
	for _, socket := range d.sockets {
		all = append(all, "udp "+socket.bound.String(), "tcp "+socket.bound.String())
	}
	d.mu.Lock()
	for _, one := range d.securely {
		all = append(all, "tls "+one.bound().String())
	}
	d.mu.Unlock()
	return append(all, d.through.listeners()...)
}

// ours reports whether addr is an address of the box, whatever the port.
func (d *door) ours(addr netip.Addr) bool {
	for _, socket := range d.sockets {
		if socket.bound.Addr() == addr {
			return true
		}
	}
	return d.routes.ours(addr)
}

// owns reports whether host and port name one of our own listening addresses.
// A wildcard listener owns every address that the box has used as a local one.
func (d *door) owns(at netip.AddrPort) bool {
	for _, socket := range d.sockets {
		if d.holds(socket.bound, at) {
			return true
		}
	}
	return d.ownsSecurely(at)
}

// holds reports whether a listener bound to an address answers at another.
func (d *door) holds(bound, at netip.AddrPort) bool {
	return bound == at || bound.Addr().IsUnspecified() && bound.Port() == at.Port() &&
		bound.Addr().Is4() == at.Addr().Is4() && d.routes.ours(at.Addr())
}
