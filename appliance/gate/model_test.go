package gate

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// randomSources returns networks of one family: short and long ones, crowded
// into few places so that they nest, touch and repeat.
func randomSources(random *rand.Rand, v6 bool, n int) (sources []rules.Source) {
	for range n {
		sources = append(sources, rules.Source{
			Prefix:   randomPrefix(random, v6),
			Services: uint8(random.IntN(5)), // none, either, both, and a bit that means nothing
		})
	}
	return sources
}

func randomPrefix(random *rand.Rand, v6 bool) netip.Prefix {
	bytes := make([]byte, 4)
	if v6 {
		bytes = make([]byte, 16)
	}
	for i := range bytes {
		bytes[i] = []byte{0, 0, 1, 128, 255, byte(random.Uint32())}[random.IntN(6)]
	}
	address, _ := netip.AddrFromSlice(bytes)
	length := random.IntN(8*len(bytes) + 1)
	if random.IntN(4) == 0 {
		length = 8*len(bytes) - random.IntN(3)
	}
	return netip.PrefixFrom(address, length).Masked()
}

func randomGuard(random *rand.Rand) rules.Guard {
	var guard rules.Guard
	if random.IntN(20) == 0 {
		return guard
	}
	for port := range randomPorts(random) {
		service := random.IntN(int(rules.Services))
		guard.Ports[service] = append(guard.Ports[service], port)
	}
	for _, ports := range guard.Ports {
		slices.Sort(ports)
	}
	guard.Sources = append(randomSources(random, false, random.IntN(12)), randomSources(random, true, random.IntN(12))...)
	if random.IntN(10) == 0 {
		guard.Sources = append(guard.Sources, scattered(random.IntN(8000), random.IntN(2) == 0)...)
	}
	return guard
}

func randomPorts(random *rand.Rand) map[uint16]bool {
	ports := map[uint16]bool{0: random.IntN(2) == 0, 65535: true}
	for _, port := range rules.StandardPorts() {
		if random.IntN(3) > 0 {
			ports[port] = true
		}
	}
	for range random.IntN(6) {
		ports[uint16(random.Uint32())] = true
	}
	return ports
}

// traffic makes frames that are near the decisions of one perimeter.
type traffic struct {
	*rand.Rand
	addresses []netip.Addr
	ports     []uint16
}

func trafficNear(random *rand.Rand, guard rules.Guard) traffic {
	near := guard.Sources[:min(len(guard.Sources), 200)]
	tr := traffic{Rand: random, addresses: append(edges(near), stranger4, stranger6)}
	for _, port := range slices.Concat(rules.StandardPorts(), guard.Ports[0], guard.Ports[1]) {
		tr.ports = append(tr.ports, port, port, port-1, port+1, port<<8|port>>8)
	}
	return tr
}

func (tr traffic) frame() []byte {
	f := frame{
		source:   tr.addresses[tr.IntN(len(tr.addresses))],
		protocol: []byte{protoUDP, protoUDP, protoTCP, protoTCP, protoICMP, byte(tr.Uint32())}[tr.IntN(6)],
		port:     tr.ports[tr.IntN(len(tr.ports))],
		payload:  tr.IntN(40),
		padding:  tr.IntN(3) * tr.IntN(20),
		more:     tr.IntN(8) == 0,
	}
	for range max(0, tr.IntN(6)-2) {
		f.tags = append(f.tags, []uint16{tagC, tagS}[tr.IntN(2)])
	}
	if tr.IntN(8) == 0 {
		f.offset = uint16(tr.IntN(4))
	}
	if tr.IntN(3) == 0 {
		f.options = 4 * tr.IntN(11)
	}
	for range max(0, tr.IntN(14)-4) {
		f.chain = append(f.chain, tr.extension())
	}
	return tr.spoil(f.bytes())
}

