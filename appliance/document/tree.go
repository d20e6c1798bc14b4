package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a document. Ours need four levels.
const maxDepth = 16

// kind is what a JSON value is, in the words of an error message.
type kind string

const (
	null    kind = "null"
	boolean kind = "true or false"
	number  kind = "a number"
	text    kind = "a string"
	array   kind = "a list"
	object  kind = "an object"
)

// value is one JSON value. Numbers keep their literal, so that nothing is
// rounded on the way.
type value struct {
	kind    kind
	text    string // of a string, or the literal of a number or bool
	items   []value
	members []member
}

type member struct {
	name  string
	value value
}

// parse reads exactly one JSON value (RFC 8259) and refuses what a lenient
// reader would repair: invalid UTF-8, trailing bytes, endless nesting.
func parse(data []byte) (value, error) {
	if !utf8.Valid(data) {
		return value{}, errors.New("the document is not valid UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	tree, err := parseValue(decoder, 0)
	if err != nil {
		return value{}, describe(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return value{}, fmt.Errorf("something follows the document at byte %d", decoder.InputOffset())
	}
	return tree, nil
}

func describe(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the document ends too early")
	default:
		return err
	}
}

func parseValue(decoder *json.Decoder, depth int) (value, error) {
	if depth > maxDepth {
		return value{}, fmt.Errorf("the document is nested more than %d deep", maxDepth)
	}
	token, err := decoder.Token()
	if err != nil {
		return value{}, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			return parseArray(decoder, depth)
		}
		return parseObject(decoder, depth)
	case string:
		return value{kind: text, text: t}, nil
	case json.Number:
		return value{kind: number, text: t.String()}, nil
	case bool:
		return value{kind: boolean, text: fmt.Sprint(t)}, nil
	default:
		return value{kind: null}, nil
	}
}

func parseArray(decoder *json.Decoder, depth int) (value, error) {
	out := value{kind: array}
	for decoder.More() {
		item, err := parseValue(decoder, depth+1)
		if err != nil {
			return value{}, err
		}
		out.items = append(out.items, item)
	}
	_, err := decoder.Token()
	return out, err
}

func parseObject(decoder *json.Decoder, depth int) (value, error) {
	out := value{kind: object}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return value{}, err
		}
		name, ok := token.(string)
		if !ok {
			return value{}, fmt.Errorf("not JSON at byte %d: want the name of a field", decoder.InputOffset())
		}
		item, err := parseValue(decoder, depth+1)
		if err != nil {
			return value{}, err
		}
		out.members = append(out.members, member{name, item})
	}
	_, err := decoder.Token()
	return out, err
}
