package document

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
)

// What both documents say of suspicion and money in the same words.

// FraudRule sets the thresholds of one of the engine's rules.
type FraudRule struct {
	Name    fraud.RuleID
	Setting fraud.Setting
}

// RawFraudRule is a FraudRule in JSON.
type RawFraudRule struct {
	Name     string `json:"name"`
	Warn     int    `json:"warn"`
	Critical int    `json:"critical"`
	Mode     string `json:"mode"`
}

// RawMoneyLimit is a fraud.Limit in JSON.
type RawMoneyLimit struct {
	Of     string `json:"of"`
	Name   string `json:"name,omitempty"`
	Per    string `json:"per"`
	Amount string `json:"amount"`
}

// RawHours is fraud.Hours in JSON.
type RawHours struct {
	Zone     string    `json:"zone"`
	Open     []RawOpen `json:"open"`
	Holidays []string  `json:"holidays"`
	Refuse   []string  `json:"refuse"`
}

// RawOpen is a span of some weekdays in JSON.
type RawOpen struct {
	Days  []string `json:"days"`
	From  string   `json:"from"`
	Until string   `json:"until"`
}

var modes = []string{"enforce", "shadow", "off"} // by fraud.Mode

// FraudRules checks a list of thresholds.
func (m *Mistakes) FraudRules(field string, raw []RawFraudRule) []FraudRule {
	var out []FraudRule
	known := fraud.Defaults().Rules
	taken := make(map[string]bool)
	for i, one := range raw {
		at := fmt.Sprintf("%s[%d]", field, i)
		m.Name(at+".name", one.Name, taken)
		if _, ok := known[fraud.RuleID(one.Name)]; !ok {
			m.Add(at+".name", "%s is no rule: want one of %s", shorten(one.Name), ruleNames())
		}
		if one.Warn < 0 || one.Critical < 0 {
			m.Add(at, "want thresholds of at least 0, which is off")
		} else if one.Critical > 0 && one.Warn > one.Critical {
			m.Add(at+".warn", "%d is above the critical %d", one.Warn, one.Critical)
		}
		mode := max(slices.Index(modes, one.Mode), 0)
		if !slices.Contains(modes, one.Mode) {
			m.Add(at+".mode", "want one of %s", strings.Join(modes, ", "))
		}
		out = append(out, FraudRule{fraud.RuleID(one.Name), fraud.Setting{Warn: float64(one.Warn), Critical: float64(one.Critical), Mode: fraud.Mode(mode)}})
	}
	return out
}

