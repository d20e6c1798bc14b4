package policy

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/fraud"
)

func complete() Policy {
	return Policy{
		Serial: 7, Issuer: "Example Telecom", Issued: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
		Ports: Ports{SIP: []uint16{5060, 5061}, HTTP: []uint16{80}, Open: []uint16{443}},
		Providers: []Provider{
			{"Example", []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}, []string{"sip.example.com"}},
			{Name: "By name", Names: []string{"_sip._udp.example.org"}},
		},
		Admins:  []Admin{{"noc", netip.MustParsePrefix("198.51.100.7/32"), true}},
		Tunnels: []document.Tunnel{{Name: "core", Network: netip.MustParsePrefix("198.51.100.8/32")}},
		Feeds: []document.Feed{{Name: "hotspots", Format: feed.FormatRIR, Countries: []string{"SO", "CU"},
			URL: "https://registry.example/stats", Every: 168 * time.Hour}},
		Limits:   document.Limits{SIP: document.Limit{PerSecond: 50, Burst: 100}},
		Accounts: []document.Account{{User: "200", Remote: []netip.Prefix{netip.MustParsePrefix("198.51.100.128/25")}}},
		Guard:    document.Guard{Accounts: 25},
		Destinations: Destinations{
			HighRisk: true,
			Block:    []Destination{{"+252", "never used"}},
			Allow:    []Destination{{"+25261", "a branch <office> & co"}},
		},
		Fraud: Fraud{
			Rules:  []document.FraudRule{{Name: fraud.RulePerHour, Setting: fraud.Setting{Warn: 5, Critical: 10}}},
			Limits: []fraud.Limit{{Kind: fraud.Site, Per: fraud.PerDay, Amount: 100 * fraud.Unit}},
			Hours: fraud.Hours{Zone: time.UTC, Week: [7][]fraud.Span{time.Monday: {{Open: 8 * time.Hour, Close: 24 * time.Hour}}},
				Holidays: []fraud.Holiday{{Month: time.December, Day: 25}}, Refused: []fraud.Class{fraud.Premium}},
			Rates: rates(),
		},
		OpaqueTLS: true,
		Grants:    Grants{Admins: true, AdminSIP: true, Tunnels: true, Egress: true, Exceptions: 7},
	}
}

func rates() fraud.Deck {
	deck := fraud.NewDeck("AUD")
	for prefix, rate := range map[string]fraud.Tariff{
		"44":  {PerMinute: fraud.Unit / 40, Initial: time.Second, Following: time.Second},
		"252": {PerMinute: 2 * fraud.Unit, Connect: fraud.Unit / 2, Initial: time.Minute, Following: 6 * time.Second},
	} {
		if err := deck.Add(prefix, rate); err != nil {
			panic(err)
		}
	}
	return deck
}

func TestRoundTrip(t *testing.T) {
	for _, p := range []Policy{complete(), Builtin()} {
		data := Encode(p)
		got, err := Decode(data)
		if err != nil {
			t.Fatalf("decode %s: %v", data, err)
		}
		if !reflect.DeepEqual(got, p) {
			t.Errorf("got  %+v\nwant %+v", got, p)
		}
		if again := Encode(got); !bytes.Equal(again, data) {
			t.Errorf("canonical form moved:\n%s\n%s", data, again)
		}
	}
}

