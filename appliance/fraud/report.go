package fraud

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Report is what a configuration would have made of a history: for each rule the
// calls that it alone would have stopped, and for all of them together what would
// have happened.
type Report struct {
	From, Until time.Time
	Calls       int // outbound ones
	Rules       []RuleReport
	Blocks      []Block
	Refused     int   // chargeable calls that the lists let pass
	National    int   // of the country that would have been refused: always 0
	Spent       Money // by the calls as they were
	Kept        Money // of it, that would not have been spent
}

// RuleReport is what one rule would have done on its own.
type RuleReport struct {
	Rule     RuleID
	Setting  Setting
	Warnings int
	Stopped  []Finding // each the call that it would have refused or cut
}

// maxStopped is how many calls a report lists for one rule.
const maxStopped = 1000

// Calibrate replays a history twice: with every rule on trial, so that none hides
// what another would have done, and as it would have been.
func Calibrate(config Config, rows []Row) (Report, error) {
	report := Report{}
	for i := range rows {
		row := &rows[i]
		if report.From.IsZero() || row.Start.Before(report.From) {
			report.From = row.Start
		}
		if row.End.After(report.Until) {
			report.Until = row.End
		}
	}
	if err := report.trial(config, rows); err != nil {
		return Report{}, err
	}
	return report, report.real(config, rows)
}

func (r *Report) trial(config Config, rows []Row) error {
	config = config.complete()
	trial := config
	trial.everything = true
	trial.Rules = make(map[RuleID]Setting)
	for id := range Defaults().Rules {
		setting := config.rule(id)
		if setting.Mode == Enforce {
			setting.Mode = Shadow
		}
		trial.Rules[id] = setting
	}
	e, err := New(trial, "")
	if err != nil {
		return err
	}
	_, actions := Replay(e, rows)
	found := make(map[RuleID]*RuleReport)
	for id := range trial.Rules {
		found[id] = &RuleReport{Rule: id, Setting: config.rule(id)}
	}
	for _, action := range actions {
		f := action.Finding
		rule := found[f.Rule]
		if action.Kind != ActNotify || rule == nil {
			continue
		}
		rule.add(f)
	}
	for _, rule := range found {
		r.Rules = append(r.Rules, *rule)
	}
	slices.SortFunc(r.Rules, func(a, b RuleReport) int {
		return cmp.Or(cmp.Compare(len(b.Stopped), len(a.Stopped)), cmp.Compare(a.Rule, b.Rule))
	})
	return nil
}

// add counts a finding. Holds are warnings that stop a call. A call that a rule stops
// for its extension, its trunk and the site is one call.
func (r *RuleReport) add(f Finding) {
	held := f.Rule == RuleCallback || f.Rule == RuleNovelty && f.Level == Warning
	if f.Level < Critical && !held {
		r.Warnings++
		return
	}
	if last := len(r.Stopped) - 1; last >= 0 && f.Call != "" && r.Stopped[last].Call == f.Call {
		return
	}
	if len(r.Stopped) < maxStopped {
		r.Stopped = append(r.Stopped, f)
	}
}

func (r *Report) real(config Config, rows []Row) error {
	e, err := New(config, "")
	if err != nil {
		return err
	}
	fates, actions := Replay(e, rows)
	for _, fate := range fates {
		r.Calls++
		row := fate.Row
		if !row.Answer.IsZero() {
			rate := config.Deck.Rate(row.Attempt.Number, row.Attempt.Class)
			cost := rate.Cost(row.End.Sub(row.Answer))
			r.Spent += cost
			r.Kept += cost - fate.Cost
		}
		switch {
		case fate.Outcome.Verdict == Pass || row.Attempt.Refused:
		case row.Attempt.Class == National:
			r.National++
		default:
			r.Refused++
		}
	}
	for _, action := range actions {
		if action.Kind == ActBlock {
			r.Blocks = append(r.Blocks, *action.Block)
		}
	}
	return nil
}

// Sentence says in one line what a rule would have done.
func (r *RuleReport) Sentence() string {
	switch len(r.Stopped) {
	case 0:
		return fmt.Sprintf("would have stopped no call, and warned %d times", r.Warnings)
	case 1:
		return fmt.Sprintf("would have stopped 1 call, and warned %d times", r.Warnings)
	}
	return fmt.Sprintf("would have stopped %d calls, and warned %d times", len(r.Stopped), r.Warnings)
}
