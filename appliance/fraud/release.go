package fraud

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Release lets exactly one number pass a list of destinations for a while. It ends
// by itself, and with the power: it is in no snapshot.
type Release struct {
	Number string        `json:"number"` // E.164 with leading plus
	By     string        `json:"by"`
	Since  time.Time     `json:"since"`
	For    time.Duration `json:"for"`
	until  time.Duration // on the engine's own clock
}

// MaxRelease is the longest release: until the end of a day.
const MaxRelease = 24 * time.Hour

// Release lets a number pass the lists of destinations for d, at most MaxRelease.
// It opens no toll-block, no hours and no credit.
func (e *Engine) Release(at Moment, number, by string, d time.Duration) (Release, error) {
	digits := strings.TrimPrefix(number, "+")
	switch {
	case digits == number || digits == "" || len(digits) > 15 || strings.Trim(digits, "0123456789") != "":
		return Release{}, fmt.Errorf("release %q: want a whole number, such as +252615550148", number)
	case by == "":
		return Release{}, errors.New("release a number: want the name of whoever releases it")
	case d <= 0 || d > MaxRelease:
		return Release{}, fmt.Errorf("release %s: want a time of at most %d hours", number, int(MaxRelease.Hours()))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.clock(at)
	e.expire(up)
	if len(e.releases) >= maxReleases && e.released(number, up) == nil {
		return Release{}, fmt.Errorf("release %s: %d numbers are released already", number, maxReleases)
	}
	r := &Release{Number: number, By: by, Since: at.Wall, For: d, until: up + d}
	e.releases[number] = r
	return *r, nil
}

// Withdraw ends a release before its time. It reports whether there was one.
func (e *Engine) Withdraw(number string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, there := e.releases[number]
	delete(e.releases, number)
	return there
}

// Releases returns those in force, by number.
func (e *Engine) Releases(at Moment) []Release {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(e.clock(at))
	all := make([]Release, 0, len(e.releases))
	for _, r := range e.releases {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Release) int { return strings.Compare(a.Number, b.Number) })
	return all
}

// released returns the release of a number in force, or nil.
func (e *Engine) released(number string, up time.Duration) *Release {
	if r := e.releases[number]; r != nil && up < r.until {
		return r
	}
	return nil
}

func (e *Engine) expire(up time.Duration) {
	for number, r := range e.releases {
		if up >= r.until {
			delete(e.releases, number)
		}
	}
}
