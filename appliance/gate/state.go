package gate

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

// State is what the kernel says of the gate at the moment of asking.
type State struct {
	// Digest names the rules in force, read from the live image; it is empty
	// for the empty generation.
	Digest     string      `json:"digest"`
	Interfaces []Interface `json:"interfaces"`
	// Error is set where the generation in force can't be read.
	Error string `json:"error,omitempty"`
}

// Interface is one WAN interface.
type Interface struct {
	Name    string `json:"name"`
	Index   int    `json:"index,omitempty"`
	Mode    Mode   `json:"mode,omitempty"` // native or generic
	Adopted bool   `json:"adopted"`        // from an earlier daemon, else attached by this one
	// Error says why the interface is not guarded; it is empty if it is.
	Error string `json:"error,omitempty"`
}

// State reads the generation and every interface's hook back from the kernel.
func (g *Gate) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return State{Error: errClosed.Error()}
	}
	var state State
	live, err := readImage(g.kernel.Generation)
	if err != nil {
		state.Error = err.Error()
	} else {
		state.Digest = digestOf(live)
	}
	for _, p := range g.ports {
		state.Interfaces = append(state.Interfaces, g.inspect(p))
	}
	return state
}

func (g *Gate) inspect(p *port) Interface {
	shown := Interface{Name: p.name, Index: p.index, Adopted: p.adopted}
	if p.err != nil {
		shown.Error = p.err.Error()
		return shown
	}
	hook, err := g.verify(p)
	if err != nil {
		shown.Error = err.Error()
	}
	shown.Mode = hook.mode
	return shown
}

// verify checks that the interface's hook still runs this gate's program.
func (g *Gate) verify(p *port) (hook, error) {
	own, err := g.programID()
	if err != nil {
		return hook{}, err
	}
	found, err := hookOf(p.index)
	switch {
	case err != nil:
		return hook{}, fmt.Errorf("the interface is gone: %w", err)
	case found.program == 0:
		return hook{}, errors.New("the program is detached")
	case found.program != own:
		return hook{}, foreign(found.program)
	}
	return found, nil
}

func (g *Gate) digest() string {
	live, err := readImage(g.kernel.Generation)
	if err != nil {
		return ""
	}
	return digestOf(live)
}

func digestOf(image *bpf.GateImage) string {
	return string(bytes.TrimRight(image.Digest[:], "\x00"))
}

// Tallies returns the exact count of packets and bytes for every reason that
// the kernel knows, since the gate was first loaded: a restarted daemon doesn't
// reset them.
func (g *Gate) Tallies() (appliance.Tallies, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return nil, errClosed
	}
	tallies := appliance.Tallies{}
	for _, reason := range appliance.Reasons() {
		if reason >= appliance.FirstCallReason {
			continue
		}
		var each []bpf.GateTally // one for each CPU
		if err := g.kernel.Tallies.Lookup(uint32(reason), &each); err != nil {
			return nil, fmt.Errorf("read tally %s: %w", reason, err)
		}
		tallies[reason] = sum(each)
	}
	return tallies, nil
}

func sum(each []bpf.GateTally) (total appliance.Tally) {
	for _, cpu := range each {
		total.Packets += cpu.Packets
		total.Bytes += cpu.Bytes
	}
	return total
}
