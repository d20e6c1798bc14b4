// Command demo shows a whole Ringfence at work: it raises the namespace lab,
// starts the real daemon in it and sets real peers on it (sipp as PBX and
// provider, sipvicious and an HTTP probe as attacker). Every figure it prints is
// measured, by the box or by a peer. It ends with status 0 only where all that it
// claims holds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ringfence/ringfence/scripts/peers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx))
}

// demo is what the acts share.
type demo struct {
	*screen
	lab *peers.Lab
	findings
}

func run(ctx context.Context) int {
	logs, err := os.MkdirTemp("", "ringfence-demo-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	name := os.Getenv("RINGFENCE_LAB")
	if name == "" {
		name = "rf-demo"
	}
	lab, err := peers.Open(name, "", logs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	lab.Bin = filepath.Join(lab.Root, "build")
	d := &demo{screen: newScreen(os.Stdout), lab: lab}
	err = d.play(ctx)
	d.clear()
	return d.end(ctx, err)
}

// end keeps the logs only where somebody will want to read them.
func (d *demo) end(ctx context.Context, err error) int {
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; the lab is down")
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\ndemo: the logs are in %s\n", err, d.lab.Logs)
		return 1
	}
	if err := os.RemoveAll(d.lab.Logs); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if ctx.Err() != nil {
		return 130
	}
	return 0
}

// clear takes the lab down, the daemon's log put aside first. It has its own
// time: the demo's may be over.
func (d *demo) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if log, err := os.ReadFile(d.lab.DaemonLog()); err == nil {
		_ = os.WriteFile(filepath.Join(d.lab.Logs, "daemon.log"), log, 0o644) // for a person, best effort
	}
	if _, err := d.lab.Script(ctx, "down"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
}

func (d *demo) play(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // ends the peers that answer
	defer cancel()
	for _, act := range []func(context.Context) error{
		d.prepare, d.before, d.guard, d.traffic, d.fraud, d.attack, d.kill9, d.report,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if !d.verdict(d.claims()) {
		return errors.New("not everything holds that should")
	}
	d.line("")
	d.line(fmt.Sprintf("all measured in %.0f s; make run to try it yourself", time.Since(d.began).Seconds()))
	return nil
}
