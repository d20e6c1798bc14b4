package network

import (
	"slices"
	"strings"
)

// What attaching the gate costs, and what its driver asks for. Read from Debian's
// linux-source 6.1.192 and 6.12.117; the gate swaps its rules without touching
// the attached program, so what a driver does then is not told here.
const (
	restarts = "attaching restarts the port"
	mtu1500  = "the MTU can be 1500 at most"
	newer    = "Linux 6.1 does not have it yet"
)

// natively holds what to know of the drivers that run XDP programs themselves,
// by the names that ethtool shows.
func natively() map[string][]string {
	return map[string][]string{
		"igb":            {restarts},
		"igc":            {restarts, mtu1500},
		"ixgbe":          {restarts},
		"i40e":           nil,
		"ice":            nil,
		"mvneta":         {restarts, "not with hardware buffer management"},
		"mvpp2":          {"the MTU can be 3552 at most"},
		"st_gmac":        {restarts, mtu1500, "it turns split headers off"}, // stmmac
		"st_xgmac":       {restarts, mtu1500, "it turns split headers off"},
		"mtk_soc_eth":    {"one program serves all of its ports, those of the LAN too", "on MT7621 and MT7622 it is taken and never run"},
		"cpsw":           nil,
		"cpsw-switch":    nil,
		"am65-cpsw-nuss": {"it needs Linux 6.10"},
		"fec":            {restarts, "it needs Linux 6.2"},
		"fsl_dpa":        nil,
		"fsl_dpaa2_eth":  {restarts},
		"fsl_enetc":      nil,
		"lan966x-switch": {newer},
		"tsnep":          {newer},
		"gve":            {newer},
		"vmxnet3":        {newer},
		"ionic":          {newer},
		"virtio_net":     {"the MTU can be 3506 at most", "the host must let offloads be turned off and grant a queue for each processor besides"},
		"veth":           nil,
		"tun":            nil,
		"bonding":        {"as far as every member has it"},
		"ena":            nil,
		"hv_netvsc":      nil,
		"mlx5_core":      nil,
		"atlantic":       nil,
	}
}

// generically lists drivers that can't. Whatever stands on top of another
// interface is among them: the gate belongs on the port below.
func generically() map[string]string {
	const below = "guard the port below it instead"
	return map[string]string{
		"r8169": "", "rtase": "", "bcmgenet": "", "macb": "", "e1000e": "",
		"r8152": "", "asix": "", "ax88179_178a": "", "cdc_ether": "", "cdc_ncm": "", "lan78xx": "", "smsc95xx": "", // USB
		"brcmfmac": "", "iwlwifi": "", "ath9k": "", "ath10k_pci": "", "mt7921e": "", // Wi-Fi
		"dsa": "", "802.1Q VLAN Support": below, "bridge": below, "macvlan": below,
	}
}

// frameless lists drivers whose packets begin with the IP header, which the gate
// refuses to read.
func frameless() []string { return []string{"ppp", "wireguard"} }

// XDPDriver says in one sentence, lower case and without a full stop, whether a
// driver (see Link.Driver) can run the gate itself, and what that costs or what to
// do instead. known is false where nobody has looked at the driver.
func XDPDriver(name string) (known bool, note string) {
	if limits, ok := natively()[name]; ok {
		return true, strings.Join(append([]string{"the driver " + name + " has native XDP"}, limits...), "; ")
	}
	advice, ok := generically()[name]
	switch {
	case name == "":
		return false, "the interface does not tell its driver"
	case slices.Contains(frameless(), name):
		return true, "the driver " + name + " carries no Ethernet frames, and can't be guarded: guard the port below it instead"
	case !ok:
		return false, "it is not known whether the driver " + name + " has native XDP"
	}
	note = "the driver " + name + " has no native XDP"
	if advice != "" {
		note += "; " + advice
	}
	return true, note
}
