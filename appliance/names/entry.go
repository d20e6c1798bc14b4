package names

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// How soon a name that failed is asked for again: twice as long each time.
// A box that boots before its WAN is there is not kept waiting, and a resolver
// that is down gets a query a minute and name.
const (
	firstRetry = 2 * time.Second
	lastRetry  = time.Minute
)

// entry is one tracked name. All but the name and its query is guarded by
// Tracker.mu.
type entry struct {
	name  string
	query string // what is asked for; empty where the name can't be one
	// locator is set where the name is a trunk's, and query its host.
	locator *appliance.Locator

	addrs    []Address          // ascending, at most MaxAddresses
	targets  []appliance.Target // best first, at most MaxAddresses; of a locator only
	success  time.Time
	next     time.Time
	failures int // in a row, in part or wholly
	failing  bool
	trouble  string
	refused  []string // what was refused the last time, to tell it once
}

func newEntry(name string) *entry {
	host, locator := name, (*appliance.Locator)(nil)
	if found, ok := appliance.ParseLocator(name); ok {
		host, locator = found.Host, &found
	}
	query, err := canonical(host)
	if err != nil {
		return &entry{name: name, trouble: err.Error()}
	}
	return &entry{name: name, query: query, locator: locator}
}

// bare returns the addresses alone.
func (e *entry) bare() []netip.Addr {
	out := make([]netip.Addr, len(e.addrs))
	for i, a := range e.addrs {
		out[i] = a.Addr
	}
	return out
}

// forget drops addresses.
func (e *entry) forget(which func(Address) bool) {
	e.addrs = slices.DeleteFunc(e.addrs, which)
	e.stray()
}

// expire drops the addresses whose time is up.
func (e *entry) expire(now time.Time) {
	e.forget(func(a Address) bool { return !a.Until.After(now) })
}

// see takes addresses that the DNS named. Where they become too many, those go
// that would be dropped first.
func (e *entry) see(addrs []netip.Addr, now, until time.Time) {
	for _, addr := range addrs {
		at, known := slices.BinarySearchFunc(e.addrs, addr, func(a Address, addr netip.Addr) int { return a.Addr.Compare(addr) })
		if !known {
			e.addrs = slices.Insert(e.addrs, at, Address{Addr: addr})
		}
		e.addrs[at].Seen = now
		if until.After(e.addrs[at].Until) {
			e.addrs[at].Until = until
		}
	}
	if len(e.addrs) <= MaxAddresses {
		return
	}
	byAddr := func(a, b Address) int { return a.Addr.Compare(b.Addr) }
	slices.SortStableFunc(e.addrs, func(a, b Address) int { return b.Until.Compare(a.Until) })
	e.addrs = slices.Clip(e.addrs[:MaxAddresses])
	slices.SortFunc(e.addrs, byAddr)
	e.stray()
}

// plan sets when the name is asked for next. broken means that there is
// something that is worth another try before the TTL runs out.
func (e *entry) plan(now time.Time, ttl time.Duration, broken bool) {
	if !broken {
		e.failures, e.next = 0, now.Add(ttl)
		return
	}
	pause := min(firstRetry<<min(e.failures, 16), lastRetry)
	e.failures++
	e.next = now.Add(min(pause, ttl))
}

// wake returns when there is something to do next: to ask, or to drop an
// address. A name that can't be one has nothing to do.
func (e *entry) wake() (time.Time, bool) {
	if e.query == "" {
		return time.Time{}, false
	}
	at := e.next
	for _, a := range e.addrs {
		if a.Until.Before(at) {
			at = a.Until
		}
	}
	return at, true
}
