package fraud

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Engine is the behaviour engine of one box. It is safe for concurrent use. Every
// method takes the time at which it is called.
type Engine struct {
	mu       sync.Mutex
	config   Config
	policy   string        // digest of the rules in force, for evidence
	up       time.Duration // the engine's own clock: never goes back, not even with the power
	shift    time.Duration // from Moment.Up to it
	today    calendar
	last     Moment // the latest one, to see the calendar jump
	states   *states
	live     map[string]*live
	blocks   blocks
	releases map[string]*Release
	attempts attempts
	inbound  rang
	findings []Finding // the latest, oldest first
}

// New returns an engine without a past.
func New(config Config, policy string) (*Engine, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		config: config.complete(), policy: policy, live: make(map[string]*live), releases: make(map[string]*Release),
		blocks: blocks{make(map[Subject]*Block)}, attempts: newAttempts(maxAttempts), inbound: newRang(),
	}
	e.states = newStates(func(of Subject) bool { return e.blocks.of(of) != nil })
	return e, nil
}

// Configure puts another configuration in force. What has been counted stays.
func (e *Engine) Configure(config Config, policy string) error {
	if err := config.Validate(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.config, e.policy, e.today = config.complete(), policy, calendar{}
	return nil
}

// clock returns the engine's own time and notes how far the calendar has come.
func (e *Engine) clock(at Moment) time.Duration {
	e.up = max(e.up, at.Up+e.shift)
	return e.up
}

// clockDrift is how far the two clocks may part between two ticks before people are
// told: a time server steps by less.
const clockDrift = time.Minute

// jumped tells that somebody has set the calendar. It changes nothing else.
func (e *Engine) jumped(at Moment) []Action {
	before := e.last
	e.last = at
	if before.Wall.IsZero() || at.Up < before.Up {
		return nil
	}
	drift := at.Wall.Sub(before.Wall) - (at.Up - before.Up)
	if drift.Abs() < clockDrift {
		return nil
	}
	f := Finding{At: at.Wall, Rule: RuleClock, Subject: Subject{Kind: Site}, Value: drift.Seconds(),
		Why: fmt.Sprintf("the calendar has jumped by %s: blocks and spent money stay as they were", drift.Round(time.Second))}
	e.note(f)
	return []Action{{Kind: ActNotify, Finding: f}}
}

// Begin judges an attempt. One that passes is live from here on: its end must be
// told to Ended.
func (e *Engine) Begin(a Attempt) Outcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(a.At)
	of := e.subjects(a, up)
	e.wake(of[Extension], up)
	of[Extension].called = a.At.Wall
	if a.Class == Emergency || a.Class == Internal {
		return Outcome{Verdict: Pass}
	}
	for _, s := range of {
		e.refresh(s, a.At.Wall, up)
		s.touch(a.At.Wall, up)
	}
	j := e.judging(a, up)
	j.of = of
	if e.released(a.Number, up) != nil {
		j.a.Refused, j.released, j.lifted = false, true, a.Refused
	}
	out := j.decide()
	out.Actions = j.actions
	return out
}

// subjects returns the three subjects of an attempt, brought up to date.
func (e *Engine) subjects(a Attempt, up time.Duration) (of [kinds]*state) {
	extension := a.Extension
	if extension == "" { // a trunk that names no caller has one account: itself
		extension = a.Trunk
	}
	of[Site] = e.states.of(Subject{Kind: Site}, up)
	of[Trunk] = e.states.of(Subject{Trunk, a.Trunk}, up)
	of[Extension] = e.states.of(Subject{Extension, extension}, up)
	return of
}

// decide judges one attempt and enters it where it passes.
func (j *judging) decide() Outcome {
	e := j.e
	before, repeated := e.attempts.seen(j.a.Key)
	if repeated && before.Verdict == Refuse {
		return before
	}
	repeated = repeated && !e.goesOn(j.a.Key)
	block := e.blocks.over(j.of, j.a.Claims, j.a.Class)
	if j.a.Class == National && !j.a.Refused {
		if block != nil {
			return j.outcome(block)
		}
		j.enter()
		return Outcome{Verdict: Pass}
	}
	switch {
	case !repeated:
		j.count()
		if block == nil {
			j.rules()
			j.act()
		}
	case block == nil && !j.a.Refused && !j.lifted:
		// With credentials the call may be another's than the one it counted for.
		j.concurrent(j.of[Extension])
		j.act()
	}
	out := j.outcome(block)
	if out.Verdict == Pass {
		j.enter()
	}
	e.attempts.note(j.a.Key, out)
	return out
}

