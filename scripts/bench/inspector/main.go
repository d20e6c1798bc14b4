// Command inspector measures the SIP inspector against Debian's kamailio doing the
// same prefix job (../kamailio.cfg): the same box, the same load from the same
// sipp, both running throughout, loaded in turn. It prints ratios only, each the
// median over the rounds, because absolute figures belong to the machine. Latency is
// of the calls of all rounds: a tail takes more than one makes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/ringfence/ringfence/scripts/peers"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds, each of every measurement for either side")
	calls := flag.Int("calls", 4000, "calls of one measurement under load")
	probes := flag.Int("probes", 400, "calls of one measurement of latency")
	profiled := flag.Bool("profile", false, "load ringfenced alone, built to write profiles, and print where its time goes")
	only := flag.String("only", "", "with -profile: call or refused, for one sort of load")
	held := flag.Int("memory", 0, "draw what ringfenced holds over so many calls, and over as many garbage datagrams, instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := func() error { return run(ctx, *rounds, *calls, *probes) }
	switch {
	case *held > 0:
		do = func() error { return memory(ctx, *held) }
	case *profiled:
		do = func() error { return profile(ctx, *rounds, *calls, *probes, *only) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is the lab with the proxies on its box.
type bench struct {
	lab       *peers.Lab
	ringfence proxy
	kamailio  proxy
	stateless proxy // kamailio that refuses without a transaction: less than the same job
	calls     int
	probes    int
}

// proxy is one side: where it listens and the processes that are its cost.
type proxy struct {
	name string
	lan  string
	pids []int
}

func run(ctx context.Context, rounds, calls, probes int) error {
	return within(ctx, func(ctx context.Context, lab *peers.Lab) error {
		b := &bench{lab: lab, calls: calls, probes: probes}
		version, err := b.raise(ctx)
		if err != nil {
			return err
		}
		all, err := b.measure(ctx, rounds)
		if err != nil {
			return err
		}
		if err := errors.Join(report(all, rounds, version), keep(lab, all)); err != nil {
			return err
		}
		decisions, err := decision(ctx, lab.Root)
		if err != nil {
			return err
		}
		reportDecision(decisions)
		return nil
	})
}

// within opens a lab for do and takes it down again. Logs are kept where do
// fails.
func within(ctx context.Context, do func(context.Context, *peers.Lab) error) (err error) {
	logs, err := os.MkdirTemp("", "ringfence-bench-")
	if err != nil {
		return err
	}
	lab, err := peers.Open("rf-bench", "", logs)
	if err != nil {
		return err
	}
	lab.Bin = filepath.Join(lab.Root, "build")
	build := exec.CommandContext(ctx, "scripts/build") // what is measured is what stands here
	build.Dir, build.Stderr = lab.Root, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the daemon: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		_, downErr := lab.Script(context.WithoutCancel(ctx), "down")
		if err = errors.Join(err, downErr); err == nil {
			err = os.RemoveAll(logs)
		} else {
			err = fmt.Errorf("%w (logs in %s)", err, logs)
		}
	}()
	return do(ctx, lab)
}

// raise puts the proxies on the box and a provider behind them, and returns
// kamailio's version.
func (b *bench) raise(ctx context.Context) (string, error) {
	err := b.raiseOurs(ctx)
	if err != nil {
		return "", err
	}
	if b.kamailio, err = b.startKamailio(ctx, "kamailio", kamailioPort); err != nil {
		return "", err
	}
	if b.stateless, err = b.startKamailio(ctx, "stateless", statelessPort, "-A", "STATELESS"); err != nil {
		return "", err
	}
	out, err := b.lab.Command(ctx, "box", "kamailio", "-v").Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) < 3 {
		return "", fmt.Errorf("ask kamailio for its version: %w", err)
	}
	return words[2], nil
}

// raiseOurs puts ringfenced on the box and a provider behind it.
func (b *bench) raiseOurs(ctx context.Context) error {
	for _, step := range [...]string{"down", "up"} {
		if _, err := b.lab.Script(ctx, step); err != nil {
			return err
		}
	}
	if err := b.guardAll(); err != nil {
		return err
	}
	if _, err := b.lab.Script(ctx, "daemon", "start"); err != nil {
		return err
	}
	var err error
	if b.ringfence, err = b.daemon(); err != nil {
		return err
	}
	// Without its watchdog, sipp ends where it was late too often: a long run on a
	// busy machine loses its provider.
	_, err = b.lab.Serve(ctx, peers.Script{Name: "provider", Host: "provider", Scenario: "ring",
		Local: peers.Provider + ":5060", Quiet: true, Options: []string{"-watchdog_interval", "0"}})
	return err
}

// Where kamailio listens.
const kamailioPort, statelessPort = 5070, 5080

// guardAll adds kamailio's ports to the guarded ones, so that the gate has the
// same work on either path.
func (b *bench) guardAll() error {
	from := filepath.Join(b.lab.Root, "scripts/lab.d/settings.json")
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var settings map[string]any
	if err := json.Unmarshal(data, &settings); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	settings["ports"] = map[string]any{"sip": []int{kamailioPort, statelessPort}, "http": []int{}}
	if data, err = json.Marshal(settings); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.lab.State(), "settings.json"), data, 0o600)
}

