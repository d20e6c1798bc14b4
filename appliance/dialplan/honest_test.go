package dialplan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// home is how people dial in one country.
type home struct {
	country, cc, trunk, idd, area string
	bare                          bool // the trunk prefix may be left out
	lengths                       []int
	identity                      string // a caller-identity code
}

var homes = []home{
	{"AU", "61", "0", "0011", "2", false, []int{6, 9, 10}, "1831"},
	{"NZ", "64", "0", "00", "9", false, []int{8, 9, 10}, "0197"},
	{"GB", "44", "0", "00", "20", false, []int{9, 10}, "141"},
	{"US", "1", "1", "011", "212", true, []int{10}, "*67"},
	{"CA", "1", "1", "011", "416", true, []int{10}, "*67"},
	{"DE", "49", "0", "00", "30", false, []int{7, 8, 9, 10, 11}, "*31#"},
	{"ES", "34", "", "00", "", true, []int{9}, "067"},
	{"FR", "33", "0", "00", "", false, []int{9}, "3651"},
}

// charged are the types of number whose price the callee sets.
var charged = map[phonenumbers.PhoneNumberType]bool{
	phonenumbers.PREMIUM_RATE: true, phonenumbers.SHARED_COST: true, phonenumbers.PERSONAL_NUMBER: true, phonenumbers.PAGER: true,
}

func (h home) rules(t testing.TB, e164 bool, access ...string) *rules.Rules {
	t.Helper()
	s := settings.Default()
	s.Site.Country, s.Site.AreaCode, s.Site.AccessDigits = h.country, h.area, access
	s.Trunks = []settings.Trunk{{Name: "main", Domain: "sip.example.net", Address: netip.MustParseAddrPort("203.0.113.1:5060"), Transport: settings.UDP}}
	if e164 {
		s.Trunks[0].Formats = []settings.NumberFormat{settings.FormatPlus, settings.FormatInternational, settings.FormatNational, settings.FormatE164}
	}
	r, err := rules.Compile(policy.Builtin(), s, rules.Facts{}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// forms writes a national number in the ways that people and machines do.
func (h home) forms(nsn string) []string {
	special := h.country == "AU" && nsn[0] == '1' // 13, 1300, 1800: no trunk prefix
	dialled := h.trunk + nsn
	if special {
		dialled = nsn
	}
	out := []string{
		dialled,
		"+" + h.cc + nsn,
		h.idd + h.cc + nsn,
		"sip:" + dialled + "@sip.example.net;user=phone",
		"sip:%2B" + h.cc + nsn + "@203.0.113.1:5060",
		"tel:+" + h.cc + "-" + nsn[:2] + "." + nsn[2:],
		"tel:" + dialled + ";phone-context=example.com",
		dialled[:2] + " " + dialled[2:4] + "-" + dialled[4:],
		h.identity + dialled,
	}
	if h.bare {
		out = append(out, nsn)
	}
	if h.trunk == "0" && !special {
		out = append(out, "+"+h.cc+" (0) "+nsn)
	}
	return out
}

// sample draws national significant numbers that libphonenumber holds to be
// valid, of every type that people may call.
func (h home) sample(random *rand.Rand, count int) []string {
	var out []string
	for draws := 0; len(out) < count && draws < count*400; draws++ {
		length := h.lengths[random.IntN(len(h.lengths))]
		var nsn strings.Builder
		nsn.WriteByte('1' + byte(random.IntN(9)))
		for nsn.Len() < length {
			nsn.WriteByte('0' + byte(random.IntN(10)))
		}
		if h.callable(nsn.String()) {
			out = append(out, nsn.String())
		}
	}
	return append(out, h.examples()...)
}

func (h home) callable(nsn string) bool {
	number, err := phonenumbers.Parse("+"+h.cc+nsn, h.country)
	if err != nil || !phonenumbers.IsValidNumberForRegion(number, h.country) || phonenumbers.GetNationalSignificantNumber(number) != nsn {
		return false
	}
	return !charged[phonenumbers.GetNumberType(number)] && !h.blockedByDesign(nsn)
}

// blockedByDesign are ranges that libphonenumber calls ordinary and this
// project does not, each for a reason given at its table.
func (h home) blockedByDesign(nsn string) bool {
	heads := map[string]string{
		"AU": "14",             // satellites
		"GB": "76 871 872 873", // pagers (and the Isle of Man's mobiles, tested elsewhere); 087x at premium rate
		"US": "600 622",        // Canada's services
		"CA": "600 622",
		"FR": "81 82", // surcharged services
	}[h.country]
	for head := range strings.FieldsSeq(heads) {
		if strings.HasPrefix(nsn, head) {
			return true
		}
	}
	if h.cc != "1" {
		return false
	}
	// Canada's 310-xxxx has seven digits and is dialled as they are.
	return len(nsn) != 10 || nsn[3:6] == "976"
}

func (h home) examples() []string {
	var out []string
	for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
		number := phonenumbers.GetExampleNumberForType(h.country, kind)
		if number == nil {
			continue
		}
		if nsn := phonenumbers.GetNationalSignificantNumber(number); h.callable(nsn) {
			out = append(out, nsn)
		}
	}
	return out
}

// TestHonestNationalCallsPass dials valid numbers of each home country in every
// form, at a plain site and at one with outside-line digits and a trunk that
// reads country codes without plus. None may be refused.
func TestHonestNationalCallsPass(t *testing.T) {
	count := 150
	if testing.Short() {
		count = 100
	}
	for _, h := range homes {
		t.Run(h.country, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(h.country[0])<<8|uint64(h.country[1])))
			sample := h.sample(random, count)
			if len(sample) < count {
				t.Fatalf("drew only %d numbers", len(sample))
			}
			plain, wide := h.rules(t, false), h.rules(t, true, "0", "9")
			for _, nsn := range sample {
				for _, form := range h.forms(nsn) {
					for name, r := range map[string]*rules.Rules{"plain": plain, "wide": wide} {
						got := r.Call(rules.Call{URI: form, Direction: appliance.Outbound})
						if got.Verdict != appliance.Allow {
							t.Errorf("%s site refuses %q: %s, %s %s\n%+v", name, form, got.Reason, got.Rule, got.Why, got.Candidates)
						}
					}
				}
			}
		})
	}
}

