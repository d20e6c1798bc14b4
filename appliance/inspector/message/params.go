package message

import (
	"iter"
	"strings"
)

// Params is a list of parameters in canonical text: empty, or ";name" and
// ";name=value" without white space. Names are compared without regard to
// case and none stands twice. A value in quotes keeps them; see Text.
type Params string

// All yields every parameter's name and value in order; a parameter without
// a value yields "".
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := string(p); rest != ""; {
			var name, value string
			name, value, rest = cutParam(rest)
			if !yield(name, value) {
				return
			}
		}
	}
}

// cutParam takes the first parameter off canonical text that starts with ";".
func cutParam(s string) (name, value, rest string) {
	end := strings.IndexByte(s[1:], ';') + 1
	if end == 0 {
		end = len(s)
	}
	if strings.IndexByte(s[:end], '"') >= 0 {
		return cutQuoted(s)
	}
	name, value, _ = strings.Cut(s[1:end], "=")
	return name, value, s[end:]
}

// cutQuoted is cutParam where a quoted string may hold what ends a parameter.
func cutQuoted(s string) (name, value, rest string) {
	end, equal, quote := len(s), 0, false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quote && c == '\\':
			i++
		case c == '"':
			quote = !quote
		case c == '=' && equal == 0:
			equal = i
		case c == ';' && !quote:
			end = i
		}
		if end == i {
			break
		}
	}
	if equal == 0 {
		return s[1:end], "", s[end:]
	}
	return s[1:equal], s[equal+1 : end], s[end:]
}

// Get returns the value of the parameter called name as it stands, and
// whether the parameter is there.
func (p Params) Get(name string) (value string, ok bool) {
	for rest := string(p); rest != ""; {
		var n, v string
		n, v, rest = cutParam(rest)
		if same(n, name) {
			return v, true
		}
	}
	return "", false
}

// Has reports whether the parameter called name is there.
func (p Params) Has(name string) bool {
	_, ok := p.Get(name)
	return ok
}

// Text returns the value of the parameter called name without quotes.
func (p Params) Text(name string) string {
	value, _ := p.Get(name)
	return unquote(value)
}

// Set returns p with the parameter called name holding value, in its place or
// at the end. An empty value makes a parameter without one. The caller answers
// for the grammar of both.
func (p Params) Set(name, value string) Params {
	var buf [usual]byte // on the stack
	out, found := buf[:0], false
	for rest := string(p); rest != ""; {
		before := rest
		var n string
		n, _, rest = cutParam(rest)
		if same(n, name) {
			out = appendParam(out, n, value)
			found = true
			continue
		}
		out = append(out, before[:len(before)-len(rest)]...)
	}
	if !found {
		out = appendParam(out, name, value)
	}
	return Params(out)
}

func appendParam(dst []byte, name, value string) []byte {
	dst = append(append(dst, ';'), name...)
	if value != "" {
		dst = append(append(dst, '='), value...)
	}
	return dst
}

// Del returns p without the parameter called name.
func (p Params) Del(name string) Params {
	if !p.Has(name) {
		return p
	}
	var b strings.Builder
	for rest := string(p); rest != ""; {
		before := rest
		var n string
		n, _, rest = cutParam(rest)
		if !same(n, name) {
			b.WriteString(before[:len(before)-len(rest)])
		}
	}
	return Params(b.String())
}

// unique checks the bound and that no name stands twice (RFC 3261 section
// 7.3.1).
func (p Params) unique() error {
	n := 0
	for rest := string(p); rest != ""; n++ {
		if n == MaxParams {
			return bad("holds too many parameters")
		}
		var name string
		name, _, rest = cutParam(rest)
		if rest != "" && Params(rest).Has(name) {
			return bad("repeats a parameter")
		}
	}
	return nil
}

// params consumes *(SEMI generic-param). Where address is set a value may be
// a bare IPv6 address, as Via's received is.
func (c *cursor) params(address bool) (Params, error) {
	from, to, loose, shouted := c.i, c.i, false, false
	for n := 0; c.eat(';'); n++ {
		if n == MaxParams {
			return "", bad("holds too many parameters")
		}
		loose = loose || c.i != to+1
		name := c.run(classToken)
		if name == "" {
			return "", bad("holds an empty parameter")
		}
		shouted = shouted || shouts(name)
		to = c.i
		if !c.eat('=') {
			continue
		}
		loose = loose || c.i != to+1
		if err := c.paramValue(address); err != nil {
			return "", err
		}
		to = c.i
	}
	text := c.s[from:to]
	if loose {
		text = squeeze(text)
	}
	p := Params(text)
	if shouted {
		p = p.lower()
	}
	return p, p.unique()
}

// shouts reports whether a parameter that something is decided by is not
// spelled in lower case. Names have no case (RFC 3261 section 7.3.1), but
// there are readers that see no tag in ";TAG=".
func shouts(name string) bool {
	for i := range len(name) {
		if name[i] >= 'A' && name[i] <= 'Z' {
			return lowerName(name) != name
		}
	}
	return false
}

func lowerName(name string) string {
	for _, known := range [...]string{"tag", "branch", "received", "rport", "maddr", "ttl", "lr", "transport",
		"user", "method", "expires", "q", "to-tag", "from-tag", "early-only", "phone-context"} {
		if len(name) == len(known) && strings.EqualFold(name, known) {
			return known
		}
	}
	return name
}

// lower spells the names that lowerName knows in lower case.
func (p Params) lower() Params {
	var b strings.Builder
	for rest := string(p); rest != ""; {
		before := rest
		var name string
		name, _, rest = cutParam(rest)
		b.WriteString(";" + lowerName(name) + before[1+len(name):len(before)-len(rest)])
	}
	return Params(b.String())
}

// paramValue consumes gen-value: token / host / quoted-string.
func (c *cursor) paramValue(address bool) error {
	from := c.i
	switch {
	case c.at('"'):
		_, err := c.quoted()
		return err
	case c.at('['):
		end := strings.IndexByte(c.s[c.i:], ']')
		if end < 0 {
			return bad("holds an unclosed address")
		}
		c.i += end + 1
		_, err := canonicalHost(c.s[from:c.i])
		return err
	}
	for c.i < len(c.s) && (classes[c.s[c.i]]&classToken != 0 || address && c.s[c.i] == ':') {
		c.i++
	}
	if c.i == from {
		return bad("holds a parameter with a wrong value")
	}
	return nil
}

// squeeze removes white space outside quoted strings.
func squeeze(s string) string {
	out := make([]byte, 0, len(s))
	quote := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote && c == '\\':
			out = append(out, c)
			i++
		case c == '"':
			quote = !quote
		case !quote && (c == ' ' || c == '\t'):
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}
