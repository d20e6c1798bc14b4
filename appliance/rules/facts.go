package rules

import (
	"fmt"
	"hash"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Facts are what the documents point at and do not hold themselves. What is
// missing in them is left out of the rules: a feed without content denies
// nobody, a name without addresses allows nobody.
type Facts struct {
	Feeds map[string]feed.List    // by the name that the documents give
	Names map[string][]netip.Addr // by the DNS name that the documents give, and by trunks' locators
	// Targets are what the locators of trunks lead to, best first, by
	// appliance.Locator.String.
	Targets map[string][]appliance.Target
}

// Names returns the DNS names of both documents in their order, without
// repeats, and among them the locators of trunks as strings: what Facts.Names is
// wanted for.
func Names(p policy.Policy, s settings.Settings) []string {
	var out []string
	add := func(names []string) {
		for _, name := range names {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	for _, provider := range p.Providers {
		add(provider.Names)
	}
	for _, trunk := range s.Trunks {
		add(located(trunk))
	}
	return out
}

// located are the names whose addresses a trunk's signalling comes from.
func located(trunk settings.Trunk) []string {
	if locator, named := trunk.Locator(); named {
		return append([]string{locator.String()}, trunk.Names...)
	}
	return trunk.Names
}

// targets are where a trunk's requests can be sent. What a name stands for is let
// in by its addresses, and the same ones are left out here.
func (c *compiler) targets(trunk settings.Trunk) []appliance.Target {
	locator, named := trunk.Locator()
	if !named {
		return []appliance.Target{{Address: trunk.Address, Transport: string(trunk.Transport)}}
	}
	var out []appliance.Target
	for _, one := range c.facts.Targets[locator.String()] {
		addr := one.Address.Addr().Unmap().WithZone("")
		if addr.IsValid() && !c.onLAN(addr) {
			one.Address = netip.AddrPortFrom(addr, one.Address.Port())
			out = append(out, one)
		}
	}
	return out
}

// resolved returns the addresses that names stand for. An address of the LAN is
// none of them: whoever answers for a name on the internet must not be able to
// let packets with forged addresses of the LAN in.
func (c *compiler) resolved(names []string) []netip.Prefix {
	var out []netip.Prefix
	for _, name := range names {
		for _, addr := range c.facts.Names[name] {
			if addr = addr.Unmap().WithZone(""); addr.IsValid() && !c.onLAN(addr) {
				out = append(out, single(addr))
			}
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

func (c *compiler) onLAN(addr netip.Addr) bool {
	return slices.ContainsFunc(c.settings.Network.LAN, func(lan netip.Prefix) bool { return lan.Contains(addr) })
}

// hashFacts adds to the digest what the rules take from the facts.
func (c *compiler) hashFacts(to hash.Hash) {
	for _, one := range slices.Concat(c.policy.Feeds, c.settings.Feeds) {
		if list, found := c.facts.Feeds[one.Name]; found {
			fmt.Fprintf(to, "feed %s %s\n", one.Name, list.Digest())
		}
	}
	for _, name := range Names(c.policy, c.settings) {
		fmt.Fprintf(to, "name %s %v\n", name, c.resolved([]string{name}))
	}
	for _, trunk := range c.settings.Trunks {
		if locator, named := trunk.Locator(); named {
			fmt.Fprintf(to, "targets %s %v\n", locator, c.targets(trunk))
		}
	}
}

// feeds takes the policy's feeds first and then the settings', in their order.
func (c *compiler) feeds() []Feed {
	line := make(map[string]string)
	var out []Feed
	add := func(list []document.Feed, field string) {
		for i, one := range list {
			at := fmt.Sprintf("%s[%d].name", field, i)
			if other, taken := line[one.Name]; taken {
				c.fail(appliance.CodeInvalid, at, "%s is the name of %s already; a feed needs a name of its own", one.Name, other)
				continue
			}
			line[one.Name] = fmt.Sprintf("%s[%d]", field, i)
			if content, found := c.facts.Feeds[one.Name]; found {
				out = append(out, Feed{Name: one.Name, List: content})
			}
		}
	}
	add(c.policy.Feeds, "policy feeds")
	add(c.settings.Feeds, "settings feeds")
	switch mine, all := len(c.policy.Feeds), len(c.policy.Feeds)+len(c.settings.Feeds); {
	case mine > MaxFeeds:
		c.fail(appliance.CodeInvalid, "policy feeds", "%d feeds; the gate holds at most %d", mine, MaxFeeds)
	case all > MaxFeeds:
		c.fail(appliance.CodeInvalid, "settings feeds", "%d feeds with the %d of policy feeds; the gate holds at most %d", all, mine, MaxFeeds)
	}
	return out
}

// MaxNames is how many DNS names are followed.
const MaxNames = 64

// countNames turns down more names than anybody follows: one that is left out
// would cut its provider off without a word.
func (c *compiler) countNames() {
	switch mine, all := len(Names(c.policy, settings.Settings{})), len(Names(c.policy, c.settings)); {
	case mine > MaxNames:
		c.fail(appliance.CodeInvalid, "policy providers", "%d DNS names; at most %d are followed", mine, MaxNames)
	case all > MaxNames:
		c.fail(appliance.CodeInvalid, "settings trunks", "%d DNS names with the %d of policy providers; at most %d are followed", all, mine, MaxNames)
	}
}

// limits are the policy's, where the settings do not lower them.
func (c *compiler) limits() [Services]Limit {
	var out [Services]Limit
	for _, one := range []struct {
		service Service
		field   string
		floor   document.Limit
		local   document.Limit
	}{
		{ServiceSIP, "limits.sip", c.policy.Limits.SIP, c.settings.Limits.SIP},
		{ServiceHTTP, "limits.http", c.policy.Limits.HTTP, c.settings.Limits.HTTP},
		{ServiceOpen, "limits.open", c.policy.Limits.Open, c.settings.Limits.Open},
	} {
		out[one.service] = Limit(one.floor)
		if one.local == (document.Limit{}) {
			continue
		}
		out[one.service] = Limit(one.local)
		const refusal = "%d is more than the %d of policy %s.%s; settings may only lower it"
		if one.floor == (document.Limit{}) {
			continue
		}
		if one.local.PerSecond > one.floor.PerSecond {
			c.fail(appliance.CodeForbidden, one.field+".per_second", refusal, one.local.PerSecond, one.floor.PerSecond, one.field, "per_second")
		}
		if one.local.Burst > one.floor.Burst {
			c.fail(appliance.CodeForbidden, one.field+".burst", refusal, one.local.Burst, one.floor.Burst, one.field, "burst")
		}
	}
	return out
}
