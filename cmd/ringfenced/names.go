package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/names"
	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/store"
)

// surroundings tells control what DNS names stand for, and which addresses are
// the box's own.
type surroundings struct{ tracker *names.Tracker }

// Resolved returns the present addresses of each name.
func (s surroundings) Resolved() map[string][]netip.Addr { return s.tracker.Addresses() }

// Targets returns where the locators of trunks lead.
func (s surroundings) Targets() map[string][]appliance.Target { return s.tracker.Targets() }

// Own returns the box's own addresses.
func (s surroundings) Own() ([]netip.Addr, error) { return network.Addresses() }

// directory has the tracker follow the names of the documents in force, and
// control what the tracker finds. What was found is kept: a box that restarts
// while the DNS is away goes on letting its providers in.
type directory struct {
	tracker *names.Tracker
	box     *control.Control
	disk    *store.Store
	changed <-chan struct{}
	log     *slog.Logger
}

// newTracker returns a tracker, and the channel that tells of changes.
func newTracker(e env, report func(appliance.Event)) (*names.Tracker, <-chan struct{}) {
	changed := make(chan struct{}, 1)
	return names.New(names.Config{ResolvConf: e.resolv, Now: e.now, Changed: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}}, report), changed
}

// track tells the tracker the names of the documents in force, and what no name
// may stand for: the LAN and the box itself.
func (d directory) track() {
	state := d.box.State()
	forbidden := slices.Clone(state.Settings.Network.LAN)
	own, err := network.Addresses()
	if err != nil {
		d.log.Error("names may stand for the box itself", "err", err)
	}
	for _, addr := range own {
		forbidden = append(forbidden, netip.PrefixFrom(addr.WithZone(""), addr.BitLen()))
	}
	d.tracker.Track(rules.Names(state.Policy, state.Settings), forbidden)
}

// run follows until ctx ends.
func (d directory) run(ctx context.Context) error {
	for ctx.Err() == nil {
		state := d.box.State()
		d.track()
		select {
		case <-state.Superseded:
		case <-d.changed:
			// What fails here is tried again with the next reconciliation.
			if err := errors.Join(d.box.Refresh(), d.keep()); err != nil {
				d.log.Error("follow names", "err", err)
			}
		case <-ctx.Done():
		}
	}
	return d.keep()
}

// storedNames is what is kept on disk.
type storedNames struct {
	Schema int          `json:"schema"`
	Names  []names.Name `json:"names"`
}

// keep stores what the names stand for. It wants to be called now and then also
// where nothing changes, since addresses have a time after which they are
// believed no more.
func (d directory) keep() error {
	known := d.tracker.State()
	if len(known) == 0 {
		return nil
	}
	data, err := json.MarshalIndent(storedNames{1, known}, "", "  ")
	if err == nil {
		err = d.disk.PutNames(data)
	}
	if err != nil {
		return fmt.Errorf("keep names: %w", err)
	}
	return nil
}

// restore begins with what was kept. Where that can't be used, the DNS tells
// again soon.
func (d directory) restore() {
	d.track()
	note, err := d.disk.Names(func(data []byte) error {
		var stored storedNames
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&stored); err != nil {
			return err
		}
		if stored.Schema != 1 {
			return fmt.Errorf("schema %d; want 1", stored.Schema)
		}
		d.tracker.Restore(stored.Names)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) || note != "" {
		d.log.Warn("names are resolved anew", "err", err, "note", note)
	}
}

// checkNames has a word for all names where all is well, and one for each that
// does not resolve.
func checkNames(tracker *names.Tracker) []appliance.Check {
	var out []appliance.Check
	known, count := tracker.State(), 0
	for _, one := range known {
		count += len(one.Addresses)
		check := appliance.Check{Name: "name " + one.Name, Level: appliance.Amber}
		switch {
		case one.Error != "" && len(one.Addresses) > 0:
			check.Message = fmt.Sprintf("%s; what it stood for is let in for now, %d addresses", one.Error, len(one.Addresses))
		case one.Error != "":
			check.Message = one.Error + ": it lets nobody in"
		case len(one.Addresses) == 0:
			check.Message = "it has not resolved yet: it lets nobody in"
		default:
			continue
		}
		out = append(out, check)
	}
	if len(known) > 0 && len(out) == 0 {
		out = append(out, appliance.Check{Name: "names", Level: appliance.Green, Message: fmt.Sprintf("%d stand for %d addresses", len(known), count)})
	}
	return out
}
