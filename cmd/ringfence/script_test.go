package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/fetch"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ringfence": main})
}

// TestScripts runs whole commands against a real control with a real store. The
// gate is that of a box without a WAN interface; cmd/ringfenced tests the
// commands against a daemon with the kernel's.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			socket := filepath.Join(e.WorkDir, "s")
			e.Setenv("SOCK", socket)
			e.Setenv("TZ", "UTC")
			e.Setenv("COLUMNS", "")
			lists, config := publisher(e.WorkDir)
			e.Defer(lists.Close)
			e.Setenv("LISTS", lists.URL)
			stop, err := start(e.WorkDir, socket, config)
			if err == nil {
				e.Defer(stop)
			}
			return err
		},
	})
}

// publisher serves a folder over TLS, and returns how a box gets at it: 127.0.0.1
// is on the internet, unless the settings call it LAN.
func publisher(dir string) (*httptest.Server, fetch.Config) {
	server := httptest.NewTLSServer(http.FileServer(http.Dir(dir)))
	config := fetch.Config{RootCAs: x509.NewCertPool(), Local: func(netip.Addr) bool { return false }}
	config.RootCAs.AddCert(server.Certificate())
	return server, config
}

// unguarded is the gate of a box that has no WAN interface: nothing to attach
// to, one generation, and what it counted before.
type unguarded struct{ digest string }

func (u *unguarded) Enforce(wan []string, r *rules.Rules) error {
	if len(wan) > 0 {
		return &appliance.Error{Code: appliance.CodeInvalid, Field: "network.wan[0]", Message: "this box has no interface " + wan[0]}
	}
	u.digest = r.Digest()
	return nil
}

func (u *unguarded) Generation() string { return u.digest }

func (u *unguarded) Tallies() (appliance.Tallies, error) {
	return appliance.Tallies{
		appliance.ReasonSIPSource:  {Packets: 1234, Bytes: 567890},
		appliance.ReasonNotGuarded: {Packets: 99, Bytes: 9900},
	}, nil
}

func (u *unguarded) Dump(w io.Writer) error {
	_, err := fmt.Fprintf(w, "generation %s\nsip 5060\n", u.digest)
	return err
}

func (u *unguarded) Ban(appliance.Ban) error        { return nil }
func (u *unguarded) Unban(netip.Prefix) error       { return nil }
func (u *unguarded) Bans() ([]appliance.Ban, error) { return nil, nil }

// surroundings are those of a box at 203.0.113.1 without a DNS.
type surroundings struct{}

func (surroundings) Resolved() map[string][]netip.Addr { return nil }
func (surroundings) Own() ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("203.0.113.1")}, nil
}

type oneCall struct{}

func (oneCall) Live() []appliance.Call {
	return []appliance.Call{{ID: "liveliveh", Start: time.Now().Add(-61 * time.Second), From: "101", Number: "+61252615550",
		Direction: appliance.Outbound, Verdict: appliance.Allow, Reason: appliance.ReasonDestinationAllowed, Label: "Australia"}}
}

func (oneCall) Tallies() map[appliance.Reason]uint64 {
	return map[appliance.Reason]uint64{appliance.ReasonHighRisk: 3}
}

type amber struct{ box *control.Control }

func (a amber) Status() appliance.Status {
	checks := []appliance.Check{
		{Name: "gate", Level: appliance.Amber, Message: "no WAN interface is named in the settings, nothing is guarded"},
		{Name: "store", Level: appliance.Green, Message: "a test record was written"},
	}
	return appliance.Status{Level: appliance.WorstOf(checks), Time: time.Now(), Version: "v1.2.3",
		Site: a.box.State().Settings.Site.Name, Generation: a.box.Rules().Digest(), Checks: checks}
}

