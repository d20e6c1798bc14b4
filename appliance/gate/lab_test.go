package gate

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// lab is a pair of network namespaces joined by a veth: "wan" in the box, "net"
// outside.
type lab struct {
	testing.TB
	box, outside string
	dir          string
}

func newLab(t testing.TB) lab {
	t.Helper()
	needRoot(t)
	id := fmt.Sprintf("%d_%s", os.Getpid(), strings.ToLower(strings.NewReplacer("/", "_").Replace(t.Name())))
	l := lab{TB: t, box: "rfbox_" + id, outside: "rfout_" + id, dir: "/sys/fs/bpf/rftest_" + id}
	for _, name := range []string{l.box, l.outside} {
		l.run("ip", "netns", "add", name)
		t.Cleanup(func() { l.run("ip", "netns", "del", name) })
	}
	t.Cleanup(func() { check(t, os.RemoveAll(l.dir)) })
	l.run("ip", "link", "add", "wan", "netns", l.box, "type", "veth", "peer", "name", "net", "netns", l.outside)
	l.run("ip", "-n", l.box, "address", "add", "192.0.2.1/24", "dev", "wan")
	l.run("ip", "-n", l.box, "link", "set", "wan", "up")
	l.run("ip", "-n", l.outside, "link", "set", "net", "up")
	return l
}

func (l lab) run(name string, args ...string) string {
	l.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		l.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (l lab) pin(parts ...string) string { return filepath.Join(append([]string{l.dir}, parts...)...) }

// enter moves the test's thread into a namespace until the test ends.
func (l lab) enter(name string) {
	l.Helper()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	check(l, err)
	l.setns("/run/netns/" + name)
	l.Cleanup(func() {
		check(l, unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
		check(l, home.Close())
		runtime.UnlockOSThread()
	})
}

func (l lab) setns(path string) {
	l.Helper()
	namespace, err := os.Open(path)
	check(l, err)
	check(l, unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET))
	check(l, namespace.Close())
}

// wire is a raw socket on the outer end of the veth.
type wire struct {
	lab
	fd int
}

// plug opens a wire in the outside namespace and comes back to the box.
func (l lab) plug() wire {
	l.Helper()
	l.setns("/run/netns/" + l.outside)
	w := l.plugInto("net")
	l.setns("/run/netns/" + l.box)
	return w
}

func (l lab) plugInto(name string) wire {
	l.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	check(l, err)
	device, err := net.InterfaceByName(name)
	check(l, err)
	check(l, unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: device.Index}))
	l.Cleanup(func() { check(l, unix.Close(fd)) })
	return wire{l, fd}
}

// send puts frames on the wire and returns when the gate has counted them. It
// sends no more at a time than the ring of a veth holds (256).
func (w wire) send(g *Gate, frame []byte, reason appliance.Reason, n int) {
	w.Helper()
	for n > 0 {
		burst := min(n, 100)
		want := tallyOf(w, g, reason) + uint64(burst)
		for range burst {
			_, err := unix.Write(w.fd, frame)
			check(w, err)
		}
		for lost := time.Now().Add(time.Minute); tallyOf(w, g, reason) < want; {
			if time.Now().After(lost) {
				w.Fatalf("the wire lost packets: %d of %d counted as %v", tallyOf(w, g, reason), want, reason)
			}
			runtime.Gosched()
		}
		n -= burst
	}
}

func tallyOf(t testing.TB, g *Gate, reason appliance.Reason) uint64 {
	t.Helper()
	tallies, err := g.Tallies()
	check(t, err)
	return tallies[reason].Packets
}

// journal collects events.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) report(e appliance.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, strings.TrimSpace(e.Subject+" "+e.Message))
}

func (j *journal) has(part string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(strings.Join(j.lines, "\n"), part)
}

func (l lab) open(interfaces ...string) (*Gate, *journal) {
	l.Helper()
	j := &journal{}
	g, err := Open(Config{Interfaces: interfaces, Dir: l.dir}, j.report)
	check(l, err)
	l.Cleanup(func() { _ = g.Close() })
	return g, j
}

func (l lab) refuse(want string, interfaces ...string) {
	l.Helper()
	g, err := Open(Config{Interfaces: interfaces, Dir: l.dir}, func(appliance.Event) {})
	if err == nil {
		l.Fatalf("opened, want %q; state %+v", want, g.State())
	}
	if !strings.Contains(err.Error(), want) {
		l.Fatalf("error %q lacks %q", err, want)
	}
}

// wan returns the state of the only interface.
func (l lab) wan(g *Gate) Interface {
	l.Helper()
	state := g.State()
	if state.Error != "" || len(state.Interfaces) != 1 {
		l.Fatalf("state %+v", state)
	}
	return state.Interfaces[0]
}

func (l lab) wants(g *Gate, mode Mode, adopted bool) {
	l.Helper()
	if got := l.wan(g); got.Error != "" || got.Mode != mode || got.Adopted != adopted || got.Index == 0 {
		l.Fatalf("state %+v, want %s, adopted %v", got, mode, adopted)
	}
}
