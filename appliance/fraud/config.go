package fraud

import (
	"fmt"
	"maps"
	"time"
)

// RuleID names a rule of the engine.
type RuleID string

// The rules. What each counts stands in rules.go; docs/fraud.md has the table.
const (
	RuleHighRisk     RuleID = "high-risk-attempts"
	RuleFishing      RuleID = "prefix-fishing"
	RulePerMinute    RuleID = "calls-per-minute"
	RulePerHour      RuleID = "calls-per-hour"
	RulePerDay       RuleID = "calls-per-day"
	RuleConcurrent   RuleID = "concurrent"
	RuleSequential   RuleID = "same-number"
	RulePumping      RuleID = "premium-per-hour"
	RuleSpread       RuleID = "distinct-numbers"
	RuleNovelty      RuleID = "new-country"
	RuleDrip         RuleID = "off-hours-drip"
	RuleShort        RuleID = "short-calls"
	RuleLive         RuleID = "live-duration"
	RuleVelocity     RuleID = "cost-per-hour"
	RuleForward      RuleID = "forwarded"
	RuleRegistration RuleID = "registration"
	RuleDormant      RuleID = "dormant"
	RuleCallback     RuleID = "one-ring-callback"
	RuleCanary       RuleID = "canary"
	RuleCredit       RuleID = "credit"
)

// RuleClock tells of a calendar that was set. It is always on and blocks nothing.
const RuleClock RuleID = "clock"

// Mode says what a rule may do.
type Mode uint8

// The modes. The zero Mode enforces: a rule that nobody mentions is in force.
const (
	Enforce Mode = iota
	Shadow       // only reports what it would have done
	Off
)

// String returns "enforce", "shadow" or "off".
func (m Mode) String() string { return [...]string{"enforce", "shadow", "off"}[min(m, Off)] }

// Setting is a rule's thresholds: a value of at least Warn is a warning, of at
// least Critical blocks. Zero switches a level off.
type Setting struct {
	Warn, Critical float64
	Mode           Mode
}

// Config is what the engine is told. The zero value is unusable: start from
// Defaults.
type Config struct {
	Rules map[RuleID]Setting
	// Ceiling is how far above Critical a learned baseline may raise a rate, as
	// a factor, 1 or more.
	Ceiling float64
	// Crowd is how much more the whole site, or a trunk, may do than one extension.
	Crowd float64
	// Channels is how many calls the trunks carry at once.
	Channels int
	Hours    Hours
	Deck     Deck
	Limits   []Limit
	// Canaries are extensions that nobody uses, and prefixes that nobody calls.
	Canaries []string
	// Scope is what a toll-block shuts.
	Scope Scope

	everything bool // what a rule on trial finds is told each time: for a report
}

// Fixed figures of the rules, which no document changes.
const (
	highRiskSpan   = 10 * time.Minute
	highRiskCount  = 5 // attempts, to one number or several
	fishingSpan    = 10 * time.Minute
	fishingDigits  = 7 // of the tail that stays the same while prefixes are tried
	spreadSpan     = time.Hour
	sequentialSpan = 7 * 24 * time.Hour
	shortSpan      = time.Hour
	shortSample    = 10 // calls, before their share says anything
	ShortCall      = 10 * time.Second
	dripSpan       = 7 * 24 * time.Hour
	suspicionSpan  = 24 * time.Hour // after a registration that is out of the ordinary
	dormantAfter   = 30 * 24 * time.Hour
	learnFor       = 14 * 24 * time.Hour
	oneRing        = 10 * time.Second
	callbackSpan   = 7 * 24 * time.Hour
	familiarCalls  = 2 // calls in hours that make a country familiar to an extension
	quietFrom      = 20 * time.Hour
	quietUntil     = 6 * time.Hour
	maxSubjects    = 4096
	maxAttempts    = 65536 // attempts that a repeat is told by
	maxLive        = 4096
	maxFindings    = 4096
	recentCalls    = 64
	recentOfSite   = 256
	maxCountries   = 64
	maxInboundRang = 4096
	maxReleases    = 256
	maxBlocks      = 1024
	maxEvidence    = 32
	maxAddresses   = 8
)

// Defaults returns the configuration of a box that nobody has told anything: the
// thresholds of the signal table in docs/fraud.md, worst-case rates, and limits
// that a small office does not meet.
func Defaults() Config {
	return Config{
		Rules: map[RuleID]Setting{
			RuleHighRisk:     {Warn: 1, Critical: 3},
			RuleFishing:      {Warn: 2, Critical: 3},
			RulePerMinute:    {Warn: 3, Critical: 6},
			RulePerHour:      {Warn: 15, Critical: 30},
			RulePerDay:       {Warn: 60, Critical: 120},
			RuleConcurrent:   {Warn: 2, Critical: 3},
			RuleSequential:   {Warn: 4, Critical: 8},
			RulePumping:      {Warn: 3, Critical: 6},
			RuleSpread:       {Warn: 10, Critical: 20},
			RuleNovelty:      {Warn: 1, Critical: 1},
			RuleDrip:         {Warn: 2, Critical: 4},
			RuleShort:        {Warn: 80, Critical: 80},
			RuleLive:         {Warn: 20, Critical: 60},
			RuleVelocity:     {Warn: 4, Critical: 8},
			RuleForward:      {Warn: 1, Critical: 1},
			RuleRegistration: {Warn: 1, Critical: 1},
			RuleDormant:      {Warn: 1, Critical: 1},
			RuleCallback:     {Warn: 1, Critical: 1},
			RuleCanary:       {Warn: 1, Critical: 1},
			RuleCredit:       {Warn: 80, Critical: 100},
		},
		Ceiling:  1,
		Crowd:    4,
		Channels: 10,
		Hours:    Hours{Zone: time.UTC},
		Deck:     DefaultDeck(),
		Limits: []Limit{
			{Kind: Extension, Per: PerCall, Amount: 50 * Unit},
			{Kind: Extension, Per: PerDay, Amount: 50 * Unit},
			{Kind: Site, Per: PerDay, Amount: 200 * Unit},
			{Kind: Site, Per: PerMonth, Amount: 2500 * Unit},
		},
		Scope: ScopePremium,
	}
}

// Validate returns the first thing that is wrong with a configuration. Documents
// are checked by their own packages, field by field: this is the engine's door.
func (c Config) Validate() error {
	for id, setting := range c.Rules {
		if _, known := Defaults().Rules[id]; !known {
			return fmt.Errorf("configure fraud engine: %s is no rule", id)
		}
		if setting.Warn < 0 || setting.Critical < 0 || setting.Critical > 0 && setting.Warn > setting.Critical {
			return fmt.Errorf("configure fraud engine: rule %s: want 0 <= warn <= critical", id)
		}
	}
	switch {
	case c.Ceiling < 1 || c.Crowd < 1:
		return fmt.Errorf("configure fraud engine: ceiling and crowd are factors of at least 1")
	case c.Channels < 1:
		return fmt.Errorf("configure fraud engine: channels: want at least 1")
	case c.Hours.Zone == nil:
		return fmt.Errorf("configure fraud engine: hours have no time zone")
	}
	for _, limit := range c.Limits {
		if limit.Amount < 0 {
			return fmt.Errorf("configure fraud engine: a limit below zero")
		}
	}
	return nil
}

// rule returns the thresholds in force.
func (c *Config) rule(id RuleID) Setting { return c.Rules[id] }

// complete is c with the default of every rule that it does not name.
func (c Config) complete() Config {
	all := Defaults().Rules
	maps.Copy(all, c.Rules)
	c.Rules = all
	return c
}
