package main

import (
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/settings"
)

func TestExemptInterfaces(t *testing.T) {
	lan := settings.Default().Network.LAN
	drivers := map[string]string{"eth0": "mtk_soc_eth", "eth1": "mtk_soc_eth", "eth2": "r8169", "eth3": "r8169", "br0": "bridge", "lan1": "dsa", "lo7": ""}
	find := func(name string) (network.Link, bool) {
		driver, found := drivers[name]
		return network.Link{Name: name, Driver: driver, Index: len(name)}, found
	}
	for name, tc := range map[string]struct {
		wan     []string
		carried []network.Carrier
		want    string
		stacked string
	}{
		"the LAN's port shares the driver": {[]string{"eth1"}, []network.Carrier{on("eth0", "192.168.1.1"), on("eth1", "203.0.113.1")}, "eth0", "eth1"},
		"below a bridge and a switch":      {[]string{"eth1"}, []network.Carrier{on("br0", "192.168.1.1", "eth0 lan1 br0", "eth2 br0")}, "eth0", "eth1"},
		"one WAN of two":                   {[]string{"eth1", "eth2"}, []network.Carrier{on("eth0", "192.168.1.1")}, "eth0", "eth1"},
		"a driver that tells":              {[]string{"eth2"}, []network.Carrier{on("eth3", "192.168.1.1")}, "eth3", ""},
		"another driver":                   {[]string{"eth2"}, []network.Carrier{on("eth0", "192.168.1.1")}, "", ""},
		"not of the LAN":                   {[]string{"eth1"}, []network.Carrier{on("eth0", "198.51.100.1")}, "", ""},
		"the WAN port itself":              {[]string{"eth0", "eth1"}, []network.Carrier{on("eth0", "192.168.1.1"), on("br0", "10.0.0.1", "eth1 br0")}, "", ""},
		"gone meanwhile":                   {[]string{"eth1"}, []network.Carrier{on("eth9", "192.168.1.1")}, "", ""},
		"of unknown drivers":               {[]string{"lo7"}, []network.Carrier{on("lo7", "192.168.1.1")}, "", ""},
		"twice":                            {[]string{"eth1"}, []network.Carrier{on("br0", "192.168.1.1", "eth0 br0"), on("eth0", "fd00::1")}, "eth0", "eth1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, exempt := "", exemptOf(tc.wan, lan, tc.carried, find)
			for _, one := range exempt {
				got += one.Name
			}
			if stacked := strings.Join(stackedOf(tc.wan, exempt, find), " "); got != tc.want || stacked != tc.stacked {
				t.Errorf("exempt %q, in the stack %q; want %q and %q", got, stacked, tc.want, tc.stacked)
			}
		})
	}
}
