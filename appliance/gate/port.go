package gate

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// port is one WAN interface. err says why it is not guarded.
type port struct {
	name    string
	index   int
	link    link.Link // in the driver; nil in the stack
	adopted bool
	note    string // what a native attachment failed of, where the stack's had to do
	deaf    error  // why the way out could not be watched
	err     error
}

func (p *port) close() error {
	if p.link == nil {
		return nil
	}
	return p.link.Close()
}

func (p *port) mode() Mode {
	if p.link == nil {
		return ModeStack
	}
	return ModeNative
}

// guardAll attaches the gate to every interface, then releases interfaces that
// are no longer named. It fails only if none is guarded.
func (g *Gate) guardAll(pins pins) error {
	for _, dir := range []string{pins.links(), pins.ingress(), pins.egress()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create pin folder: %w", err)
		}
	}
	var lost []error
	for _, name := range g.config.Interfaces {
		p := &port{name: name}
		if p.err = g.guard(p, pins); p.err != nil {
			lost = append(lost, p.err)
			g.event(name, "can't guard: %v", p.err)
		}
		g.ports = append(g.ports, p)
	}
	if len(lost) == len(g.ports) {
		return errors.Join(lost...)
	}
	return g.release(pins)
}

func (g *Gate) guard(p *port, pins pins) error {
	device, err := net.InterfaceByName(p.name)
	if err != nil {
		return fmt.Errorf("guard interface %s: no such interface", p.name)
	}
	p.index = device.Index
	if err := framed(p.index); err != nil {
		return fmt.Errorf("guard interface %s: %w", p.name, err)
	}
	if err := g.guardIndex(p, pins); err != nil {
		return fmt.Errorf("guard interface %s: %w", p.name, err)
	}
	return nil
}

// guardIndex watches the way out first: a flow that begins before the way in is
// shut must be known by then. Where it can't, replies to guarded ports are lost,
// but nobody gets in: an unguarded interface would be worse.
func (g *Gate) guardIndex(p *port, pins pins) error {
	if _, p.deaf = egressHook(pins).put(p.index, g.kernel.Egress); p.deaf != nil {
		g.event(p.name, "can't watch the way out: %v", p.deaf)
	}
	stack := ingressHook(pins)
	pin := filepath.Join(pins.links(), strconv.Itoa(p.index))
	if slices.Contains(g.config.Stacked, p.name) {
		return g.guardInStack(p, pin, stack)
	}
	found, err := link.LoadPinnedLink(pin, nil)
	if err == nil {
		adopted, err := g.adoptLink(p, found)
		if err != nil {
			return err
		}
		if adopted { // a daemon that died while it attached may have left both
			return stack.take(p.index)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		g.event(p.name, "the pinned link can't be opened: %v", err)
	}
	_ = os.Remove(pin) // damaged, or left by a deleted interface
	return g.attach(p, pin, stack)
}

// guardInStack leaves the driver's hook only once the stack's holds the gate.
func (g *Gate) guardInStack(p *port, pin string, stack stackHook) error {
	p.note = "the driver runs one XDP program for all of its ports, the LAN's too, and hides from it which one a packet came by"
	if err := g.attachStack(p, stack); err != nil {
		return err
	}
	if _, err := os.Stat(pin); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return g.releaseLink(pin, p.index)
}

// adoptLink takes over a pinned link. It returns false for the husk that a
// deleted interface leaves behind. A link whose program isn't on the interface
// guards another one with the same index, in another network namespace.
func (g *Gate) adoptLink(p *port, found link.Link) (bool, error) {
	info, err := found.Info()
	if err != nil || info.XDP() == nil || info.XDP().Ifindex != uint32(p.index) {
		return false, found.Close()
	}
	running, err := hookOf(p.index)
	if err == nil && running != info.Program {
		err = errElsewhere
	}
	if err != nil {
		return false, errors.Join(err, found.Close())
	}
	own, err := programID(g.kernel.Root)
	if err == nil && own != info.Program {
		err = found.Update(g.kernel.Root)
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("update link: %w", err), found.Close())
	}
	p.link, p.adopted = found, true
	g.event(p.name, "adopted the link")
	return true, nil
}

// attach puts the gate on an interface whose driver's hook holds nothing of
// ours.
func (g *Gate) attach(p *port, pin string, stack stackHook) error {
	if err := g.clearHook(p); err != nil {
		return err
	}
	native, err := link.AttachXDP(link.XDPOptions{Program: g.kernel.Root, Interface: p.index, Flags: link.XDPDriverMode})
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EPERM) {
		return err
	}
	if err != nil {
		p.note = "the driver takes no XDP program: " + err.Error()
		return g.attachStack(p, stack)
	}
	if err := native.Pin(pin); err != nil {
		return errors.Join(fmt.Errorf("pin link: %w", err), native.Close())
	}
	p.link = native
	g.event(p.name, "attached in %s mode", ModeNative)
	return stack.take(p.index) // it had to do until now
}

