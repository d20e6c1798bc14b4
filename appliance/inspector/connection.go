package inspector

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errClosed  = errors.New("connection is closed")
	errBacklog = errors.New("too many messages wait for the connection")
)

// connection is one TCP or TLS connection, accepted or dialled. Its writer goroutine
// takes finished messages from a bounded queue, so that no sender waits for a
// slow reader.
type connection struct {
	queue chan outgoing
	done  chan struct{}
	write time.Duration // for one message
	most  int           // bytes that may wait
	// pending are the requests that came by it and were sent on, and have no final
	// response yet.
	pending atomic.Int32
	alias   dialKey     // what an accepted one stands for; the door's lock guards it
	greets  time.Time   // until when an accepted one must have carried a message
	spoke   atomic.Bool // it has
	// transparent means that its local address is another host's.
	transparent bool
	ear         *ear

	mu      sync.Mutex
	conn    net.Conn // nil until it is dialled
	bytes   int      // that wait
	cause   error    // why it closed; nil while it is open
	drained bool     // and everybody has heard of it
	// waiting are those who want to hear of its end, as many as there are
	// transactions without an answer.
	waiting map[*func(error)]struct{}
}

// outgoing is one message in a connection's queue.
type outgoing struct {
	wire []byte
	lost func(error)
	last error // where it is set there is no message: the connection ends for this cause
}

// newConnection returns a connection whose queue holds that many messages.
func newConnection(conn net.Conn, bounds limits, queue int) *connection {
	return &connection{
		queue: make(chan outgoing, queue),
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

// watch has told called once when the connection ends, unless forget is called
// before. Neither may wait for a lock that is held while a connection is closed.
func (c *connection) watch(told func(error)) (forget func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := &told
	if c.waiting == nil {
		c.waiting = make(map[*func(error)]struct{})
	}
	c.waiting[key] = struct{}{}
	if c.drained {
		delete(c.waiting, key)
		told(c.cause)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, key)
	}
}

// drain reports every message that waits on a closed connection as lost, and tells
// those who wait for answers.
func (c *connection) drain() {
	defer func() {
		c.mu.Lock()
		waiting := c.waiting
		c.waiting, c.drained = nil, true
		c.mu.Unlock()
		for told := range waiting {
			(*told)(c.cause)
		}
	}()
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
				if farewell, ok := c.conn.(interface{ CloseWrite() error }); ok {
					_ = farewell.CloseWrite()
				}
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
		return fmt.Errorf("write to %s: %w", c.conn.RemoteAddr(), err)
	}
	return nil
}
