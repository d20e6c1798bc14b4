package appliance

import (
	"net/netip"
	"time"
)

// EventKind sorts events for the journal.
type EventKind string

const (
	// EventCall reports a call record that is new or has changed; Event.Call is set.
	EventCall EventKind = "call"
	// EventRefusal reports a SIP message refused for what it is, outside any call record.
	EventRefusal EventKind = "refusal"
	// EventChange reports a document (policy or settings) applied or turned down.
	EventChange EventKind = "change"
	// EventGate reports the gate's life cycle: loaded, adopted, swapped, lost.
	EventGate EventKind = "gate"
	// EventRegistration reports a REGISTER accepted by the far end.
	EventRegistration EventKind = "registration"
	// EventFraud reports what the behaviour engine found and did.
	EventFraud EventKind = "fraud"
	// EventCut reports how far the cut of a call has come; Subject is the record's ID.
	EventCut EventKind = "cut"
	// EventGuard reports what the guard found out about a source, and an account
	// that is used from elsewhere or with something else than before.
	EventGuard EventKind = "guard"
	// EventTrunk reports that a trunk's target went down or came back.
	EventTrunk EventKind = "trunk"
	// EventDaemon reports the daemon's own life cycle.
	EventDaemon EventKind = "daemon"
)

// Event is one thing that happened, handed up by a hand through a
// func(Event) given at construction. The receiver must not block: the sender
// may hold a packet in its hand.
type Event struct {
	Time    time.Time      `json:"time"`
	Kind    EventKind      `json:"kind"`
	Verdict Verdict        `json:"verdict"`
	Reason  Reason         `json:"reason"`
	Source  netip.AddrPort `json:"source,omitzero"`
	Subject string         `json:"subject,omitempty"` // account, interface or document
	Message string         `json:"message"`           // one sentence, no secrets
	Call    *Call          `json:"call,omitempty"`
}

// Direction says which way a call crosses the box.
type Direction string

const (
	// Outbound is from the LAN towards a trunk.
	Outbound Direction = "outbound"
	// Inbound is from a trunk towards the LAN.
	Inbound Direction = "inbound"
)

// Call is the record of one call attempt. It is reported (as a whole, by ID)
// when it is decided, when it is answered and when it ends. A refused call is
// reported once, with End set.
type Call struct {
	ID        string    `json:"id"`      // eight lower-case base32 characters, unique on this box
	CallID    string    `json:"call_id"` // the SIP Call-ID
	Direction Direction `json:"direction"`
	Use       string    `json:"use"` // call, transfer, redirect or message
	Start     time.Time `json:"start"`
	Answer    time.Time `json:"answer,omitzero"`
	End       time.Time `json:"end,omitzero"`
	From      string    `json:"from"`   // the user part of From: a label, never proof
	Source    string    `json:"source"` // address and port that sent the request
	// Account is who is calling, empty where only the source is known.
	Account     string      `json:"account"`
	Attribution Attribution `json:"attribution"`
	Dialled     string      `json:"dialled"` // what was dialled, as read
	Number      string      `json:"number"`  // the E.164 number that decided, with +, or empty
	Label       string      `json:"label"`   // country or service, for display
	Trunk       string      `json:"trunk"`
	Verdict     Verdict     `json:"verdict"`
	Reason      Reason      `json:"reason"`
	Rule        string      `json:"rule"` // the prefix that decided, such as +252
	List        string      `json:"list"` // the list that holds the rule
	Why         string      `json:"why"`  // the rule's reason, for a person
	Status      int         `json:"status"`
	// Forwarded says that the call carries another one on: it names who was called
	// before, or it left the same PBX within 2 s of a call that came in, with the
	// same caller or media.
	Forwarded bool `json:"forwarded,omitempty"`
	// Hairpin says that a call from a trunk claims to come from a number of this
	// site: a sign of callback fraud.
	Hairpin bool `json:"hairpin,omitempty"`
	// Overlap says that the dialled string grew out of one that was tried before.
	Overlap bool `json:"overlap,omitempty"`
	// Digits is how many digits were signalled by INFO after the call was set up.
	Digits int `json:"digits,omitempty"`
	// Ended says why the box itself ended the call, empty where one side did.
	Ended Ended `json:"ended,omitempty"`
	// Tries counts the INVITEs of this record: one that is sent again with
	// credentials, or after a refusal, is the same attempt (Call-ID and From tag).
	Tries int `json:"tries,omitempty"`
	// Attempt is the ID of the first record of the same attempt where this is
	// another one, because more digits were dialled. Whoever counts attempts counts
	// records without it. Another number under the same Call-ID is another attempt:
	// else nothing would be counted of whoever uses one for all calls.
	Attempt string `json:"attempt,omitempty"`
	Trail   *Trail `json:"trail,omitempty"` // nil in lists
}

// Ended says why the box ended an answered call.
type Ended string

const (
	// EndedLongest is a call that reached its longest duration.
	EndedLongest Ended = "longest"
	// EndedLost is a call of which one side no longer knows.
	EndedLost Ended = "lost"
	// EndedUnwatched is a call that went on when the inspector stopped: nobody saw
	// its end, and it is counted until then.
	EndedUnwatched Ended = "unwatched"
)

// Drop is one sampled packet that the gate dropped.
type Drop struct {
	Time        time.Time      `json:"time"`
	Interface   string         `json:"interface"`
	Source      netip.AddrPort `json:"source"`
	Destination netip.AddrPort `json:"destination"`
	Protocol    string         `json:"protocol"` // udp, tcp or the IP protocol number
	VLAN        uint16         `json:"vlan,omitempty"`
	Length      uint16         `json:"length"` // bytes of the frame
	Reason      Reason         `json:"reason"`
	// Weight is how many dropped packets the sample stands for, at least 1.
	Weight uint64 `json:"weight"`
}

// Ban shuts a source out of everything guarded and every new connection until a
// moment, unless a document spares it.
type Ban struct {
	Source netip.Prefix `json:"source"` // one IPv4 address (/32) or one IPv6 site (/64)
	Since  time.Time    `json:"since"`
	Until  time.Time    `json:"until"`
	Reason string       `json:"reason"`
}

// Tally is an exact count of packets and their frame bytes.
type Tally struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Tallies counts by reason.
type Tallies map[Reason]Tally
