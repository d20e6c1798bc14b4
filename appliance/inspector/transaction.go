package inspector

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/ringfence/ringfence/appliance/inspector/message"
)

var (
	errFull      = errors.New("the transaction table is full")
	errDuplicate = errors.New("the transaction exists already")
)

// transactions is the one table of server and client transactions (RFC 3261
// section 17), bounded as a whole. The machines inside are sipgo's.
type transactions struct {
	bounds limits
	catch  func() // deferred by every goroutine that runs a handler
	shared envelopes
	tasks  sync.WaitGroup

	mu       sync.Mutex
	servers  map[string]*serverTx
	clients  map[string]*clientTx
	weight   int        // bytes of the requests and last responses that are kept
	finished []finished // oldest first
	closing  bool
}

// finished is a transaction that has its final response and only stays to
// absorb repeats, for 64*T1. Under pressure it stays for less.
type finished struct {
	at  time.Time
	end func()
}

func newTransactions(bounds limits, catch func()) *transactions {
	return &transactions{
		catch:   catch,
		bounds:  bounds,
		shared:  newEnvelopes(),
		servers: make(map[string]*serverTx),
		clients: make(map[string]*clientTx),
	}
}

// serverTx answers one request.
type serverTx struct {
	table  *transactions
	key    string
	method string
	// reliable means TCP: there any but an INVITE ends with its response (RFC 3261
	// section 17.2.2, Timer J).
	reliable bool
	tx       *sip.ServerTx
	origin   *sip.Request
	status   atomic.Int32 // of the last response, 0 before the first
	weight   int          // bytes of the last response; the table's lock guards it

	mu    sync.Mutex // held while status changes
	relay *relay     // what carries the request on; nil where it is answered here
}

// server returns the transaction of that key, or nil.
func (t *transactions) server(key string) *serverTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers[key]
}

// room reports whether another request may be taken on. A relayed request takes
// two places. The reserve is kept for emergency calls, which are taken whatever they
// weigh.
func (t *transactions) room(urgent bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.roomLocked(2, 0, urgent)
}

func (t *transactions) roomLocked(places, weight int, urgent bool) bool {
	all := len(t.servers) + len(t.clients) + places
	if urgent {
		return !t.closing && all <= t.bounds.transactions
	}
	return !t.closing && all <= t.bounds.transactions-t.bounds.reserve && t.weight+weight <= t.bounds.bytes
}

// serve starts a server transaction for a request that came in by from.
func (t *transactions) serve(key, method string, from flow, urgent bool) (*serverTx, error) {
	s := &serverTx{table: t, key: key, method: method, reliable: from.stream != nil, origin: t.shared.origin(method, transportName(from))}
	s.tx = sip.NewServerTx(key, s.origin, &wire{flow: from}, silent)
	s.tx.OnTerminate(func(string, error) { t.dropServer(s) })
	t.mu.Lock()
	if !t.roomLocked(2, 0, urgent) {
		t.mu.Unlock()
		return nil, errFull
	}
	if t.servers[key] != nil {
		t.mu.Unlock()
		return nil, errDuplicate
	}
	t.servers[key] = s
	t.mu.Unlock()
	return s, s.tx.Init()
}

func transportName(f flow) string {
	if f.stream != nil {
		return "TCP"
	}
	return "UDP"
}

func (t *transactions) dropServer(s *serverTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.servers[s.key] == s {
		delete(t.servers, s.key)
		t.weight -= s.weight
	}
}

// again answers a retransmitted request with the last response.
func (s *serverTx) again() { _ = s.tx.Receive(s.origin) }

// respond sends a response through the machine. What comes after a final
// response is dropped, but for further 2xx to an INVITE (RFC 6026).
func (s *serverTx) respond(status int, wire []byte) error {
	s.mu.Lock()
	was := int(s.status.Load())
	if was >= 300 || was >= 200 && status/100 != 2 {
		s.mu.Unlock()
		return nil
	}
	s.status.Store(int32(status))
	if status >= 200 {
		s.relay = nil // there is nothing left to cancel
	}
	s.mu.Unlock()
	if was < 200 && status >= 200 && (!s.reliable || s.method == "INVITE") {
		s.table.finish(s.tx.Terminate)
	}
	s.table.weigh(s, len(wire))
	return s.tx.Respond(responseEnvelope(s.method, status, wire))
}

// weigh notes how many bytes a server transaction keeps.
func (t *transactions) weigh(s *serverTx, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.servers[s.key] == s {
		t.weight += bytes - s.weight
		s.weight = bytes
	}
}

// acknowledged takes the ACK to a non-2xx final response. It reports false for
// any other ACK: that one belongs to the dialog.
func (s *serverTx) acknowledged() bool {
	if s.status.Load() < 300 {
		return false
	}
	_ = s.tx.Receive(s.table.shared.origin("ACK", "UDP"))
	return true
}

func (s *serverTx) attach(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay = r
}

func (s *serverTx) attached() *relay {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.relay
}

// clientHandler is told what becomes of a request that was sent. Both methods
// may be called from any goroutine, one call at a time for response.
type clientHandler interface {
	response(*message.Message)
	failed(error)
}

// clientTx waits for the responses to one request that we sent.
type clientTx struct {
	key     string
	weight  int // bytes of the request
	sent    *message.Message
	tx      *sip.ClientTx
	wire    *wire
	handler clientHandler

	mu    sync.Mutex // one response at a time, and none before the machine is set
	final atomic.Int32
	again atomic.Bool // the machine passed a 2xx that is not the first
}

