package network

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

func flowOf(protocol uint8, from, to, answers, back string) *netlink.ConntrackFlow {
	tuple := func(a, b string) netlink.IPTuple {
		from, to := netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)
		return netlink.IPTuple{Protocol: protocol, SrcIP: net.IP(from.Addr().AsSlice()), SrcPort: from.Port(), DstIP: net.IP(to.Addr().AsSlice()), DstPort: to.Port()}
	}
	return &netlink.ConntrackFlow{Forward: tuple(from, to), Reverse: tuple(answers, back)}
}

func TestConversation(t *testing.T) {
	phone := netip.MustParseAddrPort("10.0.0.2:4000")
	phone6 := netip.MustParseAddrPort("[2001:db8:a::2]:4000")
	public := netip.MustParseAddrPort("192.0.2.1:14002")
	inside := []netip.AddrPort{phone, phone6, public}
	far := netip.MustParseAddr("203.0.113.9")
	for _, c := range []struct {
		name string
		flow *netlink.ConntrackFlow
		want appliance.Conversation
	}{
		{"masqueraded under another port", flowOf(unix.IPPROTO_UDP, "10.0.0.2:4000", "203.0.113.9:30000", "203.0.113.9:30000", "192.0.2.1:61000"),
			appliance.Conversation{Inside: phone, Key: appliance.MediaKey{Remote: far, RemotePort: 30000, LocalPort: 61000}}},
		{"forwarded to the phone", flowOf(unix.IPPROTO_UDP, "203.0.113.9:30002", "192.0.2.1:14000", "10.0.0.2:4000", "203.0.113.9:30002"),
			appliance.Conversation{Inside: phone, Key: appliance.MediaKey{Remote: far, RemotePort: 30002, LocalPort: 14000}}},
		{"redirected on the way out", flowOf(unix.IPPROTO_UDP, "10.0.0.2:4000", "198.51.100.1:1", "203.0.113.9:30000", "192.0.2.1:4000"),
			appliance.Conversation{Inside: phone, Key: appliance.MediaKey{Remote: far, RemotePort: 30000, LocalPort: 4000}}},
		{"known by its address outside", flowOf(unix.IPPROTO_UDP, "10.0.0.3:4000", "203.0.113.9:30000", "203.0.113.9:30000", "192.0.2.1:14002"),
			appliance.Conversation{Inside: public, Key: appliance.MediaKey{Remote: far, RemotePort: 30000, LocalPort: 14002}}},
		{"forwarded, and known by its address outside", flowOf(unix.IPPROTO_UDP, "203.0.113.9:30002", "192.0.2.1:14002", "10.0.0.3:4000", "203.0.113.9:30002"),
			appliance.Conversation{Inside: public, Key: appliance.MediaKey{Remote: far, RemotePort: 30002, LocalPort: 14002}}},
		{"IPv6", flowOf(unix.IPPROTO_UDP, "[2001:db8:a::2]:4000", "[2001:db8:f::9]:30000", "[2001:db8:f::9]:30000", "[2001:db8:a::2]:4000"),
			appliance.Conversation{Inside: phone6, Key: appliance.MediaKey{Remote: netip.MustParseAddr("2001:db8:f::9"), RemotePort: 30000, LocalPort: 4000}}},
		{"TCP", flowOf(unix.IPPROTO_TCP, "10.0.0.2:4000", "203.0.113.9:30000", "203.0.113.9:30000", "192.0.2.1:4000"), appliance.Conversation{}},
		{"another port", flowOf(unix.IPPROTO_UDP, "10.0.0.2:4001", "203.0.113.9:30000", "203.0.113.9:30000", "192.0.2.1:4001"), appliance.Conversation{}},
	} {
		if got, ok := conversation(c.flow, inside); got != c.want || ok != c.want.Inside.IsValid() {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, ok, c.want)
		}
	}
}
