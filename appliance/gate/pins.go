package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/bpf"
)

// pins is the gate's folder on the BPF file system:
//
//	links/7               the root's link to the interface with index 7
//	ingress/7, egress/7   the same for the stack's hooks
//	root, programs        the root and the slot that it dispatches to
//	v2/generation, ...    the maps of layout 2
//	v2/gate_<identity>... the programs that use them
//	v2_next/              the same while it is built, never adopted
//
// Links and root stand apart from the layout, because they outlive it: a new
// gate takes the slot. Names hold an index, since interface names may hold dots,
// which the BPF file system refuses, and may change.
type pins struct{ dir string }

func pinsIn(dir string) pins { return pins{dir: dir} }

func (p pins) links() string   { return filepath.Join(p.dir, "links") }
func (p pins) ingress() string { return filepath.Join(p.dir, "ingress") }
func (p pins) egress() string  { return filepath.Join(p.dir, "egress") }
func (p pins) root() string    { return filepath.Join(p.dir, "root") }
func (p pins) slot() string    { return filepath.Join(p.dir, "programs") }

func (p pins) layout() string {
	return filepath.Join(p.dir, fmt.Sprintf("v%d", bpf.GateFormatFORMAT_LAYOUT))
}

// remove detaches and unpins everything.
func (p pins) remove() error {
	if err := errors.Join(p.detach(), os.RemoveAll(p.dir)); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// detach takes the gate's programs off every interface.
func (p pins) detach() error {
	_, err := p.dropFilters(keepNone)
	errs := []error{err}
	for _, dir := range []string{p.links(), p.ingress(), p.egress()} {
		for _, index := range pinnedIndexes(dir) {
			errs = append(errs, unpin(filepath.Join(dir, strconv.Itoa(index))))
		}
	}
	return errors.Join(errs...)
}

// unpin detaches a pinned link and removes its pin. Without the first the kernel
// would detach in its own time, and not where anybody else holds the link.
func unpin(pin string) error {
	if found, err := link.LoadPinnedLink(pin, nil); err == nil {
		_ = found.Detach() // a husk can't be
		_ = found.Close()
	}
	return os.Remove(pin)
}

// set is the objects of a gate that is adopted or loaded but not yet final.
type set struct {
	objects *objects
	keep    func() error // makes it the one that the next Open adopts
	discard func() error // takes back what was pinned for it
}

var errNothingPinned = errors.New("nothing is pinned")

// programPin names a program by what it does. A daemon with other code finds no
// such pin and loads its own beside the maps.
func programPin(s specs, name string) string {
	spec := s.gate
	if spec.Programs[name] == nil {
		spec = s.tc
	}
	hash := sha256.New()
	_, _ = fmt.Fprint(hash, spec.Programs[name].Instructions)
	if rodata := spec.Maps[".rodata"]; rodata != nil {
		_, _ = fmt.Fprint(hash, rodata.Contents)
	}
	return name + "_" + hex.EncodeToString(hash.Sum(nil)[:8])
}

// programPins names the layout's programs: all but the root.
func programPins(s specs) map[string]string {
	all := map[string]string{}
	for _, name := range []string{bpf.GateProgGate, bpf.TCProgIngress, bpf.TCProgEgress} {
		all[name] = programPin(s, name)
	}
	return all
}

// adopt opens what an earlier daemon pinned. It returns errNothingPinned where
// there is nothing, and another error where what there is can't be used.
func (p pins) adopt(s specs) (set, error) {
	if _, err := os.Stat(p.layout()); errors.Is(err, fs.ErrNotExist) {
		return set{}, errNothingPinned
	}
	o := &objects{}
	err := p.adoptMaps(s, o)
	if err == nil {
		p.adoptRoot(s, o)
		err = p.adoptPrograms(s, o)
	}
	if err != nil {
		return set{}, errors.Join(fmt.Errorf("adopt pinned gate: %w", err), o.Close())
	}
	return set{
		objects: o,
		keep:    func() error { return p.dropPrograms(s) },
		discard: func() error { return nil },
	}, nil
}

func (p pins) adoptMaps(s specs, o *objects) error {
	for name, target := range o.maps() {
		found, err := ebpf.LoadPinnedMap(filepath.Join(p.layout(), name), nil)
		if err != nil {
			return fmt.Errorf("open map %s: %w", name, err)
		}
		*target = found
		if err := s.gate.Maps[name].Compatible(found); err != nil {
			return fmt.Errorf("compare map %s: %w", name, err)
		}
	}
	return nil
}

// adoptRoot opens the root and its slot, both or none: to replace a root costs
// some drivers a restart of the port, so that it is kept whatever else changes.
func (p pins) adoptRoot(s specs, o *objects) {
	slot, err := ebpf.LoadPinnedMap(p.slot(), nil)
	if err != nil {
		return
	}
	root, err := ebpf.LoadPinnedProgram(p.root(), nil)
	if err != nil || s.gate.Maps[bpf.GateMapPrograms].Compatible(slot) != nil {
		_ = slot.Close()
		_ = root.Close()
		return
	}
	o.Root, o.Programs = root, slot
}

// adoptPrograms opens the pinned programs, or loads this daemon's own around the
// pinned maps where others were pinned.
func (p pins) adoptPrograms(s specs, o *objects) error {
	pins, programs := programPins(s), o.programs()
	for name, pin := range pins {
		if found, err := ebpf.LoadPinnedProgram(filepath.Join(p.layout(), pin), nil); err == nil {
			*programs[name] = found
		}
	}
	if err := o.loadPrograms(s); err != nil {
		return err
	}
	if err := p.pinPrograms(s, o, p.layout()); err != nil {
		return err
	}
	return p.pinRoot(o)
}

// pinPrograms pins what is not pinned yet.
func (p pins) pinPrograms(s specs, o *objects, dir string) error {
	for name, pin := range programPins(s) {
		program := *o.programs()[name]
		if program.IsPinned() {
			continue
		}
		path := filepath.Join(dir, pin)
		_ = os.Remove(path) // a pin that can't be opened
		if err := program.Pin(path); err != nil {
			return fmt.Errorf("pin program %s: %w", name, err)
		}
	}
	return nil
}

func (p pins) pinRoot(o *objects) error {
	if o.Root.IsPinned() && o.Programs.IsPinned() {
		return nil
	}
	for _, path := range []string{p.root(), p.slot()} {
		_ = os.Remove(path) // one without the other is of no use
	}
	if err := o.Programs.Pin(p.slot()); err != nil {
		return fmt.Errorf("pin the root's slot: %w", err)
	}
	if err := o.Root.Pin(p.root()); err != nil {
		return fmt.Errorf("pin the root: %w", err)
	}
	return nil
}

// dropPrograms unpins every program but those that now run.
func (p pins) dropPrograms(s specs) error {
	var errs []error
	for name, keep := range programPins(s) {
		found, err := filepath.Glob(filepath.Join(p.layout(), name+"_*"))
		errs = append(errs, err)
		for _, path := range found {
			if filepath.Base(path) != keep {
				errs = append(errs, os.Remove(path))
			}
		}
	}
	return errors.Join(errs...)
}

// load builds a new gate aside, with an empty generation in force.
func (p pins) load(s specs) (set, error) {
	aside := p.layout() + "_next"
	if err := os.RemoveAll(aside); err != nil {
		return set{}, fmt.Errorf("clear pins: %w", err)
	}
	o := &objects{}
	p.adoptRoot(s, o)
	if err := o.loadPrograms(s); err != nil {
		return set{}, errors.Join(fmt.Errorf("load gate: %w", err), o.Close())
	}
	made := set{
		objects: o,
		keep:    func() error { return p.promote(aside) },
		discard: func() error { return os.RemoveAll(aside) },
	}
	if err := p.furnish(s, o, aside); err != nil {
		return set{}, errors.Join(err, made.discard(), o.Close())
	}
	return made, nil
}

// furnish gives new objects their pins. An empty slot for the image is an empty
// generation.
func (p pins) furnish(s specs, o *objects, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create pin folder: %w", err)
	}
	for name, pinned := range o.maps() {
		if err := (*pinned).Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if err := p.pinPrograms(s, o, dir); err != nil {
		return err
	}
	return p.pinRoot(o)
}

// promote puts a new gate, which the links run by now, in the place of every
// other layout. If the daemon dies in between, the next one finds nothing to
// adopt and does it again.
func (p pins) promote(aside string) error {
	others, err := filepath.Glob(filepath.Join(p.dir, "v*"))
	if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	for _, other := range others {
		if other == aside {
			continue
		}
		if err := os.RemoveAll(other); err != nil {
			return fmt.Errorf("remove old pins: %w", err)
		}
	}
	if err := os.Rename(aside, p.layout()); err != nil {
		return fmt.Errorf("promote pins: %w", err)
	}
	return nil
}

// bpffs is where the kernel makes room for a BPF file system.
const bpffs = "/sys/fs/bpf"

// mountBPF makes sure that dir will lie on a BPF file system.
func mountBPF(dir string) error {
	inside := dir == bpffs || strings.HasPrefix(dir, bpffs+"/")
	if inside && strings.Contains(dir[len(bpffs):], ".") {
		return invalid("dir", "%s holds a dot, which the BPF file system refuses", dir)
	}
	if onBPF(dir) {
		return nil
	}
	if !inside {
		return invalid("dir", "%s is not on a BPF file system", dir)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RELATIME
	if err := unix.Mount("bpf", bpffs, "bpf", flags, "mode=0700"); err != nil {
		return fmt.Errorf("mount %s: %w", bpffs, err)
	}
	return nil
}

// onBPF looks at the nearest folder that exists.
func onBPF(dir string) bool {
	for {
		var stat unix.Statfs_t
		if err := unix.Statfs(dir, &stat); err == nil {
			return uint32(stat.Type) == unix.BPF_FS_MAGIC // a signed word on 32-bit CPUs
		}
		if dir == filepath.Dir(dir) {
			return false
		}
		dir = filepath.Dir(dir)
	}
}

// Remove takes whatever gate is pinned in dir off every interface and removes
// its pins, without opening it: for uninstalling. Nothing else in dir is
// touched.
func Remove(dir string) error {
	if !filepath.IsAbs(dir) || !onBPF(dir) {
		return invalid("dir", "%s is not on a BPF file system", dir)
	}
	p := pinsIn(dir)
	layouts, err := filepath.Glob(filepath.Join(dir, "v[0-9]*"))
	err = errors.Join(err, p.detach())
	for _, path := range append(layouts, p.links(), p.ingress(), p.egress(), p.root(), p.slot()) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	_ = os.Remove(dir) // stays where it holds something of somebody else's
	return nil
}
