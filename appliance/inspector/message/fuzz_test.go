package message

import (
	"bytes"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// seeds are whole messages for every fuzz target that reads one.
func seeds(f *testing.F) [][]byte {
	all := [][]byte{crlf(invite)}
	for _, name := range []string{"rfc4475", "rfc5118"} {
		for _, message := range archive(f, name) {
			all = append(all, message)
		}
	}
	for _, c := range headerCases {
		all = append(all, withHeader(c.header))
	}
	return all
}

func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		before := bytes.Clone(datagram)
		m, err := Parse(datagram)
		if !bytes.Equal(before, datagram) {
			t.Fatal("Parse changed the datagram")
		}
		if err != nil {
			checkError(t, err)
			return
		}
		checkEmitted(t, m)
		checkTolerant(t, datagram, m)
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	e, ok := err.(*Error)
	if !ok || e.Problem == "" || e.Status < 400 || e.Status > 599 {
		t.Errorf("error %#v", err)
	}
}

// checkTolerant reads the accepted datagram as a careless reader would: every
// LF ends a line. It must find no header line more than the strict reader.
func checkTolerant(t *testing.T, datagram []byte, m *Message) {
	t.Helper()
	careless := 0
	for i, line := range strings.Split(string(m.Append(nil)), "\n") {
		if line = strings.TrimRight(line, "\r"); line == "" {
			break
		}
		if i > 0 && strings.Contains(line, ":") && line[0] != ' ' && line[0] != '\t' {
			careless++
		}
	}
	if careless != len(m.Headers)+1 { // Content-Length is the one
		t.Errorf("careless reader finds %d headers, strict one %d, in %q", careless, len(m.Headers)+1, datagram)
	}
}

// chunks is a reader that hands out data in pieces of random size.
type chunks struct {
	data   []byte
	random *rand.Rand
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := min(1+c.random.IntN(40), len(p), len(c.data))
	copy(p, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

// drain reads all that a stream holds: messages, pings as nil, and the error
// at the end.
func drain(r io.Reader) (messages []*Message, err error) {
	s := NewStream(r, 0)
	for {
		m, err := s.Next()
		if err != nil && err != ErrPing {
			return messages, err
		}
		messages = append(messages, m)
	}
}

func FuzzStream(f *testing.F) {
	for i, seed := range seeds(f) {
		f.Add(seed, uint64(i))
		f.Add(append(append(crlf("\n\n\n"), crlf(invite)...), seed...), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		whole, wholeErr := drain(bytes.NewReader(data))
		split, splitErr := drain(&chunks{data, rand.New(rand.NewPCG(seed, 1))})
		if !reflect.DeepEqual(whole, split) || !reflect.DeepEqual(wholeErr, splitErr) {
			t.Fatalf("whole %v %v\nsplit %v %v", whole, wholeErr, split, splitErr)
		}
		var wire []byte
		for _, m := range whole {
			if m == nil {
				wire = append(wire, "\r\n\r\n"...)
				continue
			}
			checkEmitted(t, m)
			wire = m.Append(wire)
		}
		again, err := drain(bytes.NewReader(wire))
		if err != io.EOF || !reflect.DeepEqual(bare(whole...), bare(again...)) {
			t.Fatalf("emitted stream reads otherwise: %v\n%v\n%v", err, whole, again)
		}
	})
}

func FuzzURI(f *testing.F) {
	for _, c := range uriCases {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURI(text)
		if err != nil {
			checkError(t, err)
			return
		}
		canonical := u.String()
		again, err := ParseURI(canonical)
		if err != nil || again != u {
			t.Fatalf("%q reads %+v, its canonical form %q reads %+v (%v)", text, u, canonical, again, err)
		}
		if strings.ContainsAny(canonical, " \t\r\n<>\"\\^`{|}#\x00") && u.Scheme != "tel" {
			t.Errorf("%q became %q", text, canonical)
		}
		if strings.Count(canonical, "@") > 1 && u.Opaque == "" {
			t.Errorf("%q became %q with two @", text, canonical)
		}
		// In brackets the URI must read the same, and end where they end.
		a, err := ParseNameAddr("<" + canonical + ">;tag=1")
		if err != nil || a.URI != u || a.Tag() != "1" {
			t.Errorf("<%s>;tag=1 reads %+v (%v)", canonical, a, err)
		}
		if u.Host != "" {
			checkHost(t, u)
		}
	})
}

// checkHost asserts that a host is an address in its only spelling or a name
// that no reader takes for one.
func checkHost(t *testing.T, u URI) {
	t.Helper()
	if a, ok := u.Addr(); ok {
		if a.String() != u.Host || a.Is4In6() || a.Zone() != "" {
			t.Errorf("host %q is not canonical", u.Host)
		}
		return
	}
	if u.Host != strings.ToLower(u.Host) || strings.Trim(u.Host, "0123456789.x") == "" && !strings.ContainsAny(u.Host, "x") {
		t.Errorf("host %q", u.Host)
	}
}

func FuzzNameAddr(f *testing.F) {
	for _, c := range addressCases {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseNameAddr(text)
		if err != nil {
			checkError(t, err)
			return
		}
		again, err := ParseNameAddr(a.String())
		if err != nil || again != a {
			t.Fatalf("%q reads %+v, its canonical form %q reads %+v (%v)", text, a, a, again, err)
		}
		names := map[string]bool{}
		for name, value := range a.Params.All() {
			got, ok := a.Params.Get(name)
			if !ok || got != value || names[strings.ToLower(name)] {
				t.Errorf("parameter %q of %q", name, text)
			}
			names[strings.ToLower(name)] = true
		}
	})
}
