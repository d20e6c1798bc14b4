package message

import (
	"strconv"
	"strings"
)

// CSeq is a command sequence: number and method (RFC 3261 section 20.16).
type CSeq struct {
	Number uint32 // below 2^31
	Method string
}

// Append appends "number method".
func (q CSeq) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(q.Number), 10)
	return append(append(dst, ' '), q.Method...)
}

// String returns "number method".
func (q CSeq) String() string { return string(q.Append(nil)) }

const maxCSeq = 1<<31 - 1 // RFC 3261 section 8.1.1.5

func (c *cursor) cseq() (CSeq, error) {
	n, err := number(c.run(classDigit), maxCSeq)
	if err != nil {
		return CSeq{}, err
	}
	if !c.space() {
		return CSeq{}, bad("holds no method")
	}
	method := c.run(classToken)
	if method == "" {
		return CSeq{}, bad("holds no method")
	}
	return CSeq{uint32(n), method}, nil
}

// RAck names the provisional response that a PRACK answers (RFC 3262 section
// 7.2).
type RAck struct {
	Response uint32 // the RSeq
	CSeq     CSeq
}

// Append appends "response number method".
func (r RAck) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(r.Response), 10)
	return r.CSeq.Append(append(dst, ' '))
}

func (c *cursor) rack() (RAck, error) {
	n, err := number(c.run(classDigit), 1<<32-1)
	if err != nil {
		return RAck{}, err
	}
	if !c.space() {
		return RAck{}, bad("holds no CSeq")
	}
	q, err := c.cseq()
	return RAck{uint32(n), q}, err
}

// Replaces names the dialog that an INVITE takes over (RFC 3891 section 6.1).
// Join and Target-Dialog have the same form.
type Replaces struct {
	CallID  string
	ToTag   string
	FromTag string
	Params  Params // all of them, the tags included
}

// EarlyOnly reports whether the dialog must not be confirmed yet.
func (r Replaces) EarlyOnly() bool { return r.Params.Has("early-only") }

// Append appends the canonical form.
func (r Replaces) Append(dst []byte) []byte {
	return append(append(dst, r.CallID...), r.Params...)
}

// ParseReplaces reads a Replaces value, such as a Refer-To's URI carries. The
// error is an *Error.
func ParseReplaces(s string) (Replaces, error) { return alone(&cursor{s: s}, (*cursor).replaces) }

func (c *cursor) replaces() (Replaces, error) {
	id, err := c.callID()
	if err != nil {
		return Replaces{}, err
	}
	params, err := c.params(false)
	if err != nil {
		return Replaces{}, err
	}
	r := Replaces{CallID: string(id), Params: params}
	r.ToTag, _ = params.Get("to-tag")
	r.FromTag, _ = params.Get("from-tag")
	if r.ToTag == "" && r.FromTag == "" {
		// Target-Dialog spells them local-tag and remote-tag (RFC 4538).
		r.ToTag, _ = params.Get("local-tag")
		r.FromTag, _ = params.Get("remote-tag")
	}
	if r.ToTag == "" || r.FromTag == "" {
		return r, bad("lacks a tag")
	}
	return r, nil
}

// text is a value whose canonical form is itself.
type text string

func (t text) Append(dst []byte) []byte { return append(dst, t...) }

// callID consumes word [ "@" word ].
func (c *cursor) callID() (text, error) {
	from := c.i
	if c.run(classWord) == "" {
		return "", bad("is not a Call-ID")
	}
	if c.at('@') {
		c.i++
		if c.run(classWord) == "" {
			return "", bad("is not a Call-ID")
		}
	}
	return text(c.s[from:c.i]), nil
}

// token consumes one token.
func (c *cursor) token() (text, error) {
	t := c.run(classToken)
	if t == "" {
		return "", bad("holds something else than a token")
	}
	return text(t), nil
}

// element consumes one token of a list, or none before a comma or the end.
func (c *cursor) element() (text, error) {
	if c.end() || c.at(',') {
		return "", nil
	}
	return c.token()
}

// decimal is a number with a bound; its canonical form has no leading zeros.
type decimal uint32

func (d decimal) Append(dst []byte) []byte { return strconv.AppendUint(dst, uint64(d), 10) }

func (c *cursor) decimal(max uint64) (decimal, error) {
	n, err := number(c.run(classDigit), max)
	return decimal(n), err
}

func (c *cursor) hops() (decimal, error)    { return c.decimal(255) }
func (c *cursor) seconds() (decimal, error) { return c.decimal(1<<32 - 1) }

// Value is a first word or number with parameters: a media type, a
// Session-Expires, a Reason.
type Value struct {
	Text   string
	Params Params
}

// Append appends the canonical form.
func (v Value) Append(dst []byte) []byte { return append(append(dst, v.Text...), v.Params...) }

// String returns the canonical form.
func (v Value) String() string { return string(v.Append(nil)) }

func (c *cursor) tokenValue() (Value, error) {
	t, err := c.token()
	if err != nil {
		return Value{}, err
	}
	params, err := c.params(false)
	return Value{string(t), params}, err
}

func (c *cursor) secondsValue() (Value, error) {
	digits := c.run(classDigit)
	if _, err := number(digits, 1<<32-1); err != nil {
		return Value{}, err
	}
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	params, err := c.params(false)
	return Value{digits, params}, err
}

// mediaType consumes m-type SLASH m-subtype *( SEMI m-parameter ).
func (c *cursor) mediaType() (Value, error) {
	from := c.i
	major := c.run(classToken)
	if !c.eat('/') {
		return Value{}, bad("is not a media type")
	}
	minor := c.run(classToken)
	if major == "" || minor == "" {
		return Value{}, bad("is not a media type")
	}
	name := c.s[from:c.i]
	if len(name) != len(major)+1+len(minor) {
		name = major + "/" + minor
	}
	params, err := c.params(false)
	return Value{strings.ToLower(name), params}, err
}
