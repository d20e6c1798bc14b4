// Package inspector is the SIP side of the box: a dialog-stateful proxy between
// the LAN and its trunks. It frames and reads every message strictly, judges
// whatever can become a callee, and emits what it understood from its own
// model, never the bytes that came in.
//
// It owns the SIP sockets and the tables behind them: transactions, dialogs,
// registered contacts and calls, each bounded. It is the only importer of
// sipgo, and knows no file and no kernel map.
package inspector

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Inspector is the proxy. Build one with New; it serves while Run runs.
type Inspector struct {
	current func() *rules.Rules
	report  func(appliance.Event)
	now     func() time.Time
	bounds  limits

	door     *door
	branches branches
	tallies  tallies
	txs      *transactions
	relays   relays
	dialogs  *dialogs
	bindings *bindings
	calls    *calls

	closing     atomic.Bool // Run is ending: see drain
	listenersMu sync.Mutex
	listening   []string
}

// New returns an inspector that judges by current(), which it loads once for
// each message, and tells what happened to report, which must not block. The
// error is for a missing argument.
func New(current func() *rules.Rules, report func(appliance.Event)) (*Inspector, error) {
	if current == nil || report == nil {
		return nil, fmt.Errorf("build inspector: rules and report are required")
	}
	return build(current, report, defaultLimits(), time.Now), nil
}

func build(current func() *rules.Rules, report func(appliance.Event), bounds limits, now func() time.Time) *Inspector {
	i := &Inspector{current: current, report: report, now: now, bounds: bounds, branches: newBranches()}
	i.door = newDoor(bounds, i)
	i.txs = newTransactions(bounds, i.catch)
	i.dialogs = newDialogs(bounds)
	i.bindings = newBindings(bounds)
	i.calls = newCalls(report)
	return i
}

// Run binds the listening addresses of the rules in force and serves until ctx
// ends, once. Later changes of those addresses need a new Inspector. It returns
// nil after ctx ended and an error where an address can't be bound. Between the
// end of ctx and its return it drains: it takes nothing new but calls for help,
// and lets what is in flight end, for less than 6 s.
func (i *Inspector) Run(ctx context.Context) error {
	if err := i.door.open(ctx, i.current().SIP().Listen); err != nil {
		return fmt.Errorf("open sip listeners: %w", err)
	}
	i.setListeners(i.door.listeners())
	defer i.setListeners(nil)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tasks sync.WaitGroup
	tasks.Go(func() { i.reap(serving) })
	tasks.Go(func() {
		defer stop()
		i.drain(ctx)
	})
	i.door.serve(serving)
	i.txs.close()
	tasks.Wait()
	return nil
}

// Tallies returns how many messages met each reason, since New. Reasons that
// never occurred are absent.
func (i *Inspector) Tallies() map[appliance.Reason]uint64 { return i.tallies.snapshot() }

// Live returns the calls that have been decided and have not ended, oldest
// first.
func (i *Inspector) Live() []appliance.Call { return i.calls.live() }

// Listeners returns the addresses that are listened on, such as
// "udp 192.0.2.1:5060"; none while Run does not run.
func (i *Inspector) Listeners() []string {
	i.listenersMu.Lock()
	defer i.listenersMu.Unlock()
	return slices.Clone(i.listening)
}

func (i *Inspector) setListeners(listening []string) {
	i.listenersMu.Lock()
	defer i.listenersMu.Unlock()
	i.listening = listening
}

// welcome reports whether a TCP connection from remote is taken at all.
func (i *Inspector) welcome(remote netip.AddrPort) bool {
	sip := i.current().SIP()
	if partyOf(&sip, remote).side == stranger {
		i.tallies.count(appliance.ReasonUnknownSource)
		return false
	}
	return true
}

// receive handles one datagram. A stranger's is counted and forgotten before a
// byte of it is read.
func (i *Inspector) receive(from flow, data []byte) {
	defer i.catch()
	in := i.current()
	sip := in.SIP()
	who := partyOf(&sip, from.remote)
	if who.side == stranger {
		i.tallies.count(appliance.ReasonUnknownSource)
		return
	}
	if message.Keepalive(data) {
		return
	}
	m, err := message.Parse(inUTF8(data))
	if err != nil {
		i.malformed(from, who, data, err)
		return
	}
	topology := sip // only a message that is handled pays for its place on the heap
	i.handle(m, from, who, in, &topology)
}

// received handles one message from a TCP connection, whose source is asked for
// again: the rules may have changed since it was accepted.
func (i *Inspector) received(from flow, m *message.Message) bool {
	defer i.catch()
	in := i.current()
	sip := in.SIP()
	who := partyOf(&sip, from.remote)
	if who.side == stranger {
		i.tallies.count(appliance.ReasonUnknownSource)
		return false
	}
	i.handle(m, from, who, in, &sip)
	return true
}

// broken counts a connection that holds no proper messages any more. Ends and
// deadlines are nobody's fault.
func (i *Inspector) broken(from flow, start []byte, cause error) {
	defer i.catch()
	var refused *message.Error
	if !errors.As(cause, &refused) {
		return
	}
	sip := i.current().SIP()
	i.malformed(from, partyOf(&sip, from.remote), start, cause)
}

func (i *Inspector) crowded() { i.tallies.count(appliance.ReasonOverload) }

func (i *Inspector) handle(m *message.Message, from flow, who party, in *rules.Rules, sip *rules.SIP) {
	if !m.Request() {
		i.response(m, from, who, sip)
		return
	}
	q, err := read(m, from, who, in, sip, i.now())
	if err != nil {
		i.tallies.count(appliance.ReasonMalformedMessage)
		return
	}
	i.request(q)
}

// response hands a response to the client transaction that waits for it, where
// it comes from the side that was asked. Any other is dropped: a proxy that
// passed stray responses would pass a stranger's challenge to a phone.
func (i *Inspector) response(m *message.Message, from flow, who party, sip *rules.SIP) {
	via, viaErr := m.TopVia()
	cseq, cseqErr := m.CSeq()
	if viaErr != nil || cseqErr != nil {
		i.tallies.count(appliance.ReasonMalformedMessage)
		return
	}
	c := i.txs.client(via.Branch(), cseq.Method)
	if c == nil || partyOf(sip, c.wire.flow.remote).side != who.side {
		i.tallies.count(appliance.ReasonUnknownDialog)
		return
	}
	i.txs.deliver(c, m)
}

// catch keeps one message that breaks the code from taking the box down. Only
// the place is told: the panic's value may quote the message.
func (i *Inspector) catch() {
	if recover() == nil {
		return
	}
	i.tallies.count(appliance.ReasonMalformedMessage)
	place := "an unknown place"
	for skip := 2; skip < 12; skip++ {
		_, file, line, ok := runtime.Caller(skip)
		if ok && strings.Contains(file, "/inspector/") {
			place = fmt.Sprintf("%s:%d", file[strings.LastIndexByte(file, '/')+1:], line)
			break
		}
	}
	i.report(appliance.Event{
		Time: i.now(), Kind: appliance.EventDaemon, Reason: appliance.ReasonMalformedMessage,
		Subject: "inspector", Message: "a message was dropped because its handling panicked at " + place,
	})
}
