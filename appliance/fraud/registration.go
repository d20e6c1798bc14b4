package fraud

import (
	"fmt"
	"net/netip"
	"time"
)

// address is where an extension has registered from.
type address struct {
	Network netip.Prefix  `json:"network"` // an IPv4 address, or an IPv6 /64
	Agent   uint32        `json:"agent"`   // hash of the User-Agent
	Country string        `json:"country"`
	Up      time.Duration `json:"up"` // the latest, on the engine's own clock
}

// Register judges a registration that the far end accepted.
func (e *Engine) Register(r Registration) []Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(r.At)
	s := e.states.of(Subject{Extension, r.Extension}, up)
	j := e.judging(Attempt{At: r.At, Extension: r.Extension}, up)
	e.wake(s, up)
	s.touch(r.At.Wall, up)
	if why := s.unusual(r, up); why != "" {
		s.suspect = suspicion{Until: up + suspicionSpan, Rule: RuleRegistration, Why: why}
		j.raise(RuleRegistration, Warning, s, 1, 1, func() string { return why })
	}
	s.learnAddress(r, up)
	return j.actions
}

// wake notes that an extension which slept for a month moves again. The calendar,
// which somebody may set, has no say.
func (e *Engine) wake(s *state, up time.Duration) {
	if s.subject.Kind != Extension || s.active.IsZero() || up-s.moved <= dormantAfter {
		return
	}
	days := int((up - s.moved).Hours() / 24)
	s.suspect = suspicion{Until: up + suspicionSpan, Rule: RuleDormant, Why: fmt.Sprintf("it was silent for %d days", days)}
}

// unusual says what is out of the ordinary about a registration; "" where nothing
// is. On the LAN addresses come and go, and the first one proves nothing.
func (s *state) unusual(r Registration, up time.Duration) string {
	if r.Local || len(s.addresses) == 0 {
		return ""
	}
	known := false
	for _, one := range s.addresses {
		if up-one.Up <= time.Hour && one.Country != "" && r.Country != "" && one.Country != r.Country {
			return fmt.Sprintf("it registered from %s and from %s within an hour", one.Country, r.Country)
		}
		known = known || one.Network == site(r.Source) || one.Agent == uint32(hashOf(r.Agent)) && one.Country == r.Country && r.Country != ""
	}
	if known {
		return ""
	}
	return fmt.Sprintf("it registered from a new address, %s, with %q", r.Source, clip(r.Agent))
}

func (s *state) learnAddress(r Registration, up time.Duration) {
	now := address{site(r.Source), uint32(hashOf(r.Agent)), r.Country, up}
	oldest := 0
	for i, one := range s.addresses {
		if one.Network == now.Network && one.Agent == now.Agent {
			s.addresses[i] = now
			return
		}
		if one.Up < s.addresses[oldest].Up {
			oldest = i
		}
	}
	if len(s.addresses) < maxAddresses {
		s.addresses = append(s.addresses, now)
		return
	}
	s.addresses[oldest] = now
}

// site is what a provider gives to one customer: an IPv4 address, an IPv6 /64.
func site(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// clip keeps what a stranger wrote short.
func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}