func (tr traffic) extension() extension {
	e := extension{
		kind: []byte{extHop, extDest, extRouting, extAH, extFragment, 135, 139, 140}[tr.IntN(8)],
		size: 8 * (1 + tr.IntN(4)),
	}
	if e.kind == extFragment {
		e.size = 8
		e.word = []uint16{0, 0, 1, 0, 1 << 3, 2<<3 | 1, 6}[tr.IntN(7)]
	}
	return e
}

// spoil leaves half of the frames whole and mistreats the others.
func (tr traffic) spoil(out []byte) []byte {
	if tr.IntN(2) == 0 {
		return out
	}
	for range 1 + tr.IntN(3) {
		// Headers are where it hurts: the address fields would only miss the policy.
		at := 12 + tr.IntN(min(len(out)-12, 64))
		switch tr.IntN(3) {
		case 0:
			out[at] ^= 1 << tr.IntN(8)
		case 1:
			out[at] = byte(tr.Uint32())
		case 2:
			out[at] += byte(tr.IntN(5)) - 2
		}
	}
	if tr.IntN(4) == 0 {
		out = out[:etherHeader+tr.IntN(len(out)-etherHeader+1)]
	}
	return out
}

// batch is how many frames are run between two readings of the counters.
const batch = 250

// TestKernelAgreesWithModel runs random frames under random perimeters through
// the kernel and through rules.Guard.Judge: 300,000 in a normal run.
func TestKernelAgreesWithModel(t *testing.T) {
	p := loadProgram(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	reached := map[appliance.Reason]int{}
	for range 150 {
		guard := randomGuard(random)
		p.enforce(guard)
		tr := trafficNear(random, guard)
		for range 8 {
			p.compare(guard, tr, reached)
		}
	}
	for _, reason := range appliance.Reasons() {
		if reason < appliance.FirstCallReason && reached[reason] < 100 {
			t.Errorf("only %d frames reached %v", reached[reason], reason)
		}
	}
	t.Logf("reached %v", reached)
}

// compare judges one batch by both and compares each verdict and, by the
// counters, all reasons. Where they differ it finds the frame to blame.
func (p program) compare(guard rules.Guard, tr traffic, reached map[appliance.Reason]int) {
	p.Helper()
	want := p.tallies()
	frames := make([][]byte, batch)
	for i := range frames {
		frames[i] = tr.frame()
		verdict, reason := guard.Judge(frames[i])
		if got := p.verdict(frames[i]); got != verdict {
			p.Errorf("kernel says %v, model %v (%v) of %s", got, verdict, reason, hex.EncodeToString(frames[i]))
		}
		tally := want[reason]
		want[reason] = appliance.Tally{Packets: tally.Packets + 1, Bytes: tally.Bytes + uint64(len(frames[i]))}
		reached[reason]++
	}
	got := p.tallies()
	for reason := range want {
		if got[reason] == want[reason] {
			continue
		}
		for _, frame := range frames {
			_, model := guard.Judge(frame)
			if _, kernel := p.judge(frame); kernel != model {
				p.Fatalf("kernel says %v, model %v of %s under %+v", kernel, model, hex.EncodeToString(frame), guard)
			}
		}
		p.Fatalf("%v was counted as %v, want %v, but every frame alone agrees", reason, got[reason], want[reason])
	}
}

// TestKernelLooksUpEveryEdge asks for both sides of every boundary of full
// tables.
func TestKernelLooksUpEveryEdge(t *testing.T) {
	p := loadProgram(t)
	guard := rules.Guard{Ports: perimeter.Ports, Sources: append(scattered(8191, false), scattered(8191, true)...)}
	p.enforce(guard)
	for i, source := range guard.Sources {
		if i%8 != 0 && i%8191 > 8 {
			continue
		}
		for _, address := range edges([]rules.Source{source}) {
			want := appliance.Verdict(0)
			if source.Prefix.Contains(address) {
				want = appliance.Allow
			}
			f := frame{source: address, protocol: protoUDP, port: 5060}
			if got := p.verdict(f.bytes()); got != want {
				t.Fatalf("%v is judged %v, want %v", address, got, want)
			}
		}
	}
}