// start serves a box and returns what ends it.
func start(dir, socket string, web fetch.Config) (func(), error) {
	disk, err := store.Open(filepath.Join(dir, "state"), store.Retention{Age: 1e6 * time.Hour, Rows: 100}, time.Now)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	queue := control.NewQueue()
	box := control.New(control.Hands{Gate: &unguarded{}, Documents: disk, Lists: disk, Records: disk, Network: surroundings{}, Web: fetch.New(web)}, queue, time.Now, log)
	listener, err := control.Listen(socket)
	if err := errors.Join(err, box.Start(), disk.Append(history())); err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	box.Sample(appliance.Drop{Time: noon, Interface: "wan0", Source: netip.MustParseAddrPort("192.0.2.66:5065"), Protocol: "udp",
		Destination: netip.MustParseAddrPort("203.0.113.1:5060"), VLAN: 7, Length: 460, Reason: appliance.ReasonSIPSource, Weight: 64})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.NewServer(box, oneCall{}, amber{box}, log).Serve(ctx, listener) }()
	return func() {
		cancel()
		<-done
		disk.Close()
	}, nil
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func history() ([]appliance.Call, []appliance.Event) {
	blocked := appliance.Call{
		ID: "abcd2345", CallID: "1@pbx", Direction: appliance.Outbound, Use: "call", Start: noon, End: noon,
		From: "101", Source: "10.0.0.10:5060", Dialled: "0011252615550148", Number: "+252615550148", Label: "Somalia", Trunk: "carrier",
		Verdict: appliance.Block, Reason: appliance.ReasonHighRisk, Rule: "+252", List: "high-risk", Why: "Somalia", Status: 403,
	}
	allowed := appliance.Call{
		ID: "abzz2345", CallID: "2@pbx", Direction: appliance.Outbound, Use: "call", Start: noon.Add(time.Hour),
		Answer: noon.Add(time.Hour), End: noon.Add(time.Hour + 75*time.Second), From: "\x1b[2J102", Source: "10.0.0.10:5060",
		Dialled: "0252615550", Number: "+61252615550", Label: "Australia", Trunk: "carrier", Verdict: appliance.Allow,
		Reason: appliance.ReasonDestinationAllowed, Status: 200,
	}
	return []appliance.Call{blocked, allowed}, []appliance.Event{
		{Time: noon, Kind: appliance.EventRefusal, Reason: appliance.ReasonUnknownDialog, Message: "no such dialog",
			Source: netip.MustParseAddrPort("10.0.0.10:5060")},
	}
}

// until cancels when a text has been written.
type until struct {
	text   string
	cancel func()
	mu     sync.Mutex
	all    strings.Builder
}

func (u *until) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all.Write(p)
	if strings.Contains(u.all.String(), u.text) {
		u.cancel()
	}
	return len(p), nil
}

// TestFollowOutlivesTheDaemon follows drops while the daemon goes and comes
// back.
func TestFollowOutlivesTheDaemon(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	stop, err := start(dir, socket, fetch.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	firstShown, firstCancel := context.WithCancel(ctx)
	stdout := &until{text: "192.0.2.66:5065", cancel: firstCancel}
	gone, goneCancel := context.WithCancel(ctx)
	stderr := &until{text: "waiting for it", cancel: goneCancel}
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, env{args: []string{"--socket", socket, "drops", "--follow"}, stdout: stdout, stderr: stderr,
			getenv: func(string) string { return "" }, now: time.Now, zone: time.UTC})
	}()
	<-firstShown.Done()
	stop()
	<-gone.Done()
	stdout.mu.Lock()
	stdout.all.Reset()
	stdout.cancel = cancel
	stdout.mu.Unlock()
	if stop, err = start(dir, socket, fetch.Config{}); err != nil {
		t.Fatal(err)
	}
	defer stop()
	if status := <-done; status != exitDone || !strings.Contains(stdout.all.String(), " 64 ") {
		t.Errorf("status %d\nstdout: %s\nstderr: %s", status, stdout.all.String(), stderr.all.String())
	}
}

func TestManualCoversEveryCommand(t *testing.T) {
	var page strings.Builder
	root := (&app{env: env{stdout: os.Stdout}, view: &view{}}).root()
	writeManual(&page, root)
	for _, cmd := range root.Commands() {
		if !strings.Contains(page.String(), ".SS "+cmd.Name()) {
			t.Errorf("%s is not in the manual", cmd.Name())
		}
	}
	for line := range strings.SplitSeq(page.String(), "\n") {
		if strings.HasPrefix(line, "'") {
			t.Errorf("%q would be read as a command of roff", line)
		}
	}
}
