package fraud

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// judging is one event under judgement: what is known of it, and what the rules
// have found so far.
type judging struct {
	e        *Engine
	a        Attempt
	up       time.Duration
	open     bool // people are at work
	of       [kinds]*state
	rate     Tariff
	released bool // the number was released by somebody
	lifted   bool // and without that a list would have refused the call

	critical *Finding // the first one that is in force
	held     *Finding // the call is refused, without a block
	actions  []Action
}

func (e *Engine) judging(a Attempt, up time.Duration) *judging {
	return &judging{e: e, a: a, up: up, open: e.config.Hours.Open(a.At.Wall)}
}

// count enters the attempt into every window.
func (j *judging) count() {
	entry := entry{
		up: j.up, number: hashOf(j.a.Number), tail: hashOf(tail(j.a.Number)), country: uint32(hashOf(j.a.Country)),
		class: j.a.Class, refused: j.a.Refused, misdial: j.a.Misdial, quiet: !j.open,
	}
	_, entry.familiar = j.of[Extension].knows(entry.country)
	for _, s := range j.of {
		s.recent.add(entry)
		switch {
		case j.a.Refused:
		case j.a.Class == Premium:
			s.premium.add(j.up, 1)
		default:
			s.minute.add(j.up, 1)
			s.hour.add(j.up, 1)
			s.day.add(j.up, 1)
			j.e.base(s, j.a.At.Wall).calls++
		}
	}
}

// tail is the end of a number that stays the same while prefixes are tried.
func tail(number string) string { return number[max(0, len(number)-fishingDigits):] }

// rules asks every rule about an attempt that is not blocked already.
func (j *judging) rules() {
	j.canary()
	j.suspicious()
	if j.a.Forwarded {
		j.found(RuleForward, j.of[Extension], 1, func() string { return fmt.Sprintf("an inbound call was forwarded to %s", j.place()) })
	}
	j.fishing()
	if j.a.Refused {
		j.highRisk()
		return
	}
	if j.lifted {
		return
	}
	for _, s := range j.of {
		j.rates(s)
		j.concurrent(s)
	}
	j.sequential()
	j.spread()
	j.novelty()
	j.drip()
	j.callback()
	j.velocity()
}

func (j *judging) place() string {
	if j.a.Country == "" {
		return j.a.Number
	}
	return j.a.Number + " (" + j.a.Country + ")"
}

// found holds a value against a rule's thresholds, which are Crowd times as high
// for the site and for a trunk.
func (j *judging) found(id RuleID, s *state, value float64, words func() string) {
	setting := j.e.config.rule(id)
	if s.subject.Kind != Extension {
		setting.Warn *= j.e.config.Crowd
		setting.Critical *= j.e.config.Crowd
	}
	j.against(id, setting, s, value, words)
}

func (j *judging) against(id RuleID, setting Setting, s *state, value float64, words func() string) {
	level, threshold := Critical, setting.Critical
	if threshold == 0 || value < threshold {
		level, threshold = Warning, setting.Warn
	}
	if threshold == 0 || value < threshold {
		return
	}
	j.raise(id, level, s, value, threshold, words)
}

// raise notes a finding. A critical one that is in force refuses the attempt.
func (j *judging) raise(id RuleID, level Level, s *state, value, threshold float64, words func() string) {
	mode := j.e.config.rule(id).Mode
	if mode == Off {
		return
	}
	f := Finding{
		Rule: id, Level: level, Subject: s.subject, Value: value, Threshold: threshold,
		Shadow: mode == Shadow, Misdial: j.a.Misdial && j.a.Refused,
	}
	onTrial := f.Shadow && !j.e.config.everything
	if (level < Critical || onTrial) && s.heard(id, level, j.up) {
		return
	}
	f.Why = words()
	if s.subject.Kind != Site {
		f.Why = s.subject.String() + ": " + f.Why
	}
	f = j.tell(f, s)
	if level == Critical && mode == Enforce && j.critical == nil {
		j.critical = &f
	}
}

// hold refuses the call of a finding, and nothing else.
func (j *judging) hold(id RuleID, s *state, format string, args ...any) {
	mode := j.e.config.rule(id).Mode
	if mode == Off || j.released {
		return
	}
	f := Finding{Rule: id, Level: Warning, Subject: s.subject, Value: 1, Threshold: 1, Shadow: mode == Shadow, Why: fmt.Sprintf(format, args...)}
	f = j.tell(f, s)
	if mode == Enforce && j.held == nil {
		j.held = &f
	}
}

// told lasts an hour: people hear of the same thing once, of something worse at
// once.
const toldFor = time.Hour

func (s *state) heard(id RuleID, level Level, up time.Duration) bool {
	before, ok := s.told[id]
	return ok && up < before.until && before.level >= level
}

