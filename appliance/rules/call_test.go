package rules

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// site is a small business with one trunk and no PBX of its own.
func site(country, area string, access ...string) settings.Settings {
	s := settings.Default()
	s.Site.Country, s.Site.AreaCode, s.Site.AccessDigits = country, area, access
	s.Trunks = []settings.Trunk{{
		Name: "main", Domain: "sip.example.net",
		Address: netip.MustParseAddrPort("203.0.113.1:5060"), Transport: settings.UDP,
	}}
	return s
}

func withE164(s settings.Settings) settings.Settings {
	s.Trunks[0].Formats = []settings.NumberFormat{settings.FormatNational, settings.FormatInternational, settings.FormatPlus, settings.FormatE164}
	return s
}

func withPBX(s settings.Settings) settings.Settings {
	s.SIP.PBX = settings.Peer{Address: netip.MustParseAddrPort("192.168.1.10:5060"), Transport: settings.UDP}
	return s
}

func withExtensions(s settings.Settings, digits int) settings.Settings {
	s.Site.Extensions = digits
	return s
}

func compiled(t testing.TB, p policy.Policy, s settings.Settings) *Rules {
	t.Helper()
	r, err := Compile(p, s, Facts{}, noon)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return r
}

func out(uri string) Call { return Call{URI: uri, Direction: appliance.Outbound, Use: UseCall} }

type row struct {
	uri     string
	reason  appliance.Reason
	dialled string // canonical form
	number  string // the number that decided
}

func check(t *testing.T, s settings.Settings, rows []row) {
	t.Helper()
	r := compiled(t, policy.Builtin(), s)
	for _, test := range rows {
		got := r.Call(out(test.uri))
		if got.Reason != test.reason || got.Verdict != test.reason.Verdict() {
			t.Errorf("%s %q: got %s %s, want %s\n%+v", s.Site.Country, test.uri, got.Verdict, got.Reason, test.reason, got)
			continue
		}
		if got.Dialled != test.dialled {
			t.Errorf("%s %q: dialled %q, want %q", s.Site.Country, test.uri, got.Dialled, test.dialled)
		}
		if got.Number != test.number {
			t.Errorf("%s %q: number %q, want %q", s.Site.Country, test.uri, got.Number, test.number)
		}
	}
}

const (
	highRisk   = appliance.ReasonHighRisk
	premium    = appliance.ReasonPremium
	allowed    = appliance.ReasonDestinationAllowed
	emergency  = appliance.ReasonEmergency
	unknown    = appliance.ReasonUnknownNumber
	unreadable = appliance.ReasonUnreadableNumber
	foreign    = appliance.ReasonForeignHost
	internal   = appliance.ReasonInternal
)

func TestTheTwoThatTheOwnerTries(t *testing.T) {
	r := compiled(t, policy.Builtin(), site("AU", "2"))
	got := r.Call(out("0011 252 61 555 0148"))
	if got.Verdict != appliance.Block || got.Rule != "+252" || got.Why != "Somalia: named in public warnings of phone fraud" || got.Label != "Somalia" || got.List != "high-risk" {
		t.Errorf("got %+v", got)
	}
	got = r.Call(out("02 5261 5550"))
	if got.Verdict != appliance.Allow || got.Class != "national" || got.Number != "+61252615550" || got.Label != "Australia" {
		t.Errorf("got %+v", got)
	}
}

// N1: every way to write an international number.
func TestInternationalPrefixes(t *testing.T) {
	const somalia = "+252615550148"
	for _, country := range []string{"AU", "NZ", "GB", "US", "CA", "DE", "ES", "FR"} {
		var rows []row
		for _, prefix := range []string{"+", "00", "011", "0011", "00+", "011+", "0000", "00011"} {
			rows = append(rows, row{prefix + "252615550148", highRisk, prefix + "252615550148", somalia})
		}
		check(t, site(country, ""), rows)
	}
	check(t, site("US", ""), []row{
		{"01252615550148", highRisk, "01252615550148", somalia},
		{"011441632960123", allowed, "011441632960123", "+441632960123"},
		{"01184912345678", allowed, "01184912345678", "+84912345678"}, // not 01 and +1 849
		{"01190212345678", allowed, "01190212345678", "+90212345678"},
	})
	check(t, site("NZ", ""), []row{{"0161252615550148", highRisk, "0161252615550148", somalia}})
}

