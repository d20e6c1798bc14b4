package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance/rules"
)

// patience is when a test gives up on what has to come sooner or later.
const patience = 30 * time.Second

// Who lives in a town. The box is at 192.0.2.1 and 2001:db8:b::1.
var (
	boxTown      = netip.MustParseAddr("192.0.2.1")
	providerTown = netip.MustParseAddr("192.0.2.9")
	strangerTown = netip.MustParseAddr("192.0.2.66")
	serverTown   = netip.MustParseAddr("192.0.2.80") // a stranger, too, that somebody inside goes to
	serverTown6  = netip.MustParseAddr("2001:db8:b::80")
	lanTown      = netip.MustParseAddr("10.0.0.2")
	lanTown6     = netip.MustParseAddr("2001:db8:a::2")
)

// townGuard lets the provider in, and whoever else is named.
func townGuard(also ...netip.Addr) rules.Guard {
	guard := rules.Guard{Ports: perimeter.Ports}
	for _, one := range append(also, providerTown) {
		guard.Sources = append(guard.Sources, rules.Source{Prefix: netip.PrefixFrom(one, one.BitLen()), Services: sip})
	}
	return guard
}

// town is a lab whose packets have sockets at both ends: senders outside, a
// telephone on the box's port 5060 and, in a third namespace, a LAN behind the
// box's NAT.
type town struct {
	lab
	lan   string
	phone *net.UDPConn
	calls map[netip.Addr]*net.UDPConn
	sent  int
}

// newTown leaves the test in the box. A weak one's WAN takes no native XDP: it
// has fewer queues than its peer.
func newTown(t testing.TB, weak bool) *town {
	t.Helper()
	l := newLab(t)
	w := &town{lab: l, lan: strings.Replace(l.box, "rfbox", "rflan", 1), calls: map[netip.Addr]*net.UDPConn{}}
	l.run("ip", "netns", "add", w.lan)
	t.Cleanup(func() { l.run("ip", "netns", "del", w.lan) })
	l.enter(l.box)
	if weak {
		l.run("ip", "link", "del", "wan")
		l.run("ip", "link", "add", "wan", "numrxqueues", "1", "numtxqueues", "1",
			"type", "veth", "peer", "name", "net", "netns", l.outside, "numrxqueues", "2", "numtxqueues", "2")
	}
	l.run("ip", "link", "add", "lan", "type", "veth", "peer", "name", "host", "netns", w.lan)
	for _, one := range []struct{ namespace, device, addresses string }{
		{l.box, "wan", "192.0.2.1/24 2001:db8:b::1/64"},
		{l.box, "lan", "10.0.0.1/24 2001:db8:a::1/64"},
		{w.lan, "host", "10.0.0.2/24 2001:db8:a::2/64"},
		{l.outside, "net", "192.0.2.9/24 192.0.2.66/24 192.0.2.80/24 2001:db8:b::80/64"},
	} {
		w.address(one.namespace, one.device, strings.Fields(one.addresses)...)
	}
	l.run("ip", "-n", w.lan, "route", "add", "default", "via", "10.0.0.1")
	l.run("ip", "-n", w.lan, "-6", "route", "add", "default", "via", "2001:db8:a::1")
	l.run("ip", "-n", l.outside, "-6", "route", "add", "2001:db8:a::/64", "via", "2001:db8:b::1")
	for _, path := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		check(t, os.WriteFile("/proc/sys/net/"+path, []byte("1"), 0))
	}
	w.phone = w.listen(l.box, netip.AddrPortFrom(boxTown, 5060))
	for _, one := range []netip.Addr{providerTown, strangerTown} {
		w.calls[one] = w.listen(l.outside, netip.AddrPortFrom(one, 5060))
	}
	return w
}

func (w *town) address(namespace, device string, addresses ...string) {
	w.Helper()
	for _, address := range addresses {
		if strings.Contains(address, ":") {
			w.run("ip", "-n", namespace, "address", "replace", address, "dev", device, "nodad")
		} else {
			w.run("ip", "-n", namespace, "address", "replace", address, "dev", device)
		}
	}
	w.run("ip", "-n", namespace, "link", "set", device, "up")
}

// masquerade gives the LAN the box's address outside.
func (w *town) masquerade() {
	w.Helper()
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader("table ip nat { chain out { type nat hook postrouting priority 100; oifname \"wan\" masquerade; }; }")
	if out, err := command.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		w.Skip("NOT TESTED: replies through NAT, for there is no nft")
	} else if err != nil {
		w.Fatalf("nft: %v: %s", err, out)
	}
}

// in does something in another namespace and comes back to the box.
func (w *town) in(namespace string, do func()) {
	w.Helper()
	w.setns("/run/netns/" + namespace)
	defer w.setns("/run/netns/" + w.box)
	do()
}

func (w *town) listen(namespace string, at netip.AddrPort) (conn *net.UDPConn) {
	w.Helper()
	w.in(namespace, func() {
		// A flow may begin at the telephone's own port.
		shared := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			return errors.Join(raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			}), err)
		}}
		packets, err := shared.ListenPacket(context.Background(), "udp", at.String())
		check(w, err)
		conn = packets.(*net.UDPConn)
	})
	w.Cleanup(func() { check(w, conn.Close()) })
	return conn
}

// send is a datagram from somebody outside to the telephone.
func (w *town) send(from netip.Addr, text string) {
	w.Helper()
	for { // an ICMP error of an earlier one is told instead
		_, err := w.calls[from].WriteToUDPAddrPort([]byte(text), netip.AddrPortFrom(boxTown, 5060))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			check(w, err)
			return
		}
	}
}

// reach has the provider call until the telephone hears it: a port of a bridge
// or with a new carrier takes its time.
func (w *town) reach(when string) {
	w.Helper()
	soon(w, when+": the provider reaches the telephone", func() bool {
		w.sent++
		w.send(providerTown, fmt.Sprint("provider ", w.sent))
		text, _ := w.listenFor(100 * time.Millisecond)
		return text == fmt.Sprint("provider ", w.sent)
	})
}

// listenFor is the next datagram that the telephone gets, and whose it is.
func (w *town) listenFor(patience time.Duration) (text string, from netip.Addr) {
	w.Helper()
	check(w, w.phone.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 2048)
	n, who, err := w.phone.ReadFromUDPAddrPort(buffer)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		check(w, err)
	}
	return string(buffer[:n]), who.Addr()
}

// hears wants the telephone to hear the provider, and the stranger before only
// where it may.
func (w *town) hears(when string, stranger bool) {
	w.Helper()
	w.reach(when)
	w.sent++
	w.send(strangerTown, fmt.Sprint("stranger ", w.sent))
	w.send(providerTown, fmt.Sprint("provider ", w.sent))
	heard := false
	for {
		text, from := w.listenFor(patience)
		switch {
		case !from.IsValid():
			w.Fatalf("%s: the provider's datagram did not arrive", when)
		case text == fmt.Sprint("provider ", w.sent):
			if heard != stranger {
				w.Fatalf("%s: the telephone hears the stranger: %v", when, heard)
			}
			return
		case from == strangerTown:
			heard = true
		}
	}
}

// soon wants something to become true, and says what if it doesn't.
func soon(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// patiently does it again where a signal came between: the Go runtime sends some.
func patiently(do func() (int, error)) (n int, err error) {
	for {
		if n, err = do(); err != unix.EINTR {
			return n, err
		}
	}
}

// timeout bounds what a raw socket waits for.
func timeout(t testing.TB, fd int) {
	t.Helper()
	check(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
}
