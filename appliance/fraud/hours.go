package fraud

import (
	"slices"
	"time"
)

// Hours is when people work: spans of each weekday, without holidays. Where
// there are no spans nothing is refused for the hour, and nights and weekends
// only make the rules more suspicious.
type Hours struct {
	Zone     *time.Location
	Week     [7][]Span // by time.Weekday
	Holidays []Holiday
	// Refused are the classes that are not carried outside the spans. Emergency,
	// internal and national calls always are.
	Refused []Class
	// Also is a second schedule, the provider's, or nil: people work where both say
	// so, and what either refuses is refused.
	Also *Hours
}

// Span is from Open until Close on one day, since midnight by the wall clock.
// Close may be 24 h; a night shift is two spans.
type Span struct{ Open, Close time.Duration }

// Holiday is a day on which nobody works. Year zero is every year.
type Holiday struct {
	Year  int
	Month time.Month
	Day   int
}

// Set reports whether there is a schedule at all.
func (h *Hours) Set() bool { return h.hasSpans() || h.Also != nil && h.Also.hasSpans() }

func (h *Hours) hasSpans() bool {
	for _, day := range h.Week {
		if len(day) > 0 {
			return true
		}
	}
	return false
}

// Open reports whether people work at t. Without a schedule they do between 6 and
// 20 o'clock from Monday to Friday.
func (h *Hours) Open(t time.Time) bool {
	if !h.within(t) || h.Also != nil && !h.Also.within(t) {
		return false
	}
	return h.Set() || byDay(t.In(h.Zone))
}

func byDay(local time.Time) bool {
	weekend := local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
	at := sinceMidnight(local)
	return !weekend && at >= quietUntil && at < quietFrom
}

// within reports whether one schedule of the two has nothing against t.
func (h *Hours) within(t time.Time) bool {
	local := t.In(h.Zone)
	if h.holiday(local) {
		return false
	}
	at := sinceMidnight(local)
	for _, span := range h.Week[local.Weekday()] {
		if at >= span.Open && at < span.Close {
			return true
		}
	}
	return !h.hasSpans()
}

// refuses reports whether a class is not carried at t.
func (h *Hours) refuses(class Class, t time.Time) bool {
	if !class.Chargeable() {
		return false
	}
	own := h.hasSpans() && slices.Contains(h.Refused, class) && !h.within(t)
	return own || h.Also != nil && h.Also.refuses(class, t)
}

// Next returns the first moment after t at which Open changes, to the minute, and
// zero where it does not within eight days.
func (h *Hours) Next(t time.Time) time.Time {
	now := h.Open(t)
	at := t.Truncate(time.Minute)
	for range 8 * 24 * 60 {
		at = at.Add(time.Minute)
		if h.Open(at) != now {
			return at
		}
	}
	return time.Time{}
}

func (h *Hours) holiday(local time.Time) bool {
	for _, day := range h.Holidays {
		if day.Month == local.Month() && day.Day == local.Day() && (day.Year == 0 || day.Year == local.Year()) {
			return true
		}
	}
	return false
}

// sinceMidnight reads the clock on the wall: on the two days of a change the hours
// are as people read them.
func sinceMidnight(local time.Time) time.Duration {
	return time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second
}
