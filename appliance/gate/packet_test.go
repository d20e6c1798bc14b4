package gate

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

const (
	sip  = 1 << rules.ServiceSIP
	http = 1 << rules.ServiceHTTP
)

// perimeter is the policy of the table tests.
var perimeter = rules.Guard{
	Ports: [rules.Services][]uint16{{5060, 5061, 50600}, {80, 443, 8080}},
	Sources: []rules.Source{
		{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Services: sip},
		{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Services: http},
		{Prefix: netip.MustParsePrefix("2001:db8:1::/48"), Services: sip},
		{Prefix: netip.MustParsePrefix("2001:db8:1::7/128"), Services: http},
	},
}

var (
	provider4 = netip.MustParseAddr("203.0.113.9")
	admin4    = netip.MustParseAddr("203.0.113.7")
	stranger4 = netip.MustParseAddr("198.51.100.66")
	provider6 = netip.MustParseAddr("2001:db8:1::9")
	admin6    = netip.MustParseAddr("2001:db8:1::7")
	stranger6 = netip.MustParseAddr("2001:db8:2::66")
)

// expect asks the kernel and the model.
func (p program) expect(name string, guard rules.Guard, frame []byte, want appliance.Reason) {
	p.Helper()
	if verdict, reason := p.judge(frame); verdict != want.Verdict() || reason != want {
		p.Errorf("%s: kernel says %v (%v), want %v", name, verdict, reason, want)
	}
	if verdict, reason := guard.Judge(frame, nil); verdict != want.Verdict() || reason != want {
		p.Errorf("%s: model says %v (%v), want %v", name, verdict, reason, want)
	}
}

func TestBothEndsHaveTheSameReasons(t *testing.T) {
	spec, err := bpf.LoadGate()
	check(t, err)
	var enum *btf.Enum
	check(t, spec.Types.TypeByName("reason", &enum))
	kernel := map[appliance.Reason]string{}
	for _, value := range enum.Values {
		kernel[appliance.Reason(value.Value)] = strings.ToLower(strings.TrimPrefix(value.Name, "REASON_"))
	}
	for reason, name := range kernel {
		if reason.String() != name {
			t.Errorf("the kernel's %d is %s, ours %s", reason, name, reason)
		}
		if wantPass := reason >= appliance.ReasonNotIP; wantPass != (reason.Verdict() == appliance.Allow) {
			t.Errorf("%s has verdict %v", reason, reason.Verdict())
		}
	}
	for _, reason := range appliance.Reasons() {
		if _, known := kernel[reason]; reason < appliance.FirstCallReason && !known {
			t.Errorf("the kernel has no %s", reason)
		}
	}
}

func TestBothEndsHaveTheSameServices(t *testing.T) {
	ours := []rules.Service{rules.ServiceSIP, rules.ServiceHTTP, rules.Services}
	for i, kernel := range []bpf.GateService{bpf.GateServiceSERVICE_SIP, bpf.GateServiceSERVICE_HTTP, bpf.GateServiceSERVICES} {
		if uint32(kernel) != uint32(ours[i]) {
			t.Errorf("service %d is %d in the kernel", ours[i], kernel)
		}
	}
}

// encapsulations are the ways to wrap a packet that must make no difference.
func encapsulations(f frame) map[string]frame {
	with := func(change func(*frame)) frame { c := f; change(&c); return c }
	all := map[string]frame{
		"plain":   f,
		"802.1q":  with(func(c *frame) { c.tags = []uint16{tagC} }),
		"802.1ad": with(func(c *frame) { c.tags = []uint16{tagS} }),
		"qinq":    with(func(c *frame) { c.tags = []uint16{tagS, tagC} }),
		"q in ad": with(func(c *frame) { c.tags = []uint16{tagC, tagS} }),
		"q in q":  with(func(c *frame) { c.tags = []uint16{tagC, tagC} }),
		"padded":  with(func(c *frame) { c.padding = 46 }),
		"large":   with(func(c *frame) { c.payload = 1400 }),
	}
	if f.source.Is4() {
		all["options"] = with(func(c *frame) { c.options = 40 })
		all["qinq options"] = with(func(c *frame) { c.options, c.tags = 4, []uint16{tagS, tagC} })
		all["first fragment"] = with(func(c *frame) { c.more, c.payload = true, 1200 })
		return all
	}
	for name, chain := range map[string][]extension{
		"hop-by-hop":         {{kind: extHop, size: 8}},
		"destination":        {{kind: extDest, size: 24}},
		"routing":            {{kind: extRouting, size: 40, word: 0x0200}},
		"authentication":     {{kind: extAH, size: 28}},
		"atomic fragment":    {{kind: extFragment, size: 8}},
		"first fragment":     {{kind: extFragment, size: 8, word: 1}},
		"mobility, hip":      {{kind: 135, size: 8}, {kind: 139, size: 8}, {kind: 140, size: 8}},
		"eight":              chainOf(8, 8),
		"eight of 2048":      chainOf(8, 2048),
		"all before":         {{kind: extHop, size: 16}, {kind: extRouting, size: 8, word: 0x0400}, {kind: extFragment, size: 8}, {kind: extDest, size: 8}},
		"fragment not first": {{kind: extHop, size: 8}, {kind: extFragment, size: 8, word: 1}, {kind: extDest, size: 8}},
	} {
		all[name] = with(func(c *frame) { c.chain, c.payload = chain, 80 })
		all["qinq "+name] = with(func(c *frame) { c.chain, c.payload, c.tags = chain, 80, []uint16{tagS, tagC} })
	}
	return all
}

