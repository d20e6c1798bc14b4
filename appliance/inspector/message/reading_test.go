package message

import (
	"reflect"
	"testing"
)

// bare returns messages without what the parser kept beside their text: of two
// that read the same, one may have come in another form.
func bare(messages ...*Message) []*Message {
	out := make([]*Message, len(messages))
	for i, m := range messages {
		if m != nil {
			plain := *m
			plain.readings, plain.text = nil, ""
			out[i] = &plain
		}
	}
	return out
}

// checkRecalled reads everything that is kept once more, from the text.
func checkRecalled(t *testing.T, m *Message) {
	t.Helper()
	again := bare(m)[0]
	check := func(name string, got, want any, gotErr, wantErr error) {
		t.Helper()
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotErr, wantErr) {
			t.Errorf("%s was kept as %+v (%v), and reads %+v (%v)", name, got, gotErr, want, wantErr)
		}
	}
	uri, uriErr := m.RequestURI()
	uri2, uriErr2 := again.RequestURI()
	check("Request-URI", uri, uri2, uriErr, uriErr2)
	via, viaErr := m.TopVia()
	via2, viaErr2 := again.TopVia()
	check("Via", via, via2, viaErr, viaErr2)
	from, fromErr := m.From()
	from2, fromErr2 := again.From()
	check("From", from, from2, fromErr, fromErr2)
	to, toErr := m.To()
	to2, toErr2 := again.To()
	check("To", to, to2, toErr, toErr2)
	cseq, cseqErr := m.CSeq()
	cseq2, cseqErr2 := again.CSeq()
	check("CSeq", cseq, cseq2, cseqErr, cseqErr2)
	hops, hopsErr := m.MaxForwards()
	hops2, hopsErr2 := again.MaxForwards()
	check("Max-Forwards", hops, hops2, hopsErr, hopsErr2)
}

// TestWhatWasReadIsForgottenWithItsText: a header that was changed reads as it
// says now.
func TestWhatWasReadIsForgottenWithItsText(t *testing.T) {
	m := parsed(t, invite)
	checkRecalled(t, m)
	copied := m.Clone()
	m.URI = "sip:other@host"
	m.Push("Via", "SIP/2.0/TCP 192.0.2.9:5080;branch=z9hG4bKtop")
	m.Set("From", "<sip:a@b>;tag=other")
	m.Set("To", "<sip:c@d>;tag=also")
	m.Set("CSeq", "7 BYE")
	m.Set("Max-Forwards", "3")
	checkRecalled(t, m)
	if via, err := m.TopVia(); err != nil || via.Branch() != "z9hG4bKtop" {
		t.Errorf("top Via %+v, %v", via, err)
	}
	if from, err := m.From(); err != nil || from.Tag() != "other" {
		t.Errorf("From %+v, %v", from, err)
	}
	if uri, err := m.RequestURI(); err != nil || uri.User != "other" {
		t.Errorf("Request-URI %+v, %v", uri, err)
	}
	m.Del("From")
	if _, err := m.From(); err == nil {
		t.Error("a From that was removed is recalled")
	}
	checkRecalled(t, copied)
	if cseq, err := copied.CSeq(); err != nil || cseq.Method != "INVITE" {
		t.Errorf("the copy's CSeq %+v, %v", cseq, err)
	}
}
