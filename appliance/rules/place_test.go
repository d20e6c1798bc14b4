package rules

import (
	"net/netip"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

func TestExtensions(t *testing.T) {
	check(t, withExtensions(site("AU", "2"), 4), []row{
		{"1234", internal, "1234", "1234"}, // the hosted PBX's own, before the short code
		{"sip:2001@sip.example.net", internal, "2001", "2001"},
		{"20011", unknown, "20011", "+6120011"},
	})
	check(t, withExtensions(site("GB", ""), 6), []row{{"118118", premium, "118118", "118118"}})
	check(t, withPBX(withExtensions(site("AU", "2"), 4)), []row{
		{"sip:2001@192.168.1.10", internal, "2001", "2001"},
		{"sip:2001@sip.example.net", unknown, "2001", "+612001"},
		{"sip:1234@sip.example.net", premium, "1234", "1234"},
	})
	check(t, withExtensions(site("US", ""), 4), []row{{"9911", internal, "9911", "9911"}})
	check(t, withExtensions(site("US", "", "9"), 4), []row{{"9911", emergency, "9911", "911"}})
}

func TestInbound(t *testing.T) {
	r := compiled(t, policy.Builtin(), site("AU", "2"))
	for _, uri := range []string{"sip:0252615550@192.168.1.10", "sip:alice@anywhere.example", "sip:0011252615550148@192.168.1.10"} {
		if got := r.Call(Call{URI: uri, Direction: appliance.Inbound}); got.Reason != appliance.ReasonInbound || got.Verdict != appliance.Allow {
			t.Errorf("%q: got %+v", uri, got)
		}
	}
	if got := r.Call(Call{URI: "sip:%00@192.168.1.10", Direction: appliance.Inbound}); got.Reason != unreadable {
		t.Errorf("got %+v", got)
	}
}

func TestTrunkChoice(t *testing.T) {
	s := site("AU", "2")
	s.Trunks = append(s.Trunks, settings.Trunk{
		Name: "spare", Domain: "spare.example.net", Address: netip.MustParseAddrPort("198.51.100.1:5060"), Transport: settings.TCP,
		Formats: []settings.NumberFormat{settings.FormatE164},
	})
	r := compiled(t, policy.Builtin(), s)
	for _, test := range []struct {
		call   Call
		trunk  string
		reason appliance.Reason
	}{
		{Call{URI: "0252615550"}, "main", allowed},
		{Call{URI: "sip:0252615550@spare.example.net"}, "spare", allowed},
		{Call{URI: "sip:252615550148@198.51.100.1"}, "spare", highRisk},
		{Call{URI: "sip:252615550148@sip.example.net"}, "main", unknown},
		{Call{URI: "sip:252615550148@sip.example.net", Trunk: "spare"}, "spare", highRisk},
		{Call{URI: "0252615550", Trunk: "nobody"}, "", appliance.ReasonNoTrunk},
		{Call{URI: "000", Trunk: "nobody"}, "", emergency},
	} {
		test.call.Direction = appliance.Outbound
		if got := r.Call(test.call); got.Trunk != test.trunk || got.Reason != test.reason {
			t.Errorf("%+v: got trunk %q, %s", test.call, got.Trunk, got.Reason)
		}
	}
}
