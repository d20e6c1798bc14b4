package watch

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// Census counts the extensions among the accounts, and those that the engine alone
// knows: the PBX's own, which never register here. Those with oddities come first.
func (w *Watch) Census(accounts []appliance.Account) []fraud.Counted {
	all := merged(accounts, w.engine.Extensions())
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.census.Look(w.Now().Wall, all)
}

// censusEvery is how old what is kept of the census may be.
const censusEvery = time.Hour

// Count takes the census and tells the journal what is new. It wants to be called
// each minute.
func (w *Watch) Count(accounts []appliance.Account) {
	all, at := merged(accounts, w.engine.Extensions()), w.Now()
	w.mu.Lock()
	news := w.census.Take(at, all)
	var data []byte
	var err error
	due := len(news) > 0 || w.census.Changed() && at.Up-w.counted >= censusEvery
	if due {
		w.counted = at.Up
		data, err = w.census.Keep()
	}
	w.mu.Unlock()
	for _, one := range news {
		for _, odd := range one.Oddities {
			w.Report(appliance.Event{Time: at.Wall, Kind: appliance.EventFraud, Verdict: appliance.Allow, Reason: appliance.ReasonSuspicion,
				Subject: fraud.Subject{Kind: fraud.Extension, Name: one.Name}.String(), Message: "census (" + string(odd.Kind) + "): " + odd.Why})
		}
	}
	if due {
		w.kept(keptCensus, data, err)
	}
}

// merged puts together what the inspector and the engine know, by name. What the
// engine counts for an address is nobody's extension, and what a trunk's account
// does is the PBX's.
func merged(accounts []appliance.Account, behaved []fraud.Seen) []fraud.Seen {
	at := make(map[string]int)
	trunks := make(map[string]bool)
	var all []fraud.Seen
	for _, one := range accounts {
		if one.Kind == appliance.AccountTrunk {
			trunks[one.Name] = true
			continue
		}
		at[one.Name] = len(all)
		all = append(all, fraud.Seen{Name: one.Name, Label: one.Label, First: one.First, Last: one.Last, Registered: len(one.Registrations) > 0})
	}
	for _, one := range behaved {
		n, known := at[one.Name]
		if _, err := netip.ParseAddr(one.Name); trunks[one.Name] || err == nil && !known {
			continue
		}
		if !known {
			all = append(all, one)
			continue
		}
		have := &all[n]
		have.Called = one.Called
		if have.First.IsZero() || !one.First.IsZero() && one.First.Before(have.First) {
			have.First = one.First
		}
		if one.Last.After(have.Last) {
			have.Last = one.Last
		}
	}
	slices.SortFunc(all, func(a, b fraud.Seen) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
