package message

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var headerLine = regexp.MustCompile("^[A-Za-z0-9.!%*_+`'~-]+: [^\\x00-\\x1f\\x7f]*$")

// checkEmitted asserts what must hold of every accepted message: its bytes
// split into the same lines for a reader that takes bare LF or CR for a line
// end, no line folds or holds a control character, the length is exact, and
// reading them again gives the same message.
func checkEmitted(t *testing.T, m *Message) {
	t.Helper()
	wire := m.Append(nil)
	head, body, found := bytes.Cut(wire, []byte("\r\n\r\n"))
	if !found || !bytes.Equal(body, m.Body) {
		t.Fatalf("body does not follow the head in %q", wire)
	}
	lines := bytes.Split(head, []byte("\r\n"))
	for i, line := range lines {
		if i == 0 && bytes.ContainsFunc(line, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Errorf("start line %q", line)
		}
		if i > 0 && !headerLine.Match(line) {
			t.Errorf("line %q", line)
		}
	}
	if !utf8.Valid(head) {
		t.Errorf("head is not UTF-8: %q", head)
	}
	for _, name := range []string{"From", "To"} {
		a, err := ParseNameAddr(m.Get(name))
		if n := strings.Count(strings.ToLower(m.Get(name)), ";tag="); err != nil || n > 1 || n == 1 && a.Tag() == "" {
			t.Errorf("%s %q holds %d tags (%v)", name, m.Get(name), n, err)
		}
	}
	again, err := Parse(wire)
	if err != nil {
		t.Fatalf("emitted message is refused: %v\n%q", err, wire)
	}
	checkRecalled(t, again)
	if !reflect.DeepEqual(bare(m), bare(again)) {
		t.Fatalf("emitted message reads otherwise:\n%+v\n%+v", m, again)
	}
	if !bytes.Equal(again.Append(nil), wire) {
		t.Errorf("emission is not stable: %q", wire)
	}
	checkAccessors(t, m)
	checkOracle(t, m, wire)
}

// checkAccessors asserts that nothing Parse let through is unreadable to a
// typed accessor.
func checkAccessors(t *testing.T, m *Message) {
	t.Helper()
	read := func(name string, f func() error) {
		if m.Has(name) {
			if err := f(); err != nil {
				t.Errorf("%s %q: %v", name, m.All(name), err)
			}
		}
	}
	read("Via", func() error { _, err := m.Vias(); return err })
	read("Via", func() error { _, err := m.TopVia(); return err })
	read("From", func() error { _, err := m.From(); return err })
	read("To", func() error { _, err := m.To(); return err })
	read("CSeq", func() error { _, err := m.CSeq(); return err })
	read("Max-Forwards", func() error { _, err := m.MaxForwards(); return err })
	read("Contact", func() error { _, _, err := m.Contacts(); return err })
	read("Route", func() error { _, err := m.Routes(); return err })
	read("Record-Route", func() error { _, err := m.RecordRoutes(); return err })
	read("Refer-To", func() error { _, err := m.ReferTo(); return err })
	read("Replaces", func() error { _, err := m.Replaces(); return err })
	read("RAck", func() error { _, err := m.RAck(); return err })
	read("RSeq", func() error { _, err := m.RSeq(); return err })
	read("Expires", func() error { _, err := m.Expires(); return err })
	read("Session-Expires", func() error { _, err := m.SessionExpires(); return err })
	read("Content-Type", func() error { _, err := m.ContentType(); return err })
	for _, name := range []string{"Require", "Supported", "Proxy-Require", "Unsupported", "Allow", "Content-Encoding"} {
		read(name, func() error { _, err := m.Tokens(name); return err })
	}
	if m.Request() {
		if _, err := ParseURI(m.URI); err != nil {
			t.Errorf("Request-URI %q: %v", m.URI, err)
		}
	}
}
