// Package guard tells guessing and scanning from phones that are merely wrong. It
// counts, for each source and each account tried there, what the far end made of
// it, and says what follows: nothing, a slower pace for one account, silence for
// a source, or a ban.
//
// The package is paper: the clock and the thresholds are arguments, nothing is
// logged or sent. Its memory is bounded, whatever comes.
//
// What it is designed against, by the complaints of those who run others:
//   - a first challenge is no failure (fail2ban #2163);
//   - the same wrong password again is one failure (fail2ban #779);
//   - an office behind one address is not shut out for one of its phones, nor for
//     all of them coming back at once (ivozprovider #704, dsiprouter #696);
//   - the source is where the packet came from, never what it says (fail2ban
//     #1927, #822, #1999), and over UDP it must have answered before it is banned;
//   - IPv6 is counted by /64 (fail2ban #927, #1123, #3960);
//   - whoever is spared is spared (FreePBX #963), and each verdict says why with
//     its numbers (community 74038).
package guard

import (
	"container/list"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

// Bounds of its memory and of what it takes for old.
const (
	maxSources    = 4096
	maxPerSource  = 2048                // accounts at one source: a large office behind NAT
	maxAccounts   = 16384               // at all sources together
	maxName       = 64                  // bytes of an account's name that are kept
	maxNonces     = 4                   // challenges of one account that are remembered
	maxEvidence   = 4                   // failed responses of one account that are remembered
	patience      = 32 * time.Second    // that a challenge may wait for its answer (64*T1)
	recent        = 24 * time.Hour      // a source with an account proven since is an office
	remembered    = 30 * 24 * time.Hour // an account proven since is nobody's guess
	forgiven      = 7 * 24 * time.Hour  // after the last ban has ended the next is a first one
	firstFailures = 5                   // in a row, before an account is slowed down
	firstStrange  = 3                   // the same with nonces that were never sent to the source
	pace          = 30 * time.Second    // of an account that is slowed down
	trickle       = time.Second         // between two requests that an ignored source may bring
	long          = 24 * time.Hour      // the window of whoever is slow
	longFactor    = 5                   // and how many times as much it takes there
)

// Standing says what may be done about a source.
type Standing uint8

const (
	// Open is a source on the internet that a document lets register.
	Open Standing = iota
	// Local is a source on the LAN: it is never shut out.
	Local
	// Spared is a provider, or whoever else no ban touches: it is not counted.
	Spared
)

// Credentials are those of a digest (RFC 8760) as a request carries them.
type Credentials struct {
	User, Realm, Nonce, URI, Response string
	Count, Client                     string // nc and cnonce, empty without qop
}

// Request is one request that opens something, as far as it matters here.
type Request struct {
	Source      netip.Addr
	Standing    Standing
	Stream      bool // TCP or TLS: the source is who it says
	Method      string
	Account     string       // who is tried: user@domain
	Credentials *Credentials // nil without
	Words       Words
}

// Answer is what the far end made of a request.
type Answer struct {
	Status int
	Nonces []string // of the challenges in a 401 or 407
	Stale  bool     // one says that only the nonce was too old (RFC 3261 section 22.3)
}

// Action is what is to be done with a request, or about a source.
type Action uint8

const (
	// Pass lets the request go on.
	Pass Action = iota
	// Slow answers it with 503 and Retry-After: the account was wrong too often.
	Slow
	// Drop forgets it without an answer.
	Drop
)

// Finding is something that somebody should know: a ban where Ban is set, else
// what the guard does by itself.
type Finding struct {
	Source netip.Prefix
	Ban    bool
	Until  time.Time
	Why    string // a sentence with its numbers, without a full stop
}

// Guard counts. It is safe for concurrent use.
type Guard struct {
	seed maphash.Seed

	mu       sync.Mutex
	sources  map[netip.Prefix]*source
	crowd    *list.List // sources without a proven account, latest first
	known    *list.List // the others
	accounts int        // at all sources
}

// New returns a guard that has seen nothing.
func New() *Guard {
	return &Guard{seed: maphash.MakeSeed(), sources: make(map[netip.Prefix]*source), crowd: list.New(), known: list.New()}
}

// Block returns what one attacker holds: an IPv4 address, or the /64 of an IPv6
// address.
func Block(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	block, _ := addr.Prefix(bits) // never fails: the length fits
	return block
}

// Admit says what to do with a request before anything else is. It finds
// something where the request itself is what gives a scanner away.
func (g *Guard) Admit(limits document.Guard, r Request, now time.Time) (Action, *Finding) {
	if r.Standing == Spared {
		return Pass, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.source(r.block(), now)
	mark, shown := s.look(r.Words)
	s.reliable = s.reliable || r.Stream
	s.forged = s.forged || mark == MarkForged
	answers := r.Credentials != nil && s.passed(r.Account, g.hash(r.Credentials.Nonce))
	s.reliable = s.reliable || answers
	if now.Before(s.shut) && (s.banned || !s.trickles(answers, now)) {
		return Drop, nil
	}
	if mark == MarkScanner || mark == MarkTool && r.Standing == Open {
		return Drop, g.scanner(s, limits, r, now, shown)
	}
	return g.pace(s, limits, r, answers, now)
}

// scanner deals with a request that says what it is. On the LAN, and in an
// office, it is dropped and told of, and nobody else pays for it.
func (g *Guard) scanner(s *source, limits document.Guard, r Request, now time.Time, shown string) *Finding {
	why := fmt.Sprintf("a scanner: %s carries %s", r.Method, shown)
	if r.Standing == Local || s.kept(now) {
		if now.Sub(s.told) < recent/24 {
			return nil
		}
		s.told = now
		return &Finding{Source: s.block, Why: why + "; its requests are dropped"}
	}
	return s.shutOut(limits, now, why)
}

// pace slows down an account that was wrong again and again, and new names where
// a source that can't be shut out tries one after the other. What fails with a
// nonce that was never sent to the source is counted by itself: it may come from
// anybody, and must not slow down the phone that stands there.
func (g *Guard) pace(s *source, limits document.Guard, r Request, answers bool, now time.Time) (Action, *Finding) {
	a, kind := s.find(r.Account), unknown
	if answers {
		kind = known
	}
	if now.Before(s.narrow) && (a == nil || !a.isProven(now)) && r.Method == "REGISTER" && !s.trickles(answers, now) {
		return Slow, nil
	}
	switch {
	case r.Credentials == nil || a == nil || a.accepted(g.hash(r.Credentials.Nonce)):
		return Pass, nil
	case answers && a.row < firstFailures, !answers && a.strange < firstStrange:
		return Pass, nil
	case now.Sub(a.let[kind]) >= pace:
		a.let[kind] = now
		return Pass, nil
	case !answers:
		return Slow, nil
	}
	a.guesses.add(now, limits.Window)
	return Slow, g.guessing(s, a, limits, r, now)
}

// guessing finds out whether one account is tried faster than any phone would.
func (g *Guard) guessing(s *source, a *account, limits document.Guard, r Request, now time.Time) *Finding {
	count := a.guesses.sum(now, limits.Window)
	if count < s.fewer(limits.Guesses) || a.isProven(now) {
		return nil
	}
	why := fmt.Sprintf("%d passwords tried for %s in %s", count, a.name, words(limits.Window))
	return g.conclude(s, limits, r.Standing, now, why)
}

// Settle learns what the far end made of a request that went there.
func (g *Guard) Settle(limits document.Guard, r Request, answer Answer, now time.Time) *Finding {
	if r.Standing == Spared || answer.Status == 100 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.source(r.block(), now)
	if r.Credentials == nil && r.Method != "REGISTER" {
		return g.anonymous(s, limits, r, answer, now)
	}
	a := g.account(s, r.Account)
	switch status := answer.Status; {
	case status < 300:
		g.accepted(s, a, r, now)
		return nil
	case status == 401 || status == 407:
		return g.challenged(s, a, limits, r, answer, now)
	case status == 403 && r.Method == "REGISTER" && r.Credentials != nil:
		return g.failed(s, a, limits, r, now)
	case r.Method == "REGISTER" && (status == 403 || status == 404):
		a.wrong(now)
		return g.sweep(s, limits, r, now)
	}
	a.open = time.Time{}
	return nil
}

// Refused learns of a request that the box itself turned down for who asked: an
// account that may not register from there, or a name that is nobody's.
func (g *Guard) Refused(limits document.Guard, r Request, now time.Time) *Finding {
	if r.Standing == Spared {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.source(r.block(), now)
	g.account(s, r.Account).wrong(now)
	return g.sweep(s, limits, r, now)
}

// anonymous learns of a request that says nothing of who sent it: a switch places
// calls in many names, and people dial wrong numbers. Only where nobody is known
// yet is somebody who asks for one after the other walking.
func (g *Guard) anonymous(s *source, limits document.Guard, r Request, answer Answer, now time.Time) *Finding {
	s.heard(g, r.Method, answer.Nonces)
	if answer.Status != 404 || r.Standing != Open || s.office(now) {
		return nil
	}
	g.account(s, r.Account).wrong(now)
	return g.sweep(s, limits, r, now)
}

// accepted notes a success. With credentials it proves the account at the source,
// and that the source hears what is sent to it: the nonce was in a challenge.
func (g *Guard) accepted(s *source, a *account, r Request, now time.Time) {
	a.open, a.row = time.Time{}, 0
	if r.Credentials == nil {
		return
	}
	nonce := g.hash(r.Credentials.Nonce)
	if !s.passed(r.Account, nonce) {
		return // who takes a response to no challenge has not looked at it
	}
	s.reliable = true
	a.proven, a.good, a.failedAt, a.strange = now, nonce, time.Time{}, 0
	s.prove(g, now)
}

// challenged sorts a 401 or 407. Without credentials it is how every registration
// begins. A response to a nonce that was never sent to this source cannot be a
// guess that succeeds: it is one from before a restart, or somebody's noise, and
// is told from a phone by whether the new challenge is answered.
func (g *Guard) challenged(s *source, a *account, limits document.Guard, r Request, answer Answer, now time.Time) *Finding {
	defer func() {
		s.heard(g, r.Method, answer.Nonces)
		for _, nonce := range answer.Nonces {
			a.remember(g.hash(nonce))
		}
	}()
	if r.Credentials == nil {
		a.ask(r.Method, now)
		return g.sweep(s, limits, r, now)
	}
	nonce := g.hash(r.Credentials.Nonce)
	switch {
	case answer.Stale || a.accepted(nonce):
		a.ask(r.Method, now)
		return nil
	case !s.passed(r.Account, nonce):
		a.strange++
		a.let[unknown] = now
		a.ask(r.Method, now)
		return g.sweep(s, limits, r, now)
	}
	return g.failed(s, a, limits, r, now)
}

// failed counts a wrong password, unless it is the very same response again.
func (g *Guard) failed(s *source, a *account, limits document.Guard, r Request, now time.Time) *Finding {
	a.open = time.Time{}
	c := r.Credentials
	inputs, response := g.hash(c.User, c.Realm, c.Nonce, c.URI, r.Method, c.Count, c.Client), g.hash(c.Response)
	if a.repeats(inputs, response) {
		return nil
	}
	a.row++
	a.let[known] = now
	a.guesses.add(now, limits.Window)
	a.wrong(now)
	if found := g.guessing(s, a, limits, r, now); found != nil {
		return found
	}
	return g.sweep(s, limits, r, now)
}

// sweep finds out whether a source goes from account to account.
func (g *Guard) sweep(s *source, limits document.Guard, r Request, now time.Time) *Finding {
	short, day := s.wrongs(now, limits.Window)
	most := s.fewer(limits.Accounts)
	switch {
	case short >= most:
		why := fmt.Sprintf("%d accounts tried in %s, none of them with success", short, words(limits.Window))
		return g.conclude(s, limits, r.Standing, now, why)
	case day >= most*longFactor:
		why := fmt.Sprintf("%d accounts tried in %s, none of them with success", day, words(long))
		return g.conclude(s, limits, r.Standing, now, why)
	}
	return nil
}

// conclude does about a source what its standing allows.
func (g *Guard) conclude(s *source, limits document.Guard, standing Standing, now time.Time, why string) *Finding {
	if standing == Open && !s.kept(now) {
		return s.shutOut(limits, now, why)
	}
	if now.Before(s.narrow) {
		return nil
	}
	s.narrow, s.why = now.Add(limits.Bans[0]), why
	reason := "it is on the LAN"
	switch {
	case standing == Open && s.office(now):
		reason = "an account was proven there within a day"
	case standing == Open:
		reason = "no ban may touch it"
	}
	return &Finding{Source: s.block, Until: s.narrow, Why: why + "; " + reason + ", so that only names that are not proven there are slowed down"}
}

// words writes a time as people say it.
func words(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0 && d > time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// block is what a request is counted by. The whole LAN is often one /64, where each
// address is one telephone.
func (r *Request) block() netip.Prefix {
	addr := r.Source.Unmap().WithZone("")
	if r.Standing == Local {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	return Block(addr)
}

// hash is keyed: what is remembered of responses and nonces can be compared and
// not read.
func (g *Guard) hash(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	for _, part := range parts {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

func clip(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	return string([]byte(s)) // a copy: the message that it stood in is not kept
}
