package rules

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

func rule(id fraud.RuleID, warn, critical float64, mode fraud.Mode) document.FraudRule {
	return document.FraudRule{Name: id, Setting: fraud.Setting{Warn: warn, Critical: critical, Mode: mode}}
}

// TestFraudFloor: settings are stricter than the policy and the defaults, or
// granted, or refused with the field to blame.
func TestFraudFloor(t *testing.T) {
	day := func(amount fraud.Money) fraud.Limit {
		return fraud.Limit{Kind: fraud.Site, Per: fraud.PerDay, Amount: amount * fraud.Unit}
	}
	for name, row := range map[string]struct {
		policy   policy.Fraud
		settings settings.Fraud
		field    string // refused without the grant; "" where it is not
	}{
		"stricter than the default": {settings: settings.Fraud{Rules: []document.FraudRule{rule(fraud.RulePerHour, 5, 10, fraud.Enforce)}}},
		"looser than the default":   {settings: settings.Fraud{Rules: []document.FraudRule{rule(fraud.RulePerHour, 15, 31, fraud.Enforce)}}, field: "fraud.rules[0]"},
		"switched off":              {settings: settings.Fraud{Rules: []document.FraudRule{rule(fraud.RulePerHour, 15, 0, fraud.Enforce)}}, field: "fraud.rules[0]"},
		"on trial only":             {settings: settings.Fraud{Rules: []document.FraudRule{rule(fraud.RulePerHour, 15, 30, fraud.Shadow)}}, field: "fraud.rules[0]"},
		"as loose as the policy": {
			policy:   policy.Fraud{Rules: []document.FraudRule{rule(fraud.RulePerHour, 50, 100, fraud.Shadow)}},
			settings: settings.Fraud{Rules: []document.FraudRule{rule(fraud.RulePerHour, 50, 100, fraud.Shadow)}},
		},
		"more money than the policy": {policy: policy.Fraud{Limits: []fraud.Limit{day(100)}}, settings: settings.Fraud{Limits: []fraud.Limit{day(101)}}, field: "fraud.limits[0].amount"},
		"less money than the policy": {policy: policy.Fraud{Limits: []fraud.Limit{day(100)}}, settings: settings.Fraud{Limits: []fraud.Limit{day(99)}}},
		"the site's own money":       {settings: settings.Fraud{Limits: []fraud.Limit{day(5000)}}},
	} {
		for _, granted := range []bool{false, true} {
			p, s := policy.Builtin(), settings.Default()
			p.Fraud, s.Fraud, p.Grants.Fraud = row.policy, row.settings, granted
			r, err := Compile(p, s, Facts{}, time.Now())
			var mistakes appliance.Errors
			switch {
			case row.field == "" || granted:
				if err != nil {
					t.Errorf("%s, granted %v: %v", name, granted, err)
				} else if err := r.Fraud().Validate(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			case !errors.As(err, &mistakes) || mistakes[0].Field != row.field || mistakes[0].Code != appliance.CodeForbidden:
				t.Errorf("%s: %v, want %s forbidden", name, err, row.field)
			}
		}
	}
}

// TestPolicyLimitHolds: a limit of the policy is there without a word of the site's.
func TestPolicyLimitHolds(t *testing.T) {
	p := policy.Builtin()
	p.Fraud.Limits = []fraud.Limit{{Kind: fraud.Site, Per: fraud.PerDay, Amount: 7 * fraud.Unit}}
	r, err := Compile(p, settings.Default(), Facts{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, limit := range r.Fraud().Limits {
		if limit.Kind == fraud.Site && limit.Per == fraud.PerDay {
			found++
			if limit.Amount != 7*fraud.Unit {
				t.Errorf("the day's limit is %s", limit.Amount)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d limits for a day of the site", found)
	}
}

// TestProvidersHours: people work where both schedules say so, and what either
// refuses is refused.
func TestProvidersHours(t *testing.T) {
	zone, err := time.LoadLocation("Australia/Perth") // UTC+8
	if err != nil {
		t.Fatal(err)
	}
	spans := func(from, until time.Duration) (week [7][]fraud.Span) {
		week[time.Monday] = []fraud.Span{{Open: from * time.Hour, Close: until * time.Hour}}
		return week
	}
	theirs := fraud.Hours{Zone: zone, Week: spans(9, 18), Refused: []fraud.Class{fraud.IntlLow}, Holidays: []fraud.Holiday{{Month: time.November, Day: 30}}}
	for name, row := range map[string]struct {
		own  fraud.Hours
		open string // hours of Monday in UTC that are open
	}{
		"none of its own": {fraud.Hours{}, "1 2 3 4 5 6 7 8 9"},
		"narrower":        {fraud.Hours{Zone: zone, Week: spans(12, 24), Refused: []fraud.Class{fraud.Premium}}, "4 5 6 7 8 9"},
		"of another zone": {fraud.Hours{Zone: time.UTC, Week: spans(0, 3)}, "1 2"},
		"holidays alone":  {fraud.Hours{Zone: zone, Holidays: []fraud.Holiday{{Month: time.November, Day: 23}}}, ""},
	} {
		p, s := policy.Builtin(), settings.Default()
		p.Fraud.Hours, s.Fraud.Hours = theirs, row.own
		r, err := Compile(p, s, Facts{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		hours := r.Fraud().Hours
		var open []string
		for hour := range 16 { // until midnight in Perth
			if hours.Open(time.Date(2026, 11, 23, hour, 30, 0, 0, time.UTC)) {
				open = append(open, strconv.Itoa(hour))
			}
			if hours.Open(time.Date(2026, 11, 30, hour, 30, 0, 0, time.UTC)) {
				t.Errorf("%s: open at %d on the provider's holiday", name, hour)
			}
		}
		if got := strings.Join(open, " "); got != row.open || !hours.Set() {
			t.Errorf("%s: open at %s, want %s", name, got, row.open)
		}
	}
}

// TestProvidersRates: rates of the policy are in force, and stand in the way of a
// site's own unless it is granted them.
func TestProvidersRates(t *testing.T) {
	for _, granted := range []bool{false, true} {
		p := policy.Builtin()
		p.Grants.Fraud = granted
		r, err := Compile(p, settings.Default(), Facts{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if deck := r.Fraud().Deck; !r.OwnRates() || deck.Len() != 0 {
			t.Errorf("without rates of the policy: %d rates, own ones %v", deck.Len(), r.OwnRates())
		}
		p.Fraud.Rates = fraud.NewDeck("AUD")
		if err := p.Fraud.Rates.Add("+44", fraud.Tariff{PerMinute: fraud.Unit}); err != nil {
			t.Fatal(err)
		}
		if r, err = Compile(p, settings.Default(), Facts{}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if deck := r.Fraud().Deck; deck.Len() != 1 || deck.Currency != "AUD" || deck.Rate("+442079460018", fraud.IntlLow).PerMinute != fraud.Unit || r.OwnRates() != granted {
			t.Errorf("granted %v: %d rates in %s, own ones %v", granted, deck.Len(), deck.Currency, r.OwnRates())
		}
	}
}

// TestAttempt is what the behaviour engine hears of a decision.
func TestAttempt(t *testing.T) {
	p, s := policy.Builtin(), settings.Default()
	s.Site.AreaCode = "2"
	s.Destinations.Allow = []settings.Exception{{Prefix: "+252615550148", Reason: "the client"}}
	r, err := Compile(p, s, Facts{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		dialled string
		want    fraud.Attempt
		local   string
	}{
		{"000", fraud.Attempt{Number: "000", Class: fraud.Emergency}, ""},
		{"02 5261 5550", fraud.Attempt{Number: "+61252615550", Class: fraud.National}, ""},
		{"0011 44 20 7946 0018", fraud.Attempt{Number: "+442079460018", Class: fraud.IntlLow}, ""},
		{"0011 252 61 555 0149", fraud.Attempt{Number: "+252615550149", Class: fraud.IntlHigh, Refused: true}, ""},
		{"0011 252 61 555 0148", fraud.Attempt{Number: "+252615550148", Class: fraud.IntlHigh}, ""},
		{"0011 252 615 550", fraud.Attempt{Number: "+252615550", Class: fraud.IntlHigh, Refused: true, Misdial: true}, "0252615550"},
		{"1900 123 456", fraud.Attempt{Number: "+611900123456", Class: fraud.Premium, Refused: true}, ""},
	} {
		said := r.Call(Call{URI: row.dialled, Direction: appliance.Outbound, Use: UseCall})
		got := said.Attempt()
		got.Country = ""
		if !reflect.DeepEqual(got, row.want) || said.Local != row.local {
			t.Errorf("%s: %+v, local %q; want %+v, %q", row.dialled, got, said.Local, row.want, row.local)
		}
	}
}
