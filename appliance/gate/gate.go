// Package gate owns the kernel's packet hooks on the WAN interfaces: the
// programs of package bpf, their maps, pins and links. Rules become one image
// (see struct image in bpf/gate.h) that replaces its predecessor by one pointer
// write.
//
// The gate outlives the daemon. Links, maps and programs are pinned on a BPF
// file system; whoever opens the same folder again adopts them: the gate goes on
// with the same generation and the same counters meanwhile.
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
	// Exempt are interfaces that are not to be guarded though their driver may
	// run one program for all of its ports: those of the LAN, at most MaxExempt.
	// One that is missing is left out.
	Exempt []string
	// Stacked are those of Interfaces that are guarded in the stack whatever their
	// driver takes: it runs one program for all of its ports, some of them Exempt,
	// and does not tell the program which one a packet came by.
	Stacked []string
	// Replace takes hooks over that a foreign XDP program holds. Without it such
	// an interface is refused, with the program's name.
	Replace bool
	// Dir is a folder on a BPF file system, absolute, for this gate alone; the
	// kernel allows no dot in it. It is created, and /sys/fs/bpf is mounted,
	// where absent.
	Dir string
	// Now stamps events and samples; nil means time.Now.
	Now func() time.Time
}

// MaxExempt is how many interfaces can be exempt.
const MaxExempt = len(bpf.GateControl{}.Exempt)

func (c Config) check() error {
	var mistakes appliance.Errors
	if len(c.Interfaces) == 0 {
		mistakes = append(mistakes, invalid("interfaces", "name at least one interface to guard"))
	}
	for i, name := range c.Interfaces {
		if slices.Contains(c.Interfaces[:i], name) {
			mistakes = append(mistakes, invalid("interfaces", "%s is named twice", name))
		}
		if slices.Contains(c.Exempt, name) {
			mistakes = append(mistakes, invalid("exempt", "%s is to be guarded", name))
		}
	}
	if len(c.Exempt) > MaxExempt {
		mistakes = append(mistakes, invalid("exempt", "%d interfaces; the gate holds %d", len(c.Exempt), MaxExempt))
	}
	if !filepath.IsAbs(c.Dir) {
		mistakes = append(mistakes, invalid("dir", "%q is not an absolute path", c.Dir))
	}
	return mistakes.Or()
}

// Gate is the programs on every WAN interface that could take them. Its methods
// are safe for concurrent use.
type Gate struct {
	config Config
	report func(appliance.Event)
	specs  specs

	mu     sync.Mutex // guards what follows
	kernel *objects
	ports  []*port
	turned time.Time // when the flows' front was turned last

	mediaMu sync.Mutex // guards media, and is taken after mu
	media   *objects   // kernel, for those that must not wait for a Swap
}

// Open adopts the gate that is pinned in config.Dir, or loads a new one with an
// empty generation, which shuts the standard ports, and attaches it to every
// interface: in the driver where it can, else on the way into the stack.
// Interfaces that are missing, hold a foreign XDP program or carry no Ethernet
// frames are reported and shown by State; only if none could be guarded, or the kernel refuses the
// programs, is there an error. Mistakes in config are appliance.Errors.
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
	specs, err := specify()
	if err != nil {
		return nil, err
	}
	g := &Gate{config: config, report: report, specs: specs, turned: config.Now()}
	if err := g.open(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// specs is the programs and maps as they shall be loaded: those of the driver's
// hook, and those of the stack's that share their maps.
type specs struct{ gate, tc *ebpf.CollectionSpec }

func specify() (specs, error) {
	var s specs
	var err error
	if s.gate, err = bpf.LoadGate(); err != nil {
		return specs{}, fmt.Errorf("read gate object: %w", err)
	}
	if s.tc, err = bpf.LoadTC(); err != nil {
		return specs{}, fmt.Errorf("read tc object: %w", err)
	}
	for _, spec := range []*ebpf.CollectionSpec{s.gate, s.tc} {
		if err := setStandardPorts(spec); err != nil {
			return specs{}, err
		}
	}
	return s, nil
}

func setStandardPorts(spec *ebpf.CollectionSpec) error {
	variable := spec.Variables[bpf.GateVarStandardPorts]
	ports := make([]uint16, variable.Size()/2)
	if copy(ports, rules.StandardPorts()) < len(rules.StandardPorts()) {
		return fmt.Errorf("set standard ports: more than %d", len(ports))
	}
	if err := variable.Set(ports); err != nil {
		return fmt.Errorf("set standard ports: %w", err)
	}
	return nil
}

// open puts the parts in place in the only safe order: image, maps, programs,
// links. A replaced layout is removed last, when nothing runs it any more.
func (g *Gate) open() error {
	pins := pinsIn(g.config.Dir)
	set, adoptErr := pins.adopt(g.specs)
	if adoptErr != nil {
		var err error
		if set, err = pins.load(g.specs); err != nil {
			return errors.Join(err, tooOld())
		}
	}
	g.kernel = set.objects
	if err := g.takeUp(pins); err != nil {
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

// takeUp sets what lies outside of generations, points the root at the gate and
// attaches.
func (g *Gate) takeUp(pins pins) error {
	if err := setControl(g.kernel, func(c *bpf.GateControl) { c.Exempt = indexesOf(g.config.Exempt) }); err != nil {
		return err
	}
	g.mediaMu.Lock()
	g.media = g.kernel
	g.mediaMu.Unlock()
	if err := g.kernel.dispatch(); err != nil {
		return err
	}
	return g.guardAll(pins)
}

// controlMu guards the map of controls, and is taken last. It is one for all gates
// of the process: while one takes another's place, both write to the same map, which
// is changed by reading and writing it whole.
var controlMu sync.Mutex

// setControl changes what the daemon tells the program outside of generations.
func setControl(o *objects, change func(*bpf.GateControl)) error {
	controlMu.Lock()
	defer controlMu.Unlock()
	return writeControl(o, change)
}

// writeControl is setControl for whoever holds controlMu.
func writeControl(o *objects, change func(*bpf.GateControl)) error {
	var control bpf.GateControl
	if err := o.Controls.Lookup(uint32(0), &control); err != nil {
		return fmt.Errorf("read controls: %w", err)
	}
	change(&control)
	if err := o.Controls.Put(uint32(0), &control); err != nil {
		return fmt.Errorf("write controls: %w", err)
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

// enforce puts an image in force and reads back that it is.
func (g *Gate) enforce(i *image) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return errClosed
	}
	if err := g.tray().publish(i); err != nil {
		return err
	}
	live, err := g.tray().readHead()
	if err != nil {
		return fmt.Errorf("read generation back: %w", err)
	}
	if live.Digest != i.head.Digest {
		return fmt.Errorf("read generation back: found %q", digestOf(live))
	}
	if err := g.tray().clearPages(pageHalf - live.Base); err != nil {
		g.event("", "the memory of the generation before is kept until the next: %v", err)
	}
	return nil
}

func (g *Gate) tray() tray {
	return tray{spec: g.specs.gate, generation: g.kernel.Generation, pages: g.kernel.Pages}
}

var errClosed = errors.New("gate is closed")

// Close lets go of the gate and leaves it at work: attached and pinned.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, p := range g.ports {
		errs = append(errs, p.close())
	}
	g.mediaMu.Lock()
	g.media = nil
	g.mediaMu.Unlock()
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
