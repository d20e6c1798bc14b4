package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestDaemonLife goes through a box's life with the real gate, inspector and
// disk.
func TestDaemonLife(t *testing.T) {
	l := newLab(t)
	d := l.start()
	l.level("gate", appliance.Amber, "no WAN interface")
	l.level("settings", appliance.Amber, "no settings")

	if _, err := l.put(wired([]string{"wan7"})); appliance.CodeOf(err) != appliance.CodeInvalid {
		t.Fatalf("an interface that there is not: %v", err)
	}
	l.mustPut(wired([]string{"wan0"}))
	l.level("gate wan0", appliance.Green, "native")
	l.level("gate", appliance.Green, "is in the kernel")
	l.level("inspector", appliance.Green, "udp 0.0.0.0:5060")
	l.level("ports", appliance.Green, "")
	l.knock("203.0.112.1:5060", 10)
	l.dropped(10)
	l.until(func() error {
		drops, err := l.api.Drops(context.Background(), 0, 1)
		if err == nil && (len(drops.Samples) == 0 || drops.Samples[0].Interface != "wan0") {
			err = fmt.Errorf("no sample of wan0: %+v", drops.Samples)
		}
		return err
	})

	// Another interface, and back: the counters go on.
	if _, err := l.put(wired([]string{"wan0", "wan9"})); err == nil || !strings.Contains(err.Error(), "network.wan[1]") {
		t.Fatalf("an interface that there is not: %v", err)
	}
	l.mustPut(wired([]string{"wan0", "wan1"}))
	l.level("gate wan1", appliance.Green, "native")
	l.knock("203.0.113.1:5060", 5)
	l.dropped(15)
	l.mustPut(wired([]string{"wan1"}))
	l.knock("203.0.112.1:5060", 5)
	l.knock("203.0.113.1:5060", 5)
	l.dropped(20)
	before := l.mustPut(wired([]string{"wan0"}))

	// Killed, the gate goes on; started again, the daemon adopts it.
	if err := l.stop(d, syscall.SIGKILL); err == nil {
		t.Fatal("a killed daemon ended well")
	}
	l.knock("203.0.112.1:5060", 7)
	d = l.start()
	l.dropped(27)
	if status, err := l.api.Status(context.Background()); err != nil || status.Generation != before.Generation {
		t.Fatalf("generation %s after the crash, %s before; err %v", status.Generation, before.Generation, err)
	}
	l.until(func() error {
		if !strings.Contains(d.log.String(), "adopted the pinned gate with generation") {
			return errors.New("the daemon did not adopt the gate")
		}
		return nil
	})

	// Stopped, the same; only --detach opens the gate, and not under a daemon.
	if out, err := l.command("--detach").CombinedOutput(); err == nil || !strings.Contains(string(out), "stop it first") {
		t.Fatalf("detached under a running daemon: %v: %s", err, out)
	}
	if err := l.stop(d, syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
	if _, err := os.Stat(l.socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if !l.attached("wan0") {
		t.Fatal("the gate was taken off by stopping the daemon")
	}
	if out, err := l.command("--detach").CombinedOutput(); err != nil {
		t.Fatalf("detach: %v: %s", err, out)
	}
	l.until(func() error {
		if l.attached("wan0") {
			return errors.New("the gate is still attached")
		}
		return nil
	})
}

func TestDaemonListeners(t *testing.T) {
	l := newLab(t)
	l.start()
	applied := l.mustPut(wired([]string{"wan0"}, "127.0.0.1:15060"))
	if !slices.ContainsFunc(applied.Notes, func(note string) bool { return strings.Contains(note, "127.0.0.1:15060") }) {
		t.Errorf("notes %v", applied.Notes)
	}
	l.level("inspector", appliance.Green, "udp 127.0.0.1:15060")
	// An address that the box does not have: red, and mended by who set it.
	l.mustPut(wired([]string{"wan0"}, "192.0.2.77:5060"))
	l.level("inspector", appliance.Red, "192.0.2.77:5060")
	l.level("gate", appliance.Green, "")
	l.must("ip", "-n", l.box, "addr", "add", "192.0.2.77/32", "dev", "lo")
	l.level("inspector", appliance.Green, "udp 192.0.2.77:5060")
}

// TestDaemonMendsAnInterface deletes and brings back a WAN port.
func TestDaemonMendsAnInterface(t *testing.T) {
	l := newLab(t)
	l.start()
	l.mustPut(wired([]string{"wan0", "wan1"}))
	l.level("gate wan1", appliance.Green, "")
	l.must("ip", "-n", l.box, "link", "del", "wan1")
	l.level("gate wan1", appliance.Red, "not guarded")
	l.level("gate wan0", appliance.Green, "")
	l.must("ip", "-n", l.box, "link", "add", "wan1", "type", "veth", "peer", "name", "wan1", "netns", l.far)
	l.level("gate wan1", appliance.Green, "")
	if !l.attached("wan1") {
		t.Fatal("status is green and nothing is attached")
	}
}

// TestDaemonOnAFullDisk keeps enforcing while nothing can be written.
func TestDaemonOnAFullDisk(t *testing.T) {
	l := newLab(t)
	if err := os.Mkdir(l.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", l.state(), "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("SKIPPED, THE FULL DISK IS NOT TESTED: mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(l.state(), unix.MNT_DETACH) })
	d := l.start()
	before := l.mustPut(wired([]string{"wan0"}, "127.0.0.1:15060"))
	ballast := filepath.Join(l.state(), "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	l.level("store", appliance.Red, "can't be kept")
	if _, err := l.put(wired([]string{"wan0", "wan1"})); appliance.CodeOf(err) != appliance.CodeUnavailable {
		t.Fatalf("a change on a full disk: %v", err)
	}
	l.level("inspector", appliance.Green, "")
	l.level("gate wan0", appliance.Green, "")
	l.knock("203.0.112.1:5060", 3)
	l.dropped(3)
	if status, err := l.api.Status(context.Background()); err != nil || status.Generation != before.Generation {
		t.Fatalf("generation %s, want %s; err %v", status.Generation, before.Generation, err)
	}
	if l.attached("wan1") {
		t.Fatal("a change that was turned down is in force")
	}
	// It starts on a full disk too.
	if err := l.stop(d, syscall.SIGKILL); err == nil {
		t.Fatal("a killed daemon ended well")
	}
	l.start()
	l.level("store", appliance.Red, "can't be kept")
	l.level("settings", appliance.Green, "")
	l.level("inspector", appliance.Green, "udp 127.0.0.1:15060")
	l.knock("203.0.112.1:5060", 3)
	l.dropped(6)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	l.level("store", appliance.Green, "")
}

// TestDaemonWithDamagedDocuments starts on what a failing flash may leave.
func TestDaemonWithDamagedDocuments(t *testing.T) {
	l := newLab(t)
	d := l.start()
	l.mustPut(wired([]string{"wan0"}, "127.0.0.1:15060"))
	changed := wired([]string{"wan0"}, "127.0.0.1:15060")
	changed.Site.Name = "Depot"
	l.mustPut(changed)
	if err := l.stop(d, syscall.SIGKILL); err == nil {
		t.Fatal("a killed daemon ended well")
	}
	for _, name := range []string{"settings.json", "ringfence.db", "ringfence.db-wal"} {
		if err := os.WriteFile(filepath.Join(l.state(), name), bytes.Repeat([]byte("worn out "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.start()
	l.level("settings", appliance.Red, "the edition before it is in force")
	l.level("store", appliance.Amber, "the old one is kept as ringfence.db.aside-")
	l.level("gate wan0", appliance.Green, "")
	l.level("inspector", appliance.Green, "udp 127.0.0.1:15060")
	l.mustPut(changed)
	l.level("settings", appliance.Green, "")
}

const invite = `INVITE sip:0011252615550148@carrier.example SIP/2.0
Via: SIP/2.0/UDP LOCAL;branch=z9hG4bKdaemon;rport
Max-Forwards: 70
From: <sip:101@carrier.example>;tag=one
To: <sip:0011252615550148@carrier.example>
Call-ID: daemon@LOCAL
CSeq: 1 INVITE
Contact: <sip:101@LOCAL>
Content-Length: 0

`

// TestDaemonRecordsCalls follows one call from the wire to the record, also over
// a stop right after it.
func TestDaemonRecordsCalls(t *testing.T) {
	l := newLab(t)
	d := l.start()
	s := wired([]string{"wan0"}, "127.0.0.1:15060")
	s.Trunks = []settings.Trunk{{Name: "carrier", Domain: "carrier.example", Address: mustAddr("203.0.112.2:5060"), Transport: settings.UDP}}
	l.mustPut(s)
	l.level("inspector", appliance.Green, "udp 127.0.0.1:15060")
	if answer := l.ask("127.0.0.1:15060", invite); !strings.HasPrefix(answer, "SIP/2.0 403 ") {
		t.Fatalf("answered %s", answer)
	}
	if err := l.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.start()
	answer, err := l.api.Calls(context.Background(), appliance.CallFilter{})
	if err != nil || len(answer.Calls) != 1 {
		t.Fatalf("calls %+v, err %v", answer, err)
	}
	call := answer.Calls[0]
	if call.Verdict != appliance.Block || call.Reason != appliance.ReasonHighRisk || call.Number != "+252615550148" ||
		call.Rule != "+252" || call.From != "101" || call.End.IsZero() {
		t.Fatalf("record %+v", call)
	}
}

// TestDaemonKilledWhileChanging kills the daemon in the middle of a stream of
// changes, again and again. What was answered as done is in force after the
// restart, or the one change that was under way.
func TestDaemonKilledWhileChanging(t *testing.T) {
	l := newLab(t)
	changed := func(i int) settings.Settings {
		s := wired([]string{"wan0"}, "127.0.0.1:15060")
		s.Site.Name = fmt.Sprintf("Site %d", i)
		return s
	}
	next := 0
	for round := range 5 {
		d := l.start()
		if next > 0 {
			status, err := l.api.Status(context.Background())
			last, underway := changed(next-2).Site.Name, changed(next-1).Site.Name
			if err != nil || status.Site != last && status.Site != underway {
				t.Fatalf("round %d: %q is in force, want %q or %q; err %v", round, status.Site, last, underway, err)
			}
			l.level("gate", appliance.Green, "is in the kernel")
			l.level("settings", appliance.Green, "")
			l.level("store", appliance.Green, "test record")
		}
		l.mustPut(changed(next))
		next++
		killed := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(1+7*round) * time.Millisecond)
			killed <- d.Process.Kill()
		}()
		for {
			_, err := l.put(changed(next))
			next++
			if err != nil {
				break
			}
		}
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		<-d.done
	}
}

func TestSecondDaemon(t *testing.T) {
	l := newLab(t)
	l.start()
	out, err := l.command().CombinedOutput()
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok || ended.ExitCode() != 1 || !strings.Contains(string(out), "is another daemon using it?") {
		t.Fatalf("err %v: %s", err, out)
	}
	l.level("store", appliance.Green, "")
}
