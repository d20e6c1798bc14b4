package main

import (
	"context"
	"crypto/sha256"
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
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/store"
	"github.com/ringfence/ringfence/appliance/watch"
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
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A file that changes twice in a second has one date: its content tells.
		if data, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path))); err == nil {
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
		}
		files.ServeHTTP(w, r)
	}))
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

func (surroundings) Resolved() map[string][]netip.Addr      { return nil }
func (surroundings) Targets() map[string][]appliance.Target { return nil }
func (surroundings) Own() ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("203.0.113.1")}, nil
}

type oneCall struct{}

func (oneCall) Live() []appliance.Call {
	return []appliance.Call{{ID: "liveliveh", Start: time.Now().Add(-61 * time.Second), From: "101", Number: "+61252615550",
		Direction: appliance.Outbound, Verdict: appliance.Allow, Reason: appliance.ReasonDestinationAllowed, Label: "Australia"}}
}

func (oneCall) Trunks() []appliance.Trunk {
	at := func(addr string) appliance.Target {
		return appliance.Target{Address: netip.MustParseAddrPort(addr), Transport: "tls", Host: "itsp.example"}
	}
	return []appliance.Trunk{{Name: "carrier", Domain: "itsp.example", State: appliance.TrunkUp, Targets: []appliance.TargetState{
		{Target: at("198.51.100.1:5061"), State: appliance.TrunkUp, Since: noon, Heard: noon, Latency: 12.34},
		{Target: at("[2001:db8::2]:5061"), State: appliance.TrunkDown, Since: noon, Error: "no answer", RetryAfter: noon},
	}}, {Name: "spare", Domain: "spare.example", State: appliance.TrunkDown, Error: "spare.example does not resolve", Targets: []appliance.TargetState{}}}
}

// signed are the certificates of a box that made its own.
type signed struct{ reloads int }

func (s *signed) Certificates() []appliance.Certificate {
	out := []appliance.Certificate{{For: "listeners", Names: []string{"ringfence", "203.0.113.1"}, Until: noon, Fingerprint: "0123456789abcdef0123", Own: true, PEM: "-----BEGIN CERTIFICATE-----"}}
	if s.reloads > 0 {
		out = append(out, appliance.Certificate{For: "trunk carrier", Names: []string{}, Error: "read CA /etc/x.pem: no such file or directory"})
	}
	return out
}

func (s *signed) Reload() []appliance.Certificate {
	s.reloads++
	return s.Certificates()
}

func (oneCall) Tallies() map[appliance.Reason]uint64 {
	return map[appliance.Reason]uint64{appliance.ReasonHighRisk: 3}
}

func (oneCall) Cut(_ context.Context, id, reason string) (appliance.Cut, error) {
	return appliance.Cut{ID: id, Reason: reason, Start: noon, Media: "stopped in both directions", Sides: []appliance.CutSide{
		{Side: "lan", Address: "10.0.0.5:5060", State: appliance.CutConfirmed, Status: 200, Tries: 1},
		{Side: "provider", Address: "203.0.113.9:5060", State: appliance.CutChallenged, Status: 401, Tries: 2},
	}}, nil
}

func (o oneCall) Cuts() []appliance.Cut {
	one, _ := o.Cut(context.Background(), "cutcutcut", "credit is used up")
	return []appliance.Cut{one}
}

func (oneCall) Accounts() []appliance.Account {
	phone := netip.MustParseAddrPort("192.168.1.7:5060")
	return []appliance.Account{
		{Name: "101@sip.example.net", Label: "Front desk", Kind: appliance.AccountExtension, Registrar: "carrier", Username: "auth101", Realm: "example", First: noon, Last: noon, Proven: noon,
			Allowed: []string{"lan", "198.51.100.0/25"}, Sources: []appliance.AccountSource{{Address: phone, Agent: "Yealink\x1b[2J SIP-T46S", First: noon, Last: noon}},
			Registrations: []appliance.Registration{{Contact: "sip:101@192.168.1.7", Source: phone, Until: noon.Add(time.Hour)}}},
		{Name: "101@pbx", Kind: appliance.AccountExtension, Registrar: "pbx", First: noon, Last: noon, Failures: 7, Failed: noon},
		{Name: "103", Label: "Nobody yet", Kind: appliance.AccountExtension, Allowed: []string{"203.0.113.64/26"}},
	}
}

func (oneCall) Suspects(limit int) ([]appliance.Suspect, int) {
	all := []appliance.Suspect{
		{Source: netip.MustParsePrefix("198.51.100.66/32"), Seen: noon, State: "banned", Until: time.Now().Add(time.Hour), Why: "24 accounts tried in 60 s, none of them with success",
			Accounts: 24, MaxAccounts: 20, Guesses: 1, MaxGuesses: 60, Window: 60, Bans: 2, Reliable: true},
		{Source: netip.MustParsePrefix("2001:db8:66::/64"), Seen: noon, State: "counted", Accounts: 3, MaxAccounts: 20, Guesses: 9, MaxGuesses: 60, Window: 60, Slowed: []string{"101@pbx"}},
	}
	return all[:min(limit, 2)], 2
}

