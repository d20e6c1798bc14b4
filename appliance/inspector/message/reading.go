package message

// readings are the values that every message is handled by, as the parser read
// them: to read them again would cost as much as to parse the message. They hold
// for as long as the text does that they were read from.
type readings struct {
	via  reading[Via] // the topmost
	to   reading[NameAddr]
	cseq reading[CSeq]
	*asked
}

// asked are those of a request alone.
type asked struct {
	uri  reading[URI]
	from reading[NameAddr]
	hops reading[decimal]
}

// unread returns a message that has room for what is read of it.
func unread(response bool) *Message {
	if response {
		one := &struct {
			m Message
			r readings
		}{}
		one.m.readings = &one.r
		return &one.m
	}
	one := &struct {
		m Message
		r readings
		a asked
	}{}
	one.m.readings, one.r.asked = &one.r, &one.a
	return &one.m
}

// Where each value is kept, nil where it is not.
func keptVia(r *readings) *reading[Via]     { return &r.via }
func keptTo(r *readings) *reading[NameAddr] { return &r.to }
func keptCSeq(r *readings) *reading[CSeq]   { return &r.cseq }
func keptURI(r *readings) *reading[URI] {
	if r.asked == nil {
		return nil
	}
	return &r.uri
}
func keptFrom(r *readings) *reading[NameAddr] {
	if r.asked == nil {
		return nil
	}
	return &r.from
}
func keptHops(r *readings) *reading[decimal] {
	if r.asked == nil {
		return nil
	}
	return &r.hops
}

// reading is one value beside its canonical text, "" where nothing was kept.
type reading[T any] struct {
	text  string
	value T
}

// of returns what text was read as. The boolean is false where that is not known.
func (r *reading[T]) of(text string) (*T, bool) {
	if r == nil || text == "" || r.text != text {
		return nil, false
	}
	return &r.value, true
}

// kept returns the canonical text of typed, and keeps typed beside it. Only what
// came in canonical form is kept, since only then typed is what its text is read
// as, and only the first.
func kept[T canonical](p *parser, typed T, source string, keep func(*readings) *reading[T]) string {
	text, same := canon(p, typed, source)
	if keep == nil || !same || p.m.readings == nil {
		return text
	}
	if r := keep(p.m.readings); r != nil && r.text == "" {
		*r = reading[T]{text, typed}
	}
	return text
}

// canon returns the canonical text of typed, and whether that is source.
func canon[T canonical](p *parser, typed T, source string) (text string, same bool) {
	p.scratch = typed.Append(p.scratch[:0])
	if string(p.scratch) == source {
		return source, true
	}
	return string(p.scratch), false
}

// recalled reads the only value of a header, or recalls it.
func recalled[T any](m *Message, name string, keep func(*readings) *reading[T], read func(*cursor) (T, error)) (*T, error) {
	if m.readings != nil {
		if value, ok := keep(m.readings).of(m.Get(name)); ok {
			return value, nil
		}
	}
	value, err := field(m, name, read)
	if err != nil {
		return nil, err
	}
	return &value, nil
}

// RequestURI returns the Request-URI, which must not be changed.
func (m *Message) RequestURI() (*URI, error) {
	if m.readings != nil {
		if value, ok := keptURI(m.readings).of(m.URI); ok {
			return value, nil
		}
	}
	value, err := ParseURI(m.URI)
	if err != nil {
		return nil, err
	}
	return &value, nil
}
