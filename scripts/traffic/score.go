package main

import (
	"container/heap"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/scripts/traffic/office"
	"github.com/ringfence/ringfence/scripts/traffic/opensips"
)

// Offices are watched for this long before an attack, and in all.
const (
	quietDays = 42
	allDays   = 56
)

// score is what one engine made of one attack.
type score struct {
	found bool
	after time.Duration // from the attack's first call to the first that was refused, or a block
	calls int           // let through, in all
	cost  fraud.Money   // of them, at the engine's default rates
	most  fraud.Money   // what they would have cost without anybody
}

// attacked is an office with an attack in it.
func attacked(attack office.Attack, seed uint64) ([]fraud.Row, error) {
	o, err := office.New(seed)
	if err != nil {
		return nil, err
	}
	o.Days(0, allDays)
	o.Begin(attack, quietDays)
	return o.Rows(), nil
}

// ringfence scores the engine with its defaults.
func ringfence(rows []fraud.Row, zone *time.Location) (score, error) {
	config := fraud.Defaults()
	config.Hours.Zone = zone
	e, err := fraud.New(config, "")
	if err != nil {
		return score{}, err
	}
	fates, actions := fraud.Replay(e, rows)
	first := begin(rows)
	s := score{most: everything(rows, config.Deck)}
	saw := func(at time.Time) {
		if after := at.Sub(first); after >= 0 && (!s.found || after < s.after) {
			s.found, s.after = true, after
		}
	}
	for _, fate := range fates {
		switch {
		case !fate.Row.Attack || !fate.Row.Attempt.Class.Chargeable():
		case fate.Outcome.Verdict == fraud.Pass:
			s.calls++
			s.cost += fate.Cost
		case fate.Outcome.Cause != fraud.CauseNone:
			saw(fate.Row.Start)
		}
	}
	for _, action := range actions {
		if action.Kind == fraud.ActBlock {
			saw(action.Finding.At)
		}
	}
	return s, nil
}

// begin is the first call of an attack.
func begin(rows []fraud.Row) (first time.Time) {
	for i := range rows {
		if rows[i].Attack && (first.IsZero() || rows[i].Start.Before(first)) {
			first = rows[i].Start
		}
	}
	return first
}

func everything(rows []fraud.Row, deck fraud.Deck) (sum fraud.Money) {
	for i := range rows {
		if row := &rows[i]; row.Attack && !row.Answer.IsZero() && !row.Inbound {
			rate := deck.Rate(row.Attempt.Number, row.Attempt.Class)
			sum += rate.Cost(row.End.Sub(row.Answer))
		}
	}
	return sum
}

// beside scores OpenSIPS' module with the same thresholds on each country, on a
// proxy that refuses a user for good after its first critical value.
func beside(rows []fraud.Row, deck fraud.Deck) score {
	p := peer{detector: opensips.New(profile(rows)), shut: make(map[string]bool), first: begin(rows), deck: deck}
	p.score.most = everything(rows, deck)
	for i := range rows {
		if row := &rows[i]; row.Register == nil && !row.Inbound && row.Attempt.Class.Chargeable() && !row.Attempt.Refused {
			heap.Push(&p.queue, happening{row.Start, row, false})
		}
	}
	for p.queue.Len() > 0 {
		p.happen(heap.Pop(&p.queue).(happening))
	}
	return p.score
}

// profile has the engine's critical thresholds for every country that is called.
func profile(rows []fraud.Row) map[string]opensips.Thresholds {
	rules := make(map[string]opensips.Thresholds)
	d := fraud.Defaults().Rules
	for i := range rows {
		if a := &rows[i].Attempt; a.Class.Chargeable() && len(a.Number) > 4 {
			rules[a.Number[:4]] = opensips.Thresholds{
				PerMinute: int(d[fraud.RulePerMinute].Critical), Total: int(d[fraud.RulePerDay].Critical),
				Concurrent: int(d[fraud.RuleConcurrent].Critical), Sequential: int(d[fraud.RuleSequential].Critical), Duration: time.Hour,
			}
		}
	}
	return rules
}

type peer struct {
	detector *opensips.Detector
	shut     map[string]bool
	first    time.Time
	deck     fraud.Deck
	queue    queue
	score    score
}

type happening struct {
	at  time.Time
	row *fraud.Row
	end bool
}

type queue []happening

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(happening)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (p *peer) happen(h happening) {
	a := &h.row.Attempt
	if h.end {
		lasted := time.Duration(0)
		if !h.row.Answer.IsZero() {
			lasted = h.row.End.Sub(h.row.Answer)
		}
		p.judge(h, p.detector.Ended(a.Extension, a.Number, lasted))
		return
	}
	if p.shut[a.Extension] {
		return
	}
	p.judge(h, p.detector.Check(a.Extension, a.Number, h.at))
	heap.Push(&p.queue, happening{h.row.End, h.row, true})
	if p.shut[a.Extension] || !h.row.Attack {
		return
	}
	p.score.calls++
	if !h.row.Answer.IsZero() {
		rate := p.deck.Rate(a.Number, a.Class)
		p.score.cost += rate.Cost(h.row.End.Sub(h.row.Answer))
	}
}

func (p *peer) judge(h happening, critical string) {
	if critical == "" {
		return
	}
	p.shut[h.row.Attempt.Extension] = true
	if !p.score.found && h.row.Attack {
		p.score.found, p.score.after = true, h.at.Sub(p.first)
	}
}
