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
	was, is := before.Rules.SIP(), next.Rules.SIP()
	if !slices.Equal(was.Listen, is.Listen) || !slices.Equal(was.Secure, is.Secure) {
		listening := join(is.Listen)
		if len(is.Secure) > 0 {
			listening += ", and for TLS on " + join(is.Secure)
		}
		out = append(out, fmt.Sprintf("the inspector restarts to listen on %s; calls in progress go on, but their signalling is lost: they can't be held, transferred or hung up cleanly", listening))
	}
	if len(next.Settings.Network.WAN) == 0 {
		out = append(out, "no WAN interface is named: the gate guards nothing")
	}
	return append(out, feedNotes(before, next)...)
}

// feedNotes says which feeds a change leaves without the content that it asks
// for.
func feedNotes(before, next *State) []string {
	var out []string
	for _, one := range next.feeds() {
		was, err := before.feed(one.Name)
		_, found := next.contents[one.Name]
		switch {
		case !found && err != nil && one.URL != "":
			out = append(out, fmt.Sprintf("feed %s denies nobody until it is fetched, which is tried within a minute", one.Name))
		case !found && err != nil:
			out = append(out, fmt.Sprintf("feed %s denies nobody until it is imported: ringfence feed import %s FILE", one.Name, one.Name))
		case found && err == nil && one.URL == "" && (was.Format != one.Format || !slices.Equal(was.Countries, one.Countries)):
			out = append(out, fmt.Sprintf("what was imported of feed %s was read by the words before: import it again", one.Name))
		}
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
