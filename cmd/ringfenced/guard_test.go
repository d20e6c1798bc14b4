package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
)

// TestDaemonRefusesToLockTheLANOut names the port that the LAN is managed by as
// a WAN port.
func TestDaemonRefusesToLockTheLANOut(t *testing.T) {
	l := newLab(t)
	l.start()
	l.mustPut(wired([]string{"wan0"}))
	l.must("ip", "-n", l.box, "addr", "add", "192.168.7.1/24", "dev", "wan1")
	_, err := l.put(wired([]string{"wan0", "wan1"}))
	if err == nil || !strings.Contains(err.Error(), "network.wan[1]: wan1 is the only way to 192.168.7.1") || !strings.Contains(err.Error(), "network.lan[2]") {
		t.Fatalf("the LAN's own port was taken: %v", err)
	}
	l.level("gate wan0", appliance.Green, "")
	// With another port on the LAN it is a WAN port like any other.
	l.must("ip", "-n", l.box, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
	l.must("ip", "-n", l.box, "addr", "add", "192.168.7.2/24", "dev", "lan0")
	l.mustPut(wired([]string{"wan0", "wan1"}))
}

// TestDaemonKeepsFeeds imports one, and finds it after a crash.
func TestDaemonKeepsFeeds(t *testing.T) {
	l := newLab(t)
	d := l.start()
	s := wired([]string{"wan0"})
	s.Feeds, s.Ports.Open = []document.Feed{{Name: "own", Format: feed.FormatCIDR}}, []uint16{7777}
	l.mustPut(s)
	l.level("feed own", appliance.Amber, "was never imported")
	l.knock("203.0.112.1:7777", 3)
	l.counted(appliance.ReasonOpenService, 3)
	imported, err := l.api.ImportFeed(context.Background(), "own", strings.NewReader("203.0.112.0/30\n2001:db8:66::/48\n"))
	if err != nil {
		t.Fatal(err)
	}
	l.level("feeds", appliance.Green, "1 in force with 2 entries")
	l.knock("203.0.112.1:7777", 4)
	l.counted(appliance.ReasonFeed, 4)
	var dump strings.Builder
	if err := l.api.Dump(context.Background(), &dump); err != nil || !strings.Contains(dump.String(), imported.Generation) ||
		!strings.Contains(dump.String(), "port 7777 open") {
		t.Fatalf("err %v, dump\n%s", err, dump.String())
	}
	if _, err := l.api.ImportFeed(context.Background(), "own", strings.NewReader("198.51.100.0/24\nnonsense\n")); err == nil || !strings.Contains(err.Error(), "feed: line 2") {
		t.Fatalf("a broken feed: %v", err)
	}
	if err := l.stop(d, syscall.SIGKILL); err == nil {
		t.Fatal("a killed daemon ended well")
	}
	l.start()
	l.level("feeds", appliance.Green, "1 in force with 2 entries")
	l.knock("203.0.112.1:7777", 5)
	l.counted(appliance.ReasonFeed, 9)
	if status, err := l.api.Status(context.Background()); err != nil || status.Generation != imported.Generation {
		t.Fatalf("generation %s after the crash, %s before; err %v", status.Generation, imported.Generation, err)
	}
}

// TestDaemonKeepsBans bans a source, and finds it banned after the gate itself
// was lost.
func TestDaemonKeepsBans(t *testing.T) {
	l := newLab(t)
	d := l.start()
	s := wired([]string{"wan0"})
	s.Ports.Open = []uint16{7777}
	l.mustPut(s)
	if _, err := l.api.Ban(context.Background(), api.NewBan{Source: "203.0.112.2", Reason: "scans"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.api.Ban(context.Background(), api.NewBan{Source: "203.0.112.1"}); appliance.CodeOf(err) != appliance.CodeForbidden {
		t.Fatalf("the box banned itself: %v", err)
	}
	l.knock("203.0.112.1:7777", 3)
	l.counted(appliance.ReasonBanned, 3)
	if err := l.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out, err := l.command("--detach").CombinedOutput(); err != nil {
		t.Fatalf("detach: %v: %s", err, out)
	}
	l.start()
	l.level("gate", appliance.Green, "is in the kernel")
	l.knock("203.0.112.1:7777", 4)
	l.counted(appliance.ReasonBanned, 4)
	bans, err := l.api.Bans(context.Background(), 10)
	if err != nil || bans.Total != 1 || bans.Bans[0].Reason != "scans" {
		t.Fatalf("bans %+v, err %v", bans, err)
	}
	if _, err := l.api.Unban(context.Background(), "203.0.112.2"); err != nil {
		t.Fatal(err)
	}
	l.knock("203.0.112.1:7777", 2)
	l.counted(appliance.ReasonOpenService, 2)
	// Where nothing is guarded a ban waits, and comes with the next gate.
	l.mustPut(wired(nil))
	if _, err := l.api.Ban(context.Background(), api.NewBan{Source: "203.0.112.2"}); err != nil {
		t.Fatal(err)
	}
	l.mustPut(s)
	l.knock("203.0.112.1:7777", 6)
	l.counted(appliance.ReasonBanned, 6)
	top, err := l.api.Top(context.Background(), "1h", 5)
	if err != nil || top.Window != "1h" {
		t.Fatalf("top %+v, err %v", top, err)
	}
}

// TestDaemonKeepsTheOldPort asks for another WAN port and for more networks than
// the gate holds in one change: it is turned down as a whole, and the port before
// stays guarded.
func TestDaemonKeepsTheOldPort(t *testing.T) {
	l := newLab(t)
	l.start()
	huge := wired(nil)
	huge.Feeds = []document.Feed{{Name: "own", Format: feed.FormatCIDR}}
	l.mustPut(huge)
	var lines strings.Builder
	for i := range 140_000 {
		fmt.Fprintf(&lines, "2001:db8:%x:%x::7\n", 0x8000+i>>16, i&0xffff)
	}
	if _, err := l.api.ImportFeed(context.Background(), "own", strings.NewReader(lines.String())); err != nil {
		t.Fatal(err)
	}
	l.mustPut(wired([]string{"wan0"}))
	huge.Network.WAN = []string{"wan1"}
	if _, err := l.put(huge); err == nil || !strings.Contains(err.Error(), "the gate holds 262144") {
		t.Fatalf("more than the gate holds was taken: %v", err)
	}
	if !l.attached("wan0") || l.attached("wan1") {
		t.Error("the change was turned down, and the gate has moved all the same")
	}
	l.knock("203.0.112.1:5060", 3)
	l.dropped(3)
}

// TestDaemonWarnsOfTunnels has a device that anybody on the internet may fill.
func TestDaemonWarnsOfTunnels(t *testing.T) {
	l := newLab(t)
	if out, err := exec.Command("ip", "-n", l.box, "link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "4789").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, TUNNELS ARE NOT TESTED: vxlan: %v: %s", err, out)
	}
	l.start()
	l.level("tunnel vx0", appliance.Amber, "any sender's datagrams to UDP port 4789")
}
