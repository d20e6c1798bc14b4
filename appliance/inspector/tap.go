package inspector

import (
	"bytes"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// Tap takes a copy of every SIP message that crosses the box's edge, but for those
// of strangers and those that could not be read. Both methods may be called from
// any goroutine, for each message: they must not block.
type Tap interface {
	// Wants reports whether Take would do anything: where it does not, no copy is
	// made.
	Wants() bool
	// Take takes one message as it stands on the wire, credentials and all: whoever
	// hands it on must redact it first.
	Take(callID string, m appliance.Message)
}

// Observing is what else an inspector tells of what it does.
type Observing struct {
	Firmware string // the program's version, for the records
	Tap      Tap    // nil for none
}

// ear hears every message at the sockets. A nil ear hears nothing.
type ear struct {
	ring *ring
	tap  Tap // nil for none
	now  func() time.Time
}

// received hears a message that was read. opens says whether it could be the first of
// a call. text is copied where it is kept, unless it is a string.
func received[octets string | []byte](e *ear, from flow, callID string, opens bool, text octets) {
	if e == nil {
		return
	}
	if !e.ring.off() {
		heard(e.ring, from, callID, opens, text)
	}
	if e.tap != nil && e.tap.Wants() {
		e.pass(from, false, callID, string(text))
	}
}

// opens reports whether a message could be the first of a call that gets a record.
func opens(m *message.Message) bool {
	return (m.Method == "INVITE" || m.Method == "MESSAGE") && !strings.Contains(m.Get("To"), ";tag=")
}

// sent hears a message that goes out. wire must not change from here on.
func (e *ear) sent(to flow, wire []byte) {
	if e == nil {
		return
	}
	keeps, taps := !e.ring.off(), e.tap != nil && e.tap.Wants()
	if !keeps && !taps {
		return
	}
	callID := callIDIn(wire)
	if len(callID) == 0 {
		return // the answer to a keepalive
	}
	if keeps {
		e.ring.told(to, callID, wire)
	}
	if taps {
		e.pass(to, true, string(callID), string(wire))
	}
}

// callIDIn finds the Call-ID in what we wrote: it has one spelling there, and
// nothing before it can hold a line end.
func callIDIn(wire []byte) []byte {
	const name = "\r\nCall-ID: "
	at := bytes.Index(wire, []byte(name))
	if at < 0 {
		return nil
	}
	value := wire[at+len(name):]
	if end := bytes.IndexByte(value, '\r'); end >= 0 {
		return value[:end]
	}
	return nil
}

func (e *ear) pass(by flow, sent bool, callID, text string) {
	e.tap.Take(strings.Clone(callID), appliance.Message{
		Time: e.now(), Sent: sent, Transport: string(by.transport), Local: by.local, Remote: by.remote,
		Length: len(text), Text: text,
	})
}

// Trace returns what is kept of the messages of a Call-ID, without credentials.
func (i *Inspector) Trace(callID string) appliance.Trace { return i.ring.trace(callID) }
