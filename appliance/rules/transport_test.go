package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

func at(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, one := range list {
		out = append(out, netip.MustParseAddrPort(one))
	}
	return out
}

// TestListeners goes through what settings can say of listeners, and what a
// document of before keeps its meaning by.
func TestListeners(t *testing.T) {
	for name, tc := range map[string]struct {
		listen []netip.AddrPort
		tls    settings.Secure
		http   []uint16
		want   string // UDP and TCP, TLS, guarded for SIP
	}{
		"nothing said":                 {want: "[0.0.0.0:5060 [::]:5060 0.0.0.0:50600 [::]:50600] [0.0.0.0:5061 [::]:5061] [5060 5061 50600]"},
		"5061 is the web's":            {http: []uint16{5061}, want: "[0.0.0.0:5060 [::]:5060 0.0.0.0:50600 [::]:50600] [] [5060 50600]"},
		"50600 is the web's":           {http: []uint16{50600}, want: "[0.0.0.0:5060 [::]:5060] [0.0.0.0:5061 [::]:5061] [5060 5061]"},
		"listeners of before":          {listen: at("192.0.2.1:5060"), want: "[192.0.2.1:5060] [] [5060]"},
		"listeners, and TLS":           {listen: at("192.0.2.1:5060", "192.0.2.1:5070", "[2001:db8::1]:5060"), tls: settings.Secure{On: true}, want: "[192.0.2.1:5060 192.0.2.1:5070 [2001:db8::1]:5060] [192.0.2.1:5061 [2001:db8::1]:5061] [5060 5061 5070]"},
		"a plain listener on 5061":     {listen: at("192.0.2.1:5061"), tls: settings.Secure{On: true}, want: "[192.0.2.1:5061] [] [5061]"},
		"a listener for TLS":           {tls: settings.Secure{On: true, Listen: at("192.0.2.1:6000")}, want: "[0.0.0.0:5060 [::]:5060 0.0.0.0:50600 [::]:50600] [192.0.2.1:6000] [5060 6000 50600]"},
		"a listener for TLS, and more": {listen: at("192.0.2.1:5060"), tls: settings.Secure{On: true, Listen: at("192.0.2.1:6000")}, want: "[192.0.2.1:5060] [192.0.2.1:6000] [5060 6000]"},
	} {
		p, s := policy.Builtin(), site("AU", "")
		p.Ports = policy.Ports{}
		s.SIP.Listen, s.SIP.TLS, s.Ports.HTTP = tc.listen, tc.tls, tc.http
		r := compiled(t, p, s)
		if got := fmt.Sprint(r.SIP().Listen, r.SIP().Secure, r.Guard().Ports[ServiceSIP]); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tc.want)
		}
	}
}

func TestContradictingTLSListenersAreNamed(t *testing.T) {
	for want, tls := range map[string]settings.Secure{
		"settings ports.http[0]": {On: true, Listen: at("192.0.2.1:8443")},
	} {
		s := site("AU", "")
		s.SIP.TLS, s.Ports.HTTP = tls, []uint16{8443}
		if got := mistakes(t, policy.Builtin(), s, Facts{}); len(got) != 1 || got[0][0] != "invalid "+want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// TestTrunkByName has a trunk whose next hop is a domain.
func TestTrunkByName(t *testing.T) {
	s := site("AU", "")
	s.Network.LAN = []netip.Prefix{prefix("192.168.0.0/16")}
	s.Trunks = []settings.Trunk{{Name: "a", Domain: "itsp.example", Host: "itsp.example", Transport: settings.TLS}}
	const locator = "sip:itsp.example;transport=tls"
	if got := Names(policy.Builtin(), s); !slices.Equal(got, []string{locator}) {
		t.Errorf("names %v", got)
	}
	target := func(addr string) appliance.Target {
		return appliance.Target{Address: netip.MustParseAddrPort(addr), Transport: "tls", Host: "a.itsp.example"}
	}
	facts := Facts{
		Names:   map[string][]netip.Addr{locator: {netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("192.168.1.1")}},
		Targets: map[string][]appliance.Target{locator: {target("192.168.1.1:5061"), target("203.0.113.5:5061")}},
	}
	r, err := Compile(policy.Builtin(), s, facts, noon)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.SIP().Targets; len(got) != 1 || !slices.Equal(got[0], []appliance.Target{target("203.0.113.5:5061")}) {
		t.Errorf("targets %v, want none of the LAN", got)
	}
	source := Source{Prefix: prefix("203.0.113.5/32"), Services: sipBit, Firm: true}
	if got := r.Guard().Sources; !slices.Contains(got, source) {
		t.Errorf("sources %v, want what the domain stands for", got)
	}
	said := r.Call(Call{URI: "sip:0491570156@itsp.example", Direction: appliance.Outbound, Use: UseCall})
	if said.Verdict != appliance.Allow || said.Trunk != "a" {
		t.Errorf("said %+v", said)
	}
	bare, err := Compile(policy.Builtin(), s, Facts{}, noon)
	if err != nil || len(bare.SIP().Targets[0]) != 0 {
		t.Errorf("without an answer: %v, %v", bare.SIP().Targets, err)
	}
	facts.Targets = map[string][]appliance.Target{locator: {target("203.0.113.5:5062")}}
	if moved, err := Compile(policy.Builtin(), s, facts, noon); err != nil || moved.Digest() == r.Digest() {
		t.Errorf("another port has the same digest (%v)", err)
	}
}

// TestGrantOfTrunksByName: a policy that keeps the providers to itself knows the
// names of their trunks.
func TestGrantOfTrunksByName(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Grants.Providers = false
	p.Providers = []policy.Provider{{Name: "p", Names: []string{"sip.itsp.example", "_sip._udp.pool.example"}}}
	for host, want := range map[string]int{"sip.itsp.example": 0, "pool.example": 0, "itsp.example": 1, "other.example": 1, "_udp.pool.example": 1} {
		s.Trunks = []settings.Trunk{{Name: "a", Domain: "x.example", Host: host, Transport: settings.UDP}}
		if got := mistakes(t, p, s, Facts{}); len(got) != want || want == 1 && got[0][0] != "forbidden trunks[0].address" {
			t.Errorf("%s: %v", host, got)
		}
	}
}
