package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// notes says what a change brings with it that its author may not expect.
func notes(before, next *State) []string {
	out := []string{}
	was, is := before.Rules.SIP().Listen, next.Rules.SIP().Listen
	if !slices.Equal(was, is) {
		out = append(out, fmt.Sprintf("the inspector restarts to listen on %s; calls in progress go on, but their signalling is lost: they can't be held, transferred or hung up cleanly", join(is)))
	}
	if len(next.Settings.Network.WAN) == 0 {
		out = append(out, "no WAN interface is named: the gate guards nothing")
	}
	return out
}

func join(list []netip.AddrPort) string {
	parts := make([]string, len(list))
	for i, one := range list {
		parts[i] = one.String()
	}
	return strings.Join(parts, ", ")
}
