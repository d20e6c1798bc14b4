package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
)

// ports unites the guarded ports of both documents. A port that the inspector
// listens on is guarded whether or not anybody thought of listing it.
func (c *compiler) ports() [Services][]uint16 {
	owner := make(map[uint16]Service)
	add := func(service Service, port uint16, field string) {
		if other, taken := owner[port]; taken && other != service {
			c.fail(appliance.CodeInvalid, field, "%d is guarded as %s already; a port serves one or the other", port, other)
			return
		}
		owner[port] = service
	}
	for _, port := range c.policy.Ports.SIP {
		add(ServiceSIP, port, "")
	}
	for _, port := range c.policy.Ports.HTTP {
		add(ServiceHTTP, port, "")
	}
	for i, listen := range c.settings.SIP.Listen {
		add(ServiceSIP, listen.Port(), fmt.Sprintf("sip.listen[%d]", i))
	}
	for i, port := range c.settings.Ports.SIP {
		add(ServiceSIP, port, fmt.Sprintf("ports.sip[%d]", i))
	}
	for i, port := range c.settings.Ports.HTTP {
		add(ServiceHTTP, port, fmt.Sprintf("ports.http[%d]", i))
	}
	var out [Services][]uint16
	for port, service := range owner {
		out[service] = append(out[service], port)
	}
	for service := range out {
		slices.Sort(out[service])
	}
	return out
}

// String returns the protocol's name.
func (s Service) String() string {
	switch s {
	case ServiceSIP:
		return "SIP"
	case ServiceHTTP:
		return "HTTP"
	default:
		return fmt.Sprintf("service %d", uint8(s))
	}
}

// sources unites the allowed sources of both documents. Each carries the
// services of every network around it too, so that a longest-prefix lookup of
// one address finds all that the address may reach. The LAN is not among them:
// the gate guards the WAN's ports only, so no document reaches the management
// path from the LAN, and no packet on the WAN passes by a forged LAN address.
func (c *compiler) sources() []Source {
	allowed := make(map[netip.Prefix]uint8)
	add := func(prefix netip.Prefix, services ...Service) {
		for _, service := range services {
			allowed[prefix] |= 1 << service
		}
	}
	for _, provider := range c.policy.Providers {
		for _, network := range provider.Networks {
			add(network, ServiceSIP)
		}
	}
	for _, trunk := range c.settings.Trunks {
		add(single(trunk.Address.Addr()), ServiceSIP)
		for _, network := range trunk.Networks {
			add(network, ServiceSIP)
		}
	}
	for _, admin := range c.policy.Admins {
		add(admin.Network, adminServices(admin.SIP)...)
	}
	for _, admin := range c.settings.Admins {
		add(admin.Network, adminServices(admin.SIP)...)
	}
	return nest(allowed)
}

func adminServices(sip bool) []Service {
	if sip {
		return []Service{ServiceHTTP, ServiceSIP}
	}
	return []Service{ServiceHTTP}
}

// nest sorts the sources, which puts every network before those inside it, and
// hands services down.
func nest(allowed map[netip.Prefix]uint8) []Source {
	var out, around []Source
	for prefix, services := range allowed {
		out = append(out, Source{prefix, services})
	}
	slices.SortFunc(out, func(a, b Source) int { return a.Prefix.Compare(b.Prefix) })
	for i := range out {
		for len(around) > 0 && !covers(around[len(around)-1].Prefix, out[i].Prefix) {
			around = around[:len(around)-1]
		}
		if len(around) > 0 {
			out[i].Services |= around[len(around)-1].Services
		}
		around = append(around, out[i])
	}
	return out
}
