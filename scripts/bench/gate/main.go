// Command gate prints what the XDP gate costs, in ratios against its peers, and
// how far each is from its goal. It runs the benchmarks of package gate, the
// only one that may load programs, and needs root. The medians go to
// build/bench/gate.json, the chart to docs/gate-cost.svg.
//
// While a benchmark is written, RINGFENCE_BENCH_ROUNDS, RINGFENCE_BENCH_PACKETS,
// RINGFENCE_BENCH_PREFIXES (the longest list) and RINGFENCE_BENCH_STORM (packets of
// the swap storm) make runs short.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ringfence/ringfence/scripts/bench/figures"
)

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(stop, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench gate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout, stderr io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("loading XDP programs needs root")
	}
	var result figures.Result
	failed := measure(ctx, stdout, stderr, &result)
	if err := figures.Print(stdout, result.Figures); err != nil {
		return errors.Join(failed, err)
	}
	for _, note := range result.Notes {
		fmt.Fprintln(stdout, "not measured:", note)
	}
	return errors.Join(failed, keep(result))
}

// benchmarks are those of package gate that take part.
const benchmarks = "^Benchmark(Matrix|Peers|RandomSources|Floods|Compile|SwapStorm|Verifier)$"

// measure fills in what the benchmarks say, and passes on what is meant for
// people.
func measure(ctx context.Context, stdout, stderr io.Writer, result *figures.Result) error {
	bench := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", benchmarks, "-benchtime", "1x", "-timeout", "30m",
		"github.com/ringfence/ringfence/appliance/gate")
	bench.Stderr = stderr
	// An interrupt ends the go command, and it its test, so nothing is left over.
	bench.Cancel = func() error { return bench.Process.Signal(os.Interrupt) }
	bench.WaitDelay = 10 * time.Second
	out, err := bench.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open output: %w", err)
	}
	if err := bench.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	read := sort(out, stdout, result)
	if err := bench.Wait(); err != nil {
		return fmt.Errorf("run benchmarks: %w", errors.Join(err, read))
	}
	return read
}

// noise is what go test prints besides: absolute figures, which mean nothing on
// another machine, and its own state.
var noise = []string{"goos:", "goarch:", "pkg:", "cpu:", "Benchmark", "PASS", "ok "}

// sort tells the lines that are meant for the result from the others. It reads
// to the end whatever it finds, so that the benchmark never waits for it.
func sort(from io.Reader, to io.Writer, result *figures.Result) error {
	var mistakes []error
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		taken, err := result.Read(lines.Text())
		if err != nil {
			mistakes = append(mistakes, err)
		}
		if !taken && !isNoise(lines.Text()) {
			fmt.Fprintln(to, lines.Text())
		}
	}
	return errors.Join(append(mistakes, lines.Err())...)
}

func isNoise(line string) bool {
	for _, prefix := range noise {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// Where results go, from the top of the tree, which scripts/bench/run works in.
const (
	folder = "build/bench"
	chart  = "docs/gate-cost.svg"
)

// keep writes the result. A run that was cut short by a setting of the
// environment, or that lacks something, leaves the chart of the documentation
// alone and draws its own beside the JSON.
func keep(result figures.Result) error {
	text, err := json.MarshalIndent(result, "", "\t")
	if err != nil {
		return err
	}
	if err := write(filepath.Join(folder, "gate.json"), append(text, '\n')); err != nil {
		return err
	}
	if len(result.Curves) == 0 {
		return nil
	}
	to := chart
	if short() || len(result.Notes) > 0 {
		to = filepath.Join(folder, filepath.Base(chart))
	}
	return write(to, []byte(figures.Chart(result.Curves)))
}

func short() bool {
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "RINGFENCE_BENCH_") {
			return true
		}
	}
	return false
}

func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
