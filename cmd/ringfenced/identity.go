package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/certificate"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/inspector"
	"github.com/ringfence/ringfence/appliance/settings"
)

// identities has the files of the settings in force read, and tells the inspector
// what TLS is spoken with.
type identities struct {
	keeper *certificate.Keeper
	box    *control.Control
}

// The names of files, besides the listeners'.
const (
	ofPBX   = "pbx"
	ofTrunk = "trunk " // and its name
)

// filesOf are the files that the settings in force name.
func filesOf(state *control.State) certificate.Wanted {
	set, wanted := state.Settings, certificate.Wanted{}
	if len(state.Rules.SIP().Secure) > 0 {
		wanted[certificate.Own] = certificate.Files{Certificate: set.SIP.TLS.Certificate, Key: set.SIP.TLS.Key, CA: set.SIP.TLS.Clients}
	}
	add := func(name string, of settings.Identity) {
		if files := (certificate.Files{Certificate: of.Certificate, Key: of.Key, CA: of.CA}); files != (certificate.Files{}) {
			wanted[name] = files
		}
	}
	add(ofPBX, set.SIP.PBX.TLS)
	for _, trunk := range set.Trunks {
		add(ofTrunk+trunk.Name, trunk.TLS)
	}
	return wanted
}

// run follows the settings until ctx ends.
func (i identities) run(ctx context.Context) error {
	for ctx.Err() == nil {
		state := i.box.State()
		i.keeper.Want(filesOf(state))
		select {
		case <-state.Superseded:
		case <-ctx.Done():
		}
	}
	return nil
}

var errUnread = errors.New("the files of the settings have not been read yet")

// keys are what TLS is spoken with now. A neighbour whose files are not read yet
// is not spoken to: what the system believes is no stand-in for what the settings
// say.
func (i identities) keys() inspector.Keys {
	state, set := i.box.State(), i.keeper.Current()
	out := inspector.Keys{Own: set[certificate.Own].Certificate, Clients: set[certificate.Own].CAs, Trunks: map[string]inspector.PeerKeys{}}
	for name := range filesOf(state) {
		one, read := set[name]
		keys := inspector.PeerKeys{Roots: one.CAs, Certificate: one.Certificate}
		switch {
		case !read:
			keys.Trouble = errUnread
		case one.Lost:
			keys.Trouble = one.Trouble
		}
		if trunk, found := strings.CutPrefix(name, ofTrunk); found {
			out.Trunks[trunk] = keys
		} else if name == ofPBX {
			out.PBX = keys
		}
	}
	return out
}

// Certificates implements control.Certificates.
func (i identities) Certificates() []appliance.Certificate { return shown(i.keeper.Current()) }

// Reload implements control.Certificates.
func (i identities) Reload() []appliance.Certificate {
	i.keeper.Want(filesOf(i.box.State()))
	return shown(i.keeper.Reload())
}

func shown(set certificate.Set) []appliance.Certificate {
	var out []appliance.Certificate
	for name, one := range set {
		show := appliance.Certificate{For: name, Names: []string{}, Own: one.Self}
		if name == certificate.Own {
			show.For = "listeners"
		}
		if one.Trouble != nil {
			show.Error = one.Trouble.Error()
		}
		if one.Certificate != nil {
			show.Names, show.Until = certificate.Names(one.Certificate), one.Certificate.Leaf.NotAfter
			show.Fingerprint, show.PEM = certificate.Fingerprint(one.Certificate), chainOf(one.Certificate)
		}
		out = append(out, show)
	}
	slices.SortFunc(out, func(a, b appliance.Certificate) int { return strings.Compare(a.For, b.For) })
	return out
}

func chainOf(one *tls.Certificate) string {
	var out strings.Builder
	for _, der := range one.Certificate {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a Builder takes everything
	}
	return out.String()
}

// checkTrunks has a word for each trunk. One that is down is as bad as the loss of
// every line where no other is left.
func checkTrunks(trunks []appliance.Trunk) []appliance.Check {
	left := slices.ContainsFunc(trunks, func(t appliance.Trunk) bool { return t.State != appliance.TrunkDown })
	var out []appliance.Check
	for _, trunk := range trunks {
		check := appliance.Check{Name: "trunk " + trunk.Name, Level: appliance.Green}
		down := slices.DeleteFunc(slices.Clone(trunk.Targets), func(t appliance.TargetState) bool { return t.State != appliance.TrunkDown })
		switch {
		case trunk.State == appliance.TrunkDown:
			check.Level, check.Message = appliance.Red, "down: "+trouble(trunk)
			if left {
				check.Level = appliance.Amber
			}
		case len(down) > 0:
			check.Level = appliance.Amber
			check.Message = fmt.Sprintf("%d of %d targets are down, %s: %s", len(down), len(trunk.Targets), down[0], down[0].Error)
		case trunk.State == appliance.TrunkUp:
			check.Message = "up: " + answering(trunk)
		default:
			check.Message = "nothing has been sent there yet"
		}
		out = append(out, check)
	}
	return out
}

func trouble(trunk appliance.Trunk) string {
	if len(trunk.Targets) == 0 {
		return trunk.Error
	}
	return fmt.Sprintf("%s: %s", trunk.Targets[0], trunk.Targets[0].Error)
}

func answering(trunk appliance.Trunk) string {
	at := slices.IndexFunc(trunk.Targets, func(t appliance.TargetState) bool { return t.State == appliance.TrunkUp })
	return fmt.Sprintf("%s answers in %.1f ms", trunk.Targets[at], trunk.Targets[at].Latency)
}
