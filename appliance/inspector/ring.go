package inspector

import (
	"bytes"
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
	"github.com/ringfence/ringfence/appliance/trace"
)

// ring keeps the last messages of each call as they stood on the wire, secrets
// and all: what it hands out is redacted. It is bounded as a whole and for each
// call. Only an INVITE or a MESSAGE that opens something makes it keep a Call-ID;
// whatever else carries one that is kept joins.
//
// Under pressure the calls that are over go first, the oldest before the others,
// and then those in progress.
type ring struct {
	current func() *rules.Rules
	now     func() time.Time
	bounds  limits

	mu    sync.Mutex
	all   map[string]*track
	loose list.List // of *track: refused, over, or not decided yet; oldest first
	live  list.List // of *track: calls in progress; oldest first
	bytes int
	spare []*track // of calls that were fine: the next ones take their memory
}

// track is what is kept of one Call-ID.
type track struct {
	callID  string
	kept    []crossing
	bytes   int
	omitted int
	open    int  // calls in progress that have this Call-ID
	keep    bool // one of its calls was refused or failed
	in      *list.List
	place   *list.Element
}

// crossing is one message at the box's edge.
type crossing struct {
	at, last      int64 // nanoseconds since 1970
	repeats       int
	length        int    // bytes on the wire; what is kept may be cut
	heard         string // as it came
	wire          []byte // as it went; it is never written to
	local, remote netip.AddrPort
	transport     settings.Transport
	sent          bool
}

// Room beside the text itself, bytes: close enough for a bound.
const (
	keptOverhead  = 160
	trackOverhead = 320
)

// usualMessages is how many messages a refused call has: INVITE, refusal, ACK.
const usualMessages = 3

// callMessages is how many more a call has that is answered, with both legs.
const callMessages = 13

// How many tracks wait to be used again, and the messages that one may have room for:
// below 400 KiB in all.
const (
	sparesMost = 64
	spareRoom  = 32
)

// lookBack is among how many of the last messages a repeat is looked for: in that
// time a request is answered.
const lookBack = 6

func newRing(bounds limits, current func() *rules.Rules, now func() time.Time) *ring {
	return &ring{current: current, now: now, bounds: bounds, all: make(map[string]*track)}
}

// off reports whether nothing is to be kept.
func (r *ring) off() bool { return r.current().Messages() == settings.MessagesOff }

// sweep forgets everything where nothing is to be kept any more.
func (r *ring) sweep() {
	if !r.off() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.all {
		r.dropLocked(t)
	}
}

// heard keeps a message that came in. Where text is a string it is kept as it is, and
// else copied.
func heard[octets string | []byte](r *ring, from flow, callID string, opens bool, text octets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.all[callID]
	if t == nil {
		if !opens {
			return
		}
		t = r.beginLocked(callID)
	}
	if k := t.again(from, false, len(text), func(k *crossing) bool { return k.heard == string(text[:len(k.heard)]) }); k != nil {
		k.repeat(r.now())
		return
	}
	own, length := string(text), len(text)
	if length > r.bounds.keptMessage {
		own = strings.Clone(own[:r.bounds.keptMessage])
	}
	r.addLocked(t, crossing{heard: own, length: length, local: from.local, remote: from.remote, transport: from.transport})
}

// told keeps a message that goes out. wire stays as it is from here on: whoever
// sends it has given it away.
func (r *ring) told(to flow, callID, wire []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.all[string(callID)]
	if t == nil {
		return
	}
	if k := t.again(to, true, len(wire), func(k *crossing) bool { return bytes.Equal(k.wire, wire[:len(k.wire)]) }); k != nil {
		k.repeat(r.now())
		return
	}
	length := len(wire)
	if length > r.bounds.keptMessage {
		wire = bytes.Clone(wire[:r.bounds.keptMessage])
	}
	r.addLocked(t, crossing{wire: wire, length: length, local: to.local, remote: to.remote, transport: to.transport, sent: true})
}

// again returns the message that is there already, or nil.
func (t *track) again(by flow, sent bool, length int, same func(*crossing) bool) *crossing {
	for n := len(t.kept) - 1; n >= max(0, len(t.kept)-lookBack); n-- {
		if k := &t.kept[n]; k.sent == sent && k.length == length && k.remote == by.remote && same(k) {
			return k
		}
	}
	return nil
}

// repeat counts a message that came or went once more.
func (k *crossing) repeat(at time.Time) {
	k.repeats++
	k.last = at.UnixNano()
}

// text is what is kept of a message.
func (k *crossing) text() []byte {
	if k.sent {
		return k.wire
	}
	return []byte(k.heard)
}

func (r *ring) beginLocked(callID string) *track {
	t := r.unusedLocked()
	t.callID, t.bytes = strings.Clone(callID), trackOverhead+len(callID)
	r.all[t.callID] = t
	r.bytes += t.bytes
	r.moveLocked(t, &r.loose)
	return t
}

// moveLocked makes t the youngest of a list.
func (r *ring) moveLocked(t *track, to *list.List) {
	switch {
	case t.in == to:
		to.MoveToBack(t.place)
		return
	case t.in != nil:
		t.in.Remove(t.place)
	}
	t.in, t.place = to, to.PushBack(t)
}

