package fraud

import "time"

// baseline is what a subject usually does in each hour of the week: a mean and a
// mean absolute deviation of its chargeable calls and their cost, both learned by
// exponentially weighted averages.
type baseline struct {
	began time.Time
	hour  int64 // Unix time / 3600 of the hour that is being counted
	calls int
	cost  Money
	bins  [hoursOfWeek]bin
}

const (
	hoursOfWeek = 168
	weight      = 0.25 // of the newest week: about a month of memory
)

type bin struct {
	Calls, CallsOff float32
	Cost, CostOff   float32 // units of the currency
}

func (b *bin) learn(calls, cost float32) {
	b.CallsOff += weight * (abs(calls-b.Calls) - b.CallsOff)
	b.Calls += weight * (calls - b.Calls)
	b.CostOff += weight * (abs(cost-b.Cost) - b.CostOff)
	b.Cost += weight * (cost - b.Cost)
}

func abs(x float32) float32 { return max(x, -x) }

// roll closes the hours that are over. Nothing is learned while an alarm is open:
// an attack must not become a habit.
func (b *baseline) roll(local time.Time, frozen bool) {
	now := local.Unix() / 3600
	if b.began.IsZero() {
		b.began, b.hour = local, now
		return
	}
	if now <= b.hour {
		return
	}
	for ; b.hour < now && now-b.hour <= hoursOfWeek; b.hour++ {
		if !frozen {
			b.bins[binOf(time.Unix(b.hour*3600, 0).In(local.Location()))].learn(float32(b.calls), float32(b.cost)/float32(Unit))
		}
		b.calls, b.cost = 0, 0
	}
	b.hour, b.calls, b.cost = now, 0, 0
}

func binOf(local time.Time) int { return int(local.Weekday())*24 + local.Hour() }

// learned reports whether two weeks have been seen.
func (b *baseline) learned(now time.Time) bool {
	return b != nil && !b.began.IsZero() && now.Sub(b.began) >= learnFor
}

// base returns the baseline of a subject, brought up to the present hour.
func (e *Engine) base(s *state, wall time.Time) *baseline {
	if s.base == nil {
		s.base = &baseline{}
	}
	if s.base.hour == wall.Unix()/3600 {
		return s.base
	}
	s.base.roll(wall.In(e.config.Hours.Zone), e.blocks.of(s.subject) != nil || e.blocks.of(Subject{Kind: Site}) != nil)
	return s.base
}

// perHour returns the critical number of calls in an hour: the fixed one for two
// weeks, then what is learned, never below the warning and never above the fixed
// one times the ceiling.
func (e *Engine) perHour(s *state, fixed Setting, wall time.Time) float64 {
	if !s.base.learned(wall) {
		return fixed.Critical
	}
	of := s.base.bins[binOf(wall.In(e.config.Hours.Zone))]
	usual := float64(of.Calls) + e.config.rule(RuleVelocity).Critical*float64(max(of.CallsOff, 1))
	return min(max(usual, fixed.Warn), fixed.Critical*e.config.Ceiling)
}
