package message

import "strings"

// NameAddr is one address of a From, To, Contact, Route or the like
// (RFC 3261 section 20.10): display name, URI and the header's parameters.
type NameAddr struct {
	Display string // decoded, "" where there is none
	URI     URI
	Params  Params
}

// Tag returns the tag parameter, "" where there is none.
func (a NameAddr) Tag() string {
	tag, _ := a.Params.Get("tag")
	return tag
}

// Append appends the address in canonical form: the display name quoted, the
// URI in angle brackets.
func (a NameAddr) Append(dst []byte) []byte {
	if a.Display != "" {
		dst = append(appendQuoted(dst, a.Display), ' ')
	}
	dst = append(a.URI.Append(append(dst, '<')), '>')
	return append(dst, a.Params...)
}

// String returns the address in canonical form.
func (a NameAddr) String() string {
	var buf [usual]byte // on the stack
	return string(a.Append(buf[:0]))
}

// ParseNameAddr reads one address that stands alone. The error is an *Error.
func ParseNameAddr(s string) (NameAddr, error) { return alone(&cursor{s: s}, (*cursor).nameAddr) }

// nameAddr consumes ( name-addr / addr-spec ) *( SEMI generic-param ).
func (c *cursor) nameAddr() (NameAddr, error) {
	var a NameAddr
	display, bracket, err := c.display()
	if err != nil {
		return a, err
	}
	a.Display = display
	if bracket {
		a.URI, err = c.bracketed()
	} else {
		a.URI, err = c.addrSpec()
	}
	if err != nil {
		return a, err
	}
	a.Params, err = c.params(false)
	return a, err
}

// party consumes the address of a From or To, whose tag is a token.
func (c *cursor) party() (NameAddr, error) {
	a, err := c.nameAddr()
	if err != nil {
		return a, err
	}
	tag, tagged := a.Params.Get("tag")
	if tagged && !every(tag, classToken) {
		return a, bad("holds a wrong tag")
	}
	count := 0
	for _, part := range [...]string{a.Display, a.URI.User, string(a.URI.Params), a.URI.Headers, a.URI.Opaque, string(a.Params)} {
		count += countTags(part)
	}
	if count > 1 || count == 1 && !tagged {
		return a, bad("holds a tag beside its own")
	}
	return a, nil
}

// countTags counts what a reader that looks for ";tag=" without minding
// quotes and brackets would take for a tag. Asterisk's chan_sip is one.
func countTags(s string) (n int) {
	for {
		i := strings.IndexByte(s, ';')
		if i < 0 {
			return n
		}
		s = s[i+1:]
		if len(s) > 3 && s[3] == '=' && strings.EqualFold(s[:3], "tag") {
			n++
		}
	}
}

// from consumes the address of a From, whose tag is required (RFC 3261 section
// 8.1.1.3).
func (c *cursor) from() (NameAddr, error) {
	a, err := c.party()
	if err == nil && a.Tag() == "" {
		err = bad("holds no tag")
	}
	return a, err
}

// routeAddr consumes name-addr *( SEMI rr-param ): brackets are required.
func (c *cursor) routeAddr() (NameAddr, error) {
	from := c.i
	if _, bracket, err := c.display(); err == nil && !bracket {
		return NameAddr{}, bad("holds an address without angle brackets")
	}
	c.i = from
	return c.nameAddr()
}

// display consumes [ display-name ] up to "<" and reports whether "<" follows.
// Without it nothing is consumed.
func (c *cursor) display() (name string, bracket bool, err error) {
	from := c.i
	if c.at('"') {
		text, err := c.quoted()
		if err != nil {
			return "", false, err
		}
		if c.space(); !c.at('<') {
			return "", false, bad("holds a display name without an address in angle brackets")
		}
		return unquote(text), true, nil
	}
	end := from
	for c.run(classToken) != "" {
		end = c.i
		if !c.space() {
			break
		}
	}
	if c.at('<') {
		return spaced(c.s[from:end]), true, nil
	}
	c.i = from
	return "", false, nil
}

// spaced reduces runs of white space to one space.
func spaced(s string) string {
	if strings.IndexByte(s, '\t') < 0 && !strings.Contains(s, "  ") {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}

// bracketed consumes "<" addr-spec ">".
func (c *cursor) bracketed() (URI, error) {
	end := strings.IndexByte(c.s[c.i:], '>')
	if end < 0 {
		return URI{}, bad("holds an unclosed angle bracket")
	}
	text := c.s[c.i+1 : c.i+end]
	c.i += end + 1
	return ParseURI(text)
}

// addrSpec consumes an addr-spec without brackets. It ends at the first comma,
// semicolon or space; a question mark must not stand in it (RFC 3261 section
// 20).
func (c *cursor) addrSpec() (URI, error) {
	end := strings.IndexAny(c.s[c.i:], ",; \t")
	if end < 0 {
		end = len(c.s) - c.i
	}
	text := c.s[c.i : c.i+end]
	if strings.IndexByte(text, '?') >= 0 {
		return URI{}, bad(`holds "?" in an address without angle brackets`)
	}
	c.i += end
	return ParseURI(text)
}
