package dialplan

import (
	"fmt"
	"strings"
)

// Site is what a plan needs to know of the place where numbers are dialled.
type Site struct {
	Country      string   // one of Countries
	AreaCode     string   // put before local numbers; may be empty
	AccessDigits []string // outside-line prefixes that may be left on
	Extensions   int      // digits of an internal number, 0 where there are none
}

// Plan reads dialled strings as they are meant at one site. It is immutable and
// safe for concurrent use.
type Plan struct {
	home       *country
	plus       string // the home country's code behind a plus
	area       string
	extensions int
	access     []strip
	codes      []strip
	opens      [256]bool // whether a code begins with that byte
	home00     []strip   // international prefixes of the home country, longest first
	any00      []strip   // those of elsewhere
	labels     labels
}

// NewPlan builds the plan of a site.
func NewPlan(site Site) (*Plan, error) {
	home := countryOf(site.Country)
	if home == nil {
		return nil, fmt.Errorf("build dial plan: no plan for country %q", site.Country)
	}
	p := &Plan{home: home, plus: "+" + home.cc, area: site.AreaCode, extensions: site.Extensions}
	for _, digits := range site.AccessDigits {
		if digits == "" || !allDigits(digits) {
			return nil, fmt.Errorf("build dial plan: access digits %q are no digits", digits)
		}
		p.access = append(p.access, strip{digits, len(digits), "outside line " + digits, true})
	}
	p.codes = append(p.codes, identityCodes...)
	p.codes = append(p.codes, home.strips...)
	for c := range p.opens {
		for _, one := range p.codes {
			p.opens[c] = p.opens[c] || beginsWith(string([]byte{byte(c)}), one.head[:1])
		}
	}
	p.home00 = internationalStrips(home.international, nil)
	p.any00 = internationalStrips(anyInternational, home.international)
	var err error
	p.labels, err = newLabels()
	return p, err
}

// internationalStrips returns prefixes that are not in known, longest first.
func internationalStrips(prefixes, known []string) []strip {
	var out []strip
	for length := MaxDigits; length > 0; length-- {
		for _, prefix := range prefixes {
			if len(prefix) == length && !contains(known, prefix) {
				out = append(out, strip{prefix, length, "international prefix " + prefix, false})
			}
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// classify sorts an E.164 number without its plus. Unknown are numbers that no
// network could connect: no such country code, too short, or not a number of
// the home country's plan. A foreign number that is too long is not unknown:
// switches drop the digits that they don't need.
func (p *Plan) classify(digits string) Class {
	cc := countryCode(digits)
	switch {
	case cc == "":
		return ClassUnknown
	case cc == p.home.cc:
		return p.classifyNational(digits[len(cc):])
	case len(digits) < shortestNumber:
		return ClassUnknown
	case cc == "1" && digits[1] < '2': // no area code begins with 0 or 1
		return ClassUnknown
	default:
		return ClassInternational
	}
}

// shortestNumber is the least that an international number has, country code
// included: Niue's, Saint Helena's and Tokelau's are that short.
const shortestNumber = 7

func (p *Plan) classifyNational(nsn string) Class {
	switch {
	case !p.national(nsn):
		return ClassUnknown
	case p.premium(nsn):
		return ClassPremium
	case p.home.abroad != nil && p.home.abroad(nsn):
		return ClassInternational
	default:
		return ClassNational
	}
}

// national reports whether nsn is a national significant number of the home
// country.
func (p *Plan) national(nsn string) bool {
	return holdsAny(p.home.national, nsn) || holdsAny(p.home.open, nsn)
}

func (p *Plan) premium(nsn string) bool { return p.home.premium.holds(nsn) }

// CountryCode returns the E.164 country code of the home country, without plus.
func (p *Plan) CountryCode() string { return p.home.cc }

// Label names the country or service of an E.164 number in English, for
// display; empty where nobody knows.
func (p *Plan) Label(number string) string { return p.labels.of(number) }

// Local returns how a number abroad would be dialled at home if its digits were a
// number of the home country, whose international prefix is a slip: "0252615550"
// for "+252615550" in Australia. It is empty where they are none.
func (p *Plan) Local(number string) string {
	digits := strings.TrimPrefix(number, "+")
	if digits == number || !holdsAny(p.home.national, digits) || p.premium(digits) || p.home.abroad != nil && p.home.abroad(digits) {
		return ""
	}
	if len(p.home.trunk) == 0 { // no prefix: the digits alone
		return digits
	}
	return p.home.trunk[0] + digits
}