// readings are the measurements of all rounds, by name.
type readings map[string][]float64

func (f readings) add(name string, value float64) { f[name] = append(f[name], value) }

func (f readings) median(name string) float64 { return quantile(f[name], 0.5) }

// paired is the median over the rounds of a ratio that is taken within each: what
// changes on the machine between two rounds is in both its sides.
func (f readings) paired(ratio func(round int) float64) float64 {
	var all []float64
	for n := range f["ringfence call cpu"] {
		all = append(all, ratio(n))
	}
	return quantile(all, 0.5)
}

// quantile is the nearest-rank quantile of values, which must not be empty.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// measure alternates between the sides, and turns the order round every round.
func (b *bench) measure(ctx context.Context, rounds int) (readings, error) {
	all := readings{}
	sides := []proxy{b.ringfence, b.kamailio}
	for _, side := range sides { // warm up, unmeasured
		if err := b.round(ctx, side, readings{}); err != nil {
			return nil, err
		}
	}
	for n := range rounds {
		if err := b.latency(ctx, direct, all); err != nil {
			return nil, err
		}
		for _, side := range sides {
			if err := b.round(ctx, side, all); err != nil {
				return nil, err
			}
		}
		slices.Reverse(sides)
		fmt.Fprintf(os.Stderr, "inspector: round %d of %d\n", n+1, rounds)
	}
	return all, nil
}

// The numbers that the load calls: one that either side lets pass, one on its list.
const (
	passes  = "+61255500101"
	blocked = "0011252615550148"
)

func (b *bench) round(ctx context.Context, side proxy, all readings) error {
	if err := b.load(ctx, side, "call", passes, all); err != nil {
		return err
	}
	if err := b.load(ctx, side, "refused", blocked, all); err != nil {
		return err
	}
	if side.name == b.kamailio.name {
		if err := b.load(ctx, b.stateless, "refused", blocked, all); err != nil {
			return err
		}
	}
	return b.latency(ctx, side, all)
}

// keep writes every measurement, for whoever wants to look closer: the ratios are
// what is worth comparing.
func keep(lab *peers.Lab, f readings) error {
	folder := filepath.Join(lab.Root, results)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "figures.json"), data, 0o644)
}

func report(f readings, rounds int, version string) error {
	against := func(peer, name string) float64 {
		return f.paired(func(n int) float64 { return f["ringfence "+name][n] / f[peer+" "+name][n] })
	}
	ratio := func(name string) float64 { return against("kamailio", name) }
	added := func(q float64) float64 {
		direct := quantile(f["direct ringing"], q)
		return (quantile(f["ringfence ringing"], q) - direct) / (quantile(f["kamailio ringing"], q) - direct)
	}
	fmt.Printf("inspector / kamailio %s, the same sipp load in turn, medians of %d rounds, latency over all of them\n"+
		"(ringfenced keeps dialogs and writes a record of every call, but of a flood of refused ones; this kamailio does neither)\n", version, rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		what   string
		better string
		ratio  float64
	}{
		{"calls per second, 100 at a time", "more", ratio("call rate")},
		{"CPU per completed call", "less", ratio("call cpu")},
		{"refusals per second, 100 at a time", "more", ratio("refused rate")},
		{"CPU per refused call", "less", ratio("refused cpu")},
		{"the same, kamailio without a transaction", "less", against("stateless", "refused cpu")},
		{"added latency of an INVITE, p50", "less", added(0.50)},
		{"added latency of an INVITE, p99", "less", added(0.99)},
	} {
		fmt.Fprintf(w, "  %s\t%.2fx\t(%s is better)\n", row.what, row.ratio, row.better)
	}
	return w.Flush()
}
