package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Compile turns the two documents, with the facts that they point at, into rules
// as they stand at now: exceptions whose Until has passed are left out, and
// Expires says when to compile again.
//
// Where settings would loosen the policy beyond its grants, it returns
// appliance.Errors with CodeForbidden and the settings field to blame, and no
// rules. Where lines contradict each other, in one document or across the two,
// CodeInvalid likewise: the field then begins with the document that it stands
// in, as in "settings ports.http[0]", and the message names the other line.
func Compile(p policy.Policy, s settings.Settings, facts Facts, now time.Time) (*Rules, error) {
	s, expires := unexpired(s, now)
	c := compiler{policy: p, settings: s, facts: facts}
	c.grants()
	lines := append(c.lines(), c.accountLines()...)
	c.outside(lines)
	c.countNames()
	r := &Rules{
		digest:   c.digest(),
		guard:    Guard{Ports: c.ports(), Sources: c.sources(lines), Feeds: c.feeds(), Limits: c.limits(), Media: mediaGuard(c.settings.Media.Guard)},
		sip:      c.sip(),
		fraud:    c.fraudConfig(),
		ownRates: c.policy.Fraud.Rates.Len() == 0 || c.policy.Grants.Fraud,
		expires:  expires,
	}
	r.sip.Accounts, r.sip.Guard = c.accounts(), c.thresholds()
	r.sip.Remote = c.remote(r.sip.Accounts)
	r.lock = c.lock(r.sip, r.guard)
	if len(r.lock.Transparent) > 0 {
		r.sip.Intercepted = r.lock.Ports
	}
	calls, err := c.calls()
	if err != nil {
		return nil, err
	}
	r.calls = calls
	r.edition = c.edition(r.digest)
	if err := c.mistakes.Or(); err != nil {
		return nil, err
	}
	return r, nil
}

// unexpired returns s without the exceptions that have ended, and the moment at
// which the next one ends.
func unexpired(s settings.Settings, now time.Time) (settings.Settings, time.Time) {
	var kept []settings.Exception
	var next time.Time
	for _, one := range s.Destinations.Allow {
		if !one.Until.IsZero() {
			if !one.Until.After(now) {
				continue
			}
			if next.IsZero() || one.Until.Before(next) {
				next = one.Until
			}
		}
		kept = append(kept, one)
	}
	s.Destinations.Allow = kept
	return s, next
}

func (c *compiler) digest() string {
	hash := sha256.New()
	hash.Write(policy.Encode(c.policy))
	hash.Write(settings.Encode(c.settings))
	c.hashFacts(hash)
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// compiler holds the two documents while they are turned into rules, and
// gathers what is wrong between them.
type compiler struct {
	policy   policy.Policy
	settings settings.Settings
	facts    Facts
	mistakes appliance.Errors
}

func (c *compiler) fail(code appliance.Code, field, format string, args ...any) {
	c.mistakes = append(c.mistakes, &appliance.Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)})
}

// grants checks that the settings add nothing that the policy does not grant.
func (c *compiler) grants() {
	c.grantTrunks()
	for i, admin := range c.settings.Admins {
		if !c.policy.Grants.Admins {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("admins[%d]", i), "the policy does not let this site add administrators")
		} else if admin.SIP && !c.policy.Grants.AdminSIP {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("admins[%d].sip", i), "the policy does not let this site's administrators speak SIP")
		}
	}
	for i := range c.settings.Tunnels {
		if !c.policy.Grants.Tunnels {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("tunnels[%d]", i), "the policy does not let this site add tunnels")
		}
	}
	c.grantEgress()
	shortest := c.policy.Grants.Exceptions
	for i, one := range c.settings.Destinations.Allow {
		field := fmt.Sprintf("destinations.allow[%d].prefix", i)
		switch {
		case shortest == 0:
			c.fail(appliance.CodeForbidden, field, "the policy grants this site no exceptions")
		case len(one.Prefix)-1 < shortest:
			c.fail(appliance.CodeForbidden, field, "%s has fewer digits than the %d that the policy asks of an exception", one.Prefix, shortest)
		}
	}
}

// sip is the topology with every default filled in.
func (c *compiler) sip() SIP {
	out := SIP{
		Listen:  slices.Clone(c.settings.SIP.Listen),
		LAN:     slices.Clone(c.settings.Network.LAN),
		PBX:     c.settings.SIP.PBX,
		Refusal: c.settings.SIP.Refusal,

		Messages: c.settings.SIP.Messages,
	}
	if len(out.Listen) == 0 {
		out.Listen = everywhere(c.defaults(defaultPort, secondPort)...)
	}
	out.Secure = c.secure()
	for _, trunk := range c.settings.Trunks {
		// The inspector asks whether a request came from the trunk, and so what a
		// name stands for counts like a network.
		out.Targets = append(out.Targets, c.targets(trunk))
		trunk.Networks = slices.Concat(trunk.Networks, c.resolved(located(trunk)))
		trunk.Formats = slices.Clone(trunk.Formats)
		if len(trunk.Formats) == 0 {
			trunk.Formats = []settings.NumberFormat{settings.FormatPlus, settings.FormatInternational, settings.FormatNational}
		}
		out.Trunks = append(out.Trunks, trunk)
	}
	return out
}

// The ports that are listened on where the settings name none: SIP's and SIPS's
// (RFC 3261, section 19.1.2), and one that providers know for lines on which a
// router's SIP helper mangles what goes to 5060.
const (
	defaultPort = 5060
	secondPort  = 50600
	securePort  = 5061
)

// defaults are those of the ports that the documents leave to the inspector. A
// document that gave one to another service keeps its meaning; 5060 is never
// given up, so that such a line is a mistake.
func (c *compiler) defaults(ports ...uint16) []uint16 {
	var out []uint16
	for _, port := range ports {
		taken := func(lists ...[]uint16) bool {
			return slices.ContainsFunc(lists, func(list []uint16) bool { return slices.Contains(list, port) })
		}
		if port == defaultPort || !taken(c.policy.Ports.HTTP, c.policy.Ports.Open, c.settings.Ports.HTTP, c.settings.Ports.Open) {
			out = append(out, port)
		}
	}
	return out
}

// everywhere is each port on every address of the box.
func everywhere(ports ...uint16) []netip.AddrPort {
	var out []netip.AddrPort
	for _, port := range ports {
		out = append(out, netip.AddrPortFrom(netip.IPv4Unspecified(), port), netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	}
	return out
}

// secure are the listeners for TLS. Settings that name listeners and no TLS have
// none.
func (c *compiler) secure() []netip.AddrPort {
	set := c.settings.SIP
	switch {
	case len(set.TLS.Listen) > 0:
		return slices.Clone(set.TLS.Listen)
	case len(set.Listen) == 0:
		return everywhere(c.defaults(securePort)...)
	case !set.TLS.On:
		return nil
	}
	var out []netip.AddrPort
	for _, one := range set.Listen {
		at := netip.AddrPortFrom(one.Addr(), securePort)
		if !slices.Contains(out, at) && !slices.Contains(set.Listen, at) {
			out = append(out, at)
		}
	}
	return out
}
