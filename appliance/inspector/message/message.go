// Package message is the SIP message as the inspector knows it: a strict
// parser for datagrams and streams, one canonical model, and emission from
// that model alone. Bytes that were not understood are never passed on.
//
// It owns the grammar of RFC 3261 section 25 and what the extensions add that
// the inspector reads. It is stricter than the grammar where a second reader
// could see another message in the same bytes: no control character but the
// CRLF that ends a line, no repeated single-value header, no odd spelling of
// an address. It does no I/O, keeps no clock and starts no goroutine; Stream
// reads from a reader that its caller opens, bounds in time and closes.
//
// Strings in a Message share the memory of the text that was read: keep
// strings.Clone of a value that outlives the message.
package message

import (
	"bytes"
	"slices"
	"strings"
)

// Bounds on one message. What exceeds them is refused, whatever it says.
const (
	// MaxSize is the largest message in bytes, start line to end of body.
	MaxSize = 64 << 10
	// MaxHeaders is the largest number of headers, after lists were taken apart.
	MaxHeaders = 128
	// MaxParams is the largest number of parameters of one URI or header value.
	MaxParams = 32
)

// DefaultMaxForwards is the Max-Forwards that a request without one is given
// (RFC 3261 section 16.6, step 3).
const DefaultMaxForwards = 70

// Message is one SIP request or response in canonical form.
//
// A message that Parse or Stream returned obeys the grammar in every header
// that has a rule here, and the typed accessors of those headers can't fail.
// Headers stand in one fixed order (rank, then order of arrival), a list of
// Via, Route, Record-Route, Path, Service-Route or Contact values takes one
// Header for each value, and Content-Length is absent: Append counts Body.
type Message struct {
	Method  string // "" for a response; case matters (RFC 3261 section 7.1)
	URI     string // Request-URI in canonical form, "" for a response
	Status  int    // 100-699, 0 for a request
	Phrase  string // reason phrase, may be empty
	Headers []Header
	Body    []byte // nil where there is none

	readings *readings // nil unless it was parsed
	text     string    // see Text
}

// Header is one header field: a canonical long name, or the spelling received
// where the name is unknown, and an unfolded value without space around it.
type Header struct{ Name, Value string }

// Error says why a message, header or URI was refused. Problem is a fixed
// phrase that never quotes what was received.
type Error struct {
	Header  string // canonical name, "Request-Line", "Status-Line", or ""
	Problem string
	Status  int // the response that fits: 400, 505 or 513
}

// Error reads "header: problem".
func (e *Error) Error() string {
	if e.Header == "" {
		return e.Problem
	}
	return e.Header + ": " + e.Problem
}

// bad is the usual refusal; whoever knows the header's name adds it.
func bad(problem string) error { return &Error{Problem: problem, Status: 400} }

// in names the header that err is about, unless it is already named.
func in(header string, err error) error {
	if e, ok := err.(*Error); ok && e.Header == "" {
		return &Error{Header: header, Problem: e.Problem, Status: e.Status}
	}
	return err
}

// absent is the error of an accessor whose header is not there.
func absent(name string) error {
	return &Error{Header: name, Problem: "is missing", Status: 400}
}

// Text returns the datagram that m was read from, without what lay beyond its end. It
// is "" of a message that came otherwise. The headers share its memory.
func (m *Message) Text() string { return m.text }

// Request reports whether m is a request.
func (m *Message) Request() bool { return m.Method != "" }

func same(name, other string) bool {
	return name == other || len(name) == len(other) && strings.EqualFold(name, other)
}

// Get returns the value of the first header called name, "" where there is
// none. Names are long names in any case.
func (m *Message) Get(name string) string {
	if i := m.find(name); i >= 0 {
		return m.Headers[i].Value
	}
	return ""
}

// Has reports whether a header called name is there.
func (m *Message) Has(name string) bool { return m.find(name) >= 0 }

func (m *Message) find(name string) int {
	for i := range m.Headers {
		if same(m.Headers[i].Name, name) {
			return i
		}
	}
	return -1
}

// All returns the values of every header called name, in order.
func (m *Message) All(name string) []string {
	n := 0
	for i := range m.Headers {
		if same(m.Headers[i].Name, name) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	values := make([]string, 0, n)
	for i := range m.Headers {
		if same(m.Headers[i].Name, name) {
			values = append(values, m.Headers[i].Value)
		}
	}
	return values
}

// Set replaces every header called name by one with value.
func (m *Message) Set(name, value string) {
	i := m.find(name)
	if i < 0 {
		m.Add(name, value)
		return
	}
	m.Headers[i].Value = value
	kept := slices.DeleteFunc(m.Headers[i+1:], func(h Header) bool { return same(h.Name, name) })
	m.Headers = m.Headers[:i+1+len(kept)]
}

// Del removes every header called name.
func (m *Message) Del(name string) {
	m.Headers = slices.DeleteFunc(m.Headers, func(h Header) bool { return same(h.Name, name) })
}

// Add puts a header after those that rank no later: the last of its name.
func (m *Message) Add(name, value string) {
	name, rank := ranked(name)
	i := len(m.Headers)
	for i > 0 && rankOf(m.Headers[i-1].Name) > rank {
		i--
	}
	m.Headers = slices.Insert(m.Headers, i, Header{name, value})
}

// Push puts a header before the others of its name: a new topmost Via, Route
// or Record-Route.
func (m *Message) Push(name, value string) {
	if i := m.find(name); i >= 0 {
		m.Headers = slices.Insert(m.Headers, i, Header{m.Headers[i].Name, value})
		return
	}
	m.Add(name, value)
}

// Pop removes the first header called name and returns its value. The boolean
// is false where there is none.
func (m *Message) Pop(name string) (string, bool) {
	i := m.find(name)
	if i < 0 {
		return "", false
	}
	value := m.Headers[i].Value
	m.Headers = slices.Delete(m.Headers, i, i+1)
	return value, true
}

// Clone returns a copy that shares nothing that can be changed.
func (m *Message) Clone() *Message {
	out := *m // the readings never change
	out.Headers = slices.Clone(m.Headers)
	out.Body = bytes.Clone(m.Body)
	return &out
}
