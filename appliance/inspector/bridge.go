package inspector

import (
	"net/netip"
	"time"
)

// bridging are the headers by which a request names a dialog that it wants to
// take over, join or act on (RFC 3891, RFC 3911, RFC 4538).
var bridging = [...]string{"Replaces", "Join", "Target-Dialog"}

// heirsMax bounds who may take over one dialog by a transfer.
const heirsMax = 4

// bridged returns the dialogs that a request names. The boolean is false where
// one of them is not live here, or none of the sender's business.
func (i *Inspector) bridged(q *request) ([]*dialog, bool) {
	var all []*dialog
	for _, name := range bridging {
		if !q.Has(name) {
			continue
		}
		named, err := q.Dialog(name)
		if err != nil {
			return nil, false
		}
		d := i.dialogs.live(named)
		if d == nil || !d.mayTake(q, name) {
			return nil, false
		}
		all = append(all, d)
	}
	return all, true
}

// mayTake reports whether the sender of q may take a dialog over: one of its two
// sides, the PBX, whoever a transfer has named as its heir, and, from the LAN,
// anyone while it still rings, which is how a call is picked up. A trunk never
// names the call of another trunk.
func (d *dialog) mayTake(q *request, how string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	source := q.from.remote.Addr()
	for n := range d.legs {
		if d.legs[n].speaks(q.sip, source) {
			return true
		}
	}
	for _, heir := range d.heirs {
		if heir == source {
			return true
		}
	}
	return q.who.side == inside && (q.who.pbx || !d.confirmed && how == "Replaces")
}

// address is where one side was last heard from.
func (d *dialog) address(side int) netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.legs[side].flow.remote.Addr()
}

// bequeath lets the side that a REFER goes to take the replaced dialog over.
func (d *dialog) bequeath(to netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.heirs) < heirsMax {
		d.heirs = append(d.heirs, to)
	}
}

// inherited is the earliest end of the named dialogs: what comes out of a bridge
// lives no longer than the more restricted of its legs. It is zero where nothing
// is inherited.
func inherited(named []*dialog) (end time.Time) {
	for _, d := range named {
		d.mu.Lock()
		if !d.ends.IsZero() && (end.IsZero() || d.ends.Before(end)) {
			end = d.ends
		}
		d.mu.Unlock()
	}
	return end
}
