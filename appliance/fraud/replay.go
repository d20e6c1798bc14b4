package fraud

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// Row is one call, or one registration, of a history that is replayed.
type Row struct {
	Start   time.Time
	Answer  time.Time // zero where nobody answered
	End     time.Time
	Inbound bool
	Attempt Attempt // its time is Start; of an inbound call Number is the caller's
	// Register is set where the row is a registration: then nothing else counts.
	Register *Registration
	Attack   bool // known to be fraud: what a report is scored by
}

// Fate is what became of a row in a replay.
type Fate struct {
	Row     *Row
	Outcome Outcome
	Talked  time.Duration // until its end, or until it was cut
	Cost    Money
	Cut     bool
}

// Replay runs a history through an engine and returns what became of each row, in
// the order of their starts, and what the engine asked for. Time runs by the rows'
// calendar alone, a second at a time while calls are up that can cost money.
func Replay(e *Engine, rows []Row) ([]Fate, []Action) { return ReplayReopening(e, rows, 0) }

// ReplayReopening is Replay with somebody who leaves every toll-block after a
// while; never where it is zero.
func ReplayReopening(e *Engine, rows []Row, after time.Duration) ([]Fate, []Action) {
	r := replay{e: e, byID: make(map[string]int), reopen: after}
	order := make([]*Row, len(rows))
	for i := range rows {
		order[i] = &rows[i]
	}
	slices.SortStableFunc(order, func(a, b *Row) int { return a.Start.Compare(b.Start) })
	if len(order) > 0 {
		r.epoch = order[0].Start
	}
	for _, row := range order {
		r.until(row.Start)
		r.leave(row.Start)
		r.begin(row)
	}
	for r.pending.Len() > 0 {
		r.until(r.pending[0].at)
	}
	return r.fates, r.actions
}

type replay struct {
	e       *Engine
	epoch   time.Time
	now     time.Time
	pending pending
	fates   []Fate
	byID    map[string]int // of calls that are up
	ticking int            // calls up that can cost money
	actions []Action
	reopen  time.Duration // after which blocks are left
}

// due is something that will happen to a call.
type due struct {
	at     time.Time
	id     string
	answer bool
	seq    int
}

type pending []due

func (p pending) Len() int { return len(p) }
func (p pending) Less(i, j int) bool {
	return cmp.Or(p[i].at.Compare(p[j].at), cmp.Compare(p[i].seq, p[j].seq)) < 0
}
func (p pending) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *pending) Push(x any)   { *p = append(*p, x.(due)) }
func (p *pending) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

func (r *replay) moment(at time.Time) Moment { return Moment{Wall: at, Up: at.Sub(r.epoch)} }

// until lets everything happen that is due by then.
func (r *replay) until(then time.Time) {
	for r.pending.Len() > 0 && !r.pending[0].at.After(then) {
		next := heap.Pop(&r.pending).(due)
		r.tick(next.at)
		r.happen(next)
	}
	r.tick(then)
}

// tick runs the seconds up to a moment, where any call is up that needs them.
func (r *replay) tick(then time.Time) {
	if r.ticking > 0 {
		for at := r.now.Add(time.Second); !at.After(then) && r.ticking > 0; at = at.Add(time.Second) {
			r.now = at
			r.take(r.e.Tick(r.moment(at)), at)
		}
	}
	if then.After(r.now) {
		r.now = then
	}
}

func (r *replay) happen(next due) {
	at, up := r.byID[next.id]
	if !up {
		return
	}
	if next.answer {
		r.take(r.e.Answered(next.id, r.moment(next.at)), next.at)
		return
	}
	r.end(at, next.at)
}

func (r *replay) end(fate int, at time.Time) {
	f := &r.fates[fate]
	row := f.Row
	delete(r.byID, row.Attempt.ID)
	if row.Attempt.Class.Chargeable() {
		r.ticking--
	}
	if !row.Answer.IsZero() && at.After(row.Answer) {
		f.Talked = at.Sub(row.Answer)
		rate := r.e.config.Deck.Rate(row.Attempt.Number, row.Attempt.Class)
		f.Cost = rate.Cost(f.Talked)
	}
	r.take(r.e.Ended(row.Attempt.ID, r.moment(at), false), at)
}

func (r *replay) begin(row *Row) {
	at := r.moment(row.Start)
	switch {
	case row.Register != nil:
		reg := *row.Register
		reg.At = at
		r.take(r.e.Register(reg), row.Start)
	case row.Inbound:
		rang := cmp.Or(row.Answer, row.End).Sub(row.Start)
		r.e.Inbound(at, row.Attempt.Number, rang, !row.Answer.IsZero())
	default:
		r.call(row, at)
	}
}

func (r *replay) call(row *Row, at Moment) {
	row.Attempt.At = at
	out := r.e.Begin(row.Attempt)
	r.fates = append(r.fates, Fate{Row: row, Outcome: out})
	if out.Verdict == Pass {
		r.byID[row.Attempt.ID] = len(r.fates) - 1
		if row.Attempt.Class.Chargeable() {
			r.ticking++
		}
		if !row.Answer.IsZero() {
			heap.Push(&r.pending, due{row.Answer, row.Attempt.ID, true, len(r.fates)})
		}
		heap.Push(&r.pending, due{row.End, row.Attempt.ID, false, len(r.fates)})
	}
	r.take(out.Actions, row.Start)
}

// take carries out what an engine can ask for in a replay: the end of calls.
func (r *replay) take(actions []Action, at time.Time) {
	r.actions = append(r.actions, actions...)
	for _, action := range actions {
		if fate, up := r.byID[action.Call]; up && action.Kind == ActCut {
			r.fates[fate].Cut = true
			r.end(fate, at)
		}
	}
}

// leave ends the blocks that have stood for long enough.
func (r *replay) leave(now time.Time) {
	if r.reopen == 0 || len(r.e.blocks.all) == 0 {
		return
	}
	for _, block := range r.e.Blocks() {
		if now.Sub(block.Since) < r.reopen {
			continue
		}
		var proofs []Proof
		for _, check := range []Check{CheckSecret, CheckExposure, CheckRegistration} {
			proofs = append(proofs, Proof{Check: check, By: "replay", Why: "looked into", At: now})
		}
		if actions, err := r.e.Reopen(r.moment(now), block.Subject, proofs); err == nil {
			r.take(actions, now)
		}
	}
}