// TestHonestInternationalCallsPass dials libphonenumber's example numbers of
// every country that is not on the built-in list. None may be refused.
func TestHonestInternationalCallsPass(t *testing.T) {
	numbers := abroad()
	if len(numbers) < 300 {
		t.Fatalf("found only %d numbers", len(numbers))
	}
	for _, h := range homes {
		t.Run(h.country, func(t *testing.T) {
			t.Parallel()
			listed := make(map[string]bool)
			for _, one := range dialplan.HighRisk(h.country) {
				listed[one.Prefix] = true
			}
			plain, wide, e164 := h.rules(t, false), h.rules(t, true, "9"), h.rules(t, true)
			for _, number := range numbers {
				if onList(listed, "+"+number) || strings.HasPrefix(number, h.cc) {
					continue
				}
				for _, form := range []string{"+" + number, h.idd + number, "sip:%2b" + number + "@sip.example.net;user=phone", "tel:+" + number, h.identity + h.idd + number} {
					for name, r := range map[string]*rules.Rules{"plain": plain, "wide": wide} {
						if got := r.Call(rules.Call{URI: form, Direction: appliance.Outbound}); got.Verdict != appliance.Allow {
							t.Errorf("%s site refuses %q: %s, %s %s\n%+v", name, form, got.Reason, got.Rule, got.Why, got.Candidates)
						}
					}
				}
				// With outside-line digits a number without plus may mean two things.
				if got := e164.Call(rules.Call{URI: number, Direction: appliance.Outbound}); got.Verdict != appliance.Allow {
					t.Errorf("e164 site refuses %q: %s, %s %s\n%+v", number, got.Reason, got.Rule, got.Why, got.Candidates)
				}
			}
		})
	}
}

func onList(listed map[string]bool, number string) bool {
	for end := range len(number) + 1 {
		if listed[number[:end]] {
			return true
		}
	}
	return false
}

// abroad returns the example numbers of every region, without their plus.
func abroad() []string {
	var out []string
	for region := range phonenumbers.GetSupportedRegions() {
		for _, kind := range []phonenumbers.PhoneNumberType{phonenumbers.FIXED_LINE, phonenumbers.MOBILE, phonenumbers.VOIP} {
			if number := phonenumbers.GetExampleNumberForType(region, kind); number != nil {
				out = append(out, phonenumbers.Format(number, phonenumbers.E164)[1:])
			}
		}
	}
	return out
}

// blockedNumber draws a number on the built-in list that a network could
// connect: of the length that its plan asks for, where that is known here.
func (h home) blockedNumber(random *rand.Rand, list []dialplan.Risk) string {
	number := list[random.IntN(len(list))].Prefix[1:]
	length := 10 + random.IntN(4)
	switch {
	case number[0] == '1':
		length = 11
		if len(number) == 4 {
			number += string('2' + byte(random.IntN(8))) // an exchange begins with 2 to 9
		}
	case strings.HasPrefix(number, h.cc):
		length = len(h.cc) + h.lengths[len(h.lengths)-1]
	}
	for len(number) < length {
		number += string('0' + byte(random.IntN(10)))
	}
	return number
}