// N2 to N5: codes before the number.
func TestCodesBeforeTheNumber(t *testing.T) {
	const somalia = "+252615550148"
	blocked := func(codes ...string) (rows []row) {
		for _, code := range codes {
			rows = append(rows, row{code + "252615550148", highRisk, code + "252615550148", somalia})
		}
		return rows
	}
	check(t, site("AU", ""), blocked("0014", "0015", "0016", "0017", "0018", "0019", "14110011", "14140011", "14340011",
		"14440011", "14470011", "14560011", "14660011", "14740011", "14770011", "14880011",
		"18310011", "18320011", "183118320011", "183114110011", "18311831183100"))
	check(t, site("US", ""), blocked("*67011", "*82011", "*70011", "1167011", "1182011", "1170011", "1010288011",
		"10102881167011", "*67*82011", "10102881010321011"))
	check(t, site("US", ""), []row{
		{"10102881876555123" + "4", highRisk, "10102881876555123" + "4", "+18765551234"},
		{"*672125551234", allowed, "*672125551234", "+12125551234"},
		{"1167" + "2125551234", allowed, "1167" + "2125551234", "+12125551234"},
	})
	check(t, site("GB", ""), blocked("14100", "147000", "1800100", "128000", "1828900"))
	check(t, site("DE", ""), blocked("*31#00", "#31#00", "0101300", "01001300"))
	check(t, site("ES", ""), blocked("06700", "105000", "1073900"))
	check(t, site("FR", ""), blocked("365100", "162300", "#31#00"))
	check(t, site("NZ", ""), blocked("019700", "019600"))
	check(t, site("AU", ""), []row{
		{"18310252615550", allowed, "18310252615550", "+61252615550"},
		{"14110252615550", allowed, "14110252615550", "+61252615550"},
		{"1831000", emergency, "1831000", "000"},
	})
}

// N6: outside-line digits, stripped and not.
func TestAccessDigits(t *testing.T) {
	check(t, site("AU", "2", "0", "9"), []row{
		{"00011252615550148", highRisk, "00011252615550148", "+252615550148"},
		{"90011252615550148", highRisk, "90011252615550148", "+252615550148"},
		{"990011252615550148", highRisk, "990011252615550148", "+252615550148"},
		{"18319" + "0011252615550148", highRisk, "183190011252615550148", "+252615550148"},
		{"9000", emergency, "9000", "000"},
		{"0000", emergency, "0000", "000"},
		{"90252615550", allowed, "90252615550", "+61252615550"},
		{"0252615550", allowed, "0252615550", "+61252615550"},
		{"91900123456", premium, "91900123456", "+611900123456"},
	})
	check(t, site("US", "", "9", "8"), []row{
		{"9011252615550148", highRisk, "9011252615550148", "+252615550148"},
		{"900252615550148", highRisk, "900252615550148", "+252615550148"},
		{"98765551234", highRisk, "98765551234", "+18765551234"},
		{"918765551234", highRisk, "918765551234", "+18765551234"},
		{"9911", emergency, "9911", "911"},
		{"8187655" + "51234", highRisk, "818765551234", "+18765551234"},
		{"9187655123", allowed, "9187655123", "+19187655123"}, // Oklahoma, whole
		{"8765551234", highRisk, "8765551234", "+18765551234"},
	})
	check(t, site("GB", "20", "9"), []row{
		{"900252615550148", highRisk, "900252615550148", "+252615550148"},
		{"9999", emergency, "9999", "999"},
		{"902079460123", allowed, "902079460123", "+442079460123"},
	})
}

