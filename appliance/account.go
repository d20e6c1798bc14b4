package appliance

import (
	"net/netip"
	"time"
)

// Attribution says how it was found out who is calling, the best first. The From
// of a request is never one: it is a label.
type Attribution string

const (
	// AttributionDigest is an account whose credentials the far end accepted.
	AttributionDigest Attribution = "digest"
	// AttributionRegistration is the account that is registered from the address
	// and port that the request came from.
	AttributionRegistration Attribution = "registration"
	// AttributionSource is the address that the request came from, and no account.
	AttributionSource Attribution = "source"
)

// AccountKind says what an account is of.
type AccountKind string

const (
	// AccountExtension is a telephone's.
	AccountExtension AccountKind = "extension"
	// AccountTrunk is the PBX's at a provider.
	AccountTrunk AccountKind = "trunk"
)

// Account is who was accepted by a far end, as learned, or named in a document.
type Account struct {
	Name      string      `json:"name"` // user@domain of the registrar; user@pbx where that is the PBX
	Label     string      `json:"label,omitempty"`
	Kind      AccountKind `json:"kind"`
	Registrar string      `json:"registrar"`          // the trunk's name, or pbx
	Username  string      `json:"username,omitempty"` // of its digest
	Realm     string      `json:"realm,omitempty"`
	First     time.Time   `json:"first,omitzero"`  // seen; zero for one that a document names and nobody used yet
	Last      time.Time   `json:"last,omitzero"`   // seen
	Proven    time.Time   `json:"proven,omitzero"` // last time that its credentials were accepted
	// Allowed are the sources that a document lets it register from; empty for the
	// LAN alone.
	Allowed []string        `json:"allowed"`
	Sources []AccountSource `json:"sources"` // latest first, at most 8
	// Registrations are in force now, latest first.
	Registrations []Registration `json:"registrations"`
	Failures      int            `json:"failures"` // since it was last accepted
	Failed        time.Time      `json:"failed,omitzero"`
}

// AccountSource is where an account was used from, and with what.
type AccountSource struct {
	Address netip.AddrPort `json:"address"`
	Agent   string         `json:"agent"`
	First   time.Time      `json:"first"`
	Last    time.Time      `json:"last"`
}

// Registration is one contact that a registrar accepted.
type Registration struct {
	Contact string         `json:"contact"`
	Source  netip.AddrPort `json:"source"`
	Until   time.Time      `json:"until"`
}

// Suspect is a source that the guard holds something against.
type Suspect struct {
	Source      netip.Prefix `json:"source"`
	Seen        time.Time    `json:"seen"`
	State       string       `json:"state"` // counted, narrowed, ignored or banned
	Until       time.Time    `json:"until,omitzero"`
	Why         string       `json:"why,omitempty"`
	Accounts    int          `json:"accounts"`     // that failed in the window
	MaxAccounts int          `json:"max_accounts"` // that it takes
	Guesses     int          `json:"guesses"`      // the most for one account in the window
	MaxGuesses  int          `json:"max_guesses"`  // that it takes
	Window      int          `json:"window_seconds"`
	Slowed      []string     `json:"slowed"` // accounts, at most 10
	Bans        int          `json:"bans"`   // up to now
	Proven      time.Time    `json:"proven,omitzero"`
	Reliable    bool         `json:"reliable"` // it proved that it hears what is sent to it
}
