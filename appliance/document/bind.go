package document

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// binder copies a tree into a raw struct and gathers every mistake on the way.
type binder struct{ Mistakes }

func (b *binder) bind(from value, to reflect.Value, path string) {
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		b.bind(from, to.Elem(), path)
	case reflect.Struct:
		b.bindStruct(from, to, path)
	case reflect.Slice:
		b.bindSlice(from, to, path)
	case reflect.String:
		if b.is(from, text, path) {
			to.SetString(from.text)
		}
	case reflect.Bool:
		if b.is(from, boolean, path) {
			to.SetBool(from.text == "true")
		}
	case reflect.Int:
		b.bindInt(from, to, path)
	case reflect.Uint64:
		b.bindUint(from, to, path)
	default:
		panic("bind document: a raw struct holds a " + to.Kind().String())
	}
}

func (b *binder) is(from value, want kind, path string) bool {
	if from.kind != want {
		b.Add(path, "want %s, found %s", want, from.kind)
	}
	return from.kind == want
}

func (b *binder) bindInt(from value, to reflect.Value, path string) {
	if !b.is(from, number, path) {
		return
	}
	n, err := strconv.ParseInt(from.text, 10, 32)
	if err != nil {
		b.Add(path, "want a whole number, found %s", shorten(from.text))
		return
	}
	to.SetInt(n)
}

func (b *binder) bindUint(from value, to reflect.Value, path string) {
	if !b.is(from, number, path) {
		return
	}
	n, err := strconv.ParseUint(from.text, 10, 63)
	if err != nil {
		b.Add(path, "want a whole number from 0 to %d, found %s", uint64(1)<<63-1, shorten(from.text))
		return
	}
	to.SetUint(n)
}

func (b *binder) bindSlice(from value, to reflect.Value, path string) {
	if !b.is(from, array, path) || len(from.items) == 0 {
		return
	}
	out := reflect.MakeSlice(to.Type(), len(from.items), len(from.items))
	for i, item := range from.items {
		b.bind(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	to.Set(out)
}

func (b *binder) bindStruct(from value, to reflect.Value, path string) {
	if !b.is(from, object, path) {
		return
	}
	fields := fieldsOf(to)
	seen := make(map[string]bool, len(from.members))
	for _, m := range from.members {
		at := join(path, m.name)
		switch field, known := fields[m.name]; {
		case seen[m.name]:
			b.Add(at, "given twice")
		case !known:
			b.Add(at, "no such field")
		default:
			b.bind(m.value, field, at)
		}
		seen[m.name] = true
	}
}

func fieldsOf(to reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value, to.NumField())
	for i := range to.NumField() {
		name, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("json"), ",")
		fields[name] = to.Field(i)
	}
	return fields
}

func join(path, name string) string {
	name = shorten(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

// shorten keeps a hostile name or literal from filling a log. What is left is
// quoted where it is not plain.
func shorten(s string) string {
	const longest = 40
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	quoted := strconv.QuoteToASCII(s)
	if quoted == `"`+s+`"` && s != "" {
		return s
	}
	return quoted
}
