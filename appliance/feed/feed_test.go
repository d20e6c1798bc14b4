package feed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// render writes ranges as first-last, or as one address where they are one.
func render(l List) string {
	var out []string
	add := func(first, last netip.Addr) {
		if text := first.String(); first == last {
			out = append(out, text)
		} else {
			out = append(out, text+"-"+last.String())
		}
	}
	for _, r := range l.V4 {
		add(addr4(r.First), addr4(r.Last))
	}
	for _, r := range l.V6 {
		add(addr6(r.First), addr6(r.Last))
	}
	return strings.Join(out, " ")
}

func addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, a)))
}

func addr6(a Address6) netip.Addr {
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, a.High), a.Low)))
}

const registryHeader = "2.3|apnic|20260101|7|19830613|20251231|+1000\n"

// registryRecords are seven records, of which AU has four networks.
const registryRecords = `apnic|AU|asn|64496|1|20020801|allocated|A1
apnic|AU|ipv4|203.0.113.0|256|20110811|assigned|A1
apnic|AU|ipv4|198.51.100.0|768|20110811|allocated|A1|e-stats
apnic||ipv4|192.0.2.0|256||available|
apnic|NZ|ipv4|192.0.2.128|128|20110811|allocated|A2
apnic|AU|ipv6|2001:db8::|33|20110811|allocated|A1
apnic|AU|ipv6|2001:db8:8000::|33|20110811|assigned|A3
`

