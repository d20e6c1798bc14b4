package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
)

// accounts unites the accounts of both documents. Where both name one, the
// settings may narrow its sources; what they add needs the policy's grant.
func (c *compiler) accounts() []document.Account {
	out := slices.Clone(c.policy.Accounts)
	for i, account := range c.settings.Accounts {
		at := slices.IndexFunc(c.policy.Accounts, func(one document.Account) bool { return one.User == account.User })
		c.grantAccount(i, account, at)
		if at < 0 {
			out = append(out, account)
			continue
		}
		if account.Label == "" {
			account.Label = out[at].Label
		}
		out[at] = account
	}
	return out
}

func (c *compiler) grantAccount(i int, account document.Account, at int) {
	if c.policy.Grants.Accounts {
		return
	}
	for _, network := range account.Remote {
		inside := func(outer netip.Prefix) bool { return covers(outer, network) }
		if c.inLAN(network) || at >= 0 && slices.ContainsFunc(c.policy.Accounts[at].Remote, inside) {
			continue
		}
		c.fail(appliance.CodeForbidden, fmt.Sprintf("accounts[%d].sources", i),
			"the policy does not let %s register from %s", account.User, network)
	}
	if at >= 0 && account.LAN && !c.policy.Accounts[at].LAN {
		c.fail(appliance.CodeForbidden, fmt.Sprintf("accounts[%d].sources", i), "the policy does not let %s register from the LAN", account.User)
	}
}

func (c *compiler) inLAN(network netip.Prefix) bool {
	return slices.ContainsFunc(c.settings.Network.LAN, func(lan netip.Prefix) bool { return covers(lan, network) })
}

// accountLines are the networks on the WAN that accounts register from. They may
// speak SIP, and a ban does touch them. What the settings have narrowed is not let
// in by the policy's wider word.
func (c *compiler) accountLines() []opening {
	out := c.openingsOf("settings", c.settings.Accounts, nil)
	return append(out, c.openingsOf("policy", c.policy.Accounts, c.settings.Accounts)...)
}

func (c *compiler) openingsOf(name string, list, instead []document.Account) (out []opening) {
	for i, account := range list {
		same := func(one document.Account) bool { return one.User == account.User }
		if slices.ContainsFunc(instead, same) {
			continue
		}
		for j, network := range account.Remote {
			if !c.inLAN(network) {
				line := fmt.Sprintf("%s accounts[%d].sources[%d]", name, i, j)
				out = append(out, opening{line, network, sipBit, c.settings.Bans.SpareAllowed})
			}
		}
	}
	return out
}

// remote are the networks on the WAN that any account may register from.
func (c *compiler) remote(accounts []document.Account) []netip.Prefix {
	var all, out []netip.Prefix
	for _, account := range accounts {
		all = append(all, account.Remote...)
	}
	slices.SortFunc(all, netip.Prefix.Compare) // a network stands before those inside it
	for _, network := range all {
		if c.inLAN(network) || len(out) > 0 && covers(out[len(out)-1], network) {
			continue
		}
		out = append(out, network)
	}
	return out
}

// May reports whether an account may register from an address on the WAN.
func (s *SIP) May(addr netip.Addr) bool {
	at, exact := slices.BinarySearchFunc(s.Remote, addr, func(network netip.Prefix, addr netip.Addr) int { return network.Addr().Compare(addr) })
	return exact || at > 0 && s.Remote[at-1].Contains(addr)
}

// thresholds fills in what nobody has named. Only with the policy's grant are they
// looser than the policy's.
func (c *compiler) thresholds() document.Guard {
	floor, local := filled(c.policy.Guard, document.BuiltinGuard()), c.settings.Guard
	if !c.policy.Grants.Guard {
		c.tighter("guard.accounts", local.Accounts, floor.Accounts)
		c.tighter("guard.guesses", local.Guesses, floor.Guesses)
		if local.Window != 0 && local.Window < floor.Window {
			c.fail(appliance.CodeForbidden, "guard.window_seconds", "%s is shorter than the policy's %s", local.Window, floor.Window)
		}
		for i, ban := range local.Bans {
			if least := floor.Bans[min(i, len(floor.Bans)-1)]; ban < least {
				c.fail(appliance.CodeForbidden, fmt.Sprintf("guard.ban_minutes[%d]", i), "%d is shorter than the policy's %d", ban/time.Minute, least/time.Minute)
			}
		}
		if last := len(local.Bans); last > 0 && local.Bans[last-1] < floor.Bans[len(floor.Bans)-1] {
			c.fail(appliance.CodeForbidden, "guard.ban_minutes", "the last of them, for every further ban, is shorter than the policy's")
		}
	}
	return filled(local, floor)
}

func (c *compiler) tighter(field string, local, floor int) {
	if local > floor {
		c.fail(appliance.CodeForbidden, field, "%d is more than the policy's %d", local, floor)
	}
}

// filled takes from rest what g does not name.
func filled(g, rest document.Guard) document.Guard {
	if g.Accounts == 0 {
		g.Accounts = rest.Accounts
	}
	if g.Guesses == 0 {
		g.Guesses = rest.Guesses
	}
	if g.Window == 0 {
		g.Window = rest.Window
	}
	if len(g.Bans) == 0 {
		g.Bans = rest.Bans
	}
	return g
}
