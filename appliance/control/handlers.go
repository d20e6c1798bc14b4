package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

func (s *Server) getStatus(http.ResponseWriter, *http.Request) (any, error) {
	c := s.control
	state := c.State()
	return api.Status{
		Status:  s.health.Status(),
		Started: c.started,
		Policy: api.Edition{
			Revision: state.Revision(appliance.DocumentPolicy), Serial: state.Policy.Serial, Issuer: state.Policy.Issuer,
		},
		Settings: api.Edition{Revision: state.Revision(appliance.DocumentSettings)},
		Journal:  c.Journal(),
		Export:   s.inspector.Export(),
	}, nil
}

func (s *Server) getEvents(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	filter := appliance.EventFilter{
		After: int64(in.count(r, "after", 1<<62)), Before: int64(in.count(r, "before", 1<<62)), Since: in.time(r, "since"), Kind: in.kind(r, "kind"), Limit: in.limit(r),
	}
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	entries, err := s.control.records.Events(r.Context(), filter)
	return api.Events{Events: full(entries)}, err
}

func (s *Server) getDrops(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	after, limit := in.count(r, "after", 1<<62), in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	tallies, err := s.control.gate.Tallies()
	if err != nil {
		return nil, fmt.Errorf("read the gate's tallies: %w", err)
	}
	return api.Drops{
		Started: s.control.started,
		Tallies: nonNil(tallies), Refusals: s.refusals(), Samples: s.control.recent.newest(after, limit),
	}, nil
}

// refusals counts what the inspector blocked; it also counts what it let pass.
func (s *Server) refusals() map[appliance.Reason]uint64 {
	out := map[appliance.Reason]uint64{}
	for reason, count := range s.inspector.Tallies() {
		if reason.Verdict() == appliance.Block {
			out[reason] = count
		}
	}
	return out
}

func (s *Server) getTop(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	window, limit := in.window(r, "window"), in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	tallies, err := s.control.observe()
	if err != nil {
		return nil, err
	}
	top := s.control.top(window, limit)
	top.Tallies, top.Refusals = nonNil(tallies), s.refusals()
	live := s.inspector.Live()
	slices.SortFunc(live, func(a, b appliance.Call) int { return a.Start.Compare(b.Start) })
	top.Live = full(live[:min(limit, len(live))])
	for n := range top.Live {
		top.Live[n].Trail = nil // as in every list
	}
	return top, nil
}

func (s *Server) postTry(_ http.ResponseWriter, r *http.Request) (any, error) {
	var question api.Try
	if err := decodeBody(r, &question); err != nil {
		return nil, err
	}
	if question.Dialled == "" {
		return nil, &appliance.Error{Code: appliance.CodeInvalid, Field: "dialled", Message: "missing: say what would be dialled"}
	}
	judge := s.control.Rules()
	known := func(t settings.Trunk) bool { return t.Name == question.Trunk }
	if question.Trunk != "" && !slices.ContainsFunc(judge.SIP().Trunks, known) {
		return nil, &appliance.Error{Code: appliance.CodeNotFound, Field: "trunk", Message: fmt.Sprintf("there is no trunk %q", question.Trunk)}
	}
	decision := judge.Call(rules.Call{
		URI: question.Dialled, Direction: appliance.Outbound, Use: rules.UseCall, From: question.From, Trunk: question.Trunk,
	})
	return tried(decision, judge.Digest()), nil
}

// tried puts a decision on the wire, whose types are its own: a client shall
// not have to link the judge.
func tried(d rules.Decision, generation string) api.Tried {
	out := api.Tried{
		Verdict: d.Verdict, Reason: d.Reason, Dialled: d.Dialled, Number: d.Number, Class: string(d.Class), Label: d.Label,
		Rule: d.Rule, List: d.List, Why: d.Why, Trunk: d.Trunk, Candidates: []api.Candidate{}, Generation: generation,
	}
	for _, one := range d.Candidates {
		out.Candidates = append(out.Candidates, api.Candidate{
			Number: one.Number, Class: string(one.Class), Via: full(one.Via), Label: one.Label,
			Verdict: one.Verdict, Reason: one.Reason, Rule: one.Rule, List: one.List, Why: one.Why,
		})
	}
	return out
}

func (s *Server) getPolicy(w http.ResponseWriter, _ *http.Request) (any, error) {
	state := s.control.State()
	w.Header().Set("ETag", `"`+state.Revision(appliance.DocumentPolicy)+`"`)
	return verbatim{"application/json", policy.Encode(state.Policy)}, nil
}

func (s *Server) getSettings(w http.ResponseWriter, _ *http.Request) (any, error) {
	state := s.control.State()
	w.Header().Set("ETag", `"`+state.Revision(appliance.DocumentSettings)+`"`)
	return verbatim{"application/json", settings.Encode(state.Settings)}, nil
}

func (s *Server) putPolicy(_ http.ResponseWriter, r *http.Request) (any, error) {
	return put(r, s.control.Offer)
}

func (s *Server) putSettings(_ http.ResponseWriter, r *http.Request) (any, error) {
	return put(r, s.control.Change)
}

func put(r *http.Request, change func(data []byte, match string) (api.Applied, error)) (any, error) {
	match, err := ifMatch(r)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return change(data, match)
}

func (s *Server) getAllow(http.ResponseWriter, *http.Request) (any, error) {
	return s.control.Exceptions(), nil
}

func (s *Server) postAllow(_ http.ResponseWriter, r *http.Request) (any, error) {
	var item api.NewException
	if err := decodeBody(r, &item); err != nil {
		return nil, err
	}
	return s.control.Allow(item)
}

func (s *Server) deleteAllow(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.control.Disallow(r.PathValue("prefix"))
}

func (s *Server) getBans(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	limit := in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	return s.control.Bans(limit), nil
}

func (s *Server) postBan(_ http.ResponseWriter, r *http.Request) (any, error) {
	var item api.NewBan
	if err := decodeBody(r, &item); err != nil {
		return nil, err
	}
	return s.control.Ban(item)
}

func (s *Server) deleteBan(_ http.ResponseWriter, r *http.Request) (any, error) {
	lifted, err := s.control.Unban(r.PathValue("source"))
	if err == nil {
		s.inspector.Pardon(lifted.Ban.Source)
	}
	return lifted, err
}

func (s *Server) getFeeds(http.ResponseWriter, *http.Request) (any, error) {
	return s.control.Feeds(), nil
}

func (s *Server) putFeed(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.control.ImportFeed(r.PathValue("name"), r.Body)
}

func (s *Server) postFeed(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.control.FetchFeed(r.Context(), r.PathValue("name"))
}

func (s *Server) deleteFeed(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.control.RemoveFeed(r.PathValue("name"))
}

func (s *Server) getGate(http.ResponseWriter, *http.Request) (any, error) {
	return stream{"text/plain; charset=utf-8", s.control.gate.Dump}, nil
}

func (s *Server) getDescription(http.ResponseWriter, *http.Request) (any, error) {
	return verbatim{"application/yaml", api.Description}, nil
}

// decodeBody reads exactly one JSON value with known fields only.
func decodeBody(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return badBody(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badBody(errors.New("more than one JSON value"))
	}
	return nil
}

func badBody(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	mistake := &appliance.Error{Code: appliance.CodeInvalid, Message: fmt.Sprintf("read body: %v", err)}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		mistake.Field = wrong.Field
	}
	return mistake
}

// full makes an absent list an empty one: in JSON [] and never null.
func full[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func nonNil[K comparable, V any, M ~map[K]V](m M) M {
	if m == nil {
		return M{}
	}
	return m
}
