package appliance

import (
	"encoding/json"
	"time"
)

// NoticeKind sorts notices to people.
type NoticeKind string

const (
	// NoticeBlocked is the first refused call of its kind: perhaps a misdial.
	NoticeBlocked NoticeKind = "call_blocked"
	// NoticeTollBlock is a toll-block that was entered.
	NoticeTollBlock NoticeKind = "toll_block"
	// NoticeReopened is a toll-block that was left, with the proof.
	NoticeReopened NoticeKind = "reopened"
	// NoticeCredit is a money limit that is near, or used up.
	NoticeCredit NoticeKind = "credit"
	// NoticeCredential is a weak secret that the audit found.
	NoticeCredential NoticeKind = "weak_credential"
	// NoticePolicy is a policy that could not be put in force.
	NoticePolicy NoticeKind = "policy_failure"
	// NoticeDigest is the summary of a day.
	NoticeDigest NoticeKind = "digest"
	// NoticeTest is sent by hand, to see whether notices arrive.
	NoticeTest NoticeKind = "test"
)

// Notice is a message to the people who look after a site. It holds no secret and
// no link that does anything: whoever acts on it logs in.
type Notice struct {
	ID       string          `json:"id"` // unique on this box
	Time     time.Time       `json:"time"`
	Site     string          `json:"site"`
	Kind     NoticeKind      `json:"kind"`
	Urgent   bool            `json:"urgent"`
	Title    string          `json:"title"`    // one line
	Happened []string        `json:"happened"` // sentences
	Done     []string        `json:"done"`     // what the box did about it
	Next     []string        `json:"next"`     // what people should do
	Details  json.RawMessage `json:"details,omitempty"`
}
