package inspector

import (
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/inspector/sdp"
	"github.com/ringfence/ringfence/appliance/rules"
)

// talk is what the two sides of one dialog have said of their media: the newest
// description of each and, while an offer is open, the one that it would replace
// (RFC 3264 section 8). Which of them was an offer and which an answer makes no
// difference: the n-th stream of one side belongs to the n-th of the other,
// whether it came in an INVITE, an answer, an ACK, a PRACK or an UPDATE.
type talk struct {
	sides  [2]side // of leg 0 and leg 1
	urgent bool    // of an emergency call, whose media always passes
	said   [2]*sdp.Session
	before [2]*sdp.Session // nil where no offer is open
	deaf   bool            // a description could not be read, and that was told

	held lines // what the book holds for it now
}

// say notes the newest description of a leg.
func (t *talk) say(leg int, session sdp.Session) {
	old := t.said[leg]
	if old != nil {
		stay(&session, old)
		if t.before[leg] == nil {
			t.before[leg] = old
		}
	}
	t.said[leg] = &session
}

// stay keeps the place of a stream that is held by an unspecified address (RFC
// 3264 section 8.4): its owner wants nothing for now, but may send, and comes
// back to it.
func stay(next, old *sdp.Session) {
	for n := range min(len(next.Media), len(old.Media)) {
		m, was := &next.Media[n], old.Media[n]
		if m.Port != 0 && m.Address.IsUnspecified() && was.Port != 0 {
			m.Address, m.Port, m.Ports, m.Control = was.Address, was.Port, was.Ports, was.Control
		}
	}
}

// open reports whether an offer waits that would replace what was said before.
func (t *talk) open() bool { return t.before != [2]*sdp.Session{} }

// settle makes what was said last the whole of it: the offer was answered.
func (t *talk) settle() { t.before = [2]*sdp.Session{} }

// retract takes a leg's open offer back: it was refused (RFC 3261 section 14.1).
func (t *talk) retract(leg int) {
	if t.before[leg] != nil {
		t.said[leg], t.before[leg] = t.before[leg], nil
	}
}

// crosses returns the leg on the provider's side, or false where no media of the
// dialog crosses the WAN.
func (t *talk) crosses() (outer int, ok bool) {
	switch {
	case t.sides[0] == inside && t.sides[1] == outside:
		return 1, true
	case t.sides[0] == outside && t.sides[1] == inside:
		return 0, true
	}
	return 0, false
}

// streamsMost bounds the streams of one dialog. An honest one has a handful.
const streamsMost = 96

// nobody is a side that has not spoken yet.
var nobody sdp.Session

// variants are the descriptions of a leg that count now: one, or two while an offer is
// open.
func (t *talk) variants(leg int) [2]*sdp.Session {
	if t.said[leg] == nil {
		return [2]*sdp.Session{&nobody, t.before[leg]}
	}
	return [2]*sdp.Session{t.said[leg], t.before[leg]}
}

// streams returns every stream of the dialog, without repeats.
func (t *talk) streams() (all []appliance.Stream) {
	outer, ok := t.crosses()
	if !ok {
		return nil
	}
	for _, in := range t.variants(1 - outer) {
		for _, out := range t.variants(outer) {
			if in != nil && out != nil {
				all = join(all, in, out)
			}
		}
	}
	slices.SortFunc(all, func(a, b appliance.Stream) int {
		if c := a.Inside.Compare(b.Inside); c != 0 {
			return c
		}
		return a.Outside.Compare(b.Outside)
	})
	all = slices.CompactFunc(all, func(a, b appliance.Stream) bool { return a.Inside == b.Inside && a.Outside == b.Outside })
	return all[:min(len(all), streamsMost)]
}

// join appends the streams of two descriptions, one by one.
func join(all []appliance.Stream, in, out *sdp.Session) []appliance.Stream {
	most := max(len(in.Media), len(out.Media))
	all = slices.Grow(all, 2*most) // media and RTCP
	for n := range most {
		a, b := nth(in, n), nth(out, n)
		// Refused by one side, it is nobody's. Where one has not spoken yet it is open.
		if n < len(in.Media) && a.Port == 0 || n < len(out.Media) && b.Port == 0 {
			continue
		}
		kind := a.Kind
		if kind == "" {
			kind = b.Kind
		}
		var buf [4][sdp.MaxPorts]netip.AddrPort // on the stack
		mine, myControl := a.Endpoints(buf[0][:0], buf[1][:0])
		theirs, theirControl := b.Endpoints(buf[2][:0], buf[3][:0])
		all = zip(all, kind, mine, theirs)
		all = zip(all, controlOf(kind), myControl, theirControl)
		for _, one := range b.Candidates {
			all = append(all, appliance.Stream{Kind: kind, Inside: first(mine), Outside: one})
		}
	}
	return all
}

// noMedia is the stream of a side that has none there. Nobody writes to it.
var noMedia sdp.Media

// nth is a stream of a description, or noMedia.
func nth(s *sdp.Session, n int) *sdp.Media {
	if n < len(s.Media) {
		return &s.Media[n]
	}
	return &noMedia
}

// controlOf names the RTCP of a stream.
func controlOf(kind string) string {
	if kind == "audio" { // nearly always
		return "audio/rtcp"
	}
	return kind + "/rtcp"
}

func first(list []netip.AddrPort) (none netip.AddrPort) {
	if len(list) > 0 {
		return list[0]
	}
	return none
}

