package control

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/tally"
)

// input reads query parameters and gathers every mistake in them.
type input struct{ mistakes appliance.Errors }

func (in *input) add(field, format string, args ...any) {
	in.mistakes = append(in.mistakes, &appliance.Error{Code: appliance.CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (in *input) time(r *http.Request, name string) time.Time {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		in.add(name, "want a time like 2026-07-01T12:00:00Z")
	}
	return at
}

func (in *input) count(r *http.Request, name string, most uint64) uint64 {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		in.add(name, "want a number from 0 to %d", most)
		return 0
	}
	return n
}

func (in *input) limit(r *http.Request) int {
	n := in.count(r, "limit", api.MaxLimit)
	if n == 0 {
		return api.DefaultLimit
	}
	return int(n)
}

func (in *input) verdict(r *http.Request, name string) *appliance.Verdict {
	text := r.URL.Query().Get(name)
	if text == "" {
		return nil
	}
	var verdict appliance.Verdict
	if err := verdict.UnmarshalText([]byte(text)); err != nil {
		in.add(name, "want block or allow")
	}
	return &verdict
}

func (in *input) kind(r *http.Request, name string) appliance.EventKind {
	kind := appliance.EventKind(r.URL.Query().Get(name))
	if kind != "" && !slices.Contains(appliance.EventKinds(), kind) {
		in.add(name, "no such kind of event")
	}
	return kind
}

// window takes the shortest where none is named.
func (in *input) window(r *http.Request, name string) tally.Window {
	text := r.URL.Query().Get(name)
	for _, window := range tally.Windows() {
		if text == window.String() {
			return window
		}
	}
	if text != "" {
		in.add(name, "want 5m, 1h or 24h")
	}
	return tally.FiveMinutes
}

// onlyKnown turns down query parameters that the route does not know, and those
// given twice.
func onlyKnown(r *http.Request, known []string) error {
	var in input
	for name, values := range r.URL.Query() {
		switch {
		case !slices.Contains(known, name):
			in.add(name, "no such parameter")
		case len(values) > 1:
			in.add(name, "given more than once")
		}
	}
	return in.mistakes.Or()
}

// ifMatch reads the revision of If-Match (RFC 9110, section 13.1.1), empty
// where any will do.
func ifMatch(r *http.Request) (string, error) {
	values := r.Header.Values("If-Match")
	if len(values) == 0 || len(values) == 1 && values[0] == "*" {
		return "", nil
	}
	revision := strings.Trim(values[0], `"`)
	if len(values) > 1 || len(revision) != len(values[0])-2 || revision == "" {
		return "", &appliance.Error{Code: appliance.CodeInvalid, Field: "If-Match", Message: `want one revision in quotes, as in ETag`}
	}
	return revision, nil
}
