package gate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// Whatever happens to an interface, a stranger doesn't get through and the
// provider does, with the same link where the interface is the same.
func TestInterfaceGoesThroughLife(t *testing.T) {
	w := newTown(t, false)
	g, _ := w.open("wan")
	check(t, g.swap(townGuard(), "abcd"))
	before := linkID(t, g)
	w.hears("at first", false)
	for _, c := range []struct{ name, do string }{
		{"down and up", "link set wan down; link set wan up"},
		{"renamed", "link set wan down; link set wan name uplink; link set uplink up"},
		{"enslaved to a bridge", "link add dsl type bridge; link set uplink master dsl; addr flush dev uplink; addr add 192.0.2.1/24 dev dsl; link set dsl up"},
		{"with another MTU", "link set uplink mtu 1400"},
		{"free again", "link del dsl; addr add 192.0.2.1/24 dev uplink"},
	} {
		for command := range strings.SplitSeq(c.do, "; ") {
			w.run("ip", strings.Fields(command)...)
		}
		w.hears(c.name, false)
		if state := w.wan(g); state.Error != "" || linkID(t, g) != before {
			t.Errorf("%s: state %+v", c.name, state)
		}
	}
	if note := w.wan(g).Note; note != "it is called uplink now" {
		t.Errorf("note %q", note)
	}
}

// A bond is guarded at its members: on the bond the members would need native
// XDP. Not every kernel has bonds.
func TestMemberOfABond(t *testing.T) {
	w := newTown(t, false)
	if out, err := exec.Command("ip", "link", "add", "bond7", "type", "bond", "mode", "active-backup").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: members of a bond: %s", out)
	}
	g, _ := w.open("wan")
	check(t, g.swap(townGuard(), "abcd"))
	before := linkID(t, g)
	for command := range strings.SplitSeq("link set wan down; link set wan master bond7; addr add 192.0.2.1/24 dev bond7; link set bond7 up", "; ") {
		w.run("ip", strings.Fields(command)...)
	}
	soon(t, "the bond has a carrier", func() bool {
		return strings.Contains(w.run("ip", "link", "show", "bond7"), "LOWER_UP")
	})
	w.hears("in a bond", false)
	if state := w.wan(g); state.Error != "" || linkID(t, g) != before {
		t.Errorf("state %+v", state)
	}
}

// Where names are swapped, the one that is named is to be guarded.
func TestNameOfAnotherInterface(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	g, _ := l.open("wan")
	l.run("ip", "link", "set", "wan", "down")
	l.run("ip", "link", "set", "wan", "name", "old")
	l.run("ip", "link", "add", "name", "wan", "type", "veth", "peer", "name", "net2", "netns", l.outside)
	if got := l.wan(g); !strings.Contains(got.Error, "another interface has the name now") {
		t.Errorf("state %+v", got)
	}
	check(t, g.Close())
	g, _ = l.open("wan")
	l.wants(g, ModeNative, false)
	for name, want := range map[string]bool{"old": false, "wan": true} {
		if got := strings.Contains(l.run("ip", "link", "show", name), "xdp"); got != want {
			t.Errorf("%s guarded: %v", name, got)
		}
		if got := l.filtered(name, egressHook(pinsIn(l.dir))); got != want {
			t.Errorf("%s watched: %v", name, got)
		}
	}
}

// filtered reports whether there is any program on a hook of the stack, asking
// tc(8), which is not of the gate, or the kernel where tc doesn't show links.
func (l lab) filtered(name string, hook stackHook) bool {
	l.Helper()
	device, err := net.InterfaceByName(name)
	check(l, err)
	where := map[uint32]string{netlink.HANDLE_MIN_INGRESS: "ingress", netlink.HANDLE_MIN_EGRESS: "egress"}[hook.parent]
	if strings.Contains(l.run("tc", "filter", "show", "dev", name, where), "bpf") {
		return true
	}
	return l.hasLinks() && l.programs(device.Index, hook.attach) > 0
}

func (l lab) programs(index int, attach ebpf.AttachType) int {
	l.Helper()
	found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: attach})
	check(l, err)
	return len(found.Programs)
}

