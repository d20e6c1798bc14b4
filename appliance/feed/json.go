package feed

import (
	"encoding/json"
	"errors"
)

// errJSON stands for text that breaks the grammar of JSON (RFC 8259) where the
// scanner is.
var errJSON = errors.New("not the JSON that this format has")

// deepest bounds the nesting of what is skipped.
const deepest = 16

// scanner reads JSON in place. encoding/json would make a string of each of a
// million addresses, keep the last of two equal names and fold their case.
// Escapes are left as they are: nothing that a feed is read for needs any.
type scanner struct {
	data []byte
	at   int
}

func (s *scanner) skipSpace() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek returns the next byte that is no white space, or 0 at the end.
func (s *scanner) peek() byte {
	s.skipSpace()
	if s.at == len(s.data) {
		return 0
	}
	return s.data[s.at]
}

// take steps over one byte if it is the next one.
func (s *scanner) take(c byte) bool {
	found := s.peek() == c
	if found {
		s.at++
	}
	return found
}

// text reads a string and returns what stands between its quotes.
func (s *scanner) text() ([]byte, error) {
	if !s.take('"') {
		return nil, errJSON
	}
	for i := s.at; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			text := s.data[s.at:i]
			s.at = i + 1
			return text, nil
		case c == '\\':
			i++
		case c < ' ':
			return nil, errJSON
		}
	}
	s.at = len(s.data)
	return nil, errJSON
}

// object reads an object. It calls member with each name, which reads the value.
func (s *scanner) object(member func(name []byte) error) error {
	return s.sequence('{', '}', func() error {
		name, err := s.text()
		if err != nil || !s.take(':') {
			return errJSON
		}
		return member(name)
	})
}

// sequence reads what stands between two brackets, with a comma after each item
// but the last.
func (s *scanner) sequence(open, end byte, item func() error) error {
	if !s.take(open) {
		return errJSON
	}
	for first := true; !s.take(end); first = false {
		if !first && !s.take(',') {
			return errJSON
		}
		if err := item(); err != nil {
			return err
		}
	}
	return nil
}

// skip reads a value that nobody asked for.
func (s *scanner) skip(depth int) error {
	if depth > deepest {
		return errJSON
	}
	inner := func() error { return s.skip(depth + 1) }
	switch c := s.peek(); {
	case c == '{':
		return s.object(func([]byte) error { return inner() })
	case c == '[':
		return s.sequence('[', ']', inner)
	case c == '"':
		_, err := s.text()
		return err
	default:
		_, err := s.word()
		return err
	}
}

// word reads a number, true, false or null.
func (s *scanner) word() ([]byte, error) {
	s.skipSpace()
	from := s.at
	for s.at < len(s.data) && inWord(s.data[s.at]) {
		s.at++
	}
	word := s.data[from:s.at]
	if !json.Valid(word) {
		return nil, errJSON
	}
	return word, nil
}

func inWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}
