package names

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// workers is how many names are asked for at the same time: one whose servers
// are silent holds up a quarter of the others at most.
const workers = 4

// step asks for every name that is due, drops what has outlived its grace, and
// returns when there is something to do next.
func (t *Tracker) step(ctx context.Context) time.Time {
	due, changed := t.due()
	servers := t.servers()
	answers := make(chan answer, len(due)) // nobody is kept from ending
	var taken atomic.Int64
	var asking sync.WaitGroup
	for range min(workers, len(due)) {
		asking.Go(func() {
			for i := taken.Add(1) - 1; i < int64(len(due)); i = taken.Add(1) - 1 {
				answers <- servers.resolve(ctx, due[i])
			}
		})
	}
	for range due {
		one := <-answers
		if ctx.Err() != nil {
			break // what was cut short is no answer
		}
		changed = t.take(one) || changed
		if changed && len(answers) == 0 {
			t.config.Changed()
			changed = false
		}
	}
	asking.Wait()
	if changed {
		t.config.Changed()
	}
	return t.next()
}

// due returns the names to ask for now. Those that are not have their old
// addresses dropped where it is time; the others after they were asked for.
func (t *Tracker) due() (due []*entry, changed bool) {
	now := t.config.Now()
	var gone []func()
	t.mu.Lock()
	for _, e := range t.entries {
		switch {
		case e.query == "":
		case !e.next.After(now):
			due = append(due, e)
		default:
			before := e.bare()
			e.expire(now)
			gone = append(gone, t.told(e, before)...)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(due, func(a, b *entry) int { return strings.Compare(a.name, b.name) })
	for _, tell := range gone {
		tell()
	}
	return due, len(gone) > 0
}

// next returns when the first name has something to do.
func (t *Tracker) next() time.Time {
	next := t.config.Now().Add(t.config.MaxTTL)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		if at, some := e.wake(); some && at.Before(next) {
			next = at
		}
	}
	return next
}

// take merges one answer and reports whether the addresses are others now.
func (t *Tracker) take(a answer) bool {
	t.mu.Lock()
	e := a.of
	if t.entries[e.name] != e {
		t.mu.Unlock()
		return false // not wanted any more
	}
	now, before := t.config.Now(), e.bare()
	ttl := min(max(a.ttl, t.config.MinTTL), t.config.MaxTTL)
	good, refused := t.judge(a)
	e.see(good, now, now.Add(ttl+t.config.Grace))
	e.expire(now)
	aimed := e.aim(a, good)
	tell := t.told(e, before)
	changed := len(tell) > 0 || aimed
	tell = append(tell, t.refusals(e, refused)...)
	tell = append(tell, t.outcome(e, len(good) > 0, a.trouble(refused), now)...)
	e.plan(now, ttl, a.broken || len(good) == 0)
	t.mu.Unlock()
	for _, one := range tell {
		one()
	}
	return changed
}

// judge parts what may be let in from what may not. What is refused is in
// words, and no more of it than of addresses.
func (t *Tracker) judge(a answer) (good []netip.Addr, refused []string) {
	for _, addr := range a.addrs {
		switch why := t.refuses(addr); {
		case why != "" && len(refused) < MaxAddresses:
			refused = append(refused, fmt.Sprintf("%s is %s", addr, why))
		case why == "" && len(good) < MaxAddresses:
			good = append(good, addr)
		}
	}
	return good, refused
}

// refuses says why an address may not be let in, or nothing.
func (t *Tracker) refuses(addr netip.Addr) string {
	if why := unfit(addr); why != "" {
		return why
	}
	if slices.ContainsFunc(t.forbidden, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return "on the box's own side"
	}
	return ""
}

// outcome notes how it went and returns what is to be told of it: only a turn
// for the worse or the better.
func (t *Tracker) outcome(e *entry, resolved bool, trouble string, now time.Time) (tell []func()) {
	e.trouble = trouble
	switch {
	case resolved && e.failing:
		tell = append(tell, t.telling(appliance.Allow, e.name, "%s resolves again", e.name))
	case !resolved && !e.failing:
		tell = append(tell, t.telling(appliance.Block, e.name, "%s does not resolve: %s; %s", e.name, trouble, keeping(e, now)))
	}
	e.failing = !resolved
	if resolved {
		e.success = now
	}
	return tell
}

func keeping(e *entry, now time.Time) string {
	if len(e.addrs) == 0 {
		return "it stands for no address"
	}
	last := slices.MaxFunc(e.addrs, func(a, b Address) int { return a.Until.Compare(b.Until) }).Until
	return fmt.Sprintf("its addresses are kept for %s", last.Sub(now).Round(time.Minute))
}

// refusals returns what is to be told of addresses that are refused and were
// not the last time.
func (t *Tracker) refusals(e *entry, refused []string) (tell []func()) {
	fresh := slices.DeleteFunc(slices.Clone(refused), func(one string) bool { return slices.Contains(e.refused, one) })
	if len(fresh) > 0 {
		tell = append(tell, t.telling(appliance.Block, e.name, "an answer for %s is refused: %s", e.name, list(fresh)))
	}
	e.refused = refused
	return tell
}

// told returns what is to be told of the addresses that came and went; nothing
// where they are the same.
func (t *Tracker) told(e *entry, before []netip.Addr) []func() {
	now := e.bare()
	lacks := func(in []netip.Addr) func(netip.Addr) bool {
		return func(a netip.Addr) bool { return slices.Contains(in, a) }
	}
	var parts []string
	if came := slices.DeleteFunc(slices.Clone(now), lacks(before)); len(came) > 0 {
		parts = append(parts, "new: "+list(texts(came)))
	}
	if went := slices.DeleteFunc(slices.Clone(before), lacks(now)); len(went) > 0 {
		parts = append(parts, "gone: "+list(texts(went)))
	}
	if len(parts) == 0 {
		return nil
	}
	return []func(){t.telling(appliance.Allow, e.name, "the addresses of %s changed: %s", e.name, strings.Join(parts, "; "))}
}

func texts(addrs []netip.Addr) []string {
	out := make([]string, len(addrs))
	for i, addr := range addrs {
		out[i] = addr.String()
	}
	return out
}

// list names a few and counts the rest.
func list(all []string) string {
	const few = 6
	if len(all) <= few {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:few], ", "), len(all)-few)
}

// telling returns a report to be made when no lock is held.
func (t *Tracker) telling(verdict appliance.Verdict, subject, format string, args ...any) func() {
	message := fmt.Sprintf(format, args...)
	return func() { t.event(verdict, subject, "%s", message) }
}

func (t *Tracker) event(verdict appliance.Verdict, subject, format string, args ...any) {
	t.report(appliance.Event{
		Time: t.config.Now(), Kind: appliance.EventDaemon, Verdict: verdict, Subject: subject, Message: fmt.Sprintf(format, args...),
	})
}

// trouble is what went wrong, in one sentence; empty where nothing did.
func (a answer) trouble(refused []string) string {
	var parts []string
	if err := errors.Join(a.problems...); err != nil {
		parts = append(parts, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(refused) > 0 {
		parts = append(parts, "refused: "+list(refused))
	}
	if len(a.addrs) > MaxAddresses {
		parts = append(parts, fmt.Sprintf("%d addresses, of which %d are taken", len(a.addrs), MaxAddresses))
	}
	return strings.Join(parts, "; ")
}
