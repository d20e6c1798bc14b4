package inspector

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// dialog is one dialog across the box (RFC 3261 section 12): both legs as
// learned from the messages that made it, never as a later message claims.
type dialog struct {
	callID string
	caller string // tag of leg 0
	callee string // tag of leg 1; "" while a subscription waits for its NOTIFY
	call   *call  // nil for a subscription
	urgent bool   // of an emergency call

	mu        sync.Mutex
	legs      [2]leg // 0 opened the dialog, 1 answered
	opened    string // user and host of the Request-URI that opened it, as received
	confirmed bool
	awaitsACK bool      // a 2xx to an INVITE has been passed on
	referred  bool      // a REFER was accepted: its NOTIFYs may come after the BYE
	over      bool      // BYE was answered, or the subscription has ended
	deadline  time.Time // when the reaper takes it
}

// leg is one side of a dialog.
type leg struct {
	who      party
	flow     flow
	target   message.URI // remote target (RFC 3261 section 12.1)
	previous message.URI // the target before the last refresh, which a crossing request may still name
	routes   []string    // the route set beyond us, nearest hop first
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
	if uri.Port == 0 {
		return defaultPort
	}
	return uri.Port
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

// dialogKey names a dialog from either side.
func dialogKey(callID, one, other string) string {
	if one > other {
		one, other = other, one
	}
	return callID + "\x00" + one + "\x00" + other
}

// dialogs is the one table of dialogs, bounded.
type dialogs struct {
	bounds limits
	mu     sync.Mutex
	all    map[string]*dialog
}

func newDialogs(bounds limits) *dialogs {
	return &dialogs{bounds: bounds, all: make(map[string]*dialog)}
}

// find returns the dialog and which leg holds the tag of the sender.
func (s *dialogs) find(callID, fromTag, toTag string) (d *dialog, from int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d = s.all[dialogKey(callID, fromTag, toTag)]
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

// enter adds d, or returns the dialog that has its key already. It returns nil
// where the table is full, or where both tags are equal: nobody could tell who
// speaks.
func (s *dialogs) enter(d *dialog, urgent bool) *dialog {
	if d.caller == d.callee {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := dialogKey(d.callID, d.caller, d.callee)
	if old := s.all[key]; old != nil {
		return old
	}
	if !s.roomLocked(urgent) {
		return nil
	}
	s.all[key] = d
	return d
}

// remove takes d out of the table. It reports false where it was not in it.
func (s *dialogs) remove(d *dialog) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := dialogKey(d.callID, d.caller, d.callee)
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

// due returns the dialogs whose deadline has passed.
func (s *dialogs) due(now time.Time) []*dialog {
	s.mu.Lock()
	defer s.mu.Unlock()
	var late []*dialog
	for _, d := range s.all {
		d.mu.Lock()
		if !now.Before(d.deadline) {
			late = append(late, d)
		}
		d.mu.Unlock()
	}
	return late
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

// drop ends a dialog for good and takes it off its call.
func (i *Inspector) drop(d *dialog, now time.Time) {
	if i.dialogs.remove(d) && d.call != nil {
		i.calls.leave(d.call, d, now)
	}
}
