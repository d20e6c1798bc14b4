package names

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/ringfence/ringfence/appliance"
)

var (
	errNoName = errors.New("no such name")
	errNoData = errors.New("no such record")
	errHops   = fmt.Errorf("more than %d CNAME records in a row, or a loop of them", maxHops)
)

// lookupTime is what one name may take, with all of its targets.
const lookupTime = time.Minute

// answer is what the DNS says of one name at one time.
type answer struct {
	of       *entry
	addrs    []netip.Addr       // ascending, without repeats, not judged yet
	targets  []appliance.Target // best first; of a locator only
	ttl      time.Duration
	problems []error
	broken   bool // somebody did not answer: try again soon
}

// resolve asks for everything that a name stands for.
func (r resolver) resolve(ctx context.Context, e *entry) answer {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	a := answer{of: e, ttl: time.Duration(1<<31-1) * time.Second}
	switch {
	case e.locator != nil:
		a.locate(ctx, r, *e.locator, e.query)
	case isService(e.query):
		for _, host := range a.service(ctx, r, e.query) {
			a.host(ctx, r, host)
		}
	default:
		a.host(ctx, r, e.query)
	}
	slices.SortFunc(a.addrs, netip.Addr.Compare)
	a.addrs = slices.Compact(a.addrs)
	return a
}

// service asks for the SRV records and returns their targets, each once, the
// best priorities first. What comes along as additional records is not
// believed: the targets are asked for.
func (a *answer) service(ctx context.Context, r resolver, name string) []string {
	found, err := r.lookup(ctx, name, dns.TypeSRV)
	if err != nil {
		a.problem(name, "SRV", err)
		return nil
	}
	a.ttl = min(a.ttl, found.ttl)
	targets, left := targetsOf(found.records)
	switch {
	case len(targets) == 0: // RFC 2782: a target of "." says that there is no such service
		a.problem(name, "SRV", errNoData)
	case left > 0:
		a.problem(name, "SRV", fmt.Errorf("%d targets are left out: at most %d are taken", left, maxTargets))
	}
	return targets
}

func targetsOf(records []dns.RR) (targets []string, left int) {
	var services []*dns.SRV
	for _, record := range records {
		if one, ok := record.(*dns.SRV); ok {
			services = append(services, one)
		}
	}
	slices.SortFunc(services, func(a, b *dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Target, b.Target))
	})
	for _, one := range services {
		target, err := canonical(one.Target)
		switch {
		case err != nil || slices.Contains(targets, target):
		case len(targets) == maxTargets:
			left++
		default:
			targets = append(targets, target)
		}
	}
	return targets, left
}

// host asks for the addresses of one host. Having them in one family only is no
// problem.
func (a *answer) host(ctx context.Context, r resolver, name string) {
	before := len(a.addrs)
	nothing := errNoData
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		found, err := r.lookup(ctx, name, kind)
		if errors.Is(err, errNoName) || errors.Is(err, errNoData) {
			nothing = err
			continue
		}
		if err != nil {
			a.problem(name, dns.TypeToString[kind], err)
			continue
		}
		a.ttl = min(a.ttl, found.ttl)
		for _, record := range found.records {
			if addr, ok := addressOf(record); ok {
				a.addrs = append(a.addrs, addr)
			}
		}
	}
	if len(a.addrs) == before {
		a.problem(name, "address", nothing)
	}
}

// problem notes what went wrong. That there is nothing is an answer, whatever
// else is a reason to ask again soon.
func (a *answer) problem(name, what string, err error) {
	a.problems = append(a.problems, fmt.Errorf("%s of %s: %w", what, strings.TrimSuffix(name, "."), err))
	if !errors.Is(err, errNoName) && !errors.Is(err, errNoData) {
		a.broken = true
	}
}

// found is how far the way from a name to its records has been followed.
type found struct {
	name    string // where the way has come to
	hops    int
	ttl     time.Duration // the shortest on the way
	records []dns.RR
}

// lookup follows a name to its records of one type. A resolver sends the whole
// chain of CNAMEs as a rule; where it does not, the end of it is asked for.
func (r resolver) lookup(ctx context.Context, name string, kind uint16) (found, error) {
	way := found{name: name, ttl: time.Duration(1<<31-1) * time.Second}
	for {
		reply, err := r.ask(ctx, way.name, kind)
		if err != nil {
			return found{}, err
		}
		moved := way.follow(reply.Answer, kind)
		switch {
		case way.hops > maxHops:
			return found{}, errHops
		case len(way.records) > 0:
			return way, nil
		case reply.Rcode == dns.RcodeNameError:
			return found{}, errNoName
		case !moved:
			return found{}, errNoData
		}
	}
}

// follow takes the records that belong to the name, or to the end of a chain of
// CNAMEs that begins at it. Any other record of the answer is none of ours, and
// what is in the other sections is not looked at.
func (f *found) follow(records []dns.RR, kind uint16) (moved bool) {
	for f.hops <= maxHops {
		next := ""
		for _, record := range records {
			header := record.Header()
			if header.Class != dns.ClassINET || dns.CanonicalName(header.Name) != f.name {
				continue
			}
			alias, isAlias := record.(*dns.CNAME)
			switch {
			case header.Rrtype == kind:
				f.records = append(f.records, record)
				f.ttl = min(f.ttl, ttlOf(header))
			case isAlias && next == "":
				next = f.alias(alias)
			}
		}
		if len(f.records) > 0 || next == "" {
			return moved
		}
		f.name, moved = next, true
		f.hops++
	}
	return moved
}

// alias returns where a CNAME leads to, or nothing where that is no name.
func (f *found) alias(record *dns.CNAME) string {
	target, err := canonical(record.Target)
	if err != nil {
		return ""
	}
	f.ttl = min(f.ttl, ttlOf(record.Header()))
	return target
}

// ttlOf reads a TTL as RFC 2181, section 8 has it: with its top bit set it is
// none.
func ttlOf(header *dns.RR_Header) time.Duration {
	if header.Ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(header.Ttl) * time.Second
}
