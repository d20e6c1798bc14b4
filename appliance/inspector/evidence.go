package inspector

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// evidence says which refused calls leave a record and their messages behind: the
// first ones of everybody, and then one in a while. A telephone that is refused
// without end would else push all other calls out of the records within seconds, and
// wear the flash out. Each is refused and counted all the same, and the journal says
// how many have no record.
type evidence struct {
	bounds limits
	seed   maphash.Seed

	mu       sync.Mutex
	sources  recent[*allowance]
	accounts recent[*allowance] // at each source
}

// allowance is what one source, or one account there, may leave behind.
type allowance struct {
	left    float64   // records
	at      time.Time // when left was so
	omitted int       // calls without a record, since the journal heard of it
	since   time.Time // the first of them
	source  netip.AddrPort
	subject string
}

// quota is how many records there are at once, and how long it takes to one more.
type quota struct {
	burst int
	every time.Duration
}

func newEvidence(bounds limits) *evidence {
	return &evidence{bounds: bounds, seed: maphash.MakeSeed()}
}

// keeps takes a place for the record of a refused call, and reports whether there was
// one. The account is whom the call counts for: behind a PBX that was broken into any
// name, so that there is a bound for all of a source.
func (e *evidence) keeps(source netip.AddrPort, block netip.Prefix, account string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.of(&e.sources, maphash.Comparable(e.seed, block), e.bounds.sourceRecords, now)
	if all.left < 1 {
		all.omit(source, "", now)
		return false
	}
	one := e.of(&e.accounts, maphash.Comparable(e.seed, placed{block, account}), e.bounds.accountRecords, now)
	if one.left < 1 {
		one.omit(source, account, now)
		return false
	}
	all.left--
	one.left--
	return true
}

// of returns what stands under a key, filled up to now.
func (e *evidence) of(table *recent[*allowance], key uint64, most quota, now time.Time) *allowance {
	a := table.all[key]
	if a == nil {
		a = &allowance{left: float64(most.burst), at: now}
		table.put(key, a, e.bounds.attempts)
	}
	a.refill(most, now)
	return a
}

// placed is an account at a source.
type placed struct {
	block   netip.Prefix
	account string
}

func (a *allowance) omit(source netip.AddrPort, account string, now time.Time) {
	if a.omitted == 0 {
		a.since, a.source, a.subject = now, source, clipped(account, maxAccountName)
	}
	a.omitted++
}

// refill adds what has come since.
func (a *allowance) refill(most quota, now time.Time) {
	if passed := now.Sub(a.at); passed > 0 {
		a.left = min(a.left+float64(passed)/float64(most.every), float64(most.burst))
	}
	a.at = now
}

// toldEvery is how often the journal hears of the same account.
const toldEvery = time.Minute

// omissions returns what the journal has to be told of calls that were left out for
// so long, or longer.
func (e *evidence) omissions(now time.Time, least time.Duration) []appliance.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []appliance.Event
	for _, table := range [...]recent[*allowance]{e.sources, e.accounts} {
		for _, a := range table.all {
			if a.omitted == 0 || now.Sub(a.since) < least {
				continue
			}
			all = append(all, appliance.Event{
				Time: now, Kind: appliance.EventRefusal, Reason: appliance.ReasonOverload, Source: a.source, Subject: a.subject,
				Message: fmt.Sprintf("%d refused calls since %s have no record of their own: there were too many", a.omitted, a.since.UTC().Format(time.DateTime)),
			})
			a.omitted = 0
		}
	}
	return all
}
