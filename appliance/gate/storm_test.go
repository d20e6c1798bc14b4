package gate

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/scripts/bench/yard"
)

var swaps = flag.Int("swaps", 20, "how many generations TestSwapStorm puts in force, under -packets packets")

// Nothing may pass or drop wrongly while generations are swapped: a flood of
// every kind crosses a wire onto the gate, and whatever else a generation says,
// it says the same of these packets. All ends are counted: what was sent, what
// the gate says of it, and what arrived behind it.
func TestSwapStorm(t *testing.T) {
	s := brew(t)
	s.rage(*packets, *swaps)
	t.Logf("%d swaps under %d packets", s.swapped.Load(), s.sent())
	for _, mistake := range s.mistakes() {
		t.Error(mistake)
	}
}

// BenchmarkSwapStorm is TestSwapStorm at full length.
func BenchmarkSwapStorm(b *testing.B) {
	s := brew(b)
	packets := setting(b, "STORM", 10_000_000)
	s.rage(packets, max(packets/10_000, 10))
	for _, mistake := range s.mistakes() {
		say("# swap storm: %s", mistake)
	}
	say("figure storm/wrong %d", s.wrong)
	say("raw storm/packets %d", s.sent())
	say("raw storm/swaps %d", s.swapped.Load())
}

// gust is one kind of packet in the storm.
type gust struct {
	name   string
	reason appliance.Reason // that the gate shall find
	frame  frame
	stream
	generator
	lost uint64 // on the wire
}

// sent is how many packets reached the gate. The generator counts them itself: a
// run that a signal interrupts has sent some, and begins again.
func (g *gust) sent() (count uint64) {
	g.Helper()
	check(g, g.ring.cursor.Lookup(uint32(0), &count))
	return count - g.lost
}

// storm is a gate in a box, the gusts that blow at it, and a counter behind it.
type storm struct {
	testing.TB
	*yard.Yard
	box     *yard.Box
	gate    *Gate
	gusts   []*gust
	behind  *ebpf.Map // packets that came through, by number of gust
	before  appliance.Tallies
	swapped atomic.Int64
	wrong   uint64
}

// calm is what each generation of a storm says; ports and lists of its own come on
// top.
func calm() rules.Guard {
	return rules.Guard{
		Ports: [rules.Services][]uint16{{5060, 5061}, {443, 8080}, {3478, 51820}},
		Sources: []rules.Source{
			{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Services: sip | http},
			{Prefix: netip.MustParsePrefix("2001:db8:1::/48"), Services: sip | http},
		},
		Feeds: []rules.Feed{{Name: "calm", List: feed.List{
			V4: []feed.Range4{{First: 70 << 24, Last: 71<<24 - 1}},
			V6: []feed.Range6{{First: feed.Address6{High: 0x2a01 << 48}, Last: feed.Address6{High: 0x2a02<<48 - 1, Low: 1<<64 - 1}}},
		}}},
	}
}

// Where the packets of a storm come from.
var quarters = map[string]netip.Prefix{
	"provider 4": netip.MustParsePrefix("203.0.113.0/24"), "provider 6": netip.MustParsePrefix("2001:db8:1::/48"),
	"stranger 4": netip.MustParsePrefix("60.0.0.0/8"), "stranger 6": netip.MustParsePrefix("2a00::/16"),
	"listed 4": netip.MustParsePrefix("70.0.0.0/8"), "listed 6": netip.MustParsePrefix("2a01::/16"),
}

