package message

// readings are the values that every message is handled by, as the parser read
// them: to read them again would cost as much as to parse the message. They hold
// for as long as the text does that they were read from.
type readings struct {
	uri      reading[URI]
	via      reading[Via] // the topmost
	from, to reading[NameAddr]
	cseq     reading[CSeq]
	hops     reading[decimal]
}

// reading is one value beside its canonical text, "" where nothing was kept.
type reading[T any] struct {
	text  string
	value T
}

// of returns what text was read as. The boolean is false where that is not known.
func (r *reading[T]) of(text string) (*T, bool) { return &r.value, text != "" && r.text == text }

// kept returns the canonical text of typed, and keeps typed beside it. Only what
// came in canonical form is kept, since only then typed is what its text is read
// as, and only the first.
func kept[T canonical](p *parser, typed T, source string, keep func(*readings) *reading[T]) string {
	text, same := canon(p, typed, source)
	if keep == nil || !same || p.m.readings == nil {
		return text
	}
	if r := keep(p.m.readings); r.text == "" {
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
func recalled[T any](m *Message, name string, keep func(*readings) *reading[T], read func(*cursor) (T, error)) (T, error) {
	if m.readings != nil {
		if value, ok := keep(m.readings).of(m.Get(name)); ok {
			return *value, nil
		}
	}
	return field(m, name, read)
}

// RequestURI returns the Request-URI.
func (m *Message) RequestURI() (URI, error) {
	if m.readings != nil {
		if value, ok := m.readings.uri.of(m.URI); ok {
			return *value, nil
		}
	}
	return ParseURI(m.URI)
}
