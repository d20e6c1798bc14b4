package inspector

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Bounds of a cut that the provider does not confirm.
const (
	byeAgain     = 30 * time.Second // from one try's end to the next, doubled each time
	byeAgainMost = 10 * time.Minute
	lanTries     = 5               // of a side on the LAN: whom it would pay is the provider
	cutAfter     = 2 * time.Minute // from the last confirmation until the ports are free again
)

// cut is one call that is being ended from here.
type cut struct {
	call *call
	id   string
	why  string
	at   time.Time

	mu      sync.Mutex
	sides   []*farewell
	keys    []appliance.MediaKey // cut in the kernel
	inside  []netip.AddrPort     // where the LAN takes its media, for NAT to tell more
	stopped bool                 // there was media, and it was stopped
	media   string               // what else is to say of it
	broken  bool                 // the kernel could not cut
	warned  bool                 // 'cut incomplete' was told
	done    bool                 // the provider's sides have confirmed
	freeAt  time.Time
	changed chan struct{} // closed when a side has news, and made anew
}

// cuts are the calls that are being ended.
type cuts struct {
	mu  sync.Mutex
	all map[*cut]struct{}
}

// of returns the cut of a call, whose record has that ID; of any where c is nil: a
// call that was cut and is tried anew keeps its record. The lock is held.
func (s *cuts) of(id string, c *call) *cut {
	for k := range s.all {
		if k.id == id && (c == nil || k.call == c) {
			return k
		}
	}
	return nil
}

// Cut ends a call that is ringing or answered, whoever objects: its refreshes are
// refused, its media stops in both directions at once, and both sides are told to
// hang up, again and again until they agree. It returns when each side has
// answered, or ctx has ended; the media has stopped by then. To cut a call again
// asks how far it has come. reason is for people, and never goes out.
//
// CodeNotFound where no such call is in progress, and CodeForbidden for a call to
// an emergency number, which nobody may end but its two sides.
func (i *Inspector) Cut(ctx context.Context, id, reason string) (appliance.Cut, error) {
	k, err := i.begin(id, reason)
	if err != nil {
		return appliance.Cut{}, err
	}
	i.overhear(k)
	k.wait(ctx)
	return k.view(), nil
}

// CutWhere cuts every call in progress whose record match picks, emergency calls
// aside. The media of all of them has stopped before the first side is waited for.
func (i *Inspector) CutWhere(ctx context.Context, match func(appliance.Call) bool, reason string) []appliance.Cut {
	var begun []*cut
	for _, record := range i.Live() {
		if match(record) {
			if k, err := i.begin(record.ID, reason); err == nil {
				begun = append(begun, k)
			}
		}
	}
	i.overhear(begun...)
	out := make([]appliance.Cut, 0, len(begun))
	for _, k := range begun {
		k.wait(ctx)
		out = append(out, k.view())
	}
	return out
}

// Cuts returns the calls that are being cut, and those whose cut has been
// confirmed a short while ago.
func (i *Inspector) Cuts() []appliance.Cut {
	i.cuts.mu.Lock()
	open := make([]*cut, 0, len(i.cuts.all))
	for k := range i.cuts.all {
		open = append(open, k)
	}
	i.cuts.mu.Unlock()
	out := make([]appliance.Cut, 0, len(open))
	for _, k := range open {
		out = append(out, k.view())
	}
	return out
}

// begin marks a call, stops its media and sends the farewells. A call that is
// being cut already is left to that.
func (i *Inspector) begin(id, why string) (*cut, error) {
	k, began, err := i.enlist(id, why)
	if !began {
		return k, err
	}
	c := k.call
	dialogs := i.mark(c, k)
	for _, d := range dialogs {
		i.stopMedia(k, d)
	}
	if !i.unring(k) {
		i.hangUpBoth(k, dialogs)
	}
	i.calls.end(c, 0, appliance.ReasonCut, i.now())
	k.settled(i)
	return k, nil
}

// enlist puts a cut on the list, once for each call.
func (i *Inspector) enlist(id, why string) (k *cut, began bool, err error) {
	i.cuts.mu.Lock()
	defer i.cuts.mu.Unlock()
	c := i.calls.find(id)
	if k := i.cuts.of(id, c); k != nil {
		return k, false, nil
	}
	switch {
	case c == nil:
		return nil, false, &appliance.Error{Code: appliance.CodeNotFound, Field: "id", Message: "no call with this ID is in progress"}
	case c.urgent:
		return nil, false, &appliance.Error{Code: appliance.CodeForbidden, Field: "id", Message: "a call to an emergency number is never cut"}
	case len(i.cuts.all) >= i.bounds.dialogs:
		return nil, false, &appliance.Error{Code: appliance.CodeUnavailable, Field: "id", Message: "too many calls are being cut already"}
	}
	k = &cut{call: c, id: id, why: why, at: i.now(), changed: make(chan struct{})}
	i.cuts.all[k] = struct{}{}
	return k, true, nil
}

