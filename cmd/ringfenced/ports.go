package main

import (
	"fmt"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/certificate"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/health"
	"github.com/ringfence/ringfence/appliance/names"
	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/rules"
)

// ports asks the kernel about the ports that it may pick for itself.
type ports struct{ proc string }

// reserve keeps the guarded ports out of the ephemeral range.
func (p ports) reserve(r *rules.Rules) error { return network.Reserve(p.proc, guarded(r)) }

// Unreserved returns those of the ports that the kernel may pick.
func (p ports) Unreserved(of []uint16) ([]uint16, error) { return network.Unreserved(p.proc, of) }

func guarded(r *rules.Rules) []uint16 {
	guard := r.Guard()
	return slices.Concat(guard.Ports[:]...)
}

// wanted tells health what the documents in force ask for.
type wanted struct {
	box     *control.Control
	tracker *names.Tracker
	keeper  *certificate.Keeper
	sip     *proxy
	wan     *perimeter
}

// Want reads the state in force, once.
func (w wanted) Want() health.Want {
	state, journal := w.box.State(), w.box.Journal()
	return health.Want{
		Site:       state.Settings.Site.Name,
		Generation: state.Rules.Digest(),
		WAN:        state.Settings.Network.WAN,
		Listen:     slices.Concat(state.Rules.SIP().Listen, interceptors(state.Rules.SIP())),
		Secure:     state.Rules.SIP().Secure,
		Ports:      guarded(state.Rules),
		Lost:       journal.Lost + journal.Unwritten,
		Notes: slices.Concat([]appliance.Check{
			checkDocument(state, appliance.DocumentPolicy),
			checkDocument(state, appliance.DocumentSettings),
		}, w.box.Checks(), checkNames(w.tracker), checkTrunks(w.sip.Trunks()), w.keeper.Checks(), checkTunnels(), w.wan.lock.checks()),
	}
}

// checkTunnels warns of devices that let out what the gate has not looked into.
func checkTunnels() []appliance.Check {
	tunnels, err := network.Tunnels()
	if err != nil {
		return []appliance.Check{{Name: "tunnels", Level: appliance.Amber, Message: err.Error()}}
	}
	var out []appliance.Check
	for _, one := range tunnels {
		out = append(out, appliance.Check{Name: "tunnel " + one.Name, Level: appliance.Amber,
			Message: fmt.Sprintf("%s takes packets out of any sender's datagrams to UDP port %d, and the gate does not look into those: keep strangers from that port, or take the %s device away", one.Name, one.Port, one.Kind)})
	}
	return out
}

func checkDocument(state *control.State, name appliance.Document) appliance.Check {
	if note, found := state.Notes[name]; found {
		return appliance.Check{Name: string(name), Level: note.Level, Message: note.Message}
	}
	return appliance.Check{Name: string(name), Level: appliance.Green, Message: "revision " + state.Revision(name) + " is in force"}
}