func (g *Gate) clearHook(p *port) error {
	running, err := hookOf(p.index)
	switch {
	case err != nil || running == 0:
		return err
	case !g.config.Replace:
		return foreign(running)
	}
	name := nameOfProgram(running)
	if err := evict(p.index, running); err != nil {
		return errors.Join(foreign(running), err)
	}
	g.event(p.name, "took the hook over from a foreign XDP program: %s (id %d)", name, running)
	return nil
}

func (g *Gate) attachStack(p *port, stack stackHook) error {
	adopted, err := stack.put(p.index, g.kernel.Ingress)
	if err != nil {
		return errors.Join(errors.New(p.note), err)
	}
	if p.adopted = adopted; adopted {
		g.event(p.name, "adopted the attachment in %s mode", ModeStack)
		return nil
	}
	g.event(p.name, "%s", p.note)
	g.event(p.name, "attached in %s mode", ModeStack)
	return nil
}

// release detaches the gate from interfaces that it no longer guards. A link
// that belongs to another network namespace is left alone.
func (g *Gate) release(pins pins) error {
	for _, index := range pinnedIndexes(pins.links()) {
		if g.guards(index) {
			continue
		}
		if err := g.releaseLink(filepath.Join(pins.links(), strconv.Itoa(index)), index); err != nil {
			return err
		}
	}
	for _, hook := range []stackHook{ingressHook(pins), egressHook(pins)} {
		for _, index := range pinnedIndexes(hook.pins) {
			if g.guards(index) {
				continue
			}
			if err := hook.take(index); err != nil {
				return err
			}
		}
	}
	released, err := pins.dropFilters(g.guards)
	for _, index := range released {
		g.event("", "released interface %d", index)
	}
	return err
}

func pinnedIndexes(dir string) (indexes []int) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if index, err := strconv.Atoi(entry.Name()); err == nil {
			indexes = append(indexes, index)
		}
	}
	return indexes
}

func (g *Gate) guards(index int) bool {
	for _, p := range g.ports {
		if p.index == index {
			return true
		}
	}
	return false
}

func (g *Gate) releaseLink(pin string, index int) error {
	stale, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return fmt.Errorf("open link %d: %w", index, err)
	}
	info, err := stale.Info()
	if err := errors.Join(err, stale.Close()); err != nil {
		return fmt.Errorf("read link %d: %w", index, err)
	}
	husk := info.XDP() != nil && info.XDP().Ifindex == 0
	if !husk && !holds(index, info.Program) {
		return nil
	}
	if err := unpin(pin); err != nil {
		return fmt.Errorf("unpin link %d: %w", index, err)
	}
	g.event("", "released interface %d", index)
	return nil
}

// verify checks that the gate still runs on the interface, and that it is still
// the one of that name.
func (g *Gate) verify(p *port, pins pins) error {
	if _, err := net.InterfaceByIndex(p.index); err != nil {
		return errors.New("the interface is gone")
	}
	if named, err := net.InterfaceByName(p.name); err == nil && named.Index != p.index {
		return fmt.Errorf("another interface has the name now, with index %d: guarded is the one with index %d", named.Index, p.index)
	}
	if err := g.verifyWayIn(p, pins); err != nil {
		return err
	}
	if err := cmp.Or(p.deaf, runs(egressHook(pins), p.index, g.kernel.Egress)); err != nil {
		return fmt.Errorf("replies to guarded ports are lost, since the way out is not watched: %w", err)
	}
	return nil
}

func (g *Gate) verifyWayIn(p *port, pins pins) error {
	if p.link == nil {
		return runs(ingressHook(pins), p.index, g.kernel.Ingress)
	}
	own, err := programID(g.kernel.Root)
	if err != nil {
		return err
	}
	running, err := hookOf(p.index)
	switch {
	case err != nil:
		return err
	case running == 0:
		return errDetached
	case running != own:
		return foreign(running)
	}
	return g.verifySlot()
}

// rename says what the interface is called now, where that is not what it was
// named by.
func (p *port) rename() string {
	device, err := net.InterfaceByIndex(p.index)
	if err != nil || device.Name == p.name {
		return ""
	}
	return fmt.Sprintf("it is called %s now", device.Name)
}

var errDetached = errors.New("the program is detached")

func runs(hook stackHook, index int, program *ebpf.Program) error {
	running, err := hook.running(index)
	if err != nil {
		return err
	}
	own, err := programID(program)
	if err == nil && !slices.Contains(running, own) {
		return errDetached
	}
	return err
}

// verifySlot checks that the root has something to dispatch to.
func (g *Gate) verifySlot() error {
	own, err := programID(g.kernel.Gate)
	if err != nil {
		return err
	}
	var running uint32
	if err := g.kernel.Programs.Lookup(uint32(0), &running); err != nil {
		return fmt.Errorf("the root dispatches to nothing: %w", err)
	}
	if ebpf.ProgramID(running) != own {
		return fmt.Errorf("the root dispatches to another program: %s (id %d)", nameOfProgram(ebpf.ProgramID(running)), running)
	}
	return nil
}
