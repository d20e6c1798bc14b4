package inspector

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

var (
	errClosed  = errors.New("connection is closed")
	errBacklog = errors.New("too many messages wait for the connection")
)

// connection is one TCP connection, accepted or dialled. Its writer goroutine
// takes finished messages from a bounded queue, so that no sender waits for a
// slow reader.
type connection struct {
	queue chan outgoing
	done  chan struct{}
	write time.Duration // for one message
	most  int           // bytes that may wait

	mu    sync.Mutex
	conn  net.Conn // nil until it is dialled
	bytes int      // that wait
	cause error    // why it closed; nil while it is open
}

// outgoing is one message in a connection's queue.
type outgoing struct {
	wire []byte
	lost func(error)
	last error // where it is set there is no message: the connection ends for this cause
}

func newConnection(conn net.Conn, bounds limits) *connection {
	return &connection{
		queue: make(chan outgoing, bounds.queue),
		done:  make(chan struct{}),
		write: bounds.write,
		most:  bounds.queued,
		conn:  conn,
	}
}

// send queues one message. A full queue means that the neighbour has stopped
// reading: the connection is given up.
func (c *connection) send(wire []byte, lost func(error)) error {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return c.cause
	}
	if c.bytes+len(wire) <= c.most {
		select {
		case c.queue <- outgoing{wire: wire, lost: lost}:
			c.bytes += len(wire)
			c.mu.Unlock()
			return nil
		default:
		}
	}
	c.mu.Unlock()
	c.close(errBacklog)
	return errBacklog
}

// taken notes that a message no longer waits.
func (c *connection) taken(wire []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes -= len(wire)
}

func (c *connection) closed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// opened hands over the dialled connection. It is refused where the connection
// was closed in the meantime.
func (c *connection) opened(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.conn = conn
	return true
}

// close ends the connection for the given cause, once. It may be called with
// any lock held: the messages that still wait are reported as lost by the
// goroutine that owns the connection.
func (c *connection) close(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = cause
	close(c.done)
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// finish closes the connection for the given cause once the waiting messages
// are written.
func (c *connection) finish(cause error) {
	select {
	case c.queue <- outgoing{last: cause}:
	default:
		c.close(cause)
	}
}

// drain reports every message that waits on a closed connection as lost.
func (c *connection) drain() {
	for {
		select {
		case waiting := <-c.queue:
			if waiting.lost != nil {
				waiting.lost(c.cause)
			}
		default:
			return
		}
	}
}

// writeQueue is the body of the writer goroutine. It ends with the connection.
func (c *connection) writeQueue() {
	defer c.drain()
	for {
		select {
		case <-c.done:
			return
		case next := <-c.queue:
			if next.last != nil {
				c.close(next.last)
				return
			}
			err := c.writeOne(next.wire)
			c.taken(next.wire)
			if err != nil {
				c.close(err)
				if next.lost != nil {
					next.lost(err)
				}
				return
			}
		}
	}
}

func (c *connection) writeOne(wire []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if _, err := c.conn.Write(wire); err != nil {
		return fmt.Errorf("write to tcp: %w", err)
	}
	return nil
}
