package rules

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// refusals returns "code field" of each mistake.
func refusals(t *testing.T, err error) []string {
	t.Helper()
	var mistakes appliance.Errors
	if !errors.As(err, &mistakes) {
		t.Fatalf("got %v, want appliance.Errors", err)
	}
	var out []string
	for _, one := range mistakes {
		if one.Message == "" {
			t.Errorf("%s says nothing", one.Field)
		}
		out = append(out, string(one.Code)+" "+one.Field)
	}
	return out
}

func TestGuard(t *testing.T) {
	p := policy.Builtin()
	p.Providers = []policy.Provider{{Name: "a", Networks: []netip.Prefix{prefix("198.51.100.0/24"), prefix("2001:db8::/32")}}}
	p.Admins = []policy.Admin{{Name: "noc", Network: prefix("192.0.2.0/24")}}
	s := site("AU", "")
	s.Trunks[0].Networks = []netip.Prefix{prefix("203.0.113.0/28")}
	s.Admins = []settings.Admin{{Name: "it", Network: prefix("198.51.100.7/32")}, {Name: "voice", Network: prefix("192.0.2.9/32"), SIP: true}}
	s.Tunnels = []document.Tunnel{{Name: "head office", Network: prefix("192.0.2.128/25")}}
	s.Ports = settings.Ports{SIP: []uint16{5080}, HTTP: []uint16{8443, 80}, Open: []uint16{1194}}
	s.Limits.Open = document.Limit{PerSecond: 5, Burst: 9}
	s.SIP.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.168.1.1:5070")}
	got := compiled(t, p, s).Guard()
	const sip, http, tunnel = 1 << ServiceSIP, 1 << ServiceHTTP, 1 << ServiceTunnel
	want := Guard{
		Ports: [Services][]uint16{{5060, 5061, 5070, 5080, 50600}, {80, 443, 8080, 8443}, {1194}},
		Sources: []Source{
			{Prefix: prefix("192.0.2.0/24"), Services: http},
			{Prefix: prefix("192.0.2.9/32"), Services: http | sip},
			{Prefix: prefix("192.0.2.128/25"), Services: http | tunnel},
			{Prefix: prefix("198.51.100.0/24"), Services: sip, Firm: true},
			{Prefix: prefix("198.51.100.7/32"), Services: sip | http, Firm: true}, // an admin inside a provider's network may do both
			{Prefix: prefix("203.0.113.0/28"), Services: sip, Firm: true},
			{Prefix: prefix("203.0.113.1/32"), Services: sip, Firm: true},
			{Prefix: prefix("2001:db8::/32"), Services: sip, Firm: true},
		},
		Limits: [Services]Limit{ServiceOpen: {PerSecond: 5, Burst: 9}},
		Media:  MediaObserve, // a box out of its carton
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	s.Bans.SpareAllowed = true
	for _, one := range compiled(t, p, s).Guard().Sources {
		if !one.Firm {
			t.Errorf("%s can be banned although allowed sources are spared", one.Prefix)
		}
	}
}

// TestLongestSourceKnowsAll draws networks at random: the longest match of an
// address must hold what all its matches hold together.
func TestLongestSourceKnowsAll(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		allowed, firm := make(map[netip.Prefix]uint8), make(map[netip.Prefix]bool)
		for range 1 + random.IntN(30) {
			addr := netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), byte(random.IntN(4)), byte(random.IntN(256))})
			network := netip.PrefixFrom(addr, 8+random.IntN(25)).Masked()
			allowed[network] |= uint8(1 + random.IntN(3))
			firm[network] = firm[network] || random.IntN(4) == 0
		}
		var sources []Source
		for network, services := range allowed {
			sources = append(sources, Source{network, services, firm[network]})
		}
		nest(sources)
		for range 50 {
			addr := netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), byte(random.IntN(4)), byte(random.IntN(256))})
			var all, longest Source
			bits := -1
			for one, services := range allowed {
				if one.Contains(addr) {
					all.Services |= services
					all.Firm = all.Firm || firm[one]
				}
			}
			for _, one := range sources {
				if one.Prefix.Contains(addr) && one.Prefix.Bits() > bits {
					bits, longest = one.Prefix.Bits(), one
				}
			}
			if longest.Services != all.Services || longest.Firm != all.Firm {
				t.Fatalf("%s: the longest match holds %+v, all matches %+v", addr, longest, all)
			}
		}
	}
}

