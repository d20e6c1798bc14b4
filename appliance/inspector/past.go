package inspector

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// past remembers for a while what was tried, so that digits that grow are seen, and
// a call that carries another one on is seen for what it is. Each of its tables is bounded: what is oldest goes first.
type past struct {
	bounds limits

	mu       sync.Mutex
	tries    recent[*try]  // by attempt, and by caller
	arrivals recent[*call] // calls from a trunk, by where they went and who called or with what media
	numbers  recent[bool]  // of this site

	seed maphash.Seed // of the keys: nobody can choose what collides
}

// recent is a map that holds a bounded number of the newest entries.
type recent[T any] struct {
	all   map[uint64]T
	order []uint64 // a ring of the keys, once it is full
	next  int      // where the oldest stands then
}

func (r *recent[T]) put(key uint64, value T, most int) {
	if r.all == nil {
		r.all = make(map[uint64]T)
	}
	switch _, known := r.all[key]; {
	case known:
	case len(r.order) < most:
		r.order = append(r.order, key)
	default:
		delete(r.all, r.order[r.next])
		r.order[r.next] = key
		r.next = (r.next + 1) % len(r.order)
	}
	r.all[key] = value
}

// try is one attempt to call somebody. The lock of past guards it.
type try struct {
	dialled  string
	at       time.Time
	answered bool
}

func newPast(bounds limits) *past { return &past{bounds: bounds, seed: maphash.MakeSeed()} }

// key hashes its parts.
func (p *past) key(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	for _, part := range parts {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// note enters an attempt and says whether its digits grew (RFC 3578): under the same
// Call-ID and From tag, or else from what the same caller dialled last. What comes
// after an answer grew from nothing.
func (p *past) note(q *request, dialled string) (now *try, overlap bool) {
	attempt := p.key("attempt", q.source, q.CallID(), q.fromTag)
	caller := p.key("caller", q.source, q.fromAddr.URI.User)
	now = &try{dialled: strings.Clone(dialled), at: q.at}
	p.mu.Lock()
	defer p.mu.Unlock()
	overlap = p.grew(p.tries.all[attempt], now) || p.grew(p.tries.all[caller], now)
	p.tries.put(attempt, now, p.bounds.attempts)
	p.tries.put(caller, now, p.bounds.attempts)
	return now, overlap
}

func (p *past) grew(before, now *try) bool {
	return before != nil && !before.answered && now.at.Sub(before.at) < p.bounds.attempt &&
		before.dialled != "" && len(now.dialled) > len(before.dialled) && strings.HasPrefix(now.dialled, before.dialled)
}

// answered ends an attempt: what comes after it is another one.
func (p *past) answered(t *try) {
	if t == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.answered = true
}

// arrived remembers a call from a trunk by where it goes.
func (p *past) arrived(q *request, to netip.Addr, c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.signs(q, to.WithZone("").String()) {
		if key != 0 {
			p.arrivals.put(key, c, p.bounds.attempts)
		}
	}
}

// signs are what a forwarded call has in common with the one that it carries on:
// the caller, or the media. One that is not there is 0.
func (p *past) signs(q *request, place string) [2]uint64 {
	var signs [2]uint64
	if user := q.fromAddr.URI.User; user != "" && !strings.EqualFold(user, "anonymous") {
		signs[0] = p.key("from", place, user)
	}
	if media := p.mediaOf(q.Body); media != 0 {
		signs[1] = p.key("media", place) ^ media
	}
	return signs
}

// mediaOf hashes the lines of a session description that say where its media go: a
// PBX that forwards writes the others anew. It returns 0 where they say nothing.
func (p *past) mediaOf(body []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	lines := 0
	for line := range bytes.Lines(body) {
		if line = bytes.TrimRight(line, "\r\n"); bytes.HasPrefix(line, []byte("c=")) || bytes.HasPrefix(line, []byte("m=")) {
			_, _ = h.Write(line)
			_ = h.WriteByte(0)
			lines++
		}
	}
	if lines < 2 {
		return 0
	}
	return h.Sum64()
}

// forwarded reports whether an outbound call carries another one on: its sender
// says so, or a call from a trunk that went to the same place, from the same
// caller or with the same media, is up or has ended just now. A header that is
// left out hides nothing, and one that is made up only makes the call a forwarded
// one.
func (p *past) forwarded(q *request) bool {
	if q.Has("Diversion") || q.Has("History-Info") {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.signs(q, q.source) {
		if c := p.arrivals.all[key]; c != nil && c.upUntil(q.at.Add(-p.bounds.beside)) {
			return true
		}
	}
	return false
}

// upUntil reports whether a call had not ended before a moment.
func (c *call) upUntil(moment time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed || c.record.End.After(moment)
}

// significant is how many digits from the end tell two numbers of a site apart,
// however their heads are written.
const significant = 8

// numberKey is the part of a number that is the same in every format, "" for what
// is none.
func numberKey(user string) string {
	user, _, _ = strings.Cut(user, ";")
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, user)
	if len(digits) < significant {
		return ""
	}
	return digits[len(digits)-significant:]
}

// owns learns a number of this site: a call to it was answered here.
func (p *past) owns(uri message.URI) {
	if key := numberKey(uri.User); key != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.numbers.put(p.key(key), true, p.bounds.numbers)
	}
}

// hairpin reports whether a call from a trunk claims to come from a number of this
// site.
func (p *past) hairpin(q *request) bool {
	users := []string{q.fromAddr.URI.User}
	if asserted, err := q.Addresses("P-Asserted-Identity"); err == nil {
		for _, one := range asserted {
			users = append(users, one.URI.User)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, user := range users {
		if key := numberKey(user); key != "" && p.numbers.all[p.key(key)] {
			return true
		}
	}
	return false
}

// class sets what the past says of a call that has been judged.
func (i *Inspector) class(q *request, record *appliance.Call, dialled string) *try {
	if record.Direction == appliance.Inbound {
		if record.Hairpin = i.past.hairpin(q); record.Hairpin {
			i.report(appliance.Event{
				Time: q.at, Kind: appliance.EventRefusal, Verdict: record.Verdict, Reason: record.Reason,
				Source: q.from.remote, Subject: q.fromAddr.URI.User,
				Message: "a call from the trunk claims to come from a number of this site",
			})
		}
		dialled = q.uri.User
	} else {
		record.Forwarded = i.past.forwarded(q)
	}
	what, overlap := i.past.note(q, dialled)
	record.Overlap = overlap
	return what
}
