// Package peers drives the namespace lab (scripts/lab) and the real peers in it:
// sipp as provider and PBX, sipvicious as attacker. The demo, the end-to-end
// tests and the benches stand on it. It owns the lab's processes and reads what
// the peers saw; it knows nothing of the box but its command line.
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The lab's addresses, as scripts/lab lays them out.
const (
	Attacker  = "203.0.113.66"
	Attacker6 = "2001:db8:113::66"
	Provider  = "198.51.100.10"
	Provider6 = "2001:db8:51::10"
	BoxWAN    = "192.0.2.2"
	BoxWAN6   = "2001:db8:2::2"
	BoxLAN    = "10.77.0.1"
	BoxLAN6   = "2001:db8:77::1"
	PBX       = "10.77.0.10"
	PBX6      = "2001:db8:77::10"
)

// Lab is one lab by name. Labs of different names run side by side.
type Lab struct {
	Name string
	Root string // the repository
	Bin  string // where ringfenced and ringfence lie
	Logs string // where the peers' logs go
}

// Open names a lab and the folder for its peers' logs; it raises nothing. The
// repository is the nearest folder upwards that holds go.mod.
func Open(name, bin, logs string) (*Lab, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		_, err := os.Stat(filepath.Join(root, "go.mod"))
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || root == "/" {
			return nil, fmt.Errorf("find the repository: %w", err)
		}
		root = filepath.Dir(root)
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	return &Lab{Name: name, Root: root, Bin: bin, Logs: logs}, nil
}

// State is the daemon's state folder, Socket its control socket, Pins its bpffs
// folder, DaemonLog its log.
func (l *Lab) State() string { return filepath.Join(l.dir(), "state") }

// Socket is where the daemon's control API listens.
func (l *Lab) Socket() string { return filepath.Join(l.dir(), "control.sock") }

// DaemonLog is the file that the daemon's output goes to.
func (l *Lab) DaemonLog() string { return filepath.Join(l.dir(), "daemon.log") }

func (l *Lab) dir() string { return filepath.Join("/run/ringfence-lab", l.Name) }

// Script runs scripts/lab with args and returns its standard output.
func (l *Lab) Script(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(l.Root, "scripts/lab"), args...)
	cmd.Env = append(os.Environ(), "RINGFENCE_LAB="+l.Name, "RINGFENCE_BIN="+l.Bin)
	return output(cmd)
}

// Command prepares name to run on host, with the network of host and nothing
// else of it. Cancelling ctx sends SIGTERM, and SIGKILL 2 s later.
func (l *Lab) Command(ctx context.Context, host, name string, args ...string) *exec.Cmd {
	args = append([]string{"--net=" + l.namespace(host), "--", name}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// CLI runs the box's own ringfence command.
func (l *Lab) CLI(ctx context.Context, args ...string) ([]byte, error) {
	args = append([]string{"--socket", l.Socket()}, args...)
	return output(l.Command(ctx, "box", filepath.Join(l.Bin, "ringfence"), args...))
}

// Read runs the box's ringfence command with --json and decodes its answer.
func (l *Lab) Read(ctx context.Context, into any, args ...string) error {
	out, err := l.CLI(ctx, append(args, "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("read ringfence %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// Inside runs do in host's network namespace: every socket that do opens lives
// there, and stays there after Inside has returned.
func (l *Lab) Inside(host string, do func() error) error {
	there, err := os.Open(l.namespace(host))
	if err != nil {
		return err
	}
	defer there.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		if err = enter(there); err == nil {
			err = do()
			if back := enter(home); back != nil {
				// The thread stays locked, so that it serves nobody else.
				done <- errors.Join(err, back)
				return
			}
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

func enter(namespace *os.File) error {
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", namespace.Name(), err)
	}
	return nil
}

func (l *Lab) namespace(host string) string { return "/run/netns/" + l.Name + "-" + host }

// output runs cmd and returns what it wrote; what it complained of becomes the
// error.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = err.Error()
		}
		return stdout.Bytes(), fmt.Errorf("run %s: %s: %w", strings.Join(cmd.Args, " "), said, err)
	}
	return stdout.Bytes(), nil
}

// Witness counts the attacker's packets behind the gate, as netfilter on the box
// sees them: XDP runs before it.
type Witness struct {
	BehindGate uint64 // to guarded ports, before routing
	BoxSockets uint64 // of these, on their way to a socket of the box
	LAN        uint64 // of any port, on their way to the LAN
	Unguarded  uint64 // to other ports: shows that the witness can see
}

// Witness reads the counters since the last ResetWitness.
func (l *Lab) Witness(ctx context.Context) (Witness, error) {
	out, err := l.Script(ctx, "seen")
	if err != nil {
		return Witness{}, err
	}
	var listing struct {
		Nftables []struct {
			Counter struct {
				Name    string
				Packets uint64
			}
		}
	}
	if err := json.Unmarshal(out, &listing); err != nil {
		return Witness{}, fmt.Errorf("read the witness: %w", err)
	}
	counted := map[string]uint64{}
	for _, item := range listing.Nftables {
		counted[item.Counter.Name] = item.Counter.Packets
	}
	if _, ok := counted["behind_gate"]; !ok {
		return Witness{}, errors.New("read the witness: no counter behind_gate")
	}
	return Witness{counted["behind_gate"], counted["box_sockets"], counted["lan"], counted["unguarded"]}, nil
}

// ResetWitness sets the witness to zero.
func (l *Lab) ResetWitness(ctx context.Context) error {
	_, err := l.Script(ctx, "seen", "reset")
	return err
}