// tell completes a finding, keeps it and has people told, once.
func (j *judging) tell(f Finding, s *state) Finding {
	f.At, f.Number, f.Call = j.a.At.Wall, j.a.Number, j.a.ID
	if s.heard(f.Rule, f.Level, j.up) && !(f.Shadow && j.e.config.everything) {
		return f
	}
	s.told[f.Rule] = told{f.Level, j.up + toldFor}
	j.e.note(f)
	j.actions = append(j.actions, Action{Kind: ActNotify, Finding: f})
	return f
}

// act enters the toll-block that a critical finding asks for.
func (j *judging) act() {
	if j.critical == nil || j.e.blocks.of(j.critical.Subject) != nil {
		return
	}
	j.actions = append(j.actions, j.e.enter(*j.critical, j.e.config.Scope, "box", j.up, j.a.At)...)
}

// canary: a decoy that somebody uses.
func (j *judging) canary() {
	for _, decoy := range j.e.config.Canaries {
		if decoy == j.a.Extension || strings.HasPrefix(decoy, "+") && strings.HasPrefix(j.a.Number, decoy) {
			j.found(RuleCanary, j.of[Extension], 1, func() string { return fmt.Sprintf("%s is a decoy that nobody has a reason to use", decoy) })
		}
	}
}

// suspicious: a chargeable call soon after a registration that was out of the
// ordinary, or from an extension that slept.
func (j *judging) suspicious() {
	s := j.of[Extension]
	if j.up < s.suspect.Until {
		j.found(s.suspect.Rule, s, 1, func() string { return fmt.Sprintf("%s, then a call to %s", s.suspect.Why, j.place()) })
	}
}

// fishing: the same number behind several prefixes.
func (j *judging) fishing() {
	if len(j.a.Number) <= fishingDigits+1 {
		return
	}
	for _, s := range [...]*state{j.of[Extension], j.of[Site]} {
		var heads few
		n, want := 0, hashOf(tail(j.a.Number))
		s.recent.each(j.up-fishingSpan, func(e *entry) bool {
			if e.tail == want {
				n = heads.add(e.number)
			}
			return true
		})
		// A crowd has no more reason than one person to try prefixes.
		j.against(RuleFishing, j.e.config.rule(RuleFishing), s, float64(n), func() string {
			return fmt.Sprintf("%d prefixes were tried before the same last %d digits, of %s", n, fishingDigits, j.place())
		})
	}
}

// highRisk: attempts that a list refuses. One is a misdial; several, or any at
// night, are an attack. The same number misdialled again stays a misdial.
func (j *judging) highRisk() {
	s, setting := j.of[Extension], j.e.config.rule(RuleHighRisk)
	var numbers, misdialled few
	attempts, distinct := 0, 0
	s.recent.each(j.up-highRiskSpan, func(e *entry) bool {
		if e.refused {
			distinct = numbers.add(e.number)
			if e.misdial {
				misdialled.add(e.number)
			} else {
				attempts++
			}
		}
		return true
	})
	real := distinct - misdialled.n
	switch {
	case setting.Critical > 0 && !j.open && real > 0:
		j.raise(RuleHighRisk, Critical, s, float64(distinct), 1, func() string { return fmt.Sprintf("a blocked destination was called outside hours: %s", j.place()) })
	case setting.Critical > 0 && attempts >= highRiskCount:
		j.raise(RuleHighRisk, Critical, s, float64(attempts), highRiskCount, func() string {
			return fmt.Sprintf("%d calls to blocked destinations in 10 minutes, the last to %s", attempts, j.place())
		})
	default:
		j.against(RuleHighRisk, setting, s, float64(distinct), func() string { return j.highRiskWords(distinct) })
	}
}

func (j *judging) highRiskWords(distinct int) string {
	if j.a.Misdial {
		return fmt.Sprintf("%s was called, which is a local number without its international prefix: perhaps a misdial", j.place())
	}
	if distinct == 1 {
		return "a blocked destination was called: " + j.place()
	}
	return fmt.Sprintf("%d blocked numbers were called in 10 minutes, the last %s", distinct, j.place())
}

// rates: calls abroad per minute, hour and day; premium calls per hour.
func (j *judging) rates(s *state) {
	if j.a.Class == Premium {
		n := s.premium.sum(j.up)
		j.found(RulePumping, s, float64(n), func() string { return fmt.Sprintf("%d premium calls within an hour", n) })
		return
	}
	minute, hour, day := s.minute.sum(j.up), s.hour.sum(j.up), s.day.sum(j.up)
	j.found(RulePerMinute, s, float64(minute), func() string { return fmt.Sprintf("%d international calls within a minute", minute) })
	perHour := j.e.config.rule(RulePerHour)
	if s.subject.Kind != Extension {
		perHour.Warn *= j.e.config.Crowd
		perHour.Critical *= j.e.config.Crowd
	}
	perHour.Critical = j.e.perHour(s, perHour, j.a.At.Wall)
	j.against(RulePerHour, perHour, s, float64(hour), func() string { return fmt.Sprintf("%d international calls within an hour", hour) })
	j.found(RulePerDay, s, float64(day), func() string { return fmt.Sprintf("%d international calls within a day", day) })
}

