package inspector

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// A ghost is a call that one side has forgotten: nobody refreshes it, nobody ends
// it, and the trunk goes on counting. Where a session timer has run out, or there
// is none, the box asks both sides with an OPTIONS inside the dialog. It ends the
// call where one says that it knows of none, or stays silent twice.
//
// RFC 4028 section 8.3 lets a proxy forget an expired session and keeps it from
// ending it. A box that is there to end what costs money does end it.

// ghostRounds is in how many rounds a side must be silent.
const ghostRounds = 2

// asksMax is how many calls are asked about in one round of the reaper: calls that
// began together would else be asked all at once.
const asksMax = 64

// silent reports whether the sides of a call are to be asked, with d.mu held.
func (d *dialog) silent(now time.Time) bool {
	return d.confirmed && !d.over && !d.session.asking && !d.session.until.IsZero() && !now.Before(d.session.until) &&
		d.call != nil && !d.urgent
}

// ask sends an OPTIONS to both sides of a call.
func (i *Inspector) ask(d *dialog) {
	round := &round{i: i, d: d, open: len(d.legs)}
	for to := range d.legs {
		p := &inquiry{round: round}
		options, way, branch, err := i.own(d, to, "OPTIONS", 0)
		if err == nil {
			_, err = i.txs.request(branch, options, way, false, p)
		}
		if err != nil {
			p.failed(err)
		}
	}
}

// round gathers what both sides say.
type round struct {
	i *Inspector
	d *dialog

	mu   sync.Mutex
	open int
	said said
}

// said is what a side says of a call: the worst of both counts.
type said uint8

const (
	isThere   said = iota
	isUnasked      // it could not be asked: our own tables are full
	isSilent
	isGone
)

// inquiry is the handler of one OPTIONS.
type inquiry struct {
	round *round
	once  sync.Once
}

// response implements clientHandler. Whatever else a side answers, it is there:
// 500 to a number of ours that it takes for old (RFC 3261 section 12.2.2), 405,
// 501.
func (p *inquiry) response(res *message.Message) {
	switch {
	case res.Status < 200:
	case res.Status == 481:
		p.heard(isGone)
	case res.Status == 408:
		p.heard(isSilent)
	default:
		p.heard(isThere)
	}
}

// failed implements clientHandler.
func (p *inquiry) failed(cause error) {
	if errors.Is(cause, errFull) {
		p.heard(isUnasked)
		return
	}
	p.heard(isSilent)
}

func (p *inquiry) heard(what said) {
	p.once.Do(func() {
		r := p.round
		r.mu.Lock()
		r.open--
		r.said = max(r.said, what)
		done, worst := r.open == 0, r.said
		r.mu.Unlock()
		if done {
			r.i.asked(r.d, worst)
		}
	})
}

// asked ends a call of which one side is gone, and else asks again later.
func (i *Inspector) asked(d *dialog, worst said) {
	d.mu.Lock()
	d.session.asking = false
	wait := i.bounds.again
	switch worst {
	case isThere:
		d.session.missed = 0
		wait = sessionInterval * time.Second
	case isSilent:
		d.session.missed++
	}
	lost := worst == isGone || d.session.missed >= ghostRounds
	d.session.until = i.now().Add(wait)
	d.mu.Unlock()
	if lost {
		i.finish(d, appliance.EndedLost)
	}
}

// finish ends an answered call from here: a BYE to either side. The dialog stays
// a while for a BYE that crosses ours.
func (i *Inspector) finish(d *dialog, why appliance.Ended) {
	d.mu.Lock()
	ended := d.over || d.call == nil || !d.confirmed
	d.over = true
	d.mu.Unlock()
	if ended {
		return
	}
	now := i.now()
	if why != "" {
		i.calls.because(d.call, why)
	}
	for to := range d.legs {
		bye, way, branch, err := i.own(d, to, "BYE", 1)
		if err != nil {
			continue
		}
		_, _ = i.txs.request(branch, bye, way, true, unheard{})
	}
	d.until(now.Add(i.bounds.cancelled))
	i.calls.leave(d.call, d, now)
}

// own writes a request inside a dialog as if the other side had sent it, and returns it
// with the way that it goes and its branch. ahead is how far its number is ahead of the highest that this side has sent: an OPTIONS
// uses none up, so that it never makes the next real request look old.
func (i *Inspector) own(d *dialog, to int, method string, ahead uint32) (out *message.Message, way flow, branch string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	leg, other := &d.legs[to], &d.legs[1-to]
	sip := i.current().SIP()
	if way, err = i.reach(&sip, leg.flow, leg.nextHop(), leg.who); err != nil {
		return nil, flow{}, "", err
	}
	uri, routes := pathTo(leg.target, leg.routes)
	out, branch = &message.Message{Method: method, URI: uri}, message.MagicCookie+"."+randomID(10)+".0"
	out.Add("Via", hop(way, branch))
	for _, route := range routes {
		out.Add("Route", route)
	}
	out.Add("Max-Forwards", strconv.Itoa(message.DefaultMaxForwards))
	out.Add("From", d.parties[1-to])
	out.Add("To", d.parties[to])
	out.Add("Call-ID", d.callID)
	out.Add("CSeq", message.CSeq{Number: other.cseq + ahead, Method: method}.String())
	other.cseq += ahead
	return out, way, branch, nil
}
