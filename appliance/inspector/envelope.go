package inspector

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// sipgo's transaction state machines carry sipgo's own messages. Ours travel
// inside them as envelopes: an envelope has the method, CSeq or status that the
// machine looks at, and the whole emitted message as its body. So the timers and
// retransmissions are sipgo's, and every byte on the wire is ours.

// silent keeps sipgo from logging: its messages quote what was received.
var silent = slog.New(slog.DiscardHandler)

// requestEnvelope wraps a request. wire may be nil where the machine only needs
// to know that the request came.
func requestEnvelope(method string, transport string, wire []byte) *sip.Request {
	request := sip.NewRequest(sip.RequestMethod(method), sip.Uri{})
	request.AppendHeader(&sip.CSeqHeader{MethodName: sip.RequestMethod(method)})
	request.SetTransport(transport)
	// Anything but empty: sipgo would otherwise look for a Via.
	request.SetSource("neighbour")
	request.SetBody(wire)
	return request
}

// responseEnvelope wraps a response to method.
func responseEnvelope(method string, status int, wire []byte) *sip.Response {
	response := sip.NewResponse(status, "")
	response.AppendHeader(&sip.CSeqHeader{MethodName: sip.RequestMethod(method)})
	response.SetBody(wire)
	return response
}

// envelopes are the empty ones that every transaction can share: the machines
// only look at them.
type envelopes struct {
	origins map[string]*sip.Request // by method and transport, of server transactions
	heard   [7]*sip.Response        // by class of status
}

func newEnvelopes() envelopes {
	e := envelopes{origins: make(map[string]*sip.Request)}
	for method := range strings.SplitSeq(methods, ", ") {
		for _, transport := range [...]string{"UDP", "TCP"} {
			e.origins[method+transport] = requestEnvelope(method, transport, nil)
		}
	}
	for class := range e.heard {
		e.heard[class] = responseEnvelope("", class*100, nil)
	}
	return e
}

// origin returns the envelope of a request that came in.
func (e envelopes) origin(method, transport string) *sip.Request {
	if shared := e.origins[method+transport]; shared != nil {
		return shared
	}
	return requestEnvelope(method, transport, nil)
}

var errNoAcknowledgement = errors.New("no response to acknowledge")

// wire is the sip.Connection of one transaction: it opens the envelope and
// sends what is inside.
type wire struct {
	flow flow
	lost func(error)

	mu  sync.Mutex
	ack []byte // the ACK to a non-2xx final response; only a client INVITE has one
}

// WriteMsg sends the message inside the envelope. An ACK that sipgo made up
// stands for ours.
func (w *wire) WriteMsg(msg sip.Message) error {
	switch envelope := msg.(type) {
	case *sip.Request:
		if envelope.IsAck() {
			return w.acknowledge()
		}
		return w.flow.send(envelope.Body(), w.lost)
	case *sip.Response:
		if len(envelope.Body()) == 0 {
			return nil // sipgo's own 100 Trying: ours has gone out already
		}
		return w.flow.send(envelope.Body(), nil)
	}
	return nil
}

func (w *wire) acknowledge() error {
	w.mu.Lock()
	ack := w.ack
	w.mu.Unlock()
	if ack == nil {
		return errNoAcknowledgement
	}
	return w.flow.send(ack, nil)
}

func (w *wire) setAck(ack []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ack = ack
}

// LocalAddr, Ref, TryClose and Close complete sip.Connection. The door owns the
// sockets, so they do nothing.
func (w *wire) LocalAddr() net.Addr    { return net.UDPAddrFromAddrPort(w.flow.local) }
func (w *wire) Ref(int) int            { return 1 }
func (w *wire) TryClose() (int, error) { return 1, nil }
func (w *wire) Close() error           { return nil }

// timedOut reports whether a transaction failed for want of an answer.
func timedOut(err error) bool { return errors.Is(err, sip.ErrTransactionTimeout) }
