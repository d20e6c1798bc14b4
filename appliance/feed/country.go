package feed

import (
	"slices"
	"strings"
)

// checkCountries tells whether a format can do with countries.
func checkCountries(format Format, countries []string) error {
	if format != FormatRIR {
		if len(countries) > 0 {
			return invalid("countries", "a feed of format %s names no countries to choose from", format)
		}
		return nil
	}
	if len(countries) == 0 {
		return invalid("countries", "missing: say whose networks to take from a registry's statistics, like CN")
	}
	for i, code := range countries {
		if !isCountry(code) {
			return invalid("countries", "%s is no country; write two capital letters of ISO 3166-1, like GB", quote(code))
		}
		if slices.Contains(countries[:i], code) {
			return invalid("countries", "%s is given twice", code)
		}
	}
	return nil
}

func isCountry(code string) bool {
	return len(code) == 2 && slices.Contains(strings.Fields(countryCodes), code)
}

// noCountry are the codes at the end of countryCodes.
var noCountry = []string{"AP", "EU"}

// countryCodes are the officially assigned codes of ISO 3166-1 alpha-2, and at
// the end the two that registries use for what belongs to no one country.
const countryCodes = `
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY
MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM
PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ
UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
AP EU
`