func TestGrants(t *testing.T) {
	p := policy.Builtin()
	p.Grants = policy.Grants{}
	p.Providers = []policy.Provider{{Name: "a", Networks: []netip.Prefix{prefix("203.0.113.0/24")}}}
	s := site("AU", "")
	if _, err := Compile(p, s, Facts{}, noon); err != nil {
		t.Errorf("a trunk inside a provider's network was refused: %v", err)
	}
	s.Trunks[0].Networks = []netip.Prefix{prefix("203.0.113.0/28"), prefix("203.0.112.0/23")}
	s.Trunks = append(s.Trunks, settings.Trunk{Name: "own", Domain: "x", Address: netip.MustParseAddrPort("198.51.100.1:5060"), Transport: settings.UDP})
	s.Admins = []settings.Admin{{Name: "it", Network: prefix("192.0.2.7/32"), SIP: true}}
	s.Destinations.Allow = []settings.Exception{{Prefix: "+252615550148"}}
	r, err := Compile(p, s, Facts{}, noon)
	want := []string{"forbidden trunks[0].networks[1]", "forbidden trunks[1].address", "forbidden admins[0]", "forbidden destinations.allow[0].prefix"}
	if got := refusals(t, err); !slices.Equal(got, want) || r != nil {
		t.Errorf("got %v and rules %v", got, r)
	}
	p.Grants = policy.Grants{Providers: true, Admins: true, Exceptions: 7}
	s.Destinations.Allow = []settings.Exception{{Prefix: "+2526155"}, {Prefix: "+252615"}}
	_, err = Compile(p, s, Facts{}, noon)
	want = []string{"forbidden admins[0].sip", "forbidden destinations.allow[1].prefix"}
	if got := refusals(t, err); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if appliance.CodeOf(err) != appliance.CodeForbidden {
		t.Errorf("got code %s", appliance.CodeOf(err))
	}
}

