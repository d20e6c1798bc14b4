package feed

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

// seal puts a good check sum behind a body, so that only the body is judged.
func seal(body ...byte) []byte {
	out := append(append([]byte(magic), version), body...)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

func someList(t *testing.T) List {
	t.Helper()
	list, err := Parse(FormatCIDR, []byte("1.2.3.4\n1.2.3.6\n198.51.100.0/24\n198.51.100.0/25\n223.255.255.0/24\n2001:db8::1\n2001:db8::/48\n2002::-2002::1:0:5\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEncodeRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	lists := []List{{}, someList(t), FromPrefixes([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})}
	for range 100 {
		lists = append(lists, FromPrefixes(randomPrefixes(random, random.IntN(100))))
	}
	for _, list := range lists {
		data := Encode(list)
		got, err := Decode(data)
		if err != nil || !reflect.DeepEqual(got, list) || !bytes.Equal(Encode(got), data) {
			t.Fatalf("got %s of %d, %v\nwant %s of %d", render(got), got.Entries, err, render(list), list.Entries)
		}
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	data := Encode(someList(t))
	damaged := func(what string, i int, bytes []byte) {
		if list, err := Decode(bytes); err == nil {
			t.Errorf("%s at %d: decoded %s", what, i, render(list))
		}
	}
	for i := range data {
		for bit := range 8 {
			other := slices.Clone(data)
			other[i] ^= 1 << bit
			damaged("flip", i, other)
		}
		damaged("cut", i, data[:i])
		damaged("delete", i, slices.Delete(slices.Clone(data), i, i+1))
		damaged("insert", i, slices.Insert(slices.Clone(data), i, 0))
	}
	damaged("append", len(data), append(slices.Clone(data), 0))
	damaged("twice", 0, append(slices.Clone(data), data...))
}

func TestDecodeRefusesWhatEncodeDoesNotWrite(t *testing.T) {
	word := func(last byte) []byte { return append(make([]byte, 15), last) }
	six := func(first, last, first2, last2 byte) []byte {
		return slices.Concat([]byte{2, 0, 2}, word(first), word(last), word(first2), word(last2))
	}
	if _, err := Decode(seal(six(1, 3, 5, 5)...)); err != nil {
		t.Fatalf("two IPv6 ranges: %v", err)
	}
	for name, body := range map[string][]byte{
		"nothing":                   {},
		"counts missing":            {1, 0},
		"a count in two bytes":      {0x81, 0x00, 0, 0},
		"a count that claims":       {1, 0xff, 0xff, 0xff, 0x7f, 0},
		"a count that claims v6":    {1, 0, 0xff, 0xff, 0xff, 0x7f, 0},
		"a count beyond 31 bits":    {0x80, 0x80, 0x80, 0x80, 0x08, 0, 0},
		"a count without end":       {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
		"ranges missing":            {1, 1, 0},
		"half a range":              {1, 1, 0, 5},
		"a range past the end":      {1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1},
		"a first past the end":      {1, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 0},
		"a gap in two bytes":        {1, 1, 0, 0x85, 0x00, 0},
		"a second past the end":     {2, 2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0},
		"a byte more":               {1, 1, 0, 5, 5, 5},
		"half an IPv6 range":        slices.Concat([]byte{1, 0, 1}, word(1)),
		"an IPv6 range too many":    slices.Concat([]byte{1, 0, 0}, word(1), word(1)),
		"a backward IPv6 range":     six(3, 1, 5, 5),
		"IPv6 ranges that touch":    six(1, 3, 4, 5),
		"IPv6 ranges that overlap":  six(1, 3, 3, 5),
		"IPv6 ranges not ascending": six(5, 6, 1, 2),
	} {
		if list, err := Decode(seal(body...)); err == nil {
			t.Errorf("%s: decoded %s", name, render(list))
		}
	}
}

func TestDigest(t *testing.T) {
	one := FromPrefixes([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	same := FromPrefixes([]netip.Prefix{netip.MustParsePrefix("192.0.2.128/25"), netip.MustParsePrefix("192.0.2.0/25")})
	if one.Digest() != same.Digest() || len(one.Digest()) != 16 {
		t.Errorf("the same addresses: %s and %s", one.Digest(), same.Digest())
	}
	seen := map[string]string{one.Digest(): render(one)}
	for _, prefix := range []string{"192.0.2.0/25", "192.0.2.0/23", "::c000:200/120", "::/0", "0.0.0.0/0"} {
		other := FromPrefixes([]netip.Prefix{netip.MustParsePrefix(prefix)})
		if before, taken := seen[other.Digest()]; taken {
			t.Errorf("%s has the digest of %s", prefix, before)
		}
		seen[other.Digest()] = prefix
	}
	if (List{}).Digest() == one.Digest() {
		t.Error("nothing has the digest of something")
	}
}
