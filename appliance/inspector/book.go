package inspector

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Media is what the inspector asks of whoever guards the WAN. Its methods return
// soon, and are safe for concurrent use.
type Media interface {
	// Permit lets media in for a while: see appliance.MediaKey. Again means longer.
	Permit(life time.Duration, keys ...appliance.MediaKey) error
	// Forget ends permits; there need not be any.
	Forget(keys ...appliance.MediaKey) error
	// Cut drops packets in both directions for a while. When it returns nil, none
	// passes any more.
	Cut(life time.Duration, keys ...appliance.MediaKey) error
	// Uncut ends cuts; there need not be any.
	Uncut(keys ...appliance.MediaKey) error
	// Conversations returns with whom those inside exchange datagrams now, and by
	// which port of the WAN, as NAT knows it. It may take a moment.
	Conversations(inside []netip.AddrPort) ([]appliance.Conversation, error)
}

// How long the kernel believes the inspector. A daemon that died ends no call: the
// media of one that goes on is known by what its side inside sends, and what only
// comes in is let in for a quarter of an hour. A daemon that is only restarted is
// back within seconds. A cut must hold for longer than that.
const (
	permitLife = 15 * time.Minute
	cutLife    = time.Hour
	renewEvery = 5 * time.Minute // of permits, and of cuts
)

var errCrowded = errors.New("there are too many calls to tell their media from others', and all media is let in")

// permitsMost bounds the permits. Where there are more, all media is let in, and
// that is told: a call is worth more than the guard.
const permitsMost = 48 << 10

// book keeps count of the media of all live dialogs, and the kernel's tables in
// step with that.
type book struct {
	hands  Media // nil where nobody guards a WAN
	report func(string)

	mu      sync.Mutex
	permits map[appliance.MediaKey]int
	live    map[appliance.MediaKey]int // how many live streams a key of a cut would stop
	cuts    map[appliance.MediaKey]int
	renewed time.Time
	trouble string // told of last
}

func newBook(hands Media, report func(string)) *book {
	return &book{hands: hands, report: report, permits: map[appliance.MediaKey]int{}, live: map[appliance.MediaKey]int{}, cuts: map[appliance.MediaKey]int{}}
}

// ends are the keys by which a stream's packets are known: the far end, its
// address with our port, and both ends.
type ends struct{ far, near, both appliance.MediaKey }

func endsOf(s appliance.Stream) (e ends) {
	if !s.Outside.IsValid() {
		return e
	}
	e.far = appliance.MediaKey{Remote: s.Outside.Addr(), RemotePort: s.Outside.Port()}
	if s.Inside.IsValid() {
		e.near = appliance.MediaKey{Remote: s.Outside.Addr(), LocalPort: s.Inside.Port()}
		e.both = appliance.MediaKey{Remote: s.Outside.Addr(), RemotePort: s.Outside.Port(), LocalPort: s.Inside.Port()}
	}
	return e
}

// each calls do with those keys of a stream that there are.
func (e ends) each(do func(appliance.MediaKey)) {
	for _, key := range [...]appliance.MediaKey{e.far, e.near, e.both} {
		if key != (appliance.MediaKey{}) {
			do(key)
		}
	}
}

// hold replaces what the book holds for one dialog.
func (b *book) hold(before, next lines) {
	if b.hands == nil || len(before.permits)+len(next.permits)+len(before.streams)+len(next.streams) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var opened, closed, freed []appliance.MediaKey
	for _, key := range next.permits {
		if b.permits[key]++; b.permits[key] == 1 {
			opened = append(opened, key)
		}
	}
	for _, key := range before.permits {
		if release(b.permits, key) {
			closed = append(closed, key)
		}
	}
	for _, one := range next.streams {
		endsOf(one).each(func(key appliance.MediaKey) {
			if b.live[key]++; b.cuts[key] > 0 {
				freed = append(freed, key)
			}
		})
	}
	for _, one := range before.streams {
		endsOf(one).each(func(key appliance.MediaKey) { release(b.live, key) })
	}
	b.tell("permit media", b.permit(opened))
	b.tell("forget media", b.hands.Forget(closed...))
	b.free(freed)
}

// release takes one off a count. It reports whether that was the last.
func release(counts map[appliance.MediaKey]int, key appliance.MediaKey) bool {
	if counts[key]--; counts[key] > 0 {
		return false
	}
	delete(counts, key)
	return true
}

func (b *book) permit(keys []appliance.MediaKey) error {
	if len(keys) == 0 {
		return nil
	}
	if len(b.permits) <= permitsMost {
		return b.hands.Permit(permitLife, keys...)
	}
	if err := b.hands.Permit(permitLife, appliance.MediaKey{}); err != nil {
		return err
	}
	return errCrowded
}

// free lifts those keys of cuts that a new call needs: the provider gave it a port
// that had been another's. What is left of such a cut is the pair of both ends.
func (b *book) free(keys []appliance.MediaKey) {
	if len(keys) == 0 {
		return
	}
	for _, key := range keys {
		delete(b.cuts, key)
	}
	b.tell("uncut media", b.hands.Uncut(keys...))
}

// tell reports trouble with the kernel's tables once, until it is another.
func (b *book) tell(doing string, err error) {
	switch {
	case err != nil && err.Error() != b.trouble:
		b.trouble = err.Error()
		b.report(doing + ": " + b.trouble)
	case err == nil && doing == renewing:
		b.trouble = ""
	}
}

const renewing = "renew media"

// cut stops streams of a dialog that the book no longer holds, and returns the keys
// by which. A key that would stop a live call as well is left out, but for the one
// of both ends.
func (b *book) cut(streams []appliance.Stream, spared func(appliance.MediaKey) bool) ([]appliance.MediaKey, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []appliance.MediaKey
	for _, one := range streams {
		e := endsOf(one)
		e.each(func(key appliance.MediaKey) {
			if !spared(key) && (key == e.both || b.live[key] == 0) {
				keys = append(keys, key)
			}
		})
	}
	if len(keys) == 0 {
		return nil, nil
	}
	for _, key := range keys {
		b.cuts[key]++
	}
	return keys, b.hands.Cut(cutLife, keys...)
}

// uncut gives up keys that cut returned.
func (b *book) uncut(keys []appliance.MediaKey) {
	if b.hands == nil || len(keys) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var gone []appliance.MediaKey
	for _, key := range keys {
		if b.cuts[key] > 0 && release(b.cuts, key) {
			gone = append(gone, key)
		}
	}
	b.tell("uncut media", b.hands.Uncut(gone...))
}

// renew makes the kernel believe for longer what still holds.
func (b *book) renew(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hands == nil || now.Sub(b.renewed) < renewEvery {
		return
	}
	b.renewed = now
	err := b.permit(keysOf(b.permits))
	if cuts := keysOf(b.cuts); err == nil && len(cuts) > 0 {
		err = b.hands.Cut(cutLife, cuts...)
	}
	b.tell(renewing, err)
}

func keysOf(counts map[appliance.MediaKey]int) []appliance.MediaKey {
	all := make([]appliance.MediaKey, 0, len(counts))
	for key := range counts {
		all = append(all, key)
	}
	return all
}
