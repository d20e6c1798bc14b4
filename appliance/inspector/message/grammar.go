package message

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Character classes of RFC 3261 section 25.1, one bit each.
const (
	classToken    uint16 = 1 << iota // token
	classWord                        // word, the parts of a Call-ID
	classUser                        // unreserved / user-unreserved
	classPassword                    // unreserved / "&" "=" "+" "$" ","
	classParam                       // paramchar without escaped
	classHeader                      // hnv-unreserved / unreserved
	classURI                         // uric without escaped (RFC 2396)
	classDial                        // phonedigit-hex of a tel URI (RFC 3966)
	classHost                        // letters, digits, "-", "." and "_"
	classDigit
	classHex
	classAlpha
)

var classes = buildClasses()

func buildClasses() (table [256]uint16) {
	const (
		digits  = "0123456789"
		letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		mark    = "-_.!~*'()"
	)
	add := func(class uint16, sets ...string) {
		for _, set := range sets {
			for i := range len(set) {
				table[set[i]] |= class
			}
		}
	}
	add(classToken, digits, letters, "-.!%*_+`'~")
	add(classWord, digits, letters, "-.!%*_+`'~", `()<>:\"/[]?{}`, "=") // "=" ends base64, and is in use
	add(classUser, digits, letters, mark, "&=+$,;?/")
	add(classPassword, digits, letters, mark, "&=+$,")
	add(classParam, digits, letters, mark, "[]/:&+$")
	add(classHeader, digits, letters, mark, "[]/?:+$")
	add(classURI, digits, letters, mark, ";/?:@&=+$,")
	add(classDial, digits, "abcdefABCDEF*#", "-.()")
	add(classHost, digits, letters, "-._") // "_" is no part of a host name, and yet in use
	add(classDigit, digits)
	add(classHex, digits, "abcdefABCDEF")
	add(classAlpha, letters)
	return table
}

// every reports whether s is not empty and wholly of the class.
func every(s string, class uint16) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return s != ""
}

// escaped reports whether s is wholly of the class or of %HH escapes. An
// escape of NUL, LF or CR is refused: what decodes it would see an end of text
// or of line that nobody checked. Other controls are let through, because
// carriers' border elements write binary state into user parts (%0B).
func escaped(s string, class uint16) bool {
	for i := 0; i < len(s); i++ {
		if classes[s[i]]&class != 0 {
			continue
		}
		if s[i] != '%' || i+2 >= len(s) || !escape(s[i+1], s[i+2]) {
			return false
		}
		i += 2
	}
	return true
}

func escape(high, low byte) bool {
	if classes[high]&classes[low]&classHex == 0 {
		return false
	}
	switch low {
	case '0', 'a', 'A', 'd', 'D':
		return high != '0'
	}
	return true
}

// Masks for eight bytes at a time.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain reports whether text is wholly printable ASCII (0x20-0x7e).
func plain(text []byte) bool {
	for len(text) >= 8 {
		x := binary.LittleEndian.Uint64(text)
		below := x - ones*0x20 // borrows where a byte is under 0x20
		del := (x ^ ones*0x7f) - ones
		if (x|below|del)&highs != 0 {
			return false
		}
		text = text[8:]
	}
	for _, c := range text {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// printable is plain's slow path: HTAB is let through, and so is valid UTF-8
// without the control characters U+0080 to U+009F.
func printable(text []byte) error {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size <= 1:
			return bad("holds bytes that are not UTF-8")
		case r != '\t' && (r < 0x20 || r >= 0x7f && r < 0xa0):
			return bad("holds a control character")
		}
		text = text[size:]
	}
	return nil
}

// number reads digits up to max. Leading zeros are let through (RFC 4475
// section 3.1.1.1), more than ten digits are not.
func number(s string, max uint64) (uint64, error) {
	if !every(s, classDigit) {
		return 0, bad("is not a number")
	}
	if s = strings.TrimLeft(s, "0"); len(s) > 10 {
		return 0, bad("is a number out of range")
	}
	var n uint64
	for i := range len(s) {
		n = n*10 + uint64(s[i]-'0')
	}
	if n > max {
		return 0, bad("is a number out of range")
	}
	return n, nil
}

// cursor walks one unfolded header value.
type cursor struct {
	s string
	i int
}

// alone reads one value that fills all that c walks.
func alone[T any](c *cursor, read func(*cursor) (T, error)) (T, error) {
	c.space()
	value, err := read(c)
	if err == nil {
		if c.space(); !c.end() {
			err = bad("holds more than its grammar allows")
		}
	}
	return value, err
}

// next reads one value of a list with commas between, and its text. more says
// that a comma, and so another value, follows.
func next[T any](c *cursor, read func(*cursor) (T, error)) (value T, source string, more bool, err error) {
	c.space()
	from := c.i
	if value, err = read(c); err != nil {
		return value, "", false, err
	}
	source = c.s[from:c.i]
	if more = c.eat(','); more {
		return value, source, true, nil
	}
	if c.space(); !c.end() {
		err = bad("holds more than its grammar allows")
	}
	return value, source, false, err
}

func (c *cursor) end() bool { return c.i >= len(c.s) }

// space skips white space and reports whether there was any.
func (c *cursor) space() bool {
	from := c.i
	for c.i < len(c.s) && (c.s[c.i] == ' ' || c.s[c.i] == '\t') {
		c.i++
	}
	return c.i > from
}

// at reports whether the next byte is b, which it does not consume.
func (c *cursor) at(b byte) bool { return c.i < len(c.s) && c.s[c.i] == b }

// eat consumes b with the white space on both sides of it: COMMA, SEMI, EQUAL
// and SLASH of the grammar.
func (c *cursor) eat(b byte) bool {
	from := c.i
	c.space()
	if !c.at(b) {
		c.i = from
		return false
	}
	c.i++
	c.space()
	return true
}

// run consumes the longest run of a class, perhaps empty.
func (c *cursor) run(class uint16) string {
	from := c.i
	for c.i < len(c.s) && classes[c.s[c.i]]&class != 0 {
		c.i++
	}
	return c.s[from:c.i]
}

// quoted consumes a quoted-string and returns it with its quotes. A
// backslash escapes any printable ASCII character and nothing else.
func (c *cursor) quoted() (string, error) {
	from := c.i
	for c.i++; c.i < len(c.s); c.i++ {
		switch b := c.s[c.i]; {
		case b == '"':
			c.i++
			return c.s[from:c.i], nil
		case b == '\\':
			if c.i++; c.end() || c.s[c.i] < 0x20 || c.s[c.i] > 0x7e {
				return "", bad("holds a wrong escape in a quoted string")
			}
		case b < 0x20 && b != '\t' || b == 0x7f:
			return "", bad("holds a control character")
		}
	}
	return "", bad("holds an unclosed quoted string")
}

// unquote returns the text inside a quoted-string, its escapes resolved. Text
// that does not start with a quote is returned as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}

// appendQuoted appends text as a quoted-string.
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}
