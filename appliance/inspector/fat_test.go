package inspector

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance/settings"
)

// fatBody is as much as one datagram takes beside its headers.
var fatBody = strings.Repeat("a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host\n", 1060)

// namespaced is set where the test binary runs in a namespace of its own.
const namespaced = "RINGFENCE_TEST_NAMESPACE"

// again runs one test in another namespace, by the command that enters it.
func again(t *testing.T, value string, enter ...string) {
	t.Helper()
	command := exec.Command(enter[0], append(enter[1:], os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")...)
	command.Env = append(os.Environ(), namespaced+"="+value)
	if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("in a namespace: %v\n%s", err, out)
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, FRAGMENTS ARE NOT TESTED: network namespaces need root")
	}
}

// TestFatInviteInFragments sends 60 kB each way over a link of 1500 bytes, where
// the kernel cuts them to pieces.
func TestFatInviteInFragments(t *testing.T) {
	if needsRoot(t); os.Getenv(namespaced) == "" {
		again(t, "1", "unshare", "-n")
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "mtu", "1500", "up").CombinedOutput(); err != nil {
		t.Fatalf("set mtu: %v: %s", err, out)
	}
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	fat, whole := fatBody, strings.ReplaceAll(fatBody, "\n", "\r\n")
	pbx.send(pbx.invite(mobile, "fat") + fat)
	got := itsp.expect("INVITE ")
	if !strings.HasSuffix(bodyOf(got), whole) {
		t.Errorf("the trunk got %d bytes of body", len(bodyOf(got)))
	}
	itsp.send(answer(got, "200 OK", "fat", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+offer+fat))
	if ok := pbx.expect("SIP/2.0 200"); !strings.Contains(bodyOf(ok), whole) {
		t.Errorf("the PBX got %d bytes of body", len(bodyOf(ok)))
	}
	itsp.send(itsp.invite("sip:300@"+s.box.String(), "fatin") + fat)
	if got := pbx.expect("INVITE "); !strings.HasSuffix(bodyOf(got), whole) {
		t.Errorf("the PBX was sent %d bytes of body", len(bodyOf(got)))
	}
	counters, err := os.ReadFile("/proc/net/snmp")
	if err != nil || strings.Contains(string(counters), "ReasmOKs 0") {
		t.Errorf("nothing was cut to pieces: %v", err)
	}
}

// TestFatInviteOverANarrowPath has a router on the way whose next link takes less,
// and which does not say so.
func TestFatInviteOverANarrowPath(t *testing.T) {
	needsRoot(t)
	if far := os.Getenv(namespaced); far != "" {
		overANarrowPath(t, far)
		return
	}
	tag := fmt.Sprintf("rfn%d", os.Getpid()%100000)
	box, router, far := tag+"b", tag+"r", tag+"f"
	run := func(line string) {
		t.Helper()
		line = strings.NewReplacer("BOX", box, "ROUTER", router, "FAR", far).Replace(line)
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	for _, name := range []string{box, router, far} {
		run("ip netns add " + name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		run("ip -n " + name + " link set lo up")
	}
	for _, line := range []string{
		"ip -n BOX link add in type veth peer name in netns ROUTER", "ip -n ROUTER link add out type veth peer name out netns FAR",
		"ip -n BOX addr add 10.9.0.1/24 dev in", "ip -n BOX addr add 10.9.0.3/24 dev in", "ip -n ROUTER addr add 10.9.0.2/24 dev in",
		"ip -n ROUTER addr add 10.9.1.1/24 dev out", "ip -n FAR addr add 10.9.1.2/24 dev out",
		"ip -n BOX link set in up", "ip -n ROUTER link set in up", "ip -n ROUTER link set out mtu 1280 up", "ip -n FAR link set out mtu 1280 up",
		"ip -n BOX route add default via 10.9.0.2", "ip -n FAR route add default via 10.9.1.1",
		"ip netns exec ROUTER sysctl -qw net.ipv4.ip_forward=1",
		"ip netns exec ROUTER nft 'table ip silent { chain out { type filter hook output priority 0; icmp type destination-unreachable drop; }; }'",
	} {
		run(line)
	}
	again(t, far, "nsenter", "--net=/run/netns/"+box, "--")
}

func overANarrowPath(t *testing.T, far string) {
	at := netip.MustParseAddrPort
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		s.box, s.pbxAt, s.itspAt = at("10.9.0.1:5060"), at("10.9.0.3:5060"), at("10.9.1.2:5060")
		set.SIP.Listen, set.SIP.PBX.Address, set.Trunks[0].Address = []netip.AddrPort{s.box}, s.pbxAt, s.itspAt
		set.Network.LAN = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
	})
	pbx := s.pbx()
	conn := listenIn(t, far, s.itspAt)
	itsp := s.agent("itsp", s.itspAt)
	itsp.packet = conn
	go func() {
		buf := make([]byte, 65536)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			itsp.inbox <- string(buf[:n])
		}
	}()
	// The first is whole on the box's own link, and too large for the next one only.
	for _, body := range []string{fatBody[:56*10], fatBody} {
		pbx.send(pbx.invite(mobile, fmt.Sprint("narrow", len(body))) + body)
		got := itsp.expect("INVITE ")
		if !strings.HasSuffix(bodyOf(got), strings.ReplaceAll(body, "\n", "\r\n")) {
			t.Errorf("the trunk got %d bytes of body", len(bodyOf(got)))
		}
		if len(body) < len(fatBody) && (len(got) < 1280 || len(got) > 1400) {
			t.Errorf("%d bytes do not test what they shall", len(got))
		}
	}
}

// listenIn opens a UDP socket in another namespace.
func listenIn(t *testing.T, namespace string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	type opened struct {
		conn *net.UDPConn
		err  error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		file, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- opened{nil, err}
			return
		}
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		done <- opened{conn, err}
	}()
	result := <-done
	if result.err != nil {
		t.Fatal(result.err)
	}
	t.Cleanup(func() { result.conn.Close() })
	return result.conn
}
