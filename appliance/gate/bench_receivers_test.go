package gate

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/scripts/bench/yard"
)

// receiver is one way to keep strangers off the SIP ports of a box. arm puts it
// to work, in the box, for a list of networks that may come in.
type receiver struct {
	name string
	arm  func(tb testing.TB, box *yard.Box, list []netip.Prefix) error
	most int // of networks; 0 is no limit
	// open says that strangers' packets reach the stack.
	open bool
	from origin
	// series is its line in the chart, empty for none.
	series string
}

// origin is where the packets of a flood come from.
type origin struct {
	v6     bool
	listed bool // from networks of the list, else from none
}

func (o origin) String() string {
	return map[bool]string{false: "IPv4", true: "IPv6"}[o.v6] + map[bool]string{false: "", true: " listed"}[o.listed]
}

// The names of the receivers that figures speak of.
const (
	noFilter   = "no filter"
	bareDrop   = "XDP_DROP"
	barePass   = "XDP_PASS"
	theGate    = "gate"
	xdpFilter  = "xdp-filter"
	nftIngress = "nft ingress"
	nftRaw     = "nft raw"
	ipsetRaw   = "ipset"
)

func receivers() []receiver {
	return []receiver{
		{name: noFilter, arm: armNothing, most: 10, open: true},
		{name: barePass, arm: armBare(2), most: 10, open: true},
		{name: bareDrop, arm: armBare(1)},
		{name: theGate, arm: armGate, series: "gate: dropped SIP, IPv4"},
		{name: theGate + " IPv6", arm: armGate, from: origin{v6: true}, series: "gate: dropped SIP, IPv6"},
		{name: theGate + " open", arm: armOpen, from: origin{listed: true}, series: "gate: open service, IPv4"},
		{name: theGate + " open IPv6", arm: armOpen, from: origin{true, true}, series: "gate: open service, IPv6"},
		{name: nftIngress, arm: armNftIngress, series: "nftables, IPv4"},
		{name: nftRaw, arm: armNftRaw},
		{name: ipsetRaw, arm: armIPSet, series: "ipset, IPv4"},
		{name: xdpFilter, arm: armXDPFilter, most: 10, series: "xdp-filter, IPv4"},
	}
}

func armNothing(testing.TB, *yard.Box, []netip.Prefix) error { return nil }

// armBare attaches a program of two instructions.
func armBare(action int32) func(testing.TB, *yard.Box, []netip.Prefix) error {
	return func(tb testing.TB, box *yard.Box, _ []netip.Prefix) error {
		attached, err := link.AttachXDP(link.XDPOptions{Program: bareFrags(tb, "bare", action), Interface: box.Near,
			Flags: link.XDPDriverMode})
		if err == nil {
			tb.Cleanup(func() { _ = attached.Close() })
		}
		return err
	}
}

// errTooMany is why a receiver can't be had.
var errTooMany = errors.New("the list is too long for it")

// armGate opens a gate as the daemon does.
func armGate(tb testing.TB, box *yard.Box, list []netip.Prefix) error {
	return armGateWith(tb, box, sipFrom(list))
}

// armOpen opens a gate whose SIP ports are open to all but a list.
func armOpen(tb testing.TB, box *yard.Box, list []netip.Prefix) error {
	return armGateWith(tb, box, openExcept(list))
}

// openExcept is the perimeter of services that are open to all but a feed.
func openExcept(list []netip.Prefix) rules.Guard {
	return rules.Guard{
		Ports: [rules.Services][]uint16{rules.ServiceOpen: perimeter.Ports[rules.ServiceSIP]},
		Feeds: []rules.Feed{feedOf(list)},
	}
}

// feedOf is a deny feed of networks that are ascending and apart.
func feedOf(list []netip.Prefix) rules.Feed {
	out := rules.Feed{Name: "bench"}
	for _, prefix := range list {
		if prefix.Addr().Is4() {
			first, last := bounds4(prefix)
			out.List.V4 = append(out.List.V4, feed.Range4{First: uint32(first), Last: uint32(last)})
		} else {
			first, last := bounds6(prefix)
			out.List.V6 = append(out.List.V6, feed.Range6{First: feed.Address6(first), Last: feed.Address6(last)})
		}
	}
	return out
}

