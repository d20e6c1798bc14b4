package settings

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
)

func complete() Settings {
	s := Default()
	s.Site = Site{Name: "Harbour Street", Country: "AU", AreaCode: "2", AccessDigits: []string{"0", "9"}, Extensions: 3}
	s.Network.WAN = []string{"wan0", "eth1.100"}
	s.SIP.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.168.1.1:5060"), netip.MustParseAddrPort("[::]:5070")}
	s.SIP.PBX = Peer{netip.MustParseAddrPort("192.168.1.10:5060"), TCP}
	s.SIP.Refusal = 603
	s.Trunks = []Trunk{{
		Name: "main", Domain: "sip.example.net", Address: netip.MustParseAddrPort("203.0.113.1:5060"), Transport: UDP,
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Formats: []NumberFormat{FormatNational, FormatE164},
	}, {
		Name: "spare", Domain: "2001:db8::5", Address: netip.MustParseAddrPort("[2001:db8::5]:5060"), Transport: TCP,
	}}
	s.Admins = []Admin{{"it", netip.MustParsePrefix("198.51.100.7/32"), true}}
	s.Ports = Ports{SIP: []uint16{5070}, HTTP: []uint16{8443}}
	s.Destinations = Destinations{
		Block: []Destination{{"+44", "nobody there"}},
		Allow: []Exception{
			{Prefix: "+252615550148", Reason: "the client", Until: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
			{Prefix: "+3712345", Reason: "Riga"},
		},
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	for _, s := range []Settings{complete(), Default()} {
		data := Encode(s)
		got, err := Decode(data)
		if err != nil {
			t.Fatalf("decode %s: %v", data, err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("got  %+v\nwant %+v", got, s)
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
		{"schema of another edition", `"schema": 1`, `"schema": 0`, "schema"},
		{"no site name", `Harbour Street`, ``, "site.name"},
		{"country in lower case", `"AU"`, `"au"`, "site.country"},
		{"country without a plan", `"AU"`, `"BR"`, "site.country"},
		{"area code with 0", `"area_code": "2"`, `"area_code": "02"`, "site.area_code"},
		{"area code in letters", `"area_code": "2"`, `"area_code": "x"`, "site.area_code"},
		{"access digit of letters", `"9"`, `"x"`, "site.access_digits[1]"},
		{"access digit twice", `"9"`, `"0"`, "site.access_digits[1]"},
		{"access digits too long", `"9"`, `"9999"`, "site.access_digits[1]"},
		{"extensions of one digit", `"extensions": 3`, `"extensions": 1`, "site.extensions"},
		{"extensions of seven digits", `"extensions": 3`, `"extensions": 7`, "site.extensions"},
		{"interface with a slash", `"wan0"`, `"../x"`, "network.wan[0]"},
		{"long interface", `"wan0"`, `"abcdefghijklmnop"`, "network.wan[0]"},
		{"whole internet as LAN", `10.0.0.0/8`, `0.0.0.0/0`, "network.lan[0]"},
		{"listen without port", `192.168.1.1:5060`, `192.168.1.1`, "sip.listen[0]"},
		{"listen on port 0", `192.168.1.1:5060`, `192.168.1.1:0`, "sip.listen[0]"},
		{"refusal", `603`, `404`, "sip.refusal"},
		{"PBX nowhere", `192.168.1.10:5060`, `0.0.0.0:5060`, "sip.pbx.address"},
		{"PBX over TLS", `"transport": "tcp"`, `"transport": "tls"`, "sip.pbx.transport"},
		{"trunk names equal", `"spare"`, `"Main"`, "trunks[1].name"},
		{"trunk by name", `203.0.113.1:5060`, `sip.example.net:5060`, "trunks[0].address"},
		{"domain in capitals", `sip.example.net`, `SIP.example.net`, "trunks[0].domain"},
		{"domain with a port", `sip.example.net`, `sip.example.net:5060`, "trunks[0].domain"},
		{"domain of odd IPv4", `sip.example.net`, `192.0.2.010`, "trunks[0].domain"},
		{"domain of hex IPv4", `sip.example.net`, `192.0.2.0x1`, "trunks[0].domain"},
		{"domain of long IPv6", `2001:db8::5`, `2001:db8:0::5`, "trunks[1].domain"},
		{"format", `"e164"`, `"e163"`, "trunks[0].formats[1]"},
		{"format twice", `"e164"`, `"national"`, "trunks[0].formats[1]"},
		{"trunk network", `203.0.113.0/24`, `0.0.0.0/0`, "trunks[0].networks[0]"},
		{"admin network", `198.51.100.7/32`, `::/0`, "admins[0].network"},
		{"prefix", `"+44"`, `"44"`, "destinations.block[0].prefix"},
		{"until", `2026-12-01T00:00:00Z`, `soon`, "destinations.allow[0].until"},
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
			if len(mistakes) != 1 || mistakes[0].Field != test.field || mistakes[0].Code != appliance.CodeInvalid {
				t.Errorf("want one mistake at %q, got: %v", test.field, err)
			}
		})
	}
}

func TestTrunkAddressSaysThatNamesComeLater(t *testing.T) {
	_, err := Decode([]byte(strings.Replace(string(Encode(complete())), "203.0.113.1:5060", "sip.example.net", 1)))
	if err == nil || !strings.Contains(err.Error(), "names are not resolved yet") {
		t.Errorf("got %v", err)
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := Decode([]byte(`{"schema": 1, "site": {"name": "", "country": "XX", "extensions": "three"},
		"trunks": [{"name": "a", "address": "b", "transport": "c"}]}`))
	var mistakes appliance.Errors
	if !errors.As(err, &mistakes) {
		t.Fatalf("got %v", err)
	}
	var fields []string
	for _, one := range mistakes {
		fields = append(fields, one.Field)
	}
	want := []string{"site.extensions", "site.name", "site.country", "network.lan", "sip.refusal",
		"trunks[0].domain", "trunks[0].address", "trunks[0].transport"}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %v\nwant %v", fields, want)
	}
}

// FuzzDecode asserts that whatever decodes is valid for good: its canonical
// form decodes to an equal value and stays put.
func FuzzDecode(f *testing.F) {
	f.Add(Encode(complete()))
	f.Add(Encode(Default()))
	f.Add([]byte(`{"schema":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			var mistakes appliance.Errors
			if !errors.As(err, &mistakes) || len(mistakes) == 0 {
				t.Fatalf("the error has no mistakes: %v", err)
			}
			return
		}
		canonical := Encode(s)
		again, err := Decode(canonical)
		if err != nil {
			t.Fatalf("canonical form does not decode: %v\n%s", err, canonical)
		}
		if !reflect.DeepEqual(s, again) || !bytes.Equal(Encode(again), canonical) {
			t.Fatalf("canonical form moved:\n%+v\n%+v", s, again)
		}
	})
}
