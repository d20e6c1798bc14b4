package fraud

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds and spans of the census.
const (
	maxCensus = 2 * maxSubjects
	newFor    = 7 * 24 * time.Hour // how long an extension is a new one, or one that woke
	unusedFor = dormantAfter       // without a call that it placed
	blindFor  = time.Hour          // between two censuses, by which nobody has slept
)

// Seen is an extension as the box knows it. Zero times mean never.
type Seen struct {
	Name       string
	Label      string // a document's
	First      time.Time
	Last       time.Time // registered or called
	Called     time.Time // placed a call of any class, an internal one included
	Registered bool      // now
}

// Oddity is something about an extension that a person should look at.
type Oddity string

// The oddities.
const (
	OddityNew       Oddity = "new"       // first seen within a week
	OddityWoke      Oddity = "woke"      // used within this week after 30 silent days
	OddityDormant   Oddity = "dormant"   // silent for more than 30 days
	OddityUnused    Oddity = "unused"    // it could call, and has placed no call for 30 days
	OddityGuessable Oddity = "guessable" // a name that scanners try first, or like a voicemail PIN
)

// Counted is one extension of a census.
type Counted struct {
	Seen
	Oddities []Odd
}

// Odd is an oddity with its grounds, a sentence.
type Odd struct {
	Kind Oddity `json:"kind"`
	Why  string `json:"why"`
}

// Census remembers the extensions of a site, so that people hear of each oddity
// once. It is bounded; the one that was silent longest is forgotten first. It is not
// safe for concurrent use.
type Census struct {
	known   map[string]*remembered
	changed bool      // since Keep
	last    Moment    // of the latest census since the program began
	kept    time.Time // of the one before that
}

// remembered is what a census knows of one extension.
type remembered struct {
	Since time.Time       `json:"since"` // of the first census that counted it
	Last  time.Time       `json:"last"`  // seen, at the latest census
	Woke  time.Time       `json:"woke,omitzero"`
	Days  int             `json:"days,omitempty"` // that it was silent before that
	Told  map[Oddity]bool `json:"told,omitempty"`
}

// NewCensus returns one that has counted nobody.
func NewCensus() *Census { return &Census{known: make(map[string]*remembered)} }

// Take counts, and returns those of whom there is something new to tell, with that
// alone. What is over may be told again, such as of an extension that falls silent
// twice.
func (c *Census) Take(at Moment, all []Seen) (news []Counted) {
	c.turn(at)
	for _, one := range all {
		one.Last = earlier(one.Last, at.Wall)
		k := c.of(one, at.Wall)
		before := *k
		k.note(one)
		odd := k.oddities(one, at.Wall)
		var fresh []Odd
		for _, o := range odd {
			if !k.Told[o.Kind] {
				fresh = append(fresh, o)
			}
		}
		unused := k.Told[OddityUnused] && at.Wall.Sub(one.Called) > unusedFor // a phone that goes off at night is unused still
		k.Told = make(map[Oddity]bool, len(odd))
		if unused {
			k.Told[OddityUnused] = true
		}
		for _, o := range odd {
			k.Told[o.Kind] = true
		}
		c.changed = c.changed || before.Last != k.Last || !maps.Equal(before.Told, k.Told)
		if len(fresh) > 0 {
			news = append(news, Counted{one, fresh})
		}
	}
	return news
}

