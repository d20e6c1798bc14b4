package main

import (
	"fmt"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/scripts/traffic/office"
)

// honestDays is three months: the target is one false alarm in them.
const honestDays = 91

// peace is what the engine did to an office that nobody attacked.
type peace struct {
	months   float64
	calls    int
	national int // refused
	abroad   int // refused or held, not counting those on a list
	blocks   []fraud.Block
	holds    map[fraud.RuleID]int
}

// inPeace replays an office with the defaults. A block is left after two hours, as
// somebody would who has looked.
func inPeace(seed uint64) (peace, error) {
	o, err := office.New(seed)
	if err != nil {
		return peace{}, err
	}
	o.Days(0, honestDays)
	config := fraud.Defaults()
	config.Hours.Zone = o.Zone
	e, err := fraud.New(config, "")
	if err != nil {
		return peace{}, err
	}
	p := peace{months: honestDays / 30.4, holds: make(map[fraud.RuleID]int)}
	fates, actions := fraud.ReplayReopening(e, o.Rows(), 2*time.Hour)
	for _, fate := range fates {
		p.calls++
		if fate.Outcome.Verdict == fraud.Pass || fate.Row.Attempt.Refused {
			continue
		}
		if fate.Row.Attempt.Class == fraud.National {
			p.national++
			continue
		}
		p.abroad++
		p.holds[fate.Outcome.Rule]++
	}
	for _, action := range actions {
		if action.Kind == fraud.ActBlock {
			p.blocks = append(p.blocks, *action.Block)
		}
	}
	return p, nil
}

func (p peace) String() string {
	out := fmt.Sprintf("%d calls in %.1f months: %d national refused, %d abroad refused %v, %d toll-blocks", p.calls, p.months, p.national, p.abroad, p.holds, len(p.blocks))
	for _, b := range p.blocks {
		out += fmt.Sprintf("\n    %s %s: %s", b.Since.Format("Mon 2 Jan 15:04"), b.Rule, b.Why)
	}
	return out
}
