package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// decision is the cost of one decision with a list of 100,000 prefixes, in
// nanoseconds by the sort of number: medians of package rules' own benchmark.
func decision(ctx context.Context, root string) (readings, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkCall$", "-count", "5", "./appliance/rules")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run benchmark of decisions: %w", err)
	}
	all := readings{}
	for line := range strings.Lines(string(out)) {
		// BenchmarkCall/national-2   1000000   1366 ns/op   496 B/op   4 allocs/op
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != "ns/op" {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "BenchmarkCall/"), "-")
		value, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		all.add(name, value)
	}
	return all, nil
}

// sorts are the numbers of that benchmark.
var sorts = [...]string{"national", "international", "blocked", "disguised"}

// reportDecision prints the medians. They are times, since the goal is one: under 2
// microseconds.
func reportDecision(all readings) {
	fmt.Println("decision with 100,000 prefixes, microseconds, less is better, goal under 2")
	for _, sort := range sorts {
		if len(all[sort]) > 0 {
			fmt.Printf("  %-14s %.2f\n", sort, all.median(sort)/1000)
		}
	}
}