// goesOn reports whether a call of that attempt is up or rings: what comes beside it
// is another call, whatever it calls itself.
func (e *Engine) goesOn(key string) bool {
	for _, call := range e.live {
		if call.key == key {
			return true
		}
	}
	return false
}

// outcome puts together what the blocks, the rules, the hours and the money say.
func (j *judging) outcome(block *Block) Outcome {
	e := j.e
	if block != nil {
		return Outcome{Cause: CauseBlock, Rule: block.Rule, Why: "a toll-block is in force: " + block.Why}
	}
	if j.critical != nil {
		cause := CauseRule
		if j.critical.Rule == RuleForward {
			cause = CauseForward
		}
		return Outcome{Cause: cause, Rule: j.critical.Rule, Why: j.critical.Why}
	}
	if j.a.Refused {
		return Outcome{Why: "the destination is blocked"}
	}
	if e.config.Hours.refuses(j.a.Class, j.a.At.Wall) {
		return Outcome{Cause: CauseHours, Why: "calls of this class are refused outside business hours"}
	}
	if j.held != nil && !j.released {
		return Outcome{Cause: CauseRule, Rule: j.held.Rule, Why: j.held.Why}
	}
	j.rate = e.config.Deck.Rate(j.a.Number, j.a.Class)
	if why, broken := e.afford(j.of, reserve(j.rate)); broken && e.config.rule(RuleCredit).Mode == Enforce {
		j.tell(Finding{Rule: RuleCredit, Level: Critical, Subject: j.of[Extension].subject, Why: why}, j.of[Extension])
		return Outcome{Cause: CauseCredit, Rule: RuleCredit, Why: why}
	}
	return Outcome{Verdict: Pass}
}

// enter makes an attempt a live call. The table is bounded by the inspector's;
// beyond its own bound calls pass uncounted, which the tests of bounds rule out.
func (j *judging) enter() {
	if len(j.e.live) >= maxLive {
		return
	}
	rate := j.e.config.Deck.Rate(j.a.Number, j.a.Class)
	call := &live{
		id: j.a.ID, key: j.a.Key, number: j.a.Number, country: j.a.Country, class: j.a.Class,
		rate: rate, reserved: reserve(rate), begun: j.up, of: j.of,
	}
	if j.a.Class == National {
		call.reserved = 0 // it is never refused for money
	}
	j.e.live[call.id] = call
	for _, s := range j.of {
		s.took(call)
	}
}

// inOrder returns the live calls by age, so that replays agree.
func (e *Engine) inOrder() []*live {
	all := make([]*live, 0, len(e.live))
	for _, call := range e.live {
		all = append(all, call)
	}
	slices.SortFunc(all, func(a, b *live) int {
		return cmp.Or(cmp.Compare(a.begun, b.begun), cmp.Compare(a.id, b.id))
	})
	return all
}

// drained returns the subjects that have a live call, in order.
func (e *Engine) drained() []*state {
	seen := make(map[*state]bool)
	var all []*state
	for _, call := range e.live {
		for _, s := range call.of {
			if !seen[s] {
				seen[s] = true
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b *state) int {
		return cmp.Or(cmp.Compare(a.subject.Kind, b.subject.Kind), cmp.Compare(a.subject.Name, b.subject.Name))
	})
	return all
}

// roll brings the periods of every subject with live calls up to date.
func (e *Engine) roll(at Moment, up time.Duration) {
	for _, s := range e.drained() {
		e.refresh(s, at.Wall, up)
	}
}

// Live returns how many calls are up or ringing.
func (e *Engine) Live() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.live)
}

// Activity rises with everything that a snapshot would hold, but for the cost of
// live calls.
func (e *Engine) Activity() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.states.tick
}

// Findings returns the latest ones, oldest first.
func (e *Engine) Findings() []Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.findings)
}

// note keeps a finding. A quarter goes at once where there are too many.
func (e *Engine) note(f Finding) {
	if len(e.findings) >= maxFindings {
		e.findings = append(e.findings[:0], e.findings[maxFindings/4:]...)
	}
	e.findings = append(e.findings, f)
}

// nthUsed returns the n-th lowest use among states, n from 1, or that of the last.
func nthUsed(all []*state, n int) uint64 {
	if len(all) == 0 {
		return 0
	}
	uses := make([]uint64, len(all))
	for i, s := range all {
		uses[i] = s.used
	}
	slices.Sort(uses)
	return uses[min(n, len(uses))-1]
}
