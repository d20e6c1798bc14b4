package inspector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// acceptPause is the wait after an Accept error that says nothing of the
// listener, such as too many open files.
const acceptPause = 100 * time.Millisecond

// serveTCP accepts on one listener until it is closed.
func (d *door) serveTCP(ctx context.Context, acceptor *net.TCPListener) {
	port := acceptor.Addr().(*net.TCPAddr).AddrPort().Port()
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
		d.accept(conn, port)
	}
}

// accept admits one connection or resets it: to a stranger the port looks
// as closed as TCP allows.
func (d *door) accept(conn *net.TCPConn, port uint16) {
	remote := unmapped(conn.RemoteAddr())
	local := netip.AddrPortFrom(unmapped(conn.LocalAddr()).Addr(), port)
	if !d.inside.welcome(remote) {
		reset(conn)
		return
	}
	stream := newConnection(conn, d.bounds)
	if !d.admit(stream, remote.Addr()) {
		d.inside.crowded()
		reset(conn)
		return
	}
	from := flow{transport: "tcp", local: local, remote: remote, stream: stream}
	d.tasks.Go(func() {
		defer d.dismiss(stream, remote.Addr())
		d.run(from, conn)
	})
}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

func unmapped(addr net.Addr) netip.AddrPort {
	at := addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// admit enters an accepted connection into the table where there is room, in
// all and for its source.
func (d *door) admit(stream *connection, source netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shuttered || len(d.streams) >= d.bounds.connections || d.accepted[source] >= d.bounds.connectionsPerSource {
		return false
	}
	d.streams[stream] = source
	d.accepted[source]++
	return true
}

func (d *door) dismiss(stream *connection, source netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, stream)
	if d.accepted[source]--; d.accepted[source] == 0 {
		delete(d.accepted, source)
	}
}

// streamToward returns the connection that was dialled to remote, or dials.
// Trunks, the PBX and phones of the LAN are the only remotes.
func (d *door) streamToward(local, remote netip.AddrPort) (*connection, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shuttered {
		return nil, errClosed
	}
	if stream, ok := d.dialled[remote]; ok && !stream.closed() {
		return stream, nil
	}
	if len(d.dialled) >= d.bounds.dialled {
		return nil, errBacklog
	}
	stream := newConnection(nil, d.bounds)
	d.streams[stream] = remote.Addr()
	d.dialled[remote] = stream
	d.tasks.Go(func() {
		defer d.forget(stream, remote)
		d.dial(flow{transport: "tcp", local: local, remote: remote, stream: stream})
	})
	return stream, nil
}

func (d *door) forget(stream *connection, remote netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, stream)
	if d.dialled[remote] == stream {
		delete(d.dialled, remote)
	}
}

// dial connects to.stream and runs it. Messages that were queued in the
// meantime are sent, or reported as lost.
func (d *door) dial(to flow) {
	dialer := net.Dialer{Timeout: d.bounds.dial, LocalAddr: &net.TCPAddr{IP: to.local.Addr().AsSlice()}}
	conn, err := dialer.Dial(networkOf("tcp", to.remote.Addr()), to.remote.String())
	if err != nil {
		to.stream.close(fmt.Errorf("dial tcp %s: %w", to.remote, err))
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
	reader := &bounded{conn: conn, bounds: d.bounds}
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
		case !d.inside.received(from, m):
			return errClosed
		}
	}
}

// bounded sets the deadline of each read: idle time before a message, and the
// header deadline from its first byte on, however slowly the rest drips in.
type bounded struct {
	conn    net.Conn
	bounds  limits
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
	_ = b.conn.SetReadDeadline(time.Now().Add(wait))
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
