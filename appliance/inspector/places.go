package inspector

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/guard"
)

// The table of connections. Whoever may connect at all may open many, and say
// nothing: none of them is to keep a telephone, the PBX or a provider out.

// guest is what is known of an open connection. The zero guest is one that the box
// opened.
type guest struct {
	block netip.Prefix // whose places it takes; valid where it was accepted
	kept  bool         // it is the PBX's or a trunk's
	since time.Time
}

var errEvicted = errors.New("its place was needed, and it had never carried a message")

// place implements visitors.
func (i *Inspector) place(remote netip.AddrPort) (block netip.Prefix, kept bool) {
	who := partyOf(i.current().Topology(), remote)
	return who.block(remote.Addr()), who.pbx || who.side == outside
}

// block is what counts as one source. Of the WAN one attacker holds a whole /64, while
// the LAN is often one, where each address is one telephone.
func (p party) block(addr netip.Addr) netip.Prefix {
	addr = addr.WithZone("")
	if p.side == inside && !p.remote {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	return guard.Block(addr)
}

// admit enters an accepted connection into the table where there is room, in all
// and for its source, or where another makes room that has never carried a message.
func (d *door) admit(stream *connection, remote netip.AddrPort) bool {
	next := guest{since: time.Now()}
	next.block, next.kept = d.inside.place(remote)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shuttered {
		return false
	}
	fellow := func(g guest) bool { return g.block == next.block }
	if d.accepted[next.block] >= d.bounds.connectionsPerSource && !d.evictLocked(fellow) {
		return false
	}
	most := d.bounds.connections
	if !next.kept {
		most -= d.bounds.connectionsKept
	}
	if d.guests >= most && !d.evictLocked(func(g guest) bool { return !g.kept }) {
		return false
	}
	d.streams[stream] = next
	d.accepted[next.block]++
	d.guests++
	return true
}

// evictLocked closes the oldest of some connections that has never carried a
// message. It reports false where there is none.
func (d *door) evictLocked(may func(guest) bool) bool {
	var oldest *connection
	for stream, g := range d.streams {
		if g.block.IsValid() && !stream.spoke.Load() && may(g) && (oldest == nil || g.since.Before(d.streams[oldest].since)) {
			oldest = stream
		}
	}
	if oldest == nil {
		return false
	}
	oldest.close(errEvicted)
	d.dismissLocked(oldest)
	d.inside.crowded()
	return true
}

// dismiss takes a connection that has ended off the table.
func (d *door) dismiss(stream *connection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dismissLocked(stream)
}

func (d *door) dismissLocked(stream *connection) {
	g, there := d.streams[stream]
	if !there {
		return // it was evicted
	}
	delete(d.streams, stream)
	if d.aliases[stream.alias] == stream {
		delete(d.aliases, stream.alias)
	}
	d.guests--
	if d.accepted[g.block]--; d.accepted[g.block] == 0 {
		delete(d.accepted, g.block)
	}
}

// greeting is an accepted connection, which must carry a message before long.
func (d *door) greeting(conn net.Conn) *connection {
	stream := newConnection(conn, d.bounds, d.bounds.queue)
	stream.ear, stream.greets = d.ear, time.Now().Add(d.bounds.greeting)
	return stream
}
