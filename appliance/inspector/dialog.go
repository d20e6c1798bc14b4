package inspector

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// dialog is one dialog across the box (RFC 3261 section 12): both legs as
// learned from the messages that made it, never as a later message claims.
type dialog struct {
	callID string
	caller string // tag of leg 0
	callee string // tag of leg 1; "" while a subscription waits for its NOTIFY
	pass   int    // 0, or which time the dialog crosses the box
	call   *call  // nil for a subscription
	urgent bool   // of an emergency call

	// What the reaper looks at stands together.
	mu        sync.Mutex
	deadline  time.Time // when the reaper takes it
	session   session
	confirmed bool
	over      bool // BYE was answered, or the subscription has ended
	awaitsACK bool // a 2xx to an INVITE has been passed on
	referred  bool // a REFER was accepted: its NOTIFYs may come after the BYE

	legs    [2]leg // 0 opened the dialog, 1 answered
	talk    talk
	cut     *cut         // the call was cut: nothing refreshes the dialog any more
	opened  string       // user and host of the Request-URI that opened it, as received
	ends    time.Time    // of a call: its longest duration, however often it is refreshed; zero while it rings
	heirs   []netip.Addr // who a transfer lets take it over
	parties [2]string    // From of the INVITE, and To of its answer
}

// leg is one side of a dialog.
type leg struct {
	who      party
	flow     flow
	target   message.URI // remote target (RFC 3261 section 12.1)
	previous message.URI // the target before the last refresh, which a crossing request may still name
	routes   []string    // the route set beyond us, nearest hop first
	cseq     uint32      // the highest number that this side has sent (RFC 3261 section 12.2.2)
}

// speaks reports whether a source may speak for the leg: the address that it
// spoke from before, or any other of the same trunk.
func (l *leg) speaks(sip *rules.SIP, source netip.Addr) bool {
	if l.flow.remote.Addr() == source {
		return true
	}
	if l.who.side != outside || l.who.trunk == nil {
		return false
	}
	trunk := trunkNamed(sip, l.who.trunk.Name)
	return trunk != nil && ofTrunk(trunk, source)
}

// aim learns a new remote target.
func (l *leg) aim(target message.URI) {
	if sameTarget(l.target, target) {
		return
	}
	l.previous, l.target = l.target, kept(target)
}

// nextHop is where requests to the leg go first: to the proxy that recorded its
// route, else to the target (RFC 3261 section 16.6 step 6).
func (l *leg) nextHop() message.URI {
	if len(l.routes) > 0 {
		if first, err := message.ParseNameAddr(l.routes[0]); err == nil {
			return first.URI
		}
	}
	return l.target
}

// kept returns a plain target that shares no memory with the message that it was
// read from: a dialog outlives its messages.
func kept(uri message.URI) message.URI {
	own, err := message.ParseURI(strings.Clone(plainTarget(uri).String()))
	if err != nil {
		return uri // never: it was parsed before
	}
	return own
}

// keptAll clones each of list.
func keptAll(list []string) []string {
	out := make([]string, len(list))
	for n := range list {
		out[n] = strings.Clone(list[n])
	}
	return out
}

// sameTarget compares what tells two targets apart: scheme, user and where they
// lead. Some agents write the default port out where the Contact had none.
func sameTarget(a, b message.URI) bool {
	return a.Scheme == b.Scheme && a.User == b.User && a.Host == b.Host && portOf(a) == portOf(b)
}

func portOf(uri message.URI) uint16 {
	switch {
	case uri.Port != 0:
		return uri.Port
	case uri.Scheme == "sips", uri.Params.Text("transport") == string(settings.TLS):
		return securePort
	}
	return defaultPort
}

// aimedAt reports whether a Request-URI names the leg: by its target, by the one
// before, or by the URI that opened the dialog, which simple agents keep using.
// It only has to match: what is sent on is always the stored target.
func (d *dialog) aimedAt(to int, uri message.URI) bool {
	l := &d.legs[to]
	return sameTarget(uri, l.target) || sameTarget(uri, l.previous) || to == 1 && d.opened == spot(uri)
}

// spot is the part of a URI that names its user and host.
func spot(uri message.URI) string { return uri.Scheme + ":" + uri.User + "@" + uri.Host }

