// Package opensips is a small model of what OpenSIPS' fraud_detection module does,
// after its documentation (https://opensips.org/docs/modules/3.4.x/fraud_detection.html):
// the peer that the fraud engine is measured beside. A profile's rule is chosen by
// the longest prefix of the number; counters belong to a user and that prefix; a
// threshold of 0 is off. Calls per minute are a ring of 60 seconds; total calls
// count since the rule first matched today; concurrent calls rise when the check is
// made and fall when the dialog ends; sequential calls are those in a row to one
// number; the duration is judged only when a call ends. The first critical value
// wins. Nothing is kept over a restart, and nothing is summed over prefixes.
package opensips

import (
	"strings"
	"time"
)

// Thresholds are the critical values of a rule; 0 is off.
type Thresholds struct {
	PerMinute, Total, Concurrent, Sequential int
	Duration                                 time.Duration
}

// Detector is the module with one profile.
type Detector struct {
	rules    map[string]Thresholds
	counters map[[2]string]*counters
}

type counters struct {
	seconds    [60]int
	at         int64
	day        string
	total      int
	concurrent int
	last       string
	sequential int
}

// New returns a detector with a rule for each prefix.
func New(rules map[string]Thresholds) *Detector {
	return &Detector{rules: rules, counters: make(map[[2]string]*counters)}
}

// Check is check_fraud(user, number, profile): it reports whether a critical value
// is reached, and which.
func (d *Detector) Check(user, number string, now time.Time) (critical string) {
	prefix := d.match(number)
	if prefix == "" {
		return ""
	}
	rule, c := d.rules[prefix], d.of(user, prefix)
	if day := now.Format(time.DateOnly); c.day != day {
		c.day, c.total = day, 0
	}
	c.total++
	c.concurrent++
	if c.last != number {
		c.last, c.sequential = number, 0
	}
	c.sequential++
	switch {
	case over(c.minute(now.Unix()), rule.PerMinute):
		return "calls per minute"
	case over(c.total, rule.Total):
		return "total calls"
	case over(c.concurrent, rule.Concurrent):
		return "concurrent calls"
	case over(c.sequential, rule.Sequential):
		return "sequential calls"
	}
	return ""
}

// Ended is the end of a dialog.
func (d *Detector) Ended(user, number string, lasted time.Duration) (critical string) {
	prefix := d.match(number)
	if prefix == "" {
		return ""
	}
	d.of(user, prefix).concurrent--
	if rule := d.rules[prefix]; rule.Duration > 0 && lasted >= rule.Duration {
		return "call duration"
	}
	return ""
}

func over(value, threshold int) bool { return threshold > 0 && value >= threshold }

func (d *Detector) match(number string) (longest string) {
	for prefix := range d.rules {
		if strings.HasPrefix(number, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return longest
}

func (d *Detector) of(user, prefix string) *counters {
	key := [2]string{user, prefix}
	if d.counters[key] == nil {
		d.counters[key] = &counters{}
	}
	return d.counters[key]
}

// minute counts one more call and returns how many the last 60 seconds had.
func (c *counters) minute(now int64) (sum int) {
	for ; c.at < now && now-c.at <= 60; c.at++ {
		c.seconds[(c.at+1)%60] = 0
	}
	if now-c.at > 60 {
		c.seconds = [60]int{}
	}
	c.at = now
	c.seconds[now%60]++
	for _, n := range c.seconds {
		sum += n
	}
	return sum
}
