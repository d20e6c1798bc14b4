// Package api is the control API on the wire: the values that cross the unix
// socket, the client that programs on the box use, and the description of every
// route (openapi.yaml). It holds no logic of the appliance.
package api

import (
	_ "embed"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Description is the API in OpenAPI 3.0, served at GET /openapi.yaml.
//
//go:embed openapi.yaml
var Description []byte

// The largest request bodies that are read, in bytes: MaxFeed of a feed's
// content, MaxBody of anything else.
const (
	MaxBody = 1 << 20
	MaxFeed = 64 << 20
)

// Limits of a list: how many entries come unasked, and at most.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Failure is the body of every answer that is not 2xx.
type Failure struct {
	Errors appliance.Errors `json:"errors"` // never empty
}

// Status is the state of the box and of what it keeps count of.
type Status struct {
	appliance.Status
	Started  time.Time        `json:"started"` // of the daemon
	Policy   Edition          `json:"policy"`
	Settings Edition          `json:"settings"`
	Journal  Journal          `json:"journal"`
	Export   appliance.Export `json:"export"` // zero where no copies are sent
}

// Edition names the document in force.
type Edition struct {
	Revision string `json:"revision"`         // as in ETag, without quotes
	Serial   uint64 `json:"serial,omitempty"` // of the policy
	Issuer   string `json:"issuer,omitempty"` // of the policy
}

// Journal counts the events since the daemon started that are in no record.
type Journal struct {
	Lost       uint64 `json:"lost"`       // the queue was full
	Suppressed uint64 `json:"suppressed"` // refusals above the rate that is kept
	Unwritten  uint64 `json:"unwritten"`  // the disk took no more
}

// Calls is the answer to GET /calls: newest first.
type Calls struct {
	Calls []appliance.Call `json:"calls"`
}

// NewCut is the body of POST /calls/{id}/cut.
type NewCut struct {
	Reason string `json:"reason,omitempty"` // why, for whoever reads the record
}

// Cuts is the answer to GET /cuts: calls that are being ended from here.
type Cuts struct {
	Cuts []appliance.Cut `json:"cuts"`
}

// Messages is the answer to GET /calls/{id}/messages: the record, and what is kept
// of its messages.
type Messages struct {
	Call appliance.Call `json:"call"`
	appliance.Trace
}

// Events is the answer to GET /events: newest first.
type Events struct {
	Events []appliance.Entry `json:"events"`
}

// Sample is a dropped packet that the gate showed. Seq counts the samples since
// the daemon started.
type Sample struct {
	Seq uint64 `json:"seq"`
	appliance.Drop
}

// Drops is the answer to GET /drops. Tallies are exact and count on over a
// restart of the daemon; samples are a few of those packets, newest first.
type Drops struct {
	Started  time.Time                   `json:"started"`  // of the daemon: another one counts samples anew
	Tallies  appliance.Tallies           `json:"tallies"`  // packets at the gate, by reason
	Refusals map[appliance.Reason]uint64 `json:"refusals"` // SIP messages that the inspector refused, by reason
	Samples  []Sample                    `json:"samples"`
}

// Try is the question of POST /try: what would happen if somebody dialled this?
type Try struct {
	Dialled string `json:"dialled"`         // as a person types it, or a SIP or tel URI
	From    string `json:"from,omitempty"`  // the caller's extension
	Trunk   string `json:"trunk,omitempty"` // empty: the judge chooses
}

// Tried is the answer: the judge's whole trail (rules.Decision). Nothing was
// dialled.
type Tried struct {
	Verdict    appliance.Verdict `json:"verdict"`
	Reason     appliance.Reason  `json:"reason"`
	Dialled    string            `json:"dialled"` // the canonical dialled string
	Number     string            `json:"number"`  // the candidate that decided
	Class      string            `json:"class"`   // emergency, internal, national, premium, international or empty
	Label      string            `json:"label"`   // country or service
	Rule       string            `json:"rule"`    // the prefix that matched
	List       string            `json:"list"`    // the list that holds it
	Why        string            `json:"why"`     // the entry's reason
	Trunk      string            `json:"trunk"`
	Candidates []Candidate       `json:"candidates"` // in the judge's order; the worst decides
	Generation string            `json:"generation"` // digest of the rules that judged
}

// Candidate is one number that the dialled string can mean, judged by itself.
type Candidate struct {
	Number  string            `json:"number"`
	Class   string            `json:"class"`
	Via     []string          `json:"via"` // how it was reached, outermost first
	Label   string            `json:"label"`
	Verdict appliance.Verdict `json:"verdict"`
	Reason  appliance.Reason  `json:"reason"`
	Rule    string            `json:"rule"`
	List    string            `json:"list"`
	Why     string            `json:"why"`
}

// Applied is the answer to a change that is in force.
type Applied struct {
	Revision   string   `json:"revision"`   // of the changed document
	Generation string   `json:"generation"` // digest of the rules now in force
	Notes      []string `json:"notes"`      // sentences about what the change brings with it
}

// Exception lets a prefix pass that a list blocks.
type Exception struct {
	Prefix  string    `json:"prefix"` // E.164 with leading plus
	Reason  string    `json:"reason"`
	Until   time.Time `json:"until,omitzero"` // zero: no end
	Expired bool      `json:"expired"`        // Until has passed: it has no effect
}

// Exceptions is the answer to GET /allow, in document order.
type Exceptions struct {
	Exceptions []Exception `json:"exceptions"`
}

// NewException is the body of POST /allow. One of the same prefix is replaced.
type NewException struct {
	Prefix string    `json:"prefix"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"`
}

// Count is one line of a ranking. What there really was is between Count-Over
// and Count; Over is zero where it was counted exactly.
type Count struct {
	Key   string `json:"key"`
	Count uint64 `json:"count"`
	Over  uint64 `json:"over,omitempty"`
}

// Top is the answer to GET /top: rankings over a window of time that ends now.
// Sources and ports are of the packets that the gate showed, each counted for as
// many as it stands for; reasons and tallies are exact.
type Top struct {
	Time     time.Time                   `json:"time"`
	Window   string                      `json:"window"` // 5m, 1h or 24h
	Since    time.Time                   `json:"since"`
	Packets  uint64                      `json:"packets"` // that sources and ports are shares of
	Sources  []Count                     `json:"sources"` // IPv4 address or IPv6 /64
	Ports    []Count                     `json:"ports"`   // destination, such as udp/5060
	Reasons  []Count                     `json:"reasons"` // those that dropped, exact, in the window
	Tallies  appliance.Tallies           `json:"tallies"` // since the gate was loaded
	Refusals map[appliance.Reason]uint64 `json:"refusals"`
	Live     []appliance.Call            `json:"live"` // calls in progress, oldest first
}

// NewBan is the body of POST /bans. One of the same source is replaced.
type NewBan struct {
	Source string    `json:"source"`         // IPv4 address, or IPv6 address for its /64
	Until  time.Time `json:"until,omitzero"` // zero: in 24 hours
	Reason string    `json:"reason,omitempty"`
}

// Banned is the answer to a ban that is in force, or that was lifted.
type Banned struct {
	Ban   appliance.Ban `json:"ban"`
	Notes []string      `json:"notes"` // sentences about what it brings with it
}

// Bans is the answer to GET /bans: newest first.
type Bans struct {
	Total int             `json:"total"` // in force; the list may be cut
	Bans  []appliance.Ban `json:"bans"`
}

// Accounts is the answer to GET /accounts: by name.
type Accounts struct {
	Total    int                 `json:"total"` // the list may be cut
	Accounts []appliance.Account `json:"accounts"`
}

// Guard is the answer to GET /guard: the worst first.
type Guard struct {
	Total    int                 `json:"total"` // sources that anything is held against; the list may be cut
	Suspects []appliance.Suspect `json:"suspects"`
}

// Pardoned is the answer to a source that nothing is held against any more.
type Pardoned struct {
	Source netip.Prefix `json:"source"`
}

// States of a feed.
const (
	FeedInForce = "in_force"
	FeedMissing = "missing" // a document names it and it was never imported
	FeedDamaged = "damaged" // what was imported can't be used any more
	FeedUnused  = "unused"  // it was imported and no document names it any more
)

// Feed is a deny feed and its content.
type Feed struct {
	Name      string    `json:"name"`
	Owner     string    `json:"owner"`  // policy, settings or empty
	Format    string    `json:"format"` // cidr, apiban, drop, rir or empty
	Countries []string  `json:"countries"`
	State     string    `json:"state"`
	Entries   int       `json:"entries"` // as its publisher counts them
	Digest    string    `json:"digest"`  // of the addresses
	Imported  time.Time `json:"imported,omitzero"`
	Note      string    `json:"note,omitempty"` // what is wrong

	// Of a feed that is fetched.
	URL     string    `json:"url,omitempty"`
	Every   string    `json:"every,omitempty"`  // whole hours, such as 24h
	Tried   time.Time `json:"tried,omitzero"`   // last try
	Fetched time.Time `json:"fetched,omitzero"` // last success, also where nothing had changed
	Next    time.Time `json:"next,omitzero"`    // next try; one that has passed means now
	Error   string    `json:"error,omitempty"`  // of the last try
}

// Feeds is the answer to GET /feeds: the policy's, the settings', and then
// content that no document names.
type Feeds struct {
	Feeds []Feed `json:"feeds"`
}

// Imported is the answer to an import or a fetch that is in force, and to content
// that was removed.
type Imported struct {
	Feed       Feed   `json:"feed"`
	Generation string `json:"generation"`          // digest of the rules now in force
	Unchanged  bool   `json:"unchanged,omitempty"` // what was to be fetched was in force already
}