// hasLinks reports whether the kernel has links for the stack's hooks (6.6).
func (l lab) hasLinks() bool {
	l.Helper()
	device, err := net.InterfaceByName("lo")
	check(l, err)
	_, err = link.QueryPrograms(link.QueryOptions{Target: device.Index, Attach: ebpf.AttachTCXEgress})
	return err == nil
}

// One of two interfaces goes and comes back; the other goes on, and so do the
// counters.
func TestSeveralInterfaces(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	second := func() { // in the kernel's own time: the peer of what was deleted goes with it
		l.run("ip", "link", "add", "lte", "type", "veth", "peer", "name", "tower", "netns", l.outside)
		l.run("ip", "link", "set", "lte", "up")
		l.run("ip", "-n", l.outside, "link", "set", "tower", "up")
	}
	second()
	w := l.plug()
	l.setns("/run/netns/" + l.outside)
	tower := l.plugInto("tower")
	l.setns("/run/netns/" + l.box)
	g, _ := l.open("wan", "lte")
	check(t, g.swap(perimeter, "abcd"))
	w.send(g, attack, appliance.ReasonSIPSource, 3)
	tower.send(g, attack, appliance.ReasonSIPSource, 3)
	l.run("ip", "link", "del", "lte")
	if state := g.State(); state.Interfaces[0].Error != "" || state.Interfaces[1].Error != "the interface is gone" {
		t.Errorf("state %+v", state)
	}
	w.send(g, attack, appliance.ReasonSIPSource, 3)
	second()
	l.setns("/run/netns/" + l.outside)
	tower = l.plugInto("tower")
	l.setns("/run/netns/" + l.box)
	next, _ := l.open("wan", "lte") // beside the first, as the daemon does
	check(t, g.Close())
	if state := next.State(); state.Digest != "abcd" || state.Interfaces[0].Error != "" || !state.Interfaces[0].Adopted || state.Interfaces[1].Error != "" {
		t.Errorf("state %+v", state)
	}
	tower.send(next, attack, appliance.ReasonSIPSource, 3)
	if got := tallyOf(t, next, appliance.ReasonSIPSource); got != 12 {
		t.Errorf("counted %d, want 12", got)
	}
}

// A daemon with other programs keeps what is remembered.
func TestUpgradeKeepsWhatIsRemembered(t *testing.T) {
	for _, mode := range []Mode{ModeNative, ModeStack} {
		t.Run(string(mode), func(t *testing.T) {
			w := newTown(t, mode == ModeStack)
			g, _ := w.open("wan")
			check(t, g.swap(townGuard(), "abcd"))
			stranger := netip.AddrPortFrom(strangerTown, 5060)
			_, err := w.phone.WriteToUDPAddrPort([]byte("REGISTER sip:x SIP/2.0\r\n\r\n"), stranger)
			check(t, err)
			w.hears("asked", true)
			banned := netip.MustParsePrefix("203.0.113.99/32")
			check(t, g.Ban(appliance.Ban{Source: banned, Until: time.Now().Add(time.Hour), Reason: "noise"}))
			replies := tallyOf(t, g, appliance.ReasonReply)
			specs, err := specify()
			check(t, err)
			for _, name := range programPins(specs) { // of another daemon, then
				check(t, os.Rename(w.pin(layout, name), w.pin(layout, strings.Split(name, "_")[0]+"_older")))
			}
			check(t, g.Close())
			g, _ = w.open("wan")
			w.wants(g, mode, true)
			w.hears("asked before the upgrade", true)
			if got := tallyOf(t, g, appliance.ReasonReply); replies == 0 || got != replies+1 {
				t.Errorf("%d replies before, %d after one more", replies, got)
			}
			bans, err := g.Bans()
			if err != nil || len(bans) != 1 || bans[0].Source != banned || bans[0].Reason != "noise" {
				t.Errorf("bans %+v, err %v", bans, err)
			}
			if left, err := filepath.Glob(w.pin(layout, "*_older")); err != nil || len(left) > 0 {
				t.Errorf("%v are left, err %v", left, err)
			}
			if state := g.State(); state.Digest != "abcd" {
				t.Errorf("state %+v", state)
			}
		})
	}
}

