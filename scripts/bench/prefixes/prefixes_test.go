package prefixes

import "testing"

func TestPoolsAreApart(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		pool := New(20_000, v6)
		list := pool.List(20_000)
		for i := 1; i < len(list); i++ {
			if list[i].Overlaps(list[i-1]) || list[i].Compare(list[i-1]) <= 0 {
				t.Fatalf("%v stands after %v", list[i], list[i-1])
			}
		}
		for _, stranger := range pool.Strangers(1000) {
			for _, prefix := range list {
				if prefix.Contains(stranger) {
					t.Fatalf("%v is in %v", stranger, prefix)
				}
			}
		}
	}
}

func TestHalfIsListed(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		pool := New(2000, v6)
		list := pool.List(100)
		listed := 0
		for _, address := range pool.Half(1000, 100) {
			if contains(list, address) {
				listed++
			}
		}
		if listed < 500 || listed > 600 {
			t.Errorf("%d of 1000 are listed (IPv6: %v)", listed, v6)
		}
	}
}
