package main

import (
	"context"
	"sync"

	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/hep"
	"github.com/ringfence/ringfence/appliance/inspector"
)

var _ inspector.Tap = (*hep.Exporter)(nil)

// exporting keeps copies of messages going to the collector that the settings in
// force name, and to none where they name none.
type exporting struct {
	box      *control.Control
	exporter *hep.Exporter
}

func (e exporting) run(ctx context.Context) error {
	for ctx.Err() == nil {
		state := e.box.State()
		during, stop := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() {
			e.moved(during, state)
			stop()
		})
		err := e.send(during, collector(state))
		stop()
		watch.Wait()
		if err != nil {
			return err
		}
	}
	return nil
}

// send runs until ctx ends.
func (e exporting) send(ctx context.Context, to hep.Collector) error {
	if to == (hep.Collector{}) {
		<-ctx.Done()
		return nil
	}
	return e.exporter.Run(ctx, to)
}

// collector is the one that a state names; zero for none.
func collector(state *control.State) hep.Collector {
	to := state.Settings.HEP
	return hep.Collector{Address: to.Address, Transport: string(to.Transport), CaptureID: to.CaptureID, Password: to.Password}
}

// moved returns when the collector in force differs from that of state, or ctx has
// ended.
func (e exporting) moved(ctx context.Context, state *control.State) {
	want := collector(state)
	for collector(state) == want {
		select {
		case <-state.Superseded:
			state = e.box.State()
		case <-ctx.Done():
			return
		}
	}
}
