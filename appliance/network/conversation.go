package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// Conversations returns the UDP flows of NAT's table (conntrack) in which one of
// inside takes part, whoever began, with the far end and the local port as the
// WAN sees them. inside are addresses of hosts as they have them themselves, or as
// NAT shows them to the internet: many a PBX writes those into its descriptions. It
// reads the whole table: some microseconds for each flow. Without conntrack there
// are none.
func Conversations(inside []netip.AddrPort) ([]appliance.Conversation, error) {
	var out []appliance.Conversation
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if !slices.ContainsFunc(inside, func(one netip.AddrPort) bool { return one.Addr().Is4() == (family == unix.AF_INET) }) {
			continue
		}
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			continue // this kernel has none
		}
		// A table that changed while it was read may lack an entry: what was read counts.
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("list conntrack: %w", err)
		}
		for _, flow := range flows {
			if found, ok := conversation(flow, inside); ok {
				out = append(out, found)
			}
		}
	}
	return out, nil
}

// conversation reads one flow from the side of whoever is inside. In the direction
// in which it began, NAT changes the source (masquerade) or the destination (a
// forwarded port); the other tuple is what the far end sees of it.
func conversation(flow *netlink.ConntrackFlow, inside []netip.AddrPort) (appliance.Conversation, bool) {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return appliance.Conversation{}, false
	}
	began, answers := place(flow.Forward.SrcIP, flow.Forward.SrcPort), place(flow.Reverse.SrcIP, flow.Reverse.SrcPort)
	// As the far end sees the one inside, whether he began or was begun with.
	outward, forwarded := place(flow.Reverse.DstIP, flow.Reverse.DstPort), place(flow.Forward.DstIP, flow.Forward.DstPort)
	for _, one := range []struct{ inside, mine, far netip.AddrPort }{
		{began, outward, answers}, {outward, outward, answers}, {answers, forwarded, began}, {forwarded, forwarded, began},
	} {
		if slices.Contains(inside, one.inside) {
			return appliance.Conversation{Inside: one.inside, Key: appliance.MediaKey{
				Remote: one.far.Addr(), RemotePort: one.far.Port(), LocalPort: one.mine.Port()}}, true
		}
	}
	return appliance.Conversation{}, false
}

func place(ip net.IP, port uint16) netip.AddrPort {
	address, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(address.Unmap(), port)
}
