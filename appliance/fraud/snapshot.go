package fraud

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// snapshotVersion rises with every change of meaning of what is kept.
const snapshotVersion = 1

// kept is the engine on paper. Releases and live calls are not in it: a release
// ends with the power, and what live calls have cost is in the spending.
type kept struct {
	Version  int            `json:"version"`
	Wall     time.Time      `json:"wall"`
	Up       time.Duration  `json:"up"`
	Blocks   []Block        `json:"blocks"`
	Findings []Finding      `json:"findings"`
	Subjects []keptState    `json:"subjects"`
	Rang     map[string]int `json:"rang,omitempty"` // hash of the number in hex: seconds on the engine's clock
}

type keptState struct {
	Subject   Subject       `json:"subject"`
	Used      uint64        `json:"used"`
	Seen      time.Time     `json:"seen,omitzero"`
	Active    time.Time     `json:"active,omitzero"`
	Called    time.Time     `json:"called,omitzero"`
	Moved     time.Duration `json:"moved"`
	Windows   []keptWindow  `json:"windows,omitempty"`
	Recent    []keptEntry   `json:"recent,omitempty"`
	Countries []country     `json:"countries,omitempty"`
	Addresses []address     `json:"addresses,omitempty"`
	Suspect   suspicion     `json:"suspect,omitzero"`
	Base      *keptBaseline `json:"base,omitempty"`
	Spent     []keptPeriod  `json:"spent,omitempty"`
}

type keptWindow struct {
	Which int            `json:"which"`
	Head  int64          `json:"head"`
	Count map[int]uint16 `json:"count"` // by place in the ring
}

type keptEntry struct {
	Up      time.Duration `json:"up"`
	Number  uint64        `json:"number"`
	Tail    uint64        `json:"tail"`
	Country uint32        `json:"country"`
	Class   Class         `json:"class"`
	Flags   uint8         `json:"flags"`
}

type keptBaseline struct {
	Began time.Time   `json:"began"`
	Hour  int64       `json:"hour"`
	Calls int         `json:"calls"`
	Cost  Money       `json:"cost"`
	Bins  map[int]bin `json:"bins"`
}

type keptPeriod struct {
	Per    Period        `json:"per"`
	Key    int           `json:"key"`
	Spent  Money         `json:"spent"`
	Ends   time.Duration `json:"ends"`
	Warned bool          `json:"warned"`
	Shut   bool          `json:"shut"`
}

// Spending is what has been spent, the cost of live calls included: the part of
// a snapshot that is worth keeping every few seconds.
type Spending struct {
	Version int             `json:"version"`
	Wall    time.Time       `json:"wall"`
	Up      time.Duration   `json:"up"`
	Spent   []SubjectSpends `json:"spent"`
}

// SubjectSpends is the money of one subject.
type SubjectSpends struct {
	Subject Subject      `json:"subject"`
	Periods []keptPeriod `json:"periods"`
}

// Snapshot returns everything that must outlive a restart, as JSON.
func (e *Engine) Snapshot(at Moment) ([]byte, error) {
	e.mu.Lock()
	k := e.keep(at)
	e.mu.Unlock()
	data, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("write snapshot of the fraud engine: %w", err)
	}
	return data, nil
}

func (e *Engine) keep(at Moment) kept {
	up := e.clock(at)
	k := kept{Version: snapshotVersion, Wall: at.Wall, Up: up, Findings: slices.Clone(e.findings), Rang: make(map[string]int)}
	for _, b := range e.blocks.all {
		k.Blocks = append(k.Blocks, *b.copy())
	}
	for hash, when := range e.inbound.all {
		if up-when <= callbackSpan {
			k.Rang[fmt.Sprintf("%x", hash)] = int(when / time.Second)
		}
	}
	for _, s := range e.states.all {
		k.Subjects = append(k.Subjects, s.keep(up))
	}
	slices.SortFunc(k.Blocks, func(a, b Block) int { return strings.Compare(a.Subject.String(), b.Subject.String()) })
	slices.SortFunc(k.Subjects, func(a, b keptState) int { return strings.Compare(a.Subject.String(), b.Subject.String()) })
	return k
}

func (s *state) windows() [6]*slots {
	return [...]*slots{&s.minute, &s.hour, &s.day, &s.premium, &s.ended, &s.short}
}

func (s *state) keep(up time.Duration) keptState {
	k := keptState{
		Subject: s.subject, Used: s.used, Seen: s.seen, Active: s.active, Called: s.called, Moved: s.moved,
		Countries: slices.Clone(s.countries), Addresses: slices.Clone(s.addresses), Suspect: s.suspect, Spent: s.spends(up),
	}
	for which, window := range s.windows() {
		if window.sum(up) == 0 {
			continue
		}
		w := keptWindow{Which: which, Head: window.head, Count: make(map[int]uint16)}
		for at, count := range window.counts {
			if count > 0 {
				w.Count[at] = count
			}
		}
		k.Windows = append(k.Windows, w)
	}
	s.recent.each(0, func(e *entry) bool {
		k.Recent = append(k.Recent, keptEntry{e.up, e.number, e.tail, e.country, e.class, e.flags()})
		return true
	})
	slices.Reverse(k.Recent)
	if s.base != nil {
		k.Base = &keptBaseline{s.base.began, s.base.hour, s.base.calls, s.base.cost, make(map[int]bin)}
		for at, one := range s.base.bins {
			if one != (bin{}) {
				k.Base.Bins[at] = one
			}
		}
	}
	return k
}

func (e *entry) flags() (out uint8) {
	for i, flag := range [...]bool{e.refused, e.misdial, e.quiet, e.familiar} {
		if flag {
			out |= 1 << i
		}
	}
	return out
}

