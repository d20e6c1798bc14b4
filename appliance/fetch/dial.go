package fetch

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// Local reports whether an address is never one on the internet: loopback,
// link-local, multicast, or none at all.
func Local(addr netip.Addr) bool {
	return !addr.IsValid() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() ||
		addr.Is4() && (addr.As4()[0] == 0 || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

// dialer looks at the address that a name has resolved to, at the last moment
// before the kernel is asked to connect: a check of the name, or of an answer
// of the DNS, would be one of something else.
func (f *Fetcher) dialer(forbidden []netip.Prefix) *net.Dialer {
	return &net.Dialer{Timeout: f.config.Connect, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("not an address: %w", err)
		}
		addr := at.Addr().Unmap().WithZone("")
		within := func(one netip.Prefix) bool { return one.Contains(addr) }
		if f.config.Local(addr) || slices.ContainsFunc(forbidden, within) {
			return fmt.Errorf("%s is no address on the internet, but of the box or its LAN", addr)
		}
		return nil
	}}
}
