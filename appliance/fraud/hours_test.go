package fraud

import (
	"testing"
	"time"
)

func sydney(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func office(zone *time.Location) Hours {
	h := Hours{Zone: zone, Refused: []Class{IntlLow, IntlHigh, Unknown, Premium}, Holidays: []Holiday{{0, time.December, 25}, {2026, time.June, 8}}}
	for day := time.Monday; day <= time.Friday; day++ {
		h.Week[day] = []Span{{9 * time.Hour, 17 * time.Hour}}
	}
	h.Week[time.Sunday] = []Span{{0, 3 * time.Hour}} // a shift across both changes of the clock
	return h
}

func TestHoursByTheClockOnTheWall(t *testing.T) {
	h := office(sydney(t))
	for _, row := range []struct {
		utc  string
		want bool
	}{
		{"2026-11-15T22:00:00Z", true},  // Monday 9:00, summer time
		{"2026-11-15T21:59:59Z", false}, // 8:59:59
		{"2026-07-05T22:59:59Z", false}, // Monday 8:59:59, winter time
		{"2026-07-05T23:00:00Z", true},
		{"2026-11-16T06:00:00Z", false}, // 17:00
		{"2026-06-08T01:00:00Z", false}, // a holiday of 2026
		{"2027-06-08T01:00:00Z", true},  // the same date a year later, a Tuesday
		{"2026-12-25T01:00:00Z", false}, // every year
		// The clock goes from 2:00 to 3:00 on 4 October 2026: 3:00 comes at 16:00 UTC.
		{"2026-10-03T15:59:59Z", true},
		{"2026-10-03T16:00:00Z", false},
		// And from 3:00 back to 2:00 on 5 April 2026: 2:30 comes twice.
		{"2026-04-04T15:30:00Z", true},
		{"2026-04-04T16:30:00Z", true},
		{"2026-04-04T17:00:00Z", false},
	} {
		at, err := time.Parse(time.RFC3339, row.utc)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Open(at); got != row.want {
			t.Errorf("%s (%s): open %v", row.utc, at.In(h.Zone), got)
		}
	}
}

func TestHoursRefuse(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Hours = office(time.UTC) })
	if _, out := d.dial(IntlLow, "+442079460018"); out.Verdict != Pass {
		t.Errorf("in hours: %+v", out)
	}
	d.at(18)
	for class, want := range map[Class]Cause{IntlLow: CauseHours, Premium: CauseHours, National: CauseNone, Emergency: CauseNone, Internal: CauseNone} {
		_, out := d.dial(class, "+442079460018")
		if out.Cause != want || (want == CauseNone) != (out.Verdict == Pass) {
			t.Errorf("%s after hours: %+v", class, out)
		}
	}
}

func TestHoursNext(t *testing.T) {
	h := office(sydney(t))
	at := time.Date(2026, 11, 16, 0, 30, 10, 0, time.UTC) // Monday 11:30 there
	if got := h.Next(at); !got.Equal(time.Date(2026, 11, 16, 6, 0, 0, 0, time.UTC)) {
		t.Errorf("closes at %s", got)
	}
	if got := h.Next(time.Date(2026, 11, 16, 6, 0, 0, 0, time.UTC)); !got.Equal(time.Date(2026, 11, 16, 22, 0, 0, 0, time.UTC)) {
		t.Errorf("opens at %s", got)
	}
	always := Hours{Zone: time.UTC}
	for day := range always.Week {
		always.Week[day] = []Span{{0, 24 * time.Hour}}
	}
	if got := always.Next(at); !got.IsZero() {
		t.Errorf("an office that never shuts does so at %s", got)
	}
}