func chainOf(n, size int) []extension {
	chain := make([]extension, n)
	for i := range chain {
		chain[i] = extension{kind: extDest, size: size}
	}
	return chain
}

func TestEncapsulationsMakeNoDifference(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	for _, c := range []struct {
		source netip.Addr
		port   uint16
		want   appliance.Reason
	}{
		{provider4, 5060, appliance.ReasonSIPAllowed},
		{provider6, 5061, appliance.ReasonSIPAllowed},
		{stranger4, 50600, appliance.ReasonSIPSource},
		{stranger6, 5060, appliance.ReasonSIPSource},
		{admin4, 443, appliance.ReasonHTTPAllowed},
		{admin6, 8080, appliance.ReasonHTTPAllowed},
		{admin4, 5060, appliance.ReasonSIPAllowed}, // by the network around it
		{provider4, 80, appliance.ReasonHTTPSource},
		{provider6, 80, appliance.ReasonHTTPSource},
		{stranger4, 22, appliance.ReasonNotGuarded},
		{stranger6, 5062, appliance.ReasonNotGuarded},
		{stranger4, 0, appliance.ReasonNotGuarded},
	} {
		for _, protocol := range []byte{protoUDP, protoTCP} {
			f := frame{source: c.source, protocol: protocol, port: c.port}
			for name, wrapped := range encapsulations(f) {
				p.expect(fmt.Sprintf("%s %d/%d %s", c.source, protocol, c.port, name), perimeter, wrapped.bytes(), c.want)
			}
		}
		for name, wrapped := range encapsulations(frame{source: c.source, protocol: protoICMP}) {
			p.expect(name+" icmp", perimeter, wrapped.bytes(), appliance.ReasonOtherProtocol)
		}
	}
}

// edit changes bytes of a frame after its lengths were set.
func edit(f frame, change func(ip []byte)) []byte {
	out := f.bytes()
	change(out[etherHeader:])
	return out
}

