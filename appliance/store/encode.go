package store

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// The encoders below write what encoding/json writes, byte for byte, without its
// reflection: a record is written for every call, refused ones too, and that was a
// quarter of what keeping one cost. A test holds them against it, field by field.

// object is a JSON object that is being written.
type object struct {
	text []byte
	err  error // the first
}

// key begins a member.
func (o *object) key(name string) {
	if o.text[len(o.text)-1] != '{' {
		o.text = append(o.text, ',')
	}
	o.text = append(append(append(o.text, '"'), name...), '"', ':')
}

func (o *object) str(name, value string) {
	o.key(name)
	o.value(value)
}

// some writes a member that is left out where it is empty.
func (o *object) some(name, value string) {
	if value != "" {
		o.str(name, value)
	}
}

// value writes a string. What needs an escape is rare, and encoding/json's.
func (o *object) value(text string) {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(text)
			o.fail(err)
			o.text = append(o.text, quoted...)
			return
		}
	}
	o.text = append(append(append(o.text, '"'), text...), '"')
}

func (o *object) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *object) time(name string, at time.Time) {
	o.key(name)
	text, err := at.AppendText(append(o.text, '"'))
	o.fail(err)
	o.text = append(text, '"')
}

// when writes a time that is left out where there is none.
func (o *object) when(name string, at time.Time) {
	if !at.IsZero() {
		o.time(name, at)
	}
}

func (o *object) count(name string, n int) {
	o.key(name)
	o.text = strconv.AppendInt(o.text, int64(n), 10)
}

// few writes a number that is left out where it is 0.
func (o *object) few(name string, n int) {
	if n != 0 {
		o.count(name, n)
	}
}

// yes writes true, or nothing.
func (o *object) yes(name string, is bool) {
	if is {
		o.key(name)
		o.text = append(o.text, "true"...)
	}
}

// appendCall appends a call as JSON, without its trail.
func appendCall(dst []byte, c *appliance.Call) ([]byte, error) {
	o := object{text: append(dst, '{')}
	o.str("id", c.ID)
	o.str("call_id", c.CallID)
	o.str("direction", string(c.Direction))
	o.str("use", c.Use)
	o.time("start", c.Start)
	o.when("answer", c.Answer)
	o.when("end", c.End)
	o.str("from", c.From)
	o.str("source", c.Source)
	o.str("account", c.Account)
	o.str("attribution", string(c.Attribution))
	o.str("dialled", c.Dialled)
	o.str("number", c.Number)
	o.str("label", c.Label)
	o.str("trunk", c.Trunk)
	o.str("verdict", c.Verdict.String())
	o.str("reason", c.Reason.String())
	o.str("rule", c.Rule)
	o.str("list", c.List)
	o.str("why", c.Why)
	o.count("status", c.Status)
	o.yes("forwarded", c.Forwarded)
	o.yes("hairpin", c.Hairpin)
	o.yes("overlap", c.Overlap)
	o.few("digits", c.Digits)
	o.some("ended", string(c.Ended))
	o.few("tries", c.Tries)
	o.some("attempt", c.Attempt)
	return append(o.text, '}'), o.err
}

// appendTrail appends a trail as JSON.
func appendTrail(dst []byte, t *appliance.Trail) ([]byte, error) {
	o := object{text: append(dst, '{')}
	o.key("candidates")
	if t.Candidates == nil {
		o.text = append(o.text, "null"...)
	} else {
		o.text = append(o.text, '[')
		for n := range t.Candidates {
			if n > 0 {
				o.text = append(o.text, ',')
			}
			o.candidate(&t.Candidates[n])
		}
		o.text = append(o.text, ']')
	}
	o.few("omitted", t.Omitted)
	o.key("serial")
	o.text = strconv.AppendUint(o.text, t.Serial, 10)
	o.some("edition", t.Edition)
	o.str("generation", t.Generation)
	o.str("firmware", t.Firmware)
	return append(o.text, '}'), o.err
}

func (o *object) candidate(w *appliance.Weighed) {
	o.text = append(o.text, '{')
	o.str("number", w.Number)
	o.some("class", w.Class)
	if len(w.Via) > 0 {
		o.key("via")
		for n, one := range w.Via {
			if n == 0 {
				o.text = append(o.text, '[')
			} else {
				o.text = append(o.text, ',')
			}
			o.value(one)
		}
		o.text = append(o.text, ']')
	}
	o.some("label", w.Label)
	o.str("verdict", w.Verdict.String())
	o.str("reason", w.Reason.String())
	o.some("rule", w.Rule)
	o.some("list", w.List)
	o.some("why", w.Why)
	o.text = append(o.text, '}')
}
