package message

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func parsed(t *testing.T, text string) *Message {
	t.Helper()
	m, err := Parse(crlf(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestStreamSplits gives the same messages whole, byte by byte and with the
// end of the stream in the same read (F6).
func TestStreamSplits(t *testing.T) {
	options := strings.ReplaceAll(base, "INVITE", "OPTIONS") + "\n"
	data := crlf("\n" + invite + "\n\n" + options + "\n\n\n" + invite + options)
	first, second := parsed(t, invite), parsed(t, options)
	want := []*Message{first, nil, second, nil, first, second}
	readers := map[string]io.Reader{
		"whole":        bytes.NewReader(data),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(data)),
		"halves":       iotest.HalfReader(bytes.NewReader(data)),
		"with EOF":     iotest.DataErrReader(bytes.NewReader(data)),
	}
	for name, r := range readers {
		got, err := drain(r)
		if err != io.EOF || !reflect.DeepEqual(bare(got...), bare(want...)) {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
	}
}

func TestStreamRefuses(t *testing.T) {
	cases := []struct{ name, data, blame, problem string }{
		{"no length", strings.Replace(base, "Content-Length: 0\n", "", 1) + "\n", "Content-Length", "missing"},
		{"two lengths", base + "Content-Length: 300\n\n" + invite, "Content-Length", "more than once"},
		{"two lengths, compact", base + "l: 300\n\n" + invite, "Content-Length", "more than once"},
		{"negative length", strings.Replace(base, "Length: 0", "Length: -1", 1) + "\n", "Content-Length", "not a number"},
		{"length beyond the bound", strings.Replace(base, "Length: 0", "Length: 65536", 1) + "\n", "", "too large"},
		{"length that wraps", strings.Replace(base, "Length: 0", "Length: 4294967296", 1) + "\n", "Content-Length", "out of range"},
		{"length too short", strings.Replace(invite, "Length: 148", "Length: 140", 1) + base + "\n", "Request-Line", "not a request line"},
		{"endless head", strings.Replace(base, "Max-Forwards", strings.Repeat("X: y\n", MaxSize/6)+"Max-Forwards", 1), "", "too large"},
		{"TLS", "\x16\x03\x01\x02\x00", "", "no SIP message"},
		{"SigComp", "\xf8\xa1", "", "no SIP message"},
		{"NUL", "\x00\x00\x00\x00", "", "no SIP message"},
		{"space first", " " + base, "", "no SIP message"},
		{"HTTP", "GET / HTTP/1.1\nHost: x\n\n", "Request-Line", "no SIP version"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := NewStream(bytes.NewReader(crlf(c.data)), 0)
			var err error
			for err == nil {
				_, err = s.Next()
			}
			checkProblem(t, err, c.blame, c.problem)
			if _, again := s.Next(); again != err {
				t.Errorf("a refused stream goes on with %v", again)
			}
			if s.Pending() {
				t.Error("a refused stream keeps bytes")
			}
		})
	}
	for _, data := range []string{"\r\r\n", "\rINVITE", "\r\n\rINVITE"} {
		if _, err := drain(strings.NewReader(data)); err == nil || !strings.Contains(err.Error(), "CRLF") {
			t.Errorf("%q: %v", data, err)
		}
	}
}

// TestStreamLimit shows that max bounds head and body together, and that what
// just fits passes.
func TestStreamLimit(t *testing.T) {
	data := crlf(invite)
	if _, err := NewStream(bytes.NewReader(data), len(data)).Next(); err != nil {
		t.Error(err)
	}
	large := crlf(strings.Replace(base, "Length: 0", "Length: 60000", 1) + "\n" + strings.Repeat("x", 60000))
	s := NewStream(bytes.NewReader(large), 0)
	if m, err := s.Next(); err != nil || len(m.Body) != 60000 {
		t.Error(err)
	}
	if cap(s.buf) > 4*readSize {
		t.Errorf("an idle stream keeps %d bytes", cap(s.buf))
	}
	_, err := NewStream(bytes.NewReader(data), len(data)-1).Next()
	checkProblem(t, err, "", "too large")
	_, err = NewStream(bytes.NewReader(data), 100).Next()
	checkProblem(t, err, "", "too large")
}

func TestStreamEnds(t *testing.T) {
	cases := []struct {
		data string
		want error
	}{
		{"", io.EOF},
		{"\r\n", io.EOF},
		{"\r", io.ErrUnexpectedEOF},
		{"INV", io.ErrUnexpectedEOF},
		{string(crlf(invite))[:len(crlf(invite))-1], io.ErrUnexpectedEOF},
	}
	for _, c := range cases {
		if _, err := NewStream(strings.NewReader(c.data), 0).Next(); err != c.want {
			t.Errorf("%.20q: %v, want %v", c.data, err, c.want)
		}
	}
}

// TestStreamAfterTimeout shows that a reader's own error loses nothing, and
// that Pending tells a silent peer from one that sends half a message.
func TestStreamAfterTimeout(t *testing.T) {
	data := crlf(invite)
	r := &interrupted{parts: [][]byte{nil, []byte("\r\n"), nil, data[:100], nil, data[100:500], nil, data[500:]}}
	s := NewStream(r, 0)
	for i, pending := range []bool{false, false, true, true} {
		if _, err := s.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d: %v", i, err)
		}
		if s.Pending() != pending {
			t.Errorf("read %d: pending is %v", i, !pending)
		}
	}
	m, err := s.Next()
	if err != nil || !reflect.DeepEqual(bare(m), bare(parsed(t, invite))) {
		t.Errorf("after the timeouts: %v, %v", m, err)
	}
	if s.Pending() {
		t.Error("still pending")
	}
}

// interrupted hands out its parts; an empty one is a timeout.
type interrupted struct{ parts [][]byte }

func (r *interrupted) Read(p []byte) (int, error) {
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	part := r.parts[0]
	r.parts = r.parts[1:]
	if part == nil {
		return 0, os.ErrDeadlineExceeded
	}
	return copy(p, part), nil
}

// TestStreamRaw holds each message against the bytes that it came in.
func TestStreamRaw(t *testing.T) {
	small := string(crlf(base + "\n"))
	large := string(crlf(strings.Replace(base, "Length: 0", "Length: 60000", 1) + "\n" + strings.Repeat("x", 60000)))
	want := []string{small, large, small, small}
	for name, reader := range map[string]io.Reader{
		"at once":      strings.NewReader(strings.Join(want, "")),
		"byte by byte": iotest.OneByteReader(strings.NewReader(strings.Join(want, "\r\n"))),
	} {
		s := NewStream(reader, 0)
		for n := range want {
			if _, err := s.Next(); err != nil {
				t.Fatalf("%s, message %d: %v", name, n, err)
			}
			if string(s.Raw()) != want[n] {
				t.Fatalf("%s, message %d: %d bytes, want %d", name, n, len(s.Raw()), len(want[n]))
			}
		}
		if _, err := s.Next(); err != io.EOF || s.Raw() != nil || s.Pending() {
			t.Errorf("%s: %v, %d bytes", name, err, len(s.Raw()))
		}
	}
}
