package inspector

import (
	"hash/maphash"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// attempts tells which records belong together: an INVITE that comes again with
// credentials, or after a refusal, is the same attempt (Call-ID and From tag). It
// remembers a fixed number of them, the last ones.
type attempts struct {
	seed  maphash.Seed
	known map[uint64]*attempted
	order []uint64 // a ring of the keys in known
	next  int
}

// attempted is the last record of one attempt.
type attempted struct {
	first string // ID of the attempt's first record

	id      string // of its latest record, as are those below
	start   time.Time
	attempt string
	tries   int
	asked   uint64 // what was asked for, and what was said
	over    bool   // a final response was sent that is no success
	at      time.Time
}

// attemptsKept is how many attempts are remembered, and attemptLasts for how long:
// whoever is asked for a password may have to type it.
const (
	attemptsKept = 4096
	attemptLasts = 5 * time.Minute
)

func newAttempts() attempts {
	return attempts{seed: maphash.MakeSeed(), known: make(map[uint64]*attempted), order: make([]uint64, attemptsKept)}
}

func (a *attempts) key(callID, fromTag string) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	_, _ = h.WriteString(callID)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(fromTag)
	return h.Sum64()
}

// join makes a new record part of the attempt that it belongs to. One that asks for
// the same again continues the record before. One with more digits, and one that
// comes while the other is under way, points at the first. Another number begins an
// attempt of its own, whatever its Call-ID: one for all calls would hide them.
func (a *attempts) join(key uint64, record *appliance.Call) {
	record.Tries = 1
	was := a.known[key]
	if was == nil || record.Start.Sub(was.at) > attemptLasts || was.asked != a.question(record) && !record.Overlap {
		was = &attempted{first: record.ID}
		a.enter(key, was)
	} else if was.over && was.asked == a.question(record) {
		record.ID, record.Attempt, record.Tries = was.id, was.attempt, was.tries+1
	} else {
		record.Attempt = was.first
	}
	was.at, was.over = record.Start, false
	if record.Tries > 1 {
		record.Start = was.start
	}
	was.id, was.start, was.attempt, was.tries, was.asked = record.ID, record.Start, record.Attempt, record.Tries, a.question(record)
}

func (a *attempts) question(record *appliance.Call) uint64 {
	return a.key(record.Dialled, record.Use+" "+record.Verdict.String())
}

func (a *attempts) enter(key uint64, one *attempted) {
	if a.known[key] == nil {
		delete(a.known, a.order[a.next])
		a.order[a.next] = key
		a.next = (a.next + 1) % len(a.order)
	}
	a.known[key] = one
}

// failed notes that a record's request was turned down: the next one that asks for
// the same is another try.
func (a *attempts) failed(key uint64, id string) {
	if was := a.known[key]; was != nil && was.id == id {
		was.over = true
	}
}
