package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

func listOf(prefixes ...string) feed.List {
	var out []netip.Prefix
	for _, one := range prefixes {
		out = append(out, prefix(one))
	}
	return feed.FromPrefixes(out)
}

func feeds(names ...string) []document.Feed {
	var out []document.Feed
	for _, name := range names {
		out = append(out, document.Feed{Name: name, Format: feed.FormatCIDR})
	}
	return out
}

// mistakes are the compiler's, as field and message.
func mistakes(t *testing.T, p policy.Policy, s settings.Settings, facts Facts) [][2]string {
	t.Helper()
	r, err := Compile(p, s, facts, noon)
	if err == nil {
		return nil
	}
	list, ok := errors.AsType[appliance.Errors](err)
	if !ok || r != nil {
		t.Fatalf("err %v with rules %v; want appliance.Errors and none", err, r)
	}
	var out [][2]string
	for _, one := range list {
		out = append(out, [2]string{string(one.Code) + " " + one.Field, one.Message})
	}
	return out
}

// TestContradictionsNameBothLines gives a port two services, once for each pair
// of places.
func TestContradictionsNameBothLines(t *testing.T) {
	for name, tc := range map[string]struct {
		policy   policy.Ports
		settings settings.Ports
		listen   string
		field    string
		says     string
	}{
		"policy and policy": {policy.Ports{SIP: []uint16{5060}, HTTP: []uint16{80, 5060}}, settings.Ports{}, "",
			"policy ports.http[1]", "5060 is guarded for SIP already by policy ports.sip[0]"},
		"policy and settings": {policy.Ports{SIP: []uint16{5061, 5060}}, settings.Ports{HTTP: []uint16{5060}}, "192.168.1.1:5061",
			"settings ports.http[0]", "5060 is guarded for SIP already by policy ports.sip[1]"},
		"policy and settings, the other way": {policy.Ports{SIP: []uint16{5060}, HTTP: []uint16{8080}}, settings.Ports{SIP: []uint16{8080}}, "",
			"settings ports.sip[0]", "8080 is guarded for HTTP already by policy ports.http[0]"},
		"settings and settings": {policy.Ports{SIP: []uint16{5060}}, settings.Ports{SIP: []uint16{5080}, Open: []uint16{1194, 5080}}, "",
			"settings ports.open[1]", "5080 is guarded for SIP already by settings ports.sip[0]"},
		"open and guarded": {policy.Ports{SIP: []uint16{5060}, Open: []uint16{443}}, settings.Ports{HTTP: []uint16{443}}, "",
			"settings ports.http[0]", "443 is open to the internet already by policy ports.open[0]"},
		"listening": {policy.Ports{SIP: []uint16{5060}, HTTP: []uint16{443}}, settings.Ports{}, "192.168.1.1:443",
			"settings sip.listen[0]", "443 is guarded for HTTP already by policy ports.http[0]"},
		"listening unsaid": {policy.Ports{SIP: []uint16{5070}, HTTP: []uint16{5060}}, settings.Ports{}, "",
			"settings sip.listen (empty, which means port 5060)", "5060 is guarded for HTTP already by policy ports.http[0]"},
		"listening and opened": {policy.Ports{SIP: []uint16{5060}}, settings.Ports{Open: []uint16{5090}}, "192.168.1.1:5090",
			"settings ports.open[0]", "5090 is guarded for SIP already by settings sip.listen[0]"},
	} {
		p, s := policy.Builtin(), site("AU", "")
		p.Ports, s.Ports = tc.policy, tc.settings
		if tc.listen != "" {
			s.SIP.Listen = []netip.AddrPort{netip.MustParseAddrPort(tc.listen)}
		}
		got := mistakes(t, p, s, Facts{})
		if len(got) != 1 || got[0][0] != "invalid "+tc.field || !strings.HasPrefix(got[0][1], tc.says) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestListenPortIsGuarded has a policy that guards another port than the
// inspector's own.
func TestListenPortIsGuarded(t *testing.T) {
	p := policy.Builtin()
	p.Ports = policy.Ports{SIP: []uint16{5070}}
	if got := compiled(t, p, site("AU", "")).Guard().Ports[ServiceSIP]; !slices.Equal(got, []uint16{5060, 5061, 5070, 50600}) {
		t.Errorf("guards %v, and the inspector listens on 5060", got)
	}
}

// TestLANIsNotLetIn goes through every line that lets a network in.
func TestLANIsNotLetIn(t *testing.T) {
	for name, tc := range map[string]struct {
		edit  func(*policy.Policy, *settings.Settings)
		field string
	}{
		"provider": {func(p *policy.Policy, _ *settings.Settings) {
			p.Providers = []policy.Provider{{Name: "a", Networks: []netip.Prefix{prefix("203.0.113.0/24"), prefix("10.0.0.0/8")}}}
		}, "policy providers[0].networks[1]"},
		"administrator of the policy": {func(p *policy.Policy, _ *settings.Settings) {
			p.Admins = []policy.Admin{{Name: "a", Network: prefix("10.9.0.0/16")}}
		}, "policy admins[0].network"},
		"tunnel of the policy": {func(p *policy.Policy, _ *settings.Settings) {
			p.Tunnels = []document.Tunnel{{Name: "a", Network: prefix("10.0.0.0/12")}}
		}, "policy tunnels[0].network"},
		"trunk": {func(_ *policy.Policy, s *settings.Settings) {
			s.Trunks[0].Networks = []netip.Prefix{prefix("10.9.0.0/16")}
		}, "settings trunks[0].networks[0]"},
		"administrator": {func(_ *policy.Policy, s *settings.Settings) {
			s.Admins = []settings.Admin{{Name: "a", Network: prefix("fd00::/16")}}
		}, "settings admins[0].network"},
		"tunnel": {func(_ *policy.Policy, s *settings.Settings) {
			s.Tunnels = []document.Tunnel{{Name: "a", Network: prefix("10.8.0.0/15")}}
		}, "settings tunnels[0].network"},
	} {
		p, s := policy.Builtin(), site("AU", "")
		s.Network.LAN = []netip.Prefix{prefix("192.168.1.0/24"), prefix("10.9.0.0/16"), prefix("fd00:1::/32")}
		tc.edit(&p, &s)
		got := mistakes(t, p, s, Facts{})
		if len(got) != 1 || got[0][0] != "invalid "+tc.field || !strings.Contains(got[0][1], "settings network.lan[") {
			t.Errorf("%s: got %v", name, got)
		}
	}
	// Inside the LAN of a new box, which is all private space, a provider is in
	// order, as is one beside it.
	p, s := policy.Builtin(), site("AU", "")
	s.Network.LAN = settings.Default().Network.LAN
	p.Providers = []policy.Provider{{Name: "a", Networks: []netip.Prefix{prefix("10.200.0.0/16"), prefix("203.0.113.0/24"), prefix("fd00:7::/32")}}}
	compiled(t, p, s)
}

func TestFeedsInDocumentOrder(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Feeds, s.Feeds = feeds("policy-one", "never-imported"), feeds("own", "a")
	facts := Facts{Feeds: map[string]feed.List{
		"a": listOf("192.0.2.0/24"), "own": listOf("198.51.100.0/24"), "policy-one": listOf("2001:db8::/32"), "nobody-asked": listOf("10.0.0.0/8"),
	}}
	r, err := Compile(p, s, facts, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := []Feed{{"policy-one", facts.Feeds["policy-one"]}, {"own", facts.Feeds["own"]}, {"a", facts.Feeds["a"]}}
	if !reflect.DeepEqual(r.Guard().Feeds, want) {
		t.Errorf("got %+v", r.Guard().Feeds)
	}
}

func TestFeedsThatDoNotFit(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Feeds, s.Feeds = feeds("one", "two"), feeds("three", "two")
	got := mistakes(t, p, s, Facts{})
	if len(got) != 1 || got[0][0] != "invalid settings feeds[1].name" || !strings.Contains(got[0][1], "policy feeds[1]") {
		t.Errorf("names that clash: got %v", got)
	}
	s.Feeds = nil
	for i := range MaxFeeds - 2 {
		s.Feeds = append(s.Feeds, feeds(fmt.Sprintf("f%d", i))...)
	}
	if got := mistakes(t, p, s, Facts{}); got != nil {
		t.Errorf("as many as there may be: got %v", got)
	}
	s.Feeds = append(s.Feeds, feeds("one-too-many")...)
	got = mistakes(t, p, s, Facts{})
	if len(got) != 1 || got[0][0] != "invalid settings feeds" || !strings.HasPrefix(got[0][1], "128 feeds") {
		t.Errorf("one too many: got %v", got)
	}
}

func TestNamesThatDoNotFit(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Providers = []policy.Provider{{Name: "a"}}
	for i := range MaxNames {
		p.Providers[0].Names = append(p.Providers[0].Names, fmt.Sprintf("sip%d.example.net", i))
	}
	s.Trunks[0].Names = []string{"sip7.example.net"} // known already
	compiled(t, p, s)
	s.Trunks[0].Names = []string{"sip.example.org"}
	if got := mistakes(t, p, s, Facts{}); len(got) != 1 || got[0][0] != "invalid settings trunks" || !strings.HasPrefix(got[0][1], "65 DNS names") {
		t.Errorf("got %v", got)
	}
	p.Providers[0].Names = append(p.Providers[0].Names, "sip.example.com")
	if got := mistakes(t, p, s, Facts{}); len(got) != 1 || got[0][0] != "invalid policy providers" {
		t.Errorf("got %v", got)
	}
}

func TestLimitsOnlyFall(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Limits.SIP = document.Limit{PerSecond: 50, Burst: 100}
	s.Limits = document.Limits{SIP: document.Limit{PerSecond: 40, Burst: 100}, HTTP: document.Limit{PerSecond: 9, Burst: 9}}
	want := [Services]Limit{ServiceSIP: {40, 100}, ServiceHTTP: {9, 9}}
	if got := compiled(t, p, s).Guard().Limits; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	s.Limits.SIP = document.Limit{PerSecond: 51, Burst: 101}
	got := mistakes(t, p, s, Facts{})
	if len(got) != 2 || got[0][0] != "forbidden limits.sip.per_second" || got[1][0] != "forbidden limits.sip.burst" ||
		!strings.Contains(got[0][1], "50 of policy limits.sip.per_second") {
		t.Errorf("got %v", got)
	}
}

func TestNamesBecomeSources(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Providers = []policy.Provider{{Name: "a", Names: []string{"sip.example.net"}}}
	s.Trunks[0].Names = []string{"_sip._udp.example.org", "sip.example.net", "nowhere.example.org"}
	if got := Names(p, s); !slices.Equal(got, []string{"sip.example.net", "_sip._udp.example.org", "nowhere.example.org"}) {
		t.Errorf("names %v", got)
	}
	lan := s.Network.LAN[0].Addr().Next()
	facts := Facts{Names: map[string][]netip.Addr{
		"sip.example.net":       {netip.MustParseAddr("198.51.100.7"), lan},
		"_sip._udp.example.org": {netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("198.51.100.7")},
	}}
	r, err := Compile(p, s, facts, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := []Source{
		{prefix("198.51.100.7/32"), sipBit, true},
		{single(s.Trunks[0].Address.Addr()), sipBit, true},
		{prefix("2001:db8::7/128"), sipBit, true},
	}
	if got := r.Guard().Sources; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v and nothing of the LAN (%s)", got, want, lan)
	}
	// The inspector knows them as the trunk's, and none of the LAN's.
	got := r.SIP().Trunks[0].Networks
	if !slices.Equal(got, []netip.Prefix{prefix("198.51.100.7/32"), prefix("2001:db8::7/128")}) {
		t.Errorf("the trunk's networks are %v", got)
	}
}

func TestDigestKnowsTheFacts(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Providers = []policy.Provider{{Name: "a", Names: []string{"sip.example.net"}}}
	s.Feeds = feeds("own")
	at := func(addr string, list feed.List) string {
		r, err := Compile(p, s, Facts{Feeds: map[string]feed.List{"own": list, "other": list},
			Names: map[string][]netip.Addr{"sip.example.net": {netip.MustParseAddr(addr)}, "other.example.net": nil}}, noon)
		if err != nil {
			t.Fatal(err)
		}
		return r.Digest()
	}
	first := at("198.51.100.7", listOf("192.0.2.0/24"))
	if first != at("198.51.100.7", listOf("192.0.2.0/25", "192.0.2.128/25")) {
		t.Error("the same addresses from other entries have another digest")
	}
	if first == at("198.51.100.8", listOf("192.0.2.0/24")) || first == at("198.51.100.7", listOf("192.0.2.0/25")) {
		t.Error("a name or feed changed and the digest stayed")
	}
	s.Network.LAN = append(s.Network.LAN, prefix("198.51.100.128/25"))
	if at("198.51.100.129", listOf("192.0.2.0/24")) != at("198.51.100.130", listOf("192.0.2.0/24")) {
		t.Error("addresses that are ignored change the digest")
	}
}

func TestGrantsOfNamesAndTunnels(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	p.Grants = policy.Grants{}
	p.Providers = []policy.Provider{{Name: "a", Networks: []netip.Prefix{single(s.Trunks[0].Address.Addr())}, Names: []string{"sip.example.net"}}}
	s.Trunks[0].Names = []string{"sip.example.net"}
	compiled(t, p, s)
	s.Trunks[0].Names = append(s.Trunks[0].Names, "sip.example.org")
	s.Tunnels = []document.Tunnel{{Name: "own", Network: prefix("192.0.2.1/32")}}
	_, err := Compile(p, s, Facts{}, noon)
	if got := refusals(t, err); !slices.Equal(got, []string{"forbidden trunks[0].names[1]", "forbidden tunnels[0]"}) {
		t.Errorf("got %v", got)
	}
}
