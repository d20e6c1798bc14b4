package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/scripts/peers"
)

// kill9 ends the daemon with SIGKILL under a flood and starts it again
// under the same flood. The attacker counts what it sends; the gate's counters
// have to agree to the packet.
func (d *demo) kill9(ctx context.Context) error {
	return d.step("kill -9 the daemon under a flood of INVITEs", func() (string, error) {
		var err error
		start := time.Now()
		if d.crash.before, err = d.read(ctx); err != nil {
			return "", err
		}
		for _, phase := range []struct {
			daemon string
			count  *int
		}{{"kill9", &d.crash.alive}, {"", &d.crash.dead}, {"start", &d.crash.alive}} {
			if err := d.flood(ctx, phase.daemon, phase.count); err != nil {
				return "", err
			}
		}
		if d.crash.after, err = d.read(ctx); err != nil {
			return "", err
		}
		if d.crash.gate, err = d.journal(ctx, appliance.EventGate, start); err != nil {
			return "", err
		}
		d.witness, err = d.lab.Witness(ctx)
		return fmt.Sprintf("%d sent while it was dead, %d got through", d.crash.dead, d.witness.BehindGate), err
	})
}

// flood sends INVITEs and, where a word for scripts/lab daemon is given, does that
// in the midst of them.
func (d *demo) flood(ctx context.Context, daemon string, count *int) error {
	var wait sync.WaitGroup
	var sent int
	var floodErr, daemonErr error
	wait.Go(func() { sent, floodErr = d.lab.Flood(ctx, peers.BoxWAN+":5060", 1500, time.Millisecond) })
	if daemon != "" {
		wait.Go(func() {
			select {
			case <-time.After(300 * time.Millisecond):
				_, daemonErr = d.lab.Script(ctx, "daemon", daemon)
			case <-ctx.Done():
			}
		})
	}
	wait.Wait()
	*count += sent
	return errors.Join(floodErr, daemonErr)
}
