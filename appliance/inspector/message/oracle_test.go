package message

import (
	"bytes"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// checkOracle lets another parser read what was emitted. What it takes must mean
// the same to it: who is called, which dialog and transaction it is, and where the
// message ends. It may refuse more than we do.
func checkOracle(t *testing.T, m *Message, wire []byte) {
	t.Helper()
	other, err := sip.ParseMessage(wire)
	if err != nil {
		return
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("another parser reads the %s as %q, we as %q, in %q", what, got, want, wire)
		}
	}
	switch other := other.(type) {
	case *sip.Request:
		check("method", string(other.Method), strings.ToUpper(m.Method)) // it has no lower case
		if uri, err := m.RequestURI(); err == nil && (uri.Scheme == "sip" || uri.Scheme == "sips") {
			check("called user", other.Recipient.User, uri.User)
			check("called host", strings.Trim(other.Recipient.Host, "[]"), uri.Host)
		}
	case *sip.Response:
		if other.StatusCode != m.Status || m.Request() {
			t.Errorf("another parser reads status %d in %q", other.StatusCode, wire)
		}
	}
	check("Call-ID", other.CallID().Value(), m.CallID())
	if from, err := m.From(); err == nil {
		tag, _ := other.From().Params.Get("tag")
		check("From tag", tag, from.Tag())
	}
	if to, err := m.To(); err == nil {
		tag, _ := other.To().Params.Get("tag")
		check("To tag", tag, to.Tag())
	}
	if via, err := m.TopVia(); err == nil {
		branch, _ := other.Via().Params.Get("branch")
		check("branch", branch, via.Branch())
	}
	if cseq, err := m.CSeq(); err == nil && other.CSeq().SeqNo != cseq.Number {
		t.Errorf("another parser reads CSeq %d in %q", other.CSeq().SeqNo, wire)
	}
	if got, want := len(other.GetHeaders("Via")), len(m.All("Via")); got != want {
		t.Errorf("another parser reads %d Vias, we %d, in %q", got, want, wire)
	}
	if !bytes.Equal(other.Body(), m.Body) {
		t.Errorf("another parser reads the body as %q in %q", other.Body(), wire)
	}
}

// TestOracleTakesUsualMessages: an oracle that refused everything would prove
// nothing.
func TestOracleTakesUsualMessages(t *testing.T) {
	if _, err := sip.ParseMessage(parsed(t, invite).Append(nil)); err != nil {
		t.Fatal(err)
	}
}
