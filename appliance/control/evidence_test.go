package control

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// secrets stand in the messages of the tests, and nowhere else.
var secrets = []string{"5ec4e7d16e57", "pa55w0rd", "c4yp70key1nl1ne", "1cepwd99"}

// talkative hands out messages that nobody has redacted.
type talkative struct{ noCalls }

func (talkative) Trace(callID string) appliance.Trace {
	if strings.HasPrefix(callID, "silent") {
		return appliance.Trace{Note: "the messages made room for others"}
	}
	phone, box := netip.MustParseAddrPort("10.0.0.10:5060"), netip.MustParseAddrPort("10.0.0.1:5060")
	body := "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c4yp70key1nl1ne\r\na=ice-pwd:1cepwd99\r\n"
	invite := "INVITE sip:0011252615550148@sip.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bK1\r\nFrom: <sip:201:pa55w0rd@sip.example>;tag=1\r\nTo: <sip:0011252615550148@sip.example>\r\n" +
		"Call-ID: " + callID + "\r\nCSeq: 1 INVITE\r\nProxy-Authorization: Digest username=\"201\", realm=\"sip.example\", nonce=\"n\", response=\"5ec4e7d16e57\"\r\n" +
		"Content-Type: application/sdp\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body
	refusal := "SIP/2.0 403 Forbidden\r\nVia: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bK1\r\nFrom: <sip:201@sip.example>;tag=1\r\nTo: <sip:0011252615550148@sip.example>;tag=2\r\nCall-ID: " + callID + "\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	return appliance.Trace{Messages: []appliance.Message{
		{Time: noon, Transport: "udp", Local: box, Remote: phone, Side: appliance.SideLAN, Peer: "pbx", Length: len(invite), Text: invite},
		{Time: noon.Add(time.Millisecond), Sent: true, Transport: "udp", Local: box, Remote: phone, Side: appliance.SideLAN, Peer: "pbx", Length: len(refusal), Text: refusal},
	}}
}

// attacked is a box on which an extension has tried four high-risk numbers, which is
// a toll-block; the messages of the last one are gone.
func attacked(t *testing.T) *box {
	t.Helper()
	b := newBox(t, t.TempDir())
	for n := range 4 {
		at := noon.Add(time.Duration(n) * time.Second)
		b.clock = at
		id, dialled := fmt.Sprintf("call%d", n), fmt.Sprintf("001125261555014%d", n)
		said := b.Rules().Call(rules.Call{URI: dialled, Direction: appliance.Outbound, Use: rules.UseCall})
		ruling := b.watch.Begin(rules.Attempt{ID: id, Key: id, Account: "201@sip.example", Said: said})
		callID := id + "@pbx"
		if n == 3 {
			callID = "silent@pbx"
		}
		b.queue.Report(appliance.Event{Time: at, Kind: appliance.EventCall, Call: &appliance.Call{ID: id, CallID: callID, Start: at, End: at, Direction: appliance.Outbound,
			From: "201", Source: "10.0.0.10:5060", Account: "201@sip.example", Attribution: appliance.AttributionDigest, Dialled: dialled, Number: said.Number, Verdict: ruling.Verdict, Reason: ruling.Reason,
			Rule: ruling.Rule, Why: ruling.Why, Status: 403, Trail: &appliance.Trail{Generation: b.Rules().Digest(), Firmware: "test", Candidates: []appliance.Weighed{}}}})
	}
	b.queue.Report(appliance.Event{Time: noon, Kind: appliance.EventCall, Call: &appliance.Call{ID: "other", CallID: "silent@x", Start: noon, End: noon, Direction: appliance.Outbound, Account: "202@sip.example"}})
	b.audit("Ann", "block", "extension:201@sip.example", "a look at it")
	if len(b.watch.Blocks()) != 1 {
		t.Fatalf("blocks %v", b.watch.Blocks())
	}
	return b
}

func evidenceOf(t *testing.T, b *box, id string) []byte {
	t.Helper()
	s := NewServer(b.Control, talkative{}, b.watch, green{}, someCertificates{}, slog.New(slog.DiscardHandler))
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest("GET", "/evidence/"+id, nil))
	if answer.Code != 200 || answer.Header().Get("Content-Type") != "application/zip" {
		t.Fatalf("status %d, %s: %s", answer.Code, answer.Header().Get("Content-Type"), answer.Body)
	}
	return answer.Body.Bytes()
}

