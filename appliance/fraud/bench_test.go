package fraud

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// crowd is an engine with 4,000 extensions that all have called.
func crowd(tb testing.TB) (*Engine, Moment) {
	tb.Helper()
	config := Defaults()
	config.Channels, config.Limits = 10000, nil
	for id, setting := range config.Rules { // every rule measures, none refuses
		setting.Mode = Shadow
		setting.Warn, setting.Critical = 1e9, 1e9
		config.Rules[id] = setting
	}
	e, err := New(config, "digest")
	if err != nil {
		tb.Fatal(err)
	}
	return e, Moment{Wall: monday, Up: time.Hour}
}

// event is one call of one of 4,000 extensions, over at once.
func (e *Engine) event(n int, at Moment) {
	a := Attempt{
		ID: fmt.Sprintf("%d", n), Key: fmt.Sprintf("key-%d", n), At: at, Extension: extensions[n%4000], Trunk: "itsp",
		Number: numbers[n%len(numbers)], Class: IntlLow, Country: "United Kingdom",
	}
	if e.Begin(a).Verdict == Pass {
		e.Answered(a.ID, at)
		e.Ended(a.ID, at.After(20*time.Second), false)
	}
}

var extensions, numbers = names(4000, "%d"), names(65536, "+44207%d")

func names(n int, format string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, 1000+i)
	}
	return all
}

// BenchmarkBegin is what one call costs, from its INVITE to its end.
func BenchmarkBegin(b *testing.B) {
	e, at := crowd(b)
	for n := range 8000 {
		e.event(n, at)
	}
	b.ReportAllocs()
	n := 8000
	for b.Loop() {
		at = at.After(50 * time.Millisecond)
		e.event(n, at)
		n++
	}
}

// TestMemoryIsFlat: what 400,000 calls leave behind is what the first 150,000
// did.
func TestMemoryIsFlat(t *testing.T) {
	e, at := crowd(t)
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	var first uint64
	for n := range 400_000 {
		at = at.After(50 * time.Millisecond)
		e.event(n, at)
		if n == 150_000 {
			first = heap()
		}
	}
	if last := heap(); last > first+first/10 {
		t.Errorf("%d bytes after 150,000 calls, %d after 400,000", first, last)
	}
}
