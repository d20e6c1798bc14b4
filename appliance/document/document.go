// Package document reads and writes the JSON documents of the box: the
// provider's policy and the installer's settings. It owns strictness. A field
// that nobody declared, a field given twice, a null, a number of the wrong kind
// or a byte after the end is a mistake with a path, and all mistakes are
// reported at once.
//
// encoding/json alone is too kind for that: it folds the case of names, keeps
// the last of two equal names and stops at the first mistake.
package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/ringfence/ringfence/appliance"
)

// MaxSize is the largest document that Read accepts, in bytes.
const MaxSize = 1 << 20

// Read decodes data into raw, a pointer to a struct whose fields carry json
// tags. The member "schema" is checked before everything else. A raw field may
// be a string, bool, int, uint64, struct, a slice of these, or a pointer to one
// (nil where the document lacks the member).
//
// A document that can't be read at all gives an error (appliance.Errors). One
// whose fields are of the wrong kind gives Mistakes that hold them, each with a
// path such as "trunks[0].address", for the caller to add to.
func Read(data []byte, schema int, raw any) (Mistakes, error) {
	if len(data) > MaxSize {
		return Mistakes{}, appliance.Errors{Invalid("", "the document has %d bytes; at most %d are read", len(data), MaxSize)}
	}
	tree, err := parse(data)
	if err != nil {
		return Mistakes{}, appliance.Errors{Invalid("", "%s", err)}
	}
	if err := checkSchema(tree, schema); err != nil {
		return Mistakes{}, appliance.Errors{err}
	}
	var b binder
	b.bind(tree, reflect.ValueOf(raw).Elem(), "")
	return b.Mistakes, nil
}

// Write encodes raw in canonical form: the fields in the order of the struct,
// two spaces of indent, one newline at the end.
func Write(raw any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(raw); err != nil {
		// Raw structs hold strings, numbers, bools and slices of them: encoding
		// one can fail only where a programmer added something else.
		panic(fmt.Sprintf("encode document: %v", err))
	}
	return out.Bytes()
}

// Invalid returns a mistake at a path, with CodeInvalid.
func Invalid(field, format string, args ...any) *appliance.Error {
	return &appliance.Error{Code: appliance.CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

func checkSchema(tree value, schema int) *appliance.Error {
	if tree.kind != object {
		return Invalid("", "want a JSON object, found %s", tree.kind)
	}
	for _, m := range tree.members {
		if m.name != "schema" {
			continue
		}
		if m.value.kind != number || m.value.text != fmt.Sprint(schema) {
			return Invalid("schema", "want %d: this software reads no other edition of the document", schema)
		}
		return nil
	}
	return Invalid("schema", "missing: want %d", schema)
}
