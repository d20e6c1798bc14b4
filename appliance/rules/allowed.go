package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

// opening is one line of a document that lets a network in.
type opening struct {
	line     string // as a person finds it, such as "policy providers[0].networks[1]"
	network  netip.Prefix
	services uint8
	firm     bool
}

// lines lists every network that either document lets in, in their order.
func (c *compiler) lines() []opening {
	var out []opening
	add := func(firm bool, services uint8, network netip.Prefix, line string, args ...any) {
		out = append(out, opening{fmt.Sprintf(line, args...), network, services, firm})
	}
	spared := c.settings.Bans.SpareAllowed
	for i, provider := range c.policy.Providers {
		for j, network := range provider.Networks {
			add(true, sipBit, network, "policy providers[%d].networks[%d]", i, j)
		}
	}
	for i, admin := range c.policy.Admins {
		add(spared, adminBits(admin.SIP), admin.Network, "policy admins[%d].network", i)
	}
	for i, tunnel := range c.policy.Tunnels {
		add(spared, tunnelBit, tunnel.Network, "policy tunnels[%d].network", i)
	}
	for i, trunk := range c.settings.Trunks {
		if trunk.Address.IsValid() {
			add(true, sipBit, single(trunk.Address.Addr()), "settings trunks[%d].address", i)
		}
		for j, network := range trunk.Networks {
			add(true, sipBit, network, "settings trunks[%d].networks[%d]", i, j)
		}
	}
	for i, admin := range c.settings.Admins {
		add(spared, adminBits(admin.SIP), admin.Network, "settings admins[%d].network", i)
	}
	for i, tunnel := range c.settings.Tunnels {
		add(spared, tunnelBit, tunnel.Network, "settings tunnels[%d].network", i)
	}
	return out
}

// The sets of one service.
const (
	sipBit    uint8 = 1 << ServiceSIP
	httpBit   uint8 = 1 << ServiceHTTP
	tunnelBit uint8 = 1 << ServiceTunnel
)

func adminBits(sip bool) uint8 {
	if sip {
		return httpBit | sipBit
	}
	return httpBit
}

// outside turns down a line that lets a whole network of the LAN in from the
// WAN: the addresses that manage the box would be anybody's to forge, and who
// answers to them would be locked out by the first ban. A network inside the
// LAN's is none: the LAN of a box out of its carton is all private space, and a
// provider may be reached through some of it.
func (c *compiler) outside(lines []opening) {
	for _, one := range lines {
		for j, lan := range c.settings.Network.LAN {
			if covers(one.network, lan) {
				c.fail(appliance.CodeInvalid, one.line,
					"%s holds all of %s, which settings network.lan[%d] says is the LAN: packets from the WAN with the LAN's addresses would be let in; one of the two has to be narrower",
					one.network, lan, j)
			}
		}
	}
}

// sources unites the allowed sources of both documents with the addresses of
// their DNS names. Each carries the services of every network around it too, so
// that a longest-prefix lookup of one address finds all that the address may
// reach. The LAN is not among them: the gate guards the WAN's ports only, so no
// document reaches the management path from the LAN, and no packet on the WAN
// passes by a forged LAN address.
func (c *compiler) sources(lines []opening) []Source {
	united := make(map[netip.Prefix]Source)
	add := func(prefix netip.Prefix, services uint8, firm bool) {
		one := united[prefix]
		united[prefix] = Source{Prefix: prefix, Services: one.Services | services, Firm: one.Firm || firm}
	}
	for _, one := range lines {
		add(one.network, one.services, one.firm)
	}
	for _, prefix := range c.resolved(Names(c.policy, c.settings)) {
		add(prefix, sipBit, true)
	}
	var out []Source
	for _, one := range united {
		out = append(out, one)
	}
	return nest(out)
}

// nest sorts the sources, which puts every network before those inside it, and
// hands down what they hold.
func nest(out []Source) []Source {
	var around []Source
	slices.SortFunc(out, func(a, b Source) int { return a.Prefix.Compare(b.Prefix) })
	for i := range out {
		for len(around) > 0 && !covers(around[len(around)-1].Prefix, out[i].Prefix) {
			around = around[:len(around)-1]
		}
		if len(around) > 0 {
			outer := around[len(around)-1]
			out[i].Services |= outer.Services
			out[i].Firm = out[i].Firm || outer.Firm
		}
		around = append(around, out[i])
	}
	return out
}

// grantTrunks checks that trunks lead to the policy's providers, unless the
// policy lets the site choose its own.
func (c *compiler) grantTrunks() {
	if c.policy.Grants.Providers {
		return
	}
	for i, trunk := range c.settings.Trunks {
		c.grantTrunk(fmt.Sprintf("trunks[%d]", i), trunk)
	}
}

func (c *compiler) grantTrunk(field string, trunk settings.Trunk) {
	const refusal = "%s is in no network of the policy's providers, and the policy does not let this site add its own"
	if trunk.Address.IsValid() && !c.provided(single(trunk.Address.Addr())) {
		c.fail(appliance.CodeForbidden, field+".address", refusal, trunk.Address.Addr())
	}
	if trunk.Host != "" && !c.named(trunk.Host) {
		c.fail(appliance.CodeForbidden, field+".address",
			"%s is no name of the policy's providers, and the policy does not let this site add its own", trunk.Host)
	}
	for i, network := range trunk.Networks {
		if !c.provided(network) {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("%s.networks[%d]", field, i), refusal, network)
		}
	}
	for i, name := range trunk.Names {
		known := func(p policy.Provider) bool { return slices.Contains(p.Names, name) }
		if !slices.ContainsFunc(c.policy.Providers, known) {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("%s.names[%d]", field, i),
				"%s is no name of the policy's providers, and the policy does not let this site add its own", name)
		}
	}
}

// named reports whether a trunk's host is a name of one of the policy's providers,
// or has its services among them.
func (c *compiler) named(host string) bool {
	return slices.ContainsFunc(c.policy.Providers, func(p policy.Provider) bool {
		return slices.ContainsFunc(p.Names, func(name string) bool {
			service, of, _ := strings.Cut(name, "._")
			_, of, _ = strings.Cut(of, ".")
			return name == host || strings.HasPrefix(service, "_") && of == host
		})
	})
}

// provided reports whether a network lies inside one of the policy's providers.
// What their names stand for does not count: the DNS must not make a document
// that was in order a forbidden one.
func (c *compiler) provided(network netip.Prefix) bool {
	for _, provider := range c.policy.Providers {
		inside := func(outer netip.Prefix) bool { return covers(outer, network) }
		if slices.ContainsFunc(provider.Networks, inside) {
			return true
		}
	}
	return false
}

func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

func single(addr netip.Addr) netip.Prefix {
	return netip.PrefixFrom(addr, addr.BitLen())
}