// Look counts without remembering anything, those with oddities first.
func (c *Census) Look(at time.Time, all []Seen) []Counted {
	out := make([]Counted, 0, len(all))
	for _, one := range all {
		one.Last = earlier(one.Last, at)
		k := remembered{Since: at, Last: one.Last}
		if known := c.known[one.Name]; known != nil {
			k = *known
			k.note(one)
		}
		out = append(out, Counted{one, k.oddities(one, at)})
	}
	slices.SortStableFunc(out, func(a, b Counted) int {
		return cmp.Or(cmp.Compare(min(len(b.Oddities), 1), min(len(a.Oddities), 1)), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// turn takes out the time that the box was off, and by which the calendar has jumped:
// else everybody would have slept.
func (c *Census) turn(at Moment) {
	var gap time.Duration
	switch {
	case c.last != Moment{}:
		gap = at.Wall.Sub(c.last.Wall) - (at.Up - c.last.Up)
	case !c.kept.IsZero():
		gap = at.Wall.Sub(c.kept)
	}
	c.last = at
	if gap.Abs() <= blindFor {
		return
	}
	for _, k := range c.known {
		k.Since = k.Since.Add(gap)
		if !k.Last.IsZero() {
			k.Last = earlier(k.Last.Add(gap), at.Wall)
		}
	}
}

func (c *Census) of(one Seen, now time.Time) *remembered {
	if k := c.known[one.Name]; k != nil {
		return k
	}
	if len(c.known) >= maxCensus {
		delete(c.known, slices.MinFunc(slices.Collect(maps.Keys(c.known)), func(a, b string) int {
			return cmp.Or(c.known[a].Last.Compare(c.known[b].Last), cmp.Compare(a, b))
		}))
	}
	k := &remembered{Since: now, Last: one.Last}
	c.known[one.Name], c.changed = k, true
	return k
}

// note enters when an extension was last seen.
func (k *remembered) note(one Seen) {
	if slept := one.Last.Sub(k.Last); !k.Last.IsZero() && slept > dormantAfter {
		k.Woke, k.Days = one.Last, int(slept.Hours()/24)
	}
	if one.Last.After(k.Last) {
		k.Last = one.Last
	}
}

func (k *remembered) oddities(one Seen, now time.Time) (all []Odd) {
	add := func(kind Oddity, format string, args ...any) {
		all = append(all, Odd{kind, fmt.Sprintf(format, args...)})
	}
	woke := !k.Woke.IsZero() && now.Sub(k.Woke) <= newFor
	silent := now.Sub(k.Last)
	switch {
	case woke:
		add(OddityWoke, "it is used again after %d silent days", k.Days)
	case !one.First.IsZero() && now.Sub(one.First) <= newFor:
		add(OddityNew, "it was first seen on %s", one.First.Format("2 January"))
	case !k.Last.IsZero() && silent > dormantAfter && !one.Registered:
		add(OddityDormant, "it was silent for %d days: remove it where nobody needs it", int(silent.Hours()/24))
	}
	// The census itself must have looked on for as long: before, it can't know.
	if now.Sub(k.Since) > unusedFor && now.Sub(one.Called) > unusedFor {
		switch {
		case one.Last.IsZero():
			add(OddityUnused, "a document names it, and nobody has used it for 30 days")
		case one.Registered:
			add(OddityUnused, "it is registered, and has placed no call for 30 days")
		}
	}
	if why := guessable(one.Name); why != "" {
		add(OddityGuessable, "%s", why)
	}
	return all
}

// triedFirst are names that every scanner tries, without the digits at their end.
var triedFirst = []string{"test", "tester", "demo", "guest", "user", "admin", "administrator", "root", "sip", "pbx", "asterisk", "default", "temp", "tmp", "phone", "voicemail", "vm", "fax", "anonymous", "unknown"}

// guessable says why the name of an account is easily found, "" where it is not.
func guessable(name string) string {
	user, _, _ := strings.Cut(strings.ToLower(name), "@")
	if word := strings.TrimRight(user, "0123456789"); word != "" {
		if slices.Contains(triedFirst, strings.TrimRight(word, "-_.")) {
			return "scanners try a name like " + clip(user) + " first"
		}
		return ""
	}
	switch {
	case user == "100" || user == "1000" || user == "10000":
		return "scanners try the extension " + user + " first"
	case len(user) >= 4 && len(user) <= 8 && (row(user, 0) || row(user, 1) || row(user, -1)):
		return clip(user) + " is like a voicemail PIN: whoever guesses PINs finds it"
	}
	return ""
}

// row reports whether each digit is so much above the one before.
func row(digits string, step int) bool {
	for i := 1; i < len(digits); i++ {
		if int(digits[i])-int(digits[i-1]) != step {
			return false
		}
	}
	return true
}

// keptCensus is a census on paper.
type keptCensus struct {
	At         time.Time              `json:"at"` // of the latest one
	Extensions map[string]*remembered `json:"extensions"`
}

// Changed reports whether there is anything that Keep has not returned yet.
func (c *Census) Changed() bool { return c.changed }

// Keep returns what the census remembers, as JSON.
func (c *Census) Keep() ([]byte, error) {
	c.changed = false
	data, err := json.Marshal(keptCensus{c.last.Wall, c.known})
	if err != nil {
		return nil, fmt.Errorf("write census: %w", err)
	}
	return data, nil
}

// Restore takes back what Keep gave, all of it or, on an error, nothing.
func (c *Census) Restore(data []byte) error {
	var kept keptCensus
	if err := json.Unmarshal(data, &kept); err != nil {
		return fmt.Errorf("read census: %w", err)
	}
	known := kept.Extensions
	maps.DeleteFunc(known, func(_ string, k *remembered) bool { return k == nil })
	if known == nil || len(known) > maxCensus {
		return fmt.Errorf("read census: %d extensions", len(known))
	}
	c.known, c.last, c.kept = known, Moment{}, kept.At
	return nil
}

// Extensions returns those whose behaviour the engine knows, by name.
func (e *Engine) Extensions() []Seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []Seen
	for of, s := range e.states.all {
		if of.Kind == Extension {
			all = append(all, Seen{Name: of.Name, First: s.seen, Last: later(s.active, s.called), Called: s.called})
		}
	}
	slices.SortFunc(all, func(a, b Seen) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
