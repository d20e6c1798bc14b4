package appliance

import (
	"fmt"
	"time"
)

// Level is how well a part works. The zero value is red.
type Level uint8

const (
	// Red means that protection or service is lost or about to be.
	Red Level = iota
	// Amber means that it works, with something to mend.
	Amber
	// Green means that it works as set.
	Green
)

// String returns "red", "amber" or "green".
func (l Level) String() string {
	switch l {
	case Green:
		return "green"
	case Amber:
		return "amber"
	default:
		return "red"
	}
}

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	for _, level := range []Level{Red, Amber, Green} {
		if level.String() == string(text) {
			*l = level
			return nil
		}
	}
	return fmt.Errorf("read level %q: want red, amber or green", text)
}

// Check is one finding, read back from what really runs.
type Check struct {
	Name    string `json:"name"` // gate, inspector, store, policy, ...
	Level   Level  `json:"level"`
	Message string `json:"message"` // one sentence
}

// Status is the state of the whole box: its level is the worst of its checks,
// and red where there are none.
type Status struct {
	Level      Level     `json:"level"`
	Time       time.Time `json:"time"`
	Version    string    `json:"version"`
	Site       string    `json:"site"`
	Generation string    `json:"generation"` // digest of the rules in force
	Checks     []Check   `json:"checks"`
}

// WorstOf returns the lowest level of checks, red where there are none.
func WorstOf(checks []Check) Level {
	if len(checks) == 0 {
		return Red
	}
	worst := Green
	for _, check := range checks {
		worst = min(worst, check.Level)
	}
	return worst
}
