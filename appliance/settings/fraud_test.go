package settings

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/fraud"
)

func watched(t *testing.T) Settings {
	t.Helper()
	zone, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		t.Fatal(err)
	}
	s := Default()
	s.Fraud = Fraud{
		Rules:  []document.FraudRule{{Name: fraud.RulePerHour, Setting: fraud.Setting{Warn: 5, Critical: 10}}, {Name: fraud.RuleNovelty, Setting: fraud.Setting{Warn: 1, Critical: 1, Mode: fraud.Shadow}}},
		Limits: []fraud.Limit{{Kind: fraud.Site, Per: fraud.PerDay, Amount: 25*fraud.Unit + 500_000}, {Kind: fraud.Extension, Name: "201", Per: fraud.PerMonth, Amount: 5 * fraud.Unit}},
		Hours: fraud.Hours{Zone: zone, Refused: []fraud.Class{fraud.Unknown, fraud.IntlLow, fraud.IntlHigh, fraud.Premium},
			Holidays: []fraud.Holiday{{Month: time.December, Day: 25}, {Year: 2026, Month: time.June, Day: 8}, {Month: time.February, Day: 29}}},
		Channels: 12, Canaries: []string{"999", "+88299"}, Scope: fraud.ScopeAll,
	}
	for day := time.Monday; day <= time.Friday; day++ {
		s.Fraud.Hours.Week[day] = []fraud.Span{{Open: 8*time.Hour + 30*time.Minute, Close: 18 * time.Hour}}
	}
	s.Fraud.Hours.Week[time.Friday] = append(s.Fraud.Hours.Week[time.Friday], fraud.Span{Open: 22 * time.Hour, Close: 24 * time.Hour})
	s.Notify = Notify{
		Mail:    Mail{Server: "mail.example.net:587", User: "box", From: "box@example.net", To: []string{"ann@example.net", "it@example.net"}},
		Webhook: "https://hooks.example.net/ringfence?site=7", Syslog: "logs.example.net:6514", Digest: true,
	}
	return s
}

func TestFraudRoundTrip(t *testing.T) {
	s := watched(t)
	data := Encode(s)
	got, err := Decode(data)
	if err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	if !reflect.DeepEqual(got.Fraud, s.Fraud) || !reflect.DeepEqual(got.Notify, s.Notify) {
		t.Errorf("got  %+v %+v\nwant %+v %+v", got.Fraud, got.Notify, s.Fraud, s.Notify)
	}
	if again := Encode(got); !bytes.Equal(again, data) {
		t.Errorf("canonical form moved:\n%s\n%s", data, again)
	}
}

// TestFraudMistakes spoils one thing of a good document at a time.
func TestFraudMistakes(t *testing.T) {
	good := string(Encode(watched(t)))
	for _, test := range []struct{ old, spoilt, field string }{
		{`"name": "calls-per-hour"`, `"name": "calls-per-week"`, "fraud.rules[0].name"},
		{`"name": "calls-per-hour"`, `"name": "new-country"`, "fraud.rules[1].name"},
		{`"warn": 5`, `"warn": 50`, "fraud.rules[0].warn"},
		{`"critical": 10`, `"critical": -1`, "fraud.rules[0]"},
		{`"mode": "shadow"`, `"mode": "soft"`, "fraud.rules[1].mode"},
		{`"of": "site"`, `"of": "town"`, "fraud.limits[0].of"},
		{`"per": "day"`, `"per": "week"`, "fraud.limits[0].per"},
		{`"amount": "25.5"`, `"amount": "a lot"`, "fraud.limits[0].amount"},
		{`"amount": "25.5"`, `"amount": "-1"`, "fraud.limits[0].amount"},
		{`"amount": "25.5"`, `"amount": "1000001"`, "fraud.limits[0].amount"},
		{`"zone": "Australia/Sydney"`, `"zone": "Sydney"`, "fraud.hours.zone"},
		{`"zone": "Australia/Sydney"`, `"zone": ""`, "fraud.hours.zone"},
		{`"zone": "Australia/Sydney"`, `"zone": "Local"`, "fraud.hours.zone"},
		{`"from": "08:30"`, `"from": "8:30"`, "fraud.hours.open[0].from"},
		{`"until": "18:00"`, `"until": "08:00"`, "fraud.hours.open[0].until"},
		{`"until": "18:00"`, `"until": "23:00"`, "fraud.hours.open[1].days[0]"},
		{`"tue"`, `"tuesday"`, "fraud.hours.open[0].days[1]"},
		{`"12-25"`, `"25.12."`, "fraud.hours.holidays[0]"},
		{`"2026-06-08"`, `"2026-02-29"`, "fraud.hours.holidays[1]"},
		{`"refuse": [`, `"refuse": ["national",`, "fraud.hours.refuse[0]"},
		{`"channels": 12`, `"channels": -1`, "fraud.channels"},
		{`"+88299"`, `"+0"`, "fraud.canaries[1]"},
		{`"scope": "all-but-emergency-and-internal"`, `"scope": "everything"`, "fraud.scope"},
		{`"server": "mail.example.net:587"`, `"server": "mail.example.net"`, "notify.mail.server"},
		{`"tls": "starttls"`, `"tls": "none"`, "notify.mail.tls"},
		{`"from": "box@example.net"`, `"from": "Box <box@example.net>"`, "notify.mail.from"},
		{`"it@example.net"`, `"nobody"`, "notify.mail.to[1]"},
		{`"https://hooks`, `"http://hooks`, "notify.webhook"},
		{`"logs.example.net:6514"`, `"logs.example.net"`, "notify.syslog"},
	} {
		spoilt := strings.Replace(good, test.old, test.spoilt, 1)
		if spoilt == good {
			t.Errorf("%s is not in the document:\n%s", test.old, good)
			continue
		}
		_, err := Decode([]byte(spoilt))
		var mistakes appliance.Errors
		if !errors.As(err, &mistakes) || mistakes[0].Field != test.field {
			t.Errorf("%s: %v, want a mistake at %s", test.spoilt, err, test.field)
		}
	}
}
