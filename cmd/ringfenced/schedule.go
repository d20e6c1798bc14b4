package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/health"
	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/store"
	"github.com/ringfence/ringfence/appliance/watch"
)

// schedule is what happens by the clock.
type schedule struct {
	box      *control.Control
	wan      *perimeter
	names    directory
	kernel   ports
	disk     *store.Store
	monitor  *health.Monitor
	engine   *watch.Watch
	accounts func() []appliance.Account
	report   func(appliance.Event)
	now      func() time.Time
	log      *slog.Logger
}

// run has every job done at its pace until ctx ends. A job that is still at it
// is not started again.
func (s schedule) run(ctx context.Context) error {
	scheduler, err := gocron.NewScheduler()
	if err != nil {
		return fmt.Errorf("make schedule: %w", err)
	}
	level := appliance.Green
	for _, job := range []struct {
		name  string
		every time.Duration
		do    func() error
	}{
		// An exception ends in the second in which it should.
		{"expire exceptions", time.Second, s.expire},
		// What nobody reports: a clock that was set, an interface that came
		// back, a gate that somebody else reloaded.
		{"reconcile", 15 * time.Second, s.reconcile},
		{"rank drops", 15 * time.Second, s.box.Observe},
		{"tidy gate", time.Hour, s.wan.tidy},
		{"keep names", time.Hour, s.names.keep},
		{"watch health", 30 * time.Second, func() error { s.watch(&level); return nil }},
		{"prune records", time.Hour, s.disk.Prune},
		{"census", time.Minute, func() error { s.engine.Count(s.accounts()); return nil }},
		{"hours and digest", time.Minute, func() error { s.engine.Minute(s.box.State().Settings.Notify.Digest); return nil }},
	} {
		work := func() {
			if err := job.do(); err != nil {
				s.log.Error("scheduled job", "job", job.name, "err", err)
			}
		}
		_, err := scheduler.NewJob(gocron.DurationJob(job.every), gocron.NewTask(work),
			gocron.WithName(job.name), gocron.WithSingletonMode(gocron.LimitModeReschedule))
		if err != nil {
			return fmt.Errorf("schedule %s: %w", job.name, err)
		}
	}
	scheduler.Start()
	<-ctx.Done()
	if err := scheduler.Shutdown(); err != nil {
		return fmt.Errorf("stop schedule: %w", err)
	}
	return nil
}

func (s schedule) expire() error {
	expires := s.box.Rules().Expires()
	if expires.IsZero() || s.now().Before(expires) {
		return nil
	}
	return s.box.Refresh()
}

func (s schedule) reconcile() error {
	_ = s.kernel.reserve(s.box.Rules()) // health tells
	s.names.track()                     // the box may have other addresses
	if err := s.wan.lock.mend(); err != nil {
		s.log.Error("mend the egress lock", "err", err)
	}
	if err := s.wan.mend(); err != nil {
		return fmt.Errorf("mend the gate: %w", err)
	}
	return s.box.Refresh()
}

// links reconciles as soon as interfaces or addresses change, until ctx ends. The
// clock does it too: a kernel that tells nothing costs a quarter of a minute.
func (s schedule) links(ctx context.Context) error {
	err := network.Watch(ctx, func() {
		if err := s.reconcile(); err != nil {
			s.log.Error("reconcile", "err", err)
		}
	})
	if err != nil {
		s.log.Error("changes of interfaces are found by the clock alone", "err", err)
		<-ctx.Done()
	}
	return nil
}

// watch journals every change of the box's level.
func (s schedule) watch(level *appliance.Level) {
	status := s.monitor.Status()
	if status.Level == *level {
		return
	}
	*level = status.Level
	message := "the box is " + status.Level.String()
	for _, check := range status.Checks {
		if check.Level == status.Level && check.Level != appliance.Green {
			message += "; " + check.Name + ": " + check.Message
		}
	}
	s.report(appliance.Event{Time: status.Time, Kind: appliance.EventDaemon, Verdict: appliance.Allow, Subject: "health", Message: message})
}
