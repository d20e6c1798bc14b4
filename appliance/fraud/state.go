package fraud

import (
	"strings"
	"time"
)

// state is all that is known of one subject. States are bounded in number: the
// one that was idle longest goes first, unless it is blocked.
type state struct {
	subject Subject
	used    uint64 // rises with every use
	minute  slots  // chargeable international attempts
	hour    slots
	day     slots
	premium slots // premium attempts of an hour
	ended   slots // calls to chargeable destinations that are over, of an hour
	short   slots // and those of them that were over at once
	recent  recent
	live    map[string]*live
	// chargeable counts those of them that cost something; sum is what they have
	// cost or reserved, as of the last tick.
	chargeable int
	sum        Money

	countries []country
	addresses []address
	seen      time.Time     // first activity
	active    time.Time     // latest
	moved     time.Duration // the same on the engine's own clock
	called    time.Time     // latest call that it placed, of any class
	suspect   suspicion
	base      *baseline
	spent     [periods]period
	told      map[RuleID]told
}

// country is a country that a subject has called.
type country struct {
	Hash  uint32 `json:"hash"`
	Calls uint16 `json:"calls"` // in hours, up to familiarCalls
}

// suspicion says that something about the subject is out of the ordinary, so
// that a chargeable call is taken for fraud until it ends.
type suspicion struct {
	Until time.Duration `json:"until"` // on the engine's own clock
	Rule  RuleID        `json:"rule"`
	Why   string        `json:"why"`
}

// told is what people have heard of a rule, so that they hear it once.
type told struct {
	level Level
	until time.Duration
}

func newState(of Subject, up time.Duration) *state {
	size := recentCalls
	if of.Kind != Extension {
		size = recentOfSite
	}
	s := &state{
		subject: of,
		minute:  newSlots(time.Minute, 60),
		hour:    newSlots(time.Hour, 60),
		day:     newSlots(24*time.Hour, 48),
		premium: newSlots(time.Hour, 20),
		ended:   newSlots(shortSpan, 20),
		short:   newSlots(shortSpan, 20),
		recent:  newRecent(size),
		live:    make(map[string]*live),
		told:    make(map[RuleID]told),
	}
	for _, counter := range []*slots{&s.minute, &s.hour, &s.day, &s.premium, &s.ended, &s.short} {
		counter.head = int64(up / counter.width)
	}
	return s
}

// touch notes activity.
func (s *state) touch(wall time.Time, up time.Duration) {
	if s.seen.IsZero() {
		s.seen = wall
	}
	s.active, s.moved = wall, up
}

// knows reports whether the subject has called a country, and whether often
// enough in hours for that to be its habit.
func (s *state) knows(hash uint32) (known, familiar bool) {
	for _, one := range s.countries {
		if one.Hash == hash {
			return true, one.Calls >= familiarCalls
		}
	}
	return false, false
}

// learnCountry notes a call to a country; only calls in hours make a habit. The
// country that was learned first goes where there are too many: a novelty that is
// reported twice does no harm.
func (s *state) learnCountry(hash uint32, inHours bool) {
	for i := range s.countries {
		if s.countries[i].Hash == hash {
			if inHours && s.countries[i].Calls < familiarCalls {
				s.countries[i].Calls++
			}
			return
		}
	}
	if len(s.countries) == maxCountries {
		s.countries = append(s.countries[:0], s.countries[1:]...)
	}
	one := country{Hash: hash}
	if inHours {
		one.Calls = 1
	}
	s.countries = append(s.countries, one)
}

// took and left keep what is asked of the live calls on every attempt without a
// walk over all of them.
func (s *state) took(call *live) {
	s.live[call.id] = call
	if call.class.Chargeable() {
		s.chargeable++
	}
	s.sum += call.reserved
}

func (s *state) left(call *live, up time.Duration) {
	delete(s.live, call.id)
	if call.class.Chargeable() {
		s.chargeable--
	}
	s.sum = max(s.sum-call.committed(up), 0)
}

// addUp has sum hold what the live calls have cost so far, or have reserved. Every
// tick does it; what begins between two of them counts at once.
func (s *state) addUp(up time.Duration) {
	s.sum = 0
	for _, call := range s.live {
		s.sum += call.committed(up)
	}
}

// states is the bounded table of subjects.
type states struct {
	all  map[Subject]*state
	tick uint64
	keep func(Subject) bool // a subject that must not be forgotten
}

func newStates(keep func(Subject) bool) *states {
	return &states{all: make(map[Subject]*state), keep: keep}
}

// of returns the state of a subject, which it makes where there is none.
func (t *states) of(subject Subject, up time.Duration) *state {
	t.tick++
	s := t.all[subject]
	if s == nil {
		if len(t.all) >= maxSubjects {
			t.forget()
		}
		subject.Name = strings.Clone(subject.Name) // it outlives the message that it came from
		s = newState(subject, up)
		t.all[subject] = s
	}
	s.used = t.tick
	return s
}

// forget drops the sixteenth of the table that was idle longest, so that a flood
// of new names pays for one search in many.
func (t *states) forget() {
	var oldest []*state
	for _, s := range t.all {
		if s.subject.Kind == Extension && len(s.live) == 0 && !t.keep(s.subject) {
			oldest = append(oldest, s)
		}
	}
	cut := nthUsed(oldest, maxSubjects/16)
	for _, s := range oldest {
		if s.used <= cut {
			delete(t.all, s.subject)
		}
	}
}
