package rules

import (
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Memory is what the gate remembers between packets. The zero Memory remembers
// nothing. It forgets nothing to make room, as the kernel's tables do.
type Memory struct {
	// Now is the time of the next packet, since boot. Whoever owns the Memory
	// moves it on.
	Now time.Duration

	bans      map[netip.Addr]time.Duration // until when; IPv6 by the /64's first address
	flows     map[flow]time.Duration       // seen last
	fragments map[fragment]appliance.Reason
	meters    map[meter]time.Duration              // theoretical arrival time of ITU-T I.371
	permits   map[appliance.MediaKey]time.Duration // until when
	cuts      map[appliance.MediaKey]time.Duration
	media     map[flow]time.Duration // sent last, from ports that nobody guards
}

// flow is a conversation of somebody inside with somebody on the internet.
// Tunnels have no ports. The local address is not in it: there is one, the
// WAN's, after NAT.
type flow struct {
	protocol              byte
	remote                netip.Addr
	remotePort, localPort uint16
}

// meter counts what one source, of IPv6 one /64, sends to a service.
type meter struct {
	source  netip.Addr
	service Service
}

// Ban bans an IPv4 address, or the /64 around an IPv6 address.
func (m *Memory) Ban(source netip.Addr, until time.Duration) { put(&m.bans, host(source), until) }

// Unban ends a ban.
func (m *Memory) Unban(source netip.Addr) { delete(m.bans, host(source)) }

func (m *Memory) banned(source netip.Addr) bool { return m.bans[host(source)] > m.Now }

// host returns what stands for one sender: an IPv6 host can take any address of
// its /64.
func host(address netip.Addr) netip.Addr {
	if address.Is4() {
		return address
	}
	octets := address.As16()
	clear(octets[8:])
	return netip.AddrFrom16(octets)
}

// conclude remembers what became of a first fragment. One that passed makes an
// end of an older packet's name.
func (m *Memory) conclude(name fragment, reason appliance.Reason) {
	if reason.Verdict() == appliance.Allow {
		delete(m.fragments, name)
		return
	}
	put(&m.fragments, name, reason)
}

// refused reports whether the first fragment of that name was dropped.
func (m *Memory) refused(name fragment) bool {
	_, found := m.fragments[name]
	return found
}

// see remembers a flow, or that it goes on.
func (m *Memory) see(f flow) { put(&m.flows, f, m.Now) }

// knows reports whether a flow has been seen and not for too long ago.
func (m *Memory) knows(g Guard, f flow) bool {
	seen, found := m.flows[f]
	if !found {
		return false
	}
	life, bounded := g.life(f)
	return !bounded || m.Now-seen <= life
}

// life returns how long a flow is known after it was seen last. TCP towards a
// port that is not guarded needs no memory to pass; its flow only tells streams
// that began inside from others, for as long as it is there.
func (g Guard) life(f flow) (life time.Duration, bounded bool) {
	switch f.protocol {
	case protocolTCP:
		_, guarded := g.service(f.localPort)
		return 7440 * time.Second, guarded // RFC 5382 REQ-5
	case protocolIPv4, protocolIPv6, protocolGRE:
		return 600 * time.Second, true
	}
	return 180 * time.Second, true
}

// exceeds counts a packet against a limit, or reports that it is over: the
// generic cell rate algorithm of ITU-T I.371, as virtual scheduling.
func (m *Memory) exceeds(limit Limit, source netip.Addr, service Service) bool {
	if limit.PerSecond == 0 {
		return false
	}
	interval := time.Second / time.Duration(limit.PerSecond)
	tolerance := time.Duration(max(limit.Burst, 1)-1) * interval
	name := meter{host(source), service}
	arrival := max(m.meters[name], m.Now)
	if arrival-m.Now > tolerance {
		return true
	}
	put(&m.meters, name, arrival+interval)
	return false
}

func put[K comparable, V any](in *map[K]V, key K, value V) {
	if *in == nil {
		*in = make(map[K]V)
	}
	(*in)[key] = value
}
