package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/bpf"
)

// pins is the gate's folder on the BPF file system:
//
//	links/7               the link to the interface with index 7
//	v1/generation, ...    the maps of layout 1
//	v1/program_<identity> the program that uses them
//	v1_next/              the same while it is built, never adopted
//
// Links stand apart from the layout, because a link outlives it: it is pointed
// at the new program. Names hold an index, since interface names may hold dots,
// which the BPF file system refuses, and may change.
type pins struct{ dir string }

func pinsIn(dir string) pins { return pins{dir: dir} }

func (p pins) links() string { return filepath.Join(p.dir, "links") }

func (p pins) layout() string {
	return filepath.Join(p.dir, fmt.Sprintf("v%d", bpf.GateFormatFORMAT_LAYOUT))
}

// remove unpins everything. What is not held elsewhere is then detached.
func (p pins) remove() error {
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// set is the objects of a gate that is adopted or loaded but not yet final.
type set struct {
	objects *bpf.GateObjects
	keep    func() error // makes it the one that the next Open adopts
	discard func() error // takes back what was pinned for it
}

var errNothingPinned = errors.New("nothing is pinned")

// programPin names a program by what it does. A daemon with other code finds no
// such pin and loads its own beside the maps.
func programPin(spec *ebpf.CollectionSpec) string {
	hash := sha256.New()
	_, _ = fmt.Fprint(hash, spec.Programs[bpf.GateProgGate].Instructions)
	if rodata := spec.Maps[".rodata"]; rodata != nil {
		_, _ = fmt.Fprint(hash, rodata.Contents)
	}
	return "program_" + hex.EncodeToString(hash.Sum(nil)[:8])
}

// adopt opens what an earlier daemon pinned. It returns errNothingPinned where
// there is nothing, and another error where what there is can't be used.
func (p pins) adopt(spec *ebpf.CollectionSpec) (set, error) {
	if _, err := os.Stat(p.layout()); errors.Is(err, fs.ErrNotExist) {
		return set{}, errNothingPinned
	}
	objects := &bpf.GateObjects{}
	err := p.adoptMaps(spec, objects)
	if err == nil {
		err = p.adoptProgram(spec, objects)
	}
	if err != nil {
		return set{}, errors.Join(fmt.Errorf("adopt pinned gate: %w", err), objects.Close())
	}
	return set{
		objects: objects,
		keep:    func() error { return p.dropPrograms(programPin(spec)) },
		discard: func() error { return nil },
	}, nil
}

func (p pins) adoptMaps(spec *ebpf.CollectionSpec, objects *bpf.GateObjects) error {
	for name, target := range mapsOf(objects) {
		found, err := ebpf.LoadPinnedMap(filepath.Join(p.layout(), name), nil)
		if err != nil {
			return fmt.Errorf("open map %s: %w", name, err)
		}
		*target = found
		if err := spec.Maps[name].Compatible(found); err != nil {
			return fmt.Errorf("compare map %s: %w", name, err)
		}
	}
	return nil
}

// adoptProgram opens the pinned program, or loads this daemon's own around the
// pinned maps where another one was pinned.
func (p pins) adoptProgram(spec *ebpf.CollectionSpec, objects *bpf.GateObjects) error {
	path := filepath.Join(p.layout(), programPin(spec))
	program, err := ebpf.LoadPinnedProgram(path, nil)
	if err == nil {
		objects.Gate = program
		return nil
	}
	replacements := map[string]*ebpf.Map{}
	for name, found := range mapsOf(objects) {
		replacements[name] = *found
	}
	var own bpf.GatePrograms
	options := &ebpf.CollectionOptions{MapReplacements: replacements}
	if err := spec.LoadAndAssign(&own, options); err != nil {
		return fmt.Errorf("load program: %w", err)
	}
	objects.Gate = own.Gate
	_ = os.Remove(path) // a pin that can't be opened
	return objects.Gate.Pin(path)
}

// dropPrograms unpins every program but the one that now runs.
func (p pins) dropPrograms(keep string) error {
	found, err := filepath.Glob(filepath.Join(p.layout(), "program_*"))
	for _, path := range found {
		if filepath.Base(path) != keep {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// mapsOf names the maps that are pinned.
func mapsOf(objects *bpf.GateObjects) map[string]**ebpf.Map {
	return map[string]**ebpf.Map{
		bpf.GateMapGeneration: &objects.Generation,
		bpf.GateMapTallies:    &objects.Tallies,
		bpf.GateMapCredits:    &objects.Credits,
		bpf.GateMapDrops:      &objects.Drops,
	}
}

// load builds a new gate aside, with an empty generation in force.
func (p pins) load(spec *ebpf.CollectionSpec) (set, error) {
	aside := p.layout() + "_next"
	if err := os.RemoveAll(aside); err != nil {
		return set{}, fmt.Errorf("clear pins: %w", err)
	}
	objects := &bpf.GateObjects{}
	if err := spec.LoadAndAssign(objects, nil); err != nil {
		return set{}, fmt.Errorf("load gate: %w", err)
	}
	s := set{
		objects: objects,
		keep:    func() error { return p.promote(aside) },
		discard: func() error { return os.RemoveAll(aside) },
	}
	if err := p.furnish(spec, objects, aside); err != nil {
		return set{}, errors.Join(err, s.discard(), objects.Close())
	}
	return s, nil
}

// furnish gives new objects their empty image and their pins.
func (p pins) furnish(spec *ebpf.CollectionSpec, objects *bpf.GateObjects, dir string) error {
	if err := publish(spec, objects.Generation, &bpf.GateImage{}); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create pin folder: %w", err)
	}
	for name, pinned := range mapsOf(objects) {
		if err := (*pinned).Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if err := objects.Gate.Pin(filepath.Join(dir, programPin(spec))); err != nil {
		return fmt.Errorf("pin program: %w", err)
	}
	return nil
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
// its pins, without opening it: for uninstalling. A daemon that still has it
// open keeps it attached. Nothing else in dir is touched.
func Remove(dir string) error {
	if !filepath.IsAbs(dir) || !onBPF(dir) {
		return invalid("dir", "%s is not on a BPF file system", dir)
	}
	p := pinsIn(dir)
	layouts, err := filepath.Glob(filepath.Join(dir, "v[0-9]*"))
	for _, path := range append(layouts, p.links()) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	_ = os.Remove(dir) // stays where it holds something of somebody else's
	return nil
}
