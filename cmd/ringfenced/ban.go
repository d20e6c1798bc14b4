package main

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/ringfence/ringfence/appliance"
)

// Ban puts a ban in force. Where nothing is guarded there is nothing to do:
// control brings the bans along when there is.
func (p *perimeter) Ban(ban appliance.Ban) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return nil
	}
	return p.gate.Ban(ban)
}

// Unban lifts the ban of a source; there need not be one.
func (p *perimeter) Unban(source netip.Prefix) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return nil
	}
	if err := p.gate.Unban(source); err != nil && appliance.CodeOf(err) != appliance.CodeNotFound {
		return err
	}
	return nil
}

// Bans reads the bans back from the kernel; none where nothing is guarded.
func (p *perimeter) Bans() ([]appliance.Ban, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return nil, nil
	}
	return p.gate.Bans()
}

// tidy has the gate forget what has ended.
func (p *perimeter) tidy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return nil
	}
	return p.gate.Tidy()
}

// Dump puts the generation in force into words. The lock is not held while they
// are written: a client may take its time.
func (p *perimeter) Dump(w io.Writer) error {
	p.mu.Lock()
	current := p.gate
	p.mu.Unlock()
	if current == nil {
		_, err := fmt.Fprintln(w, "nothing is guarded: no WAN interface is named in the settings, or the gate could not be opened")
		return err
	}
	return current.Dump(w)
}
