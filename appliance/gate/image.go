package gate

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// compileImage projects a perimeter into the one value that the XDP program
// judges by. The same guard and digest always give the same bytes. digest names
// the rules, at most 16 bytes. A guard without ports gives an image that counts
// as no rules. Mistakes are appliance.Errors with CodeInvalid.
func compileImage(guard rules.Guard, digest string) (*bpf.GateImage, error) {
	image := &bpf.GateImage{
		Magic:  uint32(bpf.GateFormatFORMAT_MAGIC),
		Layout: uint32(bpf.GateFormatFORMAT_LAYOUT),
	}
	var mistakes appliance.Errors
	if copy(image.Digest[:], digest) < len(digest) {
		mistakes = append(mistakes, invalid("digest", "longer than %d bytes", len(image.Digest)))
	}
	mistakes = append(mistakes, compilePorts(image, guard)...)
	v4, v6, wrong := split(guard.Sources)
	mistakes = append(mistakes, wrong...)
	mistakes = append(mistakes, compileV4(image, partition(netip.IPv4Unspecified(), v4))...)
	mistakes = append(mistakes, compileV6(image, partition(netip.IPv6Unspecified(), v6))...)
	if err := mistakes.Or(); err != nil {
		return nil, err
	}
	return image, nil
}

func invalid(field, format string, args ...any) *appliance.Error {
	return &appliance.Error{Code: appliance.CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// compilePorts sets the port bitmaps. The program indexes them by the port as a
// little-endian CPU reads it from the frame: see struct image in bpf/gate.h.
func compilePorts(image *bpf.GateImage, guard rules.Guard) (mistakes appliance.Errors) {
	owner := map[uint16]int{}
	for service, ports := range guard.Ports {
		for _, port := range ports {
			if other, taken := owner[port]; taken && other != service {
				mistakes = append(mistakes, invalid("ports", "port %d serves two services", port))
				continue
			}
			owner[port] = service
			raw := bits.ReverseBytes16(port)
			image.PortBits[service][raw>>3] |= 1 << (raw & 7)
		}
	}
	image.Ports = uint32(len(owner))
	return mistakes
}

// split sorts sources by family and turns down those that are no networks.
func split(sources []rules.Source) (v4, v6 []rules.Source, mistakes appliance.Errors) {
	for i, source := range sources {
		switch {
		case !source.Prefix.IsValid():
			mistakes = append(mistakes, invalid(fmt.Sprintf("sources[%d]", i), "not a network"))
		case source.Prefix.Addr().Is4():
			v4 = append(v4, source)
		default:
			v6 = append(v6, source)
		}
	}
	return v4, v6, mistakes
}

func compileV4(image *bpf.GateImage, runs []run) appliance.Errors {
	if len(runs) > len(image.V4First) {
		return appliance.Errors{tooMany("sources.ipv4", len(runs), len(image.V4First))}
	}
	for i, r := range runs {
		first := r.first.As4()
		image.V4First[i] = binary.BigEndian.Uint32(first[:])
		image.V4Services[i] = r.services
	}
	image.V4Runs, image.V4Step = uint32(len(runs)), firstStep(len(runs))
	return nil
}

func compileV6(image *bpf.GateImage, runs []run) appliance.Errors {
	if len(runs) > len(image.V6First) {
		return appliance.Errors{tooMany("sources.ipv6", len(runs), len(image.V6First))}
	}
	for i, r := range runs {
		first := r.first.As16()
		image.V6First[i].High = binary.BigEndian.Uint64(first[:8])
		image.V6First[i].Low = binary.BigEndian.Uint64(first[8:])
		image.V6Services[i] = r.services
	}
	image.V6Runs, image.V6Step = uint32(len(runs)), firstStep(len(runs))
	return nil
}

func tooMany(field string, have, room int) *appliance.Error {
	return invalid(field, "the networks split the address space into %d ranges; the gate holds %d", have, room)
}

// firstStep returns half the smallest power of two that is at least n: where a
// binary search over n entries begins.
func firstStep(n int) uint32 {
	if n < 2 {
		return 0
	}
	return 1 << (bits.Len(uint(n-1)) - 1)
}

// run is a stretch of addresses with the same services. It ends where the next
// one begins.
type run struct {
	first    netip.Addr
	services uint8
}

// partition turns networks of one family, which may nest and repeat, into the
// fewest runs that cover the whole address space from lowest on. An address has
// the services of every network that it lies in.
func partition(lowest netip.Addr, sources []rules.Source) []run {
	sorted := slices.Clone(sources)
	for i := range sorted {
		sorted[i].Prefix = sorted[i].Prefix.Masked()
	}
	slices.SortFunc(sorted, func(a, b rules.Source) int { return outermostFirst(a.Prefix, b.Prefix) })
	s := sweep{runs: []run{{first: lowest}}}
	for _, source := range sorted {
		s.leaveBefore(source.Prefix.Addr())
		s.enter(source)
	}
	for len(s.open) > 0 {
		s.leave()
	}
	return merge(s.runs)
}

func outermostFirst(a, b netip.Prefix) int {
	if order := a.Addr().Compare(b.Addr()); order != 0 {
		return order
	}
	return a.Bits() - b.Bits()
}

// sweep walks the address space upwards. Networks either nest or are apart, so
// the ones that hold the current address are a stack.
type sweep struct {
	runs []run
	open []enclosing // innermost last
}

type enclosing struct {
	last     netip.Addr
	services uint8 // its own and those of all that enclose it
}

func (s *sweep) services() uint8 {
	if len(s.open) == 0 {
		return 0
	}
	return s.open[len(s.open)-1].services
}

func (s *sweep) enter(source rules.Source) {
	services := s.services() | source.Services&(1<<rules.Services-1)
	s.open = append(s.open, enclosing{last: lastOf(source.Prefix), services: services})
	s.runs = append(s.runs, run{first: source.Prefix.Addr(), services: services})
}

func (s *sweep) leaveBefore(address netip.Addr) {
	for len(s.open) > 0 && s.open[len(s.open)-1].last.Less(address) {
		s.leave()
	}
}

func (s *sweep) leave() {
	after := s.open[len(s.open)-1].last.Next()
	s.open = s.open[:len(s.open)-1]
	if after.IsValid() { // else the network reached the end of the space
		s.runs = append(s.runs, run{first: after, services: s.services()})
	}
}

// merge keeps the last run at each address and drops those that continue their
// predecessor.
func merge(runs []run) []run {
	var merged []run
	for i, r := range runs {
		replaced := i+1 < len(runs) && runs[i+1].first == r.first
		continues := len(merged) > 0 && merged[len(merged)-1].services == r.services
		if !replaced && !continues {
			merged = append(merged, r)
		}
	}
	return merged
}

// lastOf returns the highest address of a network.
func lastOf(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes) // as long as it was
	return last
}