// concurrent: chargeable calls up or ringing at once, this one included. A site
// may have a share of its channels.
func (j *judging) concurrent(s *state) {
	n := float64(s.chargeable + 1)
	setting := j.e.config.rule(RuleConcurrent)
	if s.subject.Kind != Extension {
		share := math.Ceil(float64(j.e.config.Channels) / 5)
		setting.Warn, setting.Critical = max(2*setting.Warn, share), max(2*setting.Critical, 2*share)
	}
	j.against(RuleConcurrent, setting, s, n, func() string { return fmt.Sprintf("%.0f international or premium calls at once", n) })
}

// sequential: the same number again and again within a week.
func (j *judging) sequential() {
	s, number, run := j.of[Extension], hashOf(j.a.Number), 0
	s.recent.each(j.up-sequentialSpan, func(e *entry) bool {
		if e.number == number {
			run++
		}
		return e.number == number
	})
	j.found(RuleSequential, s, float64(run), func() string { return fmt.Sprintf("%d calls in a row to %s", run, j.place()) })
}

// spread: many different numbers within an hour.
func (j *judging) spread() {
	s := j.of[Extension]
	var numbers few
	n := 0
	s.recent.each(j.up-spreadSpan, func(e *entry) bool {
		n = numbers.add(e.number)
		return true
	})
	j.found(RuleSpread, s, float64(n), func() string { return fmt.Sprintf("%d different international or premium numbers within an hour", n) })
}

// novelty: a country that the site, or the extension, has never called. In hours
// that is worth a word; at night the call waits until somebody releases it.
func (j *judging) novelty() {
	if j.a.Class == Premium || j.a.Country == "" {
		return
	}
	hash := uint32(hashOf(j.a.Country))
	ofSite, _ := j.of[Site].knows(hash)
	ofExtension, _ := j.of[Extension].knows(hash)
	if ofSite && ofExtension {
		return
	}
	who, s := "the site", j.of[Site]
	if ofSite {
		who, s = j.of[Extension].subject.String(), j.of[Extension]
	}
	switch {
	case !j.open:
		j.hold(RuleNovelty, s, "%s has never called %s, and it is outside hours", who, j.a.Country)
	case !ofSite && j.of[Site].base.learned(j.a.At.Wall):
		j.raise(RuleNovelty, Notice, s, 1, 1, func() string { return fmt.Sprintf("%s has never called %s before", who, j.a.Country) })
	}
}

// drip: a few calls outside hours, week after week, to where nobody calls by day.
func (j *judging) drip() {
	s := j.of[Extension]
	n := 0
	s.recent.each(j.up-dripSpan, func(e *entry) bool {
		if e.quiet && !e.familiar && !e.refused {
			n++
		}
		return true
	})
	if !j.open {
		j.found(RuleDrip, s, float64(n), func() string {
			return fmt.Sprintf("%d calls outside hours within a week, to countries that it does not call by day", n)
		})
	}
}

// callback: the return of a call that rang once and was gone.
func (j *judging) callback() {
	if j.e.inbound.lately(j.a.Number, j.up) {
		j.hold(RuleCallback, j.of[Extension], "%s called here and hung up after one ring: the call back is the fraud", j.place())
	}
}

// velocity: money in this hour, against what is usual in this hour of the week. It
// speaks after two weeks of learning and between a quarter of the day's limit and
// the whole.
func (j *judging) velocity() {
	for _, s := range [...]*state{j.of[Extension], j.of[Site]} {
		limit, ok := j.e.config.limit(s.subject, PerDay)
		if !ok || !s.base.learned(j.a.At.Wall) {
			continue
		}
		usual, cap := s.base.bins[binOf(j.a.At.Wall.In(j.e.config.Hours.Zone))], float64(limit)/float64(Unit)
		cost := float64(s.base.cost+s.sum) / float64(Unit)
		setting := j.e.config.rule(RuleVelocity)
		bound := func(k, floor float64) float64 {
			if k == 0 {
				return 0
			}
			return min(max(float64(usual.Cost)+k*float64(usual.CostOff), floor), cap)
		}
		setting.Warn, setting.Critical = bound(setting.Warn, cap/4), bound(setting.Critical, cap/2)
		j.against(RuleVelocity, setting, s, cost, func() string {
			return fmt.Sprintf("calls of %.2f within the hour, where %.2f is usual", cost, usual.Cost)
		})
	}
}

// shortCalls: most calls are over at once. That is how ranges are tested before an
// attack; at night it is taken for one.
func (j *judging) shortCalls(s *state, ended, short int) {
	if ended < shortSample {
		return
	}
	setting := j.e.config.rule(RuleShort)
	if j.open {
		setting.Critical = 0
	}
	share := 100 * float64(short) / float64(ended)
	j.against(RuleShort, setting, s, share, func() string {
		return fmt.Sprintf("%d of %d calls abroad within an hour ended in less than 10 seconds", short, ended)
	})
}
