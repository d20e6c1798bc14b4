package rules

import (
	"fmt"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// Fraud returns the configuration of the behaviour engine. A nil Rules gives the
// defaults. The caller must not change its map and slices.
func (r *Rules) Fraud() fraud.Config {
	if r == nil || r.fraud.Rules == nil {
		return fraud.Defaults()
	}
	return r.fraud
}

// OwnRates reports whether a deck of the site's own may be in force: where the
// policy brings rates they are the provider's bill, and cheaper ones would loosen
// every limit.
func (r *Rules) OwnRates() bool { return r == nil || r.ownRates }

// fraudConfig puts the two documents together: the policy's word replaces the
// default, and the settings may only be stricter unless they are granted more.
func (c *compiler) fraudConfig() fraud.Config {
	config := fraud.Defaults()
	for _, one := range c.policy.Fraud.Rules {
		config.Rules[one.Name] = one.Setting
	}
	for i, one := range c.settings.Fraud.Rules {
		if !c.policy.Grants.Fraud && looser(one.Setting, config.Rules[one.Name]) {
			c.fail(appliance.CodeForbidden, fmt.Sprintf("fraud.rules[%d]", i), "%s would be looser than the policy lets this site make it", one.Name)
		}
		config.Rules[one.Name] = one.Setting
	}
	config.Limits = c.moneyLimits(config.Limits)
	config.Hours = c.hours()
	if c.policy.Fraud.Rates.Len() > 0 {
		config.Deck = c.policy.Fraud.Rates
	}
	if c.settings.Fraud.Channels > 0 {
		config.Channels = c.settings.Fraud.Channels
	}
	config.Canaries, config.Scope = c.settings.Fraud.Canaries, c.settings.Fraud.Scope
	return config
}

// hours lays the provider's schedule beside the site's.
func (c *compiler) hours() fraud.Hours {
	out, theirs := c.settings.Fraud.Hours, c.policy.Fraud.Hours
	if theirs.Zone != nil {
		out.Also = &theirs
	}
	for _, zone := range []*time.Location{theirs.Zone, fraud.Defaults().Hours.Zone} {
		if out.Zone == nil {
			out.Zone = zone
		}
	}
	return out
}

// looser reports whether a rule would let more pass: a higher threshold, one that
// is off where it was on, or a weaker mode.
func looser(wanted, floor fraud.Setting) bool {
	above := func(wanted, floor float64) bool { return floor > 0 && (wanted == 0 || wanted > floor) }
	return wanted.Mode > floor.Mode || above(wanted.Critical, floor.Critical) || above(wanted.Warn, floor.Warn)
}

// moneyLimits lays the settings' limits over the defaults, and the policy's over
// both: what the provider names is the most there is.
func (c *compiler) moneyLimits(defaults []fraud.Limit) []fraud.Limit {
	out := laid(defaults, c.settings.Fraud.Limits)
	for i, one := range c.settings.Fraud.Limits {
		for _, floor := range c.policy.Fraud.Limits {
			if one.Kind == floor.Kind && one.Per == floor.Per && (floor.Name == "" || floor.Name == one.Name) && one.Amount > floor.Amount && !c.policy.Grants.Fraud {
				c.fail(appliance.CodeForbidden, fmt.Sprintf("fraud.limits[%d].amount", i), "the policy lets this site spend at most %s there", floor.Amount)
			}
		}
	}
	for _, floor := range c.policy.Fraud.Limits {
		if own := find(c.settings.Fraud.Limits, floor); own == nil {
			out = laid(out, []fraud.Limit{floor})
		}
	}
	return out
}

func find(in []fraud.Limit, like fraud.Limit) *fraud.Limit {
	for i := range in {
		if in[i].Kind == like.Kind && in[i].Per == like.Per && in[i].Name == like.Name {
			return &in[i]
		}
	}
	return nil
}

// laid returns under with the limits of over in the place of their like.
func laid(under, over []fraud.Limit) []fraud.Limit {
	out := append([]fraud.Limit(nil), under...)
	for _, one := range over {
		if old := find(out, one); old != nil {
			*old = one
			continue
		}
		out = append(out, one)
	}
	return out
}

// Attempt is an outbound call that the lists have judged, before the behaviour
// engine has.
type Attempt struct {
	ID        string   // of the record
	Key       string   // the same for every INVITE of one attempt
	Account   string   // who calls, as attributed
	Claims    []string // other names that the caller goes by: the account that it says it is, its address
	Forwarded bool     // an inbound call caused it
	Said      Decision
}

// Ruling is what becomes of an attempt when the engine has judged it, too. The
// zero Ruling blocks.
type Ruling struct {
	Verdict appliance.Verdict
	Reason  appliance.Reason
	Rule    string // of the engine, where one spoke
	Why     string // for a person
}

// Attempt is what the engine is told of a call that was judged. It says nothing of
// who calls, nor when.
func (d *Decision) Attempt() fraud.Attempt {
	return fraud.Attempt{
		Trunk: d.Trunk, Number: d.Number, Country: d.Label, Class: d.class(), Misdial: d.Local != "",
		Refused: d.Verdict != appliance.Allow,
	}
}

// class is what a decision says a call costs. Numbers abroad that a list names are
// high, even where an exception lets them pass.
func (d *Decision) class() fraud.Class {
	switch d.Class {
	case dialplan.ClassEmergency:
		return fraud.Emergency
	case dialplan.ClassInternal:
		return fraud.Internal
	case dialplan.ClassNational:
		return fraud.National
	case dialplan.ClassPremium:
		return fraud.Premium
	case dialplan.ClassInternational:
		if d.Reason == appliance.ReasonDestinationAllowed {
			return fraud.IntlLow
		}
		return fraud.IntlHigh
	}
	return fraud.Unknown
}