// unusedLocked returns an empty track, an old one where there is any.
func (r *ring) unusedLocked() *track {
	n := len(r.spare) - 1
	if n < 0 {
		return &track{kept: make([]crossing, 0, usualMessages)}
	}
	t := r.spare[n]
	r.spare = r.spare[:n]
	return t
}

// dropLocked forgets a track. Nobody may use it any more.
func (r *ring) dropLocked(t *track) {
	t.in.Remove(t.place)
	delete(r.all, t.callID)
	r.bytes -= t.bytes
	if len(r.spare) < sparesMost && cap(t.kept) <= spareRoom {
		clear(t.kept[:cap(t.kept)]) // the messages themselves go
		*t = track{kept: t.kept[:0]}
		r.spare = append(r.spare, t)
	}
}

// addLocked appends a message, and makes room for it: in its call after the first
// ones, and then in the ring.
func (r *ring) addLocked(t *track, k crossing) {
	k.at = r.now().UnixNano()
	if len(t.kept) == cap(t.kept) {
		t.kept = slices.Grow(t.kept, len(t.kept)+callMessages) // in two steps for most calls
	}
	t.kept = append(t.kept, k)
	r.weighLocked(t, weight(k))
	for len(t.kept) > trace.Head+1 && (len(t.kept) > r.bounds.keptMessages || t.bytes > r.bounds.keptCall) {
		r.weighLocked(t, -weight(t.kept[trace.Head]))
		t.kept = append(t.kept[:trace.Head], t.kept[trace.Head+1:]...)
		t.omitted++
	}
	for r.bytes > r.bounds.keptBytes && len(r.all) > 1 {
		r.dropLocked(r.oldestLocked(t))
	}
}

func weight(k crossing) int { return keptOverhead + len(k.heard) + cap(k.wire) }

func (r *ring) weighLocked(t *track, by int) {
	t.bytes += by
	r.bytes += by
}

// oldestLocked is what has to go next: not the one in hand.
func (r *ring) oldestLocked(but *track) *track {
	for _, from := range [...]*list.List{&r.loose, &r.live} {
		for e := from.Front(); e != nil; e = e.Next() {
			if t := e.Value.(*track); t != but {
				return t
			}
		}
	}
	return but // never: there are two
}

// opened notes that a call is in progress.
func (r *ring) opened(callID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.all[callID]; t != nil {
		t.open++
		r.moveLocked(t, &r.live)
	}
}

// over notes that a call in progress has ended, and how.
func (r *ring) over(callID string, well bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.all[callID]; t != nil {
		t.open = max(t.open-1, 0)
		r.settleLocked(t, well)
	}
}

// settled notes what became of a request that was judged by itself.
func (r *ring) settled(callID string, well bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.all[callID]; t != nil {
		r.settleLocked(t, well)
	}
}

// forget lets go of what is kept of a request that nobody will ask about, unless
// another call under its Call-ID has something to say.
func (r *ring) forget(callID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.all[callID]; t != nil && t.open == 0 && !t.keep {
		r.dropLocked(t)
	}
}

func (r *ring) settleLocked(t *track, well bool) {
	t.keep = t.keep || !well
	switch {
	case t.open > 0:
	case t.keep || r.current().Messages() == settings.MessagesAll:
		r.moveLocked(t, &r.loose)
	default:
		r.dropLocked(t)
	}
}

// trace returns what is kept of a Call-ID, redacted.
func (r *ring) trace(callID string) appliance.Trace {
	if r.off() {
		return appliance.Trace{Messages: []appliance.Message{}, Note: "the settings keep no messages (sip.messages is off)"}
	}
	r.mu.Lock()
	var copied []crossing
	omitted := 0
	if t := r.all[callID]; t != nil {
		copied, omitted = append(copied, t.kept...), t.omitted
	}
	r.mu.Unlock()
	out := appliance.Trace{Messages: make([]appliance.Message, 0, len(copied)), Omitted: omitted}
	if len(copied) == 0 {
		out.Note = "no messages are kept: the call was fine, or is too long ago, or the daemon has started since"
	}
	in := r.current().SIP()
	for n := range copied {
		out.Messages = append(out.Messages, copied[n].shown(&in))
	}
	return out
}

// shown is a message as anybody may see it. Where the neighbour stands is asked of
// the rules in force.
func (k *crossing) shown(sip *rules.SIP) appliance.Message {
	m := appliance.Message{
		Time: time.Unix(0, k.at).UTC(), Repeats: k.repeats, Sent: k.sent, Transport: string(k.transport),
		Local: k.local, Remote: k.remote, Length: k.length, Text: string(trace.Redact(k.text())),
	}
	if k.repeats > 0 {
		m.Last = time.Unix(0, k.last).UTC()
	}
	m.Side, m.Peer = placeOf(sip, k.remote)
	return m
}

// placeOf is where a neighbour stands, and its name.
func placeOf(sip *rules.SIP, remote netip.AddrPort) (appliance.Side, string) {
	switch who := partyOf(sip, remote); {
	case who.pbx:
		return appliance.SideLAN, "pbx"
	case who.side == inside:
		return appliance.SideLAN, ""
	case who.trunk != nil:
		return appliance.SideTrunk, who.trunk.Name
	}
	return "", ""
}
