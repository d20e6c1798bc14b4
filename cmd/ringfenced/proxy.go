package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/inspector"
)

// retryEvery is how long the daemon waits before it tries again what the kernel
// refused: an address that DHCP has not brought yet, an interface that is late.
const retryEvery = 2 * time.Second

// proxy keeps an inspector running on the addresses in force. An inspector's
// sockets are fixed: where the addresses change, another takes its place. One
// that can't listen is told of and tried again; the daemon goes on, because its
// control API is where the mistake can be mended.
type proxy struct {
	box    *control.Control
	report func(appliance.Event)
	shut   <-chan struct{} // closed once the gate is shut
	now    func() time.Time

	mu      sync.Mutex
	current *inspector.Inspector // nil until the gate is shut
	past    map[appliance.Reason]uint64
	trouble error
}

func newProxy(box *control.Control, report func(appliance.Event), shut <-chan struct{}, now func() time.Time) *proxy {
	return &proxy{box: box, report: report, shut: shut, now: now, past: map[appliance.Reason]uint64{}}
}

func (p *proxy) run(ctx context.Context) error {
	select {
	case <-p.shut:
	case <-ctx.Done():
		return nil
	}
	for ctx.Err() == nil {
		state := p.box.State()
		err := p.serve(ctx, state)
		if err != nil {
			p.fail(err)
			wait(ctx, retryEvery, state.Superseded)
		}
	}
	return nil
}

// serve runs one inspector until ctx ends or its addresses are no longer those
// in force.
func (p *proxy) serve(ctx context.Context, state *control.State) error {
	next, err := inspector.New(p.box.Rules, p.report)
	if err != nil {
		return err
	}
	p.replace(next)
	during, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() {
		p.moved(during, state)
		stop()
	})
	err = next.Run(during)
	stop()
	watch.Wait()
	return err
}

// moved returns when the listening addresses in force differ from those of
// state, or ctx has ended.
func (p *proxy) moved(ctx context.Context, state *control.State) {
	want := state.Rules.SIP().Listen
	for slices.Equal(want, state.Rules.SIP().Listen) {
		select {
		case <-state.Superseded:
			state = p.box.State()
		case <-ctx.Done():
			return
		}
	}
}

func (p *proxy) replace(next *inspector.Inspector) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		for reason, count := range p.current.Tallies() {
			p.past[reason] += count
		}
	}
	p.current = next
}

// fail keeps the trouble for status, and tells of it where it is another than
// at the try before.
func (p *proxy) fail(err error) {
	p.mu.Lock()
	known := p.trouble != nil && p.trouble.Error() == err.Error()
	p.trouble = err
	p.mu.Unlock()
	if !known {
		p.report(appliance.Event{Time: p.now(), Kind: appliance.EventDaemon, Message: fmt.Sprintf("the inspector can't run: %v", err)})
	}
}

// Trouble returns why the inspector does not run, or did not when it was tried
// last; nil where it always did.
func (p *proxy) Trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return errors.New("the gate is not shut yet")
	}
	return p.trouble
}

// Listeners returns the sockets that are open.
func (p *proxy) Listeners() []string {
	if current := p.inspector(); current != nil {
		return current.Listeners()
	}
	return nil
}

// Live returns the calls in progress.
func (p *proxy) Live() []appliance.Call {
	if current := p.inspector(); current != nil {
		return current.Live()
	}
	return nil
}

// Tallies counts since the daemon started, over every inspector.
func (p *proxy) Tallies() map[appliance.Reason]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := maps.Clone(p.past)
	if p.current != nil {
		for reason, count := range p.current.Tallies() {
			out[reason] += count
		}
	}
	return out
}

func (p *proxy) inspector() *inspector.Inspector {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}
