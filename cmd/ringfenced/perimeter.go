package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	dir    string
	report func(appliance.Event)
	now    func() time.Time

	mu      sync.Mutex
	gate    *gate.Gate // nil while no interface is named
	wan     []string
	opened  bool            // a generation was enforced once
	mended  time.Time       // when mend opened it last
	trouble error           // why the gate could not be opened, at the last try
	term    context.Context // ends when gate is another
	endTerm context.CancelFunc
}

func newPerimeter(dir string, report func(appliance.Event), now func() time.Time) *perimeter {
	p := &perimeter{dir: dir, report: report, now: now}
	p.term, p.endTerm = context.WithCancel(context.Background())
	return p
}

// Enforce makes r the generation in force on the interfaces named.
//
// Without any name a gate that an earlier daemon left pinned is not touched: the
// settings may be damaged, and the last good generation goes on guarding. A gate
// that this daemon opened is detached then, since somebody asked for that.
//
// At the start an interface may be missing (it is shown red and mended when it
// comes); later a name that does not exist is the mistake of who wrote it.
func (p *perimeter) Enforce(wan []string, r *rules.Rules) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		if err := p.exist(wan); err != nil {
			return err
		}
	}
	if len(wan) == 0 {
		p.opened = true
		return p.detach()
	}
	if p.gate == nil || !slices.Equal(wan, p.wan) {
		if err := p.open(wan); err != nil {
			return err
		}
	}
	if err := p.gate.Swap(r); err != nil {
		return fmt.Errorf("swap generation: %w", err)
	}
	p.opened = true
	return nil
}

// exist checks the names that are not guarded yet.
func (p *perimeter) exist(wan []string) error {
	var mistakes appliance.Errors
	for i, name := range wan {
		if slices.Contains(p.wan, name) {
			continue
		}
		if _, err := network.Links([]string{name}); errors.Is(err, network.ErrNoLink) {
			mistakes = append(mistakes, &appliance.Error{Code: appliance.CodeInvalid,
				Field: fmt.Sprintf("network.wan[%d]", i), Message: fmt.Sprintf("this box has no interface %s", name)})
		} else if err != nil {
			return err
		}
	}
	return mistakes.Or()
}

// open replaces the gate by one over these interfaces.
func (p *perimeter) open(wan []string) error {
	opened, err := gate.Open(gate.Config{Interfaces: wan, Dir: p.dir, Now: p.now}, p.report)
	p.trouble = err
	if err != nil {
		return fmt.Errorf("open gate: %w", err)
	}
	p.replace(opened, wan)
	return nil
}

func (p *perimeter) replace(next *gate.Gate, wan []string) {
	before := p.gate
	p.gate, p.wan = next, slices.Clone(wan)
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
	if err := p.gate.Detach(); err != nil {
		return fmt.Errorf("detach gate: %w", err)
	}
	p.replace(nil, nil)
	return nil
}

// mendPause is how long mend leaves an interface alone that it could not mend
// and that is still the same one: a foreign program may hold its hook.
const mendPause = 5 * time.Minute

// mend opens the gate again where an interface is not guarded but is there: it
// came late, or went and came back. The generation in force stays.
func (p *perimeter) mend() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return nil
	}
	for _, one := range p.gate.State().Interfaces {
		if one.Error == "" {
			continue
		}
		links, err := network.Links([]string{one.Name})
		if err != nil {
			continue // still away
		}
		if links[0].Index == one.Index && p.now().Sub(p.mended) < mendPause {
			continue
		}
		p.mended = p.now()
		return p.open(p.wan)
	}
	return nil
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
	out := health.Perimeter{Generation: state.Digest, Error: state.Error}
	for _, one := range state.Interfaces {
		out.Interfaces = append(out.Interfaces, health.Interface{Name: one.Name, Mode: string(one.Mode), Error: one.Error})
	}
	return out
}

// Tallies returns the exact counts; none where nothing is guarded.
func (p *perimeter) Tallies() (appliance.Tallies, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return appliance.Tallies{}, nil
	}
	return p.gate.Tallies()
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
				p.report(appliance.Event{Time: p.now(), Kind: appliance.EventGate, Message: fmt.Sprintf("no samples: %v", err)})
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
	return err
}
