package gate

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Mode says where the gate runs.
type Mode string

// The modes of attachment.
const (
	ModeNative Mode = "native" // in the driver, before the packet has a buffer of the stack
	ModeStack  Mode = "stack"  // on the way into the stack, slower, on any interface
)

// hookOf returns the program on an interface's XDP hook, 0 for none. It asks by
// route netlink (attribute IFLA_XDP of rtnetlink(7)): links alone can't tell of
// programs attached without one.
func hookOf(index int) (ebpf.ProgramID, error) {
	device, err := netlink.LinkByIndex(index)
	if err != nil {
		return 0, fmt.Errorf("find interface: %w", err)
	}
	xdp := device.Attrs().Xdp
	if xdp == nil || !xdp.Attached {
		return 0, nil
	}
	return ebpf.ProgramID(xdp.ProgId), nil
}

// framed makes sure that an interface's packets are Ethernet frames. Those of
// ppp, WireGuard and most modems begin with the IP header: what reads a frame
// there reads no packet at all, and the gate would let everything through.
func framed(index int) error {
	device, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	if kind := device.Attrs().EncapType; kind != "ether" && kind != "loopback" {
		return fmt.Errorf("it carries no Ethernet frames (%s), which is all that the gate reads: guard the port below it instead", kind)
	}
	return nil
}

// holds reports whether the program is on the hook of an interface of this
// network namespace.
func holds(index int, program ebpf.ProgramID) bool {
	running, err := hookOf(index)
	return err == nil && running == program
}

// foreign names the XDP program that holds the hook. The gate replaces what it
// did not put there only where it is told to.
func foreign(id ebpf.ProgramID) error {
	return fmt.Errorf("a foreign XDP program holds the hook: %s (id %d)", nameOfProgram(id), id)
}

func nameOfProgram(id ebpf.ProgramID) string {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return "of unknown name"
	}
	defer func() { _ = program.Close() }()
	info, err := program.Info()
	if err != nil || info.Name == "" {
		return "of unknown name"
	}
	return info.Name
}

// evict takes a foreign program off an interface, whether a link holds it or
// not.
func evict(index int, program ebpf.ProgramID) error {
	if detached, err := detachLinks(index, program); detached || err != nil {
		return err
	}
	device, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	flags := unix.XDP_FLAGS_DRV_MODE
	if xdp := device.Attrs().Xdp; xdp != nil && xdp.AttachMode == nl.XDP_ATTACHED_SKB {
		flags = unix.XDP_FLAGS_SKB_MODE
	}
	if err := netlink.LinkSetXdpFdWithFlags(device, -1, flags); err != nil {
		return fmt.Errorf("take the foreign program off: %w", err)
	}
	return nil
}

// detachLinks detaches every link that holds the program on the interface.
func detachLinks(index int, program ebpf.ProgramID) (detached bool, err error) {
	iterator := new(link.Iterator)
	defer iterator.Close()
	for iterator.Next() {
		info, err := iterator.Link.Info()
		if err != nil || info.Program != program || info.XDP() == nil || info.XDP().Ifindex != uint32(index) {
			continue
		}
		if err := iterator.Link.Detach(); err != nil {
			return false, fmt.Errorf("detach the foreign link: %w", err)
		}
		detached = true
	}
	return detached, iterator.Err()
}