// gusts are all kinds of a storm. Fragments come from few sources: the gate
// remembers some thousand packets.
func gusts() []*gust {
	var all []*gust
	add := func(from string, reason appliance.Reason, f frame) {
		for _, family := range []string{"4", "6"} {
			f := f
			f.source = quarters[from+" "+family].Addr()
			if fragmented := f.more || f.offset > 0; fragmented && family == "6" {
				word := f.offset << 3
				if f.more {
					word |= 1
				}
				f.chain, f.more, f.offset = []extension{{kind: extFragment, size: 8, word: word}}, false, 0
			}
			all = append(all, &gust{name: fmt.Sprintf("%s %s: %v", from, family, reason), reason: reason, frame: f})
		}
	}
	udp, tcp := frame{protocol: protoUDP, payload: 200}, frame{protocol: protoTCP, payload: 200}
	to := func(f frame, port uint16) frame { f.port = port; return f }
	add("provider", appliance.ReasonSIPAllowed, to(udp, 5060))
	add("stranger", appliance.ReasonSIPSource, to(udp, 5060))
	add("provider", appliance.ReasonHTTPAllowed, to(tcp, 443))
	add("stranger", appliance.ReasonHTTPSource, to(tcp, 443))
	add("stranger", appliance.ReasonOpenService, to(udp, 3478))
	add("listed", appliance.ReasonFeed, to(udp, 3478))
	add("stranger", appliance.ReasonNotGuarded, to(tcp, 40000))
	first, later := to(udp, 5061), frame{protocol: protoUDP, body: make([]byte, 200), offset: 26}
	first.more = true
	add("provider", appliance.ReasonSIPAllowed, first)
	add("provider", appliance.ReasonFragmentLater, later)
	add("stranger", appliance.ReasonSIPSource, first)
	add("stranger", appliance.ReasonFragmentDropped, later)
	return all
}

// brew prepares a storm.
func brew(tb testing.TB) *storm {
	tb.Helper()
	y := enterYard(tb)
	box, err := y.Box()
	check(tb, err)
	s := &storm{TB: tb, Yard: y, box: box, gusts: gusts()}
	check(tb, y.Within(box.Space, func() error {
		s.behind = countBehind(tb, box.Near)
		s.gate, err = Open(Config{Interfaces: []string{"wan"}, Dir: bpffs + "/storm"}, func(appliance.Event) {})
		return err
	}))
	tb.Cleanup(func() { check(tb, s.gate.Close()) })
	check(tb, s.gate.swap(calm(), "calm"))
	for i, g := range s.gusts {
		bytes := aimed(g.frame, yard.WAN4)
		bytes[0], bytes[senderByte] = 6, firstSender+byte(i) // to a host that is none: the stack answers nothing
		sources := make([]netip.Addr, 1<<12)
		if g.frame.more || g.frame.offset > 0 || g.frame.chain != nil {
			sources = sources[:1<<7]
		}
		var quarter netip.Prefix
		for _, one := range quarters {
			if one.Contains(g.frame.source) {
				quarter = one
			}
		}
		for n := range sources {
			sources[n] = scatter(quarter, n)
		}
		g.stream = newStream(tb, bytes, sources)
		g.generator = g.stream.to(tb, box.Far)
	}
	s.before, err = s.gate.Tallies()
	check(tb, err)
	return s
}

// scatter is an address of a network, the same for the same number.
func scatter(prefix netip.Prefix, n int) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	number := binary.BigEndian.AppendUint32(nil, uint32(n)*2654435761)
	for bit := prefix.Bits(); bit < min(8*len(bytes), prefix.Bits()+32); bit++ {
		at := bit - prefix.Bits()
		bytes[bit/8] |= number[at/8] >> (7 - at%8) & 1 << (7 - bit%8)
	}
	address, _ := netip.AddrFromSlice(bytes) // as long as it was
	return address
}

// senderByte is the last of the sender's hardware address, which no router looks
// at: it says which gust a packet belongs to. The devices have lower ones.
const (
	senderByte  = 11
	firstSender = 100
)

// countBehind counts what reaches the stack by an interface: a tap that takes
// nothing.
func countBehind(tb testing.TB, device int) *ebpf.Map {
	tb.Helper()
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Name: "behind", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 256})
	check(tb, err)
	tb.Cleanup(func() { check(tb, counts.Close()) })
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "behind", Type: ebpf.SocketFilter, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadAbs(senderByte, asm.Byte),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}})
	check(tb, err)
	tb.Cleanup(func() { check(tb, program.Close()) })
	tap, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	check(tb, err)
	tb.Cleanup(func() { check(tb, unix.Close(tap)) })
	check(tb, unix.SetsockoptInt(tap, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, program.FD()))
	everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	check(tb, unix.Bind(tap, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: device}))
	return counts
}

