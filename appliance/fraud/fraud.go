// Package fraud is the behaviour engine: it watches who calls where, when, how
// often and for how much, and decides on suspicion what a list of destinations
// can't. It counts in bounded memory, keeps toll-blocks, credit and releases,
// and says with every decision which rule spoke and on what grounds.
//
// The package is paper: it does no I/O, starts no goroutine, reads no clock and
// draws no random number. Time is an argument, so that a replay of the same
// events gives the same decisions.
package fraud

import (
	"net/netip"
	"time"
)

// Moment is a point in time on two clocks. Windows, durations and drained money
// go by Up, which nobody can set; business hours, days and months go by Wall.
type Moment struct {
	Wall time.Time
	Up   time.Duration // since boot, suspended time included (CLOCK_BOOTTIME)
}

// After returns the moment d later.
func (m Moment) After(d time.Duration) Moment { return Moment{m.Wall.Add(d), m.Up + d} }

// Class sorts calls by what they can cost. The zero value is unknown, which is
// treated as international.
type Class uint8

// The classes, from the home country. International numbers are high where a
// high-risk list names them, though an exception lets them pass.
const (
	Unknown Class = iota
	Emergency
	Internal
	National
	Premium
	IntlLow
	IntlHigh
)

var classNames = [...]string{"unknown", "emergency", "internal", "national", "premium", "intl-low", "intl-high"}

// String returns the name of the class, such as "intl-low".
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// ClassNamed returns the class of a name, and false where there is none.
func ClassNamed(name string) (Class, bool) {
	for c, known := range classNames {
		if known == name {
			return Class(c), true
		}
	}
	return Unknown, false
}

// International reports whether a call of this class leaves the country, or may.
func (c Class) International() bool { return c == Unknown || c == IntlLow || c == IntlHigh }

// Chargeable reports whether the class is one that fraudsters earn by.
func (c Class) Chargeable() bool { return c.International() || c == Premium }

// Kind says what a subject is.
type Kind uint8

// The kinds of subject. Every call counts for one of each.
const (
	Site Kind = iota
	Extension
	Trunk
	kinds
)

var kindNames = [...]string{"site", "extension", "trunk"}

// String returns "site", "extension" or "trunk".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Subject is who a count, a limit or a block belongs to. The site has no name.
type Subject struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name,omitempty"`
}

// String returns "site", or such as "extension 201".
func (s Subject) String() string {
	if s.Kind == Site {
		return "site"
	}
	return s.Kind.String() + " " + s.Name
}

// Reference names a subject as the command line and the control API do: "site", or
// such as "extension:201".
func (s Subject) Reference() string {
	if s.Kind == Site {
		return "site"
	}
	return s.Kind.String() + ":" + s.Name
}

// Attempt is an outbound call that is about to be set up, already judged by the
// lists of destinations.
type Attempt struct {
	// ID is the record's. Key is the same for every INVITE of one attempt, the
	// repeat with credentials included: its Call-ID and From tag.
	ID, Key   string
	At        Moment
	Extension string // the account that calls, as attributed; never the From header alone
	// Claims are other names that the caller goes by: the account that it says it is,
	// its address. Nothing is counted for them, but a toll-block of one holds: it is
	// not left by registering, nor by not doing so.
	Claims    []string
	Trunk     string
	Number    string // E.164 with leading plus, or as dialled where there is none
	Country   string // where the number is, for a person
	Class     Class
	Refused   bool // a list of destinations blocks it anyway
	Misdial   bool // without its international prefix it would be a local number
	Forwarded bool // a leg that an inbound call caused: Diversion, or correlated
}

// Verdict is what becomes of an attempt. The zero value refuses.
type Verdict uint8

// The verdicts.
const (
	Refuse Verdict = iota
	Pass
)

// Outcome is the engine's answer to an attempt, with its grounds.
type Outcome struct {
	Verdict Verdict
	Cause   Cause
	Rule    RuleID // that spoke, where Cause is CauseRule or CauseBlock
	Why     string // one sentence for a person
	Actions []Action
}

// Cause says which part of the engine refused.
type Cause uint8

// The causes. A call that passes has none.
const (
	CauseNone    Cause = iota
	CauseBlock         // a toll-block is in force
	CauseHours         // outside business hours
	CauseRule          // a rule turned critical, or holds the call
	CauseCredit        // a money limit is used up
	CauseForward       // a forwarded leg to where none may go
)

var causeNames = [...]string{"none", "toll-block", "hours", "rule", "credit", "forwarded"}

// String returns the name of the cause.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return "unknown"
}

// Level says how sure a finding is.
type Level uint8

// The levels. A warning notifies; a critical finding blocks.
const (
	Notice Level = iota
	Warning
	Critical
)

// String returns "notice", "warning" or "critical".
func (l Level) String() string { return [...]string{"notice", "warning", "critical"}[min(l, Critical)] }

// Finding is what a rule saw.
type Finding struct {
	At        time.Time `json:"at"`
	Rule      RuleID    `json:"rule"`
	Level     Level     `json:"level"`
	Shadow    bool      `json:"shadow,omitempty"` // the rule is on trial: nothing was done
	Subject   Subject   `json:"subject"`
	Value     float64   `json:"value"` // what was measured
	Threshold float64   `json:"threshold"`
	Number    string    `json:"number,omitempty"`
	Call      string    `json:"call,omitempty"`
	Misdial   bool      `json:"misdial,omitempty"`
	Why       string    `json:"why"`
}

// ActionKind says what the engine asks for.
type ActionKind uint8

// The actions. Whoever runs the engine carries them out, in their order.
const (
	ActNotify ActionKind = iota // tell people: Finding says what
	ActCut                      // end the live call Call
	ActBlock                    // a toll-block has been entered: keep it, tell people
	ActReopen                   // a toll-block has been left
	ActSave                     // something durable has changed: take a snapshot now
)

// Action is one thing to be done.
type Action struct {
	Kind    ActionKind
	Finding Finding
	Call    string // of ActCut: the record's ID
	Block   *Block // of ActBlock and ActReopen: a copy
}

// Registration is a REGISTER that the far end accepted.
type Registration struct {
	At        Moment
	Extension string
	Source    netip.Addr
	Country   string // of the source, empty where it is unknown or on the LAN
	Agent     string // User-Agent
	Local     bool   // it came from the LAN
}
