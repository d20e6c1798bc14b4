package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

var (
	attack = frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 100}.bytes()
	honest = frame{source: provider4, protocol: protoUDP, port: 5060, payload: 100}.bytes()
)

func TestGateOutlivesTheDaemon(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	w := l.plug()
	first, j := l.open("wan")
	l.wants(first, ModeNative, false)
	if !j.has("loaded the gate with an empty generation") || !j.has("wan attached in native mode") {
		t.Errorf("events %q", j.lines)
	}
	w.send(first, attack, appliance.ReasonNoRules, 3)
	check(t, first.swap(perimeter, "abcd"))
	w.send(first, attack, appliance.ReasonSIPSource, 5)
	check(t, first.Close())
	for range 7 { // nobody is there
		_, err := unix.Write(w.fd, attack)
		check(t, err)
	}
	second, j := l.open("wan")
	l.wants(second, ModeNative, true)
	if state := second.State(); state.Digest != "abcd" {
		t.Errorf("adopted generation %q", state.Digest)
	}
	if !j.has(`adopted the pinned gate with generation "abcd"`) || !j.has("wan adopted the link") {
		t.Errorf("events %q", j.lines)
	}
	w.send(second, honest, appliance.ReasonSIPAllowed, 2)
	if got := tallyOf(t, second, appliance.ReasonSIPSource); got != 12 {
		t.Errorf("counted %d drops, want 12", got)
	}
	if got := tallyOf(t, second, appliance.ReasonNoRules); got != 3 {
		t.Errorf("counted %d drops without rules, want 3: adoption let the generation go", got)
	}
	check(t, second.Detach())
	if _, err := os.Stat(l.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins are left: %v", err)
	}
	if out := l.run("ip", "link", "show", "wan"); strings.Contains(out, "xdp") {
		t.Errorf("the program is left: %s", out)
	}
}

func TestStateReadsTheLiveImage(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	g, _ := l.open("wan")
	if got := g.State().Digest; got != "" {
		t.Errorf("empty generation has digest %q", got)
	}
	check(t, g.swap(perimeter, "mine"))
	image, err := compileImage(perimeter, "another's")
	check(t, err)
	check(t, g.tray().publish(image)) // behind g's back
	if got := g.State().Digest; got != "another's" {
		t.Errorf("digest %q is remembered, not read", got)
	}
	if err := g.swap(rules.Guard{Sources: []rules.Source{{}}}, "bad"); err == nil {
		t.Error("swapped to a perimeter with a mistake")
	}
	if got := g.State().Digest; got != "another's" {
		t.Errorf("a mistake changed the generation to %q", got)
	}
	check(t, g.Swap(nil))
	if got := g.State().Digest; got != "" {
		t.Errorf("no rules have digest %q", got)
	}
	check(t, g.kernel.Generation.Delete(uint32(0)))
	if got := g.State(); got.Error != "" || got.Digest != "" {
		t.Errorf("an empty slot shows as %+v, want an empty generation", got)
	}
}

// A bridge has no XDP of its own.
func TestStackWhereTheDriverCant(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	l.run("ip", "link", "add", "name", "dsl", "type", "bridge")
	g, j := l.open("dsl")
	l.wants(g, ModeStack, false)
	if !j.has("dsl the driver takes no XDP program") {
		t.Errorf("events %q", j.lines)
	}
	check(t, g.Close())
	g, _ = l.open("dsl")
	l.wants(g, ModeStack, true)
}

// A driver may run one program for all of its ports and hide which one a packet
// came by. Whatever guards the interface, somebody always does.
func TestStackWhereTheDriverIsBlind(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	for _, stacked := range []bool{false, true, false} {
		c, mode := Config{Interfaces: []string{"wan"}, Dir: l.dir}, ModeNative
		if stacked {
			c.Stacked, mode = c.Interfaces, ModeStack
		}
		g, err := Open(c, func(appliance.Event) {})
		check(t, err)
		l.wants(g, mode, false)
		device, err := net.InterfaceByName("wan")
		check(t, err)
		if running, err := hookOf(device.Index); err != nil || (running == 0) != stacked {
			t.Errorf("stacked %v: program %d in the driver, %v", stacked, running, err)
		}
		check(t, g.Close())
	}
}

// The stack's hook must judge as the driver's does. The loopback has no native
// XDP and receives what is sent to it.
func TestStackDrops(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	l.run("ip", "link", "set", "lo", "up")
	w := l.plugInto("lo")
	g, _ := l.open("lo")
	l.wants(g, ModeStack, false)
	check(t, g.swap(perimeter, "abcd"))
	w.send(g, attack, appliance.ReasonSIPSource, 10)
	w.send(g, honest, appliance.ReasonSIPAllowed, 10)
}

