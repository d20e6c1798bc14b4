package feed

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// FuzzParse asserts of any input in any format: what is read has its shape, no
// local address in it, and survives being kept; what is refused says why, in
// one line.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"192.0.2.0/24\n198.51.100.1-198.51.100.9 # c\r\n2001:db8::/32\n172.0.0.0/8\n", "\ufeff192.0.2.1;x\n224.0.0.0/3\n10.0.0.0/8",
		`{"ipaddress":["192.0.2.1","2001:db8::1"],"ID":"16"}{"ipaddress":["no new bans"],"ID":"none"}`, `{"ipaddress":"none","ID":"unauthorized","x":[{"y":-1.5e3}]}`,
		"{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\"}\n{\"type\":\"metadata\",\"records\":1}\n", "192.0.2.0/24 ; SBL1\n",
		registryHeader + registrySummaries + registryRecords, registryHeader + registryRecords,
	} {
		for which := range Formats() {
			f.Add(uint8(which), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		format := Formats()[int(which)%len(Formats())]
		var countries []string
		if format == FormatRIR {
			countries = []string{"AU", "NZ"}
		}
		before := bytes.Clone(data)
		list, err := Parse(format, data, countries)
		if !bytes.Equal(before, data) {
			t.Fatal("the feed was written to")
		}
		if err != nil {
			var mistake *appliance.Error
			if !errors.As(err, &mistake) || mistake.Field != "feed" || mistake.Message == "" || strings.ContainsAny(mistake.Message, "\n\r\x00") || len(mistake.Message) > 600 {
				t.Fatalf("the error is not for a person: %v", err)
			}
			return
		}
		checkShape(t, list)
		if list.Entries < 1 || len(list.V4)+len(list.V6) == 0 {
			t.Fatalf("%d entries are %s", list.Entries, render(list))
		}
		for _, a := range probes(localPrefixes()) {
			if list.Contains(a) && contains(localPrefixes(), a) {
				t.Fatalf("%s is in %s", a, render(list))
			}
		}
		again, err := Decode(Encode(list))
		if err != nil || !reflect.DeepEqual(again, list) || again.Digest() != list.Digest() {
			t.Fatalf("kept as %s, %v; was %s", render(again), err, render(list))
		}
	})
}

// FuzzDecode asserts of any input, as it is and with a good check sum around it:
// what is decoded has its shape and encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	f.Add(Encode(List{}))
	list, _ := Parse(FormatCIDR, []byte("192.0.2.1\n198.51.100.0/24\n2001:db8::/32\n2001:db9::1\n"), nil)
	data := Encode(list)
	f.Add(data)
	f.Add(data[preamble : len(data)-32])
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, seal(data...)} {
			list, err := Decode(file)
			if err != nil {
				continue
			}
			checkShape(t, list)
			if !bytes.Equal(Encode(list), file) {
				t.Fatalf("%s encodes otherwise", render(list))
			}
		}
	})
}