// unpack reads a bundle, and holds every file against SHA256SUMS and the secrets.
func unpack(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, file := range archive.File {
		from, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[file.Name], err = io.ReadAll(from); err != nil {
			t.Fatal(err)
		}
	}
	sums := string(files["SHA256SUMS"])
	for name, content := range files {
		if line := fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name); name != "SHA256SUMS" && !strings.Contains(sums, line) {
			t.Errorf("%s has no hash, or another one", name)
		}
		for _, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds %s", name, secret)
			}
		}
		if !strings.Contains(string(files["README.txt"]), name+"\n") && name != "README.txt" {
			t.Errorf("the README says nothing of %s", name)
		}
	}
	if lines := strings.Count(sums, "\n"); lines != len(files)-1 {
		t.Errorf("%d hashes of %d files", lines, len(files))
	}
	return files
}

func TestEvidenceOfASubject(t *testing.T) {
	b := attacked(t)
	data := evidenceOf(t, b, "extension:201@sip.example")
	if !bytes.Equal(data, evidenceOf(t, b, "extension:201@sip.example")) {
		t.Error("the same content makes other bytes")
	}
	files := unpack(t, data)
	for name, want := range map[string][]string{
		"box.json":                    {`"about": "extension:201@sip.example"`, `"firmware": "test"`, b.State().Revision(appliance.DocumentPolicy), b.State().Revision(appliance.DocumentSettings), b.Rules().Digest()},
		"calls.json":                  {`"id": "call0"`, `"id": "call3"`, `"trail": {`},
		"blocks.json":                 {`"rule": "high-risk-attempts"`, `"evidence": [`},
		"findings.json":               {`"call": "call0"`, `"level": "critical"`},
		"audit.json":                  {`"actor": "Ann"`, `"hash": "`},
		"calls/call0/call.txt":        {"INVITE 0011252615550148", "403 Forbidden", `response="***"`},
		"calls/call0/messages.pcapng": {"INVITE sip:"},
		"calls/call3/call.txt":        {"the messages made room for others"},
		"README.txt":                  {"Evidence about extension:201@sip.example", "No messages are kept of 1 of 4 calls.", "There is no capture beside it: the messages made room for others."},
	} {
		for _, text := range want {
			if !bytes.Contains(files[name], []byte(text)) {
				t.Errorf("%s: no %s\n%s", name, text, files[name])
			}
		}
	}
	if _, there := files["calls/call3/messages.pcapng"]; there || bytes.Contains(files["calls.json"], []byte("other")) {
		t.Error("there is a capture of nothing, or a call of somebody else")
	}
	var calls []appliance.Call
	if err := json.Unmarshal(files["calls.json"], &calls); err != nil || !slices.IsSortedFunc(calls, func(a, b appliance.Call) int { return a.Start.Compare(b.Start) }) {
		t.Errorf("%v: %v", calls, err)
	}
}

func TestEvidenceOfACall(t *testing.T) {
	b := attacked(t)
	files := unpack(t, evidenceOf(t, b, "call3"))
	readme := string(files["README.txt"])
	if !strings.Contains(readme, "Evidence about call call3") || !strings.Contains(readme, "No messages are kept of any of these calls") {
		t.Errorf("README: %s", readme)
	}
	if !bytes.Contains(files["blocks.json"], []byte(`"subject": "extension:201@sip.example"`)) || !bytes.Contains(files["findings.json"], []byte("call2")) {
		t.Errorf("blocks %s\nfindings %s", files["blocks.json"], files["findings.json"])
	}
	files = unpack(t, evidenceOf(t, b, "other"))
	if string(files["blocks.json"]) != "[]\n" || string(files["findings.json"]) != "[]\n" {
		t.Errorf("of a call of somebody else: blocks %s\nfindings %s", files["blocks.json"], files["findings.json"])
	}
}

// TestEvidenceOpens has tshark read the capture.
func TestEvidenceOpens(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("there is no tshark here: apt-get install tshark")
	}
	files := unpack(t, evidenceOf(t, attacked(t), "call0"))
	path := filepath.Join(t.TempDir(), "call.pcapng")
	if err := os.WriteFile(path, files["calls/call0/messages.pcapng"], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", path, "-Y", "sip", "-T", "fields", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "sip.Call-ID").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("INVITE\t\tcall0@pbx")) || !bytes.Contains(out, []byte("\t403\tcall0@pbx")) {
		t.Errorf("%v\n%s", err, out)
	}
}
