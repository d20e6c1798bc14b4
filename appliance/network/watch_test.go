package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ip runs commands of ip(8) in the namespace of the calling thread, as one
// process.
func ip(t *testing.T, commands ...string) {
	t.Helper()
	command := exec.Command("ip", "-batch", "-")
	command.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("ip %q: %v: %s", commands, err, out)
	}
}

// quiet keeps new links from giving themselves addresses in their own time.
func quiet(t *testing.T) {
	t.Helper()
	const path = "/proc/sys/net/ipv6/conf/default/addr_gen_mode" // of the thread that opens it
	if err := os.WriteFile(path, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Skipf("SKIPPED, CHANGES OF LINKS ARE NOT TESTED: write %s: %v", path, err)
	}
}

// watching runs a watcher in the namespace that the test is in, on a thread of
// its own. It has subscribed when watching returns.
func watching(t *testing.T, changed func()) {
	t.Helper()
	quiet(t)
	w, err := newWatcher(changed)
	if err != nil {
		t.Fatal(err)
	}
	w.settle = time.Millisecond // nothing here needs to be one call
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer home.Close()
		runtime.LockOSThread() // never unlocked: the thread ends with it
		err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			w.run(ctx)
		}
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("enter the namespace: %v", err)
		}
	})
}

func TestWatch(t *testing.T) {
	inNamespace(t)
	calls := make(chan struct{}, 1000)
	watching(t, func() { calls <- struct{}{} })
	for _, change := range []string{
		"link add one type veth peer name two",
		"link set one name uno",
		"link set uno up",
		"link set two up", // a carrier for both
		"addr add 198.51.100.1/24 dev uno",
		"addr add 198.51.100.2/24 dev uno",
		"addr add 2001:db8:1::1/64 dev uno nodad",
		"addr del 198.51.100.2/24 dev uno",
		"link set uno mtu 1280",
		"link add name lan0 type bridge",
		"link set uno master lan0",
		"link set two down",
		"link set uno down",
		"link del uno",
	} {
		for len(calls) > 0 {
			<-calls // of what came late
		}
		ip(t, change)
		<-calls // or the test never ends
	}
}

// A burst is one call, and what is repeated, does not count or is undone at
// once is none.
func TestWatchTellsOfChangesOnly(t *testing.T) {
	inNamespace(t)
	quiet(t)
	told := 0
	w, err := newWatcher(func() { told++ })
	if err != nil {
		t.Fatal(err)
	}
	defer w.socket.Close()
	w.settle = time.Millisecond // each burst is over before it is read
	look := func(want int, commands ...string) {
		t.Helper()
		told = 0
		ip(t, commands...)
		sure, err := burst(w.socket, w.settle)
		if err != nil {
			t.Fatal(err)
		}
		if w.look(sure); told != want {
			t.Errorf("%q: told %d times; want %d", commands, told, want)
		}
	}
	look(0, "link set wan promisc on")
	look(0, "link set wan alias uplink")
	look(0, "addr change 192.0.2.1/24 dev wan valid_lft 1000 preferred_lft 1000")
	look(1, "link set wan mtu 1300")
	look(1, "link set wan down", "link set wan name uplink", "link set uplink up", "addr add 192.0.2.7/24 dev uplink",
		"link add one type veth peer name two", "link set one up", "link set two up", "link add name lan0 type bridge")
	look(0, "link set uplink mtu 1400", "link set uplink mtu 1300")
	look(1, "link add name twin index 77 address 02:00:00:00:00:01 type bridge")
	look(1, "link del twin", "link add name twin index 77 address 02:00:00:00:00:01 type bridge") // the picture is the same
}

// flood is more than a socket holds, and leaves all as it was.
func flood() (commands []string) {
	for range 500 {
		commands = append(commands, "link set wan mtu 1301", "link set wan mtu 1300")
	}
	return commands
}

func TestWatchSurvivesAnOverrun(t *testing.T) {
	inNamespace(t)
	calls, goOn := make(chan struct{}), make(chan struct{})
	watching(t, func() { calls <- struct{}{}; <-goOn })
	ip(t, "link set wan mtu 1300")
	<-calls
	ip(t, flood()...) // and nobody reads
	goOn <- struct{}{}
	<-calls // it was told, though all is as it was
	goOn <- struct{}{}
	ip(t, "link set wan name uplink")
	<-calls
	close(goOn)
}

func TestWatchComesBack(t *testing.T) {
	inNamespace(t)
	calls := make(chan struct{}, 1000)
	quiet(t)
	w, err := newWatcher(func() { calls <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	w.socket.Close() // as if the kernel had
	w.pause = 0
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.run(ctx) }() // in another namespace, which does not matter
	<-calls
	cancel()
	<-ended
}

func TestWatchEnds(t *testing.T) {
	inNamespace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Watch(ctx, func() { t.Error("told of nothing") }); err != nil {
		t.Error(err)
	}
}

func TestAddressesOf(t *testing.T) {
	inNamespace(t)
	ip(t, "addr add 192.0.2.99/24 dev far", "addr add fe80::7/64 dev wan nodad")
	got, err := AddressesOf("wan")
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::7%wan")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, err %v; want %v", got, err, want)
	}
	if _, err := AddressesOf("wan7"); !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), `"wan7"`) {
		t.Errorf("err %v", err)
	}
}