const registrySummaries = "apnic|*|asn|*|1|summary\napnic|*|ipv4|*|4|summary\napnic|*|ipv6|*|2|summary\n"

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		format    Format
		data      string
		countries string
		want      string
		entries   int
	}{
		"cidr": {format: FormatCIDR, entries: 7, want: "1.2.3.4 192.0.2.0-192.0.2.255 198.51.100.7-198.51.100.99 203.0.113.0-203.0.113.9 2001:db8::-2001:db8::ffff:ffff:ffff:ffff 2001:db8:1::1 2001:db8:2::5-2001:db8:2::9",
			data: "# a list\n; of two\n\n203.0.113.0 - 203.0.113.9\n1.2.3.4 # one\n192.0.2.0/24;two\n198.51.100.7-198.51.100.99\t\n2001:db8::/64\n  2001:DB8:1:0::1\n2001:db8:2::5-2001:db8:2::9"},
		"cidr, of Windows":           {format: FormatCIDR, data: "\ufeff192.0.2.1\r\n\r\n192.0.2.3\r\n", want: "192.0.2.1 192.0.2.3", entries: 2},
		"cidr, merged":               {format: FormatCIDR, data: "192.0.2.128/25\n192.0.2.0/25\n192.0.2.7\n192.0.2.7\n192.0.3.0/24\n", want: "192.0.2.0-192.0.3.255", entries: 5},
		"cidr, merged v6":            {format: FormatCIDR, data: "2001:db8:0:1::/64\n2001:db8::/64\n2001:db8::1\n", want: "2001:db8::-2001:db8:0:1:ffff:ffff:ffff:ffff", entries: 3},
		"cidr, at the bound":         {format: FormatCIDR, data: "8.0.0.0/8\n2002::/16\n9.0.0.0-9.255.255.255\n", want: "8.0.0.0-9.255.255.255 2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", entries: 3},
		"cidr, comment in Latin-1":   {format: FormatCIDR, data: "192.0.2.1 # caf\xe9\n", want: "192.0.2.1", entries: 1},
		"cidr, bogons and the rest":  {format: FormatCIDR, data: "0.0.0.0/8\n10.0.0.0/8\n127.0.0.0/8\n192.0.2.0/24\n224.0.0.0/3\n224.0.0.0/4\n240.0.0.0/4\nfc00::/7\nff00::/8\n::1\n", want: "192.0.2.0-192.0.2.255", entries: 10},
		"cidr, around local space":   {format: FormatCIDR, data: "172.0.0.0/8\n192.168.255.255-192.169.0.1\nfe7f:ffff::-fe80::5\nfe80::1\n", want: "172.0.0.0-172.15.255.255 172.32.0.0-172.255.255.255 192.169.0.0-192.169.0.1 fe7f:ffff::-fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", entries: 4},
		"apiban":                     {format: FormatAPIBAN, data: `{"ipaddress":["1.2.3.4","1.2.3.5","2001:db8::1"],"ID":"1624000001"}`, want: "1.2.3.4-1.2.3.5 2001:db8::1", entries: 3},
		"apiban, pages to the end":   {format: FormatAPIBAN, data: "{\"ID\":\"1\",\"set\":{\"a\":[1,true,{}]},\n\"ipaddress\":[\"1.2.3.4\"]}\n{\"ipaddress\":[\"192.0.2.1\"],\"ID\":\"2\"}{\"ipaddress\":[\"no new bans\"], \"ID\":\"none\"}\n", want: "1.2.3.4 192.0.2.1", entries: 2},
		"drop, text":                 {format: FormatDROP, data: "; Spamhaus DROP List 2026/01/01\n192.0.2.0/24 ; SBL1\n198.51.100.0/25 ; SBL2\n2001:db8::/48 ; SBL3\n; EOF\n", want: "192.0.2.0-192.0.2.255 198.51.100.0-198.51.100.127 2001:db8::-2001:db8:0:ffff:ffff:ffff:ffff:ffff", entries: 3},
		"drop, JSON":                 {format: FormatDROP, data: "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\",\"rir\":\"arin\"}\n\n{\"cidr\": \"2001:db8::/48\"}\r\n{\"type\":\"metadata\",\"timestamp\":1767225600,\"size\":9,\"records\":2,\"terms\":\"\"}\n", want: "192.0.2.0-192.0.2.255 2001:db8::-2001:db8:0:ffff:ffff:ffff:ffff:ffff", entries: 2},
		"drop, JSON without a count": {format: FormatDROP, data: "{\"cidr\":\"192.0.2.0/24\"}\n{\"type\":\"metadata\"}", want: "192.0.2.0-192.0.2.255", entries: 1},
		"drop, JSON alone":           {format: FormatDROP, data: "{\"cidr\":\"192.0.2.0/24\"}", want: "192.0.2.0-192.0.2.255", entries: 1},
		"rir": {format: FormatRIR, countries: "AU", data: "# comment\n" + registryHeader + registrySummaries + registryRecords, entries: 4,
			want: "198.51.100.0-198.51.102.255 203.0.113.0-203.0.113.255 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		"rir, two countries":     {format: FormatRIR, countries: "NZ FJ", data: registryHeader + registryRecords, want: "192.0.2.128-192.0.2.255", entries: 1},
		"rir, to the end of /0":  {format: FormatRIR, countries: "AP", data: "2|iana|1|1|1|1|+0000\niana|AP|ipv4|223.255.255.0|256|1|allocated\n", want: "223.255.255.0-223.255.255.255", entries: 1},
		"rir, wider than others": {format: FormatRIR, countries: "US", data: "2|arin|1|2|1|1|+0000\narin|US|ipv6|2600::|12|1|allocated\narin|US|ipv4|8.0.0.0|16777216|1|allocated\n", want: "8.0.0.0-8.255.255.255 2600::-260f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", entries: 2},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := Parse(test.format, []byte(test.data), strings.Fields(test.countries))
			if err != nil {
				t.Fatal(err)
			}
			if got := render(list); got != test.want || list.Entries != test.entries {
				t.Errorf("got %s of %d entries\nwant %s of %d", got, list.Entries, test.want, test.entries)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const one = "192.0.2.1\n"
	registry := registryHeader + registrySummaries + registryRecords
	for name, test := range map[string]struct {
		format    Format
		data      string
		countries string
		want      string
	}{
		"no address":              {FormatCIDR, one + "\n# c\n1.2.3.400\n", "", `feed: line 4: "1.2.3.400": not a network`},
		"prefix too long":         {FormatCIDR, strings.Repeat("\n", 16) + "1.2.3.4/40 # x", "", `feed: line 17: "1.2.3.4/40": not a network`},
		"prefix missing":          {FormatCIDR, "1.2.3.0/", "", `feed: line 1: "1.2.3.0/": not a network`},
		"prefix signed":           {FormatCIDR, "1.2.3.0/+24", "", `feed: line 1: "1.2.3.0/+24": not a network`},
		"prefix with zeros":       {FormatCIDR, "1.2.3.0/024", "", `feed: line 1: "1.2.3.0/024": not a network`},
		"netmask":                 {FormatCIDR, "1.2.3.0/255.255.255.0", "", `feed: line 1: "1.2.3.0/255.255.255.0": not a network`},
		"zeros in front":          {FormatCIDR, one + "1.2.03.4", "", `feed: line 2: "1.2.03.4": not a network`},
		"five octets":             {FormatCIDR, "1.2.3.4.5", "", `feed: line 1: "1.2.3.4.5": not a network`},
		"three octets":            {FormatCIDR, "1.2.3", "", `feed: line 1: "1.2.3": not a network`},
		"dots":                    {FormatCIDR, "1..2.3", "", `feed: line 1: "1..2.3": not a network`},
		"a word beside it":        {FormatCIDR, "1.2.3.4 evil", "", `feed: line 1: "1.2.3.4 evil": not a network`},
		"two on a line":           {FormatCIDR, "1.2.3.4, 1.2.3.5", "", `feed: line 1: "1.2.3.4, 1.2.3.5": not a network`},
		"a web page":              {FormatCIDR, "<!DOCTYPE html>\n<html>", "", `feed: line 1: "<!DOCTYPE html>": not a network`},
		"a long line":             {FormatCIDR, strings.Repeat("é", 99), "", `feed: line 1: "` + strings.Repeat(`\u00e9`, 32) + `...": not a network`},
		"zone":                    {FormatCIDR, "fe80::1%eth0", "", `feed: line 1: "fe80::1%eth0": not a network`},
		"v6 prefix too long":      {FormatCIDR, "2001:db8::/129", "", `feed: line 1: "2001:db8::/129": not a network`},
		"host bits":               {FormatCIDR, one + "1.2.3.4/24", "", `feed: line 2: "1.2.3.4/24": has bits set after /24; write 1.2.3.0/24`},
		"host bits of v6":         {FormatCIDR, "2001:db8::1/64", "", `feed: line 1: "2001:db8::1/64": has bits set after /64; write 2001:db8::/64`},
		"mapped":                  {FormatCIDR, "::ffff:1.2.3.4", "", `feed: line 1: "::ffff:1.2.3.4": an IPv4 network in IPv6 clothes; write it as IPv4`},
		"mapped network":          {FormatCIDR, "::ffff:1.2.3.0/120", "", `feed: line 1: "::ffff:1.2.3.0/120": an IPv4 network in IPv6 clothes; write it as IPv4`},
		"backwards":               {FormatCIDR, "1.2.3.4-1.2.3.3", "", `feed: line 1: "1.2.3.4-1.2.3.3": a range that ends before it begins`},
		"backwards, v6":           {FormatCIDR, "2001:db8::2-2001:db8::1", "", `feed: line 1: "2001:db8::2-2001:db8::1": a range that ends before it begins`},
		"range of two families":   {FormatCIDR, "1.2.3.4-2001:db8::", "", `feed: line 1: "1.2.3.4-2001:db8::": not a network`},
		"range of networks":       {FormatCIDR, "1.2.3.4/32-1.2.3.5", "", `feed: line 1: "1.2.3.4/32-1.2.3.5": not a network`},
		"half a range":            {FormatCIDR, "1.2.3.4-", "", `feed: line 1: "1.2.3.4-": not a network`},
		"three of a range":        {FormatCIDR, "1.2.3.4-1.2.3.5-1.2.3.6", "", `feed: line 1: "1.2.3.4-1.2.3.5-1.2.3.6": not a network`},
		"default route":           {FormatCIDR, one + "0.0.0.0/0", "", `feed: line 2: "0.0.0.0/0": wider than /8; a list that holds so much is taken for a damaged one`},
		"wide":                    {FormatCIDR, "8.0.0.0/7", "", `feed: line 1: "8.0.0.0/7": wider than /8; a list that holds so much is taken for a damaged one`},
		"wide range":              {FormatCIDR, "8.0.0.0-9.0.0.0", "", `feed: line 1: "8.0.0.0-9.0.0.0": wider than /8; a list that holds so much is taken for a damaged one`},
		"wide, half of it local":  {FormatCIDR, "192.0.0.0/2", "", `feed: line 1: "192.0.0.0/2": wider than /8; a list that holds so much is taken for a damaged one`},
		"default route of v6":     {FormatCIDR, "::/0", "", `feed: line 1: "::/0": wider than /16; a list that holds so much is taken for a damaged one`},
		"wide v6":                 {FormatCIDR, "2000::/15", "", `feed: line 1: "2000::/15": wider than /16; a list that holds so much is taken for a damaged one`},
		"wide range of v6":        {FormatCIDR, "2000::-2001::", "", `feed: line 1: "2000::-2001::": wider than /16; a list that holds so much is taken for a damaged one`},
		"NUL":                     {FormatCIDR, one + "# a\x00b\n", "", `feed: line 2: "# a\x00b": not text`},
		"gzip":                    {FormatCIDR, "\x1f\x8b\x08\x00", "", `feed: line 1: "\x1f\x8b\b\x00": not text`},
		"empty":                   {FormatCIDR, "", "", "feed: is empty; a feed without entries is taken for a damaged one"},
		"comments only":           {FormatCIDR, "# nothing today\n", "", "feed: is empty; a feed without entries is taken for a damaged one"},
		"local only":              {FormatCIDR, "10.0.0.0/8\nfe80::/10\n", "", "feed: holds local addresses only, which no feed can deny"},
		"countries of a list":     {FormatCIDR, one, "AU", "countries: a feed of format cidr names no countries to choose from"},
		"no such format":          {"csv", one, "", `format: "csv" is no format of feeds`},
		"apiban, bad address":     {FormatAPIBAN, "{\"ipaddress\":[\"1.2.3.4\",\n\"1.2.3\"],\"ID\":\"1\"}", "", `feed: line 2: "1.2.3": not a network`},
		"apiban, range":           {FormatAPIBAN, `{"ipaddress":["1.2.3.4-1.2.3.5"],"ID":"1"}`, "", `feed: line 1: "1.2.3.4-1.2.3.5": not a network`},
		"apiban, wide":            {FormatAPIBAN, `{"ipaddress":["0.0.0.0/0"],"ID":"1"}`, "", `feed: line 1: "0.0.0.0/0": wider than /8; a list that holds so much is taken for a damaged one`},
		"apiban, empty":           {FormatAPIBAN, " \n", "", "feed: is empty; a feed without entries is taken for a damaged one"},
		"apiban, no bans":         {FormatAPIBAN, `{"ipaddress":["no new bans"],"ID":"none"}`, "", "feed: is empty; a feed without entries is taken for a damaged one"},
		"apiban, refused":         {FormatAPIBAN, `{"ipaddress":"rate limit exceeded", "ID":"unauthorized"}`, "", `feed: line 1: the service sent no list, but says "rate limit exceeded"`},
		"apiban, cut off":         {FormatAPIBAN, "{\"ipaddress\":[\"1.2.3.4\",\n\"1.2.3.5", "", `feed: line 2: "\"1.2.3.5": the JSON is cut off`},
		"apiban, cut off later":   {FormatAPIBAN, `{"ipaddress":["1.2.3.4"]`, "", `feed: line 1: "{\"ipaddress\":[\"1.2.3.4\"]": the JSON is cut off`},
		"apiban, no JSON":         {FormatAPIBAN, "Bad Gateway", "", `feed: line 1: "Bad Gateway": not the JSON that this format has`},
		"apiban, comma":           {FormatAPIBAN, `{"ipaddress":["1.2.3.4",],"ID":"1"}`, "", `feed: line 1: "{\"ipaddress\":[\"1.2.3.4\",],\"ID\":\"1\"}": not the JSON that this format has`},
		"apiban, no ID":           {FormatAPIBAN, `{"ipaddress":["1.2.3.4"]}`, "", `feed: line 1: "{\"ipaddress\":[\"1.2.3.4\"]}": want one "ipaddress" and one "ID"`},
		"apiban, two IDs":         {FormatAPIBAN, `{"ID":"1","ID":"2"}`, "", `feed: line 1: "{\"ID\":\"1\",\"ID\":\"2\"}": want one "ipaddress" and one "ID"`},
		"apiban, odd ID":          {FormatAPIBAN, `{"ipaddress":["1.2.3.4"],"ID":"../x"}`, "", `feed: line 1: "../x": not an ID of APIBAN`},
		"apiban, more after none": {FormatAPIBAN, "{\"ipaddress\":[\"no new bans\"],\"ID\":\"none\"}\n{}", "", `feed: line 2: "{}": more follows the page that ends the list`},
		"apiban, none with bans":  {FormatAPIBAN, `{"ipaddress":["1.2.3.4"],"ID":"none"}`, "", `feed: line 1: "{\"ipaddress\":[\"1.2.3.4\"],\"ID\":\"none\"}": "no new bans" and the ID "none" go together`},
		"apiban, bans with none":  {FormatAPIBAN, `{"ipaddress":["no new bans","1.2.3.4"],"ID":"none"}`, "", `feed: line 1: "1.2.3.4": an address after no new bans`},
		"drop, bad text":          {FormatDROP, "192.0.2.0/24 ; SBL1\n192.0.2.1/24 ; SBL2\n", "", `feed: line 2: "192.0.2.1/24": has bits set after /24; write 192.0.2.0/24`},
		"drop, range":             {FormatDROP, "192.0.2.0-192.0.2.1 ; SBL1\n", "", `feed: line 1: "192.0.2.0-192.0.2.1": not a network`},
		"drop, bad network":       {FormatDROP, "{\"cidr\":\"192.0.2.0/24\"}\n{\"cidr\":\"192.0.2.0/33\"}\n", "", `feed: line 2: "192.0.2.0/33": not a network`},
		"drop, wide":              {FormatDROP, "{\"cidr\":\"0.0.0.0/0\"}\n", "", `feed: line 1: "0.0.0.0/0": wider than /8; a list that holds so much is taken for a damaged one`},
		"drop, some missing":      {FormatDROP, "{\"cidr\":\"192.0.2.0/24\"}\n{\"type\":\"metadata\",\"records\":2}\n", "", `feed: line 2: "{\"type\":\"metadata\",\"records\":2}": the metadata count "2" records, but there are 1; some are missing`},
		"drop, cut off":           {FormatDROP, "{\"cidr\":\"192.0.2.0/24\"}\n{\"cidr\":\"198.51", "", `feed: line 2: "{\"cidr\":\"198.51": the JSON is cut off`},
		"drop, more":              {FormatDROP, "{\"cidr\":\"192.0.2.0/24\"}\n{\"type\":\"metadata\",\"records\":1}\n{\"cidr\":\"192.0.2.0/24\"}\n", "", `feed: line 3: "{\"cidr\":\"192.0.2.0/24\"}": more follows the metadata, which end the list`},
		"drop, of systems":        {FormatDROP, "{\"asn\":64496,\"rir\":\"arin\"}\n", "", `feed: line 1: "{\"asn\":64496,\"rir\":\"arin\"}": want one "cidr", or metadata`},
		"drop, two in one":        {FormatDROP, "{\"cidr\":\"192.0.2.0/24\",\"cidr\":\"192.0.2.0/25\"}", "", `feed: line 1: "{\"cidr\":\"192.0.2.0/24\",\"cidr\":\"192.0.2.0/25\"}": want one "cidr", or metadata`},
		"drop, two on a line":     {FormatDROP, "{\"cidr\":\"192.0.2.0/24\"} {}", "", `feed: line 1: "{\"cidr\":\"192.0.2.0/24\"} {}": not the JSON that this format has`},
		"drop, deep":              {FormatDROP, `{"x":` + strings.Repeat("[", 99), "", `feed: line 1: "{\"x\":` + strings.Repeat("[", 59) + `...": not the JSON that this format has`},
		"drop, metadata only":     {FormatDROP, "{\"type\":\"metadata\",\"records\":0}", "", "feed: is empty; a feed without entries is taken for a damaged one"},
		"rir, no countries":       {FormatRIR, registry, "", "countries: missing: say whose networks to take from a registry's statistics, like CN"},
		"rir, small letters":      {FormatRIR, registry, "au", `countries: "au" is no country; write two capital letters of ISO 3166-1, like GB`},
		"rir, no country":         {FormatRIR, registry, "AU UK", `countries: "UK" is no country; write two capital letters of ISO 3166-1, like GB`},
		"rir, twice":              {FormatRIR, registry, "AU NZ AU", "countries: AU is given twice"},
		"rir, empty":              {FormatRIR, "#\n", "AU", "feed: is empty; a feed without entries is taken for a damaged one"},
		"rir, no header":          {FormatRIR, registryRecords, "AU", `feed: line 1: "apnic|AU|asn|64496|1|20020801|allocated|A1": not the header of registry statistics, version 2`},
		"rir, old header":         {FormatRIR, "1" + registry[3:], "AU", `feed: line 1: "1|apnic|20260101|7|19830613|20251231|+1000": not the header of registry statistics, version 2`},
		"rir, not theirs":         {FormatRIR, registry, "FR", "feed: holds no network of FR among 7 records"},
		"rir, cut off": {FormatRIR, registry[:strings.LastIndex(registry, "apnic|AU|ipv6")], "AU",
			"feed: line 4: says 2 ipv6 records, but there are 1; the feed is damaged or cut off"},
		"rir, cut off, no summaries": {FormatRIR, registryHeader + registryRecords[:strings.LastIndex(registryRecords, "apnic")], "AU",
			"feed: line 1: says 7 records, but there are 6; the feed is damaged or cut off"},
		"rir, cut off in a record": {FormatRIR, strings.TrimSuffix(registry, "20110811|assigned|A3\n"), "AU", `feed: line 11: "apnic|AU|ipv6|2001:db8:8000::|33|": not a record of registry statistics`},
		"rir, second summary":      {FormatRIR, registryHeader + registrySummaries + registrySummaries, "AU", `feed: line 5: "apnic|*|asn|*|1|summary": a second summary of the same`},
		"rir, odd summary":         {FormatRIR, registryHeader + "apnic|*|ipv5|*|1|summary\n", "AU", `feed: line 2: "apnic|*|ipv5|*|1|summary": not a summary of asn, ipv4 or ipv6`},
		"rir, odd type":            {FormatRIR, registryHeader + "apnic|AU|ipv5|1|1|1|allocated\n", "AU", `feed: line 2: "apnic|AU|ipv5|1|1|1|allocated": not a record of registry statistics`},
		"rir, odd country":         {FormatRIR, registryHeader + "apnic|au|asn|1|1|1|allocated\n", "AU", `feed: line 2: "apnic|au|asn|1|1|1|allocated": not a record of registry statistics`},
		"rir, no addresses":        {FormatRIR, registryHeader + "apnic|AU|ipv4|1.2.3.0|0|1|allocated\n", "AU", `feed: line 2: "apnic|AU|ipv4|1.2.3.0|0|1|allocated": not a record of registry statistics`},
		"rir, beyond the end":      {FormatRIR, registryHeader + "apnic|NZ|ipv4|255.255.255.0|257|1|allocated\n", "AU", `feed: line 2: "apnic|NZ|ipv4|255.255.255.0|257|1|allocated": not a record of registry statistics`},
		"rir, wide":                {FormatRIR, registryHeader + "apnic|AU|ipv4|8.0.0.0|16777217|1|allocated\n", "AU", `feed: line 2: "apnic|AU|ipv4|8.0.0.0|16777217|1|allocated": wider than /8; a list that holds so much is taken for a damaged one`},
		"rir, wide v6":             {FormatRIR, registryHeader + "apnic|AU|ipv6|2000::|11|1|allocated\n", "AU", `feed: line 2: "apnic|AU|ipv6|2000::|11|1|allocated": wider than /12, which is all that a registry has to give`},
		"rir, host bits":           {FormatRIR, registryHeader + "apnic|AU|ipv6|2001:db8::|20|1|allocated\n", "AU", `feed: line 2: "apnic|AU|ipv6|2001:db8::|20|1|allocated": has bits set after /20; write 2001::/20`},
		"rir, bad v6":              {FormatRIR, registryHeader + "apnic|AU|ipv6|2001:db8|32|1|allocated\n", "AU", `feed: line 2: "apnic|AU|ipv6|2001:db8|32|1|allocated": not a network`},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := Parse(test.format, []byte(test.data), strings.Fields(test.countries))
			var mistake *appliance.Error
			if !errors.As(err, &mistake) || mistake.Code != appliance.CodeInvalid || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if list.V4 != nil || list.V6 != nil || list.Entries != 0 {
				t.Errorf("a refused feed gave %s", render(list))
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	line := []byte("192.0.2.1\n")
	list, err := Parse(FormatCIDR, bytes.Repeat(line, MaxEntries), nil)
	if err != nil || list.Entries != MaxEntries || render(list) != "192.0.2.1" {
		t.Errorf("%d entries: got %d in %s, %v", MaxEntries, list.Entries, render(list), err)
	}
	if cap(list.V4) > 8 {
		t.Errorf("one range keeps the room of %d", cap(list.V4))
	}
	_, err = Parse(FormatCIDR, bytes.Repeat(line, MaxEntries+2), nil)
	if want := fmt.Sprintf("feed: has %d entries; at most %d are read", MaxEntries+2, MaxEntries); err == nil || err.Error() != want {
		t.Errorf("too many entries: got %v, want %s", err, want)
	}
	large := bytes.Repeat([]byte{'\n'}, MaxSize+1)
	copy(large, line)
	if _, err = Parse(FormatCIDR, large[:MaxSize], nil); err != nil {
		t.Errorf("%d bytes: %v", MaxSize, err)
	}
	_, err = Parse(FormatCIDR, large, nil)
	if want := fmt.Sprintf("feed: has %d bytes; at most %d are read", MaxSize+1, MaxSize); err == nil || err.Error() != want {
		t.Errorf("too large: got %v, want %s", err, want)
	}
}

func TestNextID(t *testing.T) {
	const first, second, end = `{"ipaddress":["192.0.2.1"],"ID":"17"}`, `{"ipaddress":["192.0.2.2"],"ID":"18"}`, `{"ipaddress":["no new bans"],"ID":"none"}`
	for data, want := range map[string]string{first: "17", "\ufeff" + first + "\n" + second: "18", first + end: "", end: "", "": ""} {
		if id, err := NextID([]byte(data)); err != nil || id != want {
			t.Errorf("%s: got %q, %v, want %q", data, id, err, want)
		}
	}
	for _, data := range []string{first[:20], `{"ipaddress":"none", "ID":"unauthorized"}`, `{"ipaddress":["x"],"ID":"17"}`, `{"ipaddress":[],"ID":"1/2"}`, first + "\x00"} {
		if id, err := NextID([]byte(data)); appliance.CodeOf(err) != appliance.CodeInvalid {
			t.Errorf("%s: got %q, %v", data, id, err)
		}
	}
}

func TestCountryCodes(t *testing.T) {
	codes := strings.Fields(countryCodes)
	seen := map[string]bool{}
	for i, code := range codes {
		if len(code) != 2 || strings.ToUpper(code) != code || seen[code] || i > 0 && i < len(codes)-2 && code < codes[i-1] {
			t.Errorf("%q is out of place", code)
		}
		seen[code] = true
	}
	if len(codes) != 249+2 { // ISO 3166-1 has had 249 since 2011
		t.Errorf("%d codes", len(codes))
	}
}
