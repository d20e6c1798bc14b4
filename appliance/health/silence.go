package health

import (
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// When an interface that receives and a gate that counts nothing don't go
// together any more: no network is without a broadcast or a neighbour's question
// for so long, and counters that are read one after the other differ by less.
const (
	silenceTime    = time.Minute
	silencePackets = 1000
)

// silence is how things stood when the gate was last seen to count, or when the
// interface was seen first.
type silence struct {
	index             int
	received, counted uint64
	since             time.Time
}

// checkSilence finds interfaces on which the gate is attached and never runs:
// there are drivers that take a program and forget about it (mtk_eth_soc on
// MT7621), and another program may pass everything before the gate sees it. The
// gate's counts are of all interfaces together, so that it can be told only
// while there are none at all.
func (m *Monitor) checkSilence(have Perimeter, now time.Time) (checks []appliance.Check) {
	for _, one := range have.Interfaces {
		before, known := m.silent[one.Name]
		if !known || one.Error != "" || before.index != one.Index || one.Received < before.received || have.Counted != before.counted {
			m.silent[one.Name] = silence{one.Index, one.Received, have.Counted, now}
			continue
		}
		if came := one.Received - before.received; came >= silencePackets && now.Sub(before.since) >= silenceTime {
			checks = append(checks, check("gate "+one.Name+" runs", appliance.Red,
				"%d packets came in since %s, and the gate counted none: the driver took the program and does not run it, or another program comes before it; nothing is guarded there",
				came, before.since.UTC().Format(time.DateTime+" MST")))
		}
	}
	return checks
}
