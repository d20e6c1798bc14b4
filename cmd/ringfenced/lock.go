package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/rules"
)

// lock keeps the egress lock of the rules in force in the kernel. It belongs to
// the perimeter: what names WAN interfaces is locked towards them.
type lock struct {
	mu      sync.Mutex
	shut    bool // this daemon has shut it: wanted is what should be in force
	left    bool // an earlier daemon had, when no WAN interface was named last
	wanted  network.Lock
	trouble error // why it is not, at the last try
}

// enforce has the kernel hold the lock of r, or as it was, on an error. Without
// WAN interfaces there is nothing to lock, and what this daemon shut is opened:
// somebody took their names out of the settings. A lock that an earlier daemon left
// is not touched, like its gate: the settings may be damaged. first marks the start.
func (k *lock) enforce(wan []string, r *rules.Rules, first bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(wan) == 0 {
		return k.open()
	}
	next := lockOf(wan, r.Lock())
	err := network.Shut(next)
	if err == nil || first {
		// At the start it is tried again, and the box is red meanwhile: without a
		// lock nothing is worse than without a box.
		k.shut, k.wanted, k.trouble = true, next, err
		return nil
	}
	if k.shut {
		err = errors.Join(err, network.Shut(k.wanted))
	}
	return err
}

// open takes away the lock that this daemon shut. The caller holds k.mu.
func (k *lock) open() error {
	if !k.shut {
		k.left, _ = network.Locked() // without nftables nobody shut anything
		return nil
	}
	err := network.Open()
	k.shut, k.left = err != nil, false
	return err
}

// back takes back a lock whose gate could not be had: the one of wan and r is in
// force still. One that took the place of an earlier daemon's stays in it, since
// nobody has asked for an open LAN.
func (k *lock) back(wan []string, r *rules.Rules) error {
	k.mu.Lock()
	if len(wan) == 0 && k.left {
		k.shut = false
	}
	k.mu.Unlock()
	return k.enforce(wan, r, false)
}

// mend puts the lock back where somebody has taken it away: a firewall that
// flushes the whole ruleset, for one.
func (k *lock) mend() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.shut {
		return nil
	}
	k.trouble = network.Shut(k.wanted)
	return k.trouble
}

// tallies reads back what the lock counted; nothing where there is none.
func (k *lock) tallies() (appliance.Tallies, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.shut {
		return nil, nil
	}
	counts, err := network.LockTallies(k.wanted)
	if err != nil && k.trouble != nil {
		err = k.trouble
	}
	return counts, err
}

// lockOf says to the kernel's rules what the compiled ones say.
func lockOf(wan []string, of rules.Lock) network.Lock {
	out := network.Lock{
		WAN: wan, Inside: of.Transparent,
		Interceptor4: rules.Interceptor(false), Interceptor6: rules.Interceptor(true),
		SIP: of.Ports, TLS: of.TLS, OpaqueTLS: of.OpaqueTLS, Trunks: of.Trunks, LAN: of.LAN, Listen: of.Listen, Other: of.Other,
	}
	for _, one := range of.Passes {
		out.Passes = append(out.Passes, network.Pass{TCP: one.TCP(), Port: one.Port, Networks: one.Networks})
	}
	return out
}

// interceptors are the sockets that should be open besides the listeners.
func interceptors(sip rules.SIP) []netip.AddrPort {
	var out []netip.AddrPort
	for _, ip6 := range []bool{false, true} {
		for _, port := range sip.Intercepted {
			out = append(out, netip.AddrPortFrom(rules.Interceptor(ip6), port))
		}
	}
	return out
}

// checks says how well the LAN is locked.
func (k *lock) checks() []appliance.Check {
	counts, err := k.tallies()
	k.mu.Lock()
	shut, wanted := k.shut, k.wanted
	k.mu.Unlock()
	if !shut {
		return checkLeft()
	}
	if err != nil {
		return []appliance.Check{{Name: "egress", Level: appliance.Red, Message: "hosts of the LAN may speak SIP past the inspector: " + err.Error()}}
	}
	out := []appliance.Check{{Name: "egress", Level: appliance.Green, Message: "only the inspector speaks SIP to the internet; " + dropped(counts)}}
	if len(wanted.Inside) > 0 {
		out = append(out, appliance.Check{Name: "transparent", Level: appliance.Green, Message: fmt.Sprintf("SIP from %s is intercepted: %d packets, and %d were dropped while nobody inspected",
			strings.Join(wanted.Inside, ", "), counts[appliance.ReasonIntercepted].Packets, counts[appliance.ReasonNoInspector].Packets)})
	}
	if wanted.OpaqueTLS {
		out = append(out, appliance.Check{Name: "opaque tls", Level: appliance.Amber, Message: fmt.Sprintf("SIP over TLS passes from the LAN to trunks uninspected, as the policy allows: %d packets",
			counts[appliance.ReasonOpaqueTLSPassed].Packets)})
	}
	return out
}

// checkLeft tells of a lock that an earlier daemon left, and nobody looks after.
func checkLeft() []appliance.Check {
	if stands, err := network.Locked(); err != nil || !stands {
		return nil
	}
	return []appliance.Check{{Name: "egress", Level: appliance.Amber,
		Message: "no WAN interface is named in the settings; the lock that an earlier daemon left stands as it was, and nobody looks after it: name the interfaces again, or take it off with ringfenced --detach"}}
}

// dropped says what the lock stopped.
func dropped(counts appliance.Tallies) string {
	var words []string
	for _, reason := range []appliance.Reason{appliance.ReasonEgressSIP, appliance.ReasonEgressPayload, appliance.ReasonOpaqueTLS, appliance.ReasonEgressVoIP} {
		words = append(words, fmt.Sprintf("%s %d", reason, counts[reason].Packets))
	}
	return "packets dropped: " + strings.Join(words, ", ")
}

// merge adds the counts of the lock to those of the gate: they share no reason.
func (k *lock) merge(gate appliance.Tallies, err error) (appliance.Tallies, error) {
	counts, lockErr := k.tallies()
	if err != nil || lockErr != nil || len(counts) == 0 {
		return gate, err // health tells of a lock that is not there
	}
	out := maps.Clone(gate)
	if out == nil {
		out = appliance.Tallies{}
	}
	maps.Copy(out, counts)
	return out, nil
}
