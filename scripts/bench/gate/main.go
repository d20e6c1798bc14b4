// Command gate prints how much the XDP program costs for each packet, as
// multiples of bare XDP_DROP and XDP_PASS. It runs the benchmark of package
// gate, the only one that may load programs, and needs root.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	if err := run(os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench gate:", err)
		os.Exit(1)
	}
}

func run(stdout, stderr io.Writer) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("loading XDP programs needs root")
	}
	bench := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkRatios$", "-benchtime", "1x",
		"github.com/ringfence/ringfence/appliance/gate")
	bench.Stderr = stderr
	out, err := bench.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open output: %w", err)
	}
	if err := bench.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	if err := copyTable(stdout, out); err != nil {
		return fmt.Errorf("copy output: %w", err)
	}
	if err := bench.Wait(); err != nil {
		return fmt.Errorf("run benchmark: %w", err)
	}
	return nil
}

// noise is what go test prints around the table: absolute figures, which mean
// nothing on another machine, and its own state.
var noise = []string{"goos:", "goarch:", "pkg:", "cpu:", "Benchmark", "PASS", "ok "}

func copyTable(to io.Writer, from io.Reader) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if isNoise(lines.Text()) {
			continue
		}
		if _, err := fmt.Fprintln(to, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func isNoise(line string) bool {
	for _, prefix := range noise {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}
