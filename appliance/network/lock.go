package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// Lock is what hosts of the LAN may send to the internet by themselves, as
// packets show it: SIP is handed to the inspector or dropped, telephony of other
// kinds dropped but for what may pass. It stands in a table of nftables of its
// own, which outlives the daemon: whoever dies, the lock stays.
type Lock struct {
	WAN []string // interfaces towards the internet
	// Inside are the LAN interfaces whose SIP is handed over; elsewhere it is
	// dropped.
	Inside []string
	// Interceptor4 and Interceptor6 are the addresses of the sockets that take what
	// is handed over, at the port that it was sent to.
	Interceptor4, Interceptor6 netip.Addr
	SIP                        []uint16
	TLS                        []uint16 // SIP over TLS
	OpaqueTLS                  bool     // which may pass to Trunks
	Trunks                     []netip.Prefix
	LAN                        []netip.Prefix // where SIP is nobody's business
	Listen                     []netip.AddrPort
	Other                      []uint16 // telephony that is not SIP
	Passes                     []Pass
}

// Pass lets some telephony that is not SIP out.
type Pass struct {
	TCP      bool // else UDP
	Port     uint16
	Networks []netip.Prefix
}

// lockReasons are what the lock counts; a counter has its reason's name.
func lockReasons() []appliance.Reason {
	return []appliance.Reason{
		appliance.ReasonIntercepted, appliance.ReasonNoInspector, appliance.ReasonEgressSIP, appliance.ReasonOpaqueTLS,
		appliance.ReasonOpaqueTLSPassed, appliance.ReasonEgressVoIP, appliance.ReasonEgressPassed, appliance.ReasonEgressPayload,
	}
}

// ErrUnlocked is returned where the kernel does not hold the lock that was asked
// for.
var ErrUnlocked = errors.New("the egress lock is not in force")

// lockTable names our table, which nobody else writes.
const lockTable = "ringfence"

func ownTable() *nftables.Table {
	return &nftables.Table{Name: lockTable, Family: nftables.TableFamilyINet}
}

func openNFT() (*nftables.Conn, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return conn, nil
}

// Shut puts the lock in force, in one transaction: no packet meets half of it. It
// changes nothing where that very lock stands already. Counters go on counting.
// The routes by which intercepted packets reach their sockets are made first and
// removed last.
func Shut(l Lock) error {
	if _, err := LockTallies(l); err == nil {
		return nil
	}
	if len(l.Inside) > 0 {
		if err := routeHome(); err != nil {
			return fmt.Errorf("route intercepted packets: %w", err)
		}
	}
	conn, err := openNFT()
	if err != nil {
		return err
	}
	w := &lockWriter{Lock: l, conn: conn, table: ownTable(), rules: map[string]int{}}
	w.write(countersOf(conn))
	if w.err != nil {
		return fmt.Errorf("write the egress lock: %w", w.err)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write the egress lock: %w", err)
	}
	if len(l.Inside) == 0 {
		return forgetHome()
	}
	return nil
}

// Open takes the lock away, with its routes: the LAN may speak to whom it likes
// then. It is no error where there is none.
func Open() error {
	conn, err := openNFT()
	if err != nil {
		return err
	}
	conn.DelTable(ownTable())
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the egress lock: %w", err)
	}
	return forgetHome()
}

// Locked reports whether a lock stands, whoever shut it and for whatever.
func Locked() (bool, error) {
	conn, err := openNFT()
	if err != nil {
		return false, err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("list tables: %w", err)
	}
	return slices.ContainsFunc(tables, func(one *nftables.Table) bool { return one.Name == lockTable }), nil
}

// LockTallies reads the counters back, those that are not 0, after it has made sure that the lock in
// the kernel is l and whole; else the error wraps ErrUnlocked.
func LockTallies(l Lock) (appliance.Tallies, error) {
	conn, err := openNFT()
	if err != nil {
		return nil, err
	}
	// The same rules are written aside, to know how many there should be.
	w := &lockWriter{Lock: l, conn: &nftables.Conn{}, table: ownTable(), rules: map[string]int{}}
	w.write(nil)
	counts := countersOf(conn)
	if _, found := counts[l.edition()]; !found {
		return nil, fmt.Errorf("%w: the table %s is missing or another", ErrUnlocked, lockTable)
	}
	for chain, want := range w.rules {
		have, err := conn.GetRules(ownTable(), &nftables.Chain{Name: chain, Table: ownTable()})
		if err != nil || len(have) != want {
			return nil, fmt.Errorf("%w: chain %s has %d rules, %d were written", ErrUnlocked, chain, len(have), want)
		}
	}
	if len(l.Inside) > 0 && !routedHome() {
		return nil, fmt.Errorf("%w: intercepted packets have no route to the inspector", ErrUnlocked)
	}
	out := appliance.Tallies{}
	for _, reason := range lockReasons() {
		if tally := counts[reason.String()]; tally.Packets > 0 {
			out[reason] = tally
		}
	}
	return out, nil
}

// edition names the lock in the kernel: a counter that nobody counts with, since
// tables have no comments in every kernel.
func (l Lock) edition() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "1 %+v", l))
	return "edition_" + hex.EncodeToString(sum[:8])
}

// countersOf reads every counter of our table; none where there is no table.
func countersOf(conn *nftables.Conn) map[string]appliance.Tally {
	out := make(map[string]appliance.Tally)
	objects, err := conn.GetObjects(ownTable())
	if err != nil {
		return out
	}
	for _, one := range objects {
		if counter, ok := one.(*nftables.CounterObj); ok {
			out[counter.Name] = appliance.Tally{Packets: counter.Packets, Bytes: counter.Bytes}
		}
	}
	return out
}
