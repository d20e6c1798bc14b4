package names

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/ringfence/ringfence/appliance"
)

// The transports of SIP, as locators and targets spell them.
const (
	udp = "udp"
	tcp = "tcp"
	tls = "tls"
)

// service is the SRV name of SIP over a transport (RFC 3263 section 4.1).
func service(transport, host string) string {
	switch transport {
	case tls:
		return "_sips._tcp." + host
	case tcp:
		return "_sip._tcp." + host
	}
	return "_sip._udp." + host
}

// defaultPort is where a transport is spoken without SRV records (RFC 3263
// section 4.2, RFC 3261 section 19.1.2).
func defaultPort(transport string) uint16 {
	if transport == tls {
		return 5061
	}
	return 5060
}

// locate finds the targets of a trunk as RFC 3263 section 4 has it.
func (a *answer) locate(ctx context.Context, r resolver, l appliance.Locator, host string) {
	switch {
	case l.Port != 0:
		a.hostTargets(ctx, r, host, appliance.Target{Transport: cmp.Or(l.Transport, udp), Host: bare(host)}, l.Port)
	case l.Transport != "":
		if !a.serviceTargets(ctx, r, service(l.Transport, host), l.Transport, 0) {
			a.hostTargets(ctx, r, host, appliance.Target{Transport: l.Transport, Host: bare(host)}, defaultPort(l.Transport))
		}
	default:
		a.naptrTargets(ctx, r, host)
	}
}

// bare is a canonical name as people write it.
func bare(name string) string { return strings.TrimSuffix(name, ".") }

// offered is a way that a NAPTR record offers.
type offered struct {
	transport, service string
	order, preference  uint16
}

// naptrTargets asks which transports there are. Without NAPTR records the SRV
// records of each say, and without those it is UDP.
func (a *answer) naptrTargets(ctx context.Context, r resolver, host string) {
	found, err := r.lookup(ctx, host, dns.TypeNAPTR)
	if err != nil && !nothing(err) {
		a.problem(host, "NAPTR", err)
		return
	}
	if err == nil {
		a.ttl = min(a.ttl, found.ttl)
	}
	ways := waysOf(found.records)
	for n, way := range ways {
		// Where TLS is what the domain prefers, whoever can break it must not be
		// able to have the box fall back to plain text.
		if ways[0].transport == tls && way.transport != tls {
			continue
		}
		a.serviceTargets(ctx, r, way.service, way.transport, n)
	}
	for _, transport := range []string{udp, tcp, tls} {
		if len(ways) > 0 || a.serviceTargets(ctx, r, service(transport, host), transport, 0) {
			return
		}
	}
	if !a.broken {
		a.hostTargets(ctx, r, host, appliance.Target{Transport: udp, Host: bare(host)}, defaultPort(udp))
	}
}

// waysOf returns what the NAPTR records offer that the box can speak, the
// preferred first (RFC 3403 section 4.1).
func waysOf(records []dns.RR) []offered {
	known := map[string]string{"SIP+D2U": udp, "SIP+D2T": tcp, "SIPS+D2T": tls}
	var ways []offered
	for _, record := range records {
		one, ok := record.(*dns.NAPTR)
		if !ok || !strings.EqualFold(one.Flags, "s") || one.Regexp != "" {
			continue
		}
		transport := known[strings.ToUpper(one.Service)]
		name, err := canonical(one.Replacement)
		if transport != "" && err == nil && isService(name) {
			ways = append(ways, offered{transport, name, one.Order, one.Preference})
		}
	}
	slices.SortStableFunc(ways, func(x, y offered) int {
		return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(x.preference, y.preference))
	})
	return ways[:min(len(ways), maxWays)]
}

// maxWays bounds the NAPTR records that are followed: one a transport, and one to
// spare.
const maxWays = 4

// wayStep sets the priorities of a later way behind those of an earlier one.
const wayStep = 1 << 14

