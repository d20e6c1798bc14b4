package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/ringfence/ringfence/scripts/peers"
)

// findings is all that the acts measured.
type findings struct {
	servers     []*peers.Server // who answers calls: provider, provider on IPv6, PBX
	unprotected int             // disguises that reached the provider without the box
	tried       int             // of how many
	registered  int
	results     []result
	attempts    []attempt
	scans       []scan
	witness     peers.Witness // after every attack, the crash included
	crash       crashed
}

// scan is one thing that the attacker tried and what it got.
type scan struct {
	name  string
	found string // empty for nothing
}

// crashed is what the daemon's violent end and its return changed.
type crashed struct {
	before, after box
	alive, dead   int      // INVITEs that the attacker sent meanwhile
	gate          []string // what the gate's journal says of the restart
}

func (d *demo) prepare(ctx context.Context) error {
	d.heading("Ringfence: a box in front of a PBX, real peers, real attacks")
	err := d.step("build", func() (string, error) {
		cmd := exec.CommandContext(ctx, filepath.Join(d.lab.Root, "scripts/build"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build: %w\n%s", err, out)
		}
		return "ringfenced, ringfence", nil
	})
	if err != nil {
		return err
	}
	return d.step("raise the lab", func() (string, error) {
		if _, err := d.lab.Script(ctx, "down"); err != nil {
			return "", err
		}
		_, err := d.lab.Script(ctx, "up")
		return "attacker, provider, box and PBX in namespaces of their own", err
	})
}

// answer starts the peers that take calls. Without the box only IPv4 is asked.
func (d *demo) answer(ctx context.Context, name string) error {
	d.servers = nil
	for _, s := range []peers.Script{
		{Name: name + "-provider", Host: "provider", Scenario: "provider", Local: peers.Provider + ":5060"},
		{Name: name + "-provider6", Host: "provider", Scenario: "provider", Local: "[" + peers.Provider6 + "]:5060"},
		{Name: name + "-pbx", Host: "pbx", Scenario: "pbx", Local: peers.PBX + ":5060"},
	} {
		server, err := d.lab.Serve(ctx, s)
		if err != nil {
			return err
		}
		d.servers = append(d.servers, server)
	}
	return nil
}

// forward is what many a site has instead of a box: SIP from anywhere goes to the
// PBX.
const forward = `add table ip forward
add chain ip forward prerouting { type nat hook prerouting priority dstnat; }
add rule ip forward prerouting iifname wan0 udp dport 5060 dnat to 10.77.0.10`

func (d *demo) before(ctx context.Context) error {
	d.heading("Without Ringfence: a router that forwards port 5060 to the PBX")
	if err := d.answer(ctx, "before"); err != nil {
		return err
	}
	if err := d.nft(ctx, forward); err != nil {
		return err
	}
	err := d.step("svmap and svwar from the internet", func() (string, error) { return d.scanned(ctx) })
	if err != nil {
		return err
	}
	err = d.step("high-risk calls in disguise", func() (string, error) {
		for _, one := range disguises() {
			if one.method == "302" {
				continue // its inbound call needs the box
			}
			got, err := d.attempt(ctx, one, peers.Provider)
			if err != nil {
				return "", err
			}
			d.tried++
			if got.reached {
				d.unprotected++
			}
		}
		return fmt.Sprintf("%d of %d reach the provider", d.unprotected, d.tried), nil
	})
	if err != nil {
		return err
	}
	for _, server := range d.servers {
		server.Stop()
	}
	return d.nft(ctx, "delete table ip forward")
}

func (d *demo) nft(ctx context.Context, ruleset string) error {
	if out, err := d.lab.Command(ctx, "box", "nft", ruleset).CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

func (d *demo) guard(ctx context.Context) error {
	d.heading("With Ringfence")
	err := d.step("start ringfenced", func() (string, error) {
		if _, err := d.lab.Script(ctx, "daemon", "start"); err != nil {
			return "", err
		}
		box, err := d.read(ctx)
		return box.gate, err
	})
	if err != nil {
		return err
	}
	if err := d.answer(ctx, "with"); err != nil {
		return err
	}
	return d.lab.ResetWitness(ctx)
}

func (d *demo) traffic(ctx context.Context) error {
	err := d.step("register the PBX's line through the box, with digest", func() (string, error) {
		const want = 3
		outcome, err := d.lab.Call(ctx, peers.Script{
			Name: "register", Host: "pbx", Scenario: "register",
			Local: peers.PBX + ":5079", Remote: peers.BoxLAN + ":5060",
			Options: []string{"-m", fmt.Sprint(want), "-auth_uri", peers.Provider},
		})
		for _, m := range outcome.Messages {
			if !m.Sent && m.Status() == 200 && m.Method() == "REGISTER" {
				d.registered++
			}
		}
		return fmt.Sprintf("%d of %d accepted by the provider", d.registered, want), err
	})
	if err != nil {
		return err
	}
	return d.step("calls that have to pass", func() (string, error) { return d.placeAll(ctx) })
}

func (d *demo) placeAll(ctx context.Context) (string, error) {
	all := groups()
	d.results = make([]result, len(all))
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, one := range all {
		wait.Go(func() { d.results[i], errs[i] = d.place(ctx, one) })
	}
	wait.Wait()
	made, completed := d.allowed()
	return fmt.Sprintf("%d of %d completed", completed, made), errors.Join(errs...)
}

func (d *demo) allowed() (made, completed int) {
	for _, r := range d.results {
		made += r.calls
		completed += min(r.completed, r.seen)
	}
	return made, completed
}