// TestMistakes spoils one thing of a good document at a time.
func TestMistakes(t *testing.T) {
	good := string(Encode(complete()))
	for _, test := range []struct{ name, old, spoilt, field string }{
		{"zone of nowhere", `"zone": "UTC"`, `"zone": "Mars/Olympus"`, "fraud.hours.zone"},
		{"hours of a day of six", `"mon"`, `"fun"`, "fraud.hours.open[0].days[0]"},
		{"currency in words", `"AUD"`, `"dollars"`, "fraud.rates.currency"},
		{"prefix in letters", `"prefix": "252"`, `"prefix": "2S2"`, "fraud.rates.prefixes[0].prefix"},
		{"rate twice", `"prefix": "44"`, `"prefix": "+252"`, "fraud.rates.prefixes[1].prefix"},
		{"price in words", `"per_minute": "2"`, `"per_minute": "dear"`, "fraud.rates.prefixes[0].per_minute"},
		{"pulse beyond all reason", `"initial": 60`, `"initial": 3601`, "fraud.rates.prefixes[0].initial"},
		{"no schema", `"schema": 1,`, ``, "schema"},
		{"schema of another edition", `"schema": 1`, `"schema": 2`, "schema"},
		{"schema as text", `"schema": 1`, `"schema": "1"`, "schema"},
		{"unknown field", `"serial": 7`, `"serial": 7, "colour": "red"`, "colour"},
		{"case of a name", `"issuer"`, `"Issuer"`, "Issuer"},
		{"unknown inner field", `"sip": true`, `"sip": true, "ssh": true`, "admins[0].ssh"},
		{"field twice", `"serial": 7`, `"serial": 7, "serial": 8`, "serial"},
		{"inner field twice", `"prefix": "+252"`, `"prefix": "+1", "prefix": "+252"`, "destinations.block[0].prefix"},
		{"negative serial", `"serial": 7`, `"serial": -7`, "serial"},
		{"fractional serial", `"serial": 7`, `"serial": 7.0`, "serial"},
		{"null", `"serial": 7`, `"serial": null`, "serial"},
		{"issued in words", `2026-05-04T03:02:01Z`, `yesterday`, "issued"},
		{"issued long ago", `2026-05-04T03:02:01Z`, `0001-01-01T00:00:00Z`, "issued"},
		{"control character", `Example Telecom`, `Example\u0007Telecom`, "issuer"},
		{"space at the end", `Example Telecom`, `Example Telecom `, "issuer"},
		{"long text", `Example Telecom`, strings.Repeat("x", 65), "issuer"},
		{"port 0", `5060`, `0`, "ports.sip[0]"},
		{"port 65536", `5060`, `65536`, "ports.sip[0]"},
		{"port twice", `5061`, `5060`, "ports.sip[1]"},
		{"port for both", `80`, `5060`, "ports.http[0]"},
		{"port as text", `5060`, `"5060"`, "ports.sip[0]"},
		{"whole internet", `203.0.113.0/24`, `0.0.0.0/0`, "providers[0].networks[0]"},
		{"half the internet", `203.0.113.0/24`, `128.0.0.0/1`, "providers[0].networks[0]"},
		{"whole IPv6", `2001:db8::/32`, `::/0`, "providers[0].networks[1]"},
		{"host bits", `203.0.113.0/24`, `203.0.113.1/24`, "providers[0].networks[0]"},
		{"mapped", `203.0.113.0/24`, `::ffff:203.0.113.0/120`, "providers[0].networks[0]"},
		{"multicast", `203.0.113.0/24`, `224.0.0.0/24`, "providers[0].networks[0]"},
		{"no network", `203.0.113.0/24`, `example.net`, "providers[0].networks[0]"},
		{"no provider name", `"name": "Example"`, `"name": ""`, "providers[0].name"},
		{"provider of nowhere", `"_sip._udp.example.org"`, ``, "providers[1].networks"},
		{"provider's name with a space", `sip.example.com`, `sip example.com`, "providers[0].names[0]"},
		{"port for the world too", `443`, `80`, "ports.open[0]"},
		{"tunnel network", `198.51.100.8/32`, `198.51.100.8/24`, "tunnels[0].network"},
		{"feed without countries", `"SO",
        "CU"`, ``, "feeds[0].countries"},
		{"feed name in capitals", `hotspots`, `Hotspots`, "feeds[0].name"},
		{"feed with a password", `https://registry`, `https://me:secret@registry`, "feeds[0].url"},
		{"feed every month", `168h`, `720h`, "feeds[0].every"},
		{"opaque TLS of another mind", `"opaque_tls": "allow"`, `"opaque_tls": "inspect"`, "opaque_tls"},
		{"limit as text", `"per_second": 50`, `"per_second": "50"`, "limits.sip.per_second"},
		{"account host bits", `198.51.100.128/25`, `198.51.100.129/25`, "accounts[0].sources[0]"},
		{"guard beyond sense", `"accounts": 25`, `"accounts": 501`, "guard.accounts"},
		{"no high_risk", `"high_risk": true,`, ``, "destinations.high_risk"},
		{"prefix without plus", `"+252"`, `"252"`, "destinations.block[0].prefix"},
		{"prefix of 16 digits", `"+252"`, `"+2520000000000000"`, "destinations.block[0].prefix"},
		{"prefix from 0", `"+252"`, `"+0252"`, "destinations.block[0].prefix"},
		{"Arabic digits", `"+252"`, `"+٢٥٢"`, "destinations.block[0].prefix"},
		{"too long an exception", `"exceptions": 7`, `"exceptions": 16`, "grants.exceptions"},
		{"SIP for no admins", `"admins": true`, `"admins": false`, "grants.admin_sip"},
		{"trailing", "}\n}\n", "}\n}\n{}", ""},
		{"cut short", "}\n}\n", "}\n", ""},
		{"not UTF-8", `Example Telecom`, "Example \xff", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			spoilt := strings.Replace(good, test.old, test.spoilt, 1)
			if spoilt == good {
				t.Fatal("nothing was spoilt")
			}
			_, err := Decode([]byte(spoilt))
			var mistakes appliance.Errors
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v, want appliance.Errors", err)
			}
			if !slices.ContainsFunc(mistakes, func(e *appliance.Error) bool {
				return e.Field == test.field && e.Code == appliance.CodeInvalid && e.Message != ""
			}) {
				t.Errorf("no mistake at %q in: %v", test.field, err)
			}
		})
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := Decode([]byte(`{"schema": 1, "serial": "x", "ports": {"sip": [0], "http": "no"},
		"providers": [{"name": "", "networks": []}], "destinations": {}, "grants": {"exceptions": 99}}`))
	var mistakes appliance.Errors
	if !errors.As(err, &mistakes) {
		t.Fatalf("got %v", err)
	}
	var fields []string
	for _, one := range mistakes {
		fields = append(fields, one.Field)
	}
	want := []string{"serial", "ports.http", "ports.sip[0]", "providers[0].name", "providers[0].networks", "destinations.high_risk", "grants.exceptions"}
	slices.Sort(fields)
	slices.Sort(want)
	if !slices.Equal(fields, want) {
		t.Errorf("got %v\nwant %v", fields, want)
	}
}

func TestSizeAndDepth(t *testing.T) {
	if _, err := Decode(bytes.Repeat([]byte(" "), 1<<20+1)); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("an oversize document gave %v", err)
	}
	if _, err := Decode([]byte(strings.Repeat("[", 1<<19))); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("a deep document gave %v", err)
	}
}

// FuzzDecode asserts that whatever decodes is valid for good: its canonical
// form decodes to an equal value and stays put.
func FuzzDecode(f *testing.F) {
	f.Add(Encode(complete()))
	f.Add(Encode(Builtin()))
	f.Add([]byte(`{"schema":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(data)
		if err != nil {
			var mistakes appliance.Errors
			if !errors.As(err, &mistakes) || len(mistakes) == 0 {
				t.Fatalf("the error has no mistakes: %v", err)
			}
			return
		}
		canonical := Encode(p)
		again, err := Decode(canonical)
		if err != nil {
			t.Fatalf("canonical form does not decode: %v\n%s", err, canonical)
		}
		if !reflect.DeepEqual(p, again) || !bytes.Equal(Encode(again), canonical) {
			t.Fatalf("canonical form moved:\n%+v\n%+v", p, again)
		}
	})
}
