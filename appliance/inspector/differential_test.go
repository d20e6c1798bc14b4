package inspector

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// facts are what two readers of one message must agree on: who is called, and
// whose dialog it is.
type facts struct{ user, tag, callID string }

func factsOf(m *message.Message) facts {
	uri, _ := message.ParseURI(m.URI)
	to, _ := m.To()
	return facts{uri.User, to.Tag(), m.CallID()}
}

// checkHead asserts that nothing in a head ends a line but CRLF, for any reader.
func checkHead(t *testing.T, wire []byte) {
	t.Helper()
	head, _, _ := bytes.Cut(wire, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if bytes.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("a line of what is emitted holds a CR, LF or NUL: %q", line)
		}
	}
}

// checkStable asserts that what is emitted reads as what was read, and is emitted
// in the same bytes again.
func checkStable(t *testing.T, m *message.Message, wire []byte) {
	t.Helper()
	again, err := message.Parse(wire)
	if err != nil {
		t.Fatalf("what is emitted can't be read: %v\n%q", err, wire)
	}
	if second := again.Append(nil); !bytes.Equal(wire, second) {
		t.Fatalf("emitted twice it differs:\n%q\n%q", wire, second)
	}
	if m.Request() && factsOf(m) != factsOf(again) {
		t.Fatalf("%+v became %+v", factsOf(m), factsOf(again))
	}
}

// checkSipgo asserts that sipgo, where it can read what is emitted, reads the same
// facts. What it can't read it does not misread.
func checkSipgo(t *testing.T, m *message.Message, wire []byte) bool {
	t.Helper()
	other, err := sip.NewParser(sip.WithHeadersParsers(sip.DefaultHeadersParser())).ParseSIP(wire)
	if err != nil {
		return false
	}
	request, ok := other.(*sip.Request)
	if ok != m.Request() {
		t.Fatalf("a request for one reader only: %q", wire)
	}
	if !ok || request.To() == nil || request.CallID() == nil {
		return false
	}
	tag, _ := request.To().Params.Get("tag")
	want, got := factsOf(m), facts{request.Recipient.User, tag, request.CallID().Value()}
	if uri, _ := message.ParseURI(m.URI); uri.Scheme != "sip" && uri.Scheme != "sips" {
		got.user = want.user // sipgo reads no user in a tel URI
	}
	if got != want {
		t.Fatalf("sipgo reads %+v, we read %+v, in %q", got, want, wire)
	}
	return true
}