// serviceTargets takes the targets of one SRV name. It reports false where there
// are no such records, and the name itself may be the host.
func (a *answer) serviceTargets(ctx context.Context, r resolver, name, transport string, way int) bool {
	found, err := r.lookup(ctx, name, dns.TypeSRV)
	if nothing(err) {
		return false
	}
	if err != nil {
		a.problem(name, "SRV", err)
		return true
	}
	a.ttl = min(a.ttl, found.ttl)
	services := servicesOf(found.records)
	if len(services) == 0 { // RFC 2782: a target of "." says that there is no such service
		a.problem(name, "SRV", errNoData)
	}
	for _, one := range services[:min(len(services), maxTargets)] {
		target, _ := canonical(one.Target)
		a.hostTargets(ctx, r, target, appliance.Target{
			Transport: transport, Host: bare(target), Weight: one.Weight,
			Priority: uint16(min(way*wayStep+int(min(one.Priority, wayStep-1)), 1<<16-1)),
		}, one.Port)
	}
	return true
}

// servicesOf returns the SRV records that lead somewhere, by priority and then
// the greatest weight.
func servicesOf(records []dns.RR) []*dns.SRV {
	var out []*dns.SRV
	for _, record := range records {
		if one, ok := record.(*dns.SRV); ok && one.Port != 0 {
			if _, err := canonical(one.Target); err == nil {
				out = append(out, one)
			}
		}
	}
	slices.SortFunc(out, func(x, y *dns.SRV) int {
		return cmp.Or(cmp.Compare(x.Priority, y.Priority), cmp.Compare(y.Weight, x.Weight), strings.Compare(x.Target, y.Target), cmp.Compare(x.Port, y.Port))
	})
	return out
}

// hostTargets takes the addresses of one host.
func (a *answer) hostTargets(ctx context.Context, r resolver, host string, like appliance.Target, port uint16) {
	before := len(a.addrs)
	a.host(ctx, r, host)
	for _, addr := range a.addrs[before:] {
		like.Address = netip.AddrPortFrom(addr, port)
		if !slices.Contains(a.targets, like) && len(a.targets) < MaxAddresses {
			a.targets = append(a.targets, like)
		}
	}
}

func nothing(err error) bool { return errors.Is(err, errNoName) || errors.Is(err, errNoData) }

// aim merges the targets of an answer: an answer that is whole counts alone, one
// in parts leaves what it does not speak of. good are the addresses that may be
// let in.
func (e *entry) aim(a answer, good []netip.Addr) (changed bool) {
	if len(good) == 0 {
		return false
	}
	next := slices.DeleteFunc(slices.Clone(a.targets), func(t appliance.Target) bool {
		return !slices.Contains(good, t.Address.Addr())
	})
	if a.broken {
		for _, one := range e.targets {
			if !slices.Contains(next, one) && len(next) < MaxAddresses {
				next = append(next, one)
			}
		}
		slices.SortStableFunc(next, func(x, y appliance.Target) int { return cmp.Compare(x.Priority, y.Priority) })
	}
	changed = !slices.Equal(next, e.targets)
	e.targets = next
	e.stray()
	return changed
}

// stray drops the targets whose address is not held any more.
func (e *entry) stray() {
	held := e.bare()
	e.targets = slices.DeleteFunc(e.targets, func(t appliance.Target) bool { return !slices.Contains(held, t.Address.Addr()) })
}

// Targets returns where the locators among the tracked names lead now, the best
// first, under the name as it was given to Track (appliance.Locator.String). What
// the DNS last said is kept while it does not answer.
func (t *Tracker) Targets() map[string][]appliance.Target {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string][]appliance.Target)
	for name, e := range t.entries {
		if e.locator != nil {
			out[name] = slices.Clone(e.targets)
		}
	}
	return out
}

// restoreTargets takes what was kept on disk, as far as its addresses are held.
func (e *entry) restoreTargets(saved []appliance.Target) {
	if e.locator == nil {
		return
	}
	for _, one := range saved[:min(len(saved), MaxAddresses)] {
		known := one.Transport == udp || one.Transport == tcp || one.Transport == tls
		if known && one.Address.IsValid() && one.Address.Port() != 0 && !slices.Contains(e.targets, one) {
			e.targets = append(e.targets, one)
		}
	}
	e.stray()
}
