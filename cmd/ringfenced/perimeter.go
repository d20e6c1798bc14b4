package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/gate"
	"github.com/ringfence/ringfence/appliance/health"
	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/rules"
)

// perimeter is the gate over those WAN interfaces that the settings in force
// name. A gate is opened for a fixed set of interfaces; where the set changes,
// a second one is opened beside the first, adopts its maps and links, and takes
// its place: no packet is judged by anything but a whole generation.
type perimeter struct {
	dir     string
	proc    string
	replace bool
	report  func(appliance.Event)
	now     func() time.Time
	lock    lock                      // what leaves the LAN, beside what comes in
	current atomic.Pointer[gate.Gate] // gate, for those that must not wait

	mu      sync.Mutex
	gate    *gate.Gate // nil while no interface is named
	wan     []string
	exempt  []network.Link  // as the gate knows them
	rules   *rules.Rules    // enforced last
	opened  bool            // a generation was enforced once
	mended  time.Time       // when mend opened it last
	tries   map[string]int  // how often it tried to mend what still ails
	trouble error           // why the gate could not be opened, at the last try
	term    context.Context // ends when gate is another
	endTerm context.CancelFunc
}

func newPerimeter(c config, e env, report func(appliance.Event)) *perimeter {
	p := &perimeter{dir: c.bpffs, proc: e.proc, replace: c.replace, report: report, now: e.now, tries: map[string]int{}}
	p.term, p.endTerm = context.WithCancel(context.Background())
	if gate.Interpreted(p.proc) {
		p.event("the kernel does not compile the gate but interprets it, which costs each packet many times as much: net.core.bpf_jit_enable is 0")
	}
	return p
}

func (p *perimeter) event(format string, args ...any) {
	p.report(appliance.Event{Time: p.now(), Kind: appliance.EventGate, Message: fmt.Sprintf(format, args...)})
}

// Enforce makes r the generation in force on the interfaces named.
//
// Without any name a gate that an earlier daemon left pinned is not touched, nor
// its egress lock: the settings may be damaged, and the last good generation goes on
// guarding. What this daemon opened and shut is taken off then, since somebody
// asked for that.
//
// At the start an interface may be missing (it is shown red and mended when it
// comes); later a name that does not exist is the mistake of who wrote it.
func (p *perimeter) Enforce(wan []string, r *rules.Rules) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		if err := p.check(wan, r); err != nil {
			return err
		}
	}
	// The lock first: what the gate turns down is taken back here.
	if err := p.lock.enforce(wan, r, !p.opened); err != nil {
		return err
	}
	var err error
	if len(wan) == 0 {
		err = p.detach()
	} else {
		err = p.change(wan, r)
	}
	if err != nil && p.opened {
		return errors.Join(err, p.lock.back(p.wan, p.rules))
	}
	if err != nil {
		return err
	}
	p.opened, p.rules = true, r
	return nil
}

// change swaps the generation before the interfaces: a generation that the gate
// turns down must not have let go of an interface that the documents in force
// name, and one that is new never runs an old generation.
func (p *perimeter) change(wan []string, r *rules.Rules) error {
	exempt := p.spare(wan, r.SIP().LAN)
	if p.gate == nil {
		if err := p.open(wan, exempt); err != nil {
			return err
		}
	}
	if err := p.gate.Swap(r); err != nil {
		return fmt.Errorf("swap generation: %w", err)
	}
	if slices.Equal(wan, p.wan) && slices.Equal(exempt, p.exempt) {
		return nil
	}
	err := p.open(wan, exempt)
	if err != nil && p.rules != nil {
		err = errors.Join(err, p.gate.Swap(p.rules))
	}
	return err
}

// check turns down names that there are not, and a choice that locks the LAN
// out. What is in force already is left alone, whatever has become of it: an
// address that DHCP brought must not stop an exception from ending.
func (p *perimeter) check(wan []string, r *rules.Rules) error {
	lan := r.SIP().LAN
	mistakes, err := exist("network.wan", wan, p.wan)
	if err != nil {
		return err
	}
	more, err := exist("sip.transparent", r.Lock().Transparent, p.rules.Lock().Transparent)
	if err != nil {
		return err
	}
	if err := append(mistakes, more...).Or(); err != nil {
		return err
	}
	if slices.Equal(wan, p.wan) && slices.Equal(lan, p.rules.SIP().LAN) {
		return nil
	}
	carriers, err := network.Carriers()
	if err != nil {
		return err
	}
	return lockedOut(wan, lan, carriers).Or()
}

// exist checks the names that are not in force yet.
func exist(field string, names, known []string) (mistakes appliance.Errors, err error) {
	for i, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		if _, err := network.Links([]string{name}); errors.Is(err, network.ErrNoLink) {
			mistakes = append(mistakes, &appliance.Error{Code: appliance.CodeInvalid,
				Field: fmt.Sprintf("%s[%d]", field, i), Message: fmt.Sprintf("this box has no interface %s", name)})
		} else if err != nil {
			return nil, err
		}
	}
	return mistakes, nil
}

