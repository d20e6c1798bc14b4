package trace

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ringfence/ringfence/appliance"
)

var update = flag.Bool("update", false, "write the ladders in testdata anew")

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

var (
	box   = netip.MustParseAddrPort("10.0.0.1:5060")
	outer = netip.MustParseAddrPort("203.0.113.1:5060")
)

// neighbour is somebody that messages cross the box to and from.
type neighbour struct {
	side appliance.Side
	name string
	at   string
}

var (
	pbx     = neighbour{appliance.SideLAN, "pbx", "10.0.0.10:5060"}
	phone   = neighbour{appliance.SideLAN, "", "10.0.0.55:49152"}
	carrier = neighbour{appliance.SideTrunk, "carrier", "192.0.2.5:5060"}
	spare   = neighbour{appliance.SideTrunk, "spare", "198.51.100.7:5061"}
)

// script makes a trace: one message a line, "<pbx INVITE sip:..." received and
// ">pbx 403 Forbidden" sent, with "+250ms" before it for time and "x3" after it for
// repeats. A method after a slash is the CSeq of a response.
func script(lines string) appliance.Trace {
	var t appliance.Trace
	at := noon
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		line = strings.TrimSpace(line)
		if gap, rest, found := strings.Cut(line, " "); found && line[0] == '+' {
			wait, err := time.ParseDuration(gap[1:])
			if err != nil {
				panic(err)
			}
			at, line = at.Add(wait), rest
		}
		t.Messages = append(t.Messages, one(line, at))
	}
	return t
}

func one(line string, at time.Time) appliance.Message {
	name, what, _ := strings.Cut(line[1:], " ")
	who := map[string]neighbour{"pbx": pbx, "phone": phone, "carrier": carrier, "spare": spare}[name]
	m := appliance.Message{Time: at, Sent: line[0] == '>', Transport: "udp", Local: box, Remote: netip.MustParseAddrPort(who.at), Side: who.side, Peer: who.name}
	if who.side == appliance.SideTrunk {
		m.Local = outer
	}
	if who == spare {
		m.Transport = "tls"
	}
	if i := strings.LastIndex(what, " x"); i >= 0 {
		if _, err := fmt.Sscan(what[i+2:], &m.Repeats); err == nil {
			what = what[:i]
			m.Repeats--
			m.Last = at.Add(time.Second)
		}
	}
	body := ""
	if rest, found := strings.CutSuffix(what, " SDP"); found {
		what, body = rest, "v=0\r\nm=audio 4000 RTP/AVP 0\r\n"
	}
	start, about, _ := strings.Cut(what, " / ")
	method, target, _ := strings.Cut(start, " ")
	if about == "" {
		about = "INVITE"
	}
	extra := ""
	switch {
	case method[0] <= '9':
		start = "SIP/2.0 " + start
	case method == "REFER":
		start, extra, about = "REFER sip:line@192.0.2.5 SIP/2.0", "Refer-To: <"+target+">\r\n", "REFER"
	default:
		start, about = start+" SIP/2.0", method
	}
	m.Text = fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK1\r\nFrom: <sip:201@x>;tag=a\r\nTo: <sip:202@x>\r\nCall-ID: a@b\r\nCSeq: 1 %s\r\n%sContent-Length: %d\r\n\r\n%s",
		start, m.Remote, about, extra, len(body), body)
	m.Length = len(m.Text)
	return m
}

var blocked = appliance.Call{
	ID: "abcd2345", CallID: "a@b", Direction: appliance.Outbound, Use: "call", Start: noon, End: noon, From: "201", Source: pbx.at,
	Dialled: "0011252615550148", Number: "+252615550148", Label: "Somalia", Trunk: "carrier", Verdict: appliance.Block,
	Reason: appliance.ReasonHighRisk, Rule: "+252", List: "high-risk", Why: "Somalia", Status: 403, Tries: 2,
	Trail: &appliance.Trail{Serial: 7, Edition: "1a2b3c4d", Generation: "0123456789abcdef", Firmware: "v1.2.3", Candidates: []appliance.Weighed{
		{Number: "+252615550148", Class: "international", Via: []string{"international prefix 0011"}, Label: "Somalia",
			Reason: appliance.ReasonHighRisk, Rule: "+252", List: "high-risk", Why: "Somalia"},
	}},
}

var allowed = appliance.Call{ID: "abzz2345", Verdict: appliance.Allow, Reason: appliance.ReasonDestinationAllowed, Status: 200}