// mark has every dialog of a call refuse what would refresh it, also those that
// its forks may still open, and returns them.
func (i *Inspector) mark(c *call, k *cut) []*dialog {
	c.mu.Lock()
	c.cut = k
	c.mu.Unlock()
	dialogs := c.forks()
	for _, d := range dialogs {
		i.markDialog(d, k)
	}
	return dialogs
}

// cutBy returns the cut of a call, or nil.
func (c *call) cutBy() *cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

func (i *Inspector) markDialog(d *dialog, k *cut) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut, d.over = k, true
	if d.deadline = k.at.Add(i.bounds.call); !d.confirmed {
		d.deadline = i.now().Add(i.bounds.cancelled)
	}
	i.releaseMedia(d)
}

// stopMedia drops the packets of a dialog that was cut.
func (i *Inspector) stopMedia(k *cut, d *dialog) {
	sip := i.current().SIP()
	d.mu.Lock()
	streams := d.talk.streams()
	signalling := []netip.AddrPort{d.legs[0].flow.remote, d.legs[1].flow.remote}
	outer, _ := d.talk.crosses()
	lan := d.legs[1-outer].flow.remote.Addr()
	d.mu.Unlock()
	k.takes(streams, lan)
	i.stop(k, streams, func(key appliance.MediaKey) bool { return sparedBy(&sip, key, signalling) })
}

// takes notes where the LAN takes its media: where it says, and where it speaks
// from, for a PBX may name the address that NAT shows of it.
func (k *cut) takes(streams []appliance.Stream, lan netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range streams {
		if one.Inside.IsValid() {
			k.inside = append(k.inside, one.Inside, netip.AddrPortFrom(lan, one.Inside.Port()))
		}
	}
}

// stop has the kernel drop streams, and keeps what it was told.
func (i *Inspector) stop(k *cut, streams []appliance.Stream, spared func(appliance.MediaKey) bool) {
	if i.media.hands == nil {
		k.said("nothing guards the WAN, so that only the BYE can stop the media", true)
		return
	}
	keys, err := i.media.cut(streams, spared)
	k.mu.Lock()
	k.keys = append(k.keys, keys...)
	k.stopped = k.stopped || len(keys) > 0
	k.mu.Unlock()
	if err != nil {
		k.said(fmt.Sprintf("the media could not be stopped: %v", err), true)
	}
}

// sparedBy reports whether a key of a cut would stop signalling: whoever writes a
// description may name any port in it, a trunk's own among them.
func sparedBy(sip *rules.SIP, key appliance.MediaKey, signalling []netip.AddrPort) bool {
	for _, listen := range sip.Listen {
		if key.RemotePort == 0 && key.LocalPort == listen.Port() {
			return true
		}
	}
	far := netip.AddrPortFrom(key.Remote, key.RemotePort)
	for _, one := range signalling {
		if one == far {
			return true
		}
	}
	for n := range sip.Trunks {
		if sip.Trunks[n].Address.Port() == key.RemotePort && ofTrunk(&sip.Trunks[n], key.Remote) {
			return true
		}
	}
	return false
}

// overhear asks NAT with whom the LAN's sides of calls that were cut exchange
// packets, and stops that too: a provider may send from where no description says,
// and NAT may have given the LAN's port another number. What NAT knows of is found
// by the LAN's own address, which is certain.
func (i *Inspector) overhear(all ...*cut) {
	owner := map[netip.AddrPort]*cut{}
	for _, k := range all {
		k.mu.Lock()
		for _, one := range k.inside {
			owner[one] = k
		}
		k.mu.Unlock()
	}
	if i.media.hands == nil || len(owner) == 0 {
		return
	}
	heard, err := i.media.hands.Conversations(slices.Collect(maps.Keys(owner)))
	for _, k := range all {
		if err != nil {
			k.said(fmt.Sprintf("the media was stopped as it was negotiated; what NAT knows of it could not be asked: %v", err), false)
		}
	}
	streams := map[*cut][]appliance.Stream{}
	for _, one := range heard {
		if k := owner[one.Inside]; k != nil {
			// By the WAN's port, which NAT may have changed.
			streams[k] = append(streams[k], appliance.Stream{Inside: netip.AddrPortFrom(one.Inside.Addr(), one.Key.LocalPort),
				Outside: netip.AddrPortFrom(one.Key.Remote, one.Key.RemotePort)})
		}
	}
	sip := i.current().SIP()
	for k, list := range streams {
		i.stop(k, list, func(key appliance.MediaKey) bool { return sparedBy(&sip, key, nil) })
	}
}

// said keeps a sentence on the media, the worst one.
func (k *cut) said(text string, broken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.media == "" || broken && !k.broken {
		k.media, k.broken = text, broken
	}
}

