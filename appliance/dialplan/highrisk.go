package dialplan

import (
	"slices"
	"strconv"
	"strings"
)

// Risk is one entry of the built-in list: where fraud goes.
type Risk struct {
	Prefix string // E.164, with its plus
	Reason string // for a person
	Source string // what the entry rests on
	Class  Class  // ClassPremium or ClassInternational
}

// The public sources of the list. None of them is a measure of today's traffic:
// operators' own lists are secret and change daily, and "low-risk" countries
// are abused too. The list names where a small business hardly ever calls and
// fraud often goes.
const (
	byITU      = "ITU-T E.164, assigned country codes: no country's network, priced by its operator"
	byNamibia  = "Telecom Namibia, routes closed after PABX fraud, February 2017 (Xinhua)"
	byIntegra  = "Integra/Electric Lightwave, countries blocked by default for toll fraud"
	byQuickHea = "Quick Heal, prefixes of one-ring fraud"
	byCox      = "Cox Communications, countries blocked by default for traffic pumping (TransNexus, 2014)"
	byCommsrsk = "Commsrisk, destinations that long topped lists of revenue-share fraud"
	byWangiri  = "Commsrisk, round-up of one-ring warnings (Telefonino)"
	byTelcheck = "telcheck.fr, country codes most abused for one-ring fraud"
	byINACOM   = "INACOM (Angola), warning of one-ring calls, June 2020"
	byMyNews   = "MyNewsGh and TechWelkin, country codes of one-ring calls"
	byComReg   = "ComReg (Ireland), direct dialling blocked from October 2004 (RNZ, NZ Herald)"
	bySriLanka = "Sri Lanka Telecom, direct dialling blocked in November 2005 (RNZ)"
	byFTC      = "FCC and FTC, advice on one-ring calls from area codes that look domestic"
	byNANPA    = "NANPA, area codes outside of the United States and Canada"
	byNANPASvc = "NANPA, area codes for services"
	byOfcom    = "Ofcom, National Telephone Numbering Plan"
	byACMA     = "ACMA, Telecommunications Numbering Plan"
	byNAD      = "Numbering Administration Deed, New Zealand"
	byBNetzA   = "BNetzA, number ranges for premium services"
	byCNMC     = "Orden de tarificación adicional, Spain: 80Y and 905"
	byARCEP    = "ARCEP, numbers for value-added services (SVA)"
	byUse      = "this project's judgement: dear and seldom called by businesses; no public list found that names it"
)

// HighRisk returns the built-in list as it applies to a home country: without
// the home country and those closest to it, and with those North American area codes
// that only look domestic from there.
func HighRisk(home string) []Risk {
	c := countryOf(home)
	if c == nil {
		return nil
	}
	var out []Risk
	keep := func(list []Risk, class Class) {
		for _, one := range list {
			if strings.HasPrefix("+"+c.cc, one.Prefix) || slices.Contains(strings.Fields(c.neighbours), one.Prefix) {
				continue
			}
			one.Class = class
			out = append(out, one)
		}
	}
	keep(premiumRanges, ClassPremium)
	keep(pagers, ClassPremium)
	keep(globalServices, ClassInternational)
	keep(named(fraudCountries), ClassInternational)
	keep(fraudAreas, ClassInternational)
	if c.cc == "1" {
		keep(prefixed("+1", overseas, "an island's area code that looks domestic and is charged as international", byNANPA), ClassInternational)
		keep(prefixed("+1", nonGeographic, "an area code for services, charged by whoever runs them", byNANPASvc), ClassPremium)
	}
	if home == "CA" {
		keep(prefixed("+1", territories, "a territory's area code that looks domestic and is charged as international", byNANPA), ClassInternational)
	}
	return append(out, exchanges976()...)
}

// named adds to each country why it is on the list.
func named(countries []Risk) []Risk {
	out := slices.Clone(countries)
	for i := range out {
		if out[i].Source == byUse {
			out[i].Reason += ": dear, and seldom called by businesses"
		} else {
			out[i].Reason += ": named in public warnings of phone fraud"
		}
	}
	return out
}

// territories are rated as domestic from the United States only.
const territories = "340 670 671 684 787 939"

// nonGeographic are area codes of the NANP that lead to no place: personal
// numbers (5XX), inbound international (456), carriers' own services (700),
// federal government (710) and Canada's 600 and 622.
const nonGeographic = "456 500 521 522 523 524 525 526 527 528 529 532 533 535 538 542 543 544 545 546 547 549 " +
	"550 552 553 554 556 558 566 569 577 578 588 589 600 622 700 710"

// prefixed returns one entry for each of heads, which are separated by spaces.
func prefixed(prefix, heads, reason, source string) []Risk {
	var out []Risk
	for head := range strings.FieldsSeq(heads) {
		out = append(out, Risk{Prefix: prefix + head, Reason: reason, Source: source})
	}
	return out
}

// exchanges976 are the pay-per-call exchanges, one in each area code that there
// can be.
func exchanges976() []Risk {
	var out []Risk
	for npa := 200; npa <= 999; npa++ {
		exchange := strconv.Itoa(npa) + "976"
		if !holdsAny(northAmerican, exchange+"0000") {
			continue
		}
		out = append(out, Risk{
			Prefix: "+1" + exchange, Class: ClassPremium,
			Reason: "pay-per-call exchange 976", Source: byNANPASvc,
		})
	}
	return out
}
