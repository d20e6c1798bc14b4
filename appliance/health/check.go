package health

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

func check(name string, level appliance.Level, format string, args ...any) appliance.Check {
	return appliance.Check{Name: name, Level: level, Message: fmt.Sprintf(format, args...)}
}

// checkGate compares the kernel with the rules: one check for the generation,
// one for each interface.
func checkGate(want Want, have Perimeter) []appliance.Check {
	var checks []appliance.Check
	for _, name := range want.WAN {
		checks = append(checks, checkInterface(name, have.Interfaces))
	}
	switch {
	case len(want.WAN) == 0 && len(have.Interfaces) == 0 && have.Error == "":
		checks = append(checks, check("gate", appliance.Amber, "no WAN interface is named in the settings, nothing is guarded"))
	case have.Error != "":
		checks = append(checks, check("gate", appliance.Red, "the generation in force can't be read: %s", have.Error))
	case have.Generation != want.Generation:
		checks = append(checks, check("gate", appliance.Red, "generation %s is in the kernel, %s should be", orNone(have.Generation), want.Generation))
	default:
		checks = append(checks, check("gate", appliance.Green, "generation %s is in the kernel", have.Generation))
	}
	if have.Interpreted {
		checks = append(checks, check("gate speed", appliance.Amber, "the kernel interprets the program, which costs each packet many times as much: set net.core.bpf_jit_enable to 1"))
	}
	return checks
}

func orNone(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest
}

func checkInterface(name string, have []Interface) appliance.Check {
	at := slices.IndexFunc(have, func(one Interface) bool { return one.Name == name })
	switch {
	case at < 0:
		return check("gate "+name, appliance.Red, "not guarded")
	case have[at].Error != "":
		return check("gate "+name, appliance.Red, "not guarded as it should be: %s", have[at].Error)
	case have[at].Mode != "native":
		return check("gate "+name, appliance.Amber, "guarded in %s mode, as strictly as in the driver, but packets are dropped after the kernel has built its buffers, at about a third of the speed: %s", have[at].Mode, have[at].Note)
	case have[at].Note != "":
		return check("gate "+name, appliance.Amber, "guarded in native mode; %s", have[at].Note)
	default:
		return check("gate "+name, appliance.Green, "guarded in native mode")
	}
}

// checkCuts tells of calls that somebody cut and whose provider has not confirmed
// it: he may go on to count. There is nothing to say where there is none.
func checkCuts(cuts []appliance.Cut) []appliance.Check {
	var open []string
	level := appliance.Amber // answers are on their way
	for _, one := range cuts {
		if one.Complete {
			continue
		}
		open = append(open, one.ID)
		if !slices.ContainsFunc(one.Sides, func(side appliance.CutSide) bool { return side.State == appliance.CutPending }) {
			level = appliance.Red
		}
	}
	if len(open) == 0 {
		return nil
	}
	slices.Sort(open)
	more := ""
	if len(open) > 5 {
		more, open = fmt.Sprintf(" and %d more", len(open)-5), open[:5]
	}
	return []appliance.Check{check("cuts", level, "cut incomplete: the provider has not confirmed the end of %s%s; their media stays cut", strings.Join(open, ", "), more)}
}

// checkInspector wants a UDP and a TCP socket for every address, and one for TLS
// for each of those in secure.
func checkInspector(want, secure []netip.AddrPort, have []string, trouble error) appliance.Check {
	var missing []string
	for _, addr := range want {
		for _, transport := range []string{"udp", "tcp"} {
			if socket := transport + " " + addr.String(); !slices.Contains(have, socket) {
				missing = append(missing, socket)
			}
		}
	}
	for _, addr := range secure {
		if socket := "tls " + addr.String(); !slices.Contains(have, socket) {
			missing = append(missing, socket)
		}
	}
	switch {
	case len(missing) > 0 && trouble != nil:
		return check("inspector", appliance.Red, "not listening on %s: %v", strings.Join(missing, ", "), trouble)
	case len(missing) > 0:
		return check("inspector", appliance.Red, "not listening on %s", strings.Join(missing, ", "))
	default:
		return check("inspector", appliance.Green, "listening on %s", strings.Join(have, ", "))
	}
}

// asideShown is how long a file that was set aside is worth a word.
const asideShown = 7 * 24 * time.Hour

func (m *Monitor) checkStore(now time.Time) appliance.Check {
	if err := m.store.Probe(); err != nil {
		return check("store", appliance.Red, "calls and changes can't be kept: %v", err)
	}
	if name, at := m.store.SetAside(); name != "" && now.Sub(at) < asideShown {
		return check("store", appliance.Amber, "the database could not be used on %s and a new one was started; the old one is kept as %s",
			at.Format(time.DateOnly), name)
	}
	return check("store", appliance.Green, "a test record was written")
}

// checkAudit tells of an audit log that was set aside. There is nothing to say where
// none was.
func (m *Monitor) checkAudit(now time.Time) []appliance.Check {
	name, at := m.store.AuditSetAside()
	if name == "" || now.Sub(at) >= asideShown {
		return nil
	}
	return []appliance.Check{check("audit log", appliance.Amber, "the audit log was damaged on %s and a new one was started; the old one is kept as %s",
		at.Format(time.DateOnly), name)}
}

// Bounds of free space in percent of the partition.
const (
	spaceAmber = 15
	spaceRed   = 3
)

func (m *Monitor) checkSpace() appliance.Check {
	free, total, err := m.store.Space()
	if err != nil {
		return check("space", appliance.Red, "%v", err)
	}
	percent := free * 100 / max(total, 1)
	level := appliance.Green
	if percent < spaceAmber {
		level = appliance.Amber
	}
	if percent < spaceRed {
		level = appliance.Red
	}
	return check("space", level, "%d MiB free, %d %% of the data partition", free>>20, percent)
}

func checkJournal(lost uint64) appliance.Check {
	if lost > 0 {
		return check("journal", appliance.Amber, "%d events since the daemon started are in no record", lost)
	}
	return check("journal", appliance.Green, "every event is recorded")
}

// epoch is before the first release: a clock that shows less was never set.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func checkClock(now time.Time) appliance.Check {
	if now.Before(epoch) {
		return check("clock", appliance.Amber, "the clock shows %s: exceptions with an end last longer than they should", now.UTC().Format(time.DateOnly))
	}
	return check("clock", appliance.Green, "the clock shows %s", now.UTC().Format(time.DateTime+" MST"))
}

func (m *Monitor) checkPorts(ports []uint16) appliance.Check {
	open, err := m.ports.Unreserved(ports)
	if err != nil {
		return check("ports", appliance.Amber, "whether the kernel keeps off the guarded ports can't be read: %v", err)
	}
	if len(open) > 0 {
		return check("ports", appliance.Amber, "the kernel may pick guarded ports for connections of its own: %s", strings.Trim(fmt.Sprint(open), "[]"))
	}
	return check("ports", appliance.Green, "the kernel keeps off the guarded ports")
}