func ruleNames() string {
	var names []string
	for id := range fraud.Defaults().Rules {
		names = append(names, string(id))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// RawFraudRules is the way back.
func RawFraudRules(list []FraudRule) []RawFraudRule {
	out := []RawFraudRule{}
	for _, one := range list {
		out = append(out, RawFraudRule{string(one.Name), int(one.Setting.Warn), int(one.Setting.Critical), modes[min(int(one.Setting.Mode), len(modes)-1)]})
	}
	return out
}

var (
	limitKinds   = []string{"site", "extension", "trunk"} // by fraud.Kind
	limitPeriods = []string{"call", "day", "month"}       // by fraud.Period
)

// maxMoney bounds an amount: more is a slip of the keyboard.
const maxMoney = 1_000_000 * fraud.Unit

// MoneyLimits checks a list of limits.
func (m *Mistakes) MoneyLimits(field string, raw []RawMoneyLimit) []fraud.Limit {
	var out []fraud.Limit
	for i, one := range raw {
		at := fmt.Sprintf("%s[%d]", field, i)
		kind, per := slices.Index(limitKinds, one.Of), slices.Index(limitPeriods, one.Per)
		if kind < 0 {
			m.Add(at+".of", "want one of %s", strings.Join(limitKinds, ", "))
		}
		if per < 0 {
			m.Add(at+".per", "want one of %s", strings.Join(limitPeriods, ", "))
		}
		if one.Of == "site" && one.Name != "" {
			m.Add(at+".name", "there is one site: leave the name out")
		}
		amount := m.money(at+".amount", one.Amount)
		limit := fraud.Limit{Kind: fraud.Kind(max(kind, 0)), Name: m.Text(at+".name", one.Name, MaxName), Per: fraud.Period(max(per, 0)), Amount: amount}
		if slices.ContainsFunc(out, func(other fraud.Limit) bool { return sameLimit(other, limit) }) {
			m.Add(at, "the same limit is given twice")
		}
		out = append(out, limit)
	}
	return out
}

func sameLimit(a, b fraud.Limit) bool { return a.Kind == b.Kind && a.Name == b.Name && a.Per == b.Per }

// RawMoneyLimits is the way back.
func RawMoneyLimits(list []fraud.Limit) []RawMoneyLimit {
	out := []RawMoneyLimit{}
	for _, one := range list {
		out = append(out, RawMoneyLimit{limitKinds[min(int(one.Kind), 2)], one.Name, limitPeriods[min(int(one.Per), 2)], one.Amount.Plain()})
	}
	return out
}

// weekdays by time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// refusable are the classes that a schedule may refuse.
var refusable = map[string][]fraud.Class{
	"international": {fraud.Unknown, fraud.IntlLow, fraud.IntlHigh},
	"premium":       {fraud.Premium},
}

// Hours checks a schedule. Without spans nothing is refused for the hour; the zone
// is that of the site all the same, and nil where none is given.
func (m *Mistakes) Hours(field string, raw RawHours) fraud.Hours {
	var out fraud.Hours
	zone, err := time.LoadLocation(raw.Zone)
	switch {
	case raw.Zone == "" && len(raw.Open)+len(raw.Holidays) > 0:
		m.Add(field+".zone", "missing: a schedule needs the time zone of the site, like Australia/Sydney")
	case raw.Zone == "":
	case err != nil || raw.Zone == "Local":
		m.Add(field+".zone", "%s is no time zone; write it like Australia/Sydney", shorten(raw.Zone))
	default:
		out.Zone = zone
	}
	for i, span := range raw.Open {
		m.open(fmt.Sprintf("%s.open[%d]", field, i), span, &out)
	}
	for i, day := range raw.Holidays {
		out.Holidays = append(out.Holidays, m.holiday(fmt.Sprintf("%s.holidays[%d]", field, i), day))
	}
	for i, name := range raw.Refuse {
		classes, ok := refusable[name]
		if !ok {
			m.Add(fmt.Sprintf("%s.refuse[%d]", field, i), "want international or premium; emergency, internal and national calls always pass")
		}
		out.Refused = append(out.Refused, classes...)
	}
	if len(raw.Refuse) > 0 && len(raw.Open) == 0 {
		m.Add(field+".refuse", "there are no hours outside of which to refuse anything")
	}
	return out
}

func (m *Mistakes) open(at string, raw RawOpen, out *fraud.Hours) {
	from, until := m.clock(at+".from", raw.From), m.clock(at+".until", raw.Until)
	if until <= from {
		m.Add(at+".until", "%s is not after %s; a shift over midnight is two spans", raw.Until, raw.From)
	}
	if len(raw.Days) == 0 {
		m.Add(at+".days", "missing: want some of %s", strings.Join(weekdays, ", "))
	}
	for i, name := range raw.Days {
		day := slices.Index(weekdays, name)
		if day < 0 {
			m.Add(fmt.Sprintf("%s.days[%d]", at, i), "want one of %s", strings.Join(weekdays, ", "))
			continue
		}
		for _, other := range out.Week[day] {
			if from < other.Close && other.Open < until {
				m.Add(fmt.Sprintf("%s.days[%d]", at, i), "overlaps another span of %s", name)
			}
		}
		out.Week[day] = append(out.Week[day], fraud.Span{Open: from, Close: until})
	}
}

// clock reads a time of day, up to 24:00.
func (m *Mistakes) clock(field, s string) time.Duration {
	if s == "24:00" {
		return 24 * time.Hour
	}
	at, err := time.Parse("15:04", s)
	if err != nil || len(s) != 5 {
		m.Add(field, "want a time of day like 08:30")
		return 0
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
}

// holiday reads a date, of one year or of every.
func (m *Mistakes) holiday(field, s string) fraud.Holiday {
	if at, err := time.Parse("2006-01-02", s); err == nil {
		return fraud.Holiday{Year: at.Year(), Month: at.Month(), Day: at.Day()}
	}
	at, err := time.Parse("2006-01-02", "2024-"+s) // a leap year: 02-29 is a day
	if err != nil {
		m.Add(field, "want a date like 2026-12-26, or 12-25 for every year")
	}
	return fraud.Holiday{Month: at.Month(), Day: at.Day()}
}

// RawHoursOf is the way back. Days with the same spans share a line.
func RawHoursOf(h fraud.Hours) RawHours {
	out := RawHours{Open: []RawOpen{}, Holidays: []string{}, Refuse: []string{}}
	if h.Zone != nil {
		out.Zone = h.Zone.String()
	}
	for day, spans := range h.Week {
		for _, span := range spans {
			out.Open = addDay(out.Open, weekdays[day], wall(span.Open), wall(span.Close))
		}
	}
	for _, day := range h.Holidays {
		text := fmt.Sprintf("%02d-%02d", day.Month, day.Day)
		if day.Year != 0 {
			text = fmt.Sprintf("%d-%s", day.Year, text)
		}
		out.Holidays = append(out.Holidays, text)
	}
	for _, name := range []string{"international", "premium"} {
		if slices.Contains(h.Refused, refusable[name][0]) {
			out.Refuse = append(out.Refuse, name)
		}
	}
	return out
}

func addDay(all []RawOpen, day, from, until string) []RawOpen {
	for i := range all {
		if all[i].From == from && all[i].Until == until && !slices.Contains(all[i].Days, day) {
			all[i].Days = append(all[i].Days, day)
			return all
		}
	}
	return append(all, RawOpen{Days: []string{day}, From: from, Until: until})
}

func wall(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}
