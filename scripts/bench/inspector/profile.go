package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ringfence/ringfence/scripts/peers"
)

// results is where they go, from the top of the tree.
const results = "build/bench/inspector"

// profile loads ringfenced alone with the measurements of rounds, and prints the
// top of what it spent its time on; only is "call" or "refused" for one sort of
// load. The daemon is one of its own build: those of
// a box can't write profiles.
func profile(ctx context.Context, rounds, calls, probes int, only string) error {
	return within(ctx, func(ctx context.Context, lab *peers.Lab) error {
		folder := filepath.Join(lab.Root, results)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		build := exec.CommandContext(ctx, "go", "build", "-tags", "profile", "-o", folder+"/", "./cmd/...")
		build.Dir, build.Stdout, build.Stderr = lab.Root, os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build the profiled daemon: %w", err)
		}
		lab.Bin = folder
		if err := os.Setenv("RINGFENCE_PROFILE", folder); err != nil {
			return err
		}
		b := &bench{lab: lab, calls: calls, probes: probes}
		if err := b.raiseOurs(ctx); err != nil {
			return err
		}
		all := readings{}
		for range rounds {
			if err := b.part(ctx, only, all); err != nil {
				return err
			}
		}
		if _, err := lab.Script(ctx, "daemon", "stop"); err != nil {
			return err
		}
		return errors.Join(keep(lab, all), top(ctx, folder))
	})
}

// part makes one measurement of a round, or all of them.
func (b *bench) part(ctx context.Context, only string, all readings) error {
	switch only {
	case "":
		return b.round(ctx, b.ringfence, all)
	case "call":
		return b.load(ctx, b.ringfence, only, passes, all)
	case "refused":
		return b.load(ctx, b.ringfence, only, blocked, all)
	}
	return fmt.Errorf("-only %s: want call or refused", only)
}

func top(ctx context.Context, folder string) error {
	for _, one := range [...][]string{
		{"-sample_index=cpu", filepath.Join(folder, "cpu.pprof")},
		{"-sample_index=alloc_space", filepath.Join(folder, "allocs.pprof")},
	} {
		args := append([]string{"tool", "pprof", "-top", "-cum", "-nodecount=60"}, one...)
		show := exec.CommandContext(ctx, "go", args...)
		show.Stdout, show.Stderr = os.Stdout, os.Stderr
		if err := show.Run(); err != nil {
			return fmt.Errorf("read %s: %w", one[1], err)
		}
	}
	return nil
}
