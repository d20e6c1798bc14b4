package inspector

import (
	"cmp"
	"container/list"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Bounds of the table of accounts.
const (
	maxAccounts       = 4096
	maxAccountSources = 8
	maxAccountName    = 128                 // bytes; a longer one is not learned
	maxAgent          = 80                  // bytes of a User-Agent that are kept
	accountLife       = 90 * 24 * time.Hour // without being seen
)

// accounts is the table of who was accepted by a far end, bounded and expiring.
type accounts struct {
	mu      sync.Mutex
	all     map[string]*list.Element // of *appliance.Account, by name
	order   *list.List               // latest first
	digests map[string]string        // name by username and registrar
	changed bool                     // since it was last kept
}

func newAccounts() *accounts {
	return &accounts{all: make(map[string]*list.Element), order: list.New(), digests: make(map[string]string)}
}

// sighting is one acceptance of an account.
type sighting struct {
	name, registrar string
	kind            appliance.AccountKind
	username, realm string // of the credentials; empty without
	from            netip.AddrPort
	agent           string
	at              time.Time
}

func digestKey(username, registrar string) string { return username + "\x00" + registrar }

// named returns the account that a digest username belongs to at a registrar,
// empty where none is known.
func (s *accounts) named(username, registrar string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digests[digestKey(username, registrar)]
}

// learn enters what was seen, and says what is unlike before: a sentence, or
// nothing. Where the table is full the one goes that was quiet longest.
func (s *accounts) learn(seen sighting) string {
	if len(seen.name) > maxAccountName || len(seen.username) > maxAccountName || len(seen.realm) > maxAccountName {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entry(seen)
	s.changed = true
	a.Last, a.Registrar, a.Kind, a.Failures = seen.at, seen.registrar, seen.kind, 0
	if seen.username != "" {
		a.Proven, a.Username, a.Realm = seen.at, strings.Clone(seen.username), strings.Clone(seen.realm)
		s.digests[digestKey(a.Username, a.Registrar)] = a.Name
	}
	return a.note(seen)
}

// account is an appliance.Account while it is in the table.
type account struct{ appliance.Account }

func (s *accounts) entry(seen sighting) *account {
	if at := s.all[seen.name]; at != nil {
		s.order.MoveToFront(at)
		return at.Value.(*account)
	}
	if len(s.all) >= maxAccounts {
		s.forget(s.order.Back())
	}
	a := &account{appliance.Account{Name: strings.Clone(seen.name), First: seen.at}}
	s.all[a.Name] = s.order.PushFront(a)
	return a
}

func (s *accounts) forget(at *list.Element) {
	a := s.order.Remove(at).(*account)
	delete(s.all, a.Name)
	if key := digestKey(a.Username, a.Registrar); s.digests[key] == a.Name {
		delete(s.digests, key)
	}
	s.changed = true
}

// note enters the source, and compares it with those before.
func (a *account) note(seen sighting) string {
	agent := clipped(seen.agent, maxAgent)
	sameAddress := func(one appliance.AccountSource) bool { return one.Address.Addr() == seen.from.Addr() }
	at := slices.IndexFunc(a.Sources, sameAddress)
	alarm := a.alarm(seen, agent, at)
	one := appliance.AccountSource{Address: seen.from, Agent: agent, First: seen.at, Last: seen.at}
	if at >= 0 {
		one.First = a.Sources[at].First
		a.Sources = slices.Delete(a.Sources, at, at+1)
	}
	a.Sources = slices.Insert(a.Sources, 0, one)
	a.Sources = a.Sources[:min(len(a.Sources), maxAccountSources)]
	return alarm
}

func (a *account) alarm(seen sighting, agent string, at int) string {
	if len(a.Sources) == 0 {
		return ""
	}
	before := a.Sources[0]
	switch {
	case at < 0:
		return fmt.Sprintf("used from %s with %s, which is new; before from %s with %s", seen.from.Addr(), quoted(agent), before.Address.Addr(), quoted(before.Agent))
	case a.Sources[at].Agent != agent:
		return fmt.Sprintf("used from %s with %s, before with %s", seen.from.Addr(), quoted(agent), quoted(a.Sources[at].Agent))
	}
	return ""
}

func quoted(agent string) string {
	if agent == "" {
		return "no User-Agent"
	}
	return fmt.Sprintf("%q", agent)
}

func clipped(s string, most int) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), most)], ""))
}

// failed counts a failure of an account that is known.
func (s *accounts) failed(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry := s.all[name]; entry != nil {
		a := entry.Value.(*account)
		a.Failures, a.Failed, s.changed = a.Failures+1, at, true
	}
}

// proven reports whether credentials of an account were accepted from an address
// within a day.
func (s *accounts) proven(name string, from netip.Addr, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry := s.all[name]
	if entry == nil {
		return false
	}
	a := entry.Value.(*account)
	return !a.Proven.IsZero() && now.Sub(a.Proven) < 24*time.Hour && slices.ContainsFunc(a.Sources, func(one appliance.AccountSource) bool {
		return one.Address.Addr() == from && now.Sub(one.Last) < 24*time.Hour
	})
}

// expire forgets who was not seen for long.
func (s *accounts) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for last := s.order.Back(); last != nil && now.Sub(last.Value.(*account).Last) > accountLife; last = s.order.Back() {
		s.forget(last)
	}
}

// list returns a copy of every account, by name.
func (s *accounts) list() []appliance.Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]appliance.Account, 0, len(s.all))
	for at := s.order.Front(); at != nil; at = at.Next() {
		one := at.Value.(*account).Account
		one.Sources = slices.Clone(one.Sources)
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b appliance.Account) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// restore takes accounts back from before a restart.
func (s *accounts) restore(all []appliance.Account) {
	slices.SortFunc(all, func(a, b appliance.Account) int { return a.Last.Compare(b.Last) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range all {
		if one.Name == "" || len(one.Name) > maxAccountName || s.all[one.Name] != nil || len(s.all) >= maxAccounts {
			continue
		}
		one.Sources = one.Sources[:min(len(one.Sources), maxAccountSources)]
		s.all[one.Name] = s.order.PushFront(&account{one})
		if one.Username != "" {
			s.digests[digestKey(one.Username, one.Registrar)] = one.Name
		}
	}
}
