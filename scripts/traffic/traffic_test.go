package main

import (
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/scripts/traffic/office"
)

// TestAttacksAreFound: every script, on three offices, with the defaults. What
// gets through is a small part of what was asked for.
func TestAttacksAreFound(t *testing.T) {
	zone, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		t.Fatal(err)
	}
	for _, attack := range office.Attacks() {
		t.Run(attack.Name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(101); seed <= 103; seed++ {
				rows, err := attacked(attack, seed)
				if err != nil {
					t.Fatal(err)
				}
				got, err := ringfence(rows, zone)
				if err != nil {
					t.Fatal(err)
				}
				if !got.found {
					t.Errorf("seed %d: not found", seed)
				}
				bound := got.most / 4
				if attack.Name == "insider" { // nothing but the day's limit tells one from a colleague
					bound = 10 * 50 * fraud.Unit
				}
				if got.cost > bound {
					t.Errorf("seed %d: %s got through of %s", seed, got.cost, got.most)
				}
			}
		})
	}
}

// TestHonestOffices: no national call is refused, whatever happens.
func TestHonestOffices(t *testing.T) {
	for seed := uint64(101); seed <= 103; seed++ {
		p, err := inPeace(seed)
		if err != nil {
			t.Fatal(err)
		}
		if p.national != 0 || p.calls < 1000 {
			t.Errorf("office %d: %s", seed, p)
		}
	}
}

// TestReplayIsTheSame: the same history gives the same decisions.
func TestReplayIsTheSame(t *testing.T) {
	run := func() string {
		rows, err := attacked(office.Attacks()[5], 7)
		if err != nil {
			t.Fatal(err)
		}
		e, err := fraud.New(fraud.Defaults(), "")
		if err != nil {
			t.Fatal(err)
		}
		fraud.Replay(e, rows)
		snapshot, err := e.Snapshot(fraud.Moment{Wall: rows[0].Start, Up: 0})
		if err != nil {
			t.Fatal(err)
		}
		return string(snapshot)
	}
	if first, second := run(), run(); first != second {
		t.Error("two replays differ")
	}
}
