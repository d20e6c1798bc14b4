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

// Compile turns the two documents into rules as they stand at now: exceptions
// whose Until has passed are left out, and Expires says when to compile again.
// Where settings would loosen the policy beyond its grants, it returns
// appliance.Errors with CodeForbidden and the settings field to blame, and no
// rules; where the documents contradict each other, CodeInvalid likewise.
func Compile(p policy.Policy, s settings.Settings, now time.Time) (*Rules, error) {
	s, expires := unexpired(s, now)
	c := compiler{policy: p, settings: s}
	c.grants()
	r := &Rules{
		digest:  digest(p, s),
		guard:   Guard{Ports: c.ports(), Sources: c.sources()},
		sip:     c.sip(),
		expires: expires,
	}
	calls, err := c.calls()
	if err != nil {
		return nil, err
	}
	r.calls = calls
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

func digest(p policy.Policy, s settings.Settings) string {
	hash := sha256.New()
	hash.Write(policy.Encode(p))
	hash.Write(settings.Encode(s))
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// compiler holds the two documents while they are turned into rules, and
// gathers what is wrong between them.
type compiler struct {
	policy   policy.Policy
	settings settings.Settings
	mistakes appliance.Errors
}

func (c *compiler) fail(code appliance.Code, field, format string, args ...any) {
	c.mistakes = append(c.mistakes, &appliance.Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)})
}

// grants checks that the settings add nothing that the policy does not grant.
func (c *compiler) grants() {
	for i, trunk := range c.settings.Trunks {
		c.grantTrunk(fmt.Sprintf("trunks[%d]", i), trunk)
	}
	for i, admin := range c.settings.Admins {
		if !c.policy.Grants.Admins {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("admins[%d]", i), "the policy does not let this site add administrators")
		} else if admin.SIP && !c.policy.Grants.AdminSIP {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("admins[%d].sip", i), "the policy does not let this site's administrators speak SIP")
		}
	}
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

func (c *compiler) grantTrunk(field string, trunk settings.Trunk) {
	if c.policy.Grants.Providers {
		return
	}
	const refusal = "%s is in no network of the policy's providers, and the policy does not let this site add its own"
	if !c.provided(single(trunk.Address.Addr())) {
		c.fail(appliance.CodeForbidden, field+".address", refusal, trunk.Address.Addr())
	}
	for i, network := range trunk.Networks {
		if !c.provided(network) {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("%s.networks[%d]", field, i), refusal, network)
		}
	}
}

// provided reports whether a network lies inside one of the policy's providers.
func (c *compiler) provided(network netip.Prefix) bool {
	for _, provider := range c.policy.Providers {
		for _, outer := range provider.Networks {
			if covers(outer, network) {
				return true
			}
		}
	}
	return false
}

func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

func single(addr netip.Addr) netip.Prefix {
	return netip.PrefixFrom(addr, addr.BitLen())
}

// sip is the topology with every default filled in.
func (c *compiler) sip() SIP {
	out := SIP{
		Listen:  slices.Clone(c.settings.SIP.Listen),
		LAN:     slices.Clone(c.settings.Network.LAN),
		PBX:     c.settings.SIP.PBX,
		Refusal: c.settings.SIP.Refusal,
	}
	if len(out.Listen) == 0 {
		out.Listen = []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), defaultPort),
			netip.AddrPortFrom(netip.IPv6Unspecified(), defaultPort),
		}
	}
	for _, trunk := range c.settings.Trunks {
		trunk.Networks = slices.Clone(trunk.Networks)
		trunk.Formats = slices.Clone(trunk.Formats)
		if len(trunk.Formats) == 0 {
			trunk.Formats = []settings.NumberFormat{settings.FormatPlus, settings.FormatInternational, settings.FormatNational}
		}
		out.Trunks = append(out.Trunks, trunk)
	}
	return out
}

// defaultPort is SIP's (RFC 3261, section 19.1.2).
const defaultPort = 5060
