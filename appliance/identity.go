package appliance

import "time"

// Certificate is a certificate that TLS is spoken with, and how its files are.
type Certificate struct {
	For         string    `json:"for"` // "listeners", "pbx" or "trunk " and its name
	Names       []string  `json:"names"`
	Until       time.Time `json:"until,omitzero"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256, in hex
	Own         bool      `json:"own,omitempty"`         // the box signed it itself
	PEM         string    `json:"pem,omitempty"`
	Error       string    `json:"error,omitempty"` // why the files can't be used as they are now
}
