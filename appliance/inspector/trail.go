package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// trailOf writes down how a decision came about. It shares nothing with the
// message that asked for it.
func trailOf(in *rules.Rules, said rules.Decision) *appliance.Trail {
	edition := in.Edition()
	t := &appliance.Trail{Serial: edition.Serial, Generation: edition.Generation, Edition: edition.Of(said.List)}
	shown := said.Candidates[:min(len(said.Candidates), appliance.MaxCandidates)]
	t.Omitted = len(said.Candidates) - len(shown)
	t.Candidates = make([]appliance.Weighed, 0, len(shown))
	for n := range shown {
		one := &shown[n]
		t.Candidates = append(t.Candidates, appliance.Weighed{
			Number: strings.Clone(one.Number), Class: string(one.Class), Via: one.Via, Label: one.Label,
			Verdict: one.Verdict, Reason: one.Reason, Rule: one.Rule, List: one.List, Why: one.Why,
		})
	}
	return t
}