// zip appends the streams between two lists of places.
func zip(all []appliance.Stream, kind string, in, out []netip.AddrPort) []appliance.Stream {
	for n := range max(len(in), len(out)) {
		one := appliance.Stream{Kind: kind}
		if n < len(in) {
			one.Inside = in[n]
		}
		if n < len(out) {
			one.Outside = out[n]
		}
		all = append(all, one)
	}
	return all
}

// lines is what the kernel is told of a dialog.
type lines struct {
	permits []appliance.MediaKey
	streams []appliance.Stream
}

// lines returns what the kernel must let in, and what it would have to cut.
func (t *talk) lines() lines {
	out := lines{streams: t.streams()}
	out.permits = make([]appliance.MediaKey, 0, 2*len(out.streams))
	if t.urgent {
		out.permits = append(out.permits, appliance.MediaKey{})
	}
	for _, one := range out.streams {
		if !one.Inside.IsValid() {
			continue
		}
		// A provider's media may come from another of its addresses than it names.
		out.permits = append(out.permits, appliance.MediaKey{LocalPort: one.Inside.Port()})
		if one.Outside.IsValid() {
			out.permits = append(out.permits, appliance.MediaKey{Remote: one.Outside.Addr(), LocalPort: one.Inside.Port()})
		}
	}
	slices.SortFunc(out.permits, compareKeys)
	out.permits = slices.Compact(out.permits)
	return out
}

func compareKeys(a, b appliance.MediaKey) int {
	if c := a.Remote.Compare(b.Remote); c != 0 {
		return c
	}
	if a.LocalPort != b.LocalPort {
		return int(a.LocalPort) - int(b.LocalPort)
	}
	return int(a.RemotePort) - int(b.RemotePort)
}

// description returns the session description of a message as it is sent on.
func description(m *message.Message) ([]byte, bool) {
	if len(m.Body) == 0 {
		return nil, false
	}
	kind, err := m.ContentType()
	switch {
	case err != nil:
		return nil, false
	case kind.Text == "application/sdp":
		return m.Body, true
	case kind.Text == "multipart/mixed": // an emergency call's: see plainBody
		return onlySession(m)
	}
	return nil, false
}

// undescribed refuses a request from the LAN whose media nobody could watch over,
// for its description can't be read. A trunk's is taken as it comes: what the LAN
// says is enough to tell its media.
func undescribed(q *request) (refusal, bool) {
	body, there := description(q.Message)
	if !there || q.who.side != inside {
		return refusal{}, false
	}
	if _, err := sdp.Read(body); err != nil {
		return refusal{status: 488, phrase: "Not Acceptable Here", reason: appliance.ReasonBody, detail: "session description: " + err.Error(),
			headers: []field{{"Warning", `399 ringfence "the session description can't be read"`}}}, true
	}
	return refusal{}, false
}

// hear learns what a message says of its sender's media, before it is sent on: who
// answers may send at once.
func (i *Inspector) hear(d *dialog, from int, m *message.Message) {
	body, there := description(m)
	if !there {
		return
	}
	session, err := sdp.Read(body)
	d.mu.Lock()
	if err != nil {
		told := d.talk.deaf
		d.talk.deaf = true
		remote := d.legs[from].flow.remote
		d.mu.Unlock()
		if !told {
			i.report(appliance.Event{Time: i.now(), Kind: appliance.EventRefusal, Verdict: appliance.Allow, Reason: appliance.ReasonBody, Source: remote,
				Message: "a session description passes unread, and the call's media is known by the other side's word alone: " + err.Error()})
		}
		return
	}
	d.talk.say(from, session)
	k := i.keep(d)
	d.mu.Unlock()
	if k != nil {
		i.stopMedia(k, d) // it was cut while this was on its way
	}
}

// keep brings the book up to date with a dialog, whose lock is held. Of a dialog
// that was cut the book keeps nothing: it returns the cut.
func (i *Inspector) keep(d *dialog) *cut {
	if d.cut != nil {
		return d.cut
	}
	if d.over {
		return nil
	}
	next := d.talk.lines()
	i.media.hold(d.talk.held, next)
	d.talk.held = next
	return nil
}

// answeredMedia closes the offers of a dialog.
func (i *Inspector) answeredMedia(d *dialog) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.talk.open() {
		d.talk.settle()
		i.keep(d)
	}
}

// refusedMedia takes a leg's offer back.
func (i *Inspector) refusedMedia(d *dialog, leg int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.talk.retract(leg)
	i.keep(d)
}

// releaseMedia ends the permits of a dialog that is over; d.mu is held.
func (i *Inspector) releaseMedia(d *dialog) {
	i.media.hold(d.talk.held, lines{})
	d.talk.held = lines{}
}

// offered opens the ports that an INVITE offers: early media may come before the
// provider has said from where (RFC 3264 section 5.1).
func (a *attempt) offered(i *Inspector, sip *rules.SIP, q *request, out *message.Message, to flow) {
	offer := talk{sides: [2]side{q.who.side, partyOf(sip, to.remote).side}, urgent: a.urgent}
	if body, there := description(out); there {
		if session, err := sdp.Read(body); err == nil {
			offer.say(0, session)
		}
	}
	offer.held = offer.lines()
	a.mu.Lock()
	before := a.talk.held // of another way that was tried
	a.talk = offer
	a.mu.Unlock()
	i.media.hold(before, offer.held)
}

// offer returns what the INVITE offers. It may be asked for by whoever ends the call
// while it is still on its way.
func (a *attempt) offer() talk {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.talk
}

// concluded gives up what was opened for an INVITE: its dialogs have their own.
func (a *attempt) concluded(i *Inspector) {
	a.mu.Lock()
	held := a.talk.held
	a.talk.held = lines{}
	a.mu.Unlock()
	i.media.hold(held, lines{})
}
