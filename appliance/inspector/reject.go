package inspector

import (
	"bytes"
	"errors"
	"strings"

	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// echoMax bounds a header that is copied from bytes that were not understood.
const echoMax = 512

// echoed are the headers that a response must copy (RFC 3261 section 8.2.6.2),
// by long and compact name.
var echoed = map[string]string{
	"via": "Via", "v": "Via", "from": "From", "f": "From", "to": "To", "t": "To",
	"call-id": "Call-ID", "i": "Call-ID", "cseq": "CSeq",
}

// rejection writes the response to a request that could not be read, out of
// those lines that a response copies, made harmless. The boolean is false where
// that is too little, or where it is a response or an ACK.
func rejection(data []byte, cause error) ([]byte, bool) {
	start, rest, found := bytes.Cut(data, []byte("\r\n"))
	if !found || bytes.HasPrefix(start, []byte("SIP/")) || bytes.HasPrefix(start, []byte("ACK ")) {
		return nil, false
	}
	res := &message.Message{Status: 400, Phrase: "Bad Request"}
	var refused *message.Error
	if errors.As(cause, &refused) {
		res.Status = refused.Status
		if refused.Header != "" {
			res.Phrase = "Bad " + refused.Header
		}
	}
	if refused != nil {
		no := warning(refused.Error())
		res.Add(no.name, no.value)
	}
	for more := true; more && len(res.Headers) < 16; {
		var line []byte
		line, rest, more = bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		echo(res, line)
	}
	for _, name := range [...]string{"Via", "From", "To", "Call-ID", "CSeq"} {
		if !res.Has(name) {
			return nil, false
		}
	}
	return written(res), true
}

// blank makes a space of everything but printable ASCII.
func blank(c rune) rune {
	if c < ' ' || c >= 0x7f {
		return ' '
	}
	return c
}

// echo copies one line into res where it is a header that responses carry.
func echo(res *message.Message, line []byte) {
	name, value, found := strings.Cut(string(line), ":")
	name, ok := echoed[strings.ToLower(strings.TrimRight(name, " \t"))]
	if !found || !ok || len(value) > echoMax || (name != "Via" && res.Has(name)) {
		return
	}
	res.Add(name, strings.TrimSpace(strings.Map(blank, value)))
}
