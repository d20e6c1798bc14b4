package message

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// ErrPing is what Stream.Next returns for a double CRLF between messages: the
// keepalive of RFC 5626 section 3.5.1. The answer is one CRLF.
var ErrPing = errors.New("read keepalive ping")

// Stream reads messages from a byte stream such as a TCP connection. It holds
// at most max bytes. Time is the caller's: it sets deadlines on what it reads
// from, for which Pending tells whether a message has begun.
type Stream struct {
	r      io.Reader
	max    int
	buf    []byte // read and not yet consumed
	done   int    // bytes at its start that the last message was
	raw    []byte // the last message, see Raw
	blank  bool   // a CRLF that is no ping yet was the last thing consumed
	seen   int    // bytes of buf that hold no end of headers
	head   *Message
	body   int // where the body of head begins in buf
	need   int // where it ends
	failed error
}

// NewStream returns a Stream of messages up to max bytes, or up to MaxSize
// where max is not within it.
func NewStream(r io.Reader, max int) *Stream {
	if max <= 0 || max > MaxSize {
		max = MaxSize
	}
	return &Stream{r: r, max: max}
}

// Pending reports whether bytes of an unfinished message have arrived.
func (s *Stream) Pending() bool { return len(s.buf) > s.done }

// Raw returns the message that Next returned last as it stood on the wire, until
// Next is called again.
func (s *Stream) Raw() []byte { return s.raw }

// Next returns the next message. Content-Length is required (RFC 3261 section
// 18.3). It returns ErrPing for a keepalive, io.EOF at an end between
// messages, io.ErrUnexpectedEOF within one, and the reader's own error, after
// which Next may be called again. An *Error is final: where the next message
// begins is not known any more, and the connection must be closed.
func (s *Stream) Next() (*Message, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	s.release()
	for {
		m, err := s.take()
		if m != nil || errors.Is(err, ErrPing) {
			return m, err
		}
		if err == nil {
			err = s.fill()
		}
		if err != nil {
			return nil, s.fail(err)
		}
	}
}

func (s *Stream) fail(err error) error {
	var refused *Error
	if errors.As(err, &refused) {
		s.failed, s.buf = err, nil
	}
	return err
}

// take consumes one message or ping. Both results are nil where more bytes
// are needed.
func (s *Stream) take() (*Message, error) {
	if s.head == nil {
		if err := s.skip(); err != nil {
			return nil, err
		}
		if err := s.begin(); err != nil || s.head == nil {
			return nil, err
		}
	}
	if len(s.buf) < s.need {
		return nil, nil
	}
	return s.finish(), nil
}

// skip consumes the line ends before a message. One CRLF is let through (RFC
// 3261 section 7.5), every second one in a row makes a ping.
func (s *Stream) skip() error {
	for bytes.HasPrefix(s.buf, []byte("\r\n")) {
		s.consume(2)
		if s.blank = !s.blank; !s.blank {
			return ErrPing
		}
	}
	if len(s.buf) > 1 && s.buf[0] == '\r' {
		return bad("holds a line that does not end with CRLF")
	}
	return nil
}

// begin reads the head where all of it has arrived.
func (s *Stream) begin() error {
	if len(s.buf) > 0 && s.buf[0] != '\r' && classes[s.buf[0]]&classToken == 0 {
		return bad("is no SIP message") // as TLS, or a message folded at its start
	}
	end := bytes.Index(s.buf[s.seen:], []byte("\r\n\r\n"))
	if end < 0 {
		s.seen = max(0, len(s.buf)-3)
		return nil
	}
	end += s.seen
	head, length, err := parseHead(s.buf[:end+2], string(s.buf[:end+2]))
	if err != nil {
		return err
	}
	if length < 0 {
		return in("Content-Length", bad("is missing"))
	}
	if end+4+length > s.max {
		return &Error{Problem: "message is too large", Status: 513}
	}
	s.head, s.body, s.need = head, end+4, end+4+length
	return nil
}

func (s *Stream) finish() *Message {
	m := s.head
	if s.need > s.body {
		m.Body = bytes.Clone(s.buf[s.body:s.need])
	}
	s.raw, s.done = s.buf[:s.need], s.need
	if s.need == len(s.buf) && cap(s.buf) > 4*readSize {
		s.buf, s.done = nil, 0 // an idle connection keeps no room for a large message
	}
	s.head, s.seen, s.blank = nil, 0, false
	return m
}

func (s *Stream) consume(n int) {
	rest := copy(s.buf, s.buf[n:])
	if s.buf = s.buf[:rest]; rest == 0 && cap(s.buf) > 4*readSize {
		s.buf = nil
	}
}

// release forgets the last message.
func (s *Stream) release() {
	if s.raw = nil; s.done > 0 {
		s.consume(s.done)
		s.done = 0
	}
}

const readSize = 4 << 10

// fill reads more bytes, within max.
func (s *Stream) fill() error {
	room := min(readSize, s.max-len(s.buf))
	if room <= 0 {
		return &Error{Problem: "message is too large", Status: 513}
	}
	from := len(s.buf)
	s.buf = slices.Grow(s.buf, room)
	n, err := s.r.Read(s.buf[from : from+room])
	s.buf = s.buf[:from+n]
	if n > 0 {
		return nil
	}
	if err == io.EOF && from > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