// --replace takes over a hook however somebody else holds it.
func TestForeignProgramIsTakenOver(t *testing.T) {
	for name, hold := range map[string]func(*town) (called string){
		"by a link": func(w *town) string {
			foreign := bare(t, "stranger", 2)
			held, err := link.AttachXDP(link.XDPOptions{Program: foreign, Interface: w.index("wan")})
			check(w, err)
			w.Cleanup(func() { check(w, held.Close()) })
			return "stranger"
		},
		"without a link": func(w *town) string {
			foreign := bare(t, "stranger", 2)
			check(w, netlink.LinkSetXdpFdWithFlags(w.link("wan"), foreign.FD(), unix.XDP_FLAGS_DRV_MODE))
			return "stranger"
		},
		"in the stack": func(w *town) string {
			foreign := bare(t, "stranger", 2)
			check(w, netlink.LinkSetXdpFdWithFlags(w.link("wan"), foreign.FD(), unix.XDP_FLAGS_SKB_MODE))
			return "stranger"
		},
		"by libxdp": func(w *town) string {
			out, err := exec.Command("xdp-loader", "load", "-m", "native", "wan", "/usr/lib/"+libraries()+"/bpf/xdpfilt_alw_udp.o").CombinedOutput()
			if err != nil {
				w.Skipf("NOT TESTED: libxdp's dispatcher: %v: %s", err, out)
			}
			id, err := hookOf(w.index("wan"))
			check(w, err)
			w.Logf("libxdp put %s there", nameOfProgram(id)) // xdp_dispatcher where the kernel has what that needs
			return nameOfProgram(id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, false)
			called := hold(w)
			w.refuse("guard interface wan: a foreign XDP program holds the hook: "+called+" (id ", "wan")
			if w.filtered("wan", ingressHook(pinsIn(w.dir))) {
				t.Error("the refused interface was guarded in the stack, behind the program that passes what it likes")
			}
			j := &journal{}
			g, err := Open(Config{Interfaces: []string{"wan"}, Dir: w.dir, Replace: true}, j.report)
			check(t, err)
			t.Cleanup(func() { check(t, g.Close()) })
			w.wants(g, ModeNative, false)
			if !j.has("wan took the hook over from a foreign XDP program: " + called) {
				t.Errorf("events %q", j.lines)
			}
			check(t, g.swap(townGuard(), "abcd"))
			w.hears("taken over", false)
		})
	}
}

func libraries() string {
	return map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
}

func (w *town) link(name string) netlink.Link {
	w.Helper()
	device, err := netlink.LinkByName(name)
	check(w, err)
	return device
}

func (w *town) index(name string) int { w.Helper(); return w.link(name).Attrs().Index }

// Where the BPF file system isn't mounted, it is.
func TestMountsTheFileSystem(t *testing.T) {
	l := newLab(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with its namespaces
		done <- func() error {
			l.setns("/run/netns/" + l.box)
			if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			for unix.Unmount(bpffs, unix.MNT_DETACH) == nil {
			}
			if onBPF(bpffs) {
				return errors.New("it is still mounted")
			}
			g, err := Open(Config{Interfaces: []string{"wan"}, Dir: l.dir}, func(appliance.Event) {})
			if err != nil {
				return err
			}
			if state := g.State(); !onBPF(l.dir) || state.Interfaces[0].Error != "" {
				return fmt.Errorf("state %+v", state)
			}
			var stat unix.Stat_t
			if err := unix.Stat(bpffs, &stat); err != nil || stat.Mode&0o777 != 0o700 {
				return fmt.Errorf("mode %o, err %w", stat.Mode, err)
			}
			return g.Detach()
		}()
	}()
	check(t, <-done)
}

