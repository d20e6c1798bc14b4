package settings

import (
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

// Encode writes settings in canonical form: Decode reads it back to an equal
// value, and equal values give equal bytes.
func Encode(s Settings) []byte {
	raw := rawSettings{
		Schema: Schema,
		Site: rawSite{
			Name: s.Site.Name, Country: s.Site.Country, AreaCode: s.Site.AreaCode,
			AccessDigits: full(s.Site.AccessDigits), Extensions: s.Site.Extensions,
		},
		Network:      rawNetwork{WAN: full(s.Network.WAN), LAN: rawNetworks(s.Network.LAN)},
		SIP:          encodeSIP(s.SIP),
		Trunks:       []rawTrunk{},
		Admins:       []rawAdmin{},
		Tunnels:      document.RawTunnels(s.Tunnels),
		Ports:        document.RawPortsOf(s.Ports),
		Feeds:        document.RawFeeds(s.Feeds),
		Limits:       document.RawLimitsOf(s.Limits),
		Bans:         rawBans(s.Bans),
		Destinations: encodeDestinations(s.Destinations),
	}
	for _, one := range s.Trunks {
		raw.Trunks = append(raw.Trunks, encodeTrunk(one))
	}
	for _, one := range s.Admins {
		raw.Admins = append(raw.Admins, rawAdmin{one.Name, one.Network.String(), one.SIP})
	}
	return document.Write(raw)
}

func encodeSIP(s SIP) rawSIP {
	raw := rawSIP{Listen: []string{}, Refusal: s.Refusal}
	for _, one := range s.Listen {
		raw.Listen = append(raw.Listen, one.String())
	}
	if s.PBX != (Peer{}) {
		raw.PBX = &rawPeer{Address: s.PBX.Address.String(), Transport: string(s.PBX.Transport)}
	}
	return raw
}

func encodeTrunk(t Trunk) rawTrunk {
	raw := rawTrunk{
		Name: t.Name, Domain: t.Domain, Address: t.Address.String(), Transport: string(t.Transport),
		Networks: rawNetworks(t.Networks), Names: full(t.Names), Formats: []string{},
	}
	for _, format := range t.Formats {
		raw.Formats = append(raw.Formats, string(format))
	}
	return raw
}

func encodeDestinations(d Destinations) rawDestinations {
	raw := rawDestinations{Block: []rawDestination{}, Allow: []rawException{}}
	for _, one := range d.Block {
		raw.Block = append(raw.Block, rawDestination(one))
	}
	for _, one := range d.Allow {
		exception := rawException{Prefix: one.Prefix, Reason: one.Reason}
		if !one.Until.IsZero() {
			exception.Until = one.Until.UTC().Format(time.RFC3339Nano)
		}
		raw.Allow = append(raw.Allow, exception)
	}
	return raw
}

// full returns list, and an empty list for nil: a canonical document writes []
// and never null.
func full(list []string) []string {
	return append([]string{}, list...)
}

func rawNetworks(list []netip.Prefix) []string {
	out := []string{}
	for _, one := range list {
		out = append(out, one.String())
	}
	return out
}
