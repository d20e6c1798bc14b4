package appliance

// MaxCandidates is how many candidates a trail holds at most.
const MaxCandidates = 24

// Trail is how the decision on a call came about: what was weighed, and by which
// edition of which documents.
type Trail struct {
	Candidates []Weighed `json:"candidates"`        // in the judge's order; the worst decides
	Omitted    int       `json:"omitted,omitempty"` // candidates that found no room in the record
	Serial     uint64    `json:"serial"`            // of the policy in force
	Edition    string    `json:"edition,omitempty"` // of the list that holds the rule
	Generation string    `json:"generation"`        // digest of the rules that judged
	Firmware   string    `json:"firmware"`          // version of the program that judged
}

// Weighed is one number that a dialled string can mean, with its own verdict.
type Weighed struct {
	Number  string   `json:"number"`
	Class   string   `json:"class,omitempty"`
	Via     []string `json:"via,omitempty"` // how it was reached, outermost first
	Label   string   `json:"label,omitempty"`
	Verdict Verdict  `json:"verdict"`
	Reason  Reason   `json:"reason"`
	Rule    string   `json:"rule,omitempty"`
	List    string   `json:"list,omitempty"`
	Why     string   `json:"why,omitempty"`
}
