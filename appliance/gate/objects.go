package gate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/bpf"
)

// objects is what the kernel holds of a gate.
type objects struct {
	bpf.GateMaps
	Root    *ebpf.Program // on the driver's hook
	Gate    *ebpf.Program // what the root dispatches to
	Ingress *ebpf.Program // the same judge on the way into the stack
	Egress  *ebpf.Program // remembers the flows that begin inside
}

// Close lets go of everything.
func (o *objects) Close() error {
	errs := []error{o.GateMaps.Close()}
	for _, program := range o.programs() {
		errs = append(errs, (*program).Close())
	}
	return errors.Join(errs...)
}

// programs names the programs, the root aside, as package bpf does.
func (o *objects) programs() map[string]**ebpf.Program {
	return map[string]**ebpf.Program{
		bpf.GateProgGate:  &o.Gate,
		bpf.GateProgRoot:  &o.Root,
		bpf.TCProgIngress: &o.Ingress,
		bpf.TCProgEgress:  &o.Egress,
	}
}

// maps names the maps of the layout: all but the root's own.
func (o *objects) maps() map[string]**ebpf.Map {
	return map[string]**ebpf.Map{
		bpf.GateMapGeneration: &o.Generation,
		bpf.GateMapPages:      &o.Pages,
		bpf.GateMapTallies:    &o.Tallies,
		bpf.GateMapControls:   &o.Controls,
		bpf.GateMapDrops:      &o.Drops,
		bpf.GateMapFlows:      &o.Flows,
		bpf.GateMapFlowFront:  &o.FlowFront,
		bpf.GateMapFragments:  &o.Fragments,
		bpf.GateMapBans:       &o.Bans,
		bpf.GateMapBanFront:   &o.BanFront,
		bpf.GateMapMeters:     &o.Meters,
		bpf.GateMapMediaCut:   &o.MediaCut,
		bpf.GateMapMediaOk:    &o.MediaOk,
		bpf.GateMapMediaFlows: &o.MediaFlows,
	}
}

// shared is the maps that are there already, by name.
func (o *objects) shared() map[string]*ebpf.Map {
	all := map[string]*ebpf.Map{}
	for name, one := range o.maps() {
		if *one != nil {
			all[name] = *one
		}
	}
	if o.Programs != nil {
		all[bpf.GateMapPrograms] = o.Programs
	}
	return all
}

// loadPrograms loads the programs that are not there yet around the maps that
// are, and makes the maps that are missing.
func (o *objects) loadPrograms(s specs) error {
	if o.Root == nil || o.Gate == nil {
		if err := o.loadFrom(s.gate); err != nil {
			return err
		}
	}
	if o.Ingress == nil || o.Egress == nil {
		return o.loadFrom(s.tc)
	}
	return nil
}

func (o *objects) loadFrom(spec *ebpf.CollectionSpec) error {
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements(spec, o.shared())})
	if err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	defer collection.Close()
	for name, program := range o.programs() {
		if found := collection.DetachProgram(name); found != nil && *program == nil {
			*program = found
		} else if found != nil {
			_ = found.Close()
		}
	}
	for name, target := range o.maps() {
		if *target == nil {
			*target = collection.DetachMap(name)
		}
	}
	if o.Programs == nil {
		o.Programs = collection.DetachMap(bpf.GateMapPrograms)
	}
	return nil
}

// replacements are those of the maps that spec knows.
func replacements(spec *ebpf.CollectionSpec, all map[string]*ebpf.Map) map[string]*ebpf.Map {
	out := map[string]*ebpf.Map{}
	for name, one := range all {
		if spec.Maps[name] != nil {
			out[name] = one
		}
	}
	return out
}

// dispatch has the root call the gate. The slot's change is atomic, and the
// driver sees none.
func (o *objects) dispatch() error {
	if err := o.Programs.Put(uint32(0), o.Gate); err != nil {
		return fmt.Errorf("dispatch to the gate: %w", err)
	}
	return nil
}

// indexesOf resolves interface names; those that are missing are left out.
func indexesOf(names []string) (indexes [MaxExempt]uint32) {
	n := 0
	for _, name := range names {
		if device, err := net.InterfaceByName(name); err == nil {
			indexes[n] = uint32(device.Index)
			n++
		}
	}
	return indexes
}

// The oldest kernel that has all that the gate is made of, and what came last.
const (
	oldestMajor = 6
	oldestMinor = 1
)

// tooOld says in words what a kernel that refused the programs lacks; nil where
// it should have taken them.
func tooOld() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("ask for the kernel's version: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	return missingIn(release)
}

// Interpreted reports whether the kernel runs programs without compiling them,
// which costs each packet many times as much: net.core.bpf_jit_enable of the
// procfs that is mounted at proc is 0. Debian switches it on, and on some
// processors lets it be switched off. Network namespaces other than the first
// don't show it, and are told that it is on.
func Interpreted(proc string) bool {
	text, err := os.ReadFile(filepath.Join(proc, "sys/net/core/bpf_jit_enable"))
	return err == nil && strings.TrimSpace(string(text)) == "0"
}

// features is what the gate is made of, with the kernel that brought it.
var features = []struct {
	major, minor int
	what         string
}{
	{5, 7, "links that outlive the daemon (bpf_link for XDP)"},
	{5, 8, "the ring buffer that samples come by"},
	{5, 12, "atomic operations on maps"},
	{5, 18, "frames in more than one buffer (xdp.frags)"},
	{oldestMajor, oldestMinor, "a verifier that follows the program's bounds"},
}

func missingIn(release string) error {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("read kernel version %q: %w", release, err)
	}
	var lacks []string
	for _, one := range features {
		if major < one.major || major == one.major && minor < one.minor {
			lacks = append(lacks, one.what)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("kernel %s is too old, the gate needs Linux %d.%d: it lacks %s", release, oldestMajor, oldestMinor, strings.Join(lacks, ", "))
}
