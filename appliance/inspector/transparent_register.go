package inspector

import (
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// keeps reports whether the Contact of a REGISTER goes on as it stands: in
// transparent mode, unless another telephone has registered the same user at the
// same provider. A telephone that was given an alias keeps it.
func (i *Inspector) keeps(q *request, name string, contact message.URI) bool {
	if !q.from.intercepted() {
		return false
	}
	return !i.bindings.taken(q, name, contact.User)
}

// taken reports whether a user part can't tell a telephone from another.
func (s *bindings) taken(q *request, name, user string) bool {
	trunk := q.meant("")
	s.mu.Lock()
	defer s.mu.Unlock()
	if own := s.all[name]; own != nil && q.at.Before(own.expires) {
		return !own.plain
	}
	for _, b := range s.all {
		if b.plain && b.contact.User == user && q.at.Before(b.expires) &&
			b.flow.remote.Addr() != q.from.remote.Addr() && trunk != nil && ofTrunk(trunk, b.flow.local.Addr()) {
			return true
		}
	}
	return false
}

// called returns the binding that a trunk means by a Request-URI which is no
// alias: the Contact that it was given, or, where its NAT handling has put another
// host there, the one with that user part.
func (s *bindings) called(sip *rules.SIP, trunk *settings.Trunk, uri message.URI, now time.Time) *binding {
	if trunk == nil || uri.User == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var newest *binding
	for _, b := range s.all {
		of := trunkNamed(sip, trunk.Name)
		if !b.plain || b.contact.User != uri.User || !now.Before(b.expires) || of == nil || !ofTrunk(of, b.flow.local.Addr()) {
			continue
		}
		if sameTarget(b.contact, uri) {
			return b
		}
		if newest == nil || b.expires.After(newest.expires) {
			newest = b
		}
	}
	return newest
}

// grants reports whether what a registrar lists is this Contact: as it was sent,
// or with a host that the registrar's NAT handling has put there.
func (a alias) grants(granted []message.NameAddr, one message.NameAddr) bool {
	if !a.plain {
		return one.URI.User == a.name
	}
	if sameTarget(one.URI, a.contact.URI) {
		return true
	}
	for _, other := range granted {
		if sameTarget(other.URI, a.contact.URI) {
			return false
		}
	}
	return one.URI.User == a.contact.URI.User
}
