package message

import (
	"bytes"
	"strings"
)

// Respond returns the response to m with the headers that it must repeat: Via,
// From, To, Call-ID and CSeq, and Timestamp in a 100 (RFC 3261 section 8.2.6).
// The tag that To needs in all but a 100 is the caller's to add.
func (m *Message) Respond(status int, phrase string) *Message {
	out := &Message{Status: status, Phrase: phrase}
	for _, h := range m.Headers {
		if r := ruleOf(h.Name); r != nil && repeated(r) || status == 100 && same(h.Name, "Timestamp") {
			out.Headers = append(out.Headers, h)
		}
	}
	return out
}

func repeated(r *rule) bool {
	for _, must := range &mandatory {
		if r == must {
			return true
		}
	}
	return false
}

// Refuse returns the response to a request that Parse refused, where what the
// response must repeat can still be read without doubt. There is none to a
// response, to an ACK, and to a datagram whose lines are in doubt.
func Refuse(datagram []byte, status int, phrase string) (*Message, bool) {
	end := bytes.Index(datagram, []byte("\r\n\r\n"))
	if end < 0 || end > MaxSize {
		return nil, false
	}
	p := parser{m: &Message{Status: status, Phrase: phrase}, length: -1}
	l := lines{raw: datagram[:end+2], text: string(datagram[:end+2])}
	line, err := l.next()
	method, _, _ := strings.Cut(line, " ")
	if err != nil || l.folded() || method == "ACK" || !every(method, classToken) {
		return nil, false
	}
	for l.more() {
		if !p.salvage(&l) {
			return nil, false
		}
	}
	for _, r := range &mandatory {
		if !p.seen[r.id] {
			return nil, false
		}
	}
	p.sort()
	return p.m, true
}

// salvage reads one header of a refused request. It reports false where the
// header is in doubt, and keeps it only where the response repeats it.
func (p *parser) salvage(l *lines) bool {
	line, err := l.next()
	name, value, found := cutHeader(line)
	if err != nil || !found {
		return false
	}
	if value, err = unfold(l, value); err != nil {
		return false
	}
	r := ruleOf(name)
	return r == nil || !repeated(r) || p.field(name, value) == nil
}
