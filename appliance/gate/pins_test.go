package gate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// linkID identifies the kernel's link on an interface: while it stays the same
// there was no moment without a program.
func linkID(t *testing.T, g *Gate) link.ID {
	t.Helper()
	info, err := g.ports[0].link.Info()
	check(t, err)
	return info.ID
}

// layout is the folder of this layout's pins.
var layout = filepath.Base(pinsIn("/").layout())

// Whatever happens to the pins, the link stays and something guards.
func TestDamagedPins(t *testing.T) {
	for name, damage := range map[string]func(lab){
		"map lost":      func(l lab) { check(l, os.Remove(l.pin(layout, "tallies"))) },
		"layout lost":   func(l lab) { check(l, os.RemoveAll(l.pin(layout))) },
		"other layout":  func(l lab) { check(l, os.Rename(l.pin(layout), l.pin("v0"))) },
		"build aborted": func(l lab) { check(l, os.Rename(l.pin(layout), l.pin(layout+"_next"))) },
		"map changed": func(l lab) {
			check(l, os.Remove(l.pin(layout, "meters")))
			other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1})
			check(l, err)
			check(l, other.Pin(l.pin(layout, "meters")))
			check(l, other.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.enter(l.box)
			w := l.plug()
			g, _ := l.open("wan")
			before := linkID(t, g)
			check(t, g.swap(perimeter, "abcd"))
			check(t, g.Close())
			damage(l)
			g, _ = l.open("wan")
			l.wants(g, ModeNative, true)
			if linkID(t, g) != before {
				t.Error("the link was replaced")
			}
			if got := g.State().Digest; got != "" {
				t.Errorf("digest %q", got)
			}
			w.send(g, honest, appliance.ReasonNoRules, 3)
			check(t, g.swap(perimeter, "abcd"))
			check(t, g.Close())
			g, _ = l.open("wan")
			if got := g.State().Digest; got != "abcd" {
				t.Errorf("the new pins were not adopted: digest %q", got)
			}
			w.send(g, honest, appliance.ReasonSIPAllowed, 3)
			l.onlyPins("egress", "ingress", "links", "programs", "root", layout)
		})
	}
}

func (l lab) onlyPins(want ...string) {
	l.Helper()
	entries, err := os.ReadDir(l.dir)
	check(l, err)
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		l.Errorf("pins %v, want %v", got, want)
	}
}

// A daemon with other programs keeps the root, maps, generation and counters:
// only the slot changes, and no driver sees it.
func TestNewProgramKeepsTheMaps(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	w := l.plug()
	g, _ := l.open("wan")
	check(t, g.swap(perimeter, "abcd"))
	w.send(g, attack, appliance.ReasonSIPSource, 4)
	before, root := linkID(t, g), g.ports[0].running(t)
	// Stand in for an older program: one that passes everything, pinned as
	// another identity, and in the slot.
	specs, err := specify()
	check(t, err)
	older := bareFrags(t, "gate", 2)
	check(t, g.kernel.Programs.Put(uint32(0), older))
	check(t, older.Pin(l.pin(layout, "gate_older")))
	check(t, os.Remove(l.pin(layout, programPin(specs, "gate"))))
	if got := l.wan(g); !strings.Contains(got.Error, "dispatches to another program: gate") {
		t.Errorf("state %+v", got)
	}
	check(t, g.Close())
	g, _ = l.open("wan")
	l.wants(g, ModeNative, true)
	if linkID(t, g) != before || g.ports[0].running(t) != root || g.State().Digest != "abcd" {
		t.Errorf("state %+v", g.State())
	}
	w.send(g, attack, appliance.ReasonSIPSource, 4)
	if got := tallyOf(t, g, appliance.ReasonSIPSource); got != 8 {
		t.Errorf("counted %d, want 8", got)
	}
	if _, err := os.Stat(l.pin(layout, "gate_older")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the older program is still pinned: %v", err)
	}
}

// running is the program on the driver's hook.
func (p *port) running(t *testing.T) ebpf.ProgramID {
	t.Helper()
	id, err := hookOf(p.index)
	check(t, err)
	return id
}

// Without a program to dispatch to, the root shuts what is guarded by default
// and all that takes more than a look.
func TestEmptySlotIsShut(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	check(t, p.Programs.Delete(uint32(0)))
	fragmented := frame{source: provider4, protocol: protoUDP, port: 5060, more: true}
	chained := frame{source: provider6, protocol: protoUDP, port: 22, chain: []extension{{kind: extHop, size: 8}}}
	for _, c := range []struct {
		frame frame
		want  appliance.Verdict
	}{
		{frame{source: provider4, protocol: protoUDP, port: 5060}, appliance.Block},
		{frame{source: provider6, protocol: protoTCP, port: 443}, appliance.Block},
		{frame{source: provider6, protocol: protoTCP, port: 443, tags: []uint16{tagS, tagC}}, appliance.Block},
		{frame{source: stranger4, protocol: protoTCP, port: 40000}, appliance.Allow},
		{frame{source: stranger6, protocol: protoUDP, port: 40000, tags: []uint16{tagC}}, appliance.Allow},
		{frame{source: stranger4, protocol: protoICMP}, appliance.Allow},
		{frame{source: stranger4, protocol: 47}, appliance.Block},
		{fragmented, appliance.Block},
		{chained, appliance.Block},
	} {
		if got := p.verdict(c.frame.bytes()); got != c.want {
			t.Errorf("%+v: %v", c.frame, got)
		}
	}
}

func bareFrags(t testing.TB, name string, action int32) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         name,
		Type:         ebpf.XDP,
		AttachType:   ebpf.AttachXDP,
		Flags:        unix.BPF_F_XDP_HAS_FRAGS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	check(t, err)
	t.Cleanup(func() { check(t, program.Close()) })
	return program
}

// Two network namespaces may have interfaces with the same index.
func TestFolderOfAnotherNamespace(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	g, _ := l.open("wan")
	index := l.wan(g).Index
	l.setns("/run/netns/" + l.outside)
	l.run("ip", "link", "add", "name", "wan", "index", fmt.Sprint(index+100), "type", "bridge")
	l.setns("/run/netns/" + l.box)
	l.run("ip", "link", "add", "name", "far", "index", fmt.Sprint(index+100), "type", "bridge")
	far, err := Open(Config{Interfaces: []string{"far", "wan"}, Dir: l.dir}, func(appliance.Event) {})
	check(t, err)
	check(t, far.Close())
	l.setns("/run/netns/" + l.outside)
	if l.hasLinks() { // filters belong to their interface, and to no folder
		l.refuse("guards an interface of another network namespace", "wan")
	}
	l.setns("/run/netns/" + l.box)
	l.wants(g, ModeNative, false)
}
