package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// How often new packets are asked for, and how often a daemon that does not
// answer.
const (
	followEvery = 500 * time.Millisecond
	retryEvery  = 2 * time.Second
)

// follower prints packets oldest first, one a line, until its context ends. It
// outlives the daemon: whoever watches an attack wants to see its end.
type follower struct {
	*app
	started time.Time // of the daemon that last belongs to
	last    uint64    // Seq of the latest packet that was printed
	away    bool      // the daemon did not answer the last time
}

func (f *follower) run(ctx context.Context, answer api.Drops) error {
	if !f.json {
		f.columns(cellsOf(sampleHeading(), dim))
	}
	for {
		if err := errors.Join(f.print(answer.Samples), f.view.flush()); err != nil {
			return err
		}
		f.started = answer.Started
		var err error
		if answer, err = f.next(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// next waits for what comes after the last packet. Another daemon counts from
// the beginning.
func (f *follower) next(ctx context.Context) (api.Drops, error) {
	for pause := followEvery; ; {
		select {
		case <-ctx.Done():
			return api.Drops{}, nil
		case <-time.After(pause):
		}
		answer, err := f.client().Drops(ctx, f.last, api.MaxLimit)
		if err == nil && !answer.Started.Equal(f.started) {
			f.last = 0
			answer, err = f.client().Drops(ctx, 0, api.MaxLimit)
		}
		if err == nil {
			f.back()
			return answer, nil
		}
		if pause = retryEvery; !f.wait(ctx, err) {
			return api.Drops{}, err
		}
	}
}

// back tells that the daemon answers, where it was told that it does not.
func (f *follower) back() {
	if f.away {
		f.away = false
		fmt.Fprintln(f.env.stderr, "ringfence: the daemon answers again")
	}
}

// wait tells once that the daemon does not answer, and whether it may yet. What
// it answers itself, such as that a request is wrong, it will say again.
func (f *follower) wait(ctx context.Context, err error) bool {
	if _, answered := errors.AsType[appliance.Errors](err); answered && appliance.CodeOf(err) != appliance.CodeUnavailable {
		return false
	}
	if !f.away && ctx.Err() == nil {
		f.away = true
		fmt.Fprintf(f.env.stderr, "ringfence: %s; waiting for it\n", printable(err.Error()))
	}
	return true
}

func (f *follower) print(samples []api.Sample) error {
	for _, sample := range slices.Backward(samples) {
		if missed := sample.Seq - f.last - 1; f.last > 0 && missed > 0 && !f.json {
			f.view.line(cell{fmt.Sprintf("... %d more came too fast to be shown", missed), dim})
		}
		f.last = sample.Seq
		if f.json {
			if err := json.NewEncoder(f.env.stdout).Encode(sample); err != nil {
				return err
			}
			continue
		}
		f.columns(f.sampleRows([]api.Sample{sample})[0])
	}
	return nil
}

// columns writes a row in columns that don't depend on what comes next.
func (f *follower) columns(row []cell) {
	widths := []int{9, 8, 24, 24, 9, 6, 0}
	for i := range row {
		row[i].text = pad(row[i].text, widths[i]) + " "
	}
	f.view.line(row...)
}

func cellsOf(texts []string, s style) []cell {
	out := make([]cell, len(texts))
	for i, text := range texts {
		out[i] = cell{text, s}
	}
	return out
}
