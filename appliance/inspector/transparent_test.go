package inspector

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// alone runs the rest of the test on a thread of its own in a new network
// namespace: there it may bind what it likes.
func alone(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, TRANSPARENT SOCKETS ARE NOT TESTED: they need root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("SKIPPED, TRANSPARENT SOCKETS ARE NOT TESTED: new network namespace: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip link: %v: %s", err, out)
	}
}

// TestInterceptorStandsBesideListeners binds the same ports for both, and has
// nobody else bind them, not even with the option that let the two share.
func TestInterceptorStandsBesideListeners(t *testing.T) {
	alone(t)
	listen := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:5060"), netip.MustParseAddrPort("[::]:5060"), netip.MustParseAddrPort("127.0.0.1:50600")}
	for range 2 { // the second time all of it is free again
		d := newDoor(defaultLimits(), nil, nil)
		if err := d.open(t.Context(), listen, nil); err != nil {
			t.Fatal(err)
		}
		if err := d.intercept(t.Context(), []uint16{5060, 5080, 50600}); err != nil {
			t.Fatal(err)
		}
		if got := d.listeners(); len(got) != 2*3+2*2*3 || !slices.Contains(got, "udp 192.0.0.8:5080") || !slices.Contains(got, "tcp [100::8]:5060") {
			t.Errorf("listening on %q", got)
		}
		config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			return setOptions(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		}}
		if _, err := config.ListenPacket(context.Background(), "udp4", "0.0.0.0:5060"); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a second UDP listener: err %v; want that the address is in use", err)
		}
		if _, err := config.Listen(context.Background(), "tcp4", "0.0.0.0:5060"); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a second TCP listener: err %v; want that the address is in use", err)
		}
		d.shut()
	}
}

// TestInNameOf sends from another host's address, and from an intercepted port
// where the host's own is none.
func TestInNameOf(t *testing.T) {
	alone(t)
	d := newDoor(defaultLimits(), nil, nil)
	if err := d.intercept(t.Context(), []uint16{5060, 5080}); err != nil {
		t.Fatal(err)
	}
	defer d.shut()
	for _, test := range []struct{ name, at, from string }{
		{"203.0.113.9:5080", "127.0.0.1:0", "203.0.113.9:5080"},
		{"203.0.113.9:33333", "127.0.0.1:0", "203.0.113.9:5060"},
		{"[2001:db8::9]:5060", "[::1]:0", "[2001:db8::9]:5060"},
	} {
		ear, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(test.at)))
		if err != nil {
			t.Fatal(err)
		}
		to, found, err := d.inNameOf(settings.UDP, netip.MustParseAddrPort(test.name), ear.LocalAddr().(*net.UDPAddr).AddrPort())
		if err != nil || !found || !to.intercepted() {
			t.Fatalf("%s: %+v, found %t, err %v", test.name, to, found, err)
		}
		if err := to.send([]byte("x"), nil); err != nil {
			t.Fatal(err)
		}
		_ = ear.SetReadDeadline(time.Now().Add(patience))
		_, from, err := ear.ReadFromUDPAddrPort(make([]byte, 9))
		if err != nil || from != netip.MustParseAddrPort(test.from) {
			t.Errorf("%s: it came from %s, err %v; want %s", test.name, from, err, test.from)
		}
		ear.Close()
	}
	if _, found, _ := d.inNameOf(settings.UDP, netip.MustParseAddrPort("203.0.113.9:5060"), netip.MustParseAddrPort("[::1]:5060")); found {
		t.Error("one family spoke in the name of the other")
	}
}

// through is a request from a telephone that was on its way to another host.
func through(sip *rules.SIP, remote, to string) *request {
	return &request{sip: sip, who: party{side: inside}, at: time.Now(), from: flow{
		transport: settings.UDP, remote: netip.MustParseAddrPort(remote), local: netip.MustParseAddrPort(to), socket: &udpSocket{transparent: true},
	}}
}