// open puts a gate over these interfaces in the place of the one before.
func (p *perimeter) open(wan []string, exempt []network.Link) error {
	settings := gate.Config{Interfaces: wan, Stacked: stackedOf(wan, exempt, linkNamed), Replace: p.replace, Dir: p.dir, Now: p.now}
	for _, one := range exempt {
		settings.Exempt = append(settings.Exempt, one.Name)
	}
	opened, err := gate.Open(settings, p.report)
	p.trouble = err
	if err != nil {
		return fmt.Errorf("open gate: %w", err)
	}
	p.succeed(opened, wan, exempt)
	return nil
}

func (p *perimeter) succeed(next *gate.Gate, wan []string, exempt []network.Link) {
	before := p.gate
	p.gate, p.wan, p.exempt = next, slices.Clone(wan), exempt
	p.current.Store(next)
	p.endTerm()
	p.term, p.endTerm = context.WithCancel(context.Background())
	if before != nil {
		_ = before.Close() // the pins hold what is shared
	}
}

func (p *perimeter) detach() error {
	if p.gate == nil {
		return nil
	}
	err := p.gate.Detach()
	p.succeed(nil, nil, nil) // it is closed, whatever is left of its pins
	if err != nil {
		return fmt.Errorf("detach gate: %w", err)
	}
	return nil
}

// mendPause is how long mend leaves alone what it could not mend in mendTries
// tries: a foreign program may hold the hook of an interface. A single try may
// have come upon an interface that was about to go.
const (
	mendPause = 5 * time.Minute
	mendTries = 3
)

// mend opens the gate again where an interface is not guarded but is there: it
// came late, or went and came back. The generation in force stays.
func (p *perimeter) mend() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return nil
	}
	ailing, exempt := p.ailing(), p.spare(p.wan, p.rules.SIP().LAN)
	if p.now().Sub(p.mended) >= mendPause {
		clear(p.tries)
	}
	hopeful := slices.ContainsFunc(ailing, func(one string) bool { return p.tries[one] < mendTries })
	if !hopeful && slices.Equal(exempt, p.exempt) {
		return nil
	}
	p.mended = p.now()
	for _, one := range ailing {
		p.tries[one]++
	}
	err := p.open(p.wan, exempt)
	still := p.ailing()
	maps.DeleteFunc(p.tries, func(one string, _ int) bool { return !slices.Contains(still, one) })
	return err
}

// ailing says of each interface that is there and not guarded which one it is,
// and why it isn't.
func (p *perimeter) ailing() (all []string) {
	for _, one := range p.gate.State().Interfaces {
		if one.Error == "" {
			continue
		}
		if links, err := network.Links([]string{one.Name}); err == nil {
			all = append(all, fmt.Sprintf("%s %d %s", one.Name, links[0].Index, one.Error))
		}
	}
	return all
}

// Generation returns the digest in force, read back from the kernel.
func (p *perimeter) Generation() string { return p.Perimeter().Generation }

// Perimeter reads the gate back for health.
func (p *perimeter) Perimeter() health.Perimeter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil && p.trouble != nil {
		return health.Perimeter{Error: p.trouble.Error()}
	}
	if p.gate == nil {
		return health.Perimeter{}
	}
	state := p.gate.State()
	out := health.Perimeter{Generation: state.Digest, Error: state.Error, Interpreted: gate.Interpreted(p.proc)}
	if tallies, err := p.gate.Tallies(); err == nil {
		for reason, tally := range tallies {
			if reason != appliance.ReasonMediaCutOut { // which left
				out.Counted += tally.Packets
			}
		}
	}
	for _, one := range state.Interfaces {
		out.Interfaces = append(out.Interfaces, show(one))
	}
	return out
}

// show adds to what the gate knows of an interface what the network does. What
// it received is read after the gate's counts: more of it than was counted may
// be on its way, and not the other way round.
func show(one gate.Interface) health.Interface {
	out := health.Interface{Name: one.Name, Index: one.Index, Mode: string(one.Mode), Note: one.Note, Error: one.Error}
	links, err := network.Links([]string{one.Name})
	if err != nil {
		return out
	}
	out.Received = links[0].Received
	if one.Mode == gate.ModeStack {
		_, driver := network.XDPDriver(links[0].Driver)
		out.Note = driver + "; " + one.Note
	}
	return out
}

// Tallies returns the exact counts, those of the egress lock among them; none
// where nothing is guarded.
func (p *perimeter) Tallies() (appliance.Tallies, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return appliance.Tallies{}, nil
	}
	return p.lock.merge(p.gate.Tallies())
}

// sample delivers dropped packets from whichever gate there is, until ctx ends.
// Samples are for display: a gate that gives none is told of and tried again
// when there is another.
func (p *perimeter) sample(ctx context.Context, deliver func(appliance.Drop)) error {
	for ctx.Err() == nil {
		p.mu.Lock()
		current, term := p.gate, p.term
		p.mu.Unlock()
		during, stop := context.WithCancel(ctx)
		forget := context.AfterFunc(term, stop)
		if current != nil {
			if err := current.Run(during, deliver); err != nil && during.Err() == nil {
				p.event("no samples: %v", err)
			}
		}
		<-during.Done()
		forget()
		stop()
	}
	return nil
}

// Close lets go of the gate and leaves it attached and pinned.
func (p *perimeter) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endTerm()
	if p.gate == nil {
		return nil
	}
	err := p.gate.Close()
	p.gate = nil
	p.current.Store(nil)
	return err
}
