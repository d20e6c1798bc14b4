package inspector

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/settings"
)

// probeTrunks sends OPTIONS to every target that has been idle for long enough.
// No answer is waited for, so that a target that is silent delays no other.
func (i *Inspector) probeTrunks(now time.Time) {
	defer i.catch()
	sip := i.current().SIP()
	i.trunks.keep(&sip)
	for n := range sip.Trunks {
		trunk := &sip.Trunks[n]
		if trunk.Probe <= 0 || i.closing.Load() {
			continue
		}
		for _, target := range sip.Targets[n] {
			if i.trunks.due(keyOf(trunk.Name, target), trunk.Probe, now) {
				i.probe(trunk, target, now)
			}
		}
	}
}

// Bounds of when a target is asked: all of them soon after the start, spread, and
// those that are down more often than others, so that they are soon back.
const (
	probeSpread = 5 * time.Second
	probeDown   = 15 * time.Second
)

// due reports whether a target is to be asked now, and plans when next.
func (s *trunks) due(key targetKey, every time.Duration, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gaugeLocked(key, now)
	if g.next.IsZero() {
		g.next = now.Add(rand.N(min(probeSpread, every)))
	}
	if g.state == appliance.TrunkDown {
		every = min(every, probeDown)
		if soon := g.asked.Add(every); soon.Before(g.next) && !g.asked.IsZero() {
			g.next = soon
		}
	}
	if idle := g.heard.Add(every); g.state == appliance.TrunkUp && idle.After(g.next) {
		g.next = idle
	}
	if g.probing || now.Before(g.next) || now.Before(g.barred) {
		return false
	}
	g.probing, g.asked = true, now
	// A fifth of jitter, so that many boxes do not ask in step.
	g.next = now.Add(every*4/5 + rand.N(every*2/5))
	return true
}

// probed notes that the answer to a probe has come, or never will.
func (s *trunks) probed(key targetKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.all[key]; g != nil {
		g.probing = false
	}
}

// knock is one OPTIONS under way. Whatever is answered, even a refusal, comes from
// somebody who is there.
type knock struct {
	i     *Inspector
	key   targetKey
	began time.Time
}

// response implements clientHandler.
func (k *knock) response(res *message.Message) {
	if res.Status < 200 {
		return
	}
	now := k.i.now()
	k.i.trunks.probed(k.key)
	k.i.trunks.answered(k.key, res, now.Sub(k.began), now)
}

// failed implements clientHandler.
func (k *knock) failed(cause error) {
	k.i.trunks.probed(k.key)
	k.i.trunks.failed(k.key, reasonOf(cause), k.i.now())
}

func (i *Inspector) probe(trunk *settings.Trunk, target appliance.Target, now time.Time) {
	asked := &knock{i: i, key: keyOf(trunk.Name, target), began: now}
	to, err := i.towardTarget(trunk, target)
	if err != nil {
		asked.failed(err)
		return
	}
	branch := message.MagicCookie + "." + randomID(10)
	if err := i.txs.requestOver(branch, optionsTo(trunk, to, branch), to, false, asked); err != nil {
		asked.failed(err)
	}
}

// optionsTo writes an OPTIONS from the box itself (RFC 3261 section 11).
func optionsTo(trunk *settings.Trunk, to flow, branch string) *message.Message {
	domain := message.URI{Scheme: "sip", Host: trunk.Domain}
	own := message.URI{Scheme: "sip", User: "ringfence", Host: to.local.Addr().String()}
	out := &message.Message{Method: "OPTIONS", URI: domain.String()}
	out.Add("Via", hop(to, branch))
	out.Add("Max-Forwards", strconv.Itoa(message.DefaultMaxForwards))
	out.Add("From", message.NameAddr{URI: own}.String()+";tag="+randomID(5))
	out.Add("To", message.NameAddr{URI: domain}.String())
	out.Add("Call-ID", randomID(16))
	out.Add("CSeq", "1 OPTIONS")
	out.Add("Accept", "application/sdp")
	return out
}