var scenes = map[string]struct {
	call  appliance.Call
	style Style
	trace appliance.Trace
}{
	"refused": {call: blocked, trace: script(`
		<pbx INVITE sip:0011252615550148@sip.itsp.example SDP x2
		+1ms >pbx 100 Trying
		>pbx 403 Forbidden x3
		+4s <pbx ACK sip:0011252615550148@sip.itsp.example`)},
	"refused, ASCII": {call: blocked, style: Style{ASCII: true}, trace: script(`
		<pbx INVITE sip:0011252615550148@sip.itsp.example SDP
		>pbx 403 Forbidden`)},
	"answered with PRACK": {call: allowed, trace: script(`
		<pbx INVITE sip:0491570156@sip.itsp.example SDP
		>pbx 100 Trying
		+1ms >carrier INVITE sip:0491570156@sip.itsp.example SDP x2
		+620ms <carrier 183 Session Progress SDP
		>pbx 183 Session Progress SDP
		+12ms <pbx PRACK sip:line@192.0.2.5
		>carrier PRACK sip:line@192.0.2.5
		+18ms <carrier 200 OK / PRACK
		>pbx 200 OK / PRACK
		+6s <carrier 200 OK
		>pbx 200 OK
		+9ms <pbx ACK sip:line@192.0.2.5
		>carrier ACK sip:line@192.0.2.5
		+2m5s <carrier BYE sip:201@10.0.0.10
		>pbx BYE sip:201@10.0.0.10
		+3ms <pbx 200 OK / BYE
		>carrier 200 OK / BYE`)},
	"transfer refused": {
		call: func() appliance.Call { c := blocked; c.Use = "transfer"; return c }(),
		trace: script(`
		<phone INVITE sip:0491570156@sip.itsp.example SDP
		>carrier INVITE sip:0491570156@sip.itsp.example SDP
		+3s <carrier 200 OK SDP
		>phone 200 OK SDP
		+10s <phone REFER sip:+252615550148@sip.itsp.example
		>phone 403 Forbidden / REFER`)},
	"cancelled": {call: allowed, trace: script(`
		<pbx INVITE sip:0491570156@sip.itsp.example SDP
		>carrier INVITE sip:0491570156@sip.itsp.example SDP
		+1s <carrier 180 Ringing
		>pbx 180 Ringing
		+4s <pbx CANCEL sip:0491570156@sip.itsp.example
		>pbx 200 OK / CANCEL
		>carrier CANCEL sip:0491570156@sip.itsp.example
		+20ms <carrier 200 OK / CANCEL
		<carrier 487 Request Terminated
		>carrier ACK sip:0491570156@sip.itsp.example
		>pbx 487 Request Terminated`)},
	"failover": {call: allowed, trace: script(`
		<pbx INVITE sip:0491570156@sip.itsp.example SDP
		>pbx 100 Trying
		>carrier INVITE sip:0491570156@sip.itsp.example SDP x4
		+4s >spare INVITE sip:0491570156@sip.itsp.example SDP
		+90ms <spare 180 Ringing
		>pbx 180 Ringing
		+5s <spare 200 OK SDP
		>pbx 200 OK SDP`)},
	"trunk dead": {call: allowed, trace: script(`
		<pbx INVITE sip:0491570156@sip.itsp.example SDP
		>carrier INVITE sip:0491570156@sip.itsp.example SDP x7
		+32s >pbx 408 Request Timeout`)},
	"long call, wide": {
		call: allowed, style: Style{Width: 120},
		trace: appliance.Trace{Omitted: 40, Messages: script(strings.Repeat(`
		<pbx INVITE sip:0491570156@sip.itsp.example SDP
		>carrier INVITE sip:0491570156@sip.itsp.example SDP
		+2h <carrier 200 OK SDP
		>pbx 200 OK SDP`, 3)).Messages}},
	"hostile text": {call: allowed, trace: script("<pbx INVITE sip:\x1b[2J\u202e0491@x SDP\n>pbx 400 \x1b]0;x\x07Bad")},
}

// TestLadders compares ladders with the files in testdata, which a person has looked
// at.
func TestLadders(t *testing.T) {
	for name, scene := range scenes {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			for _, line := range Ladder(scene.call, scene.trace, scene.style) {
				text.WriteString(line.Text + "\n")
				if width := max(Narrowest, scene.style.Width); utf8.RuneCountInString(line.Text) > width {
					t.Errorf("%d columns: %s", utf8.RuneCountInString(line.Text), line.Text)
				}
			}
			path := filepath.Join("testdata", strings.NewReplacer(" ", "-", ",", "").Replace(name)+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if text.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", text.String(), want)
			}
			if strings.ContainsAny(text.String(), "\x1b\x07\u202e") {
				t.Error("control characters are drawn")
			}
		})
	}
}

