package appliance

import "time"

// Document names one of the two documents that everything is compiled from.
type Document string

const (
	// DocumentPolicy is the provider's document.
	DocumentPolicy Document = "policy"
	// DocumentSettings is the installer's document.
	DocumentSettings Document = "settings"
)

// Entry is an event as the journal holds it. Seq rises by at least one from
// entry to entry and is never used twice.
type Entry struct {
	Seq int64 `json:"seq"`
	Event
}

// CallFilter selects call records, newest first. The zero filter selects all.
type CallFilter struct {
	ID      string    // records whose ID starts with it
	Since   time.Time // records that started at or after it
	Verdict *Verdict  // nil for both
	Limit   int       // at most so many; 0 means no limit
}

// EventFilter selects journal entries, newest first. The zero filter selects
// all.
type EventFilter struct {
	After int64     // entries with a higher Seq
	Since time.Time // entries at or after it
	Kind  EventKind // empty for every kind
	Limit int       // at most so many; 0 means no limit
}

// EventKinds returns every kind of event.
func EventKinds() []EventKind {
	return []EventKind{EventCall, EventRefusal, EventChange, EventGate, EventRegistration, EventDaemon}
}
