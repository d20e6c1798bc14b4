// Package gate owns the kernel's XDP hook on the WAN interfaces: the program of
// package bpf, its maps, their pins and its links. Rules become one image (see
// struct image in bpf/gate.h) that replaces its predecessor by one pointer
// write.
//
// The gate outlives the daemon. Links, maps and the program are pinned on a BPF
// file system; whoever opens the same folder again adopts them: the program
// goes on with the same generation and the same counters meanwhile.
package gate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// Config says what to guard and where the pins are.
type Config struct {
	// Interfaces are the names of the WAN interfaces, at least one.
	Interfaces []string
	// Dir is a folder on a BPF file system, absolute, for this gate alone; the
	// kernel allows no dot in it. It is created, and /sys/fs/bpf is mounted,
	// where absent.
	Dir string
	// Now stamps events and samples; nil means time.Now.
	Now func() time.Time
}

func (c Config) check() error {
	var mistakes appliance.Errors
	if len(c.Interfaces) == 0 {
		mistakes = append(mistakes, invalid("interfaces", "name at least one interface to guard"))
	}
	for i, name := range c.Interfaces {
		if slices.Contains(c.Interfaces[:i], name) {
			mistakes = append(mistakes, invalid("interfaces", "%s is named twice", name))
		}
	}
	if !filepath.IsAbs(c.Dir) {
		mistakes = append(mistakes, invalid("dir", "%q is not an absolute path", c.Dir))
	}
	return mistakes.Or()
}

// Gate is the XDP program on every WAN interface that could take it. Its
// methods are safe for concurrent use.
type Gate struct {
	config Config
	report func(appliance.Event)
	spec   *ebpf.CollectionSpec

	mu     sync.Mutex // guards what follows
	kernel *bpf.GateObjects
	ports  []*port
}

// Open adopts the gate that is pinned in config.Dir, or loads a new one with an
// empty generation, which shuts the standard ports, and attaches it to every
// interface: natively where the driver can, generically where not. Interfaces
// that are missing or hold a foreign XDP program are reported and shown by
// State; only if none could be guarded, or the kernel refuses the program, is
// there an error. Mistakes in config are appliance.Errors.
func Open(config Config, report func(appliance.Event)) (*Gate, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if err := mountBPF(config.Dir); err != nil {
		return nil, err
	}
	spec, err := specify()
	if err != nil {
		return nil, err
	}
	g := &Gate{config: config, report: report, spec: spec}
	if err := g.open(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// specify returns the program and maps as they shall be loaded.
func specify() (*ebpf.CollectionSpec, error) {
	spec, err := bpf.LoadGate()
	if err != nil {
		return nil, fmt.Errorf("read gate object: %w", err)
	}
	variable := spec.Variables[bpf.GateVarStandardPorts]
	ports := make([]uint16, variable.Size()/2)
	if copy(ports, rules.StandardPorts()) < len(rules.StandardPorts()) {
		return nil, fmt.Errorf("set standard ports: more than %d", len(ports))
	}
	if err := variable.Set(ports); err != nil {
		return nil, fmt.Errorf("set standard ports: %w", err)
	}
	return spec, nil
}

// open puts the parts in place in the only safe order: image, maps, links. A
// replaced program or layout is removed last, when nothing runs it any more.
func (g *Gate) open() error {
	pins := pinsIn(g.config.Dir)
	set, adoptErr := pins.adopt(g.spec)
	if adoptErr != nil {
		var err error
		if set, err = pins.load(g.spec); err != nil {
			return err
		}
	}
	g.kernel = set.objects
	if err := g.guardAll(pins); err != nil {
		return errors.Join(err, set.discard())
	}
	if err := set.keep(); err != nil {
		return err
	}
	switch {
	case adoptErr == nil:
		g.event("", "adopted the pinned gate with generation %q", g.digest())
	case errors.Is(adoptErr, errNothingPinned):
		g.event("", "loaded the gate with an empty generation")
	default:
		g.event("", "loaded a new gate with an empty generation: %v", adoptErr)
	}
	return nil
}

// Swap compiles r and puts it in force. When it returns nil, no CPU judges by
// the previous generation any more, and the digest has been read back from the
// kernel. On an error the previous generation stays. A nil r shuts the standard
// ports for everybody.
func (g *Gate) Swap(r *rules.Rules) error { return g.swap(r.Guard(), r.Digest()) }

func (g *Gate) swap(guard rules.Guard, digest string) error {
	image, err := compileImage(guard, digest)
	if err != nil {
		return err
	}
	if err := g.enforce(image); err != nil {
		return err
	}
	g.event("", "swapped to generation %q", digest)
	return nil
}

// enforce puts image in force and reads back that it is.
func (g *Gate) enforce(image *bpf.GateImage) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return errClosed
	}
	if err := publish(g.spec, g.kernel.Generation, image); err != nil {
		return err
	}
	live, err := readImage(g.kernel.Generation)
	if err != nil {
		return fmt.Errorf("read generation back: %w", err)
	}
	if live.Digest != image.Digest {
		return fmt.Errorf("read generation back: found %q", digestOf(live))
	}
	return nil
}

var errClosed = errors.New("gate is closed")

// publish builds an image aside, freezes it and points the program at it. The
// kernel waits for an RCU grace period within the update, so that on return no
// CPU uses the old image.
func publish(spec *ebpf.CollectionSpec, generation *ebpf.Map, image *bpf.GateImage) error {
	inner, err := ebpf.NewMap(spec.Maps[bpf.GateMapGeneration].InnerMap)
	if err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	defer func() { _ = inner.Close() }() // the outer map holds it
	if err := inner.Put(uint32(0), image); err != nil {
		return fmt.Errorf("fill image: %w", err)
	}
	if err := inner.Freeze(); err != nil {
		return fmt.Errorf("freeze image: %w", err)
	}
	if err := generation.Put(uint32(0), inner); err != nil {
		return fmt.Errorf("publish image: %w", err)
	}
	return nil
}

// readImage reads the generation in force out of the kernel.
func readImage(generation *ebpf.Map) (*bpf.GateImage, error) {
	var inner *ebpf.Map
	if err := generation.Lookup(uint32(0), &inner); err != nil {
		return nil, fmt.Errorf("look up image: %w", err)
	}
	defer func() { _ = inner.Close() }()
	var image bpf.GateImage
	if err := inner.Lookup(uint32(0), &image); err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	return &image, nil
}

// Close lets go of the gate and leaves it at work: attached and pinned.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, p := range g.ports {
		errs = append(errs, p.close())
	}
	if g.kernel != nil {
		errs = append(errs, g.kernel.Close())
	}
	g.ports, g.kernel = nil, nil
	return errors.Join(errs...)
}

// Detach takes the gate off every interface, removes the pins and closes. The
// WAN is unguarded from then on.
func (g *Gate) Detach() error {
	err := pinsIn(g.config.Dir).remove()
	g.event("", "detached the gate")
	return errors.Join(err, g.Close())
}

// event reports a step in the gate's life. subject is an interface or empty.
func (g *Gate) event(subject, format string, args ...any) {
	g.report(appliance.Event{
		Time:    g.config.Now(),
		Kind:    appliance.EventGate,
		Subject: subject,
		Message: fmt.Sprintf(format, args...),
	})
}