// request sends m by to and starts its client transaction. branch is that of
// m's topmost Via. Once it has returned nil the handler hears of every response
// that the machine passes, or of one failure.
func (t *transactions) request(branch string, m *message.Message, to flow, urgent bool, handler clientHandler) (*clientTx, error) {
	out := written(m)
	c := &clientTx{key: clientKey(branch, m.Method), sent: m, handler: handler, weight: len(out)}
	c.wire = &wire{flow: to, lost: func(err error) { t.spawn(func() { t.fail(c, err) }) }}
	c.tx = sip.NewClientTx(c.key, requestEnvelope(m.Method, transportName(to), out), c.wire, silent)
	c.tx.OnTerminate(func(_ string, err error) { t.ended(c, err) })
	c.tx.OnRetransmission(func(*sip.Response) { c.again.Store(true) })
	t.mu.Lock()
	if !t.roomLocked(1, c.weight, urgent) {
		t.mu.Unlock()
		return nil, errFull
	}
	t.clients[c.key] = c
	t.weight += c.weight
	t.mu.Unlock()
	// Init sends first and sets its timers afterwards. A response that overtook it
	// would find no timer to stop, and Timer B would end a ringing call.
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.tx.Init(); err != nil {
		t.dropClient(c)
		return nil, err
	}
	return c, nil
}

func clientKey(branch, method string) string { return branch + " " + method }

// client returns the transaction that a response belongs to, or nil.
func (t *transactions) client(branch, method string) *clientTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clients[clientKey(branch, method)]
}

func (t *transactions) dropClient(c *clientTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients[c.key] == c {
		delete(t.clients, c.key)
		t.weight -= c.weight
	}
}

// ended is called by sipgo with its locks held: a failure is reported from a
// goroutine of its own.
func (t *transactions) ended(c *clientTx, err error) {
	t.dropClient(c)
	if errors.Is(err, sip.ErrTransactionTimeout) || errors.Is(err, sip.ErrTransactionTransport) {
		t.spawn(func() { t.report(c, err) })
	}
}

// fail ends a transaction whose request never reached the neighbour.
func (t *transactions) fail(c *clientTx, err error) {
	t.report(c, err)
	c.tx.Terminate()
}

func (t *transactions) report(c *clientTx, err error) {
	if c.final.Load() == 0 {
		c.handler.failed(err)
	}
}

func (t *transactions) spawn(task func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closing {
		t.tasks.Go(func() {
			defer t.catch()
			task()
		})
	}
}

// deliver runs one response through the machine and, where the machine passes
// it, hands it to the handler before it returns: responses to one request are
// handled in the order in which they came.
func (t *transactions) deliver(c *clientTx, m *message.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if final := c.final.Load(); final >= 300 && c.sent.Method == "INVITE" {
		// The ACK was lost. sipgo would sleep here before it sends another.
		if m.Status >= 300 {
			_ = c.wire.acknowledge()
		}
		return
	}
	if m.Status >= 300 && c.sent.Method == "INVITE" {
		c.wire.setAck(written(acknowledgement(c.sent, m)))
	}
	if !t.passes(c, m.Status) {
		return
	}
	if m.Status >= 200 && c.final.CompareAndSwap(0, int32(m.Status)) && c.sent.Method == "INVITE" {
		t.finish(c.tx.Terminate)
	}
	c.handler.response(m)
	if m.Status >= 200 && c.sent.Method != "INVITE" {
		// Timer K only swallows repeats, and those that match nothing are dropped.
		c.tx.Terminate()
	}
}

// passes asks the machine whether a response is to be handled. sipgo passes it
// up a channel without a buffer, so that the machine needs a goroutine.
func (t *transactions) passes(c *clientTx, status int) bool {
	c.again.Store(false)
	envelope := t.shared.heard[status/100]
	done := make(chan struct{})
	t.tasks.Go(func() {
		defer close(done)
		c.tx.Receive(envelope)
	})
	select {
	case <-c.tx.Responses():
		<-done
		return true
	case <-done:
		return c.again.Load()
	}
}

// finish notes that a transaction has its final response. Some end by themselves
// before they are shed, over TCP at once, and no longer count in the tables: the
// list has a bound of its own.
func (t *transactions) finish(end func()) {
	t.mu.Lock()
	t.finished = append(t.finished, finished{time.Now(), end})
	if len(t.finished) <= t.bounds.transactions {
		t.mu.Unlock()
		return
	}
	oldest := t.popLocked()
	t.mu.Unlock()
	oldest.end()
}

func (t *transactions) popLocked() finished {
	oldest := t.finished[0]
	t.finished[0] = finished{} // the array behind it must not keep the transaction
	t.finished = t.finished[1:]
	return oldest
}

// shed ends finished transactions early while the table is more than half full,
// and forgets those that have ended by themselves.
func (t *transactions) shed(now time.Time) {
	for {
		t.mu.Lock()
		crowded := len(t.servers)+len(t.clients) > t.bounds.transactions/2 || t.weight > t.bounds.bytes/2
		if len(t.finished) == 0 {
			t.mu.Unlock()
			return
		}
		oldest, age := t.finished[0], now.Sub(t.finished[0].at)
		if age < t.bounds.linger || !crowded && age < t.bounds.cancelled {
			t.mu.Unlock()
			return
		}
		t.popLocked()
		t.mu.Unlock()
		oldest.end()
	}
}

// close ends every transaction and waits for what they started.
func (t *transactions) close() {
	t.mu.Lock()
	t.closing = true
	servers, clients := make([]*serverTx, 0, len(t.servers)), make([]*clientTx, 0, len(t.clients))
	for _, s := range t.servers {
		servers = append(servers, s)
	}
	for _, c := range t.clients {
		clients = append(clients, c)
	}
	t.mu.Unlock()
	for _, s := range servers {
		s.tx.Terminate()
	}
	for _, c := range clients {
		c.tx.Terminate()
	}
	t.tasks.Wait()
}