func TestOddPackets(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	udp4 := frame{source: stranger4, protocol: protoUDP, port: 5060, payload: 32}
	tcp4 := frame{source: stranger4, protocol: protoTCP, port: 5060, payload: 32}
	udp6 := frame{source: stranger6, protocol: protoUDP, port: 5060, payload: 32}
	tcp6 := frame{source: stranger6, protocol: protoTCP, port: 5060, payload: 32}
	tagged := func(f frame, tags ...uint16) frame { f.tags = tags; return f }
	fragment := func(f frame, offset uint16, more bool) frame { f.offset, f.more = offset, more; return f }
	chained := func(f frame, chain ...extension) frame { f.chain = chain; return f }
	set := func(at int, values ...byte) func([]byte) { return func(ip []byte) { copy(ip[at:], values) } }
	const (
		malformed = appliance.ReasonMalformed
		tiny      = appliance.ReasonFragmentTiny
		later     = appliance.ReasonFragmentLater
		notIP     = appliance.ReasonNotIP
		dropped   = appliance.ReasonSIPSource
	)
	for _, c := range []struct {
		name  string
		frame []byte
		want  appliance.Reason
	}{
		{"three tags", tagged(udp4, tagC, tagC, tagC).bytes(), appliance.ReasonVLANDepth},
		{"three mixed tags", tagged(udp6, tagS, tagC, tagS).bytes(), appliance.ReasonVLANDepth},
		{"arp", append(make([]byte, 12), 0x08, 0x06, 0, 1, 8, 0, 6, 4), notIP},
		{"unknown type, nothing else", append(make([]byte, 12), 0x12, 0x34), notIP},
		{"802.3 length", append(make([]byte, 12), 0x00, 0x26, 0x42, 0x42, 3), notIP},
		{"tagged arp", append(make([]byte, 12), 0x81, 0, 0, 1, 0x08, 0x06), notIP},
		{"tag cut short", append(make([]byte, 12), 0x81, 0, 0, 1), malformed},
		{"second tag cut short", append(make([]byte, 12), 0x88, 0xa8, 0, 1, 0x81, 0, 0), malformed},
		{"ipv4 of nothing", append(make([]byte, 12), 0x08, 0), malformed},
		{"ipv6 of nothing", append(make([]byte, 12), 0x86, 0xdd), malformed},
		{"ipv4 cut at 19", udp4.bytes()[:etherHeader+19], malformed},
		{"ipv4 cut in udp", udp4.bytes()[:etherHeader+24], malformed},
		{"ipv6 cut at 39", udp6.bytes()[:etherHeader+39], malformed},
		{"ipv6 cut in payload", udp6.bytes()[:etherHeader+50], malformed},
		{"ipv4 type, version 6", edit(udp4, set(0, 0x65)), malformed},
		{"ipv6 type, version 4", edit(udp6, set(0, 0x45)), malformed},
		{"ipv4 header length 4", edit(udp4, set(0, 0x44)), malformed},
		{"ipv4 header beyond total", edit(udp4, set(0, 0x45, 0, 0, 19)), malformed},
		{"ipv4 total 0", edit(udp4, set(2, 0, 0)), malformed},
		{"ipv4 total beyond frame", edit(udp4, set(2, 0xff, 0xff)), malformed},
		{"ipv4 udp beyond total, in the padding", edit(frame{source: stranger4, protocol: protoUDP, port: 5060, padding: 18}, set(2, 0, 24)), malformed},
		{"ipv6 payload beyond frame", edit(udp6, set(4, 0xff, 0xff)), malformed},
		{"ipv6 payload 0", edit(udp6, set(4, 0, 0)), malformed},
		{"udp length 7", edit(udp4, set(24, 0, 7)), malformed},
		{"udp length beyond packet", edit(udp4, set(24, 0, 41)), malformed},
		{"udp length short of packet", edit(udp4, set(24, 0, 8)), dropped},
		{"udp length 0 on ipv6", edit(udp6, set(44, 0, 0)), malformed},
		{"tcp offset 4", edit(tcp4, set(32, 0x40)), malformed},
		{"tcp offset beyond packet", edit(frame{source: stranger6, protocol: protoTCP, port: 5060}, set(52, 0xf0)), malformed},
		{"first fragment, tcp header cut", edit(fragment(tcp4, 0, true), set(2, 0, 39)), tiny},
		{"first fragment, tcp options whole", edit(fragment(tcp4, 0, true), set(32, 0xe0)), dropped},
		{"first fragment, tcp options cut short", edit(fragment(frame{source: stranger4, protocol: protoTCP, port: 5060}, 0, true), set(32, 0xf0)), tiny},
		{"first fragment, udp of 7", edit(fragment(udp4, 0, true), set(2, 0, 27)), tiny},
		{"first fragment, udp length of the whole", edit(fragment(udp4, 0, true), set(24, 0xff, 0)), dropped},
		{"first fragment of icmp", fragment(frame{source: stranger4, protocol: protoICMP}, 0, true).bytes(), appliance.ReasonOtherProtocol},
		{"tcp fragment at 1", fragment(tcp4, 1, true).bytes(), tiny},
		{"tcp last fragment at 1", fragment(tcp4, 1, false).bytes(), tiny},
		{"tcp fragment at 2", fragment(tcp4, 2, true).bytes(), later},
		{"udp fragment at 1", fragment(udp4, 1, false).bytes(), later},
		{"udp fragment far", fragment(udp4, 0x1fff, false).bytes(), later},
		{"ipv6 tcp fragment at 1", chained(tcp6, extension{extFragment, 8, 1 << 3}).bytes(), tiny},
		{"ipv6 tcp fragment at 2", chained(tcp6, extension{extFragment, 8, 2<<3 | 1}).bytes(), later},
		{"ipv6 udp fragment at 1", chained(udp6, extension{extFragment, 8, 1 << 3}).bytes(), later},
		{"ipv6 first fragment, chain incomplete", edit(chained(udp6, extension{extFragment, 8, 1}, extension{extDest, 8, 0}), set(49, 200)), tiny},
		{"ipv6 first fragment, nothing in it", edit(chained(udp6, extension{extFragment, 8, 1}), set(4, 0, 8)), tiny},
		{"ipv6 fragment header cut", edit(chained(udp6, extension{extFragment, 8, 1}), set(4, 0, 7)), malformed},
		{"ipv6 nested fragment, later inside", chained(tcp6, extension{extFragment, 8, 1}, extension{extFragment, 8, 4 << 3}).bytes(), malformed},
		{"ipv6 nine headers", chained(udp6, chainOf(9, 8)...).bytes(), appliance.ReasonHeaderChain},
		{"ipv6 header beyond packet", edit(chained(udp6, extension{extDest, 8, 0}), set(41, 255)), malformed},
		{"ipv6 no next header", edit(udp6, set(6, extNoNext)), appliance.ReasonOtherProtocol},
		{"ipv6 esp", edit(udp6, set(6, 50)), appliance.ReasonOtherProtocol},
		{"ipv4 in ipv4", edit(udp4, set(9, 4)), appliance.ReasonTunnelSource},
		{"mapped address", frame{source: netip.MustParseAddr("::ffff:203.0.113.9"), protocol: protoUDP, port: 5060}.bytes(), dropped},
	} {
		p.forget() // the fragments of the row before
		p.expect(c.name, perimeter, c.frame, c.want)
	}
}

