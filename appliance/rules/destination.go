package rules

import (
	"fmt"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/settings"
)

// The lists that a rule can come from.
const (
	listHighRisk = "high-risk"
	listPolicy   = "policy"
	listSettings = "settings"
)

// calls holds the compiled tables behind Rules.Call.
type calls struct {
	plan     *dialplan.Plan
	highRisk bool
	// floor is the built-in list and the policy, with the exceptions that the
	// policy grants to the settings. local is what the settings say for
	// themselves. Both must let a number pass, so local only ever tightens.
	floor, local layer
	trunks       []trunk
	pbx          string // host of the PBX, or empty
}

// trunk is what judging needs to know of a trunk.
type trunk struct {
	name, domain, address string
	national, e164        bool
}

func (c *calls) trunkNamed(name string) *trunk {
	for i := range c.trunks {
		if c.trunks[i].name == name {
			return &c.trunks[i]
		}
	}
	return nil
}

// trunkAt finds the trunk of a host. Two trunks may share an address; domains
// are unique and looked at first.
func (c *calls) trunkAt(host string) *trunk {
	for i := range c.trunks {
		if c.trunks[i].domain == host {
			return &c.trunks[i]
		}
	}
	for i := range c.trunks {
		if c.trunks[i].address == host {
			return &c.trunks[i]
		}
	}
	return nil
}

// entry is one prefix of a layer and what it says.
type entry struct {
	prefix, why, list string
	reason            appliance.Reason
}

// layer is a longest-prefix table of entries.
type layer struct {
	table   dialplan.Table
	entries []entry
}

// newLayer builds a layer. Of entries with equal prefixes the first one counts.
func newLayer(entries []entry) (layer, error) {
	prefixes := make([]string, len(entries))
	for i := range entries {
		prefixes[i] = entries[i].prefix
	}
	table, err := dialplan.NewTable(prefixes)
	return layer{table, entries}, err
}

// find returns the entry with the longest prefix of number, or nil.
func (l *layer) find(number string) *entry {
	if i, ok := l.table.Lookup(number); ok {
		return &l.entries[i]
	}
	return nil
}

// calls builds the tables.
func (c *compiler) calls() (calls, error) {
	site := c.settings.Site
	plan, err := dialplan.NewPlan(dialplan.Site{
		Country: site.Country, AreaCode: site.AreaCode,
		AccessDigits: site.AccessDigits, Extensions: site.Extensions,
	})
	if err != nil {
		return calls{}, fmt.Errorf("compile calls: %w", err)
	}
	out := calls{plan: plan, highRisk: c.policy.Destinations.HighRisk}
	if out.floor, err = newLayer(c.floor()); err != nil {
		return calls{}, fmt.Errorf("compile policy destinations: %w", err)
	}
	if out.local, err = newLayer(c.local()); err != nil {
		return calls{}, fmt.Errorf("compile settings destinations: %w", err)
	}
	for _, one := range c.sip().Trunks {
		t := trunk{name: one.Name, domain: one.Domain, address: one.Host}
		if one.Address.IsValid() {
			t.address = one.Address.Addr().String()
		}
		for _, format := range one.Formats {
			t.national = t.national || format == settings.FormatNational
			t.e164 = t.e164 || format == settings.FormatE164
		}
		out.trunks = append(out.trunks, t)
	}
	if pbx := c.settings.SIP.PBX.Address; pbx.IsValid() {
		out.pbx = pbx.Addr().String()
	}
	return out, nil
}

// floor lists the strongest entries first: on the same prefix the policy's
// Block wins over a granted exception, that over the policy's Allow, and that
// over the built-in list.
func (c *compiler) floor() []entry {
	var out []entry
	for _, one := range c.policy.Destinations.Block {
		out = append(out, entry{one.Prefix, one.Reason, listPolicy, appliance.ReasonPolicyBlock})
	}
	for _, one := range c.settings.Destinations.Allow {
		out = append(out, entry{one.Prefix, one.Reason, listSettings, appliance.ReasonException})
	}
	for _, one := range c.policy.Destinations.Allow {
		out = append(out, entry{one.Prefix, one.Reason, listPolicy, appliance.ReasonException})
	}
	if !c.policy.Destinations.HighRisk {
		return out
	}
	for _, one := range dialplan.HighRisk(c.settings.Site.Country) {
		reason := appliance.ReasonHighRisk
		if one.Class == dialplan.ClassPremium {
			reason = appliance.ReasonPremium
		}
		out = append(out, entry{one.Prefix, one.Reason, listHighRisk, reason})
	}
	return out
}

func (c *compiler) local() []entry {
	var out []entry
	for _, one := range c.settings.Destinations.Block {
		out = append(out, entry{one.Prefix, one.Reason, listSettings, appliance.ReasonSettingsBlock})
	}
	for _, one := range c.settings.Destinations.Allow {
		out = append(out, entry{one.Prefix, one.Reason, listSettings, appliance.ReasonException})
	}
	return out
}

// judge gives one candidate its verdict.
func (c *calls) judge(candidate dialplan.Candidate) Judged {
	out := Judged{Candidate: candidate}
	switch {
	case candidate.Class == dialplan.ClassEmergency:
		out.say(appliance.ReasonEmergency)
	case candidate.Class == dialplan.ClassInternal:
		out.say(appliance.ReasonInternal)
	case candidate.Number[0] != '+':
		c.judgeShort(&out)
	default:
		c.judgeE164(candidate.Number, &out)
	}
	return out
}

func (j *Judged) say(reason appliance.Reason) {
	j.Verdict, j.Reason = reason.Verdict(), reason
}

func (j *Judged) follow(e *entry) {
	j.say(e.reason)
	j.Rule, j.List, j.Why = e.prefix, e.list, e.why
}

// judgeShort judges a short code. A list names one with the home country's code
// before it, to block it or to except it; premium ones stand in the dial plan
// itself, under the built-in list's name.
func (c *calls) judgeShort(out *Judged) {
	c.judgeE164("+"+c.plan.CountryCode()+out.Number, out)
	if out.Class == dialplan.ClassPremium && c.highRisk && out.Reason == appliance.ReasonDestinationAllowed {
		out.say(appliance.ReasonPremium)
		out.Rule, out.List, out.Why = out.Number, listHighRisk, out.Label
	}
}

// judgeE164 looks a number up in both layers.
func (c *calls) judgeE164(number string, out *Judged) {
	floor, local := c.floor.find(number), c.local.find(number)
	switch {
	case floor != nil && floor.reason.Verdict() == appliance.Block:
		out.follow(floor)
	case local != nil && local.reason.Verdict() == appliance.Block:
		out.follow(local)
	case out.Class == dialplan.ClassUnknown:
		out.say(appliance.ReasonUnknownNumber)
	case floor != nil:
		out.follow(floor)
	default:
		out.say(appliance.ReasonDestinationAllowed)
	}
}
