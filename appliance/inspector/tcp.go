package inspector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/settings"
)

// acceptPause is the wait after an Accept error that says nothing of the
// listener, such as too many open files.
const acceptPause = 100 * time.Millisecond

// serveTCP accepts on one listener until it is closed.
func (d *door) serveTCP(ctx context.Context, acceptor *net.TCPListener, secure bool) {
	port := acceptor.Addr().(*net.TCPAddr).AddrPort().Port()
	acceptAll(ctx, acceptor, func(conn *net.TCPConn) { d.accept(conn, port, secure) })
}

// acceptAll hands over each connection of a listener until that is closed.
func acceptAll(ctx context.Context, acceptor *net.TCPListener, take func(*net.TCPConn)) {
	for {
		conn, err := acceptor.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(acceptPause):
				continue
			}
		}
		take(conn)
	}
}

// accept admits one connection or resets it: to a stranger the port looks
// as closed as TCP allows.
func (d *door) accept(raw *net.TCPConn, port uint16, secure bool) {
	remote := unmapped(raw.RemoteAddr())
	from := flow{transport: settings.TCP, local: netip.AddrPortFrom(nearEnd(raw).Addr(), port), remote: remote}
	if !d.inside.welcome(remote) {
		reset(raw)
		return
	}
	conn := net.Conn(raw)
	if secure {
		from.transport = settings.TLS
		conn = &secureConn{tls.Server(raw, d.serverConfig(remote)), raw}
	}
	from.stream = d.greeting(conn)
	if !d.admit(from.stream, remote) {
		d.inside.crowded()
		reset(raw)
		return
	}
	d.tasks.Go(func() {
		defer d.dismiss(from.stream)
		d.greet(from, conn)
	})
}

// greet agrees on TLS where that is spoken, and runs the connection.
func (d *door) greet(from flow, conn net.Conn) {
	if secure, ok := conn.(*secureConn); ok {
		if err := secure.agree(d.bounds.headerDeadline); err != nil {
			from.stream.close(err)
			d.inside.mistrusted(from.remote, err)
			return
		}
	}
	d.run(from, conn)
}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

