package gate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stackHook is one of the two hooks in the stack. Where the kernel has links for
// them (tcx, 6.6) a pinned link holds the program; on older ones a clsact filter
// does, which outlives the daemon too.
type stackHook struct {
	pins   string // folder
	owner  string // what its filters are called
	attach ebpf.AttachType
	parent uint32
}

func ingressHook(p pins) stackHook {
	return stackHook{p.ingress(), p.owner(), ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS}
}

func egressHook(p pins) stackHook {
	return stackHook{p.egress(), p.owner(), ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS}
}

// owner names the gate's filters, which have no pins that a folder could tell by.
func (p pins) owner() string { return "ringfence " + p.dir }

// Where our filters stand: before all others. The handle is one that nobody else
// is likely to have, since who takes a handle replaces what is there.
const (
	filterPriority = 1
	filterHandle   = 0x52464e43 // "RFNC"
)

// put has the program run on the interface, before whatever else is there. It
// takes over what an earlier daemon put, without a moment in between, and says
// so.
func (h stackHook) put(index int, program *ebpf.Program) (adopted bool, err error) {
	pin := filepath.Join(h.pins, strconv.Itoa(index))
	if adopted, err := h.adopt(pin, index, program); adopted || err != nil {
		return adopted, err
	}
	_ = os.Remove(pin) // damaged, or left by a deleted interface
	attached, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: program, Attach: h.attach, Anchor: link.Head()})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return h.putFilter(index, program)
	}
	if err != nil {
		return false, fmt.Errorf("attach to the stack: %w", err)
	}
	defer func() { _ = attached.Close() }() // the pin holds it
	if err := attached.Pin(pin); err != nil {
		return false, fmt.Errorf("pin link: %w", err)
	}
	return false, nil
}

// adopt points a pinned link at the program. It returns false where there is
// none but perhaps the husk that a deleted interface leaves behind.
func (h stackHook) adopt(pin string, index int, program *ebpf.Program) (bool, error) {
	found, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return false, nil
	}
	defer func() { _ = found.Close() }()
	info, err := found.Info()
	if err != nil || info.TCX() == nil || info.TCX().Ifindex != uint32(index) {
		return false, nil
	}
	running, err := h.running(index)
	if err != nil {
		return false, err
	}
	if !slices.Contains(running, info.Program) {
		return false, errElsewhere
	}
	own, err := programID(program)
	if err != nil || info.Program == own {
		return err == nil, err
	}
	if err := found.Update(program); err != nil {
		return false, fmt.Errorf("update link: %w", err)
	}
	return true, nil
}

// errElsewhere is said where a pinned link names an index that it doesn't guard
// here.
var errElsewhere = errors.New("the pinned link guards an interface of another network namespace: give each gate its own folder")

func (h stackHook) putFilter(index int, program *ebpf.Program) (adopted bool, err error) {
	before, err := h.filters(index)
	if err != nil {
		return false, err
	}
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("add clsact: %w", err)
	}
	if err := h.fits(index); err != nil {
		return false, err
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: h.parent, Handle: filterHandle,
			Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd: program.FD(), Name: h.owner, DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return false, fmt.Errorf("attach filter: %w", err)
	}
	return len(before) > 0, nil
}

// fits makes sure of what the hooks' queueing discipline is. To the older one,
// ingress, every parent is the way in, and what watches the way out would be put
// there: the shaping of incoming traffic brings it along.
func (h stackHook) fits(index int) error {
	device, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	disciplines, err := netlink.QdiscList(device)
	if err != nil {
		return fmt.Errorf("list queueing disciplines: %w", err)
	}
	for _, one := range disciplines {
		if one.Attrs().Parent == netlink.HANDLE_INGRESS && one.Type() == "ingress" && h.parent == netlink.HANDLE_MIN_EGRESS {
			return errors.New("the interface has the queueing discipline ingress, which knows no way out: replace it by clsact")
		}
	}
	return nil
}

// running returns the programs on the hook: all of them where the kernel tells,
// else those of the gate's filters.
func (h stackHook) running(index int) (ids []ebpf.ProgramID, err error) {
	found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: h.attach})
	if err == nil {
		for _, one := range found.Programs {
			ids = append(ids, one.ID)
		}
		return ids, nil
	}
	if !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("ask for programs: %w", err)
	}
	ours, err := h.filters(index)
	for _, one := range ours {
		ids = append(ids, ebpf.ProgramID(one.Id))
	}
	return ids, err
}

// holds is holds for the stack's hook.
func (h stackHook) holds(index int, program ebpf.ProgramID) bool {
	running, err := h.running(index)
	return err == nil && slices.Contains(running, program)
}

func (h stackHook) filters(index int) (ours []*netlink.BpfFilter, err error) {
	device, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, fmt.Errorf("find interface: %w", err)
	}
	all, err := netlink.FilterList(device, h.parent)
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	for _, one := range all {
		if filter, ok := one.(*netlink.BpfFilter); ok && filter.Name == h.owner {
			ours = append(ours, filter)
		}
	}
	return ours, nil
}

// take removes the gate's program from the hook, if it is there. It leaves alone
// what belongs to an interface that this namespace does not have, unless the
// interface is gone altogether.
func (h stackHook) take(index int) error {
	pin := filepath.Join(h.pins, strconv.Itoa(index))
	found, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		_, err := h.takeFilters(index)
		return err
	}
	if err != nil {
		return fmt.Errorf("open link %d: %w", index, err)
	}
	info, err := found.Info()
	if err := errors.Join(err, found.Close()); err != nil {
		return fmt.Errorf("read link %d: %w", index, err)
	}
	husk := info.TCX() != nil && info.TCX().Ifindex == 0
	if !husk && !h.holds(index, info.Program) {
		return nil
	}
	if err := unpin(pin); err != nil {
		return fmt.Errorf("unpin link %d: %w", index, err)
	}
	return nil
}

// takeFilters removes the gate's filters from one interface, and says whether
// there were any. One that is gone has taken its filters along.
func (h stackHook) takeFilters(index int) (taken bool, err error) {
	ours, _ := h.filters(index)
	for _, filter := range ours {
		if err := netlink.FilterDel(filter); err != nil {
			return taken, fmt.Errorf("remove filter: %w", err)
		}
		taken = true
	}
	return taken, nil
}

// dropFilters takes the gate's filters off every interface of this namespace but
// those to keep, and returns the others that had some.
func (p pins) dropFilters(keep func(index int) bool) (indexes []int, err error) {
	devices, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, device := range devices {
		index := device.Attrs().Index
		if keep(index) {
			continue
		}
		in, inErr := ingressHook(p).takeFilters(index)
		out, outErr := egressHook(p).takeFilters(index)
		if in || out {
			indexes = append(indexes, index)
		}
		errs = append(errs, inErr, outErr)
	}
	return indexes, errors.Join(errs...)
}

func keepNone(int) bool { return false }

func programID(program *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := program.Info()
	if err != nil {
		return 0, fmt.Errorf("read program: %w", err)
	}
	id, _ := info.ID() // every kernel that has links has ids
	return id, nil
}