// N7 and N22: what is short or unassigned is judged by its prefix.
func TestPartialAndInvalidNumbers(t *testing.T) {
	check(t, site("AU", "2"), []row{
		{"+252", highRisk, "+252", "+252"},
		{"00252", highRisk, "00252", "+252"},
		{"0011252", highRisk, "0011252", "+252"},
		{"00112526", highRisk, "00112526", "+2526"},
		{"00112526112345", highRisk, "00112526112345", "+2526112345"},
		{"0011252999999999999999999", highRisk, "0011252999999999999999999", "+252999999999999999999"},
		{"+25", unknown, "+25", "+25"},
		{"+2", unknown, "+2", "+2"},
		{"+", unknown, "+", ""},
		{"0011", unknown, "0011", ""},
		{"025261555", unknown, "025261555", "+6125261555"},
		{"+999123456789", unknown, "+999123456789", "+999123456789"},
	})
}

// N8 and N9: tel URIs and parameters.
func TestTelURIsAndParameters(t *testing.T) {
	check(t, site("AU", "2"), []row{
		{"tel:+252-61-555-0148", highRisk, "+252615550148", "+252615550148"},
		{"TEL:+252.61.(555).0148", highRisk, "+252615550148", "+252615550148"},
		{"tel:615550148;phone-context=+252", highRisk, "+252615550148", "+252615550148"},
		{"tel:615550148;phone-context=%2B252", highRisk, "+252615550148", "+252615550148"},
		{"tel:615550148;phone-context=252", highRisk, "+252615550148", "+252615550148"},
		{"sip:615550148;phone-context=+252@sip.example.net", highRisk, "+252615550148", "+252615550148"},
		{"tel:0252615550;phone-context=example.com", allowed, "0252615550", "+61252615550"},
		{"tel:0252615550;phone-context=+61", allowed, "+610252615550", "+61252615550"},
		{"tel:+61252615550;phone-context=+252", allowed, "+61252615550", "+61252615550"},
		{"tel:0011252615550148;phone-context=+61", highRisk, "+610011252615550148", "+252615550148"},
		{"tel:000;phone-context=+61", emergency, "000", "000"},
		{"tel:000;phone-context=example.com", emergency, "000", "000"},
		{"tel:+61252615550;rn=+252615550148;npdi", highRisk, "+61252615550", "+252615550148"},
		{"sip:+61252615550;RN=+252615550148;npdi@sip.example.net", highRisk, "+61252615550", "+252615550148"},
		{"tel:+61252615550;rn=615550148;rn-context=+252", highRisk, "+61252615550", "+252615550148"},
		{"tel:+61252615550;cic=+1-0288;isub=12;ext=99;postd=p0011252", allowed, "+61252615550", "+61252615550"},
		{"sip:+61252615550;tgrp=x;trunk-context=+1@sip.example.net", allowed, "+61252615550", "+61252615550"},
		{"0252615550p252,1w2", allowed, "0252615550", "+61252615550"},
		{"0252615550,0011252615550148", allowed, "0252615550", "+61252615550"},
		{"tel:1;phone-context=+252;phone-context=+61", unreadable, "1", ""},
	})
}

// N10: user= changes nothing.
func TestUserParameter(t *testing.T) {
	var rows []row
	for _, param := range []string{"", ";user=phone", ";user=dialstring", ";user=ip", ";transport=tcp;user=phone;lr"} {
		rows = append(rows, row{"sip:0011252615550148@sip.example.net" + param, highRisk, "0011252615550148", "+252615550148"})
	}
	check(t, site("AU", ""), rows)
}

