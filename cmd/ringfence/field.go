package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// step is one part of a path: a name, or a place in a list.
type step struct {
	name  string
	index int // -1 for a name
}

// parsePath reads "trunks[0].address".
func parsePath(path string) ([]step, error) {
	var steps []step
	for part := range strings.SplitSeq(path, ".") {
		name, rest, _ := strings.Cut(part, "[")
		if name == "" {
			return nil, fmt.Errorf("field %q: want a path such as site.country or trunks[0].address", path)
		}
		steps = append(steps, step{name, -1})
		for rest != "" {
			number, after, closed := strings.Cut(rest, "]")
			index, err := strconv.Atoi(number)
			if !closed || err != nil || index < 0 || after != "" && after[0] != '[' {
				return nil, fmt.Errorf("field %q: want a place in a list such as [0]", path)
			}
			steps = append(steps, step{"", index})
			rest = strings.TrimPrefix(after, "[")
		}
	}
	return steps, nil
}

// pick returns the part of a document at path, all of it for an empty path.
func pick(tree any, path string) (any, error) {
	if path == "" {
		return tree, nil
	}
	steps, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	for _, one := range steps {
		next, found := child(tree, one)
		if !found {
			return nil, noField(path, tree)
		}
		tree = next
	}
	return tree, nil
}

func child(tree any, at step) (any, bool) {
	switch node := tree.(type) {
	case map[string]any:
		value, found := node[at.name]
		return value, found && at.index < 0
	case []any:
		if at.index < 0 || at.index >= len(node) {
			return nil, false
		}
		return node[at.index], true
	default:
		return nil, false
	}
}

// noField says what there is instead.
func noField(path string, at any) error {
	switch node := at.(type) {
	case map[string]any:
		return fmt.Errorf("there is no field %q: want one of %s", path, strings.Join(slices.Sorted(maps.Keys(node)), ", "))
	case []any:
		return fmt.Errorf("there is no field %q: the list has %d entries", path, len(node))
	default:
		return fmt.Errorf("there is no field %q", path)
	}
}

// put returns the document with another value at path. One place after the end
// of a list appends.
func put(tree any, path, text string) (any, error) {
	steps, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	return putAt(tree, steps, path, text)
}

func putAt(tree any, steps []step, path, text string) (any, error) {
	if len(steps) == 0 {
		return valueLike(tree, text, strings.HasPrefix(path, "ports.")), nil
	}
	first := steps[0]
	next, found := child(tree, first)
	list, isList := tree.([]any)
	object, isObject := tree.(map[string]any)
	switch {
	case isList && first.index == len(list):
		list = append(list, nil)
	case isObject && first.index < 0 && len(steps) == 1:
		// A field that is left out, such as sip.pbx: the daemon knows whether it exists.
	case !found:
		return nil, noField(path, tree)
	}
	changed, err := putAt(next, steps[1:], path, text)
	if err != nil {
		return nil, err
	}
	if isList {
		list[first.index] = changed
		return list, nil
	}
	object[first.name] = changed
	return object, nil
}

// valueLike reads text as the kind of value that it takes the place of: text
// stays text, a list takes commas, anything else is JSON. What fits nothing
// goes on as text, and the daemon says what it wanted. numbers says what goes
// into a list that is empty.
func valueLike(old any, text string, numbers bool) any {
	if _, isText := old.(string); isText {
		return text
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err == nil {
		if _, isList := old.([]any); !isList {
			return json.RawMessage(text)
		}
		if _, isList := value.([]any); isList {
			return json.RawMessage(text)
		}
	}
	list, isList := old.([]any)
	if !isList {
		return text
	}
	out := []any{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, elementLike(list, part, numbers))
		}
	}
	return out
}

// elementLike reads one entry of a list like the others in it. In an empty list
// it is text, unless the list is one of numbers.
func elementLike(list []any, text string, numbers bool) any {
	switch {
	case len(list) > 0:
		return valueLike(list[0], text, numbers)
	case numbers:
		return valueLike(nil, text, numbers)
	default:
		return text
	}
}
