package rules

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// MediaGuard says what becomes of media from the internet that no call
// negotiated and nobody inside asked for.
type MediaGuard uint8

// The media guards. Calls that are cut are cut under each of them.
const (
	MediaOff     MediaGuard = iota // nobody looks
	MediaObserve                   // it passes, and is told of
	MediaEnforce                   // it is dropped
)

// String returns the word of the settings.
func (g MediaGuard) String() string {
	switch g {
	case MediaObserve:
		return string(settings.MediaObserve)
	case MediaEnforce:
		return string(settings.MediaEnforce)
	default:
		return string(settings.MediaOff)
	}
}

func mediaGuard(word settings.MediaGuard) MediaGuard {
	switch word {
	case settings.MediaEnforce:
		return MediaEnforce
	case settings.MediaOff:
		return MediaOff
	}
	return MediaObserve
}

// Permit lets media in until a moment: to LocalPort from any port of Remote, or,
// where Remote is zero, from whoever may speak SIP. The zero key lets all of it
// in. RemotePort counts for nothing.
func (m *Memory) Permit(key appliance.MediaKey, until time.Duration) {
	key.RemotePort = 0
	put(&m.permits, key, until)
}

// Cut drops the packets of a key until a moment, in both directions. Of its
// fields RemotePort or LocalPort may be zero.
func (m *Memory) Cut(key appliance.MediaKey, until time.Duration) { put(&m.cuts, key, until) }

// Uncut ends a cut.
func (m *Memory) Uncut(key appliance.MediaKey) { delete(m.cuts, key) }

// isCut reports whether a flow is of a call that was cut.
func (m *Memory) isCut(f flow) bool {
	if f.protocol != protocolUDP {
		return false
	}
	for _, key := range []appliance.MediaKey{
		{Remote: f.remote, RemotePort: f.remotePort},
		{Remote: f.remote, RemotePort: f.remotePort, LocalPort: f.localPort},
		{Remote: f.remote, LocalPort: f.localPort},
	} {
		if m.cuts[key] > m.Now {
			return true
		}
	}
	return false
}

// judgeMedia judges a datagram to a port that nobody guards.
func (g Guard) judgeMedia(p packet, m *Memory) appliance.Reason {
	if p.protocol != protocolUDP || g.Media == MediaOff || p.to < firstMediaPort || !looksLikeMedia(p.payload) {
		return appliance.ReasonNotGuarded
	}
	permitted := func(remote netip.Addr, port uint16) bool {
		return m.permits[appliance.MediaKey{Remote: remote, LocalPort: port}] > m.Now
	}
	switch seen, known := m.media[p.flow()]; {
	case permitted(p.source, p.to):
		return appliance.ReasonMedia
	case known && m.Now-seen <= mediaIdle:
		return appliance.ReasonNotGuarded
	case permitted(netip.Addr{}, p.to) && g.grants(p.source, ServiceSIP), permitted(netip.Addr{}, 0):
		return appliance.ReasonMedia
	}
	return choose(g.Media == MediaEnforce, appliance.ReasonMediaStray, appliance.ReasonMediaObserved)
}

// firstMediaPort is the first that is no system port (RFC 6335 section 6). Nobody
// takes media below, but a name server's queries begin with any two bytes.
const firstMediaPort = 1024

// mediaIdle is how long datagrams may be silent that somebody inside sends from a
// port that nobody guards.
const mediaIdle = 180 * time.Second

// asksForMedia remembers a datagram that leaves from a port that nobody guards:
// what comes back may look like media, whatever it is.
func (g Guard) asksForMedia(f flow, m *Memory) {
	if _, guarded := g.service(f.localPort); f.protocol == protocolUDP && !guarded && !g.empty() && g.Media != MediaOff {
		put(&m.media, f, m.Now)
	}
}

// looksLikeMedia reports whether a payload is RTP or RTCP by its looks: version 2
// (RFC 3550 section 5.1), a payload type that somebody uses, and no shorter than
// it says itself. RTCP's types are told from RTP's as RFC 5761 section 4 says.
// The types from 35 to 95, which RFC 3551 section 3 leaves unassigned or reserves,
// are nobody's choice where there is room above.
func looksLikeMedia(payload []byte) bool {
	if len(payload) < 8 || payload[0]>>6 != 2 {
		return false
	}
	if 192 <= payload[1] && payload[1] <= 223 {
		return len(payload) >= 4*(1+int(binary.BigEndian.Uint16(payload[2:])))
	}
	kind := payload[1] & 0x7f
	return (kind <= 34 || kind >= 96) && len(payload) >= 12+4*int(payload[0]&0x0f)
}
