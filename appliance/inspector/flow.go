package inspector

import (
	"net/netip"

	"github.com/ringfence/ringfence/appliance/settings"
)

// flow is the way to one neighbour: over which transport, from which address of
// ours, to which address of theirs, and, for TCP and TLS, over which connection. An
// answer always leaves by the flow that its request came in by.
type flow struct {
	transport settings.Transport
	// local is our address as the neighbour reaches it: the address that the
	// datagram was sent to, or the connection's, with the listener's port. The
	// port is never an ephemeral one, so that local can be written into Via,
	// Record-Route and Contact. Where the flow was intercepted it is the host's that
	// the neighbour speaks to.
	local  netip.AddrPort
	remote netip.AddrPort
	socket *udpSocket  // nil for TCP and TLS
	stream *connection // nil for UDP
	peer   peer        // who proved to be at the other end of a TLS connection that we opened
	// again opens another connection for a response where the one that its request
	// came by is gone (RFC 3261 section 18.2.2); nil for everything else.
	again func() (flow, error)
}

// transportName is how the transport of f stands in a Via.
func transportName(f flow) string {
	switch {
	case f.transport == settings.TLS:
		return "TLS"
	case f.stream != nil:
		return "TCP"
	}
	return "UDP"
}

// sameLeg reports whether two flows leave through the same address of ours by
// the same transport: then one Record-Route entry serves both (RFC 5658).
func (f flow) sameLeg(other flow) bool {
	return f.transport == other.transport && f.local == other.local
}

// alive reports whether f can still carry a message. A UDP flow always can.
func (f flow) alive() bool { return f.stream == nil || !f.stream.closed() }

// send puts one finished message on the way and never blocks on the network. wire
// must not change afterwards: it may wait in a queue, and stay in the ring.
// lost is called at most once, later and from another goroutine, where a TCP
// connection breaks before it took the message; it may be nil.
func (f flow) send(wire []byte, lost func(error)) error {
	if f.stream != nil {
		f.stream.ear.sent(f, wire)
		err := f.stream.send(wire, lost)
		if err == nil || f.again == nil {
			return err
		}
		next, fresh := f.again()
		if fresh != nil {
			return err
		}
		return next.stream.send(wire, lost)
	}
	f.socket.ear.sent(f, wire)
	return f.socket.send(wire, f.local.Addr(), f.remote)
}
