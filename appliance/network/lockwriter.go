package network

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// lockWriter writes the lock's table into one transaction.
type lockWriter struct {
	Lock
	conn  *nftables.Conn
	table *nftables.Table
	rules map[string]int // how many each chain has
	err   error

	wan, inside, sip, tls, other *nftables.Set
	trunks, lan                  networks
}

// networks is one set for each address family.
type networks struct{ v4, v6 *nftables.Set }

// The chains. Those at a hook are arrive, depart and forward.
const (
	chainArrive  = "arrive"  // whatever comes in, before connections are tracked
	chainInside  = "inside"  // from a LAN interface
	chainOutside = "outside" // from a trunk
	chainTake    = "take"    // SIP for the inspector
	chainDepart  = "depart"  // whatever the box itself sends
	chainForward = "forward" // whatever crosses the box
	chainLocked  = "locked"  // towards the internet
	chainPayload = "payload" // SIP by its first bytes
)

// write replaces the table. The counters begin where those of before were.
func (w *lockWriter) write(before map[string]appliance.Tally) {
	w.conn.AddTable(w.table) // so that there is one to delete
	w.conn.DelTable(w.table)
	w.conn.AddTable(w.table)
	names := []string{w.edition()}
	for _, reason := range lockReasons() {
		names = append(names, reason.String())
	}
	for _, name := range names {
		w.conn.AddObj(&nftables.CounterObj{Table: w.table, Name: name, Packets: before[name].Packets, Bytes: before[name].Bytes})
	}
	w.sets()
	w.chain(chainInside, nil, nil)
	w.chain(chainOutside, nil, nil)
	w.chain(chainTake, nil, nil)
	w.chain(chainLocked, nil, nil)
	for offset := range payloadOffsets {
		w.chain(payloadChain(offset), nil, nil)
	}
	w.chain(chainArrive, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	w.chain(chainDepart, nftables.ChainHookOutput, nftables.ChainPriorityRaw)
	w.chain(chainForward, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	w.arrive()
	w.take()
	w.depart()
	w.forward()
	w.locked()
}

func (w *lockWriter) sets() {
	w.wan = w.names("wan", w.WAN)
	w.inside = w.names("inside", w.Inside)
	w.sip = w.ports("sip", w.SIP)
	w.tls = w.ports("tls", w.TLS)
	w.other = w.ports("other", w.Other)
	w.trunks = w.networks("trunks", w.Trunks)
	w.lan = w.networks("lan", w.LAN)
}

// chain adds a chain, at a hook where there is one. Its policy is to accept:
// what our rules don't name is not our business.
func (w *lockWriter) chain(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority) {
	chain := &nftables.Chain{Name: name, Table: w.table}
	if hook != nil {
		policy := nftables.ChainPolicyAccept
		chain.Hooknum, chain.Priority, chain.Type, chain.Policy = hook, priority, nftables.ChainTypeFilter, &policy
	}
	w.conn.AddChain(chain)
	w.rules[name] = 0
}

// rule adds one rule.
func (w *lockWriter) rule(chain string, parts ...[]expr.Any) {
	w.rules[chain]++
	w.conn.AddRule(&nftables.Rule{Table: w.table, Chain: &nftables.Chain{Name: chain, Table: w.table}, Exprs: slices.Concat(parts...)})
}

func (w *lockWriter) set(name string, key nftables.SetDatatype, interval bool, elements []nftables.SetElement) *nftables.Set {
	set := &nftables.Set{Table: w.table, Name: name, KeyType: key, Interval: interval, KeyByteOrder: binaryutil.BigEndian}
	if key == nftables.TypeIFName {
		set.KeyByteOrder = binaryutil.NativeEndian // for nft list
	}
	if err := w.conn.AddSet(set, elements); err != nil && w.err == nil {
		w.err = err
	}
	return set
}

func (w *lockWriter) names(name string, list []string) *nftables.Set {
	var elements []nftables.SetElement
	for _, one := range list {
		elements = append(elements, nftables.SetElement{Key: interfaceKey(one)})
	}
	return w.set(name, nftables.TypeIFName, false, elements)
}

func interfaceKey(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

func (w *lockWriter) ports(name string, list []uint16) *nftables.Set {
	var elements []nftables.SetElement
	for _, one := range list {
		elements = append(elements, nftables.SetElement{Key: portKey(one)})
	}
	return w.set(name, nftables.TypeInetService, false, elements)
}

func portKey(port uint16) []byte { return []byte{byte(port >> 8), byte(port)} }

func (w *lockWriter) networks(name string, list []netip.Prefix) networks {
	return networks{
		w.set(name+"4", nftables.TypeIPAddr, true, spansOf(list, true)),
		w.set(name+"6", nftables.TypeIP6Addr, true, spansOf(list, false)),
	}
}

// spansOf writes the networks of one family as intervals. Sets of intervals hold
// none that overlap, so those within others are left out.
func spansOf(list []netip.Prefix, ip4 bool) []nftables.SetElement {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	var out []nftables.SetElement
	var around netip.Prefix
	for _, one := range sorted {
		if one.Addr().Is4() != ip4 || around.IsValid() && around.Overlaps(one) {
			continue
		}
		around = one
		out = append(out, nftables.SetElement{Key: one.Masked().Addr().AsSlice()})
		if next := lastOf(one).Next(); next.IsValid() {
			out = append(out, nftables.SetElement{Key: next.AsSlice(), IntervalEnd: true})
		}
	}
	return withoutTouching(out)
}

// withoutTouching joins intervals that touch: where one ends at the key at which
// the next begins, both go.
func withoutTouching(list []nftables.SetElement) []nftables.SetElement {
	var out []nftables.SetElement
	for _, one := range list {
		if last := len(out) - 1; last >= 0 && out[last].IntervalEnd && slices.Equal(out[last].Key, one.Key) {
			out = out[:last]
			continue
		}
		out = append(out, one)
	}
	return out
}

// lastOf returns the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}
