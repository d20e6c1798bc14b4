package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Intercepted packets carry homeMark, and a table of their own says that every
// address is the box's: so they are delivered here, whatever their destination.
// All three numbers are "RF" in ASCII.
const (
	homeMark     = 0x5246
	homeTable    = 0x5246
	homePriority = 0x5246 / 16 // 1316: before the main table's 32766
)

func homeFamilies() []int { return []int{unix.AF_INET, unix.AF_INET6} }

// routeHome makes the rule and the route of both families. A box without IPv6 has
// none to intercept.
func routeHome() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	for _, family := range homeFamilies() {
		if err := netlink.RouteReplace(homeRoute(family, loopback.Attrs().Index)); err != nil {
			if family == unix.AF_INET6 && noIPv6(err) {
				continue
			}
			return fmt.Errorf("add route to table %d: %w", homeTable, err)
		}
		if err := netlink.RuleAdd(homeRule(family)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("add rule for mark %#x: %w", homeMark, err)
		}
	}
	return nil
}

// noIPv6 reports whether an error says that the kernel, or lo, has no IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES)
}

func homeRoute(family, link int) *netlink.Route {
	all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if family == unix.AF_INET6 {
		all = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &netlink.Route{Family: family, LinkIndex: link, Dst: all, Table: homeTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
}

func homeRule(family int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table, rule.Priority = family, homeMark, homeTable, homePriority
	return rule
}

// forgetHome removes both. It is no error where there are none.
func forgetHome() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	var problems []error
	for _, family := range homeFamilies() {
		for _, err := range []error{netlink.RuleDel(homeRule(family)), netlink.RouteDel(homeRoute(family, loopback.Attrs().Index))} {
			if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) && !noIPv6(err) {
				problems = append(problems, fmt.Errorf("remove the route of intercepted packets: %w", err))
			}
		}
	}
	return errors.Join(problems...)
}

// routedHome reports whether the IPv4 rule and route stand, and those of IPv6
// where the one of them does.
func routedHome() bool {
	for _, family := range homeFamilies() {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: homeTable, Type: unix.RTN_LOCAL}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
		if err != nil || len(routes) == 0 {
			if family == unix.AF_INET6 {
				continue
			}
			return false
		}
		rules, err := netlink.RuleList(family)
		if err != nil || !slices.ContainsFunc(rules, func(r netlink.Rule) bool { return r.Mark == homeMark && r.Table == homeTable }) {
			return false
		}
	}
	return true
}
