// Package network owns the kernel's view of links, addresses and ports: it
// resolves the interfaces that settings name, lists the box's own addresses,
// watches both for changes, and keeps guarded ports out of the ephemeral range.
// It owns the table of nftables that locks the LAN, with the routes of what is
// intercepted, and is the only importer of netlink (with the gate) and nftables.
// Addressing and routing belong here too when they come.
package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is one network interface as the kernel sees it.
type Link struct {
	Name     string
	Index    int
	MAC      string // colon-separated; empty where the link has none
	Driver   string // the kernel module's name; empty where it does not tell
	MTU      int    // bytes
	Up       bool   // administratively up
	Carrier  bool   // a cable, or the peer of a veth, is there
	Loopback bool
	Received uint64 // packets since there is the link, those that were dropped included where the driver counts them
}

// ErrNoLink is returned, wrapped with the name, where there is no such
// interface.
var ErrNoLink = errors.New("no such interface")

// Links resolves interfaces by name, in the order given. Every name that can't
// be resolved is reported, not only the first.
func Links(names []string) ([]Link, error) {
	var links []Link
	var problems []error
	for _, name := range names {
		link, err := linkByName(name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		links = append(links, link)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return links, nil
}

func find(name string) (netlink.Link, error) {
	found, err := netlink.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil, fmt.Errorf("resolve interface %q: %w", name, ErrNoLink)
	}
	if err != nil {
		return nil, fmt.Errorf("resolve interface %q: %w", name, err)
	}
	return found, nil
}

func linkByName(name string) (Link, error) {
	found, err := find(name)
	if err != nil {
		return Link{}, err
	}
	attrs := found.Attrs()
	return Link{
		Name:     attrs.Name,
		Index:    attrs.Index,
		MAC:      attrs.HardwareAddr.String(),
		Driver:   driver(attrs.Name),
		MTU:      attrs.MTU,
		Up:       attrs.RawFlags&unix.IFF_UP != 0,
		Carrier:  attrs.RawFlags&unix.IFF_LOWER_UP != 0,
		Loopback: attrs.RawFlags&unix.IFF_LOOPBACK != 0,
		Received: received(attrs),
	}, nil
}

func received(attrs *netlink.LinkAttrs) uint64 {
	if attrs.Statistics == nil {
		return 0
	}
	return attrs.Statistics.RxPackets
}

// driver asks by ethtool's ioctl and not in /sys, which shows the network
// namespace that it was mounted in.
func driver(name string) string {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(socket)
	info, err := unix.IoctlGetEthtoolDrvinfo(socket, name)
	if err != nil {
		return "" // loopback and some virtual links don't know
	}
	return unix.ByteSliceToString(info.Driver[:])
}

// Addresses returns the box's own addresses on every interface, ascending and
// without repeats. Link-local IPv6 addresses carry their interface as zone.
func Addresses() ([]netip.Addr, error) { return addresses(nil) }

// AddressesOf is Addresses for one interface. It returns ErrNoLink, wrapped with
// the name, where there is none.
func AddressesOf(name string) ([]netip.Addr, error) {
	link, err := find(name)
	if err != nil {
		return nil, err
	}
	return addresses(link)
}

// addresses lists those of one link, or of all where it is nil.
func addresses(of netlink.Link) ([]netip.Addr, error) {
	list, err := netlink.AddrList(of, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []netip.Addr
	for _, one := range list {
		addr, ok := netip.AddrFromSlice(one.IP)
		if !ok {
			continue
		}
		addr = addr.Unmap()
		if addr.Is6() && addr.IsLinkLocalUnicast() {
			addr = addr.WithZone(linkName(one.LinkIndex))
		}
		out = append(out, addr)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

func linkName(index int) string {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprint(index) // gone meanwhile; a numeric zone is valid too
	}
	return link.Attrs().Name
}