// wait returns when no side is pending any more, or ctx has ended.
func (k *cut) wait(ctx context.Context) {
	for {
		k.mu.Lock()
		pending, news := false, k.changed
		for _, side := range k.sides {
			pending = pending || side.state == appliance.CutPending
		}
		k.mu.Unlock()
		if !pending {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}

func (k *cut) view() appliance.Cut {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := appliance.Cut{ID: k.id, Reason: k.why, Start: k.at, Complete: k.done, Media: k.media, Sides: []appliance.CutSide{}}
	switch {
	case out.Media != "":
	case k.stopped:
		out.Media = "stopped in both directions"
	default:
		out.Media = "none had been negotiated"
	}
	for _, side := range k.sides {
		out.Sides = append(out.Sides, side.view())
	}
	return out
}

// settled looks whether a cut is complete, and tells what has changed. It is
// incomplete until the provider has confirmed: who pays is decided there.
func (k *cut) settled(i *Inspector) {
	k.mu.Lock()
	done, failed, pending := true, "", false
	payers := slices.ContainsFunc(k.sides, func(side *farewell) bool { return side.who == outside })
	for _, side := range k.sides {
		if payers && side.who != outside {
			continue
		}
		done = done && side.state == appliance.CutConfirmed
		pending = pending || side.state == appliance.CutPending
		if side.state != appliance.CutConfirmed && side.state != appliance.CutPending {
			failed = side.sentence()
		}
	}
	finished, warns := done && !k.done, failed != "" && !pending && !k.warned
	k.done, k.warned = done, k.warned || warns
	if finished {
		k.freeAt = i.now().Add(cutAfter)
	}
	close(k.changed)
	k.changed = make(chan struct{})
	k.mu.Unlock()
	switch {
	case finished:
		i.tellCut(k, appliance.Allow, "the cut is complete: the provider has confirmed it")
	case warns:
		i.tellCut(k, appliance.Block, "cut incomplete: "+failed)
	}
}

func (i *Inspector) tellCut(k *cut, verdict appliance.Verdict, text string) {
	i.report(appliance.Event{Time: i.now(), Kind: appliance.EventCut, Verdict: verdict, Reason: appliance.ReasonCut, Source: k.call.source, Subject: k.id, Message: text})
}

// pursue has the cuts go on: it repeats farewells that were in vain, and ends what
// is over.
func (i *Inspector) pursue(now time.Time) {
	i.cuts.mu.Lock()
	open := make([]*cut, 0, len(i.cuts.all))
	for k := range i.cuts.all {
		open = append(open, k)
	}
	i.cuts.mu.Unlock()
	for _, k := range open {
		k.mu.Lock()
		free := k.done && !now.Before(k.freeAt)
		patience := i.bounds.early // of a call that only rang, and whose INVITE nobody answers
		var again []*farewell
		for _, side := range k.sides {
			if side.d != nil {
				patience = i.bounds.call
			}
			if side.due(now) {
				side.state = appliance.CutPending
				again = append(again, side)
			}
		}
		given := !k.done && now.Sub(k.at) >= patience
		k.mu.Unlock()
		switch {
		case free, given:
			i.letGo(k, now, given)
		default:
			for _, side := range again {
				i.txs.spawn(func() { i.sayBye(k, side) })
			}
			if len(again) > 0 {
				i.overhear(k)
			}
		}
	}
}

// letGo ends a cut: its ports may be another call's by now.
func (i *Inspector) letGo(k *cut, now time.Time, given bool) {
	i.cuts.mu.Lock()
	delete(i.cuts.all, k)
	i.cuts.mu.Unlock()
	k.mu.Lock()
	keys := k.keys
	k.keys = nil
	sides := k.sides
	k.mu.Unlock()
	i.media.uncut(keys)
	for _, side := range sides {
		if side.d != nil {
			i.drop(side.d, now)
		}
	}
	if given {
		i.tellCut(k, appliance.Block, "cut given up: the provider has not confirmed it for as long as a call may last")
	}
}

// barred handles a request inside a dialog that was cut: a BYE that crosses ours
// is as good as an answer, and everything else would bring the call back.
func (i *Inspector) barred(q *request, d *dialog, from int) bool {
	d.mu.Lock()
	k := d.cut
	d.mu.Unlock()
	if k == nil {
		return false
	}
	if q.Method != "BYE" {
		i.refuse(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonCut, headers: []field{{"Reason", cutReason}}})
		return true
	}
	i.reply(q, nil, 200, "OK", nil)
	k.mu.Lock()
	for _, side := range k.sides {
		if side.d == d && side.to == from {
			side.state, side.status = appliance.CutConfirmed, 200
		}
	}
	k.mu.Unlock()
	k.settled(i)
	return true
}