func armGateWith(tb testing.TB, box *yard.Box, guard rules.Guard) error {
	g, err := Open(Config{Interfaces: []string{"wan"}, Dir: fmt.Sprintf("%s/gate_%d", bpffs, box.Far)}, func(appliance.Event) {})
	if err != nil {
		return err
	}
	tb.Cleanup(func() { _ = g.Close() })
	var mistake *appliance.Error
	err = g.swap(guard, "bench")
	if errors.As(err, &mistake) && mistake.Code == appliance.CodeInvalid && len(guard.Sources) > 8000 {
		return errTooMany
	}
	return err
}

// sipFrom is the perimeter of a site whose providers have these networks.
func sipFrom(list []netip.Prefix) rules.Guard {
	guard := rules.Guard{Ports: perimeter.Ports}
	for _, prefix := range list {
		guard.Sources = append(guard.Sources, rules.Source{Prefix: prefix, Services: sip})
	}
	return guard
}

// armXDPFilter shuts eight ports and ten addresses. It can't say "this port from
// these networks only": a packet that matches anything is dropped. This is the
// nearest to a gate that it comes, and the least work for the packets it drops.
func armXDPFilter(_ testing.TB, _ *yard.Box, list []netip.Prefix) error {
	if err := yard.Run("xdp-filter", "load", "--mode", "native", "--policy", "allow", "wan"); err != nil {
		return err
	}
	for _, port := range []string{"5060", "5061", "50600", "80", "443", "8080", "5062", "8443"} {
		if err := yard.Run("xdp-filter", "port", "--mode", "dst", "--proto", "udp,tcp", port); err != nil {
			return err
		}
	}
	for _, prefix := range list {
		if err := yard.Run("xdp-filter", "ip", "--mode", "src", prefix.Addr().String()); err != nil {
			return err
		}
	}
	return nil
}

// The nearest that nftables comes: one interval set, one rule.
const nftTable = `table %s bench {
	set allowed { type ipv4_addr; flags interval; elements = { %s } }
	chain wan {
		%s
		udp dport { 5060, 5061, 50600 } ip saddr != @allowed drop
	}
}
`

func armNft(family, hook string, list []netip.Prefix) error {
	return yard.Feed(fmt.Sprintf(nftTable, family, joined(list, ", "), hook), "nft", "-f", "-")
}

func armNftIngress(_ testing.TB, _ *yard.Box, list []netip.Prefix) error {
	return armNft("netdev", "type filter hook ingress device wan priority 0", list)
}

func armNftRaw(_ testing.TB, _ *yard.Box, list []netip.Prefix) error {
	return armNft("inet", "type filter hook prerouting priority raw", list)
}

func armIPSet(_ testing.TB, _ *yard.Box, list []netip.Prefix) error {
	const add = "\nadd allowed "
	set := "create allowed hash:net family inet maxelem 2000000" + add + joined(list, add) + "\n"
	if err := yard.Feed(set, "ipset", "restore"); err != nil {
		return err
	}
	rule := strings.Fields("-t raw -A PREROUTING -p udp -m multiport --dports 5060,5061,50600 -m set ! --match-set allowed src -j DROP")
	// Newer kernels have no iptables of their own, only nftables that speaks like it.
	if yard.Run("iptables-legacy", rule...) == nil {
		return nil
	}
	return yard.Run("iptables", rule...)
}

func joined(list []netip.Prefix, by string) string {
	var out strings.Builder
	for i, prefix := range list {
		if i > 0 {
			out.WriteString(by)
		}
		out.WriteString(prefix.String())
	}
	return out.String()
}

// attached is the program on wan of a box: what really runs.
func attached(tb testing.TB, y *yard.Yard, box *yard.Box) *ebpf.Program {
	tb.Helper()
	var found ebpf.ProgramID
	check(tb, y.Within(box.Space, func() (err error) {
		found, err = hookOf(box.Near)
		return err
	}))
	program, err := ebpf.NewProgramFromID(found)
	check(tb, err)
	tb.Cleanup(func() { check(tb, program.Close()) })
	return program
}
