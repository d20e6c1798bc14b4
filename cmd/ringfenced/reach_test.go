package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/settings"
)

// on is an interface with an address, and the ways in: "eth0 eth0.10" passes
// two.
func on(name, addr string, ways ...string) network.Carrier {
	out := network.Carrier{Name: name, Addresses: []netip.Addr{netip.MustParseAddr(addr)}}
	for _, way := range ways {
		out.Ways = append(out.Ways, strings.Fields(way))
	}
	if len(ways) == 0 {
		out.Ways = [][]string{{name}}
	}
	return out
}

func TestLockedOut(t *testing.T) {
	lan := settings.Default().Network.LAN
	for name, tc := range map[string]struct {
		wan     []string
		carried []network.Carrier
		fields  []string
		says    string
	}{
		"a public WAN":           {[]string{"wan0"}, []network.Carrier{on("wan0", "203.0.113.1"), on("wan0", "fe80::1"), on("lan0", "192.168.1.1")}, nil, ""},
		"behind another router":  {[]string{"wan0"}, []network.Carrier{on("wan0", "192.168.178.2"), on("lan0", "192.168.1.1")}, nil, ""},
		"no LAN port at all":     {[]string{"wan0"}, []network.Carrier{on("wan0", "203.0.113.1")}, nil, ""},
		"nothing has an address": {[]string{"wan0"}, nil, nil, ""},
		"the LAN's own port": {[]string{"wan0", "eth1"}, []network.Carrier{on("wan0", "203.0.113.1"), on("eth1", "192.168.1.1")},
			[]string{"network.wan[1]"}, "eth1 is the only way to 192.168.1.1, the box's address inside network.lan[2]"},
		"behind a router of another range": {[]string{"wan0"}, []network.Carrier{on("wan0", "192.168.1.2"), on("lan0", "10.0.0.1")}, nil, ""},
		"IPv6":                             {[]string{"wan0"}, []network.Carrier{on("wan0", "fd00::1")}, []string{"network.wan[0]"}, "fd00::1"},
		"both ports of it": {[]string{"a", "b"}, []network.Carrier{on("a", "10.0.0.1"), on("b", "10.0.0.2")},
			[]string{"network.wan[0]", "network.wan[1]"}, "network.lan[0]"},
		"a VLAN on the WAN port": {[]string{"eth0"}, []network.Carrier{on("eth0", "203.0.113.1"), on("eth0.10", "10.0.0.1", "eth0 eth0.10")},
			[]string{"network.wan[0]"}, "eth0 is the only way to 10.0.0.1"},
		"a WAN VLAN beside the LAN's": {[]string{"eth0.10"}, []network.Carrier{on("eth0.10", "203.0.113.1", "eth0 eth0.10"), on("eth0", "10.0.0.1")}, nil, ""},
		"a bridge between both":       {[]string{"wan0"}, []network.Carrier{on("br0", "10.0.0.1", "wan0 br0", "lan0 br0")}, nil, ""},
		"a bridge of WAN ports":       {[]string{"a", "b"}, []network.Carrier{on("br0", "10.0.0.1", "a br0", "b br0")}, []string{"network.wan[0]", "network.wan[1]"}, "10.0.0.1"},
	} {
		var fields []string
		mistakes := lockedOut(tc.wan, lan, tc.carried)
		for _, one := range mistakes {
			fields = append(fields, one.Field)
		}
		if !slices.Equal(fields, tc.fields) || tc.says != "" && !strings.Contains(mistakes.Error(), tc.says) {
			t.Errorf("%s: got %v", name, mistakes)
		}
	}
}
