// Package appliance is the vocabulary that every other package of Ringfence
// speaks: verdicts, reasons, events, call records, drops, tallies, status and
// errors. It holds values only and imports nothing of ours.
//
// Zero means no throughout: the zero Verdict blocks, the zero Reason is "no
// rules", the zero Level is red.
package appliance

import "fmt"

// Verdict is what a judge says of a packet or a call. The zero value blocks.
type Verdict uint8

const (
	// Block drops the packet or refuses the call.
	Block Verdict = iota
	// Allow lets it through.
	Allow
)

// String returns "block" or "allow"; a value outside the enum reads "block",
// because that is how it is enforced.
func (v Verdict) String() string {
	if v == Allow {
		return "allow"
	}
	return "block"
}

// MarshalText implements encoding.TextMarshaler with the words of String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It accepts exactly "block"
// and "allow".
func (v *Verdict) UnmarshalText(text []byte) error {
	switch string(text) {
	case "block":
		*v = Block
	case "allow":
		*v = Allow
	default:
		return fmt.Errorf("read verdict %q: want block or allow", text)
	}
	return nil
}
