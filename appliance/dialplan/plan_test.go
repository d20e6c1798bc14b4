package dialplan

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

func plan(t testing.TB, site Site) *Plan {
	t.Helper()
	p, err := NewPlan(site)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCountries(t *testing.T) {
	want := []string{"AU", "NZ", "GB", "US", "CA", "DE", "ES", "FR"}
	if got := Countries(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if _, err := NewPlan(Site{Country: "XX"}); err == nil {
		t.Error("a country without a plan got one")
	}
	if _, err := NewPlan(Site{Country: "AU", AccessDigits: []string{"9x"}}); err == nil {
		t.Error("access digits of letters were taken")
	}
}

// TestNumberingPlans says of national significant numbers what the regulators'
// tables say.
func TestNumberingPlans(t *testing.T) {
	for country, classes := range map[string]map[Class]string{
		"AU": {
			ClassNational: "252615550 355501234 755501234 865501234 412345678 500123456 131234 1300123456 1800123456 1801234",
			ClassPremium:  "1900123456 191234 19123456 147123456",
			ClassUnknown:  "25261555 2526155501 052615550 912345678 612345678 1200 1 13123 130012345",
		},
		"NZ": {
			ClassNational: "93001234 33001234 211234567 2112345678 21123456 800123456 508123456 63001234",
			ClassPremium:  "90012345",
			ClassUnknown:  "9300123 930012345 12345678 512345678",
		},
		"GB": {
			ClassNational: "2079460123 1134960123 1632960123 169772345 3001234567 5601234567 7911123456 7624123456 8001111 800123456 8001234567 8701234567",
			ClassPremium:  "9061234567 7012345678 7612345678 8711234567 8731234567",
			ClassUnknown:  "207946012 20794601234 4012345678 6012345678 079111234",
		},
		"US": {
			ClassNational:      "2125551234 7875551234 8005551234 6715551234",
			ClassPremium:       "9005551234 2129761234",
			ClassInternational: "4165551234 8765551234 2425551234",
			ClassUnknown:       "212555123 21255512345 1125551234 2115551234 2951234567 2121551234 3701234567",
		},
		"CA": {
			ClassNational:      "4165551234 8005551234 8675551234",
			ClassPremium:       "9005551234 4169761234",
			ClassInternational: "2125551234 7875551234 8765551234",
			ClassUnknown:       "416555123",
		},
		"DE": {
			ClassNational: "30123456 252112345 15112345678 1711234567 8001234567 1801234567 89123456789",
			ClassPremium:  "9001234567 137812345 190123456",
			ClassUnknown:  "0301234 111234567 101234567 30 151123",
		},
		"ES": {
			ClassNational: "910123456 612345678 712345678 810123456 900123456 901123456 882123456",
			ClassPremium:  "803123456 806123456 807123456 905123456 907123456",
			ClassUnknown:  "91012345 9101234567 112345678 412345678",
		},
		"FR": {
			ClassNational: "123456789 252615550 612345678 712345678 800123456 912345678 806123456",
			ClassPremium:  "899123456 825123456 811123456",
			ClassUnknown:  "12345678 1234567890 012345678",
		},
	} {
		p := plan(t, Site{Country: country})
		for class, numbers := range classes {
			for _, nsn := range strings.Fields(numbers) {
				if got := p.classify(p.home.cc + nsn); got != class {
					t.Errorf("%s %s: got %q, want %q", country, nsn, got, class)
				}
			}
		}
	}
}

// TestPlansAgreeWithLibphonenumber checks facts that both know: the country
// code, and that the international and national prefixes are among ours.
func TestPlansAgreeWithLibphonenumber(t *testing.T) {
	collection, err := phonenumbers.MetadataCollection()
	if err != nil {
		t.Fatal(err)
	}
	for i := range countries {
		c := &countries[i]
		var meta *phonenumbers.PhoneMetadata
		for _, one := range collection.GetMetadata() {
			if one.GetId() == c.code {
				meta = one
			}
		}
		if got := strconv.Itoa(int(meta.GetCountryCode())); got != c.cc {
			t.Errorf("%s: country code %s, want %s", c.code, c.cc, got)
		}
		prefix := meta.GetPreferredInternationalPrefix()
		if prefix == "" {
			prefix = meta.GetInternationalPrefix()
		}
		if !slices.Contains(c.international, prefix) {
			t.Errorf("%s: international prefix %s is not among %v", c.code, prefix, c.international)
		}
		if ndd := meta.GetNationalPrefix(); ndd != "" && !slices.Contains(c.trunk, ndd) {
			t.Errorf("%s: national prefix %s is not among %v", c.code, ndd, c.trunk)
		}
	}
}

func TestCountryCodes(t *testing.T) {
	for cc := range phonenumbers.GetSupportedCallingCodes() {
		if got := countryCode(strconv.Itoa(cc) + "5551234567"); got != strconv.Itoa(cc) {
			t.Errorf("+%d: got %q", cc, got)
		}
	}
	for digits, want := range map[string]string{
		"": "", "2": "", "25": "", "252": "252", "2526": "252", "1": "1", "7": "7", "4": "", "44": "44", "21": "", "210": "",
		"88": "", "881": "881", "999": "", "0": "", "384": "", "2*5": "", "*": "", "44*": "",
	} {
		if got := countryCode(digits); got != want {
			t.Errorf("%q: got %q, want %q", digits, got, want)
		}
	}
}

func TestLabels(t *testing.T) {
	p := plan(t, Site{Country: "AU"})
	for number, want := range map[string]string{
		"+252615550148": "Somalia", "+61252615550": "Australia", "+12125551234": "United States", "+14165551234": "Canada",
		"+18765551234": "Jamaica", "+18005551234": "North American freephone", "+881612345678": "Iridium satellite",
		"+447624123456": "Isle of Man", "+77011234567": "Kazakhstan", "+74951234567": "Russia", "+59995551234": "Curaçao",
		"+9791234567": "International premium rate", "+3906698123": "Vatican City", "+999": "", "+": "", "123": "",
	} {
		if got := p.Label(number); got != want {
			t.Errorf("%s: got %q, want %q", number, got, want)
		}
	}
}

// TestHighRiskList holds the built-in list to its own rules.
func TestHighRiskList(t *testing.T) {
	for _, home := range Countries() {
		p := plan(t, Site{Country: home})
		seen := make(map[string]bool)
		var prefixes []string
		for _, one := range HighRisk(home) {
			if one.Reason == "" || one.Source == "" || (one.Class != ClassPremium && one.Class != ClassInternational) {
				t.Errorf("%s: %+v lacks something", home, one)
			}
			if strings.HasPrefix("+"+p.home.cc, one.Prefix) {
				t.Errorf("%s: %s blocks home", home, one.Prefix)
			}
			if countryCode(one.Prefix[1:]) == "" {
				t.Errorf("%s: %s has no country code", home, one.Prefix)
			}
			if seen[one.Prefix] && !strings.HasPrefix(one.Prefix, "+1") {
				t.Errorf("%s: %s twice", home, one.Prefix)
			}
			seen[one.Prefix] = true
			prefixes = append(prefixes, one.Prefix)
		}
		table, err := NewTable(prefixes)
		if err != nil {
			t.Fatal(err)
		}
		// What a plan calls premium stands on the list too, or its class would
		// promise a refusal that never comes.
		for _, head := range strings.Fields(p.home.premium.heads) {
			sample := strings.NewReplacer("N", "2", "X", "2").Replace(head)
			if _, ok := table.Lookup("+" + p.home.cc + sample + "00"); !ok {
				t.Errorf("%s: premium range %s is not on the list", home, head)
			}
		}
	}
	if HighRisk("XX") != nil {
		t.Error("a country without a plan has a list")
	}
	for _, prefix := range strings.Fields("+252 +53 +232 +224 +220 +371 +387 +960 +263 +243 +235 +239 +870 +881 +882 +883 +979 +247 +290 +675 +674 +688 +690") {
		if !slices.ContainsFunc(HighRisk("AU"), func(r Risk) bool { return r.Prefix == prefix }) {
			t.Errorf("%s is missing", prefix)
		}
	}
}

// TestWorkIsBounded reads strings that are made to branch. None may exceed the
// bounds, and each gives an answer.
func TestWorkIsBounded(t *testing.T) {
	p := plan(t, Site{Country: "US", AreaCode: "212", AccessDigits: []string{"1", "11", "0", "00", "9", "99", "8", "01"}, Extensions: 4})
	for _, s := range []string{
		strings.Repeat("1", 64), strings.Repeat("0", 64), strings.Repeat("01", 32), strings.Repeat("011", 21), strings.Repeat("+", 64),
		strings.Repeat("*", 64), strings.Repeat("*1", 32), strings.Repeat("*67", 21), strings.Repeat("1167", 16), strings.Repeat("+1", 32),
		strings.Repeat("101288", 10), strings.Repeat("9", 63) + "+", strings.Repeat("#1111111", 8), strings.Repeat("0+", 32), strings.Repeat("*2111", 12),
	} {
		target, err := Parse(s)
		if err != nil {
			t.Fatalf("parse %s: %v", s, err)
		}
		reading, err := p.Read(target, Far{National: true, E164: true, Extensions: true})
		if err == nil && len(reading.Candidates) > maxCandidates {
			t.Errorf("%s has %d candidates", s, len(reading.Candidates))
		}
	}
}