// An interface is shut even where what leaves can't be watched.
func TestWayOutIsTaken(t *testing.T) {
	w := newTown(t, false)
	if !w.crowd("wan") { // a kernel without links for tc
		w.run("tc", "qdisc", "add", "dev", "wan", "ingress")
	}
	g, j := w.open("wan")
	check(t, g.swap(townGuard(), "abcd"))
	if state := w.wan(g); state.Mode != ModeNative || !strings.Contains(state.Error, "replies to guarded ports are lost, since the way out is not watched") {
		t.Errorf("state %+v", state)
	}
	if !j.has("wan can't watch the way out") {
		t.Errorf("events %q", j.lines)
	}
	w.hears("unwatched", false)
}

// crowd puts as many programs on the way out as it takes.
func (w *town) crowd(name string) bool {
	w.Helper()
	for {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type:         ebpf.SchedCLS,
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
			License:      "Dual BSD/GPL",
		})
		check(w, err)
		held, err := link.AttachTCX(link.TCXOptions{Interface: w.index(name), Program: program, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			check(w, program.Close())
			return !errors.Is(err, ebpf.ErrNotSupported)
		}
		w.Cleanup(func() { check(w, errors.Join(held.Close(), program.Close())) })
	}
}

// Nothing of the gate stays where it was taken off, in whatever way and mode.
func TestNothingIsLeft(t *testing.T) {
	for name, take := range map[string]func(l lab, g *Gate) error{
		"detached": func(_ lab, g *Gate) error { return g.Detach() },
		"removed":  func(l lab, g *Gate) error { return errors.Join(g.Close(), Remove(l.dir)) },
		"unnamed": func(l lab, g *Gate) error {
			l.run("ip", "link", "add", "other", "type", "veth", "peer", "name", "end")
			check(l, g.Close())
			next, _ := l.open("other")
			for _, hook := range []stackHook{ingressHook(pinsIn(l.dir)), egressHook(pinsIn(l.dir))} {
				if pinned := pinnedIndexes(hook.pins); len(pinned) > 1 {
					l.Errorf("pins %v", pinned)
				}
			}
			return next.Close()
		},
	} {
		for _, mode := range []Mode{ModeNative, ModeStack} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				w := newTown(t, mode == ModeStack)
				g, _ := w.open("wan")
				w.wants(g, mode, false)
				in, out := ingressHook(pinsIn(w.dir)), egressHook(pinsIn(w.dir))
				if !w.filtered("wan", out) || w.filtered("wan", in) != (mode == ModeStack) {
					t.Fatal("this test doesn't see the programs")
				}
				check(t, take(w.lab, g))
				if w.filtered("wan", out) || w.filtered("wan", in) || strings.Contains(w.run("ip", "link", "show", "wan"), "xdp") {
					t.Errorf("something is left:\n%s%s", w.run("ip", "link", "show", "wan"), w.run("tc", "filter", "show", "dev", "wan", "egress"))
				}
				if _, err := os.Stat(w.dir); name != "unnamed" && !errors.Is(err, os.ErrNotExist) {
					t.Errorf("pins are left: %v", err)
				}
			})
		}
	}
}

func TestInterpreted(t *testing.T) {
	for content, want := range map[string]bool{"0\n": true, "1\n": false, "2\n": false} {
		proc := t.TempDir()
		check(t, os.MkdirAll(filepath.Join(proc, "sys/net/core"), 0o700))
		check(t, os.WriteFile(filepath.Join(proc, "sys/net/core/bpf_jit_enable"), []byte(content), 0o600))
		if got := Interpreted(proc); got != want {
			t.Errorf("%q: %v", content, got)
		}
	}
	if Interpreted(t.TempDir()) {
		t.Error("interpreted where nothing tells")
	}
}

func TestTooOldInWords(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-30-amd64": "",
		"6.18.44":        "",
		"10.0":           "",
		"5.15.0-91":      "kernel 5.15.0-91 is too old, the gate needs Linux 6.1: it lacks frames in more than one buffer (xdp.frags), a verifier that follows the program's bounds",
		"5.4.0":          "it lacks links that outlive the daemon (bpf_link for XDP), the ring buffer that samples come by, atomic operations on maps, frames",
		"6.0.3":          "it lacks a verifier that follows the program's bounds",
		"unheard":        `read kernel version "unheard"`,
	} {
		err := missingIn(release)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", release, err, want)
		}
	}
}
