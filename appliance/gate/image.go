package gate

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// image is one generation as the gate reads it: the head and the pages that the
// head leads to (see bpf/gate.h). Its bytes depend on the rules alone, but for
// head.Base, which is where it is put.
type image struct {
	head  bpf.GateImage
	pages map[bpf.GatePlace][]byte // pageSize bytes each
}

const pageSize = int(bpf.GateGeometryPAGE_SIZE)

func (i *image) page(place bpf.GatePlace) []byte {
	if i.pages[place] == nil {
		i.pages[place] = make([]byte, pageSize)
	}
	return i.pages[place]
}

// compileImage projects a perimeter into an image. The same guard and digest
// always give the same bytes. digest names the rules, at most 16 bytes. A guard
// without ports gives an image that counts as no rules. Mistakes are
// appliance.Errors with CodeInvalid: among them, with both numbers, whatever
// does not fit.
func compileImage(guard rules.Guard, digest string) (*image, error) {
	i := &image{
		head: bpf.GateImage{
			Magic:  uint32(bpf.GateFormatFORMAT_MAGIC),
			Layout: uint32(bpf.GateFormatFORMAT_LAYOUT),
			Feeds:  uint32(len(guard.Feeds)),
			Media:  uint32(guard.Media),
		},
		pages: map[bpf.GatePlace][]byte{},
	}
	var mistakes appliance.Errors
	if copy(i.head.Digest[:], digest) < len(digest) {
		mistakes = append(mistakes, invalid("digest", "longer than %d bytes", len(i.head.Digest)))
	}
	mistakes = append(mistakes, compilePorts(&i.head, guard)...)
	mistakes = append(mistakes, compileLimits(&i.head, guard)...)
	mistakes = append(mistakes, i.compileTables(guard)...)
	if err := mistakes.Or(); err != nil {
		return nil, err
	}
	i.head.Pages = uint32(len(i.pages))
	return i, nil
}

