// Command fraud prints what the behaviour engine costs: the time of one INVITE with
// 4,000 extensions that all have a call up, and the memory after ten million events.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
)

const (
	extensions = 4000
	rounds     = 15
	perRound   = 20_000
	most       = 5 * time.Microsecond
	portions   = 10
	growth     = 10 // percent that memory may differ from the first portion on
)

func main() {
	events := 10_000_000
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < portions {
			fmt.Fprintln(os.Stderr, "usage: fraud [EVENTS]")
			os.Exit(2)
		}
		events = n
	}
	if err := run(os.Stdout, events); err != nil {
		fmt.Fprintln(os.Stderr, "bench fraud:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, events int) error {
	b, err := newBench()
	if err != nil {
		return err
	}
	times := make([]time.Duration, 0, rounds)
	for range rounds {
		times = append(times, b.round())
	}
	slices.Sort(times)
	median := times[rounds/2]
	fmt.Fprintf(out, "fraud engine, %d extensions live: %d ns per INVITE (median of %d rounds of %d); to reach %d ns\n", extensions, median.Nanoseconds(), rounds, perRound, most.Nanoseconds())
	fmt.Fprintf(out, "a tick with %d calls up, each second: %.1f ms\n", extensions, b.ticking.Seconds()*1000/float64(b.ticks))
	flat := b.memory(out, events)
	switch {
	case median > most:
		return errors.New("an INVITE costs more than it may")
	case !flat:
		return errors.New("memory grows")
	}
	return nil
}

// bench is an engine whose every extension has a call up, and whose rules measure
// but refuse nothing.
type bench struct {
	engine *fraud.Engine
	at     fraud.Moment
	calls  int

	second  int64
	ticks   int
	ticking time.Duration
}

func newBench() (*bench, error) {
	config := fraud.Defaults()
	for i := range config.Limits { // asked on every INVITE, and never reached
		config.Limits[i].Amount = 1e9 * fraud.Unit
	}
	for id, setting := range config.Rules {
		setting.Warn, setting.Critical, setting.Mode = 1e9, 1e9, fraud.Shadow
		config.Rules[id] = setting
	}
	engine, err := fraud.New(config, "bench")
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	b := &bench{engine: engine, at: fraud.Moment{Wall: time.Date(2026, 11, 16, 10, 0, 0, 0, time.UTC), Up: time.Hour}}
	for n := range extensions {
		a := b.attempt(n)
		engine.Begin(a)
		engine.Answered(a.ID, b.at)
	}
	return b, nil
}

func (b *bench) attempt(n int) fraud.Attempt {
	b.calls++
	b.at = b.at.After(20 * time.Millisecond)
	id := strconv.Itoa(b.calls)
	return fraud.Attempt{
		ID: id, Key: "key-" + id, At: b.at, Extension: strconv.Itoa(1000 + n%extensions), Trunk: "itsp",
		Number: "+4420" + strconv.Itoa(70_000_000+n%65_536), Country: "United Kingdom", Class: fraud.IntlLow,
	}
}

// round is the time of one INVITE in the middle of many. What the attempt is made
// of, the end of its call, and the tick of every second are not in it.
func (b *bench) round() time.Duration {
	spent := time.Duration(0)
	for n := range perRound {
		a := b.attempt(n)
		begin := time.Now()
		b.engine.Begin(a)
		spent += time.Since(begin)
		if second := int64(b.at.Up / time.Second); second != b.second {
			b.second = second
			begin := time.Now()
			b.engine.Tick(b.at)
			b.ticks, b.ticking = b.ticks+1, b.ticking+time.Since(begin)
		}
		b.engine.Ended(a.ID, b.at, false)
	}
	return spent / perRound
}

// memory runs events in portions, each of them a call from begin to end, and
// reports whether the heap stayed as it was after the first portion.
func (b *bench) memory(out io.Writer, events int) bool {
	fmt.Fprintf(out, "live heap after each tenth of %d events, MiB:", events)
	var first, last uint64
	for portion := range portions {
		for n := range events / portions / 3 { // begin, answer, end
			a := b.attempt(n)
			b.engine.Begin(a)
			b.engine.Answered(a.ID, b.at)
			b.engine.Ended(a.ID, b.at, false)
		}
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		last = stats.HeapAlloc
		if portion == 0 {
			first = last
		}
		fmt.Fprintf(out, " %.1f", float64(last)/(1<<20))
	}
	fmt.Fprintln(out)
	return last <= first+first*growth/100
}
