package appliance

import "time"

// TrunkState says whether a trunk, or one target of it, can be used.
type TrunkState string

// The states. A trunk is unknown until something was sent there. One that is down
// is still tried where there is nothing better.
const (
	TrunkUnknown TrunkState = "unknown"
	TrunkUp      TrunkState = "up"
	TrunkDown    TrunkState = "down"
)

// Trunk is a trunk as the inspector finds it.
type Trunk struct {
	Name     string        `json:"name"`
	Domain   string        `json:"domain"`
	State    TrunkState    `json:"state"` // the best of its targets
	Since    time.Time     `json:"since,omitzero"`
	Error    string        `json:"error,omitempty"` // why it has no target
	Fallback []string      `json:"fallback,omitempty"`
	Targets  []TargetState `json:"targets"` // best priority first
}

// TargetState is one target of a trunk.
type TargetState struct {
	Target
	State      TrunkState `json:"state"`
	Since      time.Time  `json:"since,omitzero"`       // of the state
	Heard      time.Time  `json:"heard,omitzero"`       // the last answer
	Latency    float64    `json:"latency_ms"`           // of the last answer, milliseconds
	Error      string     `json:"error,omitempty"`      // of the last failure
	RetryAfter time.Time  `json:"retry_after,omitzero"` // until when it asked to be left alone
}
