// Package dialplan reads dialled strings. A string rarely means one number: an
// access digit may or may not be stripped by the PBX, a provider may read
// 252... as +252... or as a national number. Read returns every E.164 number
// that the string can mean, so that a judge can take the worst.
//
// The package also holds the numbering facts of the supported home countries,
// longest-prefix tables over E.164 numbers, and labels for display. Labels come
// from libphonenumber's metadata and never decide.
package dialplan

// Class sorts E.164 numbers and dialled strings by what they cost and where
// they end, seen from the home country. The zero value is unknown.
type Class string

// The classes.
const (
	ClassUnknown       Class = ""
	ClassEmergency     Class = "emergency"
	ClassInternal      Class = "internal"
	ClassNational      Class = "national"
	ClassPremium       Class = "premium"
	ClassInternational Class = "international"
)

// Candidate is one number that a dialled string can mean.
type Candidate struct {
	Number string   `json:"number"` // E.164 with leading plus, or the short code or extension itself
	Class  Class    `json:"class"`
	Via    []string `json:"via"`   // how it was reached, in words, outermost first
	Label  string   `json:"label"` // country or service, for display only
	// Doubtful marks a meaning that only a careless network would see, or that
	// another string than the dialled one has. It can block a call, but is no
	// ground to let one pass, unless it is an emergency number.
	Doubtful bool `json:"doubtful,omitempty"`
}
