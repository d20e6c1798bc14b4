// Package health judges the box by what really runs: every check reads its
// finding back from the kernel, a socket or the disk, never from what was
// configured. The findings form a flat tree of named checks; the box is as well
// as the worst of them.
package health

import (
	"net/netip"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Documents tells what is in force.
type Documents interface {
	// Want returns what the documents ask of the other parts, and what there is
	// to say of the documents themselves.
	Want() Want
}

// Want is what the documents in force ask for.
type Want struct {
	Site       string
	Generation string           // digest of the rules
	WAN        []string         // interfaces to guard
	Listen     []netip.AddrPort // SIP listeners, UDP and TCP
	Secure     []netip.AddrPort // SIP listeners, TLS
	Ports      []uint16         // guarded ports
	Notes      []appliance.Check
	Lost       uint64 // events that are in no record
}

// Gate reads the perimeter back from the kernel.
type Gate interface {
	Perimeter() Perimeter
}

// Perimeter is the gate as the kernel shows it.
type Perimeter struct {
	Generation  string
	Interfaces  []Interface
	Counted     uint64 // packets, on all interfaces together
	Interpreted bool   // the kernel does not compile the program
	Error       string // why the generation can't be read
}

// Interface is one guarded interface; Error says why it is not.
type Interface struct {
	Name     string
	Index    int
	Mode     string // native or stack
	Note     string // why it is not native, and what else is odd
	Received uint64 // packets, as the interface counts them
	Error    string
}

// Inspector reads the SIP sockets back.
type Inspector interface {
	// Listeners are the sockets that are open, such as "udp 192.0.2.1:5060".
	Listeners() []string
	// Trouble is why there are fewer than there should be, nil where unknown.
	Trouble() error
	// Cuts are the calls that are being cut.
	Cuts() []appliance.Cut
}

// Store tries the disk.
type Store interface {
	Probe() error
	Space() (free, total uint64, err error)
	SetAside() (name string, at time.Time)      // of the newest database
	AuditSetAside() (name string, at time.Time) // of the newest audit log
}

// Ports tells which of these ports the kernel may take for itself.
type Ports interface {
	Unreserved(ports []uint16) ([]uint16, error)
}

// Monitor asks every part. It is safe for concurrent use; one asks at a time.
type Monitor struct {
	version   string
	now       func() time.Time
	documents Documents
	gate      Gate
	inspector Inspector
	store     Store
	ports     Ports

	mu     sync.Mutex
	silent map[string]silence // of each interface
}

// New returns a monitor of the parts.
func New(version string, now func() time.Time, documents Documents, gate Gate, inspector Inspector, store Store, ports Ports) *Monitor {
	return &Monitor{version: version, now: now, documents: documents, gate: gate, inspector: inspector, store: store, ports: ports,
		silent: map[string]silence{}}
}

// Status asks every part now. It writes to the disk, because only that shows
// that the disk can be written.
func (m *Monitor) Status() appliance.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	want, now := m.documents.Want(), m.now()
	perimeter := m.gate.Perimeter()
	checks := append(checkGate(want, perimeter), m.checkSilence(perimeter, now)...)
	checks = append(checks, checkInspector(want.Listen, want.Secure, m.inspector.Listeners(), m.inspector.Trouble()))
	checks = append(checks, checkCuts(m.inspector.Cuts())...)
	checks = append(checks, want.Notes...)
	checks = append(checks, m.checkAudit(now)...)
	checks = append(checks, m.checkStore(now), m.checkSpace(), checkJournal(want.Lost), checkClock(now), m.checkPorts(want.Ports))
	return appliance.Status{
		Level: appliance.WorstOf(checks), Time: now, Version: m.version,
		Site: want.Site, Generation: want.Generation, Checks: checks,
	}
}
