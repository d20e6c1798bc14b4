package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/control/api"
)

// maxLength is the longest that an exception may be asked for by --for.
const maxLength = 10 * 365 * 24 * time.Hour

// parseLength reads a length of time: Go's form ("90m", "2h30m"), or days
// ("7d").
func parseLength(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n int
		if n, err = strconv.Atoi(days); err == nil {
			d = time.Duration(min(max(n, -1), int(maxLength/time.Hour))) * 24 * time.Hour
		}
	}
	if err != nil || d <= 0 || d > maxLength {
		return 0, fmt.Errorf("%q: want a length of time such as 90m, 2h or 7d", text)
	}
	return d, nil
}

// parseSince reads a moment in the past: a length of time before now, a date or
// a time.
func parseSince(text string, now time.Time, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := parseLength(text); err == nil {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(form, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: want a length of time such as 24h or 7d, or a date such as 2026-07-01", text)
}

// moments reads the moment of a flag, which errors name.
func (a *app) moments(flag, text string) (time.Time, error) {
	at, err := parseSince(text, a.env.now(), a.env.zone)
	if err != nil {
		return at, fmt.Errorf("%s %w", flag, err)
	}
	return at, nil
}

func readBounded(from io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, api.MaxBody+1))
	if err == nil && len(data) > api.MaxBody {
		err = fmt.Errorf("read %s: more than %d bytes", name, api.MaxBody)
	}
	return data, err
}
