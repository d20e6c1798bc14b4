package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/document"
)

// cutPatience is how long an answer waits for what the two sides of a call that
// is cut say. Their media has stopped by then, and the rest goes on without it.
const cutPatience = 4 * time.Second

// postCut ends a call in progress. To ask for one that is being cut already is to
// ask how far it has come.
func (s *Server) postCut(_ http.ResponseWriter, r *http.Request) (any, error) {
	var item api.NewCut
	if err := decodeBody(r, &item); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var text document.Mistakes
	text.Text("reason", item.Reason, document.MaxReason)
	if err := text.Err(); err != nil {
		return nil, err
	}
	if item.Reason == "" {
		item.Reason = "cut by hand"
	}
	id, err := s.inProgress(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(r.Context(), cutPatience)
	defer stop()
	return s.inspector.Cut(ctx, id, item.Reason)
}

// getCuts lists the calls that are being cut.
func (s *Server) getCuts(http.ResponseWriter, *http.Request) (any, error) {
	return api.Cuts{Cuts: full(s.inspector.Cuts())}, nil
}

// inProgress returns the ID of the one call that is in progress, or is being cut,
// and whose ID starts with text.
func (s *Server) inProgress(text string) (string, error) {
	found := map[string]bool{}
	for _, one := range s.inspector.Live() {
		found[one.ID] = strings.HasPrefix(one.ID, text)
	}
	for _, one := range s.inspector.Cuts() {
		found[one.ID] = strings.HasPrefix(one.ID, text)
	}
	id := ""
	for one, matches := range found {
		switch {
		case !matches:
		case id != "":
			return "", &appliance.Error{Code: appliance.CodeInvalid, Field: "id", Message: fmt.Sprintf("more than one call in progress has an ID that starts with %q", text)}
		default:
			id = one
		}
	}
	if id == "" {
		return "", &appliance.Error{Code: appliance.CodeNotFound, Field: "id", Message: fmt.Sprintf("no call in progress has an ID that starts with %q", text)}
	}
	return id, nil
}
