package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// port is one WAN interface. Either link or err is set.
type port struct {
	name    string
	index   int
	link    link.Link
	adopted bool
	err     error
}

func (p *port) close() error {
	if p.link == nil {
		return nil
	}
	return p.link.Close()
}

// guardAll attaches the program to every interface, then releases interfaces
// that are no longer named. It fails only if none is guarded.
func (g *Gate) guardAll(pins pins) error {
	if err := os.MkdirAll(pins.links(), 0o700); err != nil {
		return fmt.Errorf("create pin folder: %w", err)
	}
	var lost []error
	for _, name := range g.config.Interfaces {
		p := &port{name: name}
		if p.err = g.guard(p, pins.links()); p.err != nil {
			lost = append(lost, p.err)
			g.event(name, "can't guard: %v", p.err)
		}
		g.ports = append(g.ports, p)
	}
	if len(lost) == len(g.ports) {
		return errors.Join(lost...)
	}
	return g.release(pins.links())
}

func (g *Gate) guard(p *port, links string) error {
	device, err := net.InterfaceByName(p.name)
	if err != nil {
		return fmt.Errorf("guard interface %s: no such interface", p.name)
	}
	p.index = device.Index
	pin := filepath.Join(links, strconv.Itoa(p.index))
	if err := g.guardIndex(p, pin); err != nil {
		return fmt.Errorf("guard interface %s: %w", p.name, err)
	}
	return nil
}

func (g *Gate) guardIndex(p *port, pin string) error {
	hook, err := hookOf(p.index)
	if err != nil {
		return err
	}
	found, err := link.LoadPinnedLink(pin, nil)
	if err == nil {
		adopted, err := g.adoptLink(p, found, hook)
		if adopted || err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		g.event(p.name, "the pinned link can't be opened: %v", err)
	}
	_ = os.Remove(pin) // damaged, or left by a deleted interface
	return g.attach(p, pin, hook)
}

// adoptLink takes over a pinned link. It returns false for the husk that a
// deleted interface leaves behind. A link whose program isn't on the interface
// guards another one with the same index, in another network namespace.
func (g *Gate) adoptLink(p *port, found link.Link, hook hook) (bool, error) {
	info, err := found.Info()
	if err != nil || info.XDP() == nil || info.XDP().Ifindex != uint32(p.index) {
		return false, found.Close()
	}
	if hook.program != info.Program {
		err := errors.New("the pinned link guards an interface of another network namespace: give each gate its own folder")
		return false, errors.Join(err, found.Close())
	}
	own, err := g.programID()
	if err == nil && own != info.Program {
		err = found.Update(g.kernel.Gate)
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("update link: %w", err), found.Close())
	}
	p.link, p.adopted = found, true
	g.event(p.name, "adopted the link")
	return true, nil
}

func (g *Gate) programID() (ebpf.ProgramID, error) {
	info, err := g.kernel.Gate.Info()
	if err != nil {
		return 0, fmt.Errorf("read program: %w", err)
	}
	id, _ := info.ID() // every kernel that has links has ids
	return id, nil
}

// attach puts the program on an interface that has none.
func (g *Gate) attach(p *port, pin string, hook hook) error {
	if hook.program != 0 {
		return foreign(hook.program)
	}
	native, err := g.attachMode(p.index, link.XDPDriverMode)
	if err == nil {
		return g.pinLink(p, pin, native, modeNative)
	}
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EPERM) {
		return err
	}
	generic, genericErr := g.attachMode(p.index, link.XDPGenericMode)
	if genericErr != nil {
		return errors.Join(fmt.Errorf("attach natively: %w", err), fmt.Errorf("attach generically: %w", genericErr))
	}
	g.event(p.name, "the driver takes no XDP program: %v", err)
	return g.pinLink(p, pin, generic, modeGeneric)
}

func (g *Gate) attachMode(index int, flags link.XDPAttachFlags) (link.Link, error) {
	return link.AttachXDP(link.XDPOptions{Program: g.kernel.Gate, Interface: index, Flags: flags})
}

func (g *Gate) pinLink(p *port, pin string, attached link.Link, mode Mode) error {
	if err := attached.Pin(pin); err != nil {
		return errors.Join(fmt.Errorf("pin link: %w", err), attached.Close())
	}
	p.link = attached
	g.event(p.name, "attached in %s mode", mode)
	return nil
}

// foreign names the XDP program that holds the hook. The gate never replaces
// what it did not put there.
func foreign(id ebpf.ProgramID) error {
	name := "of unknown name"
	if program, err := ebpf.NewProgramFromID(id); err == nil {
		if info, err := program.Info(); err == nil && info.Name != "" {
			name = info.Name
		}
		_ = program.Close()
	}
	return fmt.Errorf("a foreign XDP program holds the hook: %s (id %d)", name, id)
}

// release detaches the program from interfaces that the gate no longer guards.
// A link that belongs to another network namespace is left alone.
func (g *Gate) release(links string) error {
	entries, err := os.ReadDir(links)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, entry := range entries {
		index, err := strconv.Atoi(entry.Name())
		if err != nil || g.guards(index) {
			continue
		}
		if err := g.releaseLink(filepath.Join(links, entry.Name()), index); err != nil {
			return err
		}
	}
	return nil
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
	defer func() { _ = stale.Close() }()
	info, err := stale.Info()
	if err != nil {
		return fmt.Errorf("read link %d: %w", index, err)
	}
	husk := info.XDP() != nil && info.XDP().Ifindex == 0
	hook, err := hookOf(index)
	if !husk && (err != nil || hook.program != info.Program) {
		return nil
	}
	if err := stale.Unpin(); err != nil {
		return fmt.Errorf("unpin link %d: %w", index, err)
	}
	g.event("", "released interface %d", index)
	return nil
}