func pick(random *rand.Rand, from ...string) string { return from[random.IntN(len(from))] }

// disguise writes an international number as an attacker would, and says
// whether the form has no explicit international prefix.
func (h home) disguise(random *rand.Rand, number string) (uri string, weak bool) {
	head := pick(random, "+", "00", "011", "0011", h.idd, h.idd, "00+", h.idd+"+", "")
	weak = head == ""
	s := head + number
	for range random.IntN(3) {
		codes := []string{h.identity, "*67", "#31#", "9", "9", "0"}
		if h.cc == "1" {
			codes = append(codes, "1167", "*82")
		}
		if h.country == "AU" {
			codes = append(codes, "1832")
		}
		if !weak { // no carrier takes its code before a bare country code
			codes = append(codes, map[string][]string{"AU": {"1411", "1466"}, "US": {"1010288"}, "CA": {"1010288"}, "DE": {"01013"}}[h.country]...)
		}
		code := pick(random, codes...)
		if strings.HasPrefix(s, "*") && isDigits(code) || strings.HasPrefix(s, "#") {
			continue
		}
		weak = weak || (isDigits(code) && code != "9" && code != "0" && s[0] == '+')
		s = code + s
	}
	if !strings.ContainsAny(s, "*#") && random.IntN(6) == 0 {
		s = pick(random, "*72", "*21*", "**61*", "*72*", "*90*") + s + pick(random, "", "#")
	}
	switch random.IntN(6) {
	case 0:
		s = letters(random, s)
	case 1:
		s = separators(random, s)
	}
	return wrap(random, s), weak
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func letters(random *rand.Rand, s string) string {
	at := len(s) - 1 - random.IntN(3)
	keys := map[byte]string{'2': "Cb", '3': "Ef", '4': "gI", '5': "Kl", '6': "Mn", '7': "Rs", '8': "Uv", '9': "XZ"}[s[at]]
	if keys == "" {
		return s
	}
	return s[:at] + string(keys[random.IntN(2)]) + s[at+1:]
}

func separators(random *rand.Rand, s string) string {
	var out strings.Builder
	for i := range len(s) {
		out.WriteByte(s[i])
		if random.IntN(4) == 0 {
			out.WriteByte("-.()"[random.IntN(4)])
		}
	}
	return out.String()
}

func escapes(random *rand.Rand, s string) string {
	var out strings.Builder
	for i := range len(s) {
		switch {
		case s[i] == '#' || random.IntN(4) == 0:
			fmt.Fprintf(&out, pick(random, "%%%02x", "%%%02X"), s[i])
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

func wrap(random *rand.Rand, s string) string {
	params := pick(random, "", ";user=phone", ";transport=udp", ";user=ip;lr")
	switch random.IntN(6) {
	case 0:
		return s
	case 1:
		return pick(random, "tel:", "TEL:") + escapes(random, s)
	case 2:
		return "tel:" + s + pick(random, ";phone-context=example.com", ";npdi", ";isub=1", ";cic=+10288", ";x")
	case 3:
		return "sip:" + escapes(random, s) + ";phone-context=sip.example.net@sip.example.net" + params
	default:
		return pick(random, "sip:", "SIP:", "sips:") + escapes(random, s) + "@" + pick(random, "sip.example.net", "203.0.113.1:5060") + params
	}
}

// TestNoDisguiseHidesABlockedNumber writes numbers of the built-in list in
// random disguises. The only ones that may pass are those that are, as they
// stand, a valid national number: there the home country's network decides.
func TestNoDisguiseHidesABlockedNumber(t *testing.T) {
	count := 1000
	if testing.Short() {
		count = 300
	}
	for _, h := range homes {
		t.Run(h.country, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(2, uint64(h.country[0])<<8|uint64(h.country[1])))
			list := dialplan.HighRisk(h.country)
			plain, wide := h.rules(t, false, "9", "0"), h.rules(t, true, "9", "0")
			for range count {
				number := h.blockedNumber(random, list)
				uri, weak := h.disguise(random, number)
				got := wide.Call(rules.Call{URI: uri, Direction: appliance.Outbound})
				if got.Verdict != appliance.Block && !(weak && strings.HasPrefix(got.Number, "+"+h.cc)) {
					t.Errorf("+%s as %q passes: %s %s\n%+v", number, uri, got.Reason, got.Number, got.Candidates)
				}
				if got := plain.Call(rules.Call{URI: uri, Direction: appliance.Outbound}); !weak && got.Verdict != appliance.Block {
					t.Errorf("+%s as %q passes a plain trunk: %s %s\n%+v", number, uri, got.Reason, got.Number, got.Candidates)
				}
			}
		})
	}
}