// rage blows until there have been so many packets and so many swaps, whichever
// takes longer.
func (s *storm) rage(packets, swaps int) {
	s.Helper()
	// A run is dear to begin, and the shorter the better mixed.
	gale := min(max(packets/len(s.gusts)/3, 64), 1<<14)
	stop, done := make(chan struct{}), make(chan error)
	go func() { done <- s.swapUntil(stop) }()
	for s.sent() < uint64(packets) || s.swapped.Load() < int64(swaps) {
		for _, g := range s.gusts {
			s.blow(g, gale)
		}
	}
	close(stop)
	check(s, <-done)
}

// blow sends packets of one kind. A kernel that is slow to poll loses some of them
// on the wire.
func (s *storm) blow(g *gust, packets int) {
	s.Helper()
	before, err := s.Lost(s.box)
	check(s, err)
	testRun(s, g.program, g.generator.frame, packets, liveFrames)
	after, err := s.Lost(s.box)
	check(s, err)
	g.lost += after - before
}

func (s *storm) sent() (sum uint64) {
	for _, g := range s.gusts {
		sum += g.sent()
	}
	return sum
}

// swapUntil puts one generation after another in force.
func (s *storm) swapUntil(stop chan struct{}) error {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := s.gate.swap(weather(n), fmt.Sprint(n)); err != nil {
			return err
		}
		s.swapped.Add(1)
	}
}

// weather is the perimeter of a generation: calm, and much that has nothing to do
// with the packets of the storm.
func weather(n int) rules.Guard {
	guard := calm()
	many := n * 37 % 500
	if n%20 == 10 {
		many = 1<<18 + n // which makes another kind of index
	}
	guard.Sources = slices.Concat(scattered(many, false), scattered(many%3000, true), guard.Sources)
	other := rules.Feed{Name: "other", List: feed.List{V4: singles(n * 53 % 4000)}}
	guard.Feeds = append(guard.Feeds, other)
	if n%2 == 1 {
		slices.Reverse(guard.Feeds)
	}
	if n%3 == 0 {
		guard.Ports[rules.ServiceSIP] = append(guard.Ports[rules.ServiceSIP], 6000+uint16(n%1000))
	}
	return guard
}

// mistakes compares all ends, once the last packet has been judged.
func (s *storm) mistakes() (all []string) {
	s.Helper()
	want := map[appliance.Reason]uint64{}
	for _, g := range s.gusts {
		want[g.reason] += g.sent()
	}
	s.settle()
	now, err := s.gate.Tallies()
	check(s, err)
	wrong := func(format string, got, want uint64, args ...any) {
		if got != want {
			s.wrong += max(got, want) - min(got, want)
			all = append(all, fmt.Sprintf(format, append(args, got, want)...))
		}
	}
	for reason, tally := range now {
		if chatter := reason == appliance.ReasonOtherProtocol || reason == appliance.ReasonNotIP; !chatter {
			wrong("%v: %d counted, want %d", tally.Packets-s.before[reason].Packets, want[reason], reason)
		}
	}
	for i, g := range s.gusts {
		through, expected := s.through(i), uint64(0)
		if g.reason.Verdict() == appliance.Allow {
			expected = g.sent()
		}
		wrong("%s: %d came through, want %d", through, expected, g.name)
	}
	return all
}

func (s *storm) through(i int) (count uint64) {
	s.Helper()
	check(s, s.behind.Lookup(uint32(firstSender+i), &count))
	return count
}

// settle waits until the gate has judged all that was sent.
func (s *storm) settle() {
	s.Helper()
	for lost := time.Now().Add(time.Minute); ; runtime.Gosched() {
		now, err := s.gate.Tallies()
		check(s, err)
		judged := uint64(0)
		for reason, tally := range now {
			if reason != appliance.ReasonOtherProtocol && reason != appliance.ReasonNotIP {
				judged += tally.Packets - s.before[reason].Packets
			}
		}
		if judged >= s.sent() {
			return
		}
		if time.Now().After(lost) {
			s.Fatalf("the wire lost packets: %d of %d were judged", judged, s.sent())
		}
	}
}
