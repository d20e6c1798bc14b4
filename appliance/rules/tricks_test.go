package rules

import (
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

// An emergency number as a vehicle: what passes without a rule is sent without
// anything that could turn it into another number.
func TestEmergencyCarriesNoOtherNumber(t *testing.T) {
	check(t, site("AU", "2", "9"), []row{
		{"tel:1831000;phone-context=+252615550", emergency, "1831000", "000"},
		{"tel:9000;phone-context=+252615550", emergency, "9000", "000"},
		{"sip:1831000;phone-context=+25261555@sip.example.net", emergency, "1831000", "000"},
		{"tel:000;rn=+252615550148", emergency, "000", "000"},
		{"sip:112;ext=0011252615550148@sip.example.net", emergency, "112", "112"},
		{"sip:112,0011252615550148@sip.example.net", emergency, "112", "112"},
		{"112+252615550148", highRisk, "112+252615550148", "+252615550148"},
		{"112*0011252615550148", highRisk, "112*0011252615550148", "+252615550148"},
		{"+252#000", highRisk, "+252#000", "+252000"},
	})
	check(t, site("US", ""), []row{{"tel:*67911;phone-context=+25261555", emergency, "*67911", "911"}})
	check(t, site("FR", ""), []row{{"tel:%2331%2315;phone-context=+25261555", emergency, "#31#15", "15"}})
	check(t, site("GB", ""), []row{{"18000", emergency, "18000", "18000"}})
}

// What rides along and is not sent on lets nothing pass.
func TestOnlyWhatIsSentOnLetsACallPass(t *testing.T) {
	check(t, site("AU", "2"), []row{
		{"tel:0252615550;phone-context=+025261555", unknown, "+0252615550252615550", ""},
		{"tel:+999123456789;rn=+61252615550", unknown, "+999123456789", "+999123456789"},
		{"tel:0252615550;phone-context=+61", allowed, "+610252615550", "+61252615550"},
		{"tel:1223;phone-context=+61", allowed, "+611223", "1223"},
		{"tel:1300655506;phone-context=+61", allowed, "+611300655506", "+611300655506"},
	})
}

// A blocked number cut in two by a symbol, and an honest one behind it: switches
// drop the symbol and connect the first.
func TestNumberBehindANumber(t *testing.T) {
	for _, country := range dialplan.Countries() {
		check(t, site(country, ""), []row{{"+252*720252615550", highRisk, "+252*720252615550", "+252720252615550"}})
	}
	check(t, site("AU", "2"), []row{
		{"+252+61252615550", highRisk, "+252+61252615550", "+25261252615550"},
		{"0011252+61252615550", highRisk, "0011252+61252615550", "+25261252615550"},
		{"+252*0252615550", highRisk, "+252*0252615550", "+2520252615550"},
		{"0252615550+0011252615550148", highRisk, "0252615550+0011252615550148", "+252615550148"},
		{"+61252615550*1", unknown, "+61252615550*1", "+612526155501"},
	})
	check(t, site("US", ""), []row{{"011252+12125551234", highRisk, "011252+12125551234", "+25212125551234"}})
	check(t, withE164(site("AU", "2")), []row{
		{"252+61252615550", highRisk, "252+61252615550", "+25261252615550"},
		{"252*+61252615550", highRisk, "252*+61252615550", "+25261252615550"},
	})
	// The plus that honest codes carry in their midst.
	check(t, withE164(site("AU", "2", "9")), []row{
		{"9+61252615550", allowed, "9+61252615550", "+61252615550"},
		{"1831+61252615550", allowed, "1831+61252615550", "+61252615550"},
		{"*21*+61252615550#", allowed, "*21*+61252615550#", "+61252615550"},
	})
	check(t, withE164(site("FR", "")), []row{{"3651+33123456789", allowed, "3651+33123456789", "+33123456789"}})
}

// A national prefix before an international one, as a dialler that adds a 1 to
// everything writes it. What follows 1011252 looks domestic.
func TestNationalPrefixBeforeAnInternationalOne(t *testing.T) {
	for _, country := range []string{"US", "CA"} {
		check(t, site(country, ""), []row{
			{"10112522125551234", highRisk, "10112522125551234", "+2522125551234"},
			{"1(011)2526155501", highRisk, "10112526155501", "+2526155501"},
			{"1-00-252615550148", highRisk, "100252615550148", "+252615550148"},
			{"1010288011442079460123", allowed, "1010288011442079460123", "+442079460123"},
			{"10101238005551234", allowed, "10101238005551234", "+18005551234"},
		})
	}
}

// Ranges without a number in service are no disguise for an international one.
func TestRangesThatDoNotExist(t *testing.T) {
	check(t, site("GB", ""), []row{{"01126155501", highRisk, "01126155501", "+26155501"}}) // no area code 0112
	check(t, site("DE", "30"), []row{{"2526155501", unknown, "2526155501", "+492526155501"}})
}

// What people dial every day besides numbers of the usual shape.
func TestEverydayNumbers(t *testing.T) {
	for country, numbers := range map[string]string{
		"AU": "101 121 1100 1194 1221 1223 12722123 131114 1802222 0061252615550",
		"NZ": "105 120 123 126 1737 0068212345 0068512345 0061252615550",
		"GB": "101 105 111 119 123 159 195 1471 1571 1572 17070 116123 02890123456 01534123456",
		"US": "211 311 411 511 611 711 811 933 3101234 18006288737 1800MATTRESS 1-800-CALLATT-X 0012125551234 00442079460123 *69 *98",
		"CA": "211 811 3101234 18675551234",
		"DE": "115 116117 19222 0310 0311 030/123456 +49(30)123456 +49(0)30/123456 01806123456 003726123456",
		"ES": "010 011 012 016 024 060 1002 1004 1470 22122 116111 901123456 902123456",
		"FR": "1013 3018 3114 3230 3631 3646 3900 3919 3949 3957 3960 3995 116006 0033123456789 0037793151234",
	} {
		r := compiled(t, policy.Builtin(), site(country, map[string]string{"US": "212", "CA": "416", "DE": "30"}[country]))
		for _, number := range strings.Fields(numbers) {
			if got := r.Call(out(number)); got.Verdict != appliance.Allow {
				t.Errorf("%s %s: %s, %s\n%+v", country, number, got.Reason, got.Why, got.Candidates)
			}
		}
	}
	// Freephone words may be too long. No other number may.
	check(t, site("US", ""), []row{
		{"187655512345", highRisk, "187655512345", "+187655512345"},
		{"121255512345", unknown, "121255512345", "+121255512345"},
		{"1800MATTRESS011252615550148", unknown, "180062887377011252615550148", "+180062887377011252615550148"},
	})
	// The slash is typed by people. In a URI it separates channels.
	if got := compiled(t, policy.Builtin(), site("DE", "30")).Call(out("sip:030/123456@sip.example.net")); got.Reason != unreadable {
		t.Errorf("got %+v", got)
	}
}

// A PBX's own short numbers pass to the PBX without being configured, and
// nothing that a network or list knows does.
func TestShortNumbersOfThePBX(t *testing.T) {
	check(t, withPBX(site("AU", "2")), []row{
		{"sip:201@192.168.1.10", internal, "201", "201"},
		{"sip:100000@192.168.1.10", internal, "100000", "100000"},
		{"sip:201@sip.example.net", unknown, "201", "+61201"},
		{"sip:1000000@192.168.1.10", unknown, "1000000", "+611000000"},
		{"sip:00252@192.168.1.10", highRisk, "00252", "+252"},
		{"sip:+252@192.168.1.10", highRisk, "+252", "+252"},
		{"sip:1234@192.168.1.10", premium, "1234", "1234"},
		{"sip:191234@192.168.1.10", premium, "191234", "+61191234"},
	})
}

// A list names a short code with the country's code before it, to block it as
// well as to except it. Emergency numbers meet no list.
func TestShortCodesOnLists(t *testing.T) {
	s := site("GB", "")
	s.Destinations.Block = []settings.Destination{{Prefix: "+44123", Reason: "no clock"}, {Prefix: "+44999", Reason: "never"}}
	s.Destinations.Allow = []settings.Exception{{Prefix: "+44118118", Reason: "directory"}}
	p := policy.Builtin()
	p.Destinations.Block = []policy.Destination{{Prefix: "+44105", Reason: "no power"}}
	r := compiled(t, p, s)
	for number, want := range map[string]appliance.Reason{
		"123": appliance.ReasonSettingsBlock, "105": appliance.ReasonPolicyBlock, "101": allowed, "999": emergency,
		"118118": appliance.ReasonException, "118500": premium,
	} {
		if got := r.Call(out(number)); got.Reason != want {
			t.Errorf("%s: got %s, want %s\n%+v", number, got.Reason, want, got)
		}
	}
}
