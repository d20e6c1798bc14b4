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
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
)

func complete() Settings {
	s := Default()
	s.Site = Site{Name: "Harbour Street", Country: "AU", AreaCode: "2", AccessDigits: []string{"0", "9"}, Extensions: 3}
	s.Network.WAN = []string{"wan0", "eth1.100"}
	s.SIP.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.168.1.1:5060"), netip.MustParseAddrPort("[::]:5070")}
	s.SIP.PBX = Peer{Address: netip.MustParseAddrPort("192.168.1.10:5061"), Transport: TLS, TLS: Identity{CA: "/etc/ringfence/pbx.pem", Name: "pbx.example.net"}}
	s.SIP.TLS = Secure{On: true, Listen: []netip.AddrPort{netip.MustParseAddrPort("192.168.1.1:5061")}, Certificate: "/etc/ringfence/tls.pem", Key: "/etc/ringfence/tls.key", Clients: "/etc/ringfence/clients.pem"}
	s.SIP.Refusal, s.SIP.Messages = 603, MessagesOff
	s.Trunks = []Trunk{{
		Name: "main", Domain: "sip.example.net", Address: netip.MustParseAddrPort("203.0.113.1:5060"), Transport: UDP,
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Formats: []NumberFormat{FormatNational, FormatE164},
		Names: []string{"proxy.example.net", "_sip._udp.example.net"},
	}, {
		Name: "spare", Domain: "2001:db8::5", Address: netip.MustParseAddrPort("[2001:db8::5]:5060"), Transport: TCP, Probe: 90 * time.Second,
		Fallback: []string{"main", "secure"},
	}, {
		Name: "secure", Domain: "itsp.example", Host: "itsp.example", Transport: TLS, Probe: time.Minute,
		TLS: Identity{CA: "/etc/ringfence/itsp.pem", Name: "*.itsp.example", Certificate: "/etc/ringfence/own.pem", Key: "/etc/ringfence/own.key"},
	}, {
		Name: "any", Domain: "any.example", Host: "any.example",
	}, {
		Name: "ported", Domain: "ported.example", Host: "sip.ported.example", Port: 5070, Transport: UDP,
	}}
	s.Admins = []Admin{{"it", netip.MustParsePrefix("198.51.100.7/32"), true}}
	s.Ports = Ports{SIP: []uint16{5070}, HTTP: []uint16{8443}, Open: []uint16{1194}}
	s.Tunnels = []document.Tunnel{{Name: "head office", Network: netip.MustParsePrefix("198.51.100.9/32")}}
	s.Feeds = []document.Feed{{Name: "own-list", Format: feed.FormatCIDR}, {Name: "hotspots", Format: feed.FormatRIR, Countries: []string{"SO", "CU"}},
		{Name: "botnets", Format: feed.FormatDROP, URL: "https://lists.example.net:8443/drop.txt?v=4", Every: 6 * time.Hour}}
	s.Limits = document.Limits{SIP: document.Limit{PerSecond: 40, Burst: 90}, Open: document.Limit{PerSecond: 5, Burst: 5}}
	s.Bans.SpareAllowed = true
	s.Accounts = []document.Account{{User: "101", Label: "Anna, at home", LAN: true, Remote: []netip.Prefix{netip.MustParsePrefix("198.51.100.64/26")}},
		{User: "102@sip.example.net", LAN: true}, {User: "103", Remote: []netip.Prefix{netip.MustParsePrefix("192.168.1.20/32")}}}
	s.Guard = document.Guard{Accounts: 30, Guesses: 90, Window: 2 * time.Minute, Bans: []time.Duration{5 * time.Minute, 2 * time.Hour}}
	s.SIP.Transparent = []string{"lan0", "eth2.20"}
	s.Egress = []Pass{{"head office", UDP, 4569, []netip.Prefix{netip.MustParsePrefix("198.51.100.9/32")}}}
	s.Bans.SpareAllowed, s.Media.Guard = true, MediaEnforce
	s.HEP = HEP{Address: "homer.example.net:9061", Transport: "tls", CaptureID: 4_000_000_000, Password: "collector"}
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
		{"TLS where there is none", `"192.168.1.1:5061"`, `"192.168.1.1:5060"`, "sip.tls.listen[0]"},
		{"certificate by a short path", `"/etc/ringfence/tls.pem"`, `"tls.pem"`, "sip.tls.certificate"},
		{"certificate by a crooked path", `"/etc/ringfence/tls.pem"`, `"/etc/ringfence/../tls.pem"`, "sip.tls.certificate"},
		{"certificate without a key", `"/etc/ringfence/tls.key"`, `""`, "sip.tls.key"},
		{"key without a certificate", `"/etc/ringfence/tls.pem"`, `""`, "sip.tls.certificate"},
		{"PBX nowhere", `192.168.1.10:5061`, `0.0.0.0:5061`, "sip.pbx.address"},
		{"PBX over TLS by whatever certificate", `"ca": "/etc/ringfence/pbx.pem"`, `"ca": ""`, "sip.pbx.tls.ca"},
		{"PBX over what", `"transport": "tls"`, `"transport": "sctp"`, "sip.pbx.transport"},
		{"certificate's name in capitals", `"pbx.example.net"`, `"PBX.example.net"`, "sip.pbx.tls.name"},
		{"certificate's name with two stars", `"*.itsp.example"`, `"*.*.example"`, "trunks[2].tls.name"},
		{"client certificate without a key", `"/etc/ringfence/own.key"`, `""`, "trunks[2].tls.key"},
		{"trunk names equal", `"any"`, `"Main"`, "trunks[3].name"},
		{"trunk by a name in capitals", `"address": "any.example"`, `"address": "Any.example"`, "trunks[3].address"},
		{"trunk by a name of one label", `"address": "any.example"`, `"address": "any"`, "trunks[3].address"},
		{"trunk by a name and port 0", `sip.ported.example:5070`, `sip.ported.example:0`, "trunks[4].address"},
		{"trunk by a name, port and any transport", `"address": "any.example"`, `"address": "any.example:5060"`, "trunks[3].transport"},
		{"fallback to nobody", `"secure"`, `"nobody"`, "trunks[1].fallback[1]"},
		{"fallback to itself", `"secure"`, `"spare"`, "trunks[1].fallback[1]"},
		{"fallback twice", `"secure"`, `"main"`, "trunks[1].fallback[1]"},
		{"probe in parts of a second", `"1m30s"`, `"5500ms"`, "trunks[1].probe"},
		{"probe too often", `"1m30s"`, `"1s"`, "trunks[1].probe"},
		{"probe in words", `"1m30s"`, `"never"`, "trunks[1].probe"},
		{"messages", `"off"`, `"some"`, "sip.messages"},
		{"collector without port", `homer.example.net:9061`, `homer.example.net`, "hep.address"},
		{"collector of odd IPv4", `homer.example.net:9061`, `192.0.2.010:9061`, "hep.address"},
		{"collector in capitals", `homer.example.net:9061`, `Homer:9061`, "hep.address"},
		{"collector nowhere", `homer.example.net:9061`, `0.0.0.0:9061`, "hep.address"},
		{"collector over sctp", "homer.example.net:9061\",\n    \"transport\": \"tls\"", "homer.example.net:9061\",\n    \"transport\": \"sctp\"", "hep.transport"},
		{"capture id beyond 32 bits", `4000000000`, `4294967296`, "hep.capture_id"},
		{"collector's key too long", `"collector"`, `"` + strings.Repeat("x", 65) + `"`, "hep.password"},
		{"domain in capitals", `sip.example.net`, `SIP.example.net`, "trunks[0].domain"},
		{"domain with a port", `sip.example.net`, `sip.example.net:5060`, "trunks[0].domain"},
		{"domain of odd IPv4", `sip.example.net`, `192.0.2.010`, "trunks[0].domain"},
		{"domain of hex IPv4", `sip.example.net`, `192.0.2.0x1`, "trunks[0].domain"},
		{"domain of long IPv6", `2001:db8::5`, `2001:db8:0::5`, "trunks[1].domain"},
		{"format", `"e164"`, `"e163"`, "trunks[0].formats[1]"},
		{"format twice", `"e164"`, `"national"`, "trunks[0].formats[1]"},
		{"trunk network", `203.0.113.0/24`, `0.0.0.0/0`, "trunks[0].networks[0]"},
		{"name in capitals", `proxy.example.net`, `Proxy.example.net`, "trunks[0].names[0]"},
		{"name of one label", `proxy.example.net`, `proxy`, "trunks[0].names[0]"},
		{"name of an address", `proxy.example.net`, `192.0.2.1`, "trunks[0].names[0]"},
		{"name with a port", `proxy.example.net`, `proxy.example.net:5060`, "trunks[0].names[0]"},
		{"service without protocol", `"_sip._udp.example.net"`, `"_sip.example.net"`, "trunks[0].names[1]"},
		{"service without host", `"_sip._udp.example.net"`, `"_sip._udp"`, "trunks[0].names[1]"},
		{"name twice", `"_sip._udp.example.net"`, `"proxy.example.net"`, "trunks[0].names[1]"},
		{"tunnel network", `198.51.100.9/32`, `0.0.0.0/0`, "tunnels[0].network"},
		{"tunnel without name", `head office`, ``, "tunnels[0].name"},
		{"port of two services", `8443`, `1194`, "ports.open[0]"},
		{"feed name with a slash", `own-list`, `../own`, "feeds[0].name"},
		{"feed names equal", `own-list`, `hotspots`, "feeds[1].name"},
		{"feed format", `"cidr"`, `"csv"`, "feeds[0].format"},
		{"feed without format", `"cidr"`, `""`, "feeds[0].format"},
		{"countries of a plain list", `"cidr"`, `"rir"`, "feeds[0].countries"},
		{"country that is none", `"SO"`, `"XX"`, "feeds[1].countries"},
		{"feed over http", `https://lists`, `http://lists`, "feeds[2].url"},
		{"feed every so often", `"6h"`, `"6h30m"`, "feeds[2].every"},
		{"feed from nowhere", `"url": "https://lists.example.net:8443/drop.txt?v=4",`, ``, "feeds[2].every"},
		{"limit below nothing", `"per_second": 40`, `"per_second": -1`, "limits.sip.per_second"},
		{"limit beyond sense", `"per_second": 40`, `"per_second": 1000001`, "limits.sip.per_second"},
		{"burst alone", `"per_second": 40`, `"per_second": 0`, "limits.sip.burst"},
		{"burst beyond sense", `"burst": 90`, `"burst": 1000001`, "limits.sip.burst"},
		{"a media guard of its own", `"guard": "enforce"`, `"guard": "sometimes"`, "media.guard"},
		{"bans in words", `"spare_allowed": true`, `"spare_allowed": "yes"`, "bans.spare_allowed"},
		{"account without a name", `"user": "101"`, `"user": ""`, "accounts[0].user"},
		{"account with a space", `"user": "101"`, `"user": "1 01"`, "accounts[0].user"},
		{"account at no domain", `102@sip.example.net`, `102@`, "accounts[1].user"},
		{"account twice", `"user": "103"`, `"user": "101"`, "accounts[2].user"},
		{"account from anywhere", `198.51.100.64/26`, `0.0.0.0/0`, "accounts[0].sources[0]"},
		{"account from the LAN twice", `"198.51.100.64/26"`, `"lan"`, "accounts[0].sources[1]"},
		{"one account as a guard", `"accounts": 30`, `"accounts": 1`, "guard.accounts"},
		{"accounts below nothing", `"accounts": 30`, `"accounts": -1`, "guard.accounts"},
		{"hardly a guess", `"guesses": 90`, `"guesses": 4`, "guard.guesses"},
		{"window of a second", `"window_seconds": 120`, `"window_seconds": 1`, "guard.window_seconds"},
		{"ban of nothing", `"ban_minutes": [
      5`, `"ban_minutes": [
      0`, "guard.ban_minutes[0]"},
		{"bans that get shorter", `"ban_minutes": [
      5`, `"ban_minutes": [
      500`, "guard.ban_minutes[1]"},
		{"ban for ever", `      120
`, `      43201
`, "guard.ban_minutes[1]"},
		{"transparent with a slash", `"lan0"`, `"../x"`, "sip.transparent[0]"},
		{"transparent twice", `"eth2.20"`, `"lan0"`, "sip.transparent[1]"},
		{"transparent on the WAN", `"eth2.20"`, `"wan0"`, "sip.transparent[1]"},
		{"pass of SIP", `"port": 4569`, `"port": 5060`, "egress[0].port"},
		{"pass of a port that is none", `"port": 4569`, `"port": 70105`, "egress[0].port"},
		{"pass over SCTP", `"protocol": "udp"`, `"protocol": "sctp"`, "egress[0].protocol"},
		{"pass to nowhere", `"networks": [
        "198.51.100.9/32"
      ]`, `"networks": []`, "egress[0].networks"},
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

func TestTrunkAddressSaysWhereNamesGo(t *testing.T) {
	_, err := Decode([]byte(strings.Replace(string(Encode(complete())), "203.0.113.1:5060", "sip.example.net", 1)))
	if err != nil {
		t.Errorf("a domain: %v", err)
	}
	_, err = Decode([]byte(strings.Replace(string(Encode(complete())), "203.0.113.1:5060", "203.0.113.1", 1)))
	if err == nil || !strings.Contains(err.Error(), "or a DNS name, like sip.example.net") {
		t.Errorf("got %v", err)
	}
}

// TestTrunksOfBefore reads a trunk as it was written before there were names,
// fallbacks and probes.
func TestTrunksOfBefore(t *testing.T) {
	text := strings.Replace(string(Encode(Default())), `"trunks": []`, `"trunks": [{"name": "main", "domain": "sip.example.net",
		"address": "203.0.113.1:5060", "transport": "udp", "networks": [], "names": ["sip.example.net"], "formats": []}]`, 1)
	got, err := Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := Trunk{Name: "main", Domain: "sip.example.net", Address: netip.MustParseAddrPort("203.0.113.1:5060"), Transport: UDP,
		Names: []string{"sip.example.net"}, Probe: defaultProbe}
	if !reflect.DeepEqual(got.Trunks, []Trunk{want}) || got.SIP.TLS.On {
		t.Errorf("got %+v", got.Trunks)
	}
}

// TestAbsentMembersMeanNone reads a document from before there were any.
func TestAbsentMembersMeanNone(t *testing.T) {
	got, err := Decode([]byte(`{"schema": 1, "site": {"name": "x", "country": "AU", "area_code": "", "access_digits": [], "extensions": 0},
		"network": {"wan": [], "lan": ["10.0.0.0/8"]}, "sip": {"listen": [], "refusal": 403},
		"limits": {"sip": {"per_second": 7}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Feeds != nil || got.Tunnels != nil || got.Ports.Open != nil || got.Bans.SpareAllowed || got.Media.Guard != MediaObserve || got.HEP != (HEP{}) || got.SIP.Messages != MessagesRefused || got.Limits.HTTP != (document.Limit{}) {
		t.Errorf("got %+v", got)
	}
	if want := (document.Limit{PerSecond: 7, Burst: 7}); got.Limits.SIP != want {
		t.Errorf("limit %+v, want a second's worth of burst", got.Limits.SIP)
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
