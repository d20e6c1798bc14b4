package inspector

import (
	"fmt"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// cutReason is what the two sides of a call that is cut are told (RFC 3326): why,
// is nobody's business on the wire.
const cutReason = `Q.850;cause=21;text="call rejected"`

// farewell is one side of a call that is cut, and how far it has come. The lock
// of its cut guards it.
type farewell struct {
	who   side
	name  string // whom it goes to
	state appliance.CutState
	// status is of the last final answer, 0 for none.
	status int
	tries  int
	again  time.Time // of the next try

	d  *dialog // nil for a call that only rang
	to int     // the leg that hears the BYE
}

func (f *farewell) view() appliance.CutSide {
	where := "lan"
	if f.who == outside {
		where = "provider"
	}
	return appliance.CutSide{Side: where, Address: f.name, State: f.state, Status: f.status, Tries: f.tries}
}

// due reports whether the side has to be told again.
func (f *farewell) due(now time.Time) bool {
	if f.d == nil || f.state == appliance.CutPending || f.state == appliance.CutConfirmed || now.Before(f.again) {
		return false
	}
	return f.who == outside || f.tries < lanTries
}

// sentence says what is wrong with the side.
func (f *farewell) sentence() string {
	const kept = "; its media stays cut and refreshes are refused, so that it ends with its session timer"
	switch {
	case f.state == appliance.CutChallenged:
		return fmt.Sprintf("the provider at %s answers the BYE with %d, and asks for a password that this box has not%s", f.name, f.status, kept)
	case f.state == appliance.CutLost && f.d == nil:
		return fmt.Sprintf("the provider at %s does not confirm that it has stopped ringing", f.name)
	case f.state == appliance.CutLost:
		return fmt.Sprintf("the provider at %s does not answer the BYE%s", f.name, kept)
	default:
		return fmt.Sprintf("the provider at %s answers the BYE with %d%s", f.name, f.status, kept)
	}
}

// hear takes the final answer to a BYE, 0 where there was none. That the other
// side knows of no such call, or has lost the BYE's way, is as good as a yes (RFC
// 3261 section 15.1.1). No answer at all proves nothing.
func (f *farewell) hear(status int, now time.Time) {
	f.status = status
	switch {
	case f.state == appliance.CutConfirmed:
		return // its own BYE came first
	case status/100 == 2, status == 481, status == 408:
		f.state = appliance.CutConfirmed
	case status == 401, status == 407:
		f.state = appliance.CutChallenged
	case status == 0:
		f.state = appliance.CutLost
	default:
		f.state = appliance.CutRefused
	}
	wait := byeAgainMost
	if f.tries < 6 {
		wait = min(wait, byeAgain<<(f.tries-min(f.tries, 1)))
	}
	f.again = now.Add(wait)
}

// hangUpBoth sends a BYE each way through every dialog that was answered.
func (i *Inspector) hangUpBoth(k *cut, dialogs []*dialog) {
	var sides []*farewell
	for _, d := range dialogs {
		d.mu.Lock()
		if d.confirmed {
			for to := range d.legs {
				sides = append(sides, &farewell{who: d.legs[to].who.side, name: d.legs[to].flow.remote.String(), state: appliance.CutPending, d: d, to: to})
			}
		}
		d.mu.Unlock()
	}
	k.mu.Lock()
	k.sides = append(k.sides, sides...)
	k.mu.Unlock()
	for _, side := range sides {
		i.txs.spawn(func() { i.sayBye(k, side) })
	}
}

// sayBye sends one BYE. Its transaction repeats it until Timer F.
func (i *Inspector) sayBye(k *cut, side *farewell) {
	out, way, branch, err := i.bye(side.d, side.to)
	k.mu.Lock()
	side.tries++
	k.mu.Unlock()
	if err == nil {
		_, err = i.txs.request(branch, out, way, true, byeAnswer{i, k, side})
	}
	if err != nil {
		k.answered(i, side, 0)
	}
}

// byeAnswer waits for what becomes of a BYE.
type byeAnswer struct {
	i    *Inspector
	k    *cut
	side *farewell
}

// response implements clientHandler.
func (a byeAnswer) response(res *message.Message) {
	if res.Status >= 200 {
		a.k.answered(a.i, a.side, res.Status)
	}
}

// failed implements clientHandler.
func (a byeAnswer) failed(error) { a.k.answered(a.i, a.side, 0) }

func (k *cut) answered(i *Inspector, side *farewell, status int) {
	k.mu.Lock()
	side.hear(status, i.now())
	k.mu.Unlock()
	k.settled(i)
}

// bye writes a BYE to a leg as the other one would have sent it.
func (i *Inspector) bye(d *dialog, to int) (out *message.Message, way flow, branch string, err error) {
	if out, way, branch, err = i.own(d, to, "BYE", 1); err != nil {
		return nil, flow{}, "", err
	}
	out.Add("Reason", cutReason)
	return out, way, branch, nil
}

// ---- calls that only ring ---------------------------------------------------

// unring ends a call that has not been answered: 403 for the caller, CANCEL for
// the callee. It reports false where there is none, or where it was answered
// meanwhile.
func (i *Inspector) unring(k *cut) bool {
	r := i.relays.of(k.call)
	if r == nil {
		return false
	}
	caller := &farewell{who: r.q.who.side, name: r.q.from.remote.String(), state: appliance.CutConfirmed, status: 403, tries: 1}
	to := r.heading()
	callee := &farewell{who: partyOf(i.current().Topology(), to.remote).side, name: to.remote.String(), state: appliance.CutPending, tries: 1}
	k.mu.Lock()
	k.sides = []*farewell{caller, callee}
	k.mu.Unlock()
	if offered := r.errand.(*attempt).offer(); offered.sides[0] == inside {
		k.takes(offered.streams(), r.q.from.remote.Addr())
	}
	if r.forbid(&ringing{k, callee}) {
		return true
	}
	k.mu.Lock()
	k.sides = nil
	k.mu.Unlock()
	return false
}

// ringing is the callee of a call that was cut while it rang.
type ringing struct {
	k    *cut
	side *farewell
}

// of returns the relay of a call's INVITE that has no final answer yet, or nil.
func (s *relays) of(c *call) *relay {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.all {
		if a, ok := r.errand.(*attempt); ok && a.call == c {
			return r
		}
	}
	return nil
}

// forbid refuses an INVITE that is under way and takes it back: at once where the
// neighbour has answered provisionally, else as soon as it does (RFC 3261 section
// 9.1). It reports false where a final response was first.
func (r *relay) forbid(by *ringing) bool {
	r.mu.Lock()
	if r.final != 0 {
		r.mu.Unlock()
		return false
	}
	r.final, r.cut = 403, by
	withdrawn := r.cancelSent
	r.cancelled, r.reason = true, cutReason
	r.cancelSent = r.cancelSent || r.provisional
	sends, branch := r.provisional && !withdrawn, r.branch
	r.mu.Unlock()
	r.settled()
	switch {
	case sends:
		r.i.txs.spawn(r.recall)
	case withdrawn:
		r.i.txs.cancelled(branch) // the wait for its end was the relay's
	}
	out := responseTo(r.q, 403, "Forbidden", stableID(5, r.in.key))
	out.Add("Reason", cutReason)
	_ = r.in.respond(403, sealed(out))
	r.errand.ended(r, 403)
	return true
}

// recall cancels an INVITE that nobody watches over any more: whoever rings may be
// gone before its 487, and would hold a place for ever.
func (r *relay) recall() {
	r.sendCancel()
	r.mu.Lock()
	branch := r.branch
	r.mu.Unlock()
	r.i.txs.cancelled(branch)
}

// afterwards takes what a neighbour says of an INVITE that was given up.
func (r *relay) afterwards(res *message.Message) {
	r.mu.Lock()
	by := r.cut
	sends := res.Status < 200 && r.cancelled && !r.cancelSent && by != nil
	r.cancelSent = r.cancelSent || sends
	r.mu.Unlock()
	if sends {
		r.i.txs.spawn(r.recall)
	}
	if by != nil && res.Status >= 300 {
		by.k.confirmed(r.i, by.side, res.Status)
	}
	if res.Status/100 == 2 && r.limited && r.q.toTag == "" {
		r.i.txs.spawn(func() { r.hangUp(res) })
	}
}

// confirmed takes any final refusal of an INVITE for the end that it is.
func (k *cut) confirmed(i *Inspector, side *farewell, status int) {
	k.mu.Lock()
	side.state, side.status = appliance.CutConfirmed, status
	k.mu.Unlock()
	k.settled(i)
}

// vanished tells a cut that its callee never answered.
func (r *relay) vanished() {
	r.mu.Lock()
	by := r.cut
	r.mu.Unlock()
	if by != nil {
		by.k.answered(r.i, by.side, 0)
	}
}

// lateBye is the handler of the BYE to a call that was answered too late: what
// becomes of it is a cut's matter where there was one.
func (r *relay) lateBye() clientHandler {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut == nil {
		return unheard{}
	}
	return byeAnswer{r.i, r.cut.k, r.cut.side}
}

// hungUpLate reports whether a 2xx comes from another fork of a call that was cut
// after the first had answered. Its caller must not hear of it.
func (r *relay) hungUpLate(res *message.Message) bool {
	a, ok := r.errand.(*attempt)
	if !ok || res.Status/100 != 2 {
		return false
	}
	if a.call.cutBy() == nil {
		return false
	}
	to, err := res.To()
	if err != nil {
		return true
	}
	if d, _ := r.i.dialogs.find(r.q.CallID(), r.q.fromTag, to.Tag()); d != nil && d.isConfirmed() {
		return false // it repeats what the caller knows
	}
	r.i.txs.spawn(func() { r.hangUp(res) })
	return true
}

func (d *dialog) isConfirmed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.confirmed
}
