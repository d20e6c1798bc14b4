package main

import (
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/gate"
	"github.com/ringfence/ringfence/appliance/network"
)

// media is the kernel as the inspector needs it: the tables of whichever gate
// there is, and what NAT knows. It never waits for a generation to be swapped.
type media struct{ wan *perimeter }

// with does something to the gate in force. Where nothing is guarded there is
// nothing to do. A gate that is replaced at this moment is closed, and the next one
// has the same tables.
func (m media) with(do func(*gate.Gate) error) error {
	for {
		now := m.wan.current.Load()
		if now == nil {
			return nil
		}
		err := do(now)
		if err == nil || m.wan.current.Load() == now {
			return err
		}
	}
}

// Permit implements inspector.Media.
func (m media) Permit(life time.Duration, keys ...appliance.MediaKey) error {
	return m.with(func(g *gate.Gate) error { return g.Permit(life, keys...) })
}

// Forget implements inspector.Media.
func (m media) Forget(keys ...appliance.MediaKey) error {
	return m.with(func(g *gate.Gate) error { return g.Forget(keys...) })
}

// Cut implements inspector.Media. A cut that nobody carries out is an error.
func (m media) Cut(life time.Duration, keys ...appliance.MediaKey) error {
	if m.wan.current.Load() == nil {
		return &appliance.Error{Code: appliance.CodeUnavailable, Message: "nothing is guarded, so that only the BYE can stop it"}
	}
	return m.with(func(g *gate.Gate) error { return g.Cut(life, keys...) })
}

// Uncut implements inspector.Media.
func (m media) Uncut(keys ...appliance.MediaKey) error {
	return m.with(func(g *gate.Gate) error { return g.Uncut(keys...) })
}

// Conversations implements inspector.Media.
func (m media) Conversations(inside []netip.AddrPort) ([]appliance.Conversation, error) {
	return network.Conversations(inside)
}