func TestSIPDefaults(t *testing.T) {
	got := compiled(t, policy.Builtin(), site("AU", "")).SIP()
	if text := fmt.Sprint(got.Listen, got.Secure); text != "[0.0.0.0:5060 [::]:5060 0.0.0.0:50600 [::]:50600] [0.0.0.0:5061 [::]:5061]" {
		t.Errorf("listens on %s", text)
	}
	if want := []settings.NumberFormat{"plus", "international", "national"}; !slices.Equal(got.Trunks[0].Formats, want) {
		t.Errorf("formats %v", got.Trunks[0].Formats)
	}
	if got.Refusal != 403 || len(got.LAN) == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestDigest(t *testing.T) {
	a := compiled(t, policy.Builtin(), site("AU", ""))
	if b := compiled(t, policy.Builtin(), site("AU", "")); a.Digest() != b.Digest() || len(a.Digest()) != 16 {
		t.Errorf("digests %q and %q", a.Digest(), b.Digest())
	}
	p := policy.Builtin()
	p.Serial = 1
	seen := map[string]bool{a.Digest(): true}
	for _, other := range []*Rules{compiled(t, p, site("AU", "")), compiled(t, policy.Builtin(), site("NZ", ""))} {
		if seen[other.Digest()] {
			t.Error("different documents have one digest")
		}
		seen[other.Digest()] = true
	}
}

func TestExceptionsEnd(t *testing.T) {
	s := site("AU", "")
	s.Destinations.Allow = []settings.Exception{
		{Prefix: "+252615550148", Reason: "the client", Until: noon.Add(time.Hour)},
		{Prefix: "+5371", Until: noon.Add(2 * time.Hour)},
		{Prefix: "+232", Until: noon},
		{Prefix: "+224"},
	}
	at := func(now time.Time) *Rules {
		r, err := Compile(policy.Builtin(), s, Facts{}, now)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, second, third := at(noon), at(noon.Add(time.Hour)), at(noon.Add(2*time.Hour))
	if !first.Expires().Equal(noon.Add(time.Hour)) || !second.Expires().Equal(noon.Add(2*time.Hour)) || !third.Expires().IsZero() {
		t.Errorf("expire at %v, %v, %v", first.Expires(), second.Expires(), third.Expires())
	}
	if first.Digest() == second.Digest() || second.Digest() == third.Digest() {
		t.Error("an exception ended and the digest stayed")
	}
	for _, test := range []struct {
		rules  *Rules
		number string
		reason appliance.Reason
	}{
		{first, "+252615550148", appliance.ReasonException}, {second, "+252615550148", highRisk}, {first, "+252615550149", highRisk},
		{second, "+53712345", appliance.ReasonException}, {third, "+53712345", highRisk},
		{first, "+23212345678", highRisk}, {third, "+22412345678", appliance.ReasonException},
	} {
		if got := test.rules.Call(out(test.number)); got.Reason != test.reason {
			t.Errorf("%s: got %s, want %s", test.number, got.Reason, test.reason)
		}
	}
	if len(s.Destinations.Allow) != 4 {
		t.Error("the settings were changed")
	}
}

// TestPrecedence sets the lists against each other.
func TestPrecedence(t *testing.T) {
	p := policy.Builtin()
	p.Grants.Exceptions = 1
	p.Destinations.Block = []policy.Destination{{Prefix: "+44", Reason: "policy says no"}, {Prefix: "+3312"}, {Prefix: "+39"}, {Prefix: "+61255"}}
	p.Destinations.Allow = []policy.Destination{{Prefix: "+371", Reason: "a branch"}, {Prefix: "+4420"}, {Prefix: "+3312"}, {Prefix: "+25261"}}
	s := site("AU", "2")
	s.Destinations.Block = []settings.Destination{{Prefix: "+49", Reason: "nobody there"}, {Prefix: "+44203"}, {Prefix: "+252611"}}
	s.Destinations.Allow = []settings.Exception{{Prefix: "+4930"}, {Prefix: "+53"}, {Prefix: "+391"}, {Prefix: "+39"}, {Prefix: "+611234"}}
	r := compiled(t, p, s)
	for _, test := range []struct {
		number string
		reason appliance.Reason
		rule   string
		list   string
	}{
		{"+441632960123", appliance.ReasonPolicyBlock, "+44", "policy"},
		{"+442079460123", appliance.ReasonException, "+4420", "policy"},         // longer Allow
		{"+442034567890", appliance.ReasonSettingsBlock, "+44203", "settings"},  // settings tighten
		{"+33123456789", appliance.ReasonPolicyBlock, "+3312", "policy"},        // same prefix: Block
		{"+3719123456", appliance.ReasonException, "+371", "policy"},            // Allow over the built-in list
		{"+252621234567", highRisk, "+252", "high-risk"},                        // outside the Allow
		{"+252612345678", appliance.ReasonException, "+25261", "policy"},        // inside
		{"+252611234567", appliance.ReasonSettingsBlock, "+252611", "settings"}, // and tightened
		{"+493012345678", appliance.ReasonException, "+4930", "settings"},       // an exception from one's own block
		{"+498912345678", appliance.ReasonSettingsBlock, "+49", "settings"},
		{"+5371234567", appliance.ReasonException, "+53", "settings"},     // a granted exception
		{"+3912345678", appliance.ReasonException, "+391", "settings"},    // longer than the policy's block
		{"+3922345678", appliance.ReasonPolicyBlock, "+39", "policy"},     // same prefix: the policy's Block
		{"02 5512 3456", appliance.ReasonPolicyBlock, "+61255", "policy"}, // national numbers too
		{"02 5612 3456", allowed, "", ""},
		{"1234", appliance.ReasonException, "+611234", "settings"}, // a short code by the home country's code
		{"12456", premium, "12456", "high-risk"},
	} {
		got := r.Call(out(test.number))
		if got.Reason != test.reason || got.Rule != test.rule || got.List != test.list {
			t.Errorf("%s: got %s by %q of %q, want %s by %q of %q", test.number, got.Reason, got.Rule, got.List, test.reason, test.rule, test.list)
		}
	}
}

// TestNoDocumentBlocksEmergencyNumbers writes documents that try.
func TestNoDocumentBlocksEmergencyNumbers(t *testing.T) {
	p := policy.Builtin()
	s := withExtensions(withPBX(site("AU", "2", "0", "00", "000", "1", "11")), 3)
	for _, digit := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		p.Destinations.Block = append(p.Destinations.Block, policy.Destination{Prefix: "+" + digit})
		s.Destinations.Block = append(s.Destinations.Block, settings.Destination{Prefix: "+" + digit})
	}
	p.Destinations.Block = append(p.Destinations.Block, policy.Destination{Prefix: "+61112"}, policy.Destination{Prefix: "+61000"})
	r := compiled(t, p, s)
	for _, number := range []string{"000", "112", "106", "urn:service:sos"} {
		if got := r.Call(out(number)); got.Verdict != appliance.Allow || got.Reason != emergency || got.Number != number {
			t.Errorf("%s: got %+v", number, got)
		}
	}
	if got := r.Call(out("0252615550")); got.Verdict != appliance.Block {
		t.Errorf("the blocks don't bite: %+v", got)
	}
}

// TestSettingsNeverLoosen draws documents at random: without granted
// exceptions, what the policy blocks stays blocked whatever the settings say.
func TestSettingsNeverLoosen(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	number := func(most int) string {
		s := "+"
		for range 1 + random.IntN(most) {
			s += string('1' + byte(random.IntN(4)))
		}
		return s
	}
	for range 200 {
		p := policy.Builtin()
		p.Grants.Exceptions = 0
		for range random.IntN(6) {
			p.Destinations.Block = append(p.Destinations.Block, policy.Destination{Prefix: number(5)})
			p.Destinations.Allow = append(p.Destinations.Allow, policy.Destination{Prefix: number(5)})
		}
		strict := site("AU", "")
		for range random.IntN(6) {
			strict.Destinations.Block = append(strict.Destinations.Block, settings.Destination{Prefix: number(5)})
		}
		loose, tight := compiled(t, p, site("AU", "")), compiled(t, p, strict)
		for range 50 {
			call := out(number(12))
			if loose.Call(call).Verdict == appliance.Block && tight.Call(call).Verdict == appliance.Allow {
				t.Fatalf("%s passes with stricter settings", call.URI)
			}
		}
	}
}

func TestNilRules(t *testing.T) {
	var r *Rules
	if r.Digest() != "" || !r.Expires().IsZero() || !reflect.DeepEqual(r.Guard(), Guard{}) || !reflect.DeepEqual(r.SIP(), SIP{}) {
		t.Error("nil rules hold something")
	}
}

func BenchmarkCall(b *testing.B) {
	s := site("AU", "2", "0", "9")
	for _, bench := range []struct{ name, uri string }{
		{"national", "sip:0252615550@sip.example.net;user=phone"},
		{"international", "sip:0011441632960123@sip.example.net;user=phone"},
		{"blocked", "sip:0011252615550148@sip.example.net;user=phone"},
		{"disguised", "sip:%2a21%2A9183100112526155%350148%23@sip.example.net"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := compiled(b, hundredThousand(), s)
			b.ReportAllocs()
			for b.Loop() {
				r.Call(out(bench.uri))
			}
		})
	}
}

// hundredThousand is a policy with as many prefixes as a feed of fraud numbers
// may bring.
func hundredThousand() policy.Policy {
	random := rand.New(rand.NewPCG(11, 12))
	p := policy.Builtin()
	seen := make(map[string]bool)
	for len(seen) < 100_000 {
		digits := []byte("+0000000000")
		for i := 1; i < len(digits); i++ {
			digits[i] = '1' + byte(random.IntN(9))
		}
		if one := string(digits); !seen[one] {
			seen[one] = true
			p.Destinations.Block = append(p.Destinations.Block, policy.Destination{Prefix: one})
		}
	}
	return p
}

func BenchmarkCompile100000(b *testing.B) {
	p, s := hundredThousand(), site("AU", "2")
	for b.Loop() {
		if _, err := Compile(p, s, Facts{}, noon); err != nil {
			b.Fatal(err)
		}
	}
}
