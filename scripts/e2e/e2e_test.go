// Package e2e holds end-to-end tests of the whole box: the real daemon in the
// namespace lab, with sipp on either side and an attacker on the internet. What
// they assert is what a peer saw or what the box says over its command line.
package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/scripts/peers"
)

// bin is where TestMain has built the commands.
var bin = filepath.Join(os.TempDir(), fmt.Sprintf("ringfence-e2e-%d", os.Getpid()))

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "SKIPPED: every end-to-end test. They build network namespaces and load eBPF: run them as root.")
		os.Exit(0)
	}
	os.Exit(built(m))
}

func built(m *testing.M) int {
	defer os.RemoveAll(bin)
	build := exec.Command("go", "build", "-race", "-o", bin+"/", "../../cmd/...")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the commands: %v\n%s", err, out)
		return 1
	}
	// Whatever is built with the race detector sleeps for a second before it ends,
	// which the command line of the box does hundreds of times here.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=20"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// raise gives a test a lab of its own, with the daemon running where start is
// set. A failed test shows the daemon's log.
func raise(t *testing.T, start bool) *peers.Lab {
	t.Helper()
	name := strings.ToLower(fmt.Sprintf("e2e-%d-%s", os.Getpid(), strings.ReplaceAll(strings.TrimPrefix(t.Name(), "Test"), "/", "-")))
	lab, err := peers.Open(name[:min(len(name), 32)], bin, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	script(t, lab, "up")
	t.Cleanup(func() {
		if log, err := os.ReadFile(lab.DaemonLog()); err == nil && t.Failed() {
			t.Logf("the daemon's log:\n%s", log)
		}
		if _, err := lab.Script(context.Background(), "down"); err != nil {
			t.Error(err)
		}
	})
	if start {
		script(t, lab, "daemon", "start")
	}
	return lab
}

func script(t *testing.T, lab *peers.Lab, args ...string) {
	t.Helper()
	if _, err := lab.Script(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

func read[T any](t *testing.T, lab *peers.Lab, args ...string) T {
	t.Helper()
	var answer T
	if err := lab.Read(t.Context(), &answer, args...); err != nil {
		t.Fatal(err)
	}
	return answer
}

func serve(t *testing.T, lab *peers.Lab, host, scenario, local string) *peers.Server {
	t.Helper()
	server, err := lab.Serve(t.Context(), peers.Script{Name: scenario, Host: host, Scenario: scenario, Local: local})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// dial places one call from the PBX by way of the box and returns the final
// answer and whether it was a whole call.
func dial(t *testing.T, lab *peers.Lab, name, uri string) (status int, completed bool) {
	t.Helper()
	outcome, err := lab.Call(t.Context(), peers.Script{
		Name: name, Host: "pbx", Scenario: "disguise",
		Local: peers.PBX + ":5070", Remote: peers.BoxLAN + ":5060",
		Options: []string{"-m", "1", "-key", "uri", uri, "-key", "to", "<" + uri + ">"},
	})
	if err != nil {
		t.Fatal(err)
	}
	final, ok := peers.Final(outcome.Messages, "INVITE")
	if !ok {
		t.Fatalf("%s: no final answer", uri)
	}
	return final.Status(), peers.Completed(outcome.Messages) == 1
}

const (
	good = "sip:+61255500101@" + peers.Provider
	bad  = "sip:0011252615550148@" + peers.Provider
)

// received counts the calls that the provider was sent.
func received(t *testing.T, provider *peers.Server) int {
	t.Helper()
	messages, err := provider.Messages()
	if err != nil {
		t.Fatal(err)
	}
	return peers.Requests(messages, "INVITE")
}

func TestCalls(t *testing.T) {
	lab := raise(t, true)
	provider := serve(t, lab, "provider", "provider", peers.Provider+":5060")

	for i, uri := range []string{good, "sip:000@" + peers.Provider, "sip:112@" + peers.Provider} {
		if status, completed := dial(t, lab, fmt.Sprint("pass", i), uri); status != 200 || !completed {
			t.Errorf("%s: answered %d, completed %t, want a whole call", uri, status, completed)
		}
	}
	if got := received(t, provider); got != 3 {
		t.Errorf("the provider received %d calls, want 3", got)
	}
	for i, uri := range []string{bad, "tel:+252-61-555-0148", "sip:%2B252615550148@" + peers.Provider} {
		if status, _ := dial(t, lab, fmt.Sprint("refuse", i), uri); status != 403 {
			t.Errorf("%s: answered %d, want 403", uri, status)
		}
	}
	if got := received(t, provider); got != 3 {
		t.Errorf("the provider received %d calls, want still 3", got)
	}

	verdicts := map[appliance.Verdict]int{}
	for _, call := range recorded(t, lab, 6) {
		verdicts[call.Verdict]++
		if call.Verdict == appliance.Block && (call.Rule != "+252" || call.Reason != appliance.ReasonHighRisk) {
			t.Errorf("call to %s: rule %q, reason %s, want +252 as high risk", call.Dialled, call.Rule, call.Reason)
		}
	}
	if verdicts[appliance.Allow] != 3 || verdicts[appliance.Block] != 3 {
		t.Errorf("recorded %v, want 3 allowed and 3 blocked", verdicts)
	}
}

// recorded waits for n call records: they are written off the packets' path, a
// moment after the peers have their answer. The bound is for a failure only.
func recorded(t *testing.T, lab *peers.Lab, n int) []appliance.Call {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		calls := read[api.Calls](t, lab, "calls").Calls
		if len(calls) >= n || time.Now().After(deadline) {
			return calls
		}
	}
}

// TestKill9 floods the box before, while and after the daemon is dead. Not one
// packet may pass, and the counters must hold every one.
func TestKill9(t *testing.T) {
	lab := raise(t, true)
	before := read[api.Status](t, lab, "status")
	sent := 0
	for _, daemon := range []string{"kill9", "", "start"} {
		sent += flood(t, lab, daemon)
	}
	after, drops := read[api.Status](t, lab, "status"), read[api.Drops](t, lab, "drops")
	if got := drops.Tallies[appliance.ReasonSIPSource].Packets; got != uint64(sent) {
		t.Errorf("counted %d drops, want the %d sent", got, sent)
	}
	if before.Generation == "" || before.Generation != after.Generation {
		t.Errorf("generation %q became %q", before.Generation, after.Generation)
	}
	witness, err := lab.Witness(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if witness.BehindGate != 0 {
		t.Errorf("%d packets got past the gate", witness.BehindGate)
	}
}

// flood sends INVITEs from the attacker, with a word for scripts/lab daemon said
// in the midst of them.
func flood(t *testing.T, lab *peers.Lab, daemon string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wait sync.WaitGroup
	var sent int
	var floodErr, daemonErr error
	half := make(chan struct{})
	wait.Go(func() {
		defer close(half)
		sent, floodErr = lab.Flood(ctx, peers.BoxWAN+":5060", 300, time.Millisecond)
	})
	if daemon != "" {
		_, daemonErr = lab.Script(ctx, "daemon", daemon)
	}
	<-half
	wait.Wait()
	if err := errors.Join(floodErr, daemonErr); err != nil {
		t.Fatal(err)
	}
	return sent
}

// TestFullDisk fills the state partition: protection goes on and status says so.
func TestFullDisk(t *testing.T) {
	lab := raise(t, false)
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "full", lab.State()).CombinedOutput()
	if err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	script(t, lab, "daemon", "start")
	provider := serve(t, lab, "provider", "provider", peers.Provider+":5060")
	fill(t, filepath.Join(lab.State(), "filler"))

	if status, completed := dial(t, lab, "pass", good); status != 200 || !completed {
		t.Errorf("an allowed call: answered %d, completed %t", status, completed)
	}
	for i := range 20 { // records enough that some must have met the full disk
		if status, _ := dial(t, lab, fmt.Sprint("refuse", i), bad); status != 403 {
			t.Errorf("a high-risk call: answered %d, want 403", status)
		}
	}
	if got := received(t, provider); got != 1 {
		t.Errorf("the provider received %d calls, want 1", got)
	}
	if flood(t, lab, "") == 0 {
		t.Fatal("the attacker sent nothing")
	}
	if witness, err := lab.Witness(t.Context()); err != nil || witness.BehindGate != 0 {
		t.Errorf("%d packets got past the gate (%v)", witness.BehindGate, err)
	}
	status := statusAnyway(t, lab)
	if status.Level != appliance.Red {
		t.Errorf("status is %s, want red: %+v", status.Level, status.Checks)
	}
}

// statusAnyway reads the status of a box that is not well: the command says so in
// its exit status too.
func statusAnyway(t *testing.T, lab *peers.Lab) api.Status {
	t.Helper()
	out, err := lab.CLI(t.Context(), "status", "--json")
	var status api.Status
	if bad := json.Unmarshal(out, &status); bad != nil {
		t.Fatalf("status: %v, %v", bad, err)
	}
	return status
}

// fill writes until the disk takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 4096); ; {
		if _, err := file.Write(block); err != nil {
			return
		}
	}
}

// TestMalformedDocuments offers documents that are wrong, each in one place. Each
// is turned down with that place named, and nothing changes.
func TestMalformedDocuments(t *testing.T) {
	lab := raise(t, true)
	before, err := lab.CLI(t.Context(), "settings", "get")
	if err != nil {
		t.Fatal(err)
	}
	generation := read[api.Status](t, lab, "status").Generation
	for _, one := range []struct{ document, field string }{
		{strings.Replace(string(before), `"AU"`, `"ZZ"`, 1), "site.country"},
		{strings.Replace(string(before), `"refusal": 403`, `"refusal": 404`, 1), "sip.refusal"},
		{strings.Replace(string(before), `"10.77.0.10:5060"`, `"10.77.0.10"`, 1), "sip.pbx.address"},
		{strings.Replace(string(before), `"schema": 1`, `"schema": 1, "colour": "red"`, 1), "colour"},
		{string(before)[:len(before)/2], ""},
	} {
		if one.document == string(before) {
			t.Fatalf("%s: the document holds no such place", one.field)
		}
		path := filepath.Join(t.TempDir(), "settings.json")
		if err := os.WriteFile(path, []byte(one.document), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := lab.CLI(t.Context(), "settings", "set", "--file", path)
		if err == nil || !strings.Contains(err.Error(), one.field) {
			t.Errorf("%s: got %v, want an error that names it", one.field, err)
		}
	}
	after, err := lab.CLI(t.Context(), "settings", "get")
	if err != nil || string(after) != string(before) {
		t.Errorf("the settings changed (%v):\n%s", err, after)
	}
	if got := read[api.Status](t, lab, "status").Generation; got != generation {
		t.Errorf("generation %s became %s", generation, got)
	}
}
