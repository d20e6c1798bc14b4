package rules

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// Package gate compares Judge with the XDP program frame by frame; what stands
// here needs no kernel.

var packetGuard = Guard{
	Ports: [Services][]uint16{{5060}, {443}},
	Sources: []Source{
		{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Services: 1 << ServiceSIP},
		{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Services: 1 << ServiceHTTP},
	},
}

const (
	macs     = "0200000000010200000000020800" // then IPv4
	udpTo    = "4500001c000000004011000"      // 28 bytes, UDP
	provider = "cb007109"
	stranger = "c6336442"
	here     = "c0000201"
)

// packet returns a UDP datagram without payload to a port in hex.
func packet(source, port string) string {
	return macs + udpTo + "0" + source + here + "13c4" + port + "00080000"
}

func TestPacket(t *testing.T) {
	for _, c := range []struct {
		name, frame string
		guard       Guard
		want        appliance.Reason
	}{
		{"provider", packet(provider, "13c4"), packetGuard, appliance.ReasonSIPAllowed},
		{"stranger", packet(stranger, "13c4"), packetGuard, appliance.ReasonSIPSource},
		{"admin's port", packet(provider, "01bb"), packetGuard, appliance.ReasonHTTPSource},
		{"other port, guarded source port", packet(stranger, "0035"), packetGuard, appliance.ReasonNotGuarded},
		{"no rules, provider", packet(provider, "13c4"), Guard{}, appliance.ReasonNoRules},
		{"no rules, other port", packet(provider, "0035"), Guard{}, appliance.ReasonNotGuarded},
		{"sources without ports are no rules", packet(provider, "c5a8"), Guard{Sources: packetGuard.Sources}, appliance.ReasonNoRules},
		{"nothing", "", packetGuard, appliance.ReasonMalformed},
		{"half an Ethernet header", macs[:26], packetGuard, appliance.ReasonMalformed},
		{"arp", macs[:24] + "0806", packetGuard, appliance.ReasonNotIP},
		{"three tags", macs[:24] + strings.Repeat("81000001", 3) + "0800", packetGuard, appliance.ReasonVLANDepth},
	} {
		frame, err := hex.DecodeString(c.frame)
		if err != nil {
			t.Fatal(c.name, err)
		}
		verdict, reason := c.guard.Judge(frame)
		if reason != c.want || verdict != c.want.Verdict() {
			t.Errorf("%s: %v (%v), want %v", c.name, verdict, reason, c.want)
		}
	}
	frame, _ := hex.DecodeString(packet(provider, "13c4"))
	for name, none := range map[string]*Rules{"nil": nil, "zero": {}} {
		if verdict, reason := none.Packet(frame); verdict != appliance.Block || reason != appliance.ReasonNoRules {
			t.Errorf("%s rules: %v (%v)", name, verdict, reason)
		}
	}
}

// FuzzPacket: whatever the frame, there is a verdict, its reason is one of the
// kernel's and stands beside it, and a stranger gets nothing that a source with
// every service would not.
func FuzzPacket(f *testing.F) {
	for _, seed := range []string{packet(provider, "13c4"), packet(stranger, "01bb"), macs} {
		frame, _ := hex.DecodeString(seed)
		f.Add(frame)
	}
	open := packetGuard
	open.Sources = []Source{
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Services: 3},
		{Prefix: netip.MustParsePrefix("::/0"), Services: 3},
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		verdict, reason := packetGuard.Judge(frame)
		if reason >= appliance.FirstCallReason || verdict != reason.Verdict() {
			t.Fatalf("%v beside %v", verdict, reason)
		}
		if wider, _ := open.Judge(frame); verdict == appliance.Allow && wider != appliance.Allow {
			t.Fatalf("more sources refuse what fewer allow (%v)", reason)
		}
	})
}
