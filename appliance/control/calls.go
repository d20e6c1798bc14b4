package control

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (s *Server) getCalls(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	filter := appliance.CallFilter{
		Since: in.time(r, "since"), Before: in.time(r, "before"), BeforeID: in.text(r, "before_id"), Verdict: in.verdict(r, "verdict"), Number: in.number(r, "number"),
		Account: in.text(r, "account"), Limit: in.limit(r),
	}
	if filter.BeforeID != "" && filter.Before.IsZero() {
		in.add("before_id", "want before too: when the call of this ID started")
	}
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	calls, err := s.control.records.Calls(r.Context(), filter)
	return api.Calls{Calls: full(calls)}, err
}

func (s *Server) getCall(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.callNamed(r.Context(), r.PathValue("id"))
}

func (s *Server) getMessages(_ http.ResponseWriter, r *http.Request) (any, error) {
	call, err := s.callNamed(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	trace := s.inspector.Trace(call.CallID)
	trace.Messages = full(trace.Messages)
	return api.Messages{Call: call, Trace: trace}, nil
}

// callNamed finds the one record, with its trail, whose ID starts with id.
func (s *Server) callNamed(ctx context.Context, id string) (appliance.Call, error) {
	calls, err := s.control.records.Calls(ctx, appliance.CallFilter{ID: id, Trail: true, Limit: 2})
	switch {
	case err != nil:
		return appliance.Call{}, err
	case len(calls) == 0:
		return appliance.Call{}, &appliance.Error{Code: appliance.CodeNotFound, Field: "id", Message: fmt.Sprintf("no call's ID starts with %q", id)}
	case len(calls) > 1:
		return appliance.Call{}, &appliance.Error{Code: appliance.CodeInvalid, Field: "id", Message: fmt.Sprintf("more than one call's ID starts with %q", id)}
	}
	return calls[0], nil
}

// maxNumber is longer than any number (E.164 has 15 digits).
const maxNumber = 32

// number reads the start of a number as a record holds it.
func (in *input) number(r *http.Request, name string) string {
	text := r.URL.Query().Get(name)
	if len(text) > maxNumber || strings.Trim(strings.TrimPrefix(text, "+"), "0123456789*#") != "" {
		in.add(name, "want the start of a number, like +252 or 000")
		return ""
	}
	return text
}

func (in *input) text(r *http.Request, name string) string {
	text := r.URL.Query().Get(name)
	if len(text) > maxText {
		in.add(name, "longer than %d bytes", maxText)
		return ""
	}
	return text
}
