package policy

import (
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// Fraud is what the provider asks of the behaviour engine. Settings may be
// stricter; looser only where a grant says so.
type Fraud struct {
	Rules  []document.FraudRule
	Limits []fraud.Limit // the most that may be spent
	Hours  fraud.Hours   // hold beside the site's own
	Rates  fraud.Deck    // without a prefix where the policy brings none
}

type rawFraud struct {
	Rules  []document.RawFraudRule  `json:"rules"`
	Limits []document.RawMoneyLimit `json:"limits"`
	Hours  *document.RawHours       `json:"hours,omitempty"`
	Rates  *document.RawRates       `json:"rates,omitempty"`
}

func refineFraud(m *document.Mistakes, raw rawFraud) Fraud {
	out := Fraud{
		Rules: m.FraudRules("fraud.rules", raw.Rules), Limits: m.MoneyLimits("fraud.limits", raw.Limits),
		Rates: m.Rates("fraud.rates", raw.Rates),
	}
	if raw.Hours != nil {
		out.Hours = m.Hours("fraud.hours", *raw.Hours)
	}
	return out
}

func encodeFraud(f Fraud) rawFraud {
	raw := rawFraud{Rules: document.RawFraudRules(f.Rules), Limits: document.RawMoneyLimits(f.Limits), Rates: document.RawRatesOf(f.Rates)}
	if f.Hours.Zone != nil {
		hours := document.RawHoursOf(f.Hours)
		raw.Hours = &hours
	}
	return raw
}
