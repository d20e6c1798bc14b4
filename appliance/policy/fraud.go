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
}

type rawFraud struct {
	Rules  []document.RawFraudRule  `json:"rules"`
	Limits []document.RawMoneyLimit `json:"limits"`
}

func refineFraud(m *document.Mistakes, raw rawFraud) Fraud {
	return Fraud{Rules: m.FraudRules("fraud.rules", raw.Rules), Limits: m.MoneyLimits("fraud.limits", raw.Limits)}
}

func encodeFraud(f Fraud) rawFraud {
	return rawFraud{Rules: document.RawFraudRules(f.Rules), Limits: document.RawMoneyLimits(f.Limits)}
}