func unmapped(addr net.Addr) netip.AddrPort {
	at := addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// nearEnd is the address that a connection was made to, as it may stand in a message:
// without the zone of a link-local one, which names an interface of this box alone.
func nearEnd(conn net.Conn) netip.AddrPort {
	at := unmapped(conn.LocalAddr())
	return netip.AddrPortFrom(at.Addr().WithZone(""), at.Port())
}

// streamToward returns the connection that leads to a neighbour, opened by
// either side (RFC 5923), or dials. Trunks, the PBX and phones of the LAN are the
// only remotes.
func (d *door) streamToward(to flow) (*connection, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shuttered {
		return nil, errClosed
	}
	key := to.key()
	if stream := d.openLocked(key); stream != nil {
		return stream, nil
	}
	if to.transport == settings.TLS && to.peer == (peer{}) {
		return nil, fmt.Errorf("connect to tls %s: %w", to.remote, errNameless)
	}
	if len(d.dialled) >= d.bounds.dialled {
		return nil, errBacklog
	}
	stream := newConnection(nil, d.bounds, d.bounds.dialledQueue)
	stream.ear = d.ear
	to.stream = stream
	d.streams[stream] = guest{}
	d.dialled[key] = stream
	d.tasks.Go(func() {
		defer d.forget(stream, key)
		d.dial(to)
	})
	return stream, nil
}

// openLocked returns the open connection to a neighbour, nil where there is none.
func (d *door) openLocked(key dialKey) *connection {
	if stream, ok := d.dialled[key]; ok && !stream.closed() {
		return stream
	}
	return d.aliasLocked(key)
}

func (f flow) key() dialKey { return dialKey{f.transport, f.remote, f.peer} }

// dialKey names the neighbour at the other end of a connection.
type dialKey struct {
	transport settings.Transport
	at        netip.AddrPort
	peer      peer
}

// alias notes that the neighbour behind an accepted connection wants to be asked
// back over it under the address in its Via: its own address (RFC 5923 section
// 8.2). One connection stands for one address.
func (d *door) alias(from flow, via message.Via) {
	if from.stream == nil || !via.Params.Has("alias") || via.Host != from.remote.Addr().String() {
		return
	}
	port := via.Port
	if port == 0 {
		port = portOf(message.URI{Params: message.Params(";transport=" + from.transport)})
	}
	key := dialKey{transport: from.transport, at: netip.AddrPortFrom(from.remote.Addr(), port)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if accepted := d.streams[from.stream].block.IsValid(); accepted && from.stream.alias == (dialKey{}) {
		from.stream.alias = key
		d.aliases[key] = from.stream
	}
}

// aliasLocked returns the accepted connection that stands for a neighbour. Over
// TLS the neighbour must have shown the certificate that it would have to show
// where we connect to it (RFC 5923 section 9.2). A telephone has none to show: it is
// known by its address, as it was over the connection before.
func (d *door) aliasLocked(key dialKey) *connection {
	stream := d.aliases[dialKey{transport: key.transport, at: key.at}]
	if stream == nil || stream.closed() {
		return nil
	}
	if secure, ok := stream.conn.(*secureConn); ok && key.peer != (peer{}) && !secure.verified(key.peer) {
		return nil
	}
	return stream
}

func (d *door) forget(stream *connection, key dialKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, stream)
	if d.dialled[key] == stream {
		delete(d.dialled, key)
	}
}

// dial connects to.stream and runs it. Messages that were queued in the
// meantime are sent, or reported as lost.
func (d *door) dial(to flow) {
	conn, err := d.connect(to)
	if err != nil {
		to.stream.close(err)
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

// run reads and writes one open connection until it ends.
func (d *door) run(from flow, conn net.Conn) {
	d.tasks.Go(from.stream.writeQueue)
	from.stream.finish(d.readStream(from, conn))
}

// readStream hands every message of a connection to the inspector, until the
// connection ends or breaks the rules. It returns why.
func (d *door) readStream(from flow, conn net.Conn) error {
	reader := &bounded{conn: conn, bounds: d.bounds, greets: from.stream.greets}
	stream := message.NewStream(reader, message.MaxSize)
	for {
		reader.begin(stream.Pending())
		m, err := stream.Next()
		switch {
		case errors.Is(err, message.ErrPing):
			// RFC 5626 section 4.4.1: one CRLF answers the ping.
			if err := from.send([]byte("\r\n"), nil); err != nil {
				return err
			}
		case err != nil:
			d.inside.broken(from, reader.seen, err)
			return err
		default:
			from.stream.spoke.Store(true)
			reader.greets = time.Time{}
			received(d.ear, from, m.CallID(), opens(m), stream.Raw())
			if !d.inside.received(from, m) {
				return errClosed
			}
		}
	}
}

// bounded sets the deadline of each read: idle time before a message, and the
// header deadline from its first byte on, however slowly the rest drips in. Pings
// do not put off the first message.
type bounded struct {
	conn    net.Conn
	bounds  limits
	greets  time.Time // until when the first message must be there; zero once it is
	started bool
	// seen is the start of the message being read, to answer a bad one; empty
	// where the message began in the same segment as the one before.
	seen    []byte
	unknown bool
}

// seenMax is how much of a bad message is kept for its answer.
const seenMax = 8 << 10

// begin marks the start of a message, or of the wait for one.
func (b *bounded) begin(pending bool) {
	b.started, b.unknown = pending, pending
	b.seen = b.seen[:0]
	b.deadline()
}

func (b *bounded) deadline() {
	wait := b.bounds.idle
	if b.started {
		wait = b.bounds.headerDeadline
	}
	end := time.Now().Add(wait)
	if !b.greets.IsZero() && b.greets.Before(end) {
		end = b.greets
	}
	_ = b.conn.SetReadDeadline(end)
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.conn.Read(p)
	if n > 0 && !b.started {
		b.started = true
		b.deadline()
	}
	if !b.unknown && len(b.seen)+n <= seenMax {
		b.seen = append(b.seen, p[:n]...)
	}
	return n, err
}
