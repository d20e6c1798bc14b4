package guard

import (
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

// source is one address, or one /64, and the accounts that were tried there.
type source struct {
	block    netip.Prefix
	seen     time.Time
	place    *list.Element // in crowd or known
	accounts map[string]*account
	order    *list.List  // of accounts, latest first
	nonces   [128]uint64 // of challenges that were sent there, alone and with their method, in a ring
	next     uint8

	reliable bool      // it proved that it hears what is sent to it
	forged   bool      // a name that scanners like to borrow
	clean    string    // the User-Agent that was looked at last, where nothing was found in it
	proven   time.Time // an account last succeeded here
	narrow   time.Time // until then names that are not proven here are refused
	shut     time.Time // until then it is banned, or ignored where it could be anybody
	banned   bool      // the former
	let      time.Time // when one of those that only trickle was last let through
	spared   time.Time // until then it is known that no ban may touch it
	level    int       // bans up to now
	told     time.Time
	why      string
}

// The kinds of nonces, as an index.
const (
	unknown = iota
	known
)

// account is one account as it was tried at one source.
type account struct {
	name     string
	place    *list.Element
	proven   time.Time    // last success with credentials
	good     uint64       // hash of the nonce of that
	open     time.Time    // a challenge that nobody has answered yet
	failedAt time.Time    // last wrong answer, zero since a success
	row      int          // failures without a success between them
	strange  int          // the same with nonces that were never sent to the source
	let      [2]time.Time // when one was last sent on: with an unknown nonce, with a known one
	guesses  slots
	nonces   [maxNonces]uint64 // latest first
	evidence [maxEvidence]struct{ inputs, response uint64 }
}

// source returns the entry of a block, and makes one. Where there is no room the
// one goes that was quiet longest and has no proven account.
func (g *Guard) source(block netip.Prefix, now time.Time) *source {
	s := g.sources[block]
	if s == nil {
		if len(g.sources) >= maxSources {
			g.evict()
		}
		s = &source{block: block, accounts: make(map[string]*account), order: list.New()}
		s.place = g.crowd.PushFront(s)
		g.sources[block] = s
	}
	s.seen = now
	s.queue(g).MoveToFront(s.place)
	return s
}

// look is look, which needs not read again what it read before.
func (s *source) look(w Words) (Mark, string) {
	known := w.Agent
	if w.Agent == s.clean {
		w.Agent = ""
	}
	mark, shown := look(w)
	if mark == MarkNone && known != s.clean && len(known) <= maxName {
		s.clean = strings.Clone(known)
	}
	return mark, shown
}

// queue is the list that a source stands in.
func (s *source) queue(g *Guard) *list.List {
	if s.proven.IsZero() {
		return g.crowd
	}
	return g.known
}

func (g *Guard) evict() {
	last := g.crowd.Back()
	if last == nil {
		last = g.known.Back()
	}
	g.drop(last.Value.(*source))
}

func (g *Guard) drop(s *source) {
	g.accounts -= len(s.accounts)
	s.queue(g).Remove(s.place)
	delete(g.sources, s.block)
}

// prove moves a source among those that are not shut out.
func (s *source) prove(g *Guard, now time.Time) {
	if s.proven.IsZero() {
		g.crowd.Remove(s.place)
		s.place = g.known.PushFront(s)
	}
	s.proven = now
	if !s.banned {
		s.shut = time.Time{} // it was ignored for what somebody else sent in its name
	}
}

// office reports whether a source is not to be shut out as a whole.
func (s *source) office(now time.Time) bool {
	return !s.proven.IsZero() && now.Sub(s.proven) < recent
}

// kept reports whether a source is not to be shut out for any other reason, too.
func (s *source) kept(now time.Time) bool { return s.office(now) || now.Before(s.spared) }

// fewer halves a threshold for a source that carries a borrowed name.
func (s *source) fewer(n int) int {
	if s.forged {
		return max(n/2, 2)
	}
	return n
}

// shutOut bans a source that is surely where it says, and ignores any other: its
// address may be the victim's.
func (s *source) shutOut(limits document.Guard, now time.Time, why string) *Finding {
	if now.Before(s.shut) {
		return nil
	}
	if !s.reliable {
		s.shut, s.banned, s.why = now.Add(limits.Bans[0]), false, why
		return &Finding{Source: s.block, Until: s.shut,
			Why: why + "; it never proved that it hears what is sent to it, so that it is ignored and not banned"}
	}
	if now.Sub(s.shut) > forgiven {
		s.level = 0
	}
	s.shut, s.banned, s.why = now.Add(limits.Bans[min(s.level, len(limits.Bans)-1)]), true, why
	s.level++
	for _, a := range s.accounts { // what it is banned for is not counted again
		a.failedAt, a.open, a.guesses = time.Time{}, time.Time{}, slots{}
	}
	return &Finding{Source: s.block, Ban: true, Until: s.shut, Why: why}
}

// trickles lets through what a source needs to prove itself: a request now and
// then, and the answer to a challenge that it was sent.
func (s *source) trickles(answers bool, now time.Time) bool {
	if answers {
		return true
	}
	if now.Sub(s.let) < trickle {
		return false
	}
	s.let = now
	return true
}

// heard remembers the challenges of an answer that goes to the source.
func (s *source) heard(g *Guard, method string, nonces []string) {
	for _, nonce := range nonces {
		for _, one := range [...]uint64{g.hash(nonce), g.hash(nonce, method)} {
			s.nonces[s.next%uint8(len(s.nonces))] = one
			s.next++
		}
	}
}

// passed reports whether a nonce was in a challenge that was sent to this source.
func (s *source) passed(name string, nonce uint64) bool {
	if slices.Contains(s.nonces[:], nonce) {
		return true
	}
	a := s.find(name)
	return a != nil && (a.accepted(nonce) || slices.Contains(a.nonces[:], nonce))
}

// wrongs counts the accounts that failed here, were nobody's, or were asked after
// without ever answering the challenge: in the window and within a day. One that
// was proven here before is a phone with an old password.
func (s *source) wrongs(now time.Time, window time.Duration) (short, day int) {
	for _, a := range s.accounts {
		at := a.failedAt
		if !a.open.IsZero() && now.Sub(a.open) >= patience && a.open.After(at) {
			at = a.open
		}
		if at.IsZero() || a.isProven(now) {
			continue
		}
		if now.Sub(at) < window {
			short++
		}
		if now.Sub(at) < long {
			day++
		}
	}
	return short, day
}

func (s *source) find(name string) *account { return s.accounts[clip(name)] }

// account returns the entry of a name at a source, and makes one.
func (g *Guard) account(s *source, name string) *account {
	name = clip(name)
	a := s.accounts[name]
	if a == nil {
		for len(s.accounts) >= maxPerSource || g.accounts >= maxAccounts && len(s.accounts) > 0 {
			g.forget(s)
		}
		for g.accounts >= maxAccounts && (g.crowd.Len() > 1 || g.known.Len() > 1) {
			g.evictOther(s)
		}
		a = &account{name: name}
		a.place = s.order.PushFront(a)
		s.accounts[name] = a
		g.accounts++
	}
	s.order.MoveToFront(a.place)
	return a
}

// forgetDepth is how far forget looks for an account that nobody misses.
const forgetDepth = 64

// forget drops the account of a source that was quiet longest, and one that was
// never proven rather than a phone that is.
func (g *Guard) forget(s *source) {
	last := s.order.Back()
	for at, n := last, 0; at != nil && n < forgetDepth; at, n = at.Prev(), n+1 {
		if at.Value.(*account).proven.IsZero() {
			last = at
			break
		}
	}
	delete(s.accounts, last.Value.(*account).name)
	s.order.Remove(last)
	g.accounts--
}

// evictOther drops the quietest source but this one.
func (g *Guard) evictOther(s *source) {
	for _, queue := range [...]*list.List{g.crowd, g.known} {
		for last := queue.Back(); last != nil; last = last.Prev() {
			if other := last.Value.(*source); other != s {
				g.drop(other)
				return
			}
		}
	}
}

func (a *account) isProven(now time.Time) bool {
	return !a.proven.IsZero() && now.Sub(a.proven) < remembered
}

// wrong notes that a name failed. However often it does, it is one name.
func (a *account) wrong(now time.Time) { a.failedAt, a.open = now, time.Time{} }

func (a *account) remember(nonce uint64) {
	copy(a.nonces[1:], a.nonces[:])
	a.nonces[0] = nonce
}

// ask notes a challenge that waits for an answer. A switch places calls in many
// names, so that only registrations tell by who does not answer.
func (a *account) ask(method string, now time.Time) {
	if a.open.IsZero() && method == "REGISTER" {
		a.open = now
	}
}

// accepted reports whether a nonce is the one that this account was last accepted
// with: where it fails now it is only too old.
func (a *account) accepted(nonce uint64) bool { return a.good != 0 && a.good == nonce }

// repeats reports whether a response was given to the same question before. What
// cannot be seen is the password; but the same answer to the same nonce is the
// same password, and another one is a guess.
func (a *account) repeats(inputs, response uint64) bool {
	for _, one := range a.evidence {
		if one.inputs == inputs && one.response == response {
			return true
		}
	}
	copy(a.evidence[1:], a.evidence[:])
	a.evidence[0] = struct{ inputs, response uint64 }{inputs, response}
	return false
}

// slots count in a window that moves by a twelfth at a time.
type slots struct {
	start int64 // of the newest slot, in slots since 1970
	width int64 // nanoseconds
	n     [12]uint16
}

func (s *slots) turn(now time.Time, window time.Duration) {
	width := max(int64(window)/int64(len(s.n)), 1)
	at := now.UnixNano() / width
	if width != s.width || at-s.start >= int64(len(s.n)) || at < s.start {
		*s = slots{start: at, width: width}
		return
	}
	for ; s.start < at; s.start++ {
		s.n[(s.start+1)%int64(len(s.n))] = 0
	}
}

func (s *slots) add(now time.Time, window time.Duration) {
	s.turn(now, window)
	if at := s.start % int64(len(s.n)); s.n[at] < 1<<16-1 {
		s.n[at]++
	}
}

func (s *slots) sum(now time.Time, window time.Duration) (total int) {
	s.turn(now, window)
	for _, n := range s.n {
		total += int(n)
	}
	return total
}
