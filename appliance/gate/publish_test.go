package gate

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// deepGuard lets n single IPv6 addresses in, apart from each other, which takes
// pages of every kind.
func deepGuard(n int) rules.Guard {
	guard := perimeter
	guard.Sources = slices.Clone(perimeter.Sources)
	for i := range n {
		address := address6(number6(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::7", 0x8000+i>>16, i&0xffff))))
		guard.Sources = append(guard.Sources, rules.Source{Prefix: netip.PrefixFrom(address, 128), Services: sip})
	}
	return guard
}

// A daemon may be killed at any step of a publish: what it leaves in the half
// that is not in force is of no consequence for the generation that is filled
// into it next.
func TestHalfPublished(t *testing.T) {
	p := loadProgram(t)
	large, err := compileImage(deepGuard(40_000), "large")
	check(t, err)
	small, err := compileImage(deepGuard(3), "small")
	check(t, err)
	places := make([]bpf.GatePlace, 0, len(large.pages))
	for place := range large.pages {
		places = append(places, place)
	}
	slices.Sort(places)
	for cut := 0; cut <= len(places); cut += max(1, len(places)/5) {
		live, err := p.gate.tray().readHead()
		check(t, err)
		left := map[bpf.GatePlace][]byte{}
		for _, place := range places[:cut] {
			left[place] = large.pages[place]
		}
		check(t, p.gate.tray().putPages(pageHalf-min(live.Base, pageHalf), left))
		check(t, p.gate.enforce(small))
		read, err := p.gate.tray().readImage()
		check(t, err)
		p.judgesBy(small, read)
		for _, table := range []bpf.GateTable{bpf.GateTableTABLE_ALLOW, bpf.GateTableTABLE_FEED} {
			if got, want := read.runs6(table), small.runs6(table); !slices.Equal(got, want) {
				t.Errorf("after %d pages the kernel's table %d has %d runs, want %d", cut, table, len(got), len(want))
			}
		}
	}
}

// judgesBy asks for a few addresses that only the guard of many lets in, the
// kernel and the reading of it.
func (p program) judgesBy(want, read *image) {
	p.Helper()
	for _, text := range []string{"2001:db8:8000:1::7", "2001:db8:8000:2::8", "2001:db8:8000:2::7", "2001:db8:8000:9::7", "203.0.113.9", "198.51.100.66"} {
		address := netip.MustParseAddr(text)
		class, reason := want.classOf(bpf.GateTableTABLE_ALLOW, address), appliance.ReasonSIPSource
		if class&sip != 0 {
			reason = appliance.ReasonSIPAllowed
		}
		if _, got := p.judge(frame{source: address, protocol: protoUDP, port: 5060}.bytes()); got != reason {
			p.Errorf("%s is judged %v, want %v", text, got, reason)
		}
		if got := read.classOf(bpf.GateTableTABLE_ALLOW, address); got != class {
			p.Errorf("%s is read as of class %#x, want %#x", text, got, class)
		}
	}
}

// What can't give memory back has swapped all the same.
func TestSwapThatKeepsMemory(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	g, j := l.open("wan")
	check(t, g.swap(perimeter, "before"))
	whole := g.kernel.Pages
	defer func() { g.kernel.Pages = whole }()
	refusing, err := ebpf.LoadPinnedMap(l.pin(layout, bpf.GateMapPages), &ebpf.LoadPinOptions{ReadOnly: true})
	check(t, err)
	defer func() { check(t, refusing.Close()) }()
	g.kernel.Pages = refusing
	after := &image{head: bpf.GateImage{Magic: uint32(bpf.GateFormatFORMAT_MAGIC), Layout: uint32(bpf.GateFormatFORMAT_LAYOUT)}}
	copy(after.head.Digest[:], "after")
	if err := g.enforce(after); err != nil {
		t.Errorf("the generation is in force, and yet: %v", err)
	}
	if got := g.State().Digest; got != "after" || !j.has("memory of the generation before is kept") {
		t.Errorf("digest %q, events %q", got, j.lines)
	}
}

func TestBanForever(t *testing.T) {
	now := time.Now()
	if got := bootTime(now, now.Add(1<<63-1)); got < 1<<62 {
		t.Errorf("a ban for all time ends at %d", got)
	}
}