// N11, N12, N13, N14: escapes, letters and what must not stand in a user part.
func TestEncodings(t *testing.T) {
	check(t, site("AU", ""), []row{
		{"sip:%2B252615550148@sip.example.net", highRisk, "+252615550148", "+252615550148"},
		{"sip:%2b%32%35%32615550148@sip.example.net", highRisk, "+252615550148", "+252615550148"},
		{"sip:%30%30252615550148@sip.example.net", highRisk, "00252615550148", "+252615550148"},
		{"sip:%2A72%30011252615550148@sip.example.net", highRisk, "*720011252615550148", "+252615550148"},
		{"sip:%2331%230011252615550148@sip.example.net", highRisk, "#31#0011252615550148", "+252615550148"},
		{"sip:+25261CALLME@sip.example.net", highRisk, "+25261225563", "+25261225563"},
		{"1300 FLOWER", allowed, "1300356937", "+611300356937"},
	})
	r := compiled(t, policy.Builtin(), site("AU", ""))
	for _, uri := range []string{
		"sip:%252B252@sip.example.net", "sip:%2525@sip.example.net", "sip:0%00252@sip.example.net", "sip:0%0@sip.example.net",
		"sip:0%zz@sip.example.net", "sip:0%0d%0a@sip.example.net", "sip:0%20252@sip.example.net", "sip:0 252@sip.example.net",
		"sip:\u0660\u0660252@sip.example.net", "sip:%D9%A0252@sip.example.net", "sip:\uff10\uff10252@sip.example.net", "sip:00252\x00@sip.example.net",
		"sip:500&PJSIP/itsp/1416@sip.example.net", "sip:5/6@sip.example.net", "sip:5|6@sip.example.net", "sip:5\"6@sip.example.net",
		"sip:5'6@sip.example.net", "sip:5%40evil@sip.example.net", "sip:5%3b6@sip.example.net", "sip:5%2F6@sip.example.net",
		"sip:252:pw@sip.example.net", "sip:252%3Apw@sip.example.net", "sip:2@2@sip.example.net", "sip:[252]@sip.example.net", "sip://252@sip.example.net",
		"sip:@sip.example.net", "sip:252", "sip:", "http://x", "tel:", "tel://252", "tel:252@sip.example.net", "sip:;x@sip.example.net",
		"sip:252@", "sip:252@[::1", "sip:252@host:0", "sip:252@host:65536", "sip:252@ho st", "urn:service:counseling", "urn:service:sosx",
		"sip:" + strings.Repeat("1", 65) + "@sip.example.net", strings.Repeat("1", 2000), "", " ", "-", "()",
	} {
		if got := r.Call(out(uri)); got.Verdict != appliance.Block || got.Reason != unreadable || got.Why == "" {
			t.Errorf("%q: got %s %s (%s), want %s with a reason", uri, got.Verdict, got.Reason, got.Why, unreadable)
		}
	}
}

// N15 and N25: hosts.
func TestHosts(t *testing.T) {
	check(t, withPBX(site("AU", "2")), []row{
		{"sip:0252615550@SIP.Example.NET:5060", allowed, "0252615550", "+61252615550"},
		{"sip:0252615550@203.0.113.1", allowed, "0252615550", "+61252615550"},
		{"sips:0252615550@203.0.113.1:5061;transport=tls", allowed, "0252615550", "+61252615550"},
		{"sip:0252615550@192.168.1.10", allowed, "0252615550", "+61252615550"},
		{"sip:0011252615550148@192.168.1.10", highRisk, "0011252615550148", "+252615550148"},
		{"sip:0252615550@evil.example", foreign, "0252615550", ""},
		{"sip:0252615550@sip.example.net.", foreign, "0252615550", ""},
		{"sip:0252615550@203.0.113.01", foreign, "0252615550", ""},
		{"sip:0252615550@0xcb007101", foreign, "0252615550", ""},
		{"sip:0252615550@[::ffff:203.0.113.1]", foreign, "0252615550", ""},
		{"sip:alice@evil.example", foreign, "alice", ""},
		{"sip:0252615550@sip.example.net;maddr=198.51.100.1", foreign, "0252615550", ""},
		{"sip:0252615550@sip.example.net;MADDR=198.51.100.1", foreign, "0252615550", ""},
		{"sip:0252615550@sip.example.net;m%61ddr=198.51.100.1", foreign, "0252615550", ""},
		{"sip:0252615550@sip.example.net?Replaces=x", allowed, "0252615550", "+61252615550"},
		{"sip:000@evil.example;maddr=198.51.100.1", emergency, "000", "000"},
		{"sip:alice@sip.example.net", unknown, "alice", ""},
		{"sip:alice@192.168.1.10", internal, "alice", "alice"},
		{"sip:A0011-2526-1555-0148@192.168.1.10", unknown, "A0011-2526-1555-0148", ""},
	})
	s := site("AU", "2")
	s.Trunks[0].Domain = "2001:db8::5"
	check(t, s, []row{{"sip:0252615550@[2001:DB8:0::5]:5060", allowed, "0252615550", "+61252615550"}})
}

