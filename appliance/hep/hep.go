// Package hep sends copies of SIP messages to a Homer, or another collector that
// speaks HEP version 3. It owns that one connection. What it sends holds no
// credentials, whatever anybody sets. It never makes the sender of a message wait:
// what the collector is too slow for is dropped and counted.
package hep

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/trace"
)

// Collector is where copies go.
type Collector struct {
	Address   string // host and port
	Transport string // udp, tcp or tls
	CaptureID uint32
	Password  string         // empty for none
	RootCAs   *x509.CertPool // whom a certificate is believed from; nil for the system's
}

// Bounds of what waits, and of every wait.
const (
	queueLength = 1024    // messages
	queueBytes  = 4 << 20 // of their text
	dialTimeout = 5 * time.Second
	sendTimeout = 5 * time.Second
	firstPause  = time.Second
	lastPause   = time.Minute
	proofPauses = 10 // so many first pauses without an error make trouble a thing of the past
)

// Exporter sends copies to one collector at a time, none until Run is told of one.
// It is an inspector's tap. It is safe for concurrent use.
type Exporter struct {
	report func(appliance.Event)
	now    func() time.Time
	pause  time.Duration // the first one; tests shorten it

	on      atomic.Bool
	queue   chan copied
	waiting atomic.Int64 // bytes in the queue
	sent    atomic.Uint64
	dropped atomic.Uint64

	mu      sync.Mutex
	address string
	trouble string
}

// copied is one message that waits.
type copied struct {
	callID string
	m      appliance.Message
}

// New returns an exporter that tells report when a collector goes away and comes
// back. report must not block.
func New(report func(appliance.Event), now func() time.Time) *Exporter {
	return &Exporter{report: report, now: now, pause: firstPause, queue: make(chan copied, queueLength)}
}

// Wants reports whether there is a collector.
func (e *Exporter) Wants() bool { return e.on.Load() }

// Take queues a copy of a message, credentials and all: they are taken out before
// it is sent. It never blocks.
func (e *Exporter) Take(callID string, m appliance.Message) {
	if !e.on.Load() {
		return
	}
	if e.waiting.Add(int64(len(m.Text))) > queueBytes {
		e.waiting.Add(-int64(len(m.Text)))
		e.dropped.Add(1)
		return
	}
	select {
	case e.queue <- copied{callID, m}:
	default:
		e.waiting.Add(-int64(len(m.Text)))
		e.dropped.Add(1)
	}
}

// Export returns how it goes.
func (e *Exporter) Export() appliance.Export {
	e.mu.Lock()
	defer e.mu.Unlock()
	return appliance.Export{Address: e.address, Sent: e.sent.Load(), Dropped: e.dropped.Load(), Trouble: e.trouble}
}

// Run sends to a collector until ctx ends, and returns nil then. While the
// collector can't be reached it tries again, with pauses from a second to a minute,
// and drops what comes.
func (e *Exporter) Run(ctx context.Context, to Collector) error {
	e.mu.Lock()
	e.address, e.trouble = to.Address, ""
	e.mu.Unlock()
	e.on.Store(true)
	defer e.end()
	for pause := e.pause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		conn, err := to.dial(ctx)
		if err == nil {
			err = e.pump(ctx, conn, to, func() { pause = e.pause })
		}
		if ctx.Err() != nil {
			return nil
		}
		e.tell(err.Error())
		e.wait(ctx, pause)
	}
	return nil
}

// end forgets the collector and what waited for it.
func (e *Exporter) end() {
	e.on.Store(false)
	for {
		select {
		case one := <-e.queue:
			e.drop(one)
		default:
			e.mu.Lock()
			e.address, e.trouble = "", ""
			e.mu.Unlock()
			return
		}
	}
}

func (e *Exporter) drop(one copied) {
	e.waiting.Add(-int64(len(one.m.Text)))
	e.dropped.Add(1)
}

// wait drops what comes for a while: an hour-old copy helps nobody, and the newest
// ones shall find room when the collector is back.
func (e *Exporter) wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case one := <-e.queue:
			e.drop(one)
		}
	}
}

// tell notes what is wrong, or that nothing is, and reports it where that is news.
func (e *Exporter) tell(trouble string) {
	e.mu.Lock()
	news, address := e.trouble != trouble && (e.trouble == "" || trouble == ""), e.address
	e.trouble = trouble
	e.mu.Unlock()
	if !news {
		return
	}
	message := "copies of messages go to the collector " + address + " again"
	if trouble != "" {
		message = "copies of messages are dropped: " + trouble
	}
	e.report(appliance.Event{Time: e.now(), Kind: appliance.EventDaemon, Verdict: appliance.Allow, Subject: "hep", Message: message})
}

func (c Collector) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	network := c.Transport
	if network == "tls" {
		network = "tcp"
	}
	conn, err := dialer.DialContext(ctx, network, c.Address)
	if err != nil {
		return nil, fmt.Errorf("reach collector over %s: %w", c.Transport, err)
	}
	if c.Transport != "tls" {
		return conn, nil
	}
	host, _, _ := net.SplitHostPort(c.Address) // it was dialled
	secured := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12})
	shaking, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := secured.HandshakeContext(shaking); err != nil {
		conn.Close()
		return nil, fmt.Errorf("secure connection to collector %s: %w", c.Address, err)
	}
	return secured, nil
}

var errClosed = errors.New("the collector closed the connection")

// pump sends what is queued until ctx ends or the connection breaks, and calls
// proven once it has held for a while. A collector says nothing: a connection is
// read from only to notice its end. Over UDP an error is the network's word on an
// earlier packet, and nothing breaks.
func (e *Exporter) pump(ctx context.Context, conn net.Conn, to Collector, proven func()) error {
	gone := make(chan error, 1)
	var watch sync.WaitGroup
	if to.Transport != "udp" {
		watch.Go(func() { gone <- watchEnd(conn) })
	}
	defer watch.Wait()
	defer conn.Close()
	proof := time.NewTimer(proofPauses * e.pause)
	defer proof.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-gone:
			return err
		case <-proof.C:
			e.tell("")
			proven()
		case one := <-e.queue:
			err := e.send(conn, to, one)
			if err != nil && to.Transport != "udp" {
				return err
			}
			if err != nil {
				e.tell(err.Error())
				proof.Reset(proofPauses * e.pause)
			}
		}
	}
}

// send sends one message, without its secrets.
func (e *Exporter) send(conn net.Conn, to Collector, one copied) error {
	e.waiting.Add(-int64(len(one.m.Text)))
	one.m.Text = string(trace.Redact([]byte(one.m.Text)))
	_ = conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if _, err := conn.Write(Encode(one.m, one.callID, to.CaptureID, to.Password)); err != nil {
		e.dropped.Add(1)
		return fmt.Errorf("send to collector %s: %w", to.Address, err)
	}
	e.sent.Add(1)
	return nil
}

// watchEnd reads until there is nothing more.
func watchEnd(conn net.Conn) error {
	buffer := make([]byte, 512)
	for {
		if _, err := conn.Read(buffer); err != nil {
			return fmt.Errorf("%w: %w", errClosed, err)
		}
	}
}
