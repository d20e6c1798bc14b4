package message

// field reads the only value of a header.
func field[T any](m *Message, name string, read func(*cursor) (T, error)) (T, error) {
	i := m.find(name)
	if i < 0 {
		var none T
		return none, absent(name)
	}
	value, err := alone(&cursor{s: m.Headers[i].Value}, read)
	return value, in(name, err)
}

// fields reads every value of a header that may stand often, in order. None
// is no error.
func fields[T any](m *Message, name string, read func(*cursor) (T, error)) ([]T, error) {
	var values []T
	for i := range m.Headers {
		h := &m.Headers[i]
		if !same(h.Name, name) || h.Value == "" {
			continue
		}
		c := cursor{s: h.Value}
		for more := true; more; {
			value, _, again, err := next(&c, read)
			if err != nil {
				return nil, in(name, err)
			}
			values, more = append(values, value), again
		}
	}
	return values, nil
}

// The accessors below read one header each, strictly. Their error is an
// *Error that names the header; that a single header is missing is an error,
// that a list is empty is none.

// TopVia returns the first Via, which must not be changed.
func (m *Message) TopVia() (*Via, error) {
	return recalled(m, "Via", keptVia, (*cursor).via)
}

// Vias returns every Via, the topmost first.
func (m *Message) Vias() ([]Via, error) { return fields(m, "Via", (*cursor).via) }

// From returns the From, which must not be changed.
func (m *Message) From() (*NameAddr, error) {
	return recalled(m, "From", keptFrom, (*cursor).from)
}

// To returns the To, which must not be changed.
func (m *Message) To() (*NameAddr, error) {
	return recalled(m, "To", keptTo, (*cursor).party)
}

// CallID returns the Call-ID, "" where it is missing.
func (m *Message) CallID() string { return m.Get("Call-ID") }

// CSeq returns the CSeq.
func (m *Message) CSeq() (CSeq, error) {
	q, err := recalled(m, "CSeq", keptCSeq, (*cursor).cseq)
	if err != nil {
		return CSeq{}, err
	}
	return *q, nil
}

// MaxForwards returns the hops that are left, 0-255.
func (m *Message) MaxForwards() (int, error) {
	n, err := recalled(m, "Max-Forwards", keptHops, (*cursor).hops)
	if err != nil {
		return 0, err
	}
	return int(*n), nil
}

// Contacts returns every Contact. star reports the "*" of a REGISTER that
// removes all bindings; it stands alone.
func (m *Message) Contacts() (contacts []NameAddr, star bool, err error) {
	if m.Get("Contact") == "*" {
		return nil, true, nil
	}
	contacts, err = fields(m, "Contact", (*cursor).nameAddr)
	return contacts, false, err
}

// Contact returns the only Contact. The boolean is false where there is none, more than
// one, or "*".
func (m *Message) Contact() (NameAddr, bool) {
	i := m.find("Contact")
	if i < 0 {
		return NameAddr{}, false
	}
	for n := range m.Headers[i+1:] {
		if same(m.Headers[i+1+n].Name, "Contact") {
			return NameAddr{}, false
		}
	}
	contact, err := ParseNameAddr(m.Headers[i].Value) // a list would not be one
	return contact, err == nil
}

// Routes returns every Route, the topmost first.
func (m *Message) Routes() ([]NameAddr, error) { return fields(m, "Route", (*cursor).routeAddr) }

// RecordRoutes returns every Record-Route, the topmost first.
func (m *Message) RecordRoutes() ([]NameAddr, error) {
	return fields(m, "Record-Route", (*cursor).routeAddr)
}

// Addresses returns every address of the header called name, such as
// P-Asserted-Identity, Diversion or History-Info.
func (m *Message) Addresses(name string) ([]NameAddr, error) {
	return fields(m, name, (*cursor).nameAddr)
}

// ReferTo returns the Refer-To.
func (m *Message) ReferTo() (NameAddr, error) { return field(m, "Refer-To", (*cursor).nameAddr) }

// Replaces returns the Replaces.
func (m *Message) Replaces() (Replaces, error) { return field(m, "Replaces", (*cursor).replaces) }

// Dialog returns the dialog that the header called name names: Replaces, Join or
// Target-Dialog.
func (m *Message) Dialog(name string) (Replaces, error) { return field(m, name, (*cursor).replaces) }

// RAck returns the RAck.
func (m *Message) RAck() (RAck, error) { return field(m, "RAck", (*cursor).rack) }

// RSeq returns the RSeq.
func (m *Message) RSeq() (uint32, error) {
	n, err := field(m, "RSeq", (*cursor).seconds)
	return uint32(n), err
}

// Expires returns the Expires in seconds.
func (m *Message) Expires() (uint32, error) {
	n, err := field(m, "Expires", (*cursor).seconds)
	return uint32(n), err
}

// SessionExpires returns the Session-Expires in seconds with its parameters
// (RFC 4028).
func (m *Message) SessionExpires() (Value, error) {
	return field(m, "Session-Expires", (*cursor).secondsValue)
}

// ContentType returns the media type of the body, in lower case, with its
// parameters.
func (m *Message) ContentType() (Value, error) { return field(m, "Content-Type", (*cursor).mediaType) }

// Reasons returns every Reason: protocol and parameters (RFC 3326).
func (m *Message) Reasons() ([]Value, error) { return fields(m, "Reason", (*cursor).tokenValue) }

// Tokens returns every token of the header called name: Require, Supported,
// Proxy-Require, Unsupported, Allow or Content-Encoding.
func (m *Message) Tokens(name string) ([]string, error) {
	tokens, err := fields(m, name, (*cursor).token)
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = string(t)
	}
	return out, err
}
