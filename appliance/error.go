package appliance

import (
	"errors"
	"strings"
)

// Code says what kind of mistake an Error is, in one word that programs match
// on. The control API maps each to one HTTP status.
type Code string

const (
	// CodeInvalid means that a field holds something that it can't hold.
	CodeInvalid Code = "invalid"
	// CodeForbidden means that the provider's policy does not grant the change.
	CodeForbidden Code = "forbidden"
	// CodeNotFound means that the thing named does not exist.
	CodeNotFound Code = "not_found"
	// CodeConflict means that the document changed since it was read.
	CodeConflict Code = "conflict"
	// CodeUnavailable means that an outside thing (disk, kernel, network) said no.
	CodeUnavailable Code = "unavailable"
)

// Error is a mistake that a person can mend: what kind, where, and one
// sentence. Field is a path in the document or flag set ("site.country",
// "trunks[0].address"); it is empty where no field is to blame.
type Error struct {
	Code    Code   `json:"code"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// Error reads "field: message".
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Errors is every mistake found in one document, in document order: a form is
// corrected once, not once for each field.
type Errors []*Error

// Error joins the mistakes with "; ".
func (e Errors) Error() string {
	parts := make([]string, len(e))
	for i, one := range e {
		parts[i] = one.Error()
	}
	return strings.Join(parts, "; ")
}

// Unwrap lets errors.As find the first *Error.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}

// Or returns e as an error, or nil where e is empty.
func (e Errors) Or() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// CodeOf returns the code of the first *Error in err's chain, or
// CodeUnavailable where there is none.
func CodeOf(err error) Code {
	var one *Error
	if errors.As(err, &one) {
		return one.Code
	}
	return CodeUnavailable
}
