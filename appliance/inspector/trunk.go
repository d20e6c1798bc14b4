package inspector

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// targetKey names one target of one trunk.
type targetKey struct {
	trunk     string
	transport string
	at        netip.AddrPort
}

func keyOf(trunk string, t appliance.Target) targetKey {
	return targetKey{trunk, t.Transport, t.Address}
}

// gauge is what is known of one target.
type gauge struct {
	state   appliance.TrunkState
	since   time.Time     // of the state
	heard   time.Time     // the last answer
	took    time.Duration // the last answer, from the request that it answers
	trouble string        // of the last failure, in one line
	barred  time.Time     // until when a 503 asked to be left alone (RFC 3261 section 21.5.4)
	asked   time.Time     // the last probe
	next    time.Time     // when an idle target is asked again
	probing bool
}

// trunks is the table of targets, as large as the rules in force name any.
type trunks struct {
	report func(appliance.Event)
	mu     sync.Mutex
	all    map[targetKey]*gauge
}

func newTrunks(report func(appliance.Event)) *trunks {
	return &trunks{report: report, all: make(map[targetKey]*gauge)}
}

// gaugeLocked returns the gauge of a target, a new one where it has none.
func (s *trunks) gaugeLocked(key targetKey, now time.Time) *gauge {
	g := s.all[key]
	if g == nil {
		g = &gauge{state: appliance.TrunkUnknown, since: now}
		s.all[key] = g
	}
	return g
}

// retryAfterMax bounds how long a target may ask to be left alone.
const retryAfterMax = 5 * time.Minute

// answered notes that a target answered, after so long; 0 does not say how long. A 503 says that it can't serve (RFC 3263
// section 4.3), everything else that it is there.
func (s *trunks) answered(key targetKey, res *message.Message, took time.Duration, now time.Time) {
	if res.Status == 503 {
		wait := retryAfter(res)
		s.failed(key, fmt.Errorf("it answered 503 %s", printable(res.Phrase)), now)
		s.mu.Lock()
		defer s.mu.Unlock()
		g := s.gaugeLocked(key, now)
		g.heard, g.barred = now, now.Add(wait)
		return
	}
	s.mu.Lock()
	g := s.gaugeLocked(key, now)
	was := g.state
	g.heard, g.barred = now, time.Time{}
	if took > 0 {
		g.took = took
	}
	if was != appliance.TrunkUp {
		g.state, g.since = appliance.TrunkUp, now
	}
	s.mu.Unlock()
	if was == appliance.TrunkDown {
		s.tell(key, appliance.Allow, "is back", now)
	}
}

// retryAfter reads Retry-After (RFC 3261 section 20.33).
func retryAfter(res *message.Message) time.Duration {
	text, _, _ := strings.Cut(res.Get("Retry-After"), ";")
	text, _, _ = strings.Cut(text, "(")
	seconds, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, retryAfterMax)
}

// printable keeps what a neighbour says harmless and short.
func printable(s string) string {
	return strings.Map(blank, s[:min(len(s), 64)])
}

// failed notes that a target could not be used.
func (s *trunks) failed(key targetKey, cause error, now time.Time) {
	s.mu.Lock()
	g := s.gaugeLocked(key, now)
	was := g.state
	g.trouble = cause.Error()
	if was != appliance.TrunkDown {
		g.state, g.since = appliance.TrunkDown, now
	}
	s.mu.Unlock()
	if was != appliance.TrunkDown {
		s.tell(key, appliance.Block, "is down: "+cause.Error(), now)
	}
}

func (s *trunks) tell(key targetKey, verdict appliance.Verdict, what string, now time.Time) {
	reason := appliance.ReasonNoTrunk
	if verdict == appliance.Allow {
		reason = appliance.ReasonDestinationAllowed
	}
	s.report(appliance.Event{Time: now, Kind: appliance.EventTrunk, Verdict: verdict, Reason: reason, Source: key.at, Subject: key.trunk,
		Message: fmt.Sprintf("%s at %s %s %s", key.trunk, key.transport, key.at, what)})
}

// usable reports whether a target is worth trying before others that are known to
// be down.
func (s *trunks) usable(key targetKey, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.all[key]
	return g == nil || g.state != appliance.TrunkDown && !g.barred.After(now)
}

// keep forgets the targets that no rules name any more.
func (s *trunks) keep(sip *rules.SIP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := make(map[targetKey]bool)
	for n := range sip.Trunks {
		for _, target := range sip.Targets[n] {
			named[keyOf(sip.Trunks[n].Name, target)] = true
		}
	}
	for key := range s.all {
		if !named[key] {
			delete(s.all, key)
		}
	}
}

