package feed

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

const atlasOfSix = "2|ripencc|1764200000|6|19830613|20251231|+0100\n" + `ripencc|RO|ipv4|192.0.2.0|128|20110811|allocated
ripencc|DE|ipv4|192.0.2.128|64|20110811|assigned
ripencc|EU|ipv4|198.51.100.0|256|20110811|allocated
ripencc|FR|ipv4|203.0.113.0|256|20110811|reserved
ripencc|DE|ipv6|2001:db8::|33|20110811|allocated
ripencc|ZZ|ipv6|2001:db8:8000::|33|20110811|allocated
`

func TestAtlas(t *testing.T) {
	a, err := ParseAtlas([]byte(atlasOfSix))
	if err != nil {
		t.Fatal(err)
	}
	if a.Registry != "ripencc" || a.Serial != "1764200000" || a.Networks() != 3 {
		t.Errorf("%s %s with %d networks", a.Registry, a.Serial, a.Networks())
	}
	kept := EncodeAtlas(a)
	b, err := DecodeAtlas(kept)
	if err != nil || !reflect.DeepEqual(a, b) || !bytes.Equal(EncodeAtlas(b), kept) {
		t.Fatalf("kept as %+v, %v; was %+v", b, err, a)
	}
	for address, want := range map[string]string{
		"192.0.2.1": "RO", "192.0.2.127": "RO", "192.0.2.128": "DE", "192.0.2.191": "DE", "192.0.2.192": "", "::ffff:192.0.2.1": "RO",
		"198.51.100.1": "", "203.0.113.1": "", "2001:db8::1": "DE", "2001:db8:8000::1": "", "10.0.0.1": "",
	} {
		if got := b.Country(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is of %q; want %q", address, got, want)
		}
	}
	if got := (Atlas{}).Country(netip.Addr{}); got != "" {
		t.Errorf("nowhere is in %s", got)
	}
}

// Of two countries that claim an address it is always the same one.
func TestAtlasOfTwoMinds(t *testing.T) {
	a, err := ParseAtlas([]byte("2|arin|1|2|1|1|+0\narin|US|ipv4|192.0.2.0|256|1|allocated\narin|CA|ipv4|192.0.2.0|256|1|allocated\n"))
	for range 20 {
		if got := a.Country(netip.MustParseAddr("192.0.2.1")); err != nil || got != "CA" {
			t.Fatalf("%s, %v", got, err)
		}
	}
}

func TestParseAtlasRefuses(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"empty":        {"# nothing\n", "feed: is empty; want the statistics of a registry"},
		"no registry":  {strings.Replace(atlasOfSix, "ripencc", "iana", 1), `feed: line 1: "iana" is no registry; want one of afrinic, apnic, arin, lacnic, ripencc, nro`},
		"a list":       {"192.0.2.0/24\n", `feed: line 1: "192.0.2.0/24": not the header of registry statistics, version 2`},
		"cut off":      {atlasOfSix[:strings.LastIndex(atlasOfSix, "ripencc")], "feed: line 1: says 6 records, but there are 5; the feed is damaged or cut off"},
		"a bad line":   {strings.Replace(atlasOfSix, "|64|", "|6x|", 1), `feed: line 3: "ripencc|DE|ipv4|192.0.2.128|6x|20110811|assigned": not a record of registry statistics`},
		"no countries": {"2|apnic|1|1|1|1|+0\napnic|AP|ipv4|192.0.2.0|256|1|allocated\n", "feed: holds no network of any country among 1 records"},
		"no text":      {"\x1f\x8b", `feed: line 1: "\x1f\x8b": not text`},
	} {
		var mistake *appliance.Error
		if _, err := ParseAtlas([]byte(test.data)); !errors.As(err, &mistake) || err.Error() != test.want {
			t.Errorf("%s: %v; want %s", name, err, test.want)
		}
	}
}

func TestDamagedAtlas(t *testing.T) {
	a, err := ParseAtlas([]byte(atlasOfSix))
	if err != nil {
		t.Fatal(err)
	}
	kept := EncodeAtlas(a)
	for at := range kept {
		if _, err := DecodeAtlas(kept[:at]); err == nil {
			t.Errorf("the first %d bytes of %d were taken", at, len(kept))
		}
		other := bytes.Clone(kept)
		other[at] ^= 0x40
		if _, err := DecodeAtlas(other); err == nil {
			t.Errorf("byte %d of %d was changed, and nobody saw it", at, len(kept))
		}
	}
}
