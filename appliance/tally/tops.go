package tally

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Window is a span of time that ends now.
type Window int

// The windows.
const (
	FiveMinutes Window = iota
	OneHour
	OneDay
	windows // how many there are
)

// shape is how a window is cut into slots. One more slot is kept than fill it,
// because the latest is not full yet: a window is never shorter than its name.
type shape struct {
	name string
	slot time.Duration
	fill int
}

func (w Window) shape() shape {
	return [windows]shape{{"5m", time.Minute, 5}, {"1h", 5 * time.Minute, 12}, {"24h", time.Hour, 24}}[w]
}

// String returns the name: 5m, 1h or 24h.
func (w Window) String() string { return w.shape().name }

// Windows returns every window, the shortest first.
func Windows() []Window { return []Window{FiveMinutes, OneHour, OneDay} }

// Keys of each slot's sketches. A source or port with more than 1/256 of the
// packets of a slot is always seen. The 44 slots take about 4 MB when a flood
// has filled all of them.
const (
	sourceKeys = 256
	portKeys   = 256
)

// Port is a destination port.
type Port struct {
	Protocol string // udp, tcp or the IP protocol number
	Port     uint16
}

func (p Port) compare(q Port) int {
	return cmp.Or(cmp.Compare(p.Protocol, q.Protocol), cmp.Compare(p.Port, q.Port))
}

// slot counts what happened in one span of time.
type slot struct {
	number  int64 // of spans since the epoch
	sources *Sketch[netip.Prefix]
	ports   *Sketch[Port]
	reasons appliance.Tallies // exact
}

func newSlot(number int64) *slot {
	return &slot{number, NewSketch[netip.Prefix](sourceKeys), NewSketch[Port](portKeys), appliance.Tallies{}}
}

// ring holds the slots of one window, the latest last.
type ring struct {
	shape
	slots []*slot
}

// at returns the slot of a moment. A clock that was set back a little goes on in
// the latest slot; one that was set back further has the ring begin anew, as
// what it holds is from a time that has not come yet.
func (r *ring) at(now time.Time) *slot {
	number := now.UnixNano() / int64(r.slot)
	if len(r.slots) > 0 {
		latest := r.slots[len(r.slots)-1]
		if number <= latest.number && latest.number-number <= int64(r.fill) {
			return latest
		}
		if number < latest.number {
			r.slots = nil
		}
	}
	r.slots = append(r.slots, newSlot(number))
	r.forget(number)
	return r.slots[len(r.slots)-1]
}

// forget drops the slots that no longer belong to the window.
func (r *ring) forget(number int64) {
	r.slots = slices.DeleteFunc(r.slots, func(one *slot) bool { return number-one.number > int64(r.fill) })
}

// Tops ranks dropped packets. It is not safe for concurrent use.
type Tops struct {
	rings [windows]ring
	seen  appliance.Tallies // at the last Observe
}

// NewTops returns empty rankings.
func NewTops() *Tops {
	t := &Tops{}
	for _, window := range Windows() {
		t.rings[window].shape = window.shape()
	}
	return t
}

// Sample counts a dropped packet that the gate showed, for as many as it stands
// for.
func (t *Tops) Sample(now time.Time, drop appliance.Drop) {
	weight := max(drop.Weight, 1)
	for i := range t.rings {
		one := t.rings[i].at(now)
		if source := neighbourhood(drop.Source.Addr()); source.IsValid() {
			one.sources.Add(source, weight)
		}
		one.ports.Add(Port{drop.Protocol, drop.Destination.Port()}, weight)
	}
}

// neighbourhood is what one attacker holds: an IPv4 address, an IPv6 /64.
func neighbourhood(addr netip.Addr) netip.Prefix {
	bits := 64
	if addr = addr.Unmap(); addr.Is4() {
		bits = 32
	}
	prefix, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// Observe takes the gate's exact counts as they are now. What they rose by since
// the time before belongs to this moment; the first time is where counting
// begins, and so is the first after a time without any counts, when there was no
// gate. Counts that fell are those of a gate that was loaded anew.
func (t *Tops) Observe(now time.Time, tallies appliance.Tallies) {
	if len(t.seen) > 0 {
		for reason, tally := range tallies {
			if risen := rise(t.seen[reason], tally); risen != (appliance.Tally{}) {
				t.count(now, reason, risen)
			}
		}
	}
	t.seen = appliance.Tallies{}
	for reason, tally := range tallies {
		t.seen[reason] = tally
	}
}

func rise(from, to appliance.Tally) appliance.Tally {
	if to.Packets < from.Packets || to.Bytes < from.Bytes {
		return to
	}
	return appliance.Tally{Packets: to.Packets - from.Packets, Bytes: to.Bytes - from.Bytes}
}

func (t *Tops) count(now time.Time, reason appliance.Reason, risen appliance.Tally) {
	for i := range t.rings {
		one := t.rings[i].at(now)
		sum := one.reasons[reason]
		one.reasons[reason] = appliance.Tally{Packets: sum.Packets + risen.Packets, Bytes: sum.Bytes + risen.Bytes}
	}
}

// Ranking is what a window holds.
type Ranking struct {
	Since   time.Time // the window's true beginning
	Packets uint64    // dropped packets that the samples stand for
	Sources []Count[netip.Prefix]
	Ports   []Count[Port]
	Reasons appliance.Tallies // exact, of every packet and not of samples alone
}

// Rank returns at most limit sources and ports of a window, the most first.
func (t *Tops) Rank(now time.Time, window Window, limit int) Ranking {
	r := &t.rings[window]
	latest := r.at(now).number
	r.forget(latest)
	out := Ranking{Since: time.Unix(0, (latest-int64(r.fill))*int64(r.slot)).UTC(), Reasons: appliance.Tallies{}}
	var sources []*Sketch[netip.Prefix]
	var ports []*Sketch[Port]
	for _, one := range r.slots {
		sources, ports = append(sources, one.sources), append(ports, one.ports)
		out.Packets += one.ports.Total()
		for reason, tally := range one.reasons {
			sum := out.Reasons[reason]
			out.Reasons[reason] = appliance.Tally{Packets: sum.Packets + tally.Packets, Bytes: sum.Bytes + tally.Bytes}
		}
	}
	out.Sources = head(merge(sources, netip.Prefix.Compare), limit)
	out.Ports = head(merge(ports, Port.compare), limit)
	return out
}

func head[T any](list []T, limit int) []T { return list[:min(limit, len(list))] }
