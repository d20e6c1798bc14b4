package rules

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

func lockedSite() settings.Settings {
	s := settings.Default()
	s.Network.WAN = []string{"wan0"}
	s.SIP.Transparent = []string{"lan0"}
	s.Trunks = []settings.Trunk{{
		Name: "main", Domain: "sip.example.net", Address: netip.MustParseAddrPort("203.0.113.1:5080"), Transport: settings.UDP,
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Names: []string{"sip.example.net"},
	}, {
		Name: "secure", Domain: "tls.example.net", Address: netip.MustParseAddrPort("203.0.113.1:5061"), Transport: settings.TCP,
	}}
	return s
}

func TestLock(t *testing.T) {
	p, s := policy.Builtin(), lockedSite()
	p.OpaqueTLS = true
	facts := Facts{Names: map[string][]netip.Addr{"sip.example.net": {netip.MustParseAddr("198.51.100.7")}}}
	r, err := Compile(p, s, facts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	lock := r.Lock()
	if want := []uint16{5060, 5080, 50600}; !slices.Equal(lock.Ports, want) || !slices.Equal(r.SIP().Intercepted, want) {
		t.Errorf("ports %v, intercepted %v; want %v: 5061 is TLS, and the trunk's port is SIP's", lock.Ports, r.SIP().Intercepted, want)
	}
	trunks := []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("203.0.113.1/32")}
	if !reflect.DeepEqual(lock.Trunks, trunks) {
		t.Errorf("trunks %v; want %v", lock.Trunks, trunks)
	}
	if !lock.OpaqueTLS || !slices.Equal(lock.TLS, []uint16{5061}) || !slices.Equal(lock.Transparent, []string{"lan0"}) {
		t.Errorf("got %+v", lock)
	}
	s.SIP.Transparent = nil
	if r, err = Compile(p, s, facts, time.Now()); err != nil {
		t.Fatal(err)
	}
	if lock := r.Lock(); len(r.SIP().Intercepted) > 0 || !slices.Contains(lock.Ports, 5060) {
		t.Errorf("without transparent mode: intercepted %v, locked %v; want none and all", r.SIP().Intercepted, lock.Ports)
	}
	if lock := (*Rules)(nil).Lock(); lock.OpaqueTLS || len(lock.Passes) > 0 {
		t.Errorf("no rules: %+v", lock)
	}
}

func TestLockNeedsAGrantForPasses(t *testing.T) {
	p, s := policy.Builtin(), lockedSite()
	s.Egress = []settings.Pass{{Name: "branch", Protocol: settings.UDP, Port: 4569, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")}}}
	r, err := Compile(p, s, Facts{}, time.Now())
	if err != nil || !reflect.DeepEqual(r.Lock().Passes, s.Egress) {
		t.Fatalf("granted: %v, err %v", r.Lock().Passes, err)
	}
	p.Grants.Egress = false
	_, err = Compile(p, s, Facts{}, time.Now())
	var mistakes appliance.Errors
	if !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Code != appliance.CodeForbidden || mistakes[0].Field != "egress[0]" {
		t.Fatalf("got %v", err)
	}
}