func invalid(field, format string, args ...any) *appliance.Error {
	return &appliance.Error{Code: appliance.CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// compilePorts sets each port's service. The program indexes them by the port
// as a little-endian CPU reads it from the frame: see struct image in
// bpf/gate.h.
func compilePorts(head *bpf.GateImage, guard rules.Guard) (mistakes appliance.Errors) {
	owner := map[uint16]int{}
	for service, ports := range guard.Ports {
		if service == int(rules.ServiceTunnel) && len(ports) > 0 {
			mistakes = append(mistakes, invalid("ports", "tunnels have no ports"))
			continue
		}
		for _, port := range ports {
			if other, taken := owner[port]; taken && other != service {
				mistakes = append(mistakes, invalid("ports", "port %d serves two services", port))
				continue
			}
			owner[port] = service
			raw := bits.ReverseBytes16(port)
			head.Services[raw>>2] |= uint8(service+1) << (raw & 3 * 2)
		}
	}
	head.Ports = uint32(len(owner))
	return mistakes
}

// compileLimits turns token buckets into intervals (GCRA, ITU-T I.371).
func compileLimits(head *bpf.GateImage, guard rules.Guard) (mistakes appliance.Errors) {
	for service, limit := range guard.Limits {
		if limit.PerSecond == 0 {
			continue
		}
		if limit.Burst == 0 {
			mistakes = append(mistakes, invalid("limits", "a limit of %d packets a second needs a burst of at least 1", limit.PerSecond))
			continue
		}
		interval := uint64(time.Second) / uint64(limit.PerSecond) // 0, none, from 10^9 on
		head.Limits[service].Interval = interval
		head.Limits[service].Tolerance = uint64(limit.Burst-1) * interval
	}
	return mistakes
}

// compileTables lays out both tables of both families. Lines of the allowlist
// come first, so that a large feed can't move them.
func (i *image) compileTables(guard rules.Guard) appliance.Errors {
	if len(guard.Feeds) > rules.MaxFeeds {
		return appliance.Errors{invalid("feeds", "%d feeds; the gate holds %d", len(guard.Feeds), rules.MaxFeeds)}
	}
	mistakes := checkSources(guard.Sources)
	t := tables{image: i}
	mistakes = append(mistakes, t.addV4(bpf.GateTableTABLE_ALLOW, allowRuns(guard.Sources, span4))...)
	mistakes = append(mistakes, t.addV6(bpf.GateTableTABLE_ALLOW, allowRuns(guard.Sources, span6))...)
	if len(guard.Feeds) == 0 {
		return mistakes
	}
	mistakes = append(mistakes, t.addV4(bpf.GateTableTABLE_FEED, feedRuns(guard.Feeds, ranges4))...)
	return append(mistakes, t.addV6(bpf.GateTableTABLE_FEED, feedRuns(guard.Feeds, ranges6))...)
}

// tables is an image that is being filled.
type tables struct {
	*image
	lines int // how many it has
}

func checkSources(sources []rules.Source) (mistakes appliance.Errors) {
	for i, source := range sources {
		if !source.Prefix.IsValid() {
			mistakes = append(mistakes, invalid(fmt.Sprintf("sources[%d]", i), "not a network"))
		}
	}
	return mistakes
}

// allowRuns partitions one family by the allowlist. spanOf returns false for a
// network of the other one.
func allowRuns[A address[A]](sources []rules.Source, spanOf func(netip.Prefix) (span[A], bool)) []run[A] {
	count := 0
	for _, source := range sources {
		if _, ours := spanOf(source.Prefix); ours {
			count++
		}
	}
	return partition(func(yield func(span[A]) bool) {
		for _, source := range sources {
			one, ours := spanOf(source.Prefix)
			one.class = classOf(source)
			if ours && !yield(one) {
				return
			}
		}
	}, count)
}

// classOf is the class of a source's addresses.
func classOf(source rules.Source) uint8 {
	class := source.Services & (1<<rules.Services - 1)
	if source.Firm {
		class |= uint8(bpf.GateClassCLASS_FIRM)
	}
	return class
}

func span4(prefix netip.Prefix) (one span[addr4], ours bool) {
	if !prefix.Addr().Is4() {
		return one, false
	}
	one.first, one.last = bounds4(prefix)
	return one, true
}

func span6(prefix netip.Prefix) (one span[addr6], ours bool) {
	if !prefix.Addr().Is6() {
		return one, false
	}
	one.first, one.last = bounds6(prefix)
	return one, true
}

func bounds4(prefix netip.Prefix) (first, last addr4) {
	bytes := prefix.Addr().As4()
	mask := addr4(uint64(1)<<(32-prefix.Bits()) - 1)
	first = addr4(binary.BigEndian.Uint32(bytes[:])) &^ mask
	return first, first | mask
}

func bounds6(prefix netip.Prefix) (first, last addr6) {
	bytes := prefix.Addr().As16()
	length := prefix.Bits()
	high, low := hostMask(length), hostMask(length-64)
	first.High = binary.BigEndian.Uint64(bytes[:8]) &^ high
	first.Low = binary.BigEndian.Uint64(bytes[8:]) &^ low
	return first, addr6{High: first.High | high, Low: first.Low | low}
}

// hostMask has the bits of a 64-bit word that a prefix of that length leaves
// free; a length outside 0 to 64 counts as the nearer of the two.
func hostMask(length int) uint64 {
	if length <= 0 {
		return ^uint64(0)
	}
	return ^uint64(0) >> min(length, 64)
}

// feedRuns lays the feeds over each other in one family. A class is one plus a
// feed's number.
func feedRuns[A address[A]](feeds []rules.Feed, spans func(feed.List) (iter.Seq[span[A]], int)) []run[A] {
	var layers [][]run[A]
	for i, one := range feeds {
		all, count := spans(one.List)
		layers = append(layers, partition(func(yield func(span[A]) bool) {
			for one := range all {
				one.class = uint8(i + 1)
				if !yield(one) {
					return
				}
			}
		}, count))
	}
	return overlayAll(layers)
}

func ranges4(list feed.List) (iter.Seq[span[addr4]], int) {
	return func(yield func(span[addr4]) bool) {
		for _, r := range list.V4 {
			if !yield(span[addr4]{first: addr4(r.First), last: addr4(r.Last)}) {
				return
			}
		}
	}, len(list.V4)
}

func ranges6(list feed.List) (iter.Seq[span[addr6]], int) {
	return func(yield func(span[addr6]) bool) {
		for _, r := range list.V6 {
			if !yield(span[addr6]{first: addr6(r.First), last: addr6(r.Last)}) {
				return
			}
		}
	}, len(list.V6)
}
