// Package names owns the DNS: it tracks the host names and SRV records of SIP
// providers, so that the addresses that they stand for now are in the
// perimeter's allowlist. It is a stub resolver: it asks the resolvers that it is
// given and checks what they say, but does not validate DNSSEC.
//
// An address is kept for as long as the DNS names it, and for a grace period
// afterwards: a round-robin shows a part of the pool at a time, and an outage
// of the DNS must not become one of the telephone. What the DNS says is bounded
// and judged: it can't make the box admit its own LAN, itself, or a crowd.
package names

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// The bounds of what is tracked. Whatever is beyond them is left out and said.
const (
	MaxNames     = 64 // names
	MaxAddresses = 64 // addresses of one name, those kept in grace included
	maxTargets   = 16 // targets of one SRV name, the best priorities first
	maxHops      = 8  // CNAME records from a name to its addresses
)

// Defaults of Config.
const (
	// defaultGrace is a day. Shorter, and a fail-over of the provider's at
	// night, or a pool of which a few members are shown at a time, cuts phones
	// that still talk to yesterday's address; a day is also the longest TTL in
	// common use, hence what a phone may hold on to. Longer, and an address
	// that the provider gave back to its cloud may be let in for whoever rents
	// it next.
	defaultGrace  = 24 * time.Hour
	defaultMinTTL = 30 * time.Second
	defaultMaxTTL = time.Hour
)

// Config says whom to ask, and how long to believe it.
type Config struct {
	// Servers are the resolvers, in order of preference. Where there are none,
	// those of the file ResolvConf are asked, which is read again each time: a
	// DHCP client may write it.
	Servers    []netip.AddrPort
	ResolvConf string
	// Grace is how long an address outlives its TTL after it was last seen.
	// Zero means a day.
	Grace time.Duration
	// MinTTL and MaxTTL clamp the TTL of answers: how soon a name is asked for
	// again. Zero means 30 seconds and an hour.
	MinTTL, MaxTTL time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Changed is called by Run after the addresses of any name changed, and not
	// for their order. It must not block. nil means nobody cares.
	Changed func()
}

// Address is one address that a name stands for.
type Address struct {
	Addr  netip.Addr `json:"addr"`
	Seen  time.Time  `json:"seen"`  // when the DNS last named it
	Until time.Time  `json:"until"` // when it is dropped unless it is seen again: TTL and grace
}

// Name is the state of one tracked name, for status.
type Name struct {
	Name      string             `json:"name"` // as it was given to Track
	Addresses []Address          `json:"addresses"`
	Targets   []appliance.Target `json:"targets,omitempty"` // of a locator, best first
	Success   time.Time          `json:"success,omitzero"`  // when it last resolved
	Next      time.Time          `json:"next,omitzero"`     // when it is asked for next; zero is never, or as soon as can be
	Error     string             `json:"error,omitempty"`   // what went wrong the last time, wholly or in part
}

// Tracker knows what names stand for. Its methods are safe for concurrent use.
type Tracker struct {
	config Config
	report func(appliance.Event)
	poke   chan struct{} // there is something to ask for

	mu        sync.Mutex
	forbidden []netip.Prefix
	entries   map[string]*entry
	over      int // names that were left out
}

// New makes a Tracker of no names. report is given what an operator should
// know: addresses that came and went, names that fail, answers that were
// refused.
func New(config Config, report func(appliance.Event)) *Tracker {
	config.Servers = slices.Clone(config.Servers)
	config.Grace = cmp.Or(config.Grace, defaultGrace)
	config.MinTTL = cmp.Or(config.MinTTL, defaultMinTTL)
	config.MaxTTL = max(cmp.Or(config.MaxTTL, defaultMaxTTL), config.MinTTL)
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Changed == nil {
		config.Changed = func() {}
	}
	return &Tracker{config: config, report: report, poke: make(chan struct{}, 1), entries: map[string]*entry{}}
}

// Track says which names are wanted: a host name ("sip.example.net") stands for
// its A and AAAA records, a service ("_sip._udp.example.net") for those of the
// targets of its SRV records. A locator ("sip:example.net;transport=tls", see
// appliance.Locator) stands for the targets of a trunk, see Targets. Names that are wanted no more are forgotten at
// once. A name that can't be one is listed in State with the error and never
// asked for.
//
// No answer inside one of the forbidden prefixes is taken, and addresses held
// already that are inside are dropped: these are the LAN's networks and the
// box's own addresses, which a name on the internet has no business to point at
// (DNS rebinding). Private addresses elsewhere are taken: a provider may be
// reached through a VPN.
//
// Track does not call Config.Changed; its caller knows to read Addresses again.
func (t *Tracker) Track(names []string, forbidden []netip.Prefix) {
	wanted, over := bound(names)
	t.mu.Lock()
	t.forbidden = slices.Clone(forbidden)
	for name, e := range t.entries {
		if !slices.Contains(wanted, name) {
			delete(t.entries, name)
		}
		e.forget(func(a Address) bool { return t.refuses(a.Addr) != "" })
	}
	for _, name := range wanted {
		if t.entries[name] == nil {
			t.entries[name] = newEntry(name)
		}
	}
	tell := over > 0 && over != t.over
	t.over = over
	t.mu.Unlock()
	if tell {
		t.event(appliance.Block, "", "%d names are left out: at most %d are tracked", over, MaxNames)
	}
	t.wake()
}

// bound takes the first names, each once, and counts the rest.
func bound(names []string) (wanted []string, over int) {
	for _, name := range names {
		switch {
		case slices.Contains(wanted, name):
		case len(wanted) == MaxNames:
			over++
		default:
			wanted = append(wanted, name)
		}
	}
	return wanted, over
}

// Addresses returns what each tracked name stands for now, ascending and
// without repeats, under the name as it was given to Track. A name that never
// resolved has none.
func (t *Tracker) Addresses() map[string][]netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string][]netip.Addr, len(t.entries))
	for name, e := range t.entries {
		out[name] = e.bare()
	}
	return out
}

// State returns every tracked name for status, ascending by name.
func (t *Tracker) State() []Name {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Name, 0, len(t.entries))
	for _, e := range t.entries {
		out = append(out, Name{Name: e.name, Addresses: slices.Clone(e.addrs), Targets: slices.Clone(e.targets), Success: e.success, Next: e.next, Error: e.trouble})
	}
	slices.SortFunc(out, func(a, b Name) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Restore gives tracked names that have not resolved yet the addresses that
// State once told, as far as their time is not up: a box that restarts while
// the DNS is away does not forget its providers. They are judged like answers.
// It does not call Config.Changed.
func (t *Tracker) Restore(saved []Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.config.Now()
	for _, one := range saved {
		e := t.entries[one.Name]
		if e == nil || !e.success.IsZero() {
			continue
		}
		for _, a := range one.Addresses[:min(len(one.Addresses), MaxAddresses)] {
			// The clock may have been set meanwhile, so time that is left counts,
			// and no more of it than an answer of this moment would have.
			left := min(a.Until.Sub(now), t.config.MaxTTL+t.config.Grace)
			if left > 0 && t.refuses(a.Addr) == "" {
				e.see([]netip.Addr{a.Addr}, a.Seen, now.Add(left))
			}
		}
		e.restoreTargets(one.Targets)
	}
}

// Run asks for each name when its TTL runs out, until ctx ends.
func (t *Tracker) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		next := t.step(ctx)
		timer := time.NewTimer(next.Sub(t.config.Now()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-t.poke:
		}
		timer.Stop()
	}
	return nil
}

// wake has Run look what is due.
func (t *Tracker) wake() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}
