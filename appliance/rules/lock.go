package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Lock is what hosts of the LAN may send to the internet by themselves, and what
// of it the inspector gets to see: the egress lock.
type Lock struct {
	// Transparent are the LAN interfaces whose SIP is intercepted; none where that
	// is off. SIP from elsewhere is dropped.
	Transparent []string
	Ports       []uint16 // of SIP over UDP and TCP; ascending, without repeats
	TLS         []uint16 // of SIP over TLS, which nobody can look into; likewise
	OpaqueTLS   bool     // TLS may pass to Trunks
	Trunks      []netip.Prefix
	LAN         []netip.Prefix
	Listen      []netip.AddrPort // where the inspector listens itself
	Other       []uint16         // of telephony that is not SIP; ascending
	Passes      []settings.Pass  // which of it may leave all the same
}

// Lock returns the egress lock. The caller must not change its slices.
func (r *Rules) Lock() Lock {
	if r == nil {
		return Lock{}
	}
	return r.lock
}

// tlsPort is that of SIP over TLS (RFC 3261 section 18.1.1).
const tlsPort = 5061

// lock locks every SIP port that is guarded, and those that trunks are reached
// at: a telephone knows them, too.
func (c *compiler) lock(sip SIP, guard Guard) Lock {
	out := Lock{
		Transparent: slices.Clone(c.settings.SIP.Transparent),
		TLS:         []uint16{tlsPort},
		OpaqueTLS:   c.policy.OpaqueTLS,
		LAN:         sip.LAN,
		Listen:      sip.Listen,
		Other:       settings.LockedPorts(),
		Passes:      slices.Clone(c.settings.Egress),
	}
	ports := slices.Clone(guard.Ports[ServiceSIP])
	for _, trunk := range sip.Trunks {
		if trunk.Address.IsValid() {
			ports = append(ports, trunk.Address.Port())
			out.Trunks = append(out.Trunks, single(trunk.Address.Addr().Unmap()))
		}
		out.Trunks = append(out.Trunks, trunk.Networks...)
	}
	for _, port := range ports {
		if port != tlsPort {
			out.Ports = append(out.Ports, port)
		}
	}
	slices.Sort(out.Ports)
	out.Ports = slices.Compact(out.Ports)
	slices.SortFunc(out.Trunks, netip.Prefix.Compare)
	out.Trunks = slices.Compact(out.Trunks)
	return out
}

// grantEgress checks what the settings let out.
func (c *compiler) grantEgress() {
	for i := range c.settings.Egress {
		if !c.policy.Grants.Egress {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("egress[%d]", i), "the policy does not let this site pass other telephony to the internet")
		}
	}
}

// Interceptor returns the address that intercepted SIP of one family is handed
// to. The inspector's sockets are bound to it and the kernel's rules lead there;
// no host has it: the IPv4 dummy address (RFC 7600 section 4.8) and one of the
// discard-only prefix (RFC 6666), so that nothing reaches the sockets otherwise,
// and their ports are the original ones beside the listeners'.
func Interceptor(ip6 bool) netip.Addr {
	if ip6 {
		return netip.AddrFrom16([16]byte{0: 0x01, 15: 0x08}) // 100::8
	}
	return netip.AddrFrom4([4]byte{192, 0, 0, 8})
}