// FuzzDifferential reads arbitrary datagrams, and what is made of them with a
// second parser.
func FuzzDifferential(f *testing.F) {
	for _, name := range []string{"rfc4475", "rfc5118"} {
		for _, text := range tortureTexts(f, name) {
			f.Add([]byte(text))
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		f.Add([]byte(generated(random)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := message.Parse(inUTF8(data))
		if err != nil {
			return
		}
		wire := m.Append(nil)
		checkHead(t, wire)
		checkStable(t, m, wire)
		checkSipgo(t, m, wire)
	})
}

// pick returns one of its arguments.
func pick(random *rand.Rand, all ...string) string { return all[random.IntN(len(all))] }

// generated writes a request that tries the edges of the grammar.
func generated(random *rand.Rand) string {
	user := pick(random, "+61491570156", "0011252615550148", "%2B252", "201", "a%20b", "x;par=1", "x;phone-context=+252", "1-2.3(4)", "*21*1%23", "alice", "a&b=c+d$e,f", "%40", "x;y=%40z", "#31#1")
	host := pick(random, "sip.itsp.example", "192.0.2.1", "[2001:db8::1]", "EXAMPLE.com", "a-b.example:5080", "[2001:DB8:0:0::2]:5062")
	params := pick(random, "", ";user=phone", ";lr", ";transport=TCP", ";x", ";x=%41;y", ";method=INVITE", "?a=b&c=%20", ";maddr=192.0.2.9?X=y")
	uri := pick(random, "sip:"+user+"@"+host+params, "SIP:"+host+params, "tel:+61-491.570(156)", "tel:1234;phone-context=+252", "sips:"+user+"@"+host)
	display := pick(random, "", `"a;tag=1" `, `"a \"q\" \\ <x>" `, "Two  Words ", `"" `, "\"Grüße\" ", `"a, b" `, "a.b ")
	tag := pick(random, "", ";tag=abc", " ; Tag = x.y", ";x=\"a;tag=z\";tag=q", ";tag=a%41", ";x;tag=1")
	space := pick(random, ": ", ":", " : ", ":\t", ":\r\n ")
	return "INVITE " + uri + " SIP/2.0\r\n" +
		pick(random, "Via", "v", "VIA") + space + "SIP/2.0/UDP " + pick(random, "192.0.2.2", "[2001:db8::9]:5060", "a.example") + ";branch=z9hG4bK" + pick(random, "a", "b.c", "d%1") + pick(random, "", ";rport", " ;x = y") + "\r\n" +
		pick(random, "From", "f") + space + display + "<sip:" + user + "@" + host + ">;tag=f\r\n" +
		pick(random, "To", "t", "tO") + space + display + "<" + uri + ">" + tag + "\r\n" +
		pick(random, "Call-ID", "i") + space + pick(random, "a@b", "x", `a(b)<c>:\"/[]?{}@d`, "1=") + "\r\n" +
		"CSeq" + space + pick(random, "1", "007", "2147483647") + " INVITE\r\n" +
		pick(random, "Contact", "m") + space + "<sip:" + user + "@" + host + ">\r\n" +
		pick(random, "", "Subject: a\r\n b\r\n", "X-To: <sip:1@a>;tag=evil\r\n", "Route: <sip:a;lr>, <sip:b>\r\n", "k: a ,b,\r\n") +
		pick(random, "", "Content-Length: 0\r\n", "l : 000\r\n") + "\r\n"
}

// accepted are generated requests that our parser takes, as they are emitted.
func accepted(t *testing.T, count int) (messages []*message.Message, wires [][]byte) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	for tries := 0; len(messages) < count; tries++ {
		if tries > 20*count {
			t.Fatalf("only %d of %d generated requests are accepted", len(messages), tries)
		}
		m, err := message.Parse([]byte(generated(random)))
		if err != nil {
			continue
		}
		messages, wires = append(messages, m), append(wires, m.Append(nil))
	}
	return messages, wires
}

// TestDifferentialSipgo compares with sipgo's parser.
func TestDifferentialSipgo(t *testing.T) {
	const count = 2000
	messages, wires := accepted(t, count)
	read := 0
	for n, m := range messages {
		checkHead(t, wires[n])
		checkStable(t, m, wires[n])
		if checkSipgo(t, m, wires[n]) {
			read++
		}
	}
	if read < count/2 {
		t.Errorf("sipgo reads %d of %d", read, count)
	}
	t.Logf("%d of %d emitted requests read by sipgo, all alike", read, count)
}

// TestDifferentialKamailio sends emitted requests to a kamailio that checks their
// sanity and says what it read.
func TestDifferentialKamailio(t *testing.T) {
	kamailio, err := exec.LookPath("kamailio")
	if err != nil {
		t.Skip("kamailio is not installed: apt-get install kamailio")
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(256)), 1}), 5060)
	startKamailio(t, kamailio, at)
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const count = 500
	messages, _ := accepted(t, count)
	insane := 0
	for n, m := range messages {
		branch := fmt.Sprintf("z9hG4bK-diff-%d", n)
		m.Push("Via", fmt.Sprintf("SIP/2.0/UDP %s;branch=%s;rport", conn.LocalAddr(), branch))
		reply := askKamailio(t, conn, m.Append(nil), branch)
		if !strings.HasPrefix(reply, "SIP/2.0 200 ") {
			insane++
			t.Logf("%s for %q", startOf(reply), m.Append(nil))
			continue
		}
		got := facts{trimmed(get(reply, "X-User")), trimmed(get(reply, "X-Tag")), trimmed(get(reply, "X-Call"))}
		want := factsOf(m)
		if uri, _ := message.ParseURI(m.URI); strings.EqualFold(uri.Params.Text("user"), "phone") {
			want.user, _, _ = strings.Cut(want.user, ";") // it takes a telephone-subscriber apart; what we send has no parameters
		}
		if got != want {
			t.Errorf("kamailio reads %+v, we read %+v, in %q", got, want, m.Append(nil))
		}
	}
	if insane > 0 {
		t.Errorf("kamailio finds %d of %d insane", insane, count)
	}
}

func trimmed(s string) string {
	if s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"); s == "<null>" {
		return "" // as kamailio writes what is not there
	}
	return s
}

// askKamailio sends a request until it is answered.
func askKamailio(t *testing.T, conn *net.UDPConn, wire []byte, branch string) string {
	t.Helper()
	buf := make([]byte, 65536)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := conn.Write(wire); err != nil {
			time.Sleep(20 * time.Millisecond) // it is not listening yet
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			size, err := conn.Read(buf)
			if err != nil {
				break
			}
			if text := string(buf[:size]); strings.Contains(get(text, "Via"), branch+";") || strings.HasSuffix(get(text, "Via"), branch) {
				return text
			}
		}
	}
	t.Fatalf("kamailio does not answer %q", wire)
	return ""
}

const kamailioConfig = `
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:%s
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "sanity.so"
request_route {
	force_rport();
	if (!sanity_check("17895", "7")) { exit; }
	append_to_reply("X-User: [$rU]\r\nX-Tag: [$tt]\r\nX-Call: [$ci]\r\n");
	sl_send_reply("200", "OK");
}
`

func startKamailio(t *testing.T, binary string, at netip.AddrPort) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, kamailioConfig, at), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	// -DD stays in the foreground; -w and -Y keep its files in the test's folder.
	command := exec.Command(binary, "-DD", "-E", "-f", config, "-w", dir, "-Y", dir, "-m", "32", "-M", "8")
	command.Stderr = &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
		if t.Failed() {
			t.Logf("kamailio: %s", log.String())
		}
	})
}
