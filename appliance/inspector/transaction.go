package inspector

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/transaction"
)

var (
	errFull      = errors.New("the transaction table is full")
	errDuplicate = errors.New("the transaction exists already")
	errTimeout   = errors.New("no final response came in time")
)

// timedOut reports whether a transaction failed for want of an answer.
func timedOut(err error) bool { return errors.Is(err, errTimeout) }

// transactions is the one table of server and client transactions (RFC 3261
// section 17), bounded as a whole. The machines inside are package transaction's.
// All their timers turn on one wheel, which has a goroutine only while it holds
// one.
type transactions struct {
	bounds limits
	catch  func()    // deferred by every goroutine that runs a handler
	epoch  time.Time // what the machines' time counts from
	wheel  transaction.Wheel[running]
	tasks  sync.WaitGroup

	mu       sync.Mutex
	servers  map[string]*serverTx
	clients  map[clientKey]*clientTx
	weight   int // bytes of the requests and last responses that are kept
	finished queue
	closing  bool
}

// running is a transaction of either sort.
type running interface {
	// tick acts on the timers that have run out.
	tick(now time.Duration)
	// end forgets the transaction. It takes no lock of the transaction's own.
	end()
}

// finished is a transaction that has its final response and only stays to
// absorb repeats, for 64*T1. Under pressure it stays for less.
type finished struct {
	at time.Time
	tx running
}

// queue holds finished transactions, the oldest first. Its memory is used again: one
// comes in for each that goes out.
type queue struct {
	all  []finished
	gone int // of those in front
}

func (q *queue) len() int { return len(q.all) - q.gone }

func (q *queue) oldest() finished { return q.all[q.gone] }

func (q *queue) push(one finished) {
	if len(q.all) == cap(q.all) && q.gone > len(q.all)/2 {
		n := copy(q.all, q.all[q.gone:])
		clear(q.all[n:])
		q.all, q.gone = q.all[:n], 0
	}
	q.all = append(q.all, one)
}

func (q *queue) pop() finished {
	one := q.all[q.gone]
	q.all[q.gone] = finished{} // it must not keep the transaction
	q.gone++
	return one
}

func newTransactions(bounds limits, catch func()) *transactions {
	return &transactions{
		catch:   catch,
		bounds:  bounds,
		epoch:   time.Now(),
		servers: make(map[string]*serverTx),
		clients: make(map[clientKey]*clientTx),
	}
}

// now is the machines' time: it never jumps.
func (t *transactions) now() time.Duration { return time.Since(t.epoch) }

// arm sets the timer of a transaction to what its machine waits for.
func (t *transactions) arm(timer *transaction.Timer[running], due, now time.Duration) {
	if !t.wheel.Set(timer, due, now) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closing {
		t.tasks.Go(t.drive)
	}
}

// drive turns the wheel until it is empty.
func (t *transactions) drive() {
	ticker := time.NewTicker(transaction.Tick)
	defer ticker.Stop()
	var due []running
	for range ticker.C {
		now, more := t.now(), false
		if due, more = t.wheel.Turn(now, due[:0]); !more {
			return
		}
		for n, one := range due {
			t.run(one, now)
			due[n] = nil
		}
	}
}

// run keeps one transaction that breaks the code from stopping the wheel.
func (t *transactions) run(one running, now time.Duration) {
	defer t.catch()
	one.tick(now)
}

// room reports whether another request may be taken on. A relayed request takes
// two places. The reserve is kept for emergency calls, which are taken whatever they
// weigh.
func (t *transactions) room(urgent bool) bool {
	t.makeRoom(2, 0, urgent)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.roomLocked(2, 0, urgent)
}

// makeRoom ends finished transactions, oldest first, where there is no room without:
// what may still be repeated is worth less than what comes now. A telephone that is
// refused thousands of times a second would else keep all others out.
func (t *transactions) makeRoom(places, weight int, urgent bool) {
	for {
		t.mu.Lock()
		if t.closing || t.finished.len() == 0 || t.roomLocked(places, weight, urgent) {
			t.mu.Unlock()
			return
		}
		oldest := t.finished.pop()
		t.mu.Unlock()
		oldest.tx.end()
	}
}