// spends is the money of a subject with what its live calls have cost, so that a
// power cut loses no more than the time since.
func (s *state) spends(up time.Duration) (all []keptPeriod) {
	running := Money(0)
	for _, call := range s.live {
		running += call.cost(up)
	}
	for _, per := range [...]Period{PerDay, PerMonth} {
		if p := s.spent[per]; p.key != 0 && p.spent+running > 0 {
			all = append(all, keptPeriod{per, p.key, p.spent + running, p.ends, p.warned, p.shut})
		}
	}
	return all
}

// Spending returns the money part of a snapshot, as JSON.
func (e *Engine) Spending(at Moment) ([]byte, error) {
	e.mu.Lock()
	up := e.clock(at)
	out := Spending{Version: snapshotVersion, Wall: at.Wall, Up: up}
	for _, s := range e.states.all {
		if spent := s.spends(up); len(spent) > 0 {
			out.Spent = append(out.Spent, SubjectSpends{s.subject, spent})
		}
	}
	e.mu.Unlock()
	slices.SortFunc(out.Spent, func(a, b SubjectSpends) int { return strings.Compare(a.Subject.String(), b.Subject.String()) })
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write spending of the fraud engine: %w", err)
	}
	return data, nil
}

// Restore fills an engine that has no past from a snapshot and from a spending,
// either of which may be nil: the power may go before there was a first snapshot. The
// later one's money counts. The time that has passed is what the calendar says, or
// none where it went back: blocks stay in either case.
func (e *Engine) Restore(at Moment, snapshot, spending []byte) error {
	var later Spending
	if spending != nil {
		if err := json.Unmarshal(spending, &later); err != nil {
			return fmt.Errorf("read spending of the fraud engine: %w", err)
		}
		if later.Version != snapshotVersion {
			return fmt.Errorf("read spending of the fraud engine: version %d, want %d", later.Version, snapshotVersion)
		}
	}
	k := kept{Version: snapshotVersion, Wall: later.Wall, Up: later.Up}
	if snapshot != nil {
		k = kept{}
		if err := json.Unmarshal(snapshot, &k); err != nil {
			return fmt.Errorf("read snapshot of the fraud engine: %w", err)
		}
	}
	if k.Version != snapshotVersion {
		return fmt.Errorf("read snapshot of the fraud engine: version %d, want %d", k.Version, snapshotVersion)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.restore(at, k)
	if later.Up >= k.Up {
		for _, one := range later.Spent {
			e.states.of(one.Subject, e.up).setSpent(one.Periods)
		}
	}
	return nil
}

func (e *Engine) restore(at Moment, k kept) {
	passed := max(at.Wall.Sub(k.Wall), 0)
	e.up = k.Up + passed
	e.shift = e.up - at.Up
	e.findings = k.Findings[max(0, len(k.Findings)-maxFindings):]
	for _, b := range k.Blocks {
		e.blocks.all[b.Subject] = b.copy()
	}
	for hash, seconds := range k.Rang {
		var number uint64
		if _, err := fmt.Sscanf(hash, "%x", &number); err == nil && len(e.inbound.all) < maxInboundRang {
			e.inbound.ring[e.inbound.next] = number
			e.inbound.next = (e.inbound.next + 1) % maxInboundRang
			e.inbound.all[number] = time.Duration(seconds) * time.Second
		}
	}
	for _, one := range k.Subjects[:min(len(k.Subjects), 2*maxSubjects)] {
		e.states.of(one.Subject, e.up).restore(one)
		e.states.tick = max(e.states.tick, one.Used)
	}
}

func (s *state) restore(k keptState) {
	s.used, s.seen, s.active, s.called, s.moved = k.Used, k.Seen, k.Active, k.Called, k.Moved
	s.countries, s.addresses, s.suspect = k.Countries, k.Addresses, k.Suspect
	windows := s.windows()
	for _, w := range k.Windows {
		if w.Which < 0 || w.Which >= len(windows) {
			continue
		}
		window := windows[w.Which]
		window.head = w.Head
		for at, count := range w.Count {
			if at >= 0 && at < len(window.counts) {
				window.total += int(count) - int(window.counts[at])
				window.counts[at] = count
			}
		}
	}
	for _, one := range k.Recent {
		flag := func(i int) bool { return one.Flags>>i&1 == 1 }
		s.recent.add(entry{one.Up, one.Number, one.Tail, one.Country, one.Class, flag(0), flag(1), flag(2), flag(3)})
	}
	if k.Base != nil {
		s.base = &baseline{began: k.Base.Began, hour: k.Base.Hour, calls: k.Base.Calls, cost: k.Base.Cost}
		for at, one := range k.Base.Bins {
			if at >= 0 && at < hoursOfWeek {
				s.base.bins[at] = one
			}
		}
	}
	s.setSpent(k.Spent)
}

func (s *state) setSpent(periods []keptPeriod) {
	for _, p := range periods {
		if p.Per == PerDay || p.Per == PerMonth {
			s.spent[p.Per] = period{p.Key, p.Spent, p.Ends, p.Warned, p.Shut}
		}
	}
}

// KeptBlocks returns the toll-blocks in force, as JSON: what must never be lost, in
// a file of its own.
func (e *Engine) KeptBlocks() ([]byte, error) {
	data, err := json.Marshal(e.Blocks())
	if err != nil {
		return nil, fmt.Errorf("write toll-blocks: %w", err)
	}
	return data, nil
}

// RestoreBlocks puts the toll-blocks in force that KeptBlocks wrote, and no others.
func (e *Engine) RestoreBlocks(data []byte) error {
	var all []Block
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("read toll-blocks: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.blocks.all)
	for _, b := range all {
		e.blocks.all[b.Subject] = b.copy()
	}
	return nil
}
