package peers

import (
	"os"
	"path/filepath"
	"testing"
)

// log is what sipp 3.6 and 3.7 write with -trace_msg.
const log = `----------------------------------------------- 2026-11-22 08:23:25.841205
UDP message sent (300 bytes):

INVITE sip:+252-61-555-0148@198.51.100.10 SIP/2.0
Via: SIP/2.0/UDP 10.77.0.10:5070;branch=z9hG4bK-1
Call-ID: 1-16534@10.77.0.10
CSeq: 1 INVITE
Content-Length: 0


----------------------------------------------- 2026-11-22 08:23:25.841709
UDP message received [300] bytes :

SIP/2.0 180 Ringing
Call-ID: 1-16534@10.77.0.10
CSeq: 1 INVITE

----------------------------------------------- 2026-11-22 08:23:25.842948
TCP message received [454] bytes :

SIP/2.0 200 OK
Call-ID: 1-16534@10.77.0.10
CSeq: 1 INVITE
Content-Length:   3

v=0
----------------------------------------------- 2026-11-22 08:23:26.842948
UDP message received [454] bytes :

SIP/2.0 200 OK
Call-ID: 1-16534@10.77.0.10
CSeq: 2 BYE

`

func TestReadMessages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	messages, err := ReadMessages(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) != 4 {
		t.Fatalf("read %d messages, want 4", len(messages))
	}
	invite := messages[0]
	if !invite.Sent || invite.Method() != "INVITE" || invite.Status() != 0 || invite.CallID() != "1-16534@10.77.0.10" {
		t.Errorf("read the INVITE as %+v", invite)
	}
	if !invite.Mentions("252615550148") || invite.Mentions("252615550149") {
		t.Error("the number is not found through its separators, or any number is")
	}
	if final, ok := Final(messages, "INVITE"); !ok || final.Status() != 200 {
		t.Errorf("final answer %d, %t, want 200", final.Status(), ok)
	}
	if got := Completed(messages); got != 1 {
		t.Errorf("completed %d calls, want 1", got)
	}
	if got := Completed(messages[:3]); got != 0 {
		t.Errorf("completed %d calls without a BYE, want 0", got)
	}
	if got := Requests(messages, "INVITE"); got != 0 {
		t.Errorf("received %d INVITEs, want none: it was sent", got)
	}
}

func TestMentionsDecodes(t *testing.T) {
	m := Message{Text: "INVITE sip:%2B252615550148@198.51.100.10 SIP/2.0"}
	if !m.Mentions("+252615550148") {
		t.Error("a percent-encoded plus hides the number")
	}
}