// N17: what looks like +252 and is national.
func TestNationalNumbersThatLookForeign(t *testing.T) {
	check(t, site("AU", "2", "0", "9"), []row{
		{"0252615550", allowed, "0252615550", "+61252615550"},
		{"02 5300 1234", allowed, "0253001234", "+61253001234"},
		{"(02) 5261-5550", allowed, "0252615550", "+61252615550"},
		{"52615550", allowed, "52615550", "+61252615550"},
	})
	check(t, site("NZ", "9"), []row{{"0252611234", allowed, "0252611234", "+64252611234"}})
	check(t, site("GB", "20"), []row{
		{"02526112345", allowed, "02526112345", "+442526112345"},
		{"0115 312 3456", allowed, "01153123456", "+441153123456"}, // not 011 and +53
		{"0113 496 0123", allowed, "01134960123", "+441134960123"},
	})
	check(t, site("FR", "", "0"), []row{{"0252615550", allowed, "0252615550", "+33252615550"}})
	check(t, site("DE", "30", "0"), []row{{"02521 12345", allowed, "0252112345", "+49252112345"}})
	check(t, site("US", ""), []row{{"2522611234", allowed, "2522611234", "+12522611234"}})
}

// N18: a country code without its plus counts where the trunk reads it so.
func TestE164WithoutPlus(t *testing.T) {
	check(t, site("AU", "2"), []row{
		{"252611234567", unknown, "252611234567", "+61252611234567"},
		{"252615550", unknown, "252615550", "+61252615550"}, // not a way to dial 02 5261 5550
	})
	check(t, site("DE", "30"), []row{{"25261555014", unknown, "25261555014", "+4925261555014"}})
	check(t, withE164(site("AU", "2", "9")), []row{
		{"252611234567", highRisk, "252611234567", "+252611234567"},
		{"9252611234567", highRisk, "9252611234567", "+252611234567"},
		{"61252615550", allowed, "61252615550", "+61252615550"},
		{"0252615550", allowed, "0252615550", "+61252615550"},
		{"1300555123", allowed, "1300555123", "+611300555123"},
	})
	check(t, withE164(site("GB", "")), []row{{"252611234", highRisk, "252611234", "+252611234"}})
	check(t, withE164(site("ES", "")), []row{{"882123456", allowed, "882123456", "+34882123456"}})
	s := withE164(site("ES", ""))
	s.Trunks[0].Formats = []settings.NumberFormat{settings.FormatE164}
	check(t, s, []row{{"882123456", highRisk, "882123456", "+882123456"}})
}

// N19: North American area codes.
func TestNorthAmericanAreaCodes(t *testing.T) {
	for _, home := range []string{"US", "CA"} {
		for _, npa := range strings.Fields("242 246 264 268 284 345 441 473 649 658 664 721 758 767 784 809 829 849 868 869 876") {
			check(t, site(home, "212"), []row{
				{npa + "5551234", highRisk, npa + "5551234", "+1" + npa + "5551234"},
				{"1" + npa + "5551234", highRisk, "1" + npa + "5551234", "+1" + npa + "5551234"},
				{"+1" + npa + "5551234", highRisk, "+1" + npa + "5551234", "+1" + npa + "5551234"},
				{"0" + npa + "5551234", highRisk, "0" + npa + "5551234", "+1" + npa + "5551234"},
			})
		}
		for _, npa := range strings.Fields("900 500 533 544 566 577 588 456 700 710 600 622") {
			check(t, site(home, "212"), []row{{"1" + npa + "5551234", premium, "1" + npa + "5551234", "+1" + npa + "5551234"}})
		}
		check(t, site(home, "212"), []row{
			{"9761234", premium, "9761234", "9761234"},
			{"2129761234", premium, "2129761234", "+12129761234"},
			{"12129761234", premium, "12129761234", "+12129761234"},
			{"5551234", allowed, "5551234", "+12125551234"},
			{"9501234", unknown, "9501234", "+19501234"},
			{"18005551234", allowed, "18005551234", "+18005551234"},
		})
	}
	for _, npa := range strings.Fields("340 670 671 684 787 939") {
		check(t, site("US", ""), []row{{"1" + npa + "5551234", allowed, "1" + npa + "5551234", "+1" + npa + "5551234"}})
		check(t, site("CA", ""), []row{{"1" + npa + "5551234", highRisk, "1" + npa + "5551234", "+1" + npa + "5551234"}})
	}
	check(t, site("AU", ""), []row{
		{"+14412345678", allowed, "+14412345678", "+14412345678"}, // Bermuda, an ordinary country from here
		{"+18765551234", highRisk, "+18765551234", "+18765551234"},
		{"+19005551234", premium, "+19005551234", "+19005551234"},
	})
}

