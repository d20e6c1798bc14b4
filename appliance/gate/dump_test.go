package gate

import (
	"bufio"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

func TestDumpReadsTheKernel(t *testing.T) {
	p := loadProgram(t)
	dump := func() string {
		var out strings.Builder
		check(t, p.gate.Dump(&out))
		return out.String()
	}
	if got := dump(); got != "# no rules: the standard ports are shut for everybody\n" {
		t.Errorf("an empty generation reads %q", got)
	}
	guard := rules.Guard{
		Ports: [rules.Services][]uint16{{5060, 5061}, {443}, {51820}},
		Sources: []rules.Source{
			{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Services: sip, Firm: true},
			{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Services: http},
			{Prefix: netip.MustParsePrefix("2001:db8:1::/48"), Services: sip},
			{Prefix: netip.MustParsePrefix("2001:db8:1::7/128"), Services: http},
			{Prefix: netip.MustParsePrefix("ffff::/16"), Services: 1 << rules.ServiceTunnel},
		},
		Feeds: []rules.Feed{
			{Name: "one", List: feed.List{V4: []feed.Range4{{First: 0x01000000, Last: 0x010000ff}, {First: 0xffffffff, Last: 0xffffffff}}}},
			{Name: "two", List: feed.List{V6: []feed.Range6{{First: feed.Address6{High: 0x2002 << 48}, Last: feed.Address6{High: 0x2002 << 48, Low: 2}}}}},
		},
		Limits: [rules.Services]rules.Limit{{PerSecond: 50, Burst: 100}},
	}
	p.enforce(guard)
	const want = `# generation test, layout 3, pages of 1024 KiB: 7, feeds: 2
port 443 http
port 5060 sip
port 5061 sip
port 51820 open
media off
limit sip 50/s burst 100
allow 203.0.113.0-203.0.113.6 sip firm
allow 203.0.113.7/32 sip http firm
allow 203.0.113.8-203.0.113.255 sip firm
allow 2001:db8:1::-2001:db8:1::6 sip
allow 2001:db8:1::7/128 sip http
allow 2001:db8:1::8-2001:db8:1:ffff:ffff:ffff:ffff:ffff sip
allow ffff::/16 tunnel
deny 1.0.0.0/24 feed 1
deny 255.255.255.255/32 feed 1
deny 2002::-2002::2 feed 2
`
	if got := dump(); got != want {
		t.Errorf("dump:\n%s", got)
	}
}

// What a dump says, compiled again, is what was dumped.
func TestDumpIsWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		sources := append(randomSources(random, false, 20), randomSources(random, true, 20)...)
		compiled, err := compileImage(rules.Guard{Ports: perimeter.Ports, Sources: sources}, "")
		check(t, err)
		var out strings.Builder
		buffer := bufio.NewWriter(&out)
		compiled.dump(buffer)
		check(t, buffer.Flush())
		again, err := compileImage(rules.Guard{Ports: perimeter.Ports, Sources: readAllow(t, out.String())}, "")
		check(t, err)
		table := bpf.GateTableTABLE_ALLOW
		if !slices.Equal(again.runs4(table), compiled.runs4(table)) || !slices.Equal(again.runs6(table), compiled.runs6(table)) {
			t.Fatalf("sources %v came back otherwise from\n%s", sources, out.String())
		}
	}
}

func readAllow(t *testing.T, text string) (sources []rules.Source) {
	t.Helper()
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if words[0] != "allow" {
			continue
		}
		var source rules.Source
		for _, word := range words[2:] {
			switch at := slices.Index([]string{"sip", "http", "open", "tunnel", "firm"}, word); at {
			case 4:
				source.Firm = true
			default:
				source.Services |= 1 << at
			}
		}
		for _, source.Prefix = range networks(words[1]) {
			sources = append(sources, source)
		}
	}
	return sources
}

// networks cuts what a dump calls addresses into networks.
func networks(text string) (out []netip.Prefix) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		return []netip.Prefix{netip.MustParsePrefix(text)}
	}
	end := netip.MustParseAddr(last)
	for at := netip.MustParseAddr(first); at.IsValid() && at.Compare(end) <= 0; at = lastOf(out[len(out)-1]).Next() {
		for bits := range at.BitLen() + 1 {
			prefix := netip.PrefixFrom(at, bits)
			if prefix == prefix.Masked() && lastOf(prefix).Compare(end) <= 0 {
				out = append(out, prefix)
				break
			}
		}
	}
	return out
}
