package main

import (
	"context"
	"time"

	"github.com/ringfence/ringfence/appliance/control"
)

// fetching has control keep the feeds current that have a url.
type fetching struct {
	box  *control.Control
	shut <-chan struct{} // closed when the gate is shut: before, nothing can be put in force
	wait func(ctx context.Context, pause time.Duration, early <-chan struct{})
}

// run fetches what is due until ctx ends. Documents that change may name another
// feed: they are looked at as soon as they are in force.
func (f fetching) run(ctx context.Context) error {
	select {
	case <-f.shut:
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		state := f.box.State()
		pause := f.box.FetchDue(ctx)
		f.wait(ctx, pause, state.Superseded)
	}
	return nil
}