// Trunks returns the trunks of the rules in force and what is known of their
// targets, in the order of the settings.
func (i *Inspector) Trunks() []appliance.Trunk {
	sip := i.current().SIP()
	out := make([]appliance.Trunk, 0, len(sip.Trunks))
	for n := range sip.Trunks {
		out = append(out, i.trunks.show(&sip.Trunks[n], sip.Targets[n]))
	}
	return out
}

// show sums a trunk up: it is up where one of its targets is.
func (s *trunks) show(trunk *settings.Trunk, targets []appliance.Target) appliance.Trunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := appliance.Trunk{Name: trunk.Name, Domain: trunk.Domain, Fallback: slices.Clone(trunk.Fallback), Targets: []appliance.TargetState{}}
	for n, target := range targets {
		one := appliance.TargetState{Target: target, State: appliance.TrunkUnknown}
		if g := s.all[keyOf(trunk.Name, target)]; g != nil {
			one.State, one.Since, one.Heard, one.Error = g.state, g.since, g.heard, g.trouble
			one.Latency = float64(g.took.Microseconds()) / 1000
			if g.barred.After(g.heard) {
				one.RetryAfter = g.barred
			}
		}
		out.Targets = append(out.Targets, one)
		if n == 0 || better(one.State, out.State) {
			out.State, out.Since = one.State, one.Since
		}
	}
	if len(targets) == 0 {
		out.State = appliance.TrunkDown
		out.Error = trunk.Host + " does not resolve"
	}
	return out
}

// better ranks up before unknown before down.
func better(a, b appliance.TrunkState) bool {
	rank := func(s appliance.TrunkState) int {
		return slices.Index([]appliance.TrunkState{appliance.TrunkDown, appliance.TrunkUnknown, appliance.TrunkUp}, s)
	}
	return rank(a) > rank(b)
}

// targetsOf are the targets of a trunk in the rules.
func targetsOf(sip *rules.SIP, trunk *settings.Trunk) []appliance.Target {
	for n := range sip.Trunks {
		if sip.Trunks[n].Name == trunk.Name {
			return sip.Targets[n]
		}
	}
	return nil
}

// ordered are the targets of a trunk in the order in which they are to be tried:
// by priority, and within one by weight (RFC 2782). The choice by weight is one of
// chance, but the same for all requests of one Call-ID: who is challenged must
// find the server that gave the nonce.
func (i *Inspector) ordered(sip *rules.SIP, trunk *settings.Trunk, callID string) []appliance.Target {
	out := slices.Clone(targetsOf(sip, trunk))
	if len(out) < 2 {
		return out
	}
	chance := make(map[appliance.Target]float64, len(out))
	for _, one := range out {
		chance[one] = share(callID, one.Host+" "+one.String(), one.Weight)
	}
	slices.SortStableFunc(out, func(x, y appliance.Target) int {
		return cmp.Or(cmp.Compare(x.Priority, y.Priority), cmp.Compare(chance[x], chance[y]))
	})
	return out
}

// share draws where something stands among others of its priority, from 0 for
// the first: of weighted exponential variables each is the least as often as its
// weight says.
func share(seed, what string, weight uint16) float64 {
	sum := sha256.Sum256([]byte(seed + "\x00" + what))
	u := (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53)
	// RFC 2782 gives a weight of 0 a very small chance beside others.
	return -math.Log(u) / max(float64(weight), 1e-3)
}

// towardTarget returns the flow to one target.
func (i *Inspector) towardTarget(trunk *settings.Trunk, target appliance.Target) (flow, error) {
	return i.door.towardPeer(settings.Transport(target.Transport), target.Address, peerOf(trunk))
}

// towardTrunkAt returns the flow to a trunk, at that address where it is valid.
func (i *Inspector) towardTrunkAt(sip *rules.SIP, trunk *settings.Trunk, callID string, at netip.AddrPort) (flow, error) {
	targets := i.ordered(sip, trunk, callID)
	for _, target := range targets {
		if target.Address == at {
			return i.towardTarget(trunk, target)
		}
	}
	if at.IsValid() {
		transport := trunk.Transport
		if transport == "" && len(targets) > 0 {
			transport = settings.Transport(targets[0].Transport)
		}
		return i.door.towardPeer(transport, at, peerOf(trunk))
	}
	if len(targets) == 0 {
		return flow{}, fmt.Errorf("reach %s: %w", trunk.Name, errUnresolved)
	}
	now := i.now()
	slices.SortStableFunc(targets, func(x, y appliance.Target) int {
		return cmp.Compare(rank(i.trunks.usable(keyOf(trunk.Name, x), now)), rank(i.trunks.usable(keyOf(trunk.Name, y), now)))
	})
	return i.towardTarget(trunk, targets[0])
}

// rank sorts what is usable first.
func rank(usable bool) int {
	if usable {
		return 0
	}
	return 1
}

var errUnresolved = errors.New("its name does not resolve")
