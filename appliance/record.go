package appliance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

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

// CallFilter selects call records, newest start first, of one moment by falling ID:
// an order that new records don't disturb. The zero filter selects all.
type CallFilter struct {
	ID    string    // records whose ID starts with it
	Since time.Time // records that started at or after it
	// Before selects records that started before it and, where BeforeID is given, those
	// that started at it with a lower ID: what follows a record in the list.
	Before   time.Time
	BeforeID string
	Verdict  *Verdict // nil for both
	Number   string   // records whose number starts with it, with or without its plus
	Account  string   // records of that account, with or without its domain, or where none is known, of that From
	Trail    bool     // with the trail
	Limit    int      // at most so many; 0 means no limit
}

// EventFilter selects journal entries, newest first. The zero filter selects
// all.
type EventFilter struct {
	After  int64     // entries with a higher Seq
	Before int64     // entries with a lower Seq; 0 means no bound
	Since  time.Time // entries at or after it
	Kind   EventKind // empty for every kind
	Limit  int       // at most so many; 0 means no limit
}

// EventKinds returns every kind of event.
func EventKinds() []EventKind {
	return []EventKind{EventCall, EventRefusal, EventChange, EventGate, EventRegistration, EventGuard, EventCut, EventTrunk, EventFraud, EventDaemon}
}

// Audit is one line of the audit log: who changed what. Each line has the hash of
// the one before, so that none can be changed or taken out unseen.
type Audit struct {
	Seq     uint64    `json:"seq"` // from 1 on, without gaps
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`   // a person, or "box"
	Action  string    `json:"action"`  // what was done: change, block, reopen, release, ban, ...
	Subject string    `json:"subject"` // to what
	Message string    `json:"message"` // one sentence, no secrets
	Before  string    `json:"before"`  // Hash of the line before; empty for the first of a chain
	Hash    string    `json:"hash"`    // SHA-256 in hexadecimal over the line without it
}

// Sum returns the hash that belongs to a line.
func (a Audit) Sum() string {
	a.Hash = ""
	data, err := json.Marshal(a)
	if err != nil {
		return "" // never: strings, a number and a time
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
