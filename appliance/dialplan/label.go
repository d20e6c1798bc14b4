package dialplan

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// labels names the countries of E.164 numbers for display. Which region a
// country code belongs to comes from libphonenumber's metadata, the region's
// English name from CLDR. Both are asked when a plan is built, so that a call
// costs one table lookup and no parsing. They never decide.
type labels struct {
	table Table
	names []string
}

// services are the networks that no country owns (ITU-T E.164, assigned country
// codes for global services and shared codes).
var services = [][2]string{
	{"+800", "International freephone"},
	{"+808", "International shared cost"},
	{"+870", "Inmarsat satellite"},
	{"+878", "Universal personal telecommunications"},
	{"+881", "Global satellite networks"},
	{"+8816", "Iridium satellite"},
	{"+8818", "Globalstar satellite"},
	{"+882", "International networks"},
	{"+88216", "Thuraya satellite"},
	{"+883", "International networks"},
	{"+888", "Disaster relief"},
	{"+979", "International premium rate"},
	{"+991", "International public correspondence trial"},
}

// parts are regions inside another region's country code. The area codes of the
// NANP's islands are those of NANPA's report on countries and territories.
var parts = [][2]string{
	{"+1242", "BS"}, {"+1246", "BB"}, {"+1264", "AI"}, {"+1268", "AG"}, {"+1284", "VG"}, {"+1340", "VI"},
	{"+1345", "KY"}, {"+1441", "BM"}, {"+1473", "GD"}, {"+1649", "TC"}, {"+1658", "JM"}, {"+1664", "MS"},
	{"+1670", "MP"}, {"+1671", "GU"}, {"+1684", "AS"}, {"+1721", "SX"}, {"+1758", "LC"}, {"+1767", "DM"},
	{"+1784", "VC"}, {"+1787", "PR"}, {"+1809", "DO"}, {"+1829", "DO"}, {"+1849", "DO"}, {"+1868", "TT"},
	{"+1869", "KN"}, {"+1876", "JM"}, {"+1939", "PR"},
	{"+76", "KZ"}, {"+77", "KZ"}, {"+3906698", "VA"}, {"+35818", "AX"},
	{"+262269", "YT"}, {"+262639", "YT"}, {"+5999", "CW"}, {"+5993", "BQ"}, {"+5994", "BQ"}, {"+5997", "BQ"},
	{"+441481", "GG"}, {"+441534", "JE"}, {"+441624", "IM"}, {"+447624", "IM"},
}

func newLabels() (labels, error) {
	var l labels
	var prefixes []string
	add := func(prefix, name string) {
		prefixes = append(prefixes, prefix)
		l.names = append(l.names, name)
	}
	for _, one := range services {
		add(one[0], one[1])
	}
	english := display.Regions(language.English)
	for _, one := range parts {
		add(one[0], english.Name(language.MustParseRegion(one[1])))
	}
	for npa := range strings.FieldsSeq(canadian) {
		add("+1"+npa, english.Name(language.MustParseRegion("CA")))
	}
	for npa := range strings.FieldsSeq(tollFree) {
		add("+1"+npa, "North American freephone")
	}
	for _, cc := range allCountryCodes() {
		if name := regionName(english, cc); name != "" {
			add("+"+cc, name)
		}
	}
	var err error
	l.table, err = NewTable(prefixes)
	return l, err
}

func allCountryCodes() []string {
	var out []string
	for _, codes := range countryCodes {
		out = append(out, codes...)
	}
	slices.Sort(out)
	return out
}

// regionName returns the English name of a country code's main region, or ""
// where libphonenumber knows none.
func regionName(english display.Namer, cc string) string {
	number, err := strconv.Atoi(cc)
	if err != nil {
		return ""
	}
	region, err := language.ParseRegion(phonenumbers.GetRegionCodeForCountryCode(number))
	if err != nil || !region.IsCountry() {
		return ""
	}
	return english.Name(region)
}

// of returns the name for a number with its plus, or "".
func (l *labels) of(number string) string {
	if i, ok := l.table.Lookup(number); ok {
		return l.names[i]
	}
	return ""
}
