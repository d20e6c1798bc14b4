// Package inspector is the SIP side of the box: a dialog-stateful proxy between
// the LAN and its trunks. It frames and reads every message strictly, judges
// whatever can become a callee, and emits what it understood from its own
// model, never the bytes that came in.
//
// It owns the SIP sockets and the tables behind them: transactions, dialogs,
// registered contacts and calls, each bounded. It knows no file and no kernel
// map. What it emits, and how its transactions behave, is held against sipgo in
// the tests of the packages below it.
package inspector

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
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
	trunks   *trunks
	dialogs  *dialogs
	bindings *bindings
	habits   habits
	calls    *calls
	watch    *Watch
	past     *past
	ring     *ring
	media    *book
	cuts     cuts
	salvages salvages

	behaviour Behaviour // nil where there is none

	closing atomic.Bool // Run is ending: see drain
	serving atomic.Bool // Run has opened its listeners and has not ended
}

// Parts are what an inspector works with.
type Parts struct {
	// Rules returns those in force; it is asked once for each message.
	Rules func() *rules.Rules
	// Keys returns those that TLS is spoken with; it is asked for each new connection.
	Keys func() Keys
	// Report hears what happened, and must not block.
	Report func(appliance.Event)
	// Watch is what is learned of who uses the box.
	Watch *Watch
	// Behaviour judges how calls are made; nil where nobody does.
	Behaviour Behaviour
	// Media is the guard of the WAN's media; nil where there is none.
	Media Media
	Observing
}

// New returns an inspector. The error is for a missing part.
func New(parts Parts) (*Inspector, error) {
	if parts.Rules == nil || parts.Keys == nil || parts.Report == nil || parts.Watch == nil {
		return nil, fmt.Errorf("build inspector: rules, keys, report and watch are required")
	}
	i := build(parts, defaultLimits(), time.Now)
	i.observe(parts.Observing)
	return i, nil
}

// observe is a part of building: nobody has the inspector yet.
func (i *Inspector) observe(by Observing) {
	i.door.ear.tap, i.calls.firmware = by.Tap, by.Firmware
}

func build(parts Parts, bounds limits, now func() time.Time) *Inspector {
	current, report := parts.Rules, parts.Report
	i := &Inspector{current: current, report: report, watch: parts.Watch, now: now, bounds: bounds, branches: newBranches()}
	i.ring = newRing(bounds, current, now)
	i.door = newDoor(bounds, i, parts.Keys)
	i.door.ear = &ear{ring: i.ring, now: now}
	i.txs = newTransactions(bounds, i.catch)
	i.dialogs = newDialogs(bounds)
	i.bindings = newBindings(bounds)
	i.past = newPast(bounds)
	i.behaviour = parts.Behaviour
	i.calls = newCalls(report, i.ring, bounds)
	i.calls.behaviour, i.calls.current = parts.Behaviour, current
	i.trunks = newTrunks(report)
	i.cuts.all = make(map[*cut]struct{})
	i.media = newBook(parts.Media, func(text string) {
		report(appliance.Event{Time: now(), Kind: appliance.EventDaemon, Subject: "media", Message: text})
	})
	return i
}

// Run binds the listening addresses of the rules in force and serves until ctx
// ends, once. Later changes of those addresses need a new Inspector. It returns
// nil after ctx ended and an error where an address can't be bound. Between the
// end of ctx and its return it drains: it takes nothing new but calls for help,
// and lets what is in flight end, for less than 6 s.
func (i *Inspector) Run(ctx context.Context) error {
	sip := i.current().SIP()
	if err := i.door.open(ctx, sip.Listen, sip.Secure); err != nil {
		return fmt.Errorf("open sip listeners: %w", err)
	}
	if err := i.door.intercept(ctx, sip.Intercepted); err != nil {
		i.door.shut()
		return fmt.Errorf("open transparent sockets: %w", err)
	}
	i.inherit()
	i.serving.Store(true)
	defer i.serving.Store(false)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tasks sync.WaitGroup
	tasks.Go(func() { i.atEachSweep(serving, i.sweep) })
	tasks.Go(func() { i.atEachSweep(serving, i.probeTrunks) })
	tasks.Go(func() {
		defer stop()
		i.drain(ctx)
	})
	i.door.serve(serving)
	i.txs.close()
	tasks.Wait()
	i.calls.abandon(i.now())
	i.tellOmissions(i.now(), 0)
	return nil
}

func (i *Inspector) tellOmissions(now time.Time, least time.Duration) {
	for _, omitted := range i.calls.evidence.omissions(now, least) {
		i.report(omitted)
	}
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
	if !i.serving.Load() {
		return nil
	}
	return i.door.listeners()
}

// welcome reports whether a TCP connection from remote is taken at all.
func (i *Inspector) welcome(remote netip.AddrPort) bool {
	if partyOf(i.current().Topology(), remote).side == stranger {
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
	sip := in.Topology()
	who := partyOf(sip, from.remote)
	if who.side == stranger {
		i.tallies.count(appliance.ReasonUnknownSource)
		return
	}
	if message.Keepalive(data) {
		return
	}
	if i.absorbed(from, data) {
		return
	}
	m, err := message.Parse(inUTF8(data))
	if err != nil {
		i.malformed(from, who, data, err)
		return
	}
	if text := m.Text(); text == string(data) { // nearly always
		received(i.door.ear, from, m.CallID(), opens(m), text)
	} else {
		received(i.door.ear, from, m.CallID(), opens(m), data)
	}
	i.handle(m, from, who, in, sip)
}

// absorbed takes the ACK to a refusal, which ends here, by its topmost Via alone:
// whoever is refused costs no second reading of a whole message. Every other
// datagram is left to be read.
func (i *Inspector) absorbed(from flow, data []byte) bool {
	hop, ok := message.AckHop(data)
	if !ok {
		return false
	}
	var buf [usualKey]byte // on the stack
	tx := i.txs.invited(appendKey(buf[:0], hop.Branch, hop.Host, hop.Port, from, "INVITE"))
	if tx == nil || !tx.acknowledged() {
		return false
	}
	received(i.door.ear, from, string(callIDIn(tx.answer())), false, data)
	return true
}

// received handles one message from a TCP connection, whose source is asked for
// again: the rules may have changed since it was accepted.
func (i *Inspector) received(from flow, m *message.Message) bool {
	defer i.catch()
	in := i.current()
	sip := in.Topology()
	who := partyOf(sip, from.remote)
	if who.side == stranger {
		i.tallies.count(appliance.ReasonUnknownSource)
		return false
	}
	if via, err := m.TopVia(); err == nil && m.Request() {
		i.door.alias(from, *via)
	}
	i.handle(m, from, who, in, sip)
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
	if q.recorded() {
		q.caller = i.callerOf(q)
	}
	if from.stream != nil {
		q.back.again = i.returning(q)
	}
	i.request(q)
}

// returning is how a response finds its way after its connection has ended: to the
// source of the request, at the port that its Via names, or where else its sender can
// be found.
func (i *Inspector) returning(q *request) func() (flow, error) {
	return func() (flow, error) {
		via := message.URI{Port: q.via.Port, Params: message.Params(";transport=" + q.from.transport)}
		user := q.fromAddr.URI.User
		if contact, ok := q.Contact(); ok {
			user = contact.URI.User
		}
		return i.rejoin(q.sip, q.from, netip.AddrPortFrom(q.from.remote.Addr(), portOf(via)), user)
	}
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
	if c == nil || partyOf(sip, c.flow.remote).side != who.side {
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
