package gate

import (
	"bytes"
	"fmt"
	"strings"

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
	Mode    Mode   `json:"mode,omitempty"` // native or stack
	Note    string `json:"note,omitempty"` // why it is not native, and what else is odd
	Adopted bool   `json:"adopted"`        // from an earlier daemon, else attached by this one
	// Error says why the interface is not guarded as it should be; it is empty
	// if it is.
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
	live, err := g.tray().readHead()
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
	shown.Mode = p.mode()
	var notes []string
	for _, note := range []string{p.note, p.rename()} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	shown.Note = strings.Join(notes, "; ")
	if err := g.verify(p, pinsIn(g.config.Dir)); err != nil {
		shown.Error = err.Error()
	}
	return shown
}

func (g *Gate) digest() string {
	live, err := g.tray().readHead()
	if err != nil {
		return ""
	}
	return digestOf(live)
}

func digestOf(head *bpf.GateImage) string {
	return string(bytes.TrimRight(head.Digest[:], "\x00"))
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
