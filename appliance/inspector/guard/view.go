package guard

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

// Pardon forgets everything against a source: its ban was lifted by hand.
func (g *Guard) Pardon(block netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[block]
	if s == nil {
		return
	}
	s.shut, s.banned, s.narrow, s.level, s.forged, s.why = time.Time{}, false, time.Time{}, 0, false, ""
	for _, a := range s.accounts {
		a.failedAt, a.open, a.guesses, a.row, a.strange = time.Time{}, time.Time{}, slots{}, 0, 0
	}
}

// Spare hears that no ban may touch a source, for so long. What was found against
// it stays, and its new names are slowed down instead.
func (g *Guard) Spare(block netip.Prefix, now, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.source(block, now)
	s.spared = until
	if s.banned {
		s.narrow, s.shut, s.banned, s.level = s.shut, time.Time{}, false, max(s.level-1, 0)
	}
}

// Reliable reports whether a source has proved that it hears what is sent to it.
func (g *Guard) Reliable(addr netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[Block(addr)]
	return s != nil && s.reliable
}

// Proves reports whether the credentials of a request that was accepted say who
// sent it: they answer a challenge of that very method. A far end that never asked
// has not looked at them.
func (g *Guard) Proves(r Request) bool {
	if r.Credentials == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[r.block()]
	if s == nil {
		return false
	}
	return slices.Contains(s.nonces[:], g.hash(r.Credentials.Nonce, r.Method)) || r.Method == "REGISTER" && s.passed(r.Account, g.hash(r.Credentials.Nonce))
}

// Office reports whether an account was proven at a source on the WAN within a day.
func (g *Guard) Office(addr netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[Block(addr)]
	return s != nil && s.office(now)
}

// State is what is done about a source at present.
type State string

// The states of a source, the mildest first.
const (
	Counted  State = "counted"
	Narrowed State = "narrowed" // names that are not proven there are slowed down
	Ignored  State = "ignored"  // only what it needs to prove itself gets through
	Banned   State = "banned"
)

// View is a source as it is counted.
type View struct {
	Source   netip.Prefix
	Seen     time.Time
	State    State
	Until    time.Time // of the state; zero where it is only counted
	Why      string
	Accounts int // that failed in the window
	Guesses  int // the most for one account in the window
	Slowed   []string
	Level    int       // bans up to now
	Proven   time.Time // an account last succeeded there; zero for never
	Reliable bool
}

// Views returns the sources that anything is held against, the worst first, at
// most limit of them, and how many there are.
func (g *Guard) Views(limits document.Guard, now time.Time, limit int) (views []View, total int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sources {
		if v := s.view(limits, now); v.State != Counted || v.Accounts+v.Guesses+v.Level+len(v.Slowed) > 0 {
			views = append(views, v)
		}
	}
	slices.SortFunc(views, func(a, b View) int {
		return cmp.Or(cmp.Compare(b.weight(limits), a.weight(limits)), b.Seen.Compare(a.Seen), a.Source.Compare(b.Source))
	})
	return views[:min(limit, len(views))], len(views)
}

func (v View) weight(limits document.Guard) float64 {
	near := max(float64(v.Accounts)/float64(limits.Accounts), float64(v.Guesses)/float64(limits.Guesses))
	return near + map[State]float64{Narrowed: 10, Ignored: 20, Banned: 30}[v.State]
}

func (s *source) view(limits document.Guard, now time.Time) View {
	v := View{Source: s.block, Seen: s.seen, State: Counted, Level: s.level, Proven: s.proven, Reliable: s.reliable}
	v.Accounts, _ = s.wrongs(now, limits.Window)
	for _, a := range s.accounts {
		v.Guesses = max(v.Guesses, a.guesses.sum(now, limits.Window))
		if (a.row >= firstFailures || a.strange >= firstStrange) && len(v.Slowed) < 10 {
			v.Slowed = append(v.Slowed, a.name)
		}
	}
	slices.Sort(v.Slowed)
	switch {
	case now.Before(s.shut) && s.banned:
		v.State, v.Until, v.Why = Banned, s.shut, s.why
	case now.Before(s.shut):
		v.State, v.Until, v.Why = Ignored, s.shut, s.why
	case now.Before(s.narrow):
		v.State, v.Until, v.Why = Narrowed, s.narrow, s.why
	}
	return v
}

// Memory is what a restart must not lose: without it the office that comes back
// after an outage would be a stranger, and the scanner a beginner.
type Memory struct {
	Proven    []Proven   `json:"proven"`
	Offenders []Offender `json:"offenders"`
}

// Proven says that an account was accepted at a source.
type Proven struct {
	Source  netip.Prefix `json:"source"`
	Account string       `json:"account"`
	At      time.Time    `json:"at"`
}

// Offender is a source that was banned.
type Offender struct {
	Source netip.Prefix `json:"source"`
	Level  int          `json:"level"`
	Until  time.Time    `json:"until"`
}

// Memory returns what a restart must not lose, in a stable order.
func (g *Guard) Memory(now time.Time) Memory {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := Memory{Proven: []Proven{}, Offenders: []Offender{}}
	for _, s := range g.sources {
		for _, a := range s.accounts {
			if a.isProven(now) {
				m.Proven = append(m.Proven, Proven{s.block, a.name, a.proven.UTC()})
			}
		}
		if s.level > 0 && now.Sub(s.shut) <= forgiven {
			m.Offenders = append(m.Offenders, Offender{s.block, s.level, s.shut.UTC()})
		}
	}
	slices.SortFunc(m.Proven, func(a, b Proven) int {
		return cmp.Or(a.Source.Compare(b.Source), cmp.Compare(a.Account, b.Account))
	})
	slices.SortFunc(m.Offenders, func(a, b Offender) int { return a.Source.Compare(b.Source) })
	return m
}

// Restore takes back what Memory gave, as far as it is not too old by now. A
// source proven before the restart is still an office; that it hears what is sent
// to it has to be proved again.
func (g *Guard) Restore(m Memory, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range m.Proven {
		at := one.At
		if at.After(now) { // the clock was set back
			at = now
		}
		if !one.Source.IsValid() || now.Sub(at) >= remembered {
			continue
		}
		s := g.source(one.Source, now)
		g.account(s, one.Account).proven = at
		s.prove(g, later(at, s.proven))
	}
	for _, one := range m.Offenders {
		if one.Source.IsValid() && one.Level > 0 && now.Sub(one.Until) <= forgiven {
			s := g.source(one.Source, now)
			s.level = one.Level
			if s.shut = one.Until; now.Before(s.shut) {
				s.banned, s.why = true, "banned before a restart"
			}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
