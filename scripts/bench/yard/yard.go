// Package yard is where the benches let packets fly: network namespaces without
// a name and a mount namespace with a BPF file system of its own, all of one
// thread. Nothing in it can be seen or reached from outside, and the kernel
// clears all of it away when the process ends, however it ends: devices, XDP
// programs, nftables, ipsets and pins.
package yard

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Yard is the world of the goroutine that entered it. Only that goroutine may
// use it, and the commands that it runs are in it too.
type Yard struct {
	Outside *Space // where the generators send from
	spaces  []*Space
	boxes   int
}

// Space is a network namespace.
type Space struct{ file *os.File }

// Enter moves the calling goroutine into a new yard and ties it to one CPU. It
// stays there until it ends, and its thread dies with it: a thread can't go back
// into the mount namespace that the others share.
func Enter(cpu int) (*Yard, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"); err != nil {
		return nil, fmt.Errorf("mount BPF file system: %w", err)
	}
	var only unix.CPUSet
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return nil, fmt.Errorf("stay on CPU %d: %w", cpu, err)
	}
	y := &Yard{}
	outside, err := y.space()
	if err != nil {
		return nil, err
	}
	y.Outside = outside
	return y, nil
}

// LastCPU is the highest that the process may run on: the first ones serve the
// machine's interrupts.
func LastCPU() (int, error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return 0, fmt.Errorf("read CPUs: %w", err)
	}
	last := 0
	for cpu := range 64 * len(may) {
		if may.IsSet(cpu) {
			last = cpu
		}
	}
	return last, nil
}

// Close lets go of the namespaces, which takes the devices with it.
func (y *Yard) Close() {
	for _, space := range y.spaces {
		space.file.Close()
	}
	y.spaces = nil
}

// space makes a network namespace and moves into it.
func (y *Yard) space() (*Space, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("hold network namespace: %w", err)
	}
	space := &Space{file}
	y.spaces = append(y.spaces, space)
	return space, Run("ip", "link", "set", "lo", "up")
}

// Within runs do in a namespace and comes back outside.
func (y *Yard) Within(space *Space, do func() error) error {
	if err := unix.Setns(int(space.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	err := do()
	if back := unix.Setns(int(y.Outside.file.Fd()), unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("leave namespace: %w", back)
	}
	return err
}

// Run runs a command to its end; its error holds what the command said.
func Run(name string, args ...string) error { return Feed("", name, args...) }

// Feed is Run with something on standard input.
func Feed(input, name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Stdin = strings.NewReader(input)
	// xdp-tools chain programs by a dispatcher where the kernel lets them; without
	// it they are a little faster, and their program can be run alone.
	command.Env = append(os.Environ(), "LIBXDP_SKIP_DISPATCHER=1")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, tail(out))
	}
	return nil
}

func tail(out []byte) string {
	const enough = 500
	if len(out) > enough {
		out = out[len(out)-enough:]
	}
	return strings.TrimSpace(string(out))
}

// Box is a site's box: a namespace whose device "wan" is joined to a device of
// the outside, and whose device "lan" swallows what is forwarded.
type Box struct {
	*Space
	Near int // index of wan, in the box
	Far  int // index of its peer, outside
}

// Addresses of every box. MAC is that of wan.
const (
	WAN4 = "198.51.100.1"
	WAN6 = "2001:db8:ffff::1"
	LAN4 = "192.0.2.2" // a host behind the box
)

// gateway is the hardware address of every wan's peer: no random one, by which tests
// would take its own chatter for a packet of theirs.
const gateway = "02:00:00:00:00:02"

// MAC is the hardware address of every wan.
func MAC() []byte { return []byte{2, 0, 0, 0, 0, 1} }

// Box makes one more box.
func (y *Yard) Box() (*Box, error) {
	space, err := y.space()
	if err != nil {
		return nil, err
	}
	far := fmt.Sprintf("net%d", y.boxes)
	y.boxes++
	box := &Box{Space: space}
	if err := y.Within(space, func() error { return y.furnish(box, far) }); err != nil {
		return nil, err
	}
	if err := Run("ip", "link", "set", far, "up"); err != nil {
		return nil, err
	}
	box.Far, err = indexOf(far)
	return box, err
}

// furnish sets a box up. Everything that a packet needs on its way is known
// beforehand, so that no flood waits for an answer.
func (y *Yard) furnish(box *Box, far string) error {
	outside := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), y.Outside.file.Fd())
	mac := net.HardwareAddr(MAC()).String()
	for _, line := range []string{
		"link add wan address " + mac + " type veth peer name " + far + " address " + gateway + " netns " + outside,
		"link add lan type bridge",
		"address add " + WAN4 + "/24 dev wan",
		"address add " + WAN6 + "/64 dev wan nodad",
		"address add 192.0.2.1/24 dev lan",
		"link set wan up",
		"link set lan up",
		"neighbour add 198.51.100.2 lladdr " + gateway + " nud permanent dev wan",
		"neighbour add " + LAN4 + " lladdr 02:00:00:00:00:03 nud permanent dev lan",
		"route add default via 198.51.100.2",
	} {
		if err := Run("ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{"ip_forward": "1", "conf/all/rp_filter": "0", "conf/wan/rp_filter": "0"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	if err := switchGRO("wan"); err != nil {
		return err
	}
	var err error
	box.Near, err = indexOf("wan")
	return err
}

func indexOf(name string) (int, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", name, err)
	}
	return device.Index, nil
}