// N20: premium ranges of each home country.
func TestPremium(t *testing.T) {
	for country, numbers := range map[string][]string{
		"AU": {"1900123456", "190212345" + "6", "191234", "19123456", "0147123456", "+61190212345" + "6", "12456", "1234"},
		"NZ": {"090012345", "018", "0172"},
		"GB": {"09061234567", "07012345678", "07612345678", "0871" + "1234567", "118118"},
		"US": {"19005551234", "9005551234", "2129761234"},
		"CA": {"19005551234"},
		"DE": {"09001234567", "0137812345" + "6", "11880", "0190123456"},
		"ES": {"803123456", "806123456", "807123456", "905123456", "907123456", "11818"},
		"FR": {"0899123456", "0825123456", "0811123456", "118218", "3250"},
	} {
		r := compiled(t, policy.Builtin(), site(country, ""))
		for _, number := range numbers {
			if got := r.Call(out(number)); got.Reason != premium {
				t.Errorf("%s %s: got %s %s, want %s", country, number, got.Verdict, got.Reason, premium)
			}
		}
	}
	check(t, site("GB", ""), []row{{"07624123456", allowed, "07624123456", "+447624123456"}})
	free := policy.Builtin()
	free.Destinations.HighRisk = false
	if got := compiled(t, free, site("AU", "")).Call(out("1900123456")); got.Verdict != appliance.Allow {
		t.Errorf("without the list: got %+v", got)
	}
}

// N21: codes of no country.
func TestGlobalServices(t *testing.T) {
	for _, code := range strings.Fields("870 878 8810 8816 8818 882 88216 883 888 979 808 991 247 290 239 675") {
		check(t, site("AU", ""), []row{{"0011" + code + "1234567", highRisk, "0011" + code + "1234567", "+" + code + "1234567"}})
	}
	check(t, site("AU", ""), []row{{"001180012345678", allowed, "001180012345678", "+80012345678"}})
}

// N23: emergency numbers, exactly.
func TestEmergency(t *testing.T) {
	numbers := map[string]string{
		"AU": "000 112 106", "NZ": "111 112", "GB": "999 112", "US": "911 988", "CA": "911 988", "DE": "110 112",
		"ES": "112 091 092 061 062 080 085 088", "FR": "15 17 18 112 114 115 116000 116117 119 191 196 197",
	}
	var nothing *Rules
	for country, list := range numbers {
		r := compiled(t, policy.Builtin(), site(country, "", "9"))
		for _, number := range strings.Fields(list) {
			for _, uri := range []string{
				number, "sip:" + number + "@sip.example.net", "tel:" + number + ";phone-context=sip.example.net", "9" + number,
				"sip:" + number + "@anywhere.example;user=phone", "*67" + number,
			} {
				got := r.Call(out(uri))
				if got.Verdict != appliance.Allow || got.Reason != emergency || got.Number != number {
					t.Errorf("%s %q: got %+v", country, uri, got)
				}
			}
			if got := nothing.Call(out("sip:" + number + "@x.example")); got.Reason != emergency || got.Dialled != number {
				t.Errorf("without rules %q: got %+v", number, got)
			}
			for _, uri := range []string{number + "252", number + "0", "0" + number + "0", number + "2526155501", "*21*" + number + "#", "+" + number} {
				if got := r.Call(out(uri)); got.Reason == emergency && !slices.Contains(strings.Fields(list), got.Number) {
					t.Errorf("%s %q passed as an emergency: %+v", country, uri, got)
				}
			}
		}
	}
	check(t, site("AU", "2"), []row{
		{"urn:service:sos", emergency, "urn:service:sos", "urn:service:sos"},
		{"URN:service:SOS.Police", emergency, "urn:service:sos.police", "urn:service:sos.police"},
		{"0009", unknown, "0009", ""},
		{"000252", unknown, "000252", ""},
		{"000252615550148", unknown, "000252615550148", ""},
		{"112252615550148", unknown, "112252615550148", "+61112252615550148"},
		{"*21*000#", internal, "*21*000#", "*21*000#"},
	})
	for _, uri := range []string{"0011252615550148", "0252615550", "alice", "", "+252"} {
		if got := nothing.Call(out(uri)); got.Verdict != appliance.Block || got.Reason != appliance.ReasonNoRules {
			t.Errorf("without rules %q: got %+v", uri, got)
		}
		if got := (&Rules{}).Call(out(uri)); got.Verdict != appliance.Block {
			t.Errorf("zero rules %q: got %+v", uri, got)
		}
	}
}

