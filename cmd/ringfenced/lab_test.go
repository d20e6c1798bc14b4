package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/settings"
)

// asDaemon in the environment makes the test binary the command itself: a
// daemon needs a process of its own to live in a network namespace.
const asDaemon = "RINGFENCED_TEST_AS_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is when a test gives up on what has to come sooner or later.
const patience = 30 * time.Second

// lab is a box with two WAN ports in a namespace, and the internet in another.
type lab struct {
	t     *testing.T
	box   string
	far   string
	dir   string
	bpffs string
	// resolv, where it is set, is what the daemon has for /etc/resolv.conf.
	resolv string
	api    *api.Client
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, THE DAEMON IS NOT TESTED: namespaces and XDP need root")
	}
	tag := fmt.Sprintf("rfd%d", os.Getpid()%100000)
	l := &lab{t: t, box: tag + "box", far: tag + "far", dir: t.TempDir(), bpffs: "/sys/fs/bpf/" + tag}
	l.api = api.NewClient(l.socket())
	for _, name := range []string{l.box, l.far} {
		l.must("ip", "netns", "add", name)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
		l.must("ip", "-n", name, "link", "set", "lo", "up")
	}
	for i, port := range []string{"wan0", "wan1"} {
		l.must("ip", "-n", l.box, "link", "add", port, "type", "veth", "peer", "name", port, "netns", l.far)
		for host, name := range []string{l.box, l.far} {
			l.must("ip", "-n", name, "link", "set", port, "up")
			l.must("ip", "-n", name, "addr", "add", fmt.Sprintf("203.0.%d.%d/24", 112+i, host+1), "dev", port)
		}
	}
	t.Cleanup(func() { os.RemoveAll(l.bpffs) })
	return l
}

func (l *lab) socket() string { return filepath.Join(l.dir, "s") }
func (l *lab) state() string  { return filepath.Join(l.dir, "state") }

func (l *lab) must(name string, args ...string) {
	l.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// daemon is one running ringfenced.
type daemon struct {
	*exec.Cmd
	log  *shared
	done chan error
}

// shared is a buffer that a process writes while the test reads.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (l *lab) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	args = append([]string{"--net=/run/netns/" + l.box, "--", self, "--state", l.state(), "--socket", l.socket(), "--bpffs", l.bpffs}, args...)
	cmd := exec.Command("nsenter", args...)
	if l.resolv != "" {
		const mounted = `mount --bind "$0" /etc/resolv.conf && exec nsenter "$@"`
		cmd = exec.Command("unshare", append([]string{"-m", "sh", "-c", mounted, l.resolv}, args...)...)
	}
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	return cmd
}

// start starts a daemon and waits until it answers.
func (l *lab) start(args ...string) *daemon {
	l.t.Helper()
	d := &daemon{Cmd: l.command(args...), log: &shared{}, done: make(chan error, 1)}
	d.Stderr = d.log
	if err := d.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { d.done <- d.Wait() }()
	l.t.Cleanup(func() {
		d.Process.Kill()
		if l.t.Failed() {
			l.t.Logf("the daemon said:\n%s", d.log)
		}
	})
	l.until(func() error { _, err := l.api.Status(context.Background()); return err })
	return d
}

// stop sends a signal and returns how the process ended.
func (l *lab) stop(d *daemon, signal syscall.Signal) error {
	l.t.Helper()
	if err := d.Process.Signal(signal); err != nil {
		l.t.Fatal(err)
	}
	select {
	case err := <-d.done:
		return err
	case <-time.After(patience):
		l.t.Fatalf("the daemon ignores %v:\n%s", signal, d.log)
		return nil
	}
}

// until repeats a question until it is answered well.
func (l *lab) until(ask func() error) {
	l.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	l.t.Fatal(err)
}

// inside runs do in a namespace; sockets that it opens live there.
func (l *lab) inside(namespace string, do func() error) {
	l.t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		failed <- func() error {
			file, err := os.Open("/run/netns/" + namespace)
			if err != nil {
				return err
			}
			defer file.Close()
			if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return do()
		}()
	}()
	if err := <-failed; err != nil {
		l.t.Fatal(err)
	}
}

// knock sends datagrams to a port of the box from the internet.
func (l *lab) knock(to string, count int) {
	l.t.Helper()
	l.inside(l.far, func() error {
		conn, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		for sent := 0; sent < count; {
			// A refusal by ICMP to an earlier one is told instead of sending.
			_, err := conn.Write([]byte("OPTIONS sip:x SIP/2.0\r\n\r\n"))
			switch {
			case err == nil:
				sent++
			case !errors.Is(err, syscall.ECONNREFUSED):
				return err
			}
		}
		return nil
	})
}

// ask sends one SIP request from the box's own loopback and returns the first
// final answer.
func (l *lab) ask(to, request string) (answer string) {
	l.t.Helper()
	l.inside(l.box, func() error {
		conn, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		request = strings.ReplaceAll(request, "LOCAL", conn.LocalAddr().String())
		if _, err := conn.Write([]byte(strings.ReplaceAll(request, "\n", "\r\n"))); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		packet := make([]byte, 4096)
		for !strings.HasPrefix(answer, "SIP/2.0 ") || strings.HasPrefix(answer, "SIP/2.0 1") {
			n, err := conn.Read(packet)
			if err != nil {
				return err
			}
			answer = string(packet[:n])
		}
		return nil
	})
	return answer
}

// dropped waits until the gate has counted so many strangers.
func (l *lab) dropped(want uint64) {
	l.t.Helper()
	l.counted(appliance.ReasonSIPSource, want)
}

// counted waits until the gate has counted so many packets of a reason.
func (l *lab) counted(reason appliance.Reason, want uint64) {
	l.t.Helper()
	l.until(func() error {
		drops, err := l.api.Drops(context.Background(), 0, 10)
		if err != nil {
			return err
		}
		if got := drops.Tallies[reason].Packets; got != want {
			return fmt.Errorf("%d packets of %s, want %d", got, reason, want)
		}
		return nil
	})
}

// level waits until a check stands as wanted and says so.
func (l *lab) level(name string, want appliance.Level, says string) {
	l.t.Helper()
	l.until(func() error {
		status, err := l.api.Status(context.Background())
		if err != nil {
			return err
		}
		for _, check := range status.Checks {
			if check.Name == name && check.Level == want && strings.Contains(check.Message, says) {
				return nil
			}
		}
		return fmt.Errorf("%s is not %v saying %q: %+v", name, want, says, status.Checks)
	})
}

func wired(wan []string, listen ...string) settings.Settings {
	s := settings.Default()
	s.Network.WAN = wan
	for _, one := range listen {
		s.SIP.Listen = append(s.SIP.Listen, mustAddr(one))
	}
	return s
}

func (l *lab) put(s settings.Settings) (api.Applied, error) {
	return l.api.PutDocument(context.Background(), appliance.DocumentSettings, settings.Encode(s), "")
}

func (l *lab) mustPut(s settings.Settings) api.Applied {
	l.t.Helper()
	applied, err := l.put(s)
	if err != nil {
		l.t.Fatal(err)
	}
	return applied
}

func (l *lab) attached(port string) bool {
	out, err := exec.Command("ip", "-n", l.box, "link", "show", "dev", port).CombinedOutput()
	if err != nil {
		l.t.Fatalf("ip link: %v: %s", err, out)
	}
	return strings.Contains(string(out), "prog/xdp")
}
