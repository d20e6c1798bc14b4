// Command kernels is the first and only process of the machines that
// scripts/test-kernels starts: it makes the root file system one that tests can
// live in, runs /gate.test and switches the machine off. What the script has to
// know stands on lines of its own that begin with "ringfence:".
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "kernels: this is the init of a machine that scripts/test-kernels starts")
		os.Exit(2)
	}
	status, err := run()
	if err != nil {
		fmt.Println("ringfence: init:", err)
		status = 1
	}
	if err := complaints(); err != nil {
		fmt.Println("ringfence: init:", err)
		status = 1
	}
	fmt.Println("ringfence: exit", status)
	unix.Sync()
	fmt.Println("ringfence: power off:", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	select {} // the script's time limit ends this
}

// run returns the exit status of the tests.
func run() (int, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return 0, fmt.Errorf("uname: %w", err)
	}
	fmt.Println("ringfence: kernel", unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Version[:]))
	if err := mountAll(); err != nil {
		return 0, err
	}
	modules, err := lines("/modules")
	if err != nil {
		return 0, err
	}
	for _, module := range modules {
		if err := load(module); err != nil {
			return 0, fmt.Errorf("load %s: %w", module, err)
		}
	}
	if out, err := exec.Command("/sbin/ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	args, err := lines("/args")
	if err != nil {
		return 0, err
	}
	test := exec.Command("/gate.test", args...)
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	err = test.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		fmt.Println("ringfence: the tests end with", exit)
		return max(1, exit.ExitCode()), nil // -1 where a signal killed them
	}
	return 0, err
}

// mountAll mounts what a running Debian has. The root is made shared because
// ip netns wants what it mounts to be seen by others.
func mountAll() error {
	for _, m := range []struct{ kind, on string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"bpf", "/sys/fs/bpf"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/run"},
		{"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(m.on, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", m.on, err)
		}
		if err := unix.Mount(m.kind, m.on, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.on, err)
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share /: %w", err)
	}
	return os.Setenv("PATH", "/sbin")
}

// load loads one module. Debian 13's are compressed and its kernel unpacks them.
// Some are but faster ways to do what others do too, on a processor that can.
func load(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(file.Fd()), "", flags)
	if err == unix.ENODEV {
		return nil
	}
	return err
}

// Bits of /proc/sys/kernel/tainted: Documentation/admin-guide/tainted-kernels.rst.
const (
	taintDied    = 1 << 7
	taintWarning = 1 << 9
)

// complaints fails where the kernel tripped over itself while the tests were
// content, and shows what it said.
func complaints() error {
	text, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		return err
	}
	var taint int
	if _, err := fmt.Sscan(string(text), &taint); err != nil {
		return fmt.Errorf("read taint %q: %w", text, err)
	}
	if taint&(taintDied|taintWarning) == 0 {
		return nil
	}
	said := make([]byte, 1<<20)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, said)
	if err != nil {
		return fmt.Errorf("read the kernel's log: %w", err)
	}
	for line := range strings.Lines(string(said[:n])) {
		if line < "<5" { // a warning, <4>, or worse
			fmt.Print(line)
		}
	}
	return fmt.Errorf("the kernel warned or died (taint %d), see its log above", taint)
}

func lines(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []string
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		all = append(all, scanner.Text())
	}
	return all, scanner.Err()
}