// A driver may run one program for all of its ports: on those that are exempt,
// drops are undone. The kernel's test-run enters by the loopback, index 1.
func TestExemptInterface(t *testing.T) {
	p := loadProgram(t)
	p.enforce(perimeter)
	check(t, setControl(p.objects, func(c *bpf.GateControl) { c.Exempt = [MaxExempt]uint32{7, 1} }))
	if verdict, reason := p.judge(attack); verdict != appliance.Allow || reason != appliance.ReasonExempt {
		t.Errorf("%v (%v) on an exempt interface", verdict, reason)
	}
	if _, reason := p.judge(honest); reason != appliance.ReasonSIPAllowed {
		t.Errorf("%v of what passes anyway", reason)
	}
	check(t, setControl(p.objects, func(c *bpf.GateControl) { c.Exempt = [MaxExempt]uint32{7} }))
	if _, reason := p.judge(attack); reason != appliance.ReasonSIPSource {
		t.Errorf("%v on a guarded interface", reason)
	}
	// Empty places are no interface's: in a test-run on the way into the stack the
	// index is 0, as it is always in mtk_eth_soc.
	if _, reason := (stackProgram{p}).judge(attack); reason != appliance.ReasonSIPSource {
		t.Errorf("%v where nobody says which interface it is", reason)
	}
}

// Without an image, with an empty one and with one that isn't ours, the standard
// ports are shut for everybody and the rest passes.
func TestEmptyGenerationDrops(t *testing.T) {
	p := loadProgram(t)
	real, err := compileImage(perimeter, "")
	check(t, err)
	strange, old := *real, *real
	strange.head.Magic++
	old.head.Layout++
	put := func(i *image) func() { return func() { check(t, p.gate.tray().publish(i)) } }
	states := map[string]func(){
		"no image":     func() { _ = p.Generation.Delete(uint32(0)) },
		"zero image":   put(&image{}),
		"zero guard":   func() { p.enforce(rules.Guard{}) },
		"no ports":     func() { p.enforce(rules.Guard{Sources: perimeter.Sources}) },
		"wrong magic":  put(&strange),
		"wrong layout": put(&old),
	}
	for name, enter := range states {
		enter()
		for _, source := range []netip.Addr{provider4, stranger4, provider6, stranger6} {
			for _, protocol := range []byte{protoUDP, protoTCP} {
				for _, port := range rules.StandardPorts() {
					f := frame{source: source, protocol: protocol, port: port}
					p.expect(name, rules.Guard{}, f.bytes(), appliance.ReasonNoRules)
				}
				for _, port := range []uint16{0, 22, 53, 5059, 5062, 65535} {
					f := frame{source: source, protocol: protocol, port: port}
					p.expect(name, rules.Guard{}, f.bytes(), appliance.ReasonNotGuarded)
				}
			}
		}
	}
}