func (oneCall) Pardon(netip.Prefix) {}

// Trace knows the messages of the blocked call alone.
func (oneCall) Trace(callID string) appliance.Trace {
	if callID != "1@pbx" {
		return appliance.Trace{Messages: []appliance.Message{}, Note: "no messages are kept"}
	}
	pbx, box := netip.MustParseAddrPort("10.0.0.10:5060"), netip.MustParseAddrPort("10.0.0.1:5060")
	const invite = "INVITE sip:0011252615550148@sip.carrier.example SIP/2.0\r\nCall-ID: 1@pbx\r\nSubject: \x1b[2Jx\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	const refusal = "SIP/2.0 403 Forbidden\r\nCall-ID: 1@pbx\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	return appliance.Trace{Messages: []appliance.Message{
		{Time: noon, Transport: "udp", Remote: pbx, Local: box, Side: appliance.SideLAN, Peer: "pbx", Length: len(invite), Text: invite},
		{Time: noon.Add(time.Millisecond), Sent: true, Repeats: 2, Last: noon.Add(time.Second), Transport: "udp", Remote: pbx, Local: box,
			Side: appliance.SideLAN, Peer: "pbx", Length: len(refusal), Text: refusal},
	}}
}

func (oneCall) Export() appliance.Export {
	return appliance.Export{Address: "192.0.2.9:9060", Sent: 12, Dropped: 3, Trouble: "reach collector over tcp: no route"}
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

// noPost is the surroundings of an engine that has nobody to tell.
type noPost struct{}

func (noPost) Add(appliance.Notice) error         { return nil }
func (noPost) Waiting() map[string]int            { return map[string]int{"mail": 2} }
func (noPost) SetSecret(string, string) error     { return nil }
func (noPost) Cut(string, string) error           { return nil }
func (noPost) Exposure() (string, error)          { return "", nil }
func (noPost) Strangers(string) ([]string, error) { return nil, nil }

var begun = time.Now()

// start serves a box and returns what ends it.
func start(dir, socket string, web fetch.Config) (func(), error) {
	disk, err := store.Open(filepath.Join(dir, "state"), store.Retention{Age: 1e6 * time.Hour, Rows: 5000}, time.Now)
	if err != nil {
		return nil, err
	}
	return serve(disk, socket, web)
}

// serve serves a box on a store that is open already, and closes it at the end.
func serve(disk *store.Store, socket string, web fetch.Config) (func(), error) {
	log := slog.New(slog.DiscardHandler)
	queue := control.NewQueue()
	box := control.New(control.Hands{Gate: &unguarded{}, Documents: disk, Lists: disk, Records: disk, Network: surroundings{}, Web: fetch.New(web), Audits: disk}, queue, time.Now, log)
	engine, err := watch.New(watch.Hands{Keeper: disk, Messenger: noPost{}, Cutter: noPost{}, Rules: box.Rules, Site: func() string { return "test" },
		Now:    func() fraud.Moment { return fraud.Moment{Wall: time.Now(), Up: time.Since(begun)} },
		Report: queue.Report, Facts: noPost{}}, log)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	listener, err := control.Listen(socket)
	if err := errors.Join(err, box.Start(), disk.Append(history())); err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	box.Sample(appliance.Drop{Time: noon, Interface: "wan0", Source: netip.MustParseAddrPort("192.0.2.66:5065"), Protocol: "udp",
		Destination: netip.MustParseAddrPort("203.0.113.1:5060"), VLAN: 7, Length: 460, Reason: appliance.ReasonSIPSource, Weight: 64})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- control.NewServer(box, oneCall{}, engine, amber{box}, &signed{}, log).Serve(ctx, listener)
	}()
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
		From: "101", Source: "10.0.0.10:5060", Account: "101@sip.example.net", Attribution: appliance.AttributionDigest, Dialled: "0011252615550148", Number: "+252615550148", Label: "Somalia", Trunk: "carrier",
		Verdict: appliance.Block, Reason: appliance.ReasonHighRisk, Rule: "+252", List: "high-risk", Why: "Somalia", Status: 403,
		Tries: 2, Trail: &appliance.Trail{Serial: 7, Edition: "1a2b3c4d", Generation: "0123456789abcdef", Firmware: "v1.2.3",
			Candidates: []appliance.Weighed{{Number: "+252615550148", Class: "international", Label: "Somalia",
				Via: []string{"international prefix 0011"}, Reason: appliance.ReasonHighRisk, Rule: "+252", List: "high-risk"}}},
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
