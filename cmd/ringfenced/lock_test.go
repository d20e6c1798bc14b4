package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// locked says whether the table of the egress lock and the route of what it
// intercepts are there, both or none.
func (l *lab) locked() (bool, error) {
	tables, err := exec.Command("ip", "netns", "exec", l.box, "nft", "list", "tables").CombinedOutput()
	if err != nil {
		return false, fmt.Errorf("nft: %w: %s", err, tables)
	}
	routes, err := exec.Command("ip", "-n", l.box, "rule").CombinedOutput()
	if err != nil {
		return false, fmt.Errorf("ip rule: %w: %s", err, routes)
	}
	table, rule := strings.Contains(string(tables), "table inet ringfence"), strings.Contains(string(routes), "0x5246")
	if table != rule {
		return false, fmt.Errorf("half a lock: %s%s", tables, routes)
	}
	return table, nil
}

func (l *lab) mustLock(want bool, when string) {
	l.t.Helper()
	if have, err := l.locked(); err != nil || have != want {
		l.t.Fatalf("%s: locked %t, want %t; err %v", when, have, want, err)
	}
}

// sight is the perimeter of another daemon on the lab's box, which ends with the test.
func (l *lab) sight(bpffs string) *perimeter {
	p := newPerimeter(config{bpffs: bpffs}, env{proc: "/proc", now: time.Now}, func(appliance.Event) {})
	l.t.Cleanup(func() { _ = p.Close() })
	return p
}

func (l *lab) enforce(p *perimeter, s settings.Settings) (err error) {
	l.t.Helper()
	compiled, err := rules.Compile(policy.Builtin(), s, rules.Facts{}, time.Now())
	if err != nil {
		l.t.Fatal(err)
	}
	l.inside(l.box, func() error { err = p.Enforce(s.Network.WAN, compiled); return nil })
	return err
}

// TestLockOfAnEarlierDaemon has settings that name no WAN interface come into force
// again and again, as they do where the stored ones are damaged.
func TestLockOfAnEarlierDaemon(t *testing.T) {
	l := newLab(t)
	l.must("ip", "-n", l.box, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0p")
	wan := wired([]string{"wan0"})
	wan.SIP.Transparent = []string{"lan0"}
	none := wired(nil)
	earlier := l.sight(l.bpffs)
	if err := errors.Join(l.enforce(earlier, wan), earlier.Close()); err != nil {
		t.Fatal(err)
	}
	p := l.sight(l.bpffs)
	for range 3 {
		if err := l.enforce(p, none); err != nil {
			t.Fatal(err)
		}
		l.mustLock(true, "nobody asked for an open LAN")
	}
	if !l.attached("wan0") {
		t.Error("the gate of the earlier daemon is gone")
	}
	var checks []appliance.Check
	l.inside(l.box, func() error { checks = p.lock.checks(); return nil })
	if len(checks) != 1 || checks[0].Name != "egress" || checks[0].Level != appliance.Amber || !strings.Contains(checks[0].Message, "earlier daemon") {
		t.Errorf("checks %+v", checks)
	}

	// A change that the gate turns down opens nothing either.
	p.dir = "nowhere"
	for range 2 {
		if err := l.enforce(p, wan); err == nil {
			t.Fatal("a gate without a folder was opened")
		}
		if err := l.enforce(p, none); err != nil {
			t.Fatal(err)
		}
		l.mustLock(true, "a change was turned down")
	}

	// What this daemon shut it opens, once somebody has emptied network.wan.
	p.dir = l.bpffs
	if err := l.enforce(p, wan); err != nil {
		t.Fatal(err)
	}
	l.mustLock(true, "an interface is named")
	if err := l.enforce(p, none); err != nil {
		t.Fatal(err)
	}
	l.mustLock(false, "nothing is to be guarded")
	if l.attached("wan0") {
		t.Error("the gate is still attached")
	}
	l.inside(l.box, func() error { checks = p.lock.checks(); return nil })
	if len(checks) != 0 {
		t.Errorf("checks %+v", checks)
	}
}

// TestDaemonWithoutDocuments starts where no edition of the settings can be read,
// and has interfaces change.
func TestDaemonWithoutDocuments(t *testing.T) {
	l := newLab(t)
	l.must("ip", "-n", l.box, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0p")
	d := l.start()
	s := wired([]string{"wan0"})
	s.SIP.Transparent = []string{"lan0"}
	l.mustPut(s)
	l.level("egress", appliance.Green, "")
	if err := l.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"settings.json", "settings.previous.json"} {
		if err := os.WriteFile(filepath.Join(l.state(), name), bytes.Repeat([]byte("worn out "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d = l.start()
	l.level("settings", appliance.Red, "the built-in settings is in force")
	l.level("egress", appliance.Amber, "earlier daemon")
	l.must("ip", "-n", l.box, "link", "add", "lan1", "type", "veth", "peer", "name", "lan1p")
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		l.mustLock(true, "after a reconciliation")
	}
	if !l.attached("wan0") {
		t.Error("the gate is gone")
	}
	l.mustPut(s)
	l.level("egress", appliance.Green, "")
	l.mustPut(wired(nil))
	l.mustLock(false, "somebody emptied network.wan")
	if err := l.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}
