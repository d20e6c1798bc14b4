package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/settings"
	"github.com/ringfence/ringfence/appliance/store"
)

// following is a box in the lab's namespace that nothing but changes of
// interfaces moves: it has no clock.
func (l *lab) following(s settings.Settings) *perimeter {
	l.t.Helper()
	e := env{resolv: l.dir + "/none", proc: "/proc", now: time.Now}
	disk, err := store.Open(l.state(), retention(), e.now)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := disk.PutDocument(appliance.DocumentSettings, settings.Encode(s)); err != nil {
		l.t.Fatal(err)
	}
	wan := newPerimeter(config{bpffs: l.bpffs}, e, func(appliance.Event) {})
	d, box := around(wan, disk, e)
	clock := schedule{box: box, wan: wan, names: d, kernel: ports{"/proc"}, log: d.log, now: time.Now}
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := enter(l.box)
		if err == nil {
			err = box.Start()
		}
		started <- err
		ended <- clock.links(ctx)
	}()
	l.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, wan.Close(), disk.Close()); err != nil {
			l.t.Error(err)
		}
	})
	if err := <-started; err != nil {
		l.t.Fatal(err)
	}
	return wan
}

func enter(namespace string) error {
	file, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
}

// TestInterfacesAreFollowedAtOnce has ports come and go in front of a box that
// hears of it and does not look by the clock.
func TestInterfacesAreFollowedAtOnce(t *testing.T) {
	l := newLab(t)
	wan := l.following(wired([]string{"wan0", "wan1", "late0"}))
	guarded := func(port string) func() error {
		return func() error {
			if !l.attached(port) {
				return fmt.Errorf("%s is not guarded", port)
			}
			return nil
		}
	}
	l.until(guarded("wan1"))
	plug := func(port string, index int) {
		args := []string{"-n", l.box, "link", "add", "name", port}
		if index > 0 {
			args = append(args, "index", fmt.Sprint(index))
		}
		l.must("ip", append(args, "type", "veth", "peer", "name", port, "netns", l.far)...)
	}
	plug("late0", 0)
	l.until(guarded("late0"))
	for _, index := range []int{0, 77, 77, 0} { // another, a certain one, the same again
		l.must("ip", "-n", l.box, "link", "del", "wan1")
		plug("wan1", index)
		l.until(guarded("wan1"))
	}
	// Names that are swapped, as udev does at boot.
	for _, words := range []string{"wan1 down", "late0 down", "wan1 name tmp", "late0 name wan1", "tmp name late0"} {
		l.must("ip", append([]string{"-n", l.box, "link", "set"}, strings.Fields(words)...)...)
	}
	l.until(guarded("wan1"))
	l.until(guarded("late0"))
	l.knock("203.0.112.1:5060", 20)
	l.until(func() (err error) {
		l.inside(l.box, func() error {
			if p := wan.Perimeter(); p.Counted < 20 || p.Interfaces[0].Received < 20 || p.Interfaces[0].Error != "" {
				err = fmt.Errorf("the perimeter is %+v", p)
			}
			return nil
		})
		return err
	})
	// A port of the LAN with the WAN's driver, and the same one made anew.
	for range 2 {
		l.must("ip", "-n", l.box, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
		l.must("ip", "-n", l.box, "addr", "add", "192.168.7.1/24", "dev", "lan0")
		index := ""
		l.inside(l.box, func() error {
			device, err := net.InterfaceByName("lan0")
			index = fmt.Sprint(device.Index)
			return err
		})
		l.until(func() error { return wan.exempts("lan0", index) })
		l.must("ip", "-n", l.box, "link", "del", "lan0")
		l.until(func() error { return wan.exempts("", "") })
	}
}

// exempts wants one interface to be exempt, or none where name is empty.
func (p *perimeter) exempts(name, index string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == "" && len(p.exempt) == 0 || len(p.exempt) == 1 && p.exempt[0].Name == name && fmt.Sprint(p.exempt[0].Index) == index {
		return nil
	}
	return fmt.Errorf("exempt is %+v, want %s", p.exempt, name)
}

// another is a second box in the same namespaces, with a state and a gate of its
// own.
func (l *lab) another() *lab {
	l.t.Helper()
	other := *l
	other.dir, other.bpffs = l.t.TempDir(), l.bpffs+"b"
	other.api = api.NewClient(other.socket())
	l.t.Cleanup(func() { os.RemoveAll(other.bpffs) })
	return &other
}

// TestDaemonTakesOver lets two boxes quarrel about a port: what the one has
// attached is foreign to the other.
func TestDaemonTakesOver(t *testing.T) {
	l := newLab(t)
	l.start()
	l.mustPut(wired([]string{"wan0"}))
	l.level("gate wan0", appliance.Green, "native")
	other := l.another()
	d := other.start()
	other.mustPut(wired([]string{"wan0", "wan1"}))
	other.level("gate wan0", appliance.Red, "a foreign XDP program holds the hook: root (id ")
	other.level("gate wan1", appliance.Green, "native")
	l.level("gate wan0", appliance.Green, "native")
	if err := other.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	other.start("--replace")
	other.level("gate wan0", appliance.Green, "native")
	l.level("gate wan0", appliance.Red, "a foreign XDP program holds the hook: root (id ")
}

// TestDaemonInTheStack guards a port that has no driver of its own, and leaves
// nothing of it behind.
func TestDaemonInTheStack(t *testing.T) {
	l := newLab(t)
	for _, words := range []string{"link add dsl type bridge", "link set wan1 master dsl", "addr flush dev wan1", "addr add 203.0.113.1/24 dev dsl", "link set dsl up"} {
		l.must("ip", append([]string{"-n", l.box}, strings.Fields(words)...)...)
	}
	d := l.start()
	l.mustPut(wired([]string{"dsl"}, "127.0.0.1:15060"))
	l.level("gate dsl", appliance.Amber, "guarded in stack mode, as strictly as in the driver, but packets are dropped after the kernel has built its buffers")
	l.level("gate dsl", appliance.Amber, "the driver bridge has no native XDP; guard the port below it instead")
	l.knock("203.0.113.1:5060", 5)
	l.dropped(5)
	if err := l.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var phone *net.UDPConn
	l.inside(l.box, func() (err error) {
		phone, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.1:5060")))
		return err
	})
	defer phone.Close()
	l.knock("203.0.113.1:5060", 5) // the gate goes on without the daemon
	if out, err := l.command("--detach").CombinedOutput(); err != nil {
		t.Fatalf("detach: %v: %s", err, out)
	}
	if _, err := os.Stat(l.bpffs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins are left: %v", err)
	}
	l.knock("203.0.113.1:5060", 1)
	heard := 0
	packet := make([]byte, 2048)
	for wait := patience; ; wait = 0 { // all that came is in the socket with the first
		if err := phone.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		if _, err := phone.Read(packet); err != nil {
			break
		}
		heard++
	}
	if heard != 1 {
		t.Errorf("a stranger got %d datagrams through, want the one after the gate was detached", heard)
	}
	if out, err := exec.Command("tc", "-n", l.box, "filter", "show", "dev", "dsl", "egress").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("filters are left: %s, err %v", out, err)
	}
}
