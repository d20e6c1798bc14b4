package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/ringfence/ringfence/appliance/control"
)

// shutting has the gate enforce the loaded rules, and says when it does: until
// then nothing listens on the network.
type shutting struct {
	box    *control.Control
	kernel ports
	log    *slog.Logger
	done   chan struct{}
}

func newShutting(box *control.Control, kernel ports, log *slog.Logger) *shutting {
	return &shutting{box: box, kernel: kernel, log: log, done: make(chan struct{})}
}

// try shuts the gate now, where it can.
func (s *shutting) try() bool {
	if err := s.kernel.reserve(s.box.Rules()); err != nil {
		s.log.Warn("reserve guarded ports", "err", err)
	}
	if err := s.box.Start(); err != nil {
		s.log.Error("shut the gate", "err", err)
		return false
	}
	close(s.done)
	return true
}

// run goes on trying where the first try failed, then waits for the end.
func (s *shutting) run(ctx context.Context) error {
	for !s.isDone() && ctx.Err() == nil {
		if wait(ctx, retryEvery, s.box.State().Superseded); ctx.Err() == nil {
			s.try()
		}
	}
	<-ctx.Done()
	return nil
}

func (s *shutting) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// wait returns after the pause, or when early is closed or ctx ends.
func wait(ctx context.Context, pause time.Duration, early <-chan struct{}) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-early:
	case <-ctx.Done():
	}
}
