package dialplan

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// slowLookup is the definition: try every length, the longest first.
func slowLookup(prefixes map[string]int, number string) (int, bool) {
	for end := min(len(number), MaxDigits+1); end >= 2; end-- {
		if i, ok := prefixes[number[:end]]; ok {
			return i, true
		}
	}
	return 0, false
}

func randomDigits(random *rand.Rand, least, most int) string {
	out := make([]byte, least+random.IntN(most-least+1))
	for i := range out {
		out[i] = '0' + byte(random.IntN(4)) // few digits, so that prefixes nest
	}
	return string(out)
}

func TestTableAgreesWithTheDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		var list []string
		first := make(map[string]int)
		for i := range random.IntN(400) {
			prefix := "+" + randomDigits(random, 1, 9)
			if random.IntN(20) == 0 {
				prefix = "+" + randomDigits(random, MaxDigits, MaxDigits)
			}
			list = append(list, prefix)
			if _, taken := first[prefix]; !taken {
				first[prefix] = i
			}
		}
		table, err := NewTable(list)
		if err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			number := "+" + randomDigits(random, 0, 18)
			got, ok := table.Lookup(number)
			want, wantOK := slowLookup(first, number)
			if ok != wantOK || (ok && got != want) {
				t.Fatalf("look up %s: got %d %v, want %d %v in %v", number, got, ok, want, wantOK, list)
			}
		}
	}
}

func TestTableEdges(t *testing.T) {
	table, err := NewTable([]string{"+252", "+2520", "+9", "+999999999999999", "+252"})
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]int{
		"+252": 0, "+25200": 1, "+2521": 0, "+9": 2, "+99": 2, "+999999999999999": 3, "+9999999999999990": 3, "+99999999999999": 2,
	} {
		if got, ok := table.Lookup(number); !ok || got != want {
			t.Errorf("look up %s: got %d %v, want %d", number, got, ok, want)
		}
	}
	for _, number := range []string{"", "+", "252", "+25", "+251", "+253", "+2", "x252"} {
		if got, ok := table.Lookup(number); ok {
			t.Errorf("look up %q: got %d", number, got)
		}
	}
	for _, bad := range []string{"", "+", "252", "+2 52", "+" + strings.Repeat("1", MaxDigits+1), "+x"} {
		if _, err := NewTable([]string{bad}); err == nil {
			t.Errorf("%q was taken for a prefix", bad)
		}
	}
	var empty Table
	if _, ok := empty.Lookup("+252"); ok {
		t.Error("the zero table holds something")
	}
}

// hundredThousand are as many prefixes as a feed of fraud numbers may bring.
func hundredThousand() []string {
	random := rand.New(rand.NewPCG(5, 6))
	out := make([]string, 100_000)
	for i := range out {
		digits := make([]byte, 5+random.IntN(8))
		for j := range digits {
			digits[j] = '0' + byte(random.IntN(10))
		}
		digits[0] = '1' + byte(random.IntN(9))
		out[i] = "+" + string(digits)
	}
	return out
}

func BenchmarkLookup100000(b *testing.B) {
	list := hundredThousand()
	table, err := NewTable(list)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Lookup(list[i%len(list)])
	}
}
