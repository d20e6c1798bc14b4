package inspector

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// aliasPrefix starts the user part of every alias that stands for a registered
// contact.
const aliasPrefix = "rf-"

// binding is one contact that a registrar accepted: where the trunk's calls for
// an account end. The registrar knows it by the alias.
type binding struct {
	alias   string
	account string // user@host of the address of record
	contact message.URI
	plain   bool // the registrar knows it as it is: there is no alias
	flow    flow
	expires time.Time
}

// aliasOf names the alias of one contact of one account. It is the same after a
// restart, so that a refreshed registration replaces the one before.
func aliasOf(account string, contact message.URI) string {
	return aliasPrefix + stableID(10, account, spot(contact), contact.String())
}

// bindings is the table of learned contacts, bounded and expiring.
type bindings struct {
	bounds limits
	mu     sync.Mutex
	all    map[string]*binding
	users  map[string]map[string]*binding     // by account, then alias
	hosts  map[netip.Addr]map[string]*binding // by the address that registered, then alias
}

func newBindings(bounds limits) *bindings {
	return &bindings{bounds: bounds, all: make(map[string]*binding), users: make(map[string]map[string]*binding), hosts: make(map[netip.Addr]map[string]*binding)}
}

// learn enters or refreshes a binding. An account that has its share loses the
// binding that runs out first: a phone on TCP has another port, and so another
// Contact, after each restart. It reports false where the table is full.
func (s *bindings) learn(b *binding) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[b.alias] == nil && len(s.users[b.account]) >= s.bounds.contacts {
		s.forgetLocked(firstToExpire(s.users[b.account]))
	}
	if s.all[b.alias] == nil && len(s.all) >= s.bounds.bindings {
		return false
	}
	s.forgetLocked(s.all[b.alias]) // it may have come from another address
	s.all[b.alias] = b
	host := b.flow.remote.Addr()
	if s.hosts[host] == nil {
		s.hosts[host] = make(map[string]*binding)
	}
	s.hosts[host][b.alias] = b
	if s.users[b.account] == nil {
		s.users[b.account] = make(map[string]*binding)
	}
	s.users[b.account][b.alias] = b
	return true
}

func firstToExpire(of map[string]*binding) *binding {
	var first *binding
	for _, b := range of {
		if first == nil || b.expires.Before(first.expires) {
			first = b
		}
	}
	return first
}

// forget removes one binding.
func (s *bindings) forget(alias string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(s.all[alias])
}

func (s *bindings) forgetLocked(b *binding) {
	if b == nil {
		return
	}
	delete(s.all, b.alias)
	delete(s.users[b.account], b.alias)
	if len(s.users[b.account]) == 0 {
		delete(s.users, b.account)
	}
	host := b.flow.remote.Addr()
	delete(s.hosts[host], b.alias)
	if len(s.hosts[host]) == 0 {
		delete(s.hosts, host)
	}
}

// from reports whether anybody is registered from an address.
func (s *bindings) from(host netip.Addr, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.hosts[host] {
		if now.Before(b.expires) {
			return true
		}
	}
	return false
}

// speaking returns the account that is registered from an address and port: the
// only one, or the one of several whose user is named. It is empty where that does
// not say who it is.
func (s *bindings) speaking(at netip.AddrPort, user string, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	only, count := "", 0
	for _, b := range s.hosts[at.Addr()] {
		if b.flow.remote != at || !now.Before(b.expires) {
			continue
		}
		if name, _, _ := strings.Cut(b.account, "@"); name == user {
			return b.account
		}
		if b.account != only {
			only, count = b.account, count+1
		}
	}
	if count != 1 {
		return ""
	}
	return only
}

// of returns the registrations of an account, latest first.
func (s *bindings) of(account string, now time.Time) []appliance.Registration {
	out := []appliance.Registration{}
	if s == nil {
		return out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.users[account] {
		if now.Before(b.expires) {
			out = append(out, appliance.Registration{Contact: b.contact.String(), Source: b.flow.remote, Until: b.expires})
		}
	}
	slices.SortFunc(out, func(a, b appliance.Registration) int { return b.Until.Compare(a.Until) })
	return out
}

// forgetAccount removes every binding that source registered for an account.
func (s *bindings) forgetAccount(account string, source netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.users[account] {
		if b.flow.remote.Addr() == source {
			s.forgetLocked(b)
		}
	}
}

// alias returns the binding behind an alias, nil where there is none in force.
func (s *bindings) alias(user string, now time.Time) *binding {
	if !strings.HasPrefix(user, aliasPrefix) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.all[user]; b != nil && now.Before(b.expires) {
		return b
	}
	return nil
}

// reached returns the binding in force whose contact is target, nil where there is
// none.
func (s *bindings) reached(target message.URI, now time.Time) *binding {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		if sameTarget(b.contact, target) && now.Before(b.expires) {
			return b
		}
	}
	return nil
}

// account returns the newest binding in force of the account whose user part is
// user.
func (s *bindings) account(user string, now time.Time) *binding {
	s.mu.Lock()
	defer s.mu.Unlock()
	var newest *binding
	for _, b := range s.all {
		name, _, _ := strings.Cut(b.account, "@")
		if strings.EqualFold(name, user) && now.Before(b.expires) && (newest == nil || b.expires.After(newest.expires)) {
			newest = b
		}
	}
	return newest
}

// size returns how many bindings there are.
func (s *bindings) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// expire removes what has run out.
func (s *bindings) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		if !now.Before(b.expires) {
			s.forgetLocked(b)
		}
	}
}
