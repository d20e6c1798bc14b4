package appliance

import (
	"net/netip"
	"time"
)

// Stream is one stream of packets that the two sides of a dialog negotiated in
// their session descriptions (RFC 8866, RFC 3264): where each side wants it sent
// to. A side that has not said yet is zero.
type Stream struct {
	Kind    string         `json:"kind"` // audio, video, image or another media type; with "/rtcp" its control packets
	Inside  netip.AddrPort `json:"inside,omitzero"`
	Outside netip.AddrPort `json:"outside,omitzero"`
}

// MediaKey selects UDP packets of calls as the gate sees them on the WAN, behind
// NAT. The address of whoever is inside is not in it, since NAT changes it; the
// local port is that of the WAN side, which NAT keeps where it can. A zero field
// matches anything, but in permits: see Gate.Permit.
type MediaKey struct {
	Remote     netip.Addr // whoever is on the internet, never IPv4-mapped
	RemotePort uint16
	LocalPort  uint16
}

// Conversation is datagrams that somebody inside exchanges with somebody on the
// internet, as NAT knows of it. Its key is whole.
type Conversation struct {
	Inside netip.AddrPort
	Key    MediaKey
}

// CutState is how far one side of a call that is being cut has come.
type CutState string

const (
	// CutPending is a side whose BYE has no final answer yet.
	CutPending CutState = "pending"
	// CutConfirmed is a side that has agreed, or that knew of the end already.
	CutConfirmed CutState = "confirmed"
	// CutChallenged is a side that wants a digest for the BYE, which this box has
	// not: its media stays cut and its refreshes are refused.
	CutChallenged CutState = "challenged"
	// CutLost is a side that has not answered at all.
	CutLost CutState = "lost"
	// CutRefused is a side that answered with anything else.
	CutRefused CutState = "refused"
)

// CutSide is what became of one side.
type CutSide struct {
	Side    string   `json:"side"`    // lan or provider
	Address string   `json:"address"` // whom the BYE or CANCEL goes to
	State   CutState `json:"state"`
	Status  int      `json:"status,omitempty"` // of its last final answer, 0 for none
	Tries   int      `json:"tries"`            // requests sent, without retransmissions
}

// Cut is a call that was ended here, or is being ended.
type Cut struct {
	ID     string    `json:"id"` // of the call record
	Reason string    `json:"reason"`
	Start  time.Time `json:"start"`
	// Complete says that every side on the provider's end has confirmed. Until
	// then the media stays cut, and whatever would refresh the call is refused.
	Complete bool      `json:"complete"`
	Sides    []CutSide `json:"sides"`
	// Media says how the media was stopped, or why it could not be.
	Media string `json:"media"`
}