func TestForeignProgramIsRefused(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	foreign := bare(t, "stranger", 2)
	device, err := net.InterfaceByName("wan")
	check(t, err)
	attached, err := link.AttachXDP(link.XDPOptions{Program: foreign, Interface: device.Index})
	check(t, err)
	info, err := foreign.Info()
	check(t, err)
	id, _ := info.ID()
	want := fmt.Sprintf("guard interface wan: a foreign XDP program holds the hook: stranger (id %d)", id)
	l.refuse(want, "wan")
	l.run("ip", "link", "add", "name", "dsl", "type", "bridge")
	g, _ := l.open("wan", "dsl")
	state := g.State()
	if got := state.Interfaces[0]; got.Error != want || got.Mode != "" {
		t.Errorf("state %+v", got)
	}
	if got := state.Interfaces[1]; got.Error != "" || got.Mode != ModeStack {
		t.Errorf("state %+v", got)
	}
	check(t, attached.Close())
}

// bare is a program of two instructions that returns an XDP action.
func bare(t testing.TB, name string, action int32) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         name,
		Type:         ebpf.XDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	check(t, err)
	t.Cleanup(func() { check(t, program.Close()) })
	return program
}

func TestMissingInterface(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	l.refuse("guard interface nope: no such interface", "nope")
	g, j := l.open("wan", "nope")
	state := g.State()
	if state.Interfaces[0].Error != "" || state.Interfaces[1].Error != "guard interface nope: no such interface" {
		t.Errorf("state %+v", state)
	}
	if !j.has("nope can't guard: guard interface nope: no such interface") {
		t.Errorf("events %q", j.lines)
	}
}

func TestConfigMistakes(t *testing.T) {
	for want, config := range map[string]Config{
		"interfaces: name at least one":  {Dir: "/sys/fs/bpf/x"},
		"interfaces: wan is named twice": {Dir: "/sys/fs/bpf/x", Interfaces: []string{"wan", "wan"}},
		`dir: "x" is not an absolute`:    {Dir: "x", Interfaces: []string{"wan"}},
		"is not on a BPF file system":    {Dir: t.TempDir(), Interfaces: []string{"wan"}},
		"holds a dot":                    {Dir: "/sys/fs/bpf/a.b", Interfaces: []string{"wan"}},
	} {
		_, err := Open(config, func(appliance.Event) {})
		if err == nil || !strings.Contains(err.Error(), want) || appliance.CodeOf(err) != appliance.CodeInvalid {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestInterfaceThatComesBack(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	g, _ := l.open("wan")
	check(t, g.swap(perimeter, "abcd"))
	l.run("ip", "link", "del", "wan")
	if got := l.wan(g); !strings.Contains(got.Error, "the interface is gone") {
		t.Errorf("state %+v", got)
	}
	check(t, g.Close())
	l.refuse("no such interface", "wan")
	l.run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "net", "netns", l.outside)
	g, j := l.open("wan")
	l.wants(g, ModeNative, false)
	if state := g.State(); state.Digest != "abcd" || !j.has("released interface") {
		t.Errorf("state %+v, events %q", state, j.lines)
	}
	// The same index again, as after a driver was reloaded.
	index := l.wan(g).Index
	l.run("ip", "link", "del", "wan")
	check(t, g.Close())
	l.run("ip", "link", "add", "name", "wan", "index", fmt.Sprint(index), "type", "veth", "peer", "name", "net", "netns", l.outside)
	g, _ = l.open("wan")
	l.wants(g, ModeNative, false)
}

func TestRenamedInterfaceIsAdopted(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	g, _ := l.open("wan")
	check(t, g.Close())
	l.run("ip", "link", "set", "wan", "down")
	l.run("ip", "link", "set", "wan", "name", "eth0.7")
	g, _ = l.open("eth0.7")
	l.wants(g, ModeNative, true)
}

func TestInterfaceNoLongerNamedIsReleased(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	l.run("ip", "link", "add", "name", "dsl", "type", "bridge")
	g, _ := l.open("wan", "dsl")
	check(t, g.Close())
	g, j := l.open("dsl")
	l.wants(g, ModeStack, true)
	if out := l.run("ip", "link", "show", "wan"); strings.Contains(out, "xdp") || !j.has("released interface") {
		t.Errorf("wan is still guarded: %s", out)
	}
}

func TestClosedGate(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	g, _ := l.open("wan")
	check(t, g.Close())
	check(t, g.Close())
	_, err := g.Tallies()
	for _, got := range []error{err, g.Swap(nil), g.Run(context.Background(), nil)} {
		if !errors.Is(got, errClosed) {
			t.Errorf("a closed gate says %v", got)
		}
	}
	if g.State().Error == "" {
		t.Error("a closed gate shows no error")
	}
}