func twoProviders() *rules.SIP {
	return &rules.SIP{Trunks: []settings.Trunk{
		{Name: "a", Domain: "a.example", Address: netip.MustParseAddrPort("198.51.100.1:5060"), Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
		{Name: "a too", Domain: "too.example", Address: netip.MustParseAddrPort("198.51.100.1:5060")},
		{Name: "b", Domain: "b.example", Address: netip.MustParseAddrPort("203.0.113.1:5060")},
	}}
}

func TestMeant(t *testing.T) {
	for _, test := range []struct{ to, domain, want string }{
		{"198.51.100.1:5060", "a.example", "a"},
		{"198.51.100.1:5060", "too.example", "a too"},
		{"198.51.100.1:5060", "b.example", "a"}, // whatever it says, it goes there
		{"198.51.100.7:50600", "", "a"},
		{"203.0.113.1:5060", "", "b"},
		{"203.0.113.2:5060", "b.example", ""},
	} {
		got := ""
		if trunk := through(twoProviders(), "10.0.0.1:5060", test.to).meant(test.domain); trunk != nil {
			got = trunk.Name
		}
		if got != test.want {
			t.Errorf("%s at %s: trunk %q; want %q", test.domain, test.to, got, test.want)
		}
	}
}

func parsedURI(t *testing.T, text string) message.URI {
	t.Helper()
	uri, err := message.ParseURI(text)
	if err != nil {
		t.Fatal(err)
	}
	return uri
}

// TestContactsThatTellTelephonesApart has telephones register the same user.
func TestContactsThatTellTelephonesApart(t *testing.T) {
	sip, bindings := twoProviders(), newBindings(defaultLimits())
	learn := func(remote, to, contact string, plain bool, lifetime time.Duration) string {
		q := through(sip, remote, to)
		uri := parsedURI(t, contact)
		name := aliasOf("account", uri)
		bindings.learn(&binding{alias: name, account: "account", contact: uri, plain: plain, flow: q.from, expires: q.at.Add(lifetime)})
		return name
	}
	first := learn("10.0.0.1:5060", "198.51.100.1:5060", "sip:100@10.0.0.1", true, time.Hour)
	second := learn("10.0.0.2:5060", "198.51.100.7:5060", "sip:100@10.0.0.2", false, time.Hour)
	learn("10.0.0.9:5060", "198.51.100.1:5060", "sip:900@10.0.0.9", true, -time.Hour)
	for _, test := range []struct {
		what, remote, to, name, user string
		taken                        bool
	}{
		{"the first again", "10.0.0.1:5060", "198.51.100.1:5060", first, "100", false},
		{"the second again", "10.0.0.2:5060", "198.51.100.1:5060", second, "100", true},
		{"a third", "10.0.0.3:5060", "198.51.100.1:5060", "new", "100", true},
		{"the first after a restart, from another port", "10.0.0.1:40000", "198.51.100.1:5060", "new", "100", false},
		{"with another user", "10.0.0.3:5060", "198.51.100.1:5060", "new", "101", false},
		{"at another provider", "10.0.0.3:5060", "203.0.113.1:5060", "new", "100", false},
		{"one whose namesake is gone", "10.0.0.3:5060", "198.51.100.1:5060", "new", "900", false},
	} {
		if got := bindings.taken(through(sip, test.remote, test.to), test.name, test.user); got != test.taken {
			t.Errorf("%s: taken %t; want %t", test.what, got, test.taken)
		}
	}
	for _, test := range []struct {
		trunk int
		uri   string
		want  string
	}{
		{0, "sip:100@10.0.0.1", first},
		{0, "sip:100@192.0.2.2", first}, // the far end put our address there
		{0, "sip:101@192.0.2.2", ""},
		{0, "sip:900@10.0.0.9", ""}, // it has run out
		{2, "sip:100@10.0.0.1", ""}, // another provider's
		{0, "sip:192.0.2.2", ""},
	} {
		got := ""
		if b := bindings.called(sip, &sip.Trunks[test.trunk], parsedURI(t, test.uri), time.Now()); b != nil {
			got = b.alias
		}
		if got != test.want {
			t.Errorf("%s: binding %q; want %q", test.uri, got, test.want)
		}
	}
}

func TestGrants(t *testing.T) {
	granted := func(texts ...string) (all []message.NameAddr) {
		for _, text := range texts {
			all = append(all, message.NameAddr{URI: parsedURI(t, text)})
		}
		return all
	}
	own := alias{name: "rf-x", contact: granted("sip:100@10.0.0.1")[0], plain: true}
	for _, test := range []struct {
		of    alias
		list  []message.NameAddr
		which []bool
	}{
		{own, granted("sip:100@10.0.0.2", "sip:100@10.0.0.1:5060"), []bool{false, true}},
		{own, granted("sip:100@192.0.2.2", "sip:7@10.0.0.1"), []bool{true, false}},
		{alias{name: "rf-x", contact: own.contact}, granted("sip:100@10.0.0.1", "sip:rf-x@192.0.2.2"), []bool{false, true}},
	} {
		for n, one := range test.list {
			if got := test.of.grants(test.list, one); got != test.which[n] {
				t.Errorf("%v in %v: %t", one.URI, test.list, got)
			}
		}
	}
}

func TestHabits(t *testing.T) {
	var h habits
	direct := through(twoProviders(), "10.0.0.1:5060", "198.51.100.1:5060")
	direct.from.socket = &udpSocket{}
	addr := direct.from.remote.Addr()
	if !h.transparent(addr, true) || h.transparent(addr, false) {
		t.Error("who has not spoken has a habit")
	}
	h.note(direct)
	if h.transparent(addr, true) {
		t.Error("who speaks to the box is taken for one who does not know it")
	}
	h.note(through(twoProviders(), "10.0.0.1:5060", "198.51.100.1:5060"))
	if !h.transparent(addr, false) {
		t.Error("the new habit is not noted")
	}
	for n := range 3 * habitsMax { // bounded
		direct.from.remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 5060)
		h.note(direct)
	}
	if len(h.all) > habitsMax {
		t.Errorf("%d habits are kept", len(h.all))
	}
}

// TestRecordRouteOfACallThatCrossesTwice reads what stands beyond either crossing.
func TestRecordRouteOfACallThatCrossesTwice(t *testing.T) {
	const a, b, far, end = "<sip:192.0.2.2;lr>", "<sip:10.0.0.1;lr>", "<sip:198.51.100.1;lr>", "<sip:10.0.0.9;lr>"
	for _, test := range []struct{ routes, sent, want []string }{
		{[]string{b, a, far, a, b}, []string{a, b}, []string{b, a, far}},
		{[]string{end, b, a, far, a, b}, []string{b, a, far, a, b}, []string{end}},
		{[]string{far, a}, []string{a}, []string{far}},
		{[]string{far, a}, []string{a, b}, []string{far}}, // something was taken out
		{[]string{far}, []string{a}, []string{}},
		{nil, []string{a}, []string{}},
		{[]string{far}, nil, nil},
	} {
		if got := beyondUs(test.routes, test.sent); !slices.Equal(got, test.want) {
			t.Errorf("%q sent with %q: beyond %q; want %q", test.routes, test.sent, got, test.want)
		}
	}
}
