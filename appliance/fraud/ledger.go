package fraud

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// period is what a subject has spent in the present day or month.
type period struct {
	key    int // year*10000 + month*100 + day, the day 0 for months
	spent  Money
	ends   time.Duration // on the engine's own clock, as seen when it began
	warned bool
	shut   bool // the limit was reached, and said so
}

// clockSlack is how much earlier than expected a day may end: one change of
// summer time.
const clockSlack = time.Hour

// roll begins a new day or month. A period ends only when the calendar and the
// clock that nobody can set agree: one whose calendar jumps, either way, keeps what
// was spent and goes on under its new name.
func (p *period) roll(key int, ends, up time.Duration) {
	if p.key == 0 || key != p.key && up >= p.ends-clockSlack {
		*p = period{key: key, ends: ends}
	}
	p.key = key
}

// calendar is the present day of the site, so that not every call has to ask which
// it is.
type calendar struct {
	begin, end, month time.Time // of the day, and the end of the month
	keys              [periods]int
}

func calendarOf(local time.Time) calendar {
	year, month, day := local.Date()
	c := calendar{
		begin: time.Date(year, month, day, 0, 0, 0, 0, local.Location()), end: time.Date(year, month, day+1, 0, 0, 0, 0, local.Location()),
		month: time.Date(year, month+1, 1, 0, 0, 0, 0, local.Location()),
	}
	c.keys[PerDay], c.keys[PerMonth] = year*10000+int(month)*100+day, year*10000+int(month)*100
	return c
}

// refresh rolls the periods of a subject.
func (e *Engine) refresh(s *state, wall time.Time, up time.Duration) {
	if wall.Before(e.today.begin) || !wall.Before(e.today.end) {
		e.today = calendarOf(wall.In(e.config.Hours.Zone))
	}
	s.spent[PerDay].roll(e.today.keys[PerDay], up+e.today.end.Sub(wall), up)
	s.spent[PerMonth].roll(e.today.keys[PerMonth], up+e.today.month.Sub(wall), up)
}

// spend books money that has been spent.
func (s *state) spend(cost Money) {
	for _, per := range [...]Period{PerDay, PerMonth} {
		s.spent[per].spent += cost
	}
	if s.base != nil {
		s.base.cost += cost
	}
}

// afford returns the limit that a call of this reserve would break, and false
// where it breaks none.
func (e *Engine) afford(of [kinds]*state, reserve Money) (broken string, broke bool) {
	if reserve == 0 {
		return "", false
	}
	for _, s := range of {
		if limit, ok := e.config.limit(s.subject, PerCall); ok && reserve > limit {
			return fmt.Sprintf("the first minute would cost %s of the %s that a call of %s may", reserve, limit, s.subject), true
		}
		committed := s.sum
		for _, per := range [...]Period{PerDay, PerMonth} {
			if limit, ok := e.config.limit(s.subject, per); ok && s.spent[per].spent+committed+reserve > limit {
				return fmt.Sprintf("%s of the %s that %s may spend in a %s are used or reserved", s.spent[per].spent+committed, limit, s.subject, per), true
			}
		}
	}
	return "", false
}

// drain holds what live calls cost against every limit: a warning at the share
// that the credit rule says, and the end of the calls before a limit is passed.
func (e *Engine) drain(at Moment, up time.Duration) (actions []Action) {
	for _, call := range e.inOrder() {
		limit, ok := e.config.limit(call.of[Extension].subject, PerCall)
		if ok && call.class.Chargeable() && call.cost(up+time.Second) > limit {
			actions = append(actions, e.cutFor(call, at, up, fmt.Sprintf("the call has cost %s of the %s that one may", call.cost(up), limit))...)
		}
	}
	for _, s := range e.drained() {
		s.addUp(up)
		for _, per := range [...]Period{PerDay, PerMonth} {
			actions = append(actions, e.against(s, per, at, up)...)
		}
	}
	return actions
}

// against holds a subject against one limit. What the next second costs counts:
// the call must be over before its next pulse is due.
func (e *Engine) against(s *state, per Period, at Moment, up time.Duration) (actions []Action) {
	limit, ok := e.config.limit(s.subject, per)
	if !ok {
		return nil
	}
	p := &s.spent[per]
	used := p.spent
	for _, call := range s.live {
		used += call.cost(up + time.Second)
	}
	share := e.config.rule(RuleCredit).Warn / 100
	if share > 0 && !p.warned && float64(used) >= share*float64(limit) {
		p.warned = true
		actions = append(actions, e.tellCredit(s, Warning, used, limit, per, at))
	}
	if used <= limit {
		return actions
	}
	if !p.shut {
		p.shut = true
		actions = append(actions, e.tellCredit(s, Critical, used, limit, per, at))
	}
	why := fmt.Sprintf("%s has used up the %s of its %s", s.subject, limit, per)
	for _, call := range e.inOrder() {
		if call.of[s.subject.Kind] == s && call.rate.PerMinute > 0 && call.class.Chargeable() {
			actions = append(actions, e.cutFor(call, at, up, why)...)
		}
	}
	return actions
}

func (e *Engine) tellCredit(s *state, level Level, used, limit Money, per Period, at Moment) Action {
	f := Finding{
		At: at.Wall, Rule: RuleCredit, Level: level, Subject: s.subject, Value: float64(used) / float64(Unit), Threshold: float64(limit) / float64(Unit),
		Why: fmt.Sprintf("%s has used %s of the %s that it may spend in a %s", s.subject, used, limit, per),
	}
	e.note(f)
	return Action{Kind: ActNotify, Finding: f}
}

func (e *Engine) cutFor(call *live, at Moment, up time.Duration, why string) []Action {
	if call.cut != nil || e.config.rule(RuleCredit).Mode != Enforce {
		return nil
	}
	f := Finding{At: at.Wall, Rule: RuleCredit, Level: Critical, Subject: call.of[Extension].subject, Number: call.number, Call: call.id, Why: why}
	e.note(f)
	return []Action{call.end(f, up)}
}

// Spent is what a subject has spent in a period, its live calls included.
type Spent struct {
	Subject Subject
	Per     Period
	Spent   Money
	Limit   Money
}

// Spent returns what is spent of every limit of a day or a month that somebody has
// touched, by subject.
func (e *Engine) Spent(at Moment) []Spent {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(at)
	var all []Spent
	for of, s := range e.states.all {
		e.refresh(s, at.Wall, up)
		for _, p := range s.spends(up) {
			if limit, ok := e.config.limit(of, p.Per); ok {
				all = append(all, Spent{of, p.Per, p.Spent, limit})
			}
		}
	}
	slices.SortFunc(all, func(a, b Spent) int {
		return cmp.Or(cmp.Compare(a.Subject.Kind, b.Subject.Kind), cmp.Compare(a.Subject.Name, b.Subject.Name), cmp.Compare(a.Per, b.Per))
	})
	return all
}
