package main

import (
	"context"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// box is what the box says of itself, through its own command line.
type box struct {
	generation string
	gate       string // one sentence
	drops      appliance.Tallies
	calls      []appliance.Call
}

func (d *demo) read(ctx context.Context) (box, error) {
	var status api.Status
	if err := d.lab.Read(ctx, &status, "status"); err != nil {
		return box{}, err
	}
	b := box{generation: status.Generation}
	for _, check := range status.Checks {
		if check.Name == "gate" {
			b.gate = check.Message
		}
	}
	var drops api.Drops
	if err := d.lab.Read(ctx, &drops, "drops"); err != nil {
		return box{}, err
	}
	var calls api.Calls
	if err := d.lab.Read(ctx, &calls, "calls", "--limit", "1000"); err != nil {
		return box{}, err
	}
	b.drops, b.calls = drops.Tallies, calls.Calls
	return b, nil
}

// journal returns the messages of the box's journal of one kind since a moment,
// oldest first.
func (d *demo) journal(ctx context.Context, kind appliance.EventKind, since time.Time) ([]string, error) {
	var found api.Events
	err := d.lab.Read(ctx, &found, "events", "--kind", string(kind), "--limit", "1000")
	var messages []string
	for _, entry := range slices.Backward(found.Events) {
		if entry.Time.After(since) {
			messages = append(messages, entry.Message)
		}
	}
	return messages, err
}