func TestRefusalIsMarked(t *testing.T) {
	scene := scenes["refused"]
	marked := 0
	for _, line := range Ladder(scene.call, scene.trace, scene.style) {
		if line.Weight == Refusal {
			marked++
			if !strings.Contains(line.Text, "403 Forbidden x3") && !strings.Contains(line.Text, "✗ refused: a high-risk destination (+252 in high-risk)") {
				t.Errorf("marked: %s", line.Text)
			}
		}
	}
	if marked != 2 {
		t.Errorf("%d lines are marked as the refusal", marked)
	}
	if lines := Ladder(blocked, appliance.Trace{}, Style{}); lines != nil {
		t.Errorf("a ladder of nothing: %v", lines)
	}
}

func TestText(t *testing.T) {
	scene := scenes["refused"]
	text := Text(scene.call, scene.trace, Style{ASCII: true})
	for _, want := range []string{
		"Call abcd2345: block, a high-risk destination\n", "number      +252615550148\n", "serial 7\n", "1a2b3c4d\n", "v1.2.3\n", "tries       2\n",
		"read as international prefix 0011\n", "--- INVITE", "X refused: a high-risk destination",
		"#1  12:00:00.000000  udp 10.0.0.10:5060 > 10.0.0.1:5060  ", "bytes, 2 times\n", "  SIP/2.0 403 Forbidden\n", "2026-07-01 12:00:00.000 UTC",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if none := Text(scene.call, appliance.Trace{Note: "nothing is kept"}, Style{}); !strings.Contains(none, "nothing is kept") {
		t.Errorf("no note in\n%s", none)
	}
}

func TestRedact(t *testing.T) {
	for _, tc := range []struct{ name, wire, want string }{
		{"digest", `Authorization: Digest username="u,x", realm="r", nonce="n", uri="sip:r", response="0a", cnonce="c", nc=00000001, qop=auth, opaque="o"`,
			`Authorization: Digest username="u,x", realm="r", nonce="***", uri="sip:r", response="***", cnonce="***", nc=00000001, qop=auth, opaque="o"`},
		{"any case and space", "pRoxy-authorization  :digest  Response=abc ,username=\"u\"", `pRoxy-authorization  : digest Response="***", username="u"`},
		{"folded", "Authorization: Digest username=\"u\",\r\n response=\"0a\"", "Authorization: Digest username=\"u\", response=\"***\""},
		{"other schemes", "Authorization: Bearer abc.def", "Authorization: Bearer ***"},
		{"basic", "Proxy-Authorization: Basic dTpw", "Proxy-Authorization: Basic ***"},
		{"the server's proof", `Authentication-Info: rspauth="ab", cnonce="c", nextnonce="n", qop=auth`,
			`Authentication-Info: rspauth="***", cnonce="***", nextnonce="***", qop=auth`},
		{"a challenge", `WWW-Authenticate: Digest realm="r", nonce="n"`, `WWW-Authenticate: Digest realm="r", nonce="n"`},
		{"password in a URI", `From: "x" <sip:u:pa$$@h:5060>;tag=1, <SIPS:v:w@h>`, `From: "x" <sip:u:***@h:5060>;tag=1, <SIPS:v:***@h>`},
		{"no password", `Contact: <sip:u@h:5060;transport=tcp>, <sip:h:5061>`, `Contact: <sip:u@h:5060;transport=tcp>, <sip:h:5061>`},
		{"credentials in a URI", `Refer-To: <sip:u@h?Authorization=Digest%20response%3dab&Subject=x>`, `Refer-To: <sip:u@h?Authorization=***&Subject=x>`},
		{"letters whose lower case is longer", "Subject: İİİ sip:u:pw@h", "Subject: İİİ sip:u:***@h"},
		{"key", "x: y\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^20|1:4\r\n", "x: y\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:************\r\n"},
		{"odd key", "x: y\r\n\r\nA=Crypto:1 secret\n", "x: y\r\n\r\nA=Crypto:* ******\n"},
		{"ice and old keys", "x: y\r\n\r\na=ice-ufrag:u\r\na=ice-pwd:pw\r\nk=clear:k\r\na=key-mgmt:mikey AAA", "x: y\r\n\r\na=ice-ufrag:u\r\na=ice-pwd:**\r\nk=*******\r\na=key-mgmt:***** ***"},
		{"a message in the message", "c: message/sip\r\n\r\nREGISTER x\r\nProxy-Authorization : Digest a\r\nauthorization:b\r\nAuthor: c", "c: message/sip\r\n\r\nREGISTER x\r\nProxy-Authorization * ****** *\r\nauthorization**\r\nAuthor: c"},
		{"typed digits", "c: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=160\r\n", "c: application/dtmf-relay\r\n\r\nSignal=*\r\nDuration=160\r\n"},
		{"typed digit alone", "Content-Type: Application/DTMF\r\n\r\n7", "Content-Type: Application/DTMF\r\n\r\n*"},
		{"cut inside a header", `Authorization: Digest username="u", response="0a`, `Authorization: Digest username="u", response="***"`},
		{"empty", "", ""},
		{"request line", "INVITE sip:u:pw@h SIP/2.0\r\nVia: x", "INVITE sip:u:***@h SIP/2.0\r\nVia: x"},
	} {
		got := string(Redact([]byte(tc.wire)))
		if got != tc.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tc.name, got, tc.want)
		}
		if again := string(Redact([]byte(got))); again != got {
			t.Errorf("%s: redacted again: %q", tc.name, again)
		}
	}
}