// passesMax is how often one dialog may cross the box: once from a phone to a
// provider that is a proxy and once back to another phone, or from trunk to trunk.
const passesMax = 3

// dialogKey names a dialog from either side, and one of its passes.
type dialogKey struct {
	callID, one, other string // the tags in order
	pass               int
}

func keyBetween(callID, one, other string, pass int) dialogKey {
	if one > other {
		one, other = other, one
	}
	return dialogKey{callID, one, other, pass}
}

func (d *dialog) key() dialogKey { return keyBetween(d.callID, d.caller, d.callee, d.pass) }

// dialogs is the one table of dialogs, bounded.
type dialogs struct {
	bounds limits
	mu     sync.Mutex
	all    map[dialogKey]*dialog
}

func newDialogs(bounds limits) *dialogs {
	return &dialogs{bounds: bounds, all: make(map[dialogKey]*dialog)}
}

// find returns the dialog, on its first pass, and which leg holds the tag of the
// sender.
func (s *dialogs) find(callID, fromTag, toTag string) (d *dialog, from int) {
	return s.crossing(callID, fromTag, toTag, 0)
}

// crossing is find for any pass.
func (s *dialogs) crossing(callID, fromTag, toTag string, pass int) (d *dialog, from int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d = s.all[keyBetween(callID, fromTag, toTag, pass)]
	switch {
	case d == nil:
		return nil, 0
	case d.caller == fromTag:
		return d, 0
	default:
		return d, 1
	}
}

// room reports whether another dialog may be opened.
func (s *dialogs) room(urgent bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roomLocked(urgent)
}

func (s *dialogs) roomLocked(urgent bool) bool {
	if urgent {
		return len(s.all) < s.bounds.dialogs
	}
	return len(s.all) < s.bounds.dialogs-s.bounds.reserve
}

// enter adds d, or returns the dialog that has its key already. Another call under
// the same Call-ID and tags is another pass: who sends tells them apart. It returns nil
// where the table is full, or where both tags are equal: nobody could tell who
// speaks.
func (s *dialogs) enter(d *dialog, urgent bool) *dialog {
	if d.caller == d.callee {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; ; d.pass++ {
		old := s.all[d.key()]
		if old == nil {
			break
		}
		if old.call == d.call || old.call == nil || d.call == nil || d.pass+1 == passesMax {
			return old
		}
	}
	if !s.roomLocked(urgent) {
		return nil
	}
	s.all[d.key()] = d
	return d
}

// remove takes d out of the table. It reports false where it was not in it.
func (s *dialogs) remove(d *dialog) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := d.key()
	if s.all[key] != d {
		return false
	}
	delete(s.all, key)
	return true
}

// size returns how many dialogs there are.
func (s *dialogs) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// look returns the dialogs whose deadline has passed, and the calls whose sides are
// to be asked whether they are there, a bounded number of them. It walks the table
// once: most of what that costs is to have each dialog come from memory.
func (s *dialogs) look(now time.Time) (late, quiet []*dialog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.all {
		d.mu.Lock()
		switch {
		case !now.Before(d.deadline):
			late = append(late, d)
		case len(quiet) < asksMax && d.silent(now):
			d.session.asking = true
			quiet = append(quiet, d)
		}
		d.mu.Unlock()
	}
	return late, quiet
}

// live reports whether Replaces names a call that is up, from either side (RFC
// 3891 section 3).
func (s *dialogs) live(replaces message.Replaces) *dialog {
	d, _ := s.find(replaces.CallID, replaces.FromTag, replaces.ToTag)
	if d == nil || d.call == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || d.confirmed && replaces.EarlyOnly() {
		return nil
	}
	return d
}

// up reports whether a dialog is an answered call that nobody has ended.
func (d *dialog) up() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.call != nil && d.confirmed && !d.over
}

// answered reports whether a dialog was confirmed by a 2xx.
func (d *dialog) answered() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.confirmed
}

// drop ends a dialog for good and takes it off its call.
func (i *Inspector) drop(d *dialog, now time.Time) {
	if i.dialogs.remove(d) && d.call != nil {
		d.mu.Lock()
		d.over = true
		i.releaseMedia(d)
		d.mu.Unlock()
		i.calls.leave(d.call, d, now)
	}
}
