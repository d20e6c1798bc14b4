package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/health"
	"github.com/ringfence/ringfence/appliance/store"
	"github.com/ringfence/ringfence/appliance/watch"
)

// bothClocks reads the calendar and the clock that nobody can set: CLOCK_BOOTTIME,
// which goes on over restarts of the daemon and while the machine sleeps. Asking the
// kernel for it is a system call: it is asked once a second, and Go's own clock, which
// runs as fast, says what has passed since.
func bothClocks(now func() time.Time) func() fraud.Moment {
	type reading struct {
		up time.Duration
		at time.Time
	}
	read := func(before reading) *reading {
		var up unix.Timespec
		at := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil { // the kernel has no such clock
			return &reading{before.up + at.Sub(before.at), at}
		}
		return &reading{time.Duration(up.Nano()), at}
	}
	var last atomic.Pointer[reading]
	last.Store(read(reading{at: time.Now()}))
	return func() fraud.Moment {
		is := last.Load()
		passed := time.Since(is.at)
		if passed >= time.Second {
			is, passed = read(*is), 0
			last.Store(is)
		}
		// Without its monotonic part, which would hide that the calendar was set.
		return fraud.Moment{Wall: now().Round(0), Up: is.up + passed}
	}
}

// newFraud opens the behaviour engine over the store.
func newFraud(box *control.Control, disk *store.Store, letters *post, facts *facts, report func(appliance.Event), e env, log *slog.Logger) (*watch.Watch, error) {
	return watch.New(watch.Hands{
		Keeper: disk, Messenger: letters, Cutter: facts, Facts: facts, Rules: box.Rules, Report: report, Now: bothClocks(e.now),
		Site: func() string { return box.State().Settings.Site.Name },
	}, log)
}

// facts is what the engine sees of the box, and how it ends calls. The parts are
// there once the daemon has put itself together.
type facts struct {
	sip     *proxy
	monitor *health.Monitor
}

// Cut implements watch.Cutter. The media has stopped when it returns; the far ends
// are not waited for.
func (f *facts) Cut(id, why string) error {
	current := f.sip.inspector()
	if current == nil {
		return errors.New("the inspector does not run")
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := current.Cut(now, id, why)
	return err
}

// Exposure implements watch.Facts: what the checks of the gate say, read back.
func (f *facts) Exposure() (string, error) {
	if f.monitor == nil {
		return "", errors.New("the daemon is starting")
	}
	var open []string
	for _, check := range f.monitor.Status().Checks {
		// Amber of a single interface is about speed.
		unsafe := check.Name == "gate" && check.Level != appliance.Green || strings.HasPrefix(check.Name, "gate ") && check.Level == appliance.Red
		if unsafe {
			open = append(open, check.Name+": "+check.Message)
		}
	}
	return strings.Join(open, "; "), nil
}

// Strangers implements watch.Facts: registrations in force from a source that is
// neither on the LAN nor one that a document allows the account.
func (f *facts) Strangers(account string) ([]string, error) {
	if f.sip.inspector() == nil {
		return nil, errors.New("the inspector does not run")
	}
	lan := f.sip.box.Rules().SIP().LAN
	var out []string
	for _, one := range f.sip.Accounts() {
		if account != "" && one.Name != account {
			continue
		}
		for _, registration := range one.Registrations {
			if from := registration.Source.Addr(); !within(lan, from) && !allows(one.Allowed, from) {
				out = append(out, fmt.Sprintf("%s (%s)", from, one.Name))
			}
		}
	}
	return out, nil
}

// allows reports whether one of an account's sources is a network around addr.
func allows(sources []string, addr netip.Addr) bool {
	for _, source := range sources {
		if network, err := netip.ParsePrefix(source); err == nil && network.Contains(addr) {
			return true
		}
	}
	return false
}
