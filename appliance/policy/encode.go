package policy

import (
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

// Encode writes a policy in canonical form: Decode reads it back to an equal
// value, and equal values give equal bytes.
func Encode(p Policy) []byte {
	raw := rawPolicy{
		Schema: Schema,
		Serial: p.Serial,
		Issuer: p.Issuer,
		Ports:  document.RawPortsOf(p.Ports),
		Destinations: &rawDestinations{
			HighRisk: &p.Destinations.HighRisk,
			Block:    rawList(p.Destinations.Block),
			Allow:    rawList(p.Destinations.Allow),
		},
		Fraud:     encodeFraud(p.Fraud),
		OpaqueTLS: opaqueDeny,
		Grants:    rawGrants(p.Grants),
		Providers: []rawProvider{},
		Admins:    []rawAdmin{},
		Tunnels:   document.RawTunnels(p.Tunnels),
		Feeds:     document.RawFeeds(p.Feeds),
		Limits:    document.RawLimitsOf(p.Limits),
		Accounts:  document.RawAccounts(p.Accounts),
		Guard:     document.RawGuardOf(p.Guard),
	}
	if p.OpaqueTLS {
		raw.OpaqueTLS = opaqueAllow
	}
	if !p.Issued.IsZero() {
		raw.Issued = p.Issued.UTC().Format(time.RFC3339Nano)
	}
	for _, one := range p.Providers {
		provider := rawProvider{Name: one.Name, Networks: []string{}, Names: append([]string{}, one.Names...)}
		for _, network := range one.Networks {
			provider.Networks = append(provider.Networks, network.String())
		}
		raw.Providers = append(raw.Providers, provider)
	}
	for _, one := range p.Admins {
		raw.Admins = append(raw.Admins, rawAdmin{one.Name, one.Network.String(), one.SIP})
	}
	return document.Write(raw)
}

func rawList(list []Destination) []rawDestination {
	out := []rawDestination{}
	for _, one := range list {
		out = append(out, rawDestination(one))
	}
	return out
}