func (t *transactions) roomLocked(places, weight int, urgent bool) bool {
	all := len(t.servers) + len(t.clients) + places
	if urgent {
		return !t.closing && all <= t.bounds.transactions
	}
	return !t.closing && all <= t.bounds.transactions-t.bounds.reserve && t.weight+weight <= t.bounds.bytes
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

// finish notes that a transaction has its final response. Some end by themselves
// before they are shed, over TCP at once, and no longer count in the tables: the
// list has a bound of its own.
func (t *transactions) finish(tx running) {
	t.mu.Lock()
	t.finished.push(finished{time.Now(), tx})
	if t.finished.len() <= t.bounds.transactions {
		t.mu.Unlock()
		return
	}
	oldest := t.finished.pop()
	t.mu.Unlock()
	oldest.tx.end()
}

// shed ends finished transactions early while the table is more than half full,
// and forgets those that have ended by themselves.
func (t *transactions) shed(now time.Time) {
	for {
		t.mu.Lock()
		crowded := len(t.servers)+len(t.clients) > t.bounds.transactions/2 || t.weight > t.bounds.bytes/2
		if t.finished.len() == 0 {
			t.mu.Unlock()
			return
		}
		oldest := t.finished.oldest()
		age := now.Sub(oldest.at)
		if age < t.bounds.linger || !crowded && age < t.bounds.cancelled {
			t.mu.Unlock()
			return
		}
		t.finished.pop()
		t.mu.Unlock()
		oldest.tx.end()
	}
}

// close ends every transaction and waits for what they started.
func (t *transactions) close() {
	t.mu.Lock()
	t.closing = true
	open := make([]running, 0, len(t.servers)+len(t.clients))
	for _, s := range t.servers {
		open = append(open, s)
	}
	for _, c := range t.clients {
		open = append(open, c)
	}
	t.mu.Unlock()
	for _, one := range open {
		one.end()
	}
	t.tasks.Wait()
}

// serverTx answers one request.
type serverTx struct {
	table  *transactions
	key    string
	method string
	// reliable means TCP: there any but an INVITE ends with its response (RFC 3261
	// section 17.2.2, Timer J).
	reliable bool
	flow     flow
	status   atomic.Int32 // of the last response, 0 before the first
	weight   int          // bytes of the last response; the table's lock guards it and gone
	gone     bool         // out of the table
	timer    transaction.Timer[running]

	mu      sync.Mutex // held while a response leaves: they leave in order
	machine transaction.Machine
	last    []byte // the last response
	relay   *relay // what carries the request on; nil where it is answered here
}

// server returns the transaction of that key, or nil.
func (t *transactions) server(key string) *serverTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers[key]
}

// invited is server for a key that nobody keeps.
func (t *transactions) invited(key []byte) *serverTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers[string(key)]
}

// serve starts a server transaction for a request that came in by from.
func (t *transactions) serve(key, method string, from flow, urgent bool) (*serverTx, error) {
	s := &serverTx{table: t, key: key, method: method, reliable: from.stream != nil, flow: from}
	kind := transaction.Server
	if method == "INVITE" {
		kind = transaction.ServerInvite
	}
	s.machine = transaction.Start(kind, s.reliable, &t.bounds.timers, t.now())
	s.timer.Bind(s)
	t.makeRoom(2, 0, urgent)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.roomLocked(2, 0, urgent):
		return nil, errFull
	case t.servers[key] != nil:
		return nil, errDuplicate
	}
	t.servers[key] = s
	return s, nil
}

// end implements running.
func (s *serverTx) end() {
	t := s.table
	t.wheel.Retire(&s.timer)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.gone {
		s.gone = true
		delete(t.servers, s.key)
		t.weight -= s.weight
	}
}

// tick implements running. A response that was not acknowledged (Timer H) is
// nobody's loss: the one who did not is gone.
func (s *serverTx) tick(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.act(s.machine.Tick(now), now)
}

// act does what the machine says, with s.mu held.
func (s *serverTx) act(do transaction.Action, now time.Duration) error {
	var err error
	if do.Has(transaction.Send) {
		if err = s.flow.send(s.last, nil); err != nil {
			do |= s.machine.Handle(transaction.Broken, now)
		}
	}
	if do.Has(transaction.End) {
		s.end()
		return err
	}
	s.table.arm(&s.timer, s.machine.Due(), now)
	return err
}

// again answers a retransmitted request with the last response.
func (s *serverTx) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		now := s.table.now()
		_ = s.act(s.machine.Handle(transaction.Request, now), now)
	}
}

// respond sends a response through the machine. What comes after a final
// response is dropped, but for further 2xx to an INVITE (RFC 6026).
func (s *serverTx) respond(status int, wire []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := int(s.status.Load())
	if was >= 300 || was >= 200 && status/100 != 2 {
		return nil
	}
	s.status.Store(int32(status))
	if status >= 200 {
		s.relay = nil // there is nothing left to cancel
	}
	now := s.table.now()
	do := s.machine.Handle(transaction.Response(status), now)
	if do == 0 {
		return nil
	}
	s.last = wire
	if was < 200 && status >= 200 && !do.Has(transaction.End) {
		s.table.finish(s)
	}
	s.table.weigh(s, len(wire))
	return s.act(do, now)
}

// weigh notes how many bytes a server transaction keeps.
func (t *transactions) weigh(s *serverTx, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.gone {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.table.now()
	_ = s.act(s.machine.Handle(transaction.Ack, now), now)
	return true
}

// answer is the last response, nil where there is none yet.
func (s *serverTx) answer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
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
