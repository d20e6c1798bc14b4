package appliance

import (
	"net/netip"
	"time"
)

// Side says on which side of the box a neighbour stands.
type Side string

const (
	// SideLAN is the site: its PBX and its phones.
	SideLAN Side = "lan"
	// SideTrunk is a trunk.
	SideTrunk Side = "trunk"
)

// Message is one SIP message as it crossed the box's edge. What the control API
// and HEP hand out of it holds no credentials: see package trace.
type Message struct {
	Time      time.Time      `json:"time"`
	Repeats   int            `json:"repeats,omitempty"` // how often the same message came or went again
	Last      time.Time      `json:"last,omitzero"`     // of the last repeat
	Sent      bool           `json:"sent"`              // by the box; else it was received
	Transport string         `json:"transport"`         // udp, tcp or tls
	Local     netip.AddrPort `json:"local"`             // the box's address
	Remote    netip.AddrPort `json:"remote"`            // the neighbour's
	Side      Side           `json:"side,omitempty"`    // where the neighbour stands; empty where nobody knows any more
	Peer      string         `json:"peer,omitempty"`    // the trunk's name, or pbx
	Length    int            `json:"length"`            // bytes on the wire; Text may hold fewer
	Text      string         `json:"text"`
}

// Trace is what is kept of the messages of one call.
type Trace struct {
	Messages []Message `json:"messages"` // oldest first
	Omitted  int       `json:"omitted"`  // messages that came between the first and the last ones and were not kept
	Note     string    `json:"note"`     // why there are none, or not all; else empty
}

// Export is how sending copies of messages to a collector goes.
type Export struct {
	Address string `json:"address"` // of the collector
	Sent    uint64 `json:"sent"`    // messages, since the daemon started
	Dropped uint64 `json:"dropped"` // messages that the collector was too slow or too far for
	Trouble string `json:"trouble"` // what is wrong now; empty where nothing is
}
