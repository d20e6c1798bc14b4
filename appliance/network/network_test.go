package network

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs the rest of the test on a thread of its own in a new network
// namespace, with a veth pair ("wan", "far") whose far end is down.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, LINKS AND PORTS ARE NOT TESTED: a network namespace needs root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("SKIPPED, LINKS AND PORTS ARE NOT TESTED: new network namespace: %v", err)
	}
	for _, command := range []string{
		"link add wan mtu 1400 address 02:00:00:00:00:01 type veth peer name far",
		"link set wan up",
		"addr add 192.0.2.1/24 dev wan",
		"addr add 2001:db8::1/64 dev wan nodad",
	} {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", command, err, out)
		}
	}
}

func TestLinks(t *testing.T) {
	inNamespace(t)
	links, err := Links([]string{"wan", "lo"})
	if err != nil || len(links) != 2 {
		t.Fatalf("got %+v, err %v", links, err)
	}
	wan := links[0]
	wan.Index = 0
	want := Link{Name: "wan", MAC: "02:00:00:00:00:01", Driver: "veth", MTU: 1400, Up: true}
	if wan != want || links[0].Index <= 0 {
		t.Errorf("got %+v; want %+v and an index", links[0], want)
	}
	if !links[1].Loopback || links[1].Up {
		t.Errorf("lo: got %+v", links[1])
	}
}

func TestLinksNamesEveryMissingOne(t *testing.T) {
	inNamespace(t)
	_, err := Links([]string{"wan", "wan7", "wan8"})
	if !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), `"wan7"`) || !strings.Contains(err.Error(), `"wan8"`) {
		t.Fatalf("err %v; want both names", err)
	}
}

func TestAddresses(t *testing.T) {
	inNamespace(t)
	got, err := Addresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"192.0.2.1", "2001:db8::1"} {
		if !slices.Contains(got, netip.MustParseAddr(want)) {
			t.Errorf("%s is missing in %v", want, got)
		}
	}
}

func TestReserve(t *testing.T) {
	inNamespace(t)
	// Sysctls of the network are those of the thread that opens the file.
	const proc = "/proc"
	path := filepath.Join(proc, reserved)
	if err := os.WriteFile(path, []byte("7000-7003\n"), 0); err != nil {
		t.Skipf("SKIPPED, PORTS ARE NOT TESTED: write %s: %v", path, err)
	}
	if err := Reserve(proc, []uint16{50600, 5060, 5061, 7001}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "5060-5061,7000-7003,50600\n" {
		t.Fatalf("the kernel holds %q, err %v", text, err)
	}
	missing, err := Unreserved(proc, []uint16{9000, 5060, 8080})
	if err != nil || !reflect.DeepEqual(missing, []uint16{8080, 9000}) {
		t.Fatalf("missing %v, err %v", missing, err)
	}
}

func TestReserveReportsWhatTheKernelRefused(t *testing.T) {
	proc := t.TempDir()
	if err := Reserve(proc, []uint16{5060}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("err %v; want the missing file named", err)
	}
	path := filepath.Join(proc, reserved)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("70000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Reserve(proc, []uint16{5060}); err == nil {
		t.Fatal("a list that can't be read passed")
	}
}