// N24: feature codes with a number inside.
func TestFeatureCodes(t *testing.T) {
	check(t, withExtensions(site("AU", "2", "9"), 3), []row{
		{"*720011252615550148", highRisk, "*720011252615550148", "+252615550148"},
		{"*72*0011252615550148", highRisk, "*72*0011252615550148", "+252615550148"},
		{"*21*0011252615550148#", highRisk, "*21*0011252615550148#", "+252615550148"},
		{"**21*0011252615550148#", highRisk, "**21*0011252615550148#", "+252615550148"},
		{"**61*+252615550148*11*20#", highRisk, "**61*+252615550148*11*20#", "+252615550148"},
		{"*72+252615550148", highRisk, "*72+252615550148", "+252615550148"},
		{"*21*90011252615550148#", highRisk, "*21*90011252615550148#", "+252615550148"},
		{"*21*18310011252615550148#", highRisk, "*21*18310011252615550148#", "+252615550148"},
		{"#31#0011252615550148", highRisk, "#31#0011252615550148", "+252615550148"},
		{"**0011252615550148", highRisk, "**0011252615550148", "+252615550148"},
		{"*00252615550148", highRisk, "*00252615550148", "+252615550148"},
		{"*0011*252*6155*5014*8", highRisk, "*0011*252*6155*5014*8", "+252615550148"},
		{"0011*252615550148", highRisk, "0011*252615550148", "+252615550148"},
		{"*9*8*7*6*5*4*3*2*1", unknown, "*9*8*7*6*5*4*3*2*1", "+61987654321"},
		{"*21*0252615550#", allowed, "*21*0252615550#", "+61252615550"},
		{"*720252615550", allowed, "*720252615550", "+61252615550"},
		{"*21*101#", internal, "*21*101#", "*21*101#"},
		{"*97", internal, "*97", "*97"},
		{"#21#", internal, "#21#", "#21#"},
		{"*21*1900123456#", premium, "*21*1900123456#", "+611900123456"},
		{"0252615550#", allowed, "0252615550", "+61252615550"},
	})
	check(t, site("US", "212"), []row{
		{"*7218765551234", highRisk, "*7218765551234", "+18765551234"},
		{"*72011252615550148", highRisk, "*72011252615550148", "+252615550148"},
		{"*728765551234", highRisk, "*728765551234", "+18765551234"},
		{"*722125551234", allowed, "*722125551234", "+12125551234"},
		{"*2328765551234", highRisk, "*2328765551234", "+18765551234"},
	})
}

// N26 and the uses: a message, a transfer and a redirect are judged alike.
func TestUsesAreJudgedAlike(t *testing.T) {
	r := compiled(t, policy.Builtin(), site("AU", "2"))
	for _, use := range []Use{UseCall, UseMessage, UseTransfer, UseRedirect} {
		if got := r.Call(Call{URI: "tel:+252615550148", Direction: appliance.Outbound, Use: use}); got.Reason != highRisk {
			t.Errorf("%s: got %+v", use, got)
		}
	}
}
