package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/hep"
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
	parts  inspector.Parts
	shut   <-chan struct{} // closed once the gate is shut
	copies *hep.Exporter
	now    func() time.Time

	mu      sync.Mutex
	current *inspector.Inspector // nil until the gate is shut
	former  *inspector.Inspector // the one before, for what it kept of calls; nil where there was none
	past    map[appliance.Reason]uint64
	trouble error
}

func newProxy(box *control.Control, parts inspector.Parts, copies *hep.Exporter, shut <-chan struct{}, now func() time.Time) *proxy {
	parts.Rules, parts.Observing = box.Rules, inspector.Observing{Firmware: version(), Tap: copies}
	return &proxy{box: box, parts: parts, copies: copies, shut: shut, now: now, past: map[appliance.Reason]uint64{}}
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
	next, err := inspector.New(p.parts)
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
	want, now := state.Rules.SIP(), state.Rules.SIP()
	for slices.Equal(want.Listen, now.Listen) && slices.Equal(want.Secure, now.Secure) && slices.Equal(want.Intercepted, now.Intercepted) {
		select {
		case <-state.Superseded:
			state = p.box.State()
			now = state.Rules.SIP()
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
	p.former, p.current = p.current, next
}

// fail keeps the trouble for status, and tells of it where it is another than
// at the try before.
func (p *proxy) fail(err error) {
	p.mu.Lock()
	known := p.trouble != nil && p.trouble.Error() == err.Error()
	p.trouble = err
	p.mu.Unlock()
	if !known {
		p.parts.Report(appliance.Event{Time: p.now(), Kind: appliance.EventDaemon, Message: fmt.Sprintf("the inspector can't run: %v", err)})
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
	if trouble := p.current.Trouble(); trouble != nil {
		return trouble
	}
	return p.trouble
}

// Trunks returns the trunks in force and what is known of them.
func (p *proxy) Trunks() []appliance.Trunk {
	if current := p.inspector(); current != nil {
		return current.Trunks()
	}
	return nil
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

// Cut ends a call in progress, or returns how far that has come.
func (p *proxy) Cut(ctx context.Context, id, reason string) (appliance.Cut, error) {
	current := p.inspector()
	if current == nil {
		return appliance.Cut{}, &appliance.Error{Code: appliance.CodeUnavailable, Message: "the inspector does not run yet"}
	}
	return current.Cut(ctx, id, reason)
}

// Cuts returns the calls that are being cut.
func (p *proxy) Cuts() []appliance.Cut {
	if current := p.inspector(); current != nil {
		return current.Cuts()
	}
	return nil
}

// Trace returns what is kept of the messages of a SIP Call-ID, also by the
// inspector before this one.
func (p *proxy) Trace(callID string) appliance.Trace {
	p.mu.Lock()
	current, former := p.current, p.former
	p.mu.Unlock()
	if current == nil {
		return appliance.Trace{Note: "the inspector does not run yet"}
	}
	kept := current.Trace(callID)
	if former != nil && len(kept.Messages) == 0 {
		return former.Trace(callID)
	}
	return kept
}

// Export says how sending copies of messages goes.
func (p *proxy) Export() appliance.Export { return p.copies.Export() }

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

// Accounts returns who uses the inspector, and who may.
func (p *proxy) Accounts() []appliance.Account { return p.parts.Watch.Accounts() }

// Suspects returns the sources that the guard holds something against.
func (p *proxy) Suspects(limit int) ([]appliance.Suspect, int) { return p.parts.Watch.Suspects(limit) }

// Pardon forgets what the guard holds against a source.
func (p *proxy) Pardon(source netip.Prefix) { p.parts.Watch.Pardon(source) }

func (p *proxy) inspector() *inspector.Inspector {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}
