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
		Accounts:     document.RawAccounts(s.Accounts),
		Guard:        document.RawGuardOf(s.Guard),
		Egress:       rawPasses(s.Egress),
		Media:        &rawMedia{Guard: string(s.Media.Guard)},
		HEP:          encodeHEP(s.HEP),
		Destinations: encodeDestinations(s.Destinations),
		Fraud:        encodeFraud(s.Fraud),
		Notify:       encodeNotify(s.Notify),
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
	raw := rawSIP{Listen: []string{}, Refusal: s.Refusal, Transparent: full(s.Transparent), Messages: encodeMessages(s.Messages)}
	for _, one := range s.Listen {
		raw.Listen = append(raw.Listen, one.String())
	}
	if s.TLS.On {
		raw.TLS = &rawSecure{Listen: []string{}, Certificate: s.TLS.Certificate, Key: s.TLS.Key, Clients: s.TLS.Clients}
		for _, one := range s.TLS.Listen {
			raw.TLS.Listen = append(raw.TLS.Listen, one.String())
		}
	}
	if s.PBX != (Peer{}) {
		raw.PBX = &rawPeer{Address: s.PBX.Address.String(), Transport: string(s.PBX.Transport), TLS: encodeIdentity(s.PBX.TLS)}
	}
	return raw
}

func encodeIdentity(one Identity) *rawIdentity {
	if one == (Identity{}) {
		return nil
	}
	raw := rawIdentity(one)
	return &raw
}

func encodeTrunk(t Trunk) rawTrunk {
	raw := rawTrunk{
		Name: t.Name, Domain: t.Domain, Address: encodeHop(t), Transport: string(t.Transport), TLS: encodeIdentity(t.TLS),
		Networks: rawNetworks(t.Networks), Names: full(t.Names), Formats: []string{}, Fallback: full(t.Fallback), Probe: encodeProbe(t.Probe),
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