// FuzzRedact: whatever stands around it, a response and a key don't get out, and a
// body keeps its length.
func FuzzRedact(f *testing.F) {
	f.Add("From: x", "v=0")
	f.Add("Subject: sip:a:b@c\r\n d", "a=crypto:1 x inline:y")
	f.Fuzz(func(t *testing.T, head, body string) {
		if strings.Contains(head, "\r\n\r\n") {
			return
		}
		wire := head + "\r\nAuthorization: Digest response=\"SeCrEt\"\r\nCSeq: 1 X\r\n\r\n" + body + "\na=crypto:1 AES inline:SeCrEt\r\n"
		if strings.Contains(head+body, "SeCrEt") {
			return
		}
		got := Redact([]byte(wire))
		if bytes.Contains(got, []byte("SeCrEt")) {
			t.Errorf("got %q", got)
		}
		_, before, _ := strings.Cut(wire, "\r\n\r\n")
		_, after, _ := strings.Cut(string(got), "\r\n\r\n")
		if len(before) != len(after) {
			t.Errorf("a body of %d bytes has %d", len(before), len(after))
		}
	})
}

// captured is what tshark reads out of a capture.
func captured(t *testing.T, messages []appliance.Message, args ...string) string {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("SKIPPED, WIRESHARK DOES NOT OPEN OUR CAPTURES: there is no tshark (scripts/bootstrap test)")
	}
	var file bytes.Buffer
	if err := Capture(&file, messages); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "call.pcapng")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, append([]string{"-r", path, "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"}, args...)...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestCapture(t *testing.T) {
	messages := scenes["answered with PRACK"].trace.Messages
	six := messages[0]
	six.Local, six.Remote = netip.MustParseAddrPort("[2001:db8::1]:5060"), netip.MustParseAddrPort("[fe80::5%eth0]:5060")
	six.Text += "odd"
	messages = append(messages, six)
	for n, text := range []string{"INVITE sip:1@x SIP/2.0\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", "BYE sip:1@x SIP/2.0\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"} {
		messages = append(messages, appliance.Message{Time: noon.Add(time.Duration(n) * time.Minute), Transport: "tcp", Local: box, Remote: netip.MustParseAddrPort(phone.at), Text: text, Length: len(text)})
	}
	out := captured(t, messages, "-T", "fields", "-e", "frame.time_epoch", "-e", "ip.src", "-e", "ipv6.src", "-e", "ip.dst", "-e", "udp.srcport", "-e", "tcp.srcport", "-e", "sip.Method", "-e", "sip.Status-Code")
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if want := len(messages) + 1; len(lines) != want { // one was repeated
		t.Fatalf("%d frames, want %d:\n%s", len(lines), want, out)
	}
	for n, want := range map[int]string{
		0:              "1782907200.000000000\t10.0.0.10\t\t10.0.0.1\t5060\t\tINVITE\t",
		1:              "1782907200.000000000\t10.0.0.1\t\t10.0.0.10\t5060\t\t\t100",
		2:              "1782907200.001000000\t203.0.113.1\t\t192.0.2.5\t5060\t\tINVITE\t",
		3:              "1782907201.001000000\t203.0.113.1\t\t192.0.2.5\t5060\t\tINVITE\t",
		len(lines) - 3: "1782907200.000000000\t\tfe80::5\t\t5060\t\tINVITE\t",
		len(lines) - 2: "1782907200.000000000\t10.0.0.55\t\t10.0.0.1\t\t49152\tINVITE\t",
		len(lines) - 1: "1782907260.000000000\t10.0.0.55\t\t10.0.0.1\t\t49152\tBYE\t",
	} {
		if lines[n] != want {
			t.Errorf("frame %d: %q, want %q", n, lines[n], want)
		}
	}
	if bad := captured(t, messages, "-Y", "_ws.malformed or udp.checksum.status==0 or tcp.checksum.status==0 or ip.checksum.status==0 or tcp.analysis.flags"); bad != "" {
		t.Errorf("tshark finds fault with\n%s", bad)
	}
}

// TestCaptureSaysWhatItIsNot: comments tell of TLS and of what was cut.
func TestCaptureSaysWhatItIsNot(t *testing.T) {
	m := scenes["failover"].trace.Messages[3]
	m.Length += 100
	out := captured(t, []appliance.Message{m}, "-V")
	for _, want := range []string{"crossed the wire over tls", "bytes on the wire", "198.51.100.7"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}
