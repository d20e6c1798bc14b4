package inspector

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/inspector/transaction"
)

// clientHandler is told what becomes of a request that was sent. Both methods
// may be called from any goroutine, one call at a time for response.
type clientHandler interface {
	response(*message.Message)
	failed(error)
}

// clientTx waits for the responses to one request that we sent.
type clientTx struct {
	table   *transactions
	key     clientKey
	weight  int // bytes of the request
	sent    *message.Message
	flow    flow
	handler clientHandler
	final   atomic.Int32
	timer   transaction.Timer[running]
	// forget ends the watch over the connection that the request left by; nil where
	// nobody watches.
	forget atomic.Pointer[func()]

	mu      sync.Mutex // one response at a time, and none before the request has left
	machine transaction.Machine
	wire    []byte // the request
	ack     []byte // the ACK to a non-2xx final response; only an INVITE has one
}

// request sends m by to and starts its client transaction. branch is that of
// m's topmost Via. Once it has returned nil the handler hears of every response
// that the machine passes, or of one failure.
func (t *transactions) request(branch string, m *message.Message, to flow, urgent bool, handler clientHandler) (*clientTx, error) {
	return t.start(branch, m, to, urgent, handler, false)
}

// requestOver is request, and has the handler hear at once where the connection ends
// before an answer has come: nobody will answer then (RFC 3261 section 18.4).
func (t *transactions) requestOver(branch string, m *message.Message, to flow, urgent bool, handler clientHandler) error {
	_, err := t.start(branch, m, to, urgent, handler, to.stream != nil)
	return err
}

func (t *transactions) start(branch string, m *message.Message, to flow, urgent bool, handler clientHandler, watched bool) (*clientTx, error) {
	out := written(m)
	c := &clientTx{table: t, key: clientKey{branch, m.Method}, sent: m, flow: to, handler: handler, weight: len(out), wire: out}
	c.timer.Bind(c)
	t.makeRoom(1, c.weight, urgent)
	t.mu.Lock()
	if !t.roomLocked(1, c.weight, urgent) {
		t.mu.Unlock()
		return nil, errFull
	}
	t.clients[c.key] = c
	t.weight += c.weight
	t.mu.Unlock()
	// A response that overtakes the start waits for it.
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := to.send(out, c.lost); err != nil {
		c.end()
		return nil, err
	}
	if watched {
		forget := to.stream.watch(c.lost)
		c.forget.Store(&forget)
	}
	now := t.now()
	c.machine = transaction.Start(c.kind(), to.stream != nil, &t.bounds.timers, now)
	t.arm(&c.timer, c.machine.Due(), now)
	return c, nil
}

func (c *clientTx) invite() bool { return c.sent.Method == "INVITE" }

func (c *clientTx) kind() transaction.Kind {
	if c.invite() {
		return transaction.ClientInvite
	}
	return transaction.Client
}

// clientKey names a client transaction (RFC 3261 section 17.1.3).
type clientKey struct{ branch, method string }

// client returns the transaction that a response belongs to, or nil.
func (t *transactions) client(branch, method string) *clientTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clients[clientKey{branch, method}]
}

// cancelled bounds the wait for the end of an INVITE whose CANCEL has left.
func (t *transactions) cancelled(branch string) {
	c := t.client(branch, "INVITE")
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := t.now()
	c.machine.Cancel(now)
	t.arm(&c.timer, c.machine.Due(), now)
}

// end implements running.
func (c *clientTx) end() {
	c.unwatch()
	t := c.table
	t.wheel.Retire(&c.timer)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients[c.key] == c {
		delete(t.clients, c.key)
		t.weight -= c.weight
	}
}

// unwatch ends the watch over the connection: there is an answer, or none is waited
// for any more.
func (c *clientTx) unwatch() {
	if forget := c.forget.Swap(nil); forget != nil {
		(*forget)()
	}
}

// lost hears, from another goroutine, that the request never reached the
// neighbour.
func (c *clientTx) lost(err error) {
	c.table.spawn(func() {
		c.report(err)
		c.end()
	})
}

func (c *clientTx) report(err error) {
	if c.final.Load() == 0 {
		c.handler.failed(err)
	}
}

// tick implements running.
func (c *clientTx) tick(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.act(c.machine.Tick(now), now)
}

// act does what the machine says but for Pass, with c.mu held. A failure is told
// from a goroutine of its own, without the lock.
func (c *clientTx) act(do transaction.Action, now time.Duration) {
	failure := errTimeout
	var err error
	if do.Has(transaction.Send) {
		err = c.flow.send(c.wire, nil)
	}
	if do.Has(transaction.Acknowledge) {
		err = c.flow.send(c.ack, nil)
	}
	if err != nil {
		failure = err
		do |= c.machine.Handle(transaction.Broken, now)
	}
	if do&(transaction.TimedOut|transaction.Lost) != 0 {
		c.table.spawn(func() { c.report(failure) })
	}
	if do.Has(transaction.End) {
		c.end()
		return
	}
	c.table.arm(&c.timer, c.machine.Due(), now)
}

// deliver runs one response through the machine and, where the machine passes
// it, hands it to the handler before it returns: responses to one request are
// handled in the order in which they came.
func (t *transactions) deliver(c *clientTx, m *message.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := t.now()
	do := c.machine.Handle(transaction.Response(m.Status), now)
	c.unwatch()
	if do.Has(transaction.Acknowledge) {
		c.ack = written(acknowledgement(c.sent, m))
	}
	if do.Has(transaction.Pass) && m.Status >= 200 && c.final.CompareAndSwap(0, int32(m.Status)) {
		if c.invite() && !do.Has(transaction.End) {
			c.wire = nil // it is not repeated any more, and c stays for a while
			t.finish(c)
		} else {
			// Timer K only swallows repeats, and those that match nothing are dropped.
			do |= transaction.End
		}
	}
	c.act(do, now)
	if do.Has(transaction.Pass) {
		c.handler.response(m)
	}
}
