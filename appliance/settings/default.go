package settings

import "net/netip"

// Default returns the settings of a box out of its carton: no trunk, no
// guarded interface named, and the private networks of RFC 1918, RFC 4193 and
// the loopback as its LAN.
func Default() Settings {
	return Settings{
		Site: Site{Name: "Ringfence", Country: "AU"},
		Network: Network{LAN: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"),
			netip.MustParsePrefix("172.16.0.0/12"),
			netip.MustParsePrefix("192.168.0.0/16"),
			netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("fc00::/7"),
			netip.MustParsePrefix("::1/128"),
		}},
		SIP:   SIP{Refusal: 403, Messages: MessagesRefused},
		Media: Media{Guard: MediaObserve},
	}
}
