package message

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// base is a request that lacks nothing; withHeader adds lines to it.
const base = `INVITE sip:100@192.0.2.1 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa
From: <sip:200@192.0.2.1>;tag=a
To: <sip:100@192.0.2.1>
Call-ID: a@b
CSeq: 1 INVITE
Max-Forwards: 70
Content-Length: 0
`

// withHeader returns base with lines added as they are: only the LF that ends
// the last one becomes CRLF.
func withHeader(lines string) []byte {
	return append(crlf(base), (lines + "\r\n\r\n")...)
}

// headerCase is one header (or lines of them) added to base. want is the
// value that the message then holds, or, where problem is set, nothing: the
// refusal names blame and says problem.
type headerCase struct {
	header, name, want string
	blame, problem     string
}

var headerCases = []headerCase{
	// F1: control characters and line ends.
	{header: "Subject: a\nb", blame: "Subject", problem: "does not end with CRLF"},
	{header: "Subject: a\rb", blame: "Subject", problem: "control"},
	{header: "Subject: a\x00b", blame: "Subject", problem: "control"},
	{header: "Subject: a\x01b", blame: "Subject", problem: "control"},
	{header: "Subject: a\x0bb", blame: "Subject", problem: "control"},
	{header: "Subject: a\x0cb", blame: "Subject", problem: "control"},
	{header: "Subject: a\x1bb", blame: "Subject", problem: "control"},
	{header: "Subject: a\x7fb", blame: "Subject", problem: "control"},
	{header: "Subject: a\xc2\x85b", blame: "Subject", problem: "control"},
	{header: "Subject: a\xc0\x8ab", blame: "Subject", problem: "not UTF-8"},
	{header: "Subject: a\xe0\x80\x8ab", blame: "Subject", problem: "not UTF-8"},
	{header: "Subject: a\xed\xa0\x80b", blame: "Subject", problem: "not UTF-8"},
	{header: "Subject: a\xffb", blame: "Subject", problem: "not UTF-8"},
	{header: "Subject: a\r\r\nX: b", blame: "Subject", problem: "control"},
	{header: "Subject: a\tb", name: "Subject", want: "a b"},
	{header: "Subject: Grüße", name: "Subject", want: "Grüße"},
	{header: "Z\nY: a", blame: "unknown header", problem: "does not end with CRLF"},
	// F2: what stands before the colon.
	{header: "Subject\x01: a", blame: "Subject", problem: "control"},
	{header: "Subject\x0b: a", blame: "Subject", problem: "control"},
	{header: "Subject \t : a", name: "Subject", want: "a"},
	{header: "Sub ject: a", problem: "no header"},
	{header: "Subject", problem: "no header"},
	{header: ": a", problem: "no header"},
	{header: "Sub\xc3\xa9ject: a", problem: "no header"},
	{header: "Subject\u00a0: a", problem: "no header"},
	{header: "(Subject): a", problem: "no header"},
	{header: "Subject\r\n : a", problem: "no header"},
	// F3: folding.
	{header: "Subject: a\r\n b", name: "Subject", want: "a b"},
	{header: "Subject:\r\n\t a \t\r\n \t b \t", name: "Subject", want: "a b"},
	{header: "Subject: a\r\n ", blame: "Subject", problem: "blank line"},
	{header: "Subject: a\r\n \r\n b", blame: "Subject", problem: "blank line"},
	{header: "Subject: a\r\n b\nX: c", blame: "Subject", problem: "does not end with CRLF"},
	{header: "Subject: a\r\n Content-Length: 5", name: "Subject", want: "a Content-Length: 5"},
	{header: "Refer-To: <sip:1@a>\r\n ;x=1", name: "Refer-To", want: "<sip:1@a>;x=1"},
	// F4: single-value headers that stand twice, long and compact.
	{header: "To: <sip:100@192.0.2.1>", blame: "To", problem: "more than once"},
	{header: "t: <sip:100@192.0.2.1>", blame: "To", problem: "more than once"},
	{header: "F: <sip:100@192.0.2.1>;tag=a", blame: "From", problem: "more than once"},
	{header: "i: a@b", blame: "Call-ID", problem: "more than once"},
	{header: "cseq: 1 INVITE", blame: "CSeq", problem: "more than once"},
	{header: "l: 0", blame: "Content-Length", problem: "more than once"},
	{header: "MAX-FORWARDS: 70", blame: "Max-Forwards", problem: "more than once"},
	{header: "c: a/b\r\nContent-Type: a/b", blame: "Content-Type", problem: "more than once"},
	{header: "r: <sip:1@a>\r\nRefer-To: <sip:2@a>", blame: "Refer-To", problem: "more than once"},
	{header: "Refer-To: <sip:1@a>, <sip:2@a>", blame: "Refer-To", problem: "more than its grammar"},
	{header: "Replaces: a;to-tag=b;from-tag=c\r\nReplaces: a;to-tag=b;from-tag=c", blame: "Replaces", problem: "more than once"},
	{header: "Expires: 1\r\nExpires: 1", blame: "Expires", problem: "more than once"},
	{header: "Contact: <sip:1@a>\r\nm: <sip:2@a>", blame: "Contact", problem: "more than once"},
	{header: "Contact: <sip:1@a>, <sip:2@a>", blame: "Contact", problem: "more than once"},
	// Contact.
	{header: "Contact: *", blame: "Contact", problem: `"*"`},
	{header: "m: sip:1@a;expires=5", name: "Contact", want: "<sip:1@a>;expires=5"},
	{header: `Contact: "a,b;c<d>" <sip:1@a>`, name: "Contact", want: `"a,b;c<d>" <sip:1@a>`},
	{header: `Contact: "a\"b" <sip:1@a>`, name: "Contact", want: `"a\"b" <sip:1@a>`},
	{header: `Contact: "a\\" <sip:1@a>`, name: "Contact", want: `"a\\" <sip:1@a>`},
	{header: `Contact: "a\" <sip:1@a>`, blame: "Contact", problem: "unclosed quoted"},
	{header: `Contact: "a\é" <sip:1@a>`, blame: "Contact", problem: "wrong escape"},
	{header: "Contact: <sip:1@a", blame: "Contact", problem: "unclosed angle"},
	{header: "Contact: sip:1@a>", blame: "Contact", problem: "wrong host"},
	{header: "Contact: <sip:1@a>>", blame: "Contact", problem: "more than its grammar"},
	{header: "Contact: <<sip:1@a>", blame: "Contact", problem: "scheme"},
	{header: "Contact: <sip:1@a> x", blame: "Contact", problem: "more than its grammar"},
	{header: "Contact: ", blame: "Contact", problem: "scheme"},
	{header: "Contact: <sip:1@a>,", blame: "Contact", problem: "scheme"},
	// Via, Route and Record-Route.
	{header: "v: SIP/2.0/UDP a;branch=z9hG4bKb, SIP/2.0/TCP [2001:DB8::1]:5060;branch=z9hG4bKc", name: "Via",
		want: "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa|SIP/2.0/UDP a;branch=z9hG4bKb|SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bKc"},
	{header: "Via: SIP / 2.0 / udp a : 5060 ; rport ; branch = z9hG4bKb", name: "Via",
		want: "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa|SIP/2.0/UDP a:5060;rport;branch=z9hG4bKb"},
	{header: "Via: SIP/2.0/UDP a;branch=z9hG4bK", blame: "Via", problem: "branch"},
	{header: `Via: SIP/2.0/UDP a;branch="z9hG4bKa"`, blame: "Via", problem: "branch"},
	{header: "Via: SIP/2.0/UDP a;branch=z9hG4bKa;branch=z9hG4bKb", blame: "Via", problem: "repeats"},
	{header: "Via: SIP/2.0/UDP a;Branch=z9hG4bKa;bRANCH=z9hG4bKb", blame: "Via", problem: "repeats"},
	{header: "Via: SIP/3.0/UDP a", blame: "Via", problem: "sent-protocol"},
	{header: "Via: HTTP/2.0/UDP a", blame: "Via", problem: "sent-protocol"},
	{header: "Via: SIP/2.0/UDP", blame: "Via", problem: "sent-by"},
	{header: "Via: SIP/2.0/UDP a:0", blame: "Via", problem: "port"},
	{header: "Via: SIP/2.0/UDP a:65536", blame: "Via", problem: "port"},
	{header: "Via: SIP/2.0/UDP a:", blame: "Via", problem: "port"},
	{header: "Via: SIP/2.0/UDP a b", blame: "Via", problem: "more than its grammar"},
	{header: "Via: SIP/2.0/UDP x@a", blame: "Via", problem: "more than its grammar"},
	{header: "Via: SIP/2.0/UDP 010.0.0.1", blame: "Via", problem: "IPv4"},
	{header: "Via: SIP/2.0/UDP a;rport=0", blame: "Via", problem: "port"},
	{header: "Via: SIP/2.0/UDP a;rport=", blame: "Via", problem: "parameter"},
	{header: "Via: SIP/2.0/UDP a;received=a", blame: "Via", problem: "received"},
	{header: "Via: SIP/2.0/UDP a;received=::ffff:1.2.3.4", blame: "Via", problem: "received"},
	{header: "Via: SIP/2.0/UDP a;ttl=256", blame: "Via", problem: "number"},
	{header: "Via: SIP/2.0/UDP a;maddr=0x7f.1", blame: "Via", problem: "IPv4"},
	{header: "Via: SIP/2.0/UDP a;;", blame: "Via", problem: "empty parameter"},
	{header: "Route: <sip:a;lr>,<sip:b;lr>;x=\"a,b\" , <sip:c>", name: "Route", want: `<sip:a;lr>|<sip:b;lr>;x="a,b"|<sip:c>`},
	{header: "Route: <sip:a;lr>\r\nRecord-Route: <sip:r;lr>\r\nroute: <sip:b;lr>", name: "Route", want: "<sip:a;lr>|<sip:b;lr>"},
	{header: "Route: sip:a", blame: "Route", problem: "angle brackets"},
	{header: "Route: <sip:a;lr;lr>", blame: "Route", problem: "repeats"},
	{header: "Route: <sip:a;%6cr>", blame: "Route", problem: "parameter"},
	{header: "Route: <sip:a;lr>;", blame: "Route", problem: "empty parameter"},
	{header: "Route: ", blame: "Route", problem: "angle brackets"},
	{header: "Route: *", blame: "Route", problem: "angle brackets"},
	// Other typed headers.
	{header: "r: tel:+252611234567", name: "Refer-To", want: "<tel:+252611234567>"},
	{header: "Refer-To: <sip:1@a?Replaces=b%40c%3Bto-tag%3Dd%3Bfrom-tag%3De>", name: "Refer-To", want: "<sip:1@a?Replaces=b%40c%3Bto-tag%3Dd%3Bfrom-tag%3De>"},
	{header: "Refer-To: <sip:1@a?X=%0d%0aTo:x>", blame: "Refer-To", problem: "headers"},
	{header: "Replaces: a@b ; to-tag=c ; from-tag=d ; early-only", name: "Replaces", want: "a@b;to-tag=c;from-tag=d;early-only"},
	{header: "Replaces: a@b;to-tag=c", blame: "Replaces", problem: "lacks a tag"},
	{header: "RAck: 1 2 INVITE", name: "RAck", want: "1 2 INVITE"},
	{header: "RAck: 1 2", blame: "RAck", problem: "method"},
	{header: "RSeq: 4294967295", name: "RSeq", want: "4294967295"},
	{header: "RSeq: 4294967296", blame: "RSeq", problem: "out of range"},
	{header: "Expires: -1", blame: "Expires", problem: "not a number"},
	{header: "Expires: 1 2", blame: "Expires", problem: "more than its grammar"},
	{header: "x: 0090 ; refresher = uac", name: "Session-Expires", want: "90;refresher=uac"},
	{header: "k: 100rel ,timer", name: "Supported", want: "100rel, timer"},
	{header: "Supported:", name: "Supported", want: ""},
	{header: "Require: a b", blame: "Require", problem: "more than its grammar"},
	{header: "Require: ,a,, b ,", name: "Require", want: "a, b"},
	{header: "Require: a;b", blame: "Require", problem: "more than its grammar"},
	{header: "c: Application / SDP ; x = y", name: "Content-Type", want: "application/sdp;x=y"},
	{header: "c: application", blame: "Content-Type", problem: "media type"},
	{header: "e: gzip", name: "Content-Encoding", want: "gzip"},
	// Compact forms without a grammar of their own.
	{header: "a: x", name: "Accept-Contact", want: "x"},
	{header: "b: <sip:1@a>", name: "Referred-By", want: "<sip:1@a>"},
	{header: "d: x", name: "Request-Disposition", want: "x"},
	{header: "j: x", name: "Reject-Contact", want: "x"},
	{header: "n: x", name: "Identity-Info", want: "x"},
	{header: "o: dialog", name: "Event", want: "dialog"},
	{header: "s: x", name: "Subject", want: "x"},
	{header: "u: x", name: "Allow-Events", want: "x"},
	{header: "y: x", name: "Identity", want: "x"},
	{header: "z: x", name: "z", want: "x"},
	{header: "x-CUSTOM: x", name: "X-Custom", want: "x"},
}

func TestHeaders(t *testing.T) {
	for _, c := range headerCases {
		t.Run(c.header, func(t *testing.T) {
			m, err := Parse(withHeader(c.header))
			if c.problem != "" {
				checkProblem(t, err, c.blame, c.problem)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(m.All(c.name), "|"); got != c.want {
				t.Errorf("%s is %q, want %q", c.name, got, c.want)
			}
			checkEmitted(t, m)
		})
	}
}

func checkProblem(t *testing.T, err error, blame, problem string) {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) {
		t.Fatalf("got %v, want a refusal: %s", err, problem)
	}
	if refused.Header != blame || !strings.Contains(refused.Problem, problem) {
		t.Errorf("refused with %q, want %q: %s", err, blame, problem)
	}
}

func TestStartLine(t *testing.T) {
	cases := []struct{ line, want, problem string }{
		{"INVITE sip:100@192.0.2.1 SIP/2.0", "INVITE sip:100@192.0.2.1", ""},
		{"INVITE sip:100@192.0.2.1 sip/2.0", "INVITE sip:100@192.0.2.1", ""},
		{"INVITE SIP:100@EXAMPLE.com:05060 SIP/2.0", "INVITE sip:100@example.com:5060", ""},
		{"INVITE tel:+252;phone-context=a SIP/2.0", "INVITE tel:+252;phone-context=a", ""},
		{"INVITE urn:service:sos SIP/2.0", "INVITE urn:service:sos", ""},
		{"INVITE sip:100@192.0.2.1 SIP/2.1", "", "another SIP version"},
		{"INVITE sip:100@192.0.2.1 HTTP/1.1", "", "no SIP version"},
		{"INVITE sip:100@192.0.2.1 SIP/2.0 ", "", "no SIP version"},
		{" INVITE sip:100@192.0.2.1 SIP/2.0", "", "not a request line"},
		{"INVITE  sip:100@192.0.2.1 SIP/2.0", "", "no SIP version"},
		{"INVITE\tsip:100@192.0.2.1\tSIP/2.0", "", "control"},
		{"INVITE sip:100@192.0.2.1", "", "not a request line"},
		{"INV(ITE sip:100@192.0.2.1 SIP/2.0", "", "not a request line"},
		{"INVITE sip:100@192.0.2.1\x00 SIP/2.0", "", "control"},
		{"INVITE sip:100@192.0.2.1\nX: y SIP/2.0", "", "CRLF"},
		{"INVITE sip:100@192.0.2.1 SIP/2.0\r\n X: y", "", "folded"},
		{"INVITE sip:1٠٠@192.0.2.1 SIP/2.0", "", "user part"},
		{"INVITE * SIP/2.0", "", "scheme"},
		{"INVITE <sip:100@192.0.2.1> SIP/2.0", "", "scheme"},
		{"\xf8INVITE sip:100@192.0.2.1 SIP/2.0", "", "compressed"},
		{"\r\nINVITE sip:100@192.0.2.1 SIP/2.0", "", "not a request line"},
		{"SIP/2.0 200 OK", "200 OK", ""},
		{"sip/2.0 200 OK", "200 OK", ""},
		{"SIP/2.0 699 ", "699 ", ""},
		{"SIP/2.0 200 déjà vu", "200 déjà vu", ""},
		{"SIP/2.0 200", "", "not a status line"},
		{"SIP/2.0 099 x", "", "not a status line"},
		{"SIP/2.0 700 x", "", "not a status line"},
		{"SIP/2.0 2000 x", "", "not a status line"},
		{"SIP/2.0 +20 x", "", "not a status line"},
		{"SIP/2.0  200 x", "", "not a status line"},
		{"SIP/3.0 200 OK", "", "another SIP version"},
		{"SIP/2.0 200 O\x08K", "", "control"},
	}
	_, rest, _ := strings.Cut(base, "\n")
	for _, c := range cases {
		m, err := Parse(append([]byte(c.line+"\r\n"), crlf(rest+"\n")...))
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%q: got %v, want %q", c.line, err, c.problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		line, _, _ := strings.Cut(string(m.Append(nil)), "\r\n")
		if got := strings.TrimSuffix(strings.TrimPrefix(line, "SIP/2.0 "), " SIP/2.0"); got != c.want {
			t.Errorf("%q became %q, want %q", c.line, got, c.want)
		}
		checkEmitted(t, m)
	}
}

// TestMandatory takes one header after the other away, or changes it.
func TestMandatory(t *testing.T) {
	cases := []struct{ old, new, blame, problem string }{
		{"Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa\n", "", "Via", "missing"},
		{"From: <sip:200@192.0.2.1>;tag=a\n", "", "From", "missing"},
		{"To: <sip:100@192.0.2.1>\n", "", "To", "missing"},
		{"Call-ID: a@b\n", "", "Call-ID", "missing"},
		{"CSeq: 1 INVITE\n", "", "CSeq", "missing"},
		{";tag=a", "", "From", "no tag"},
		{";tag=a", ";tag", "From", "wrong tag"},
		{";tag=a", `;tag="a"`, "From", "wrong tag"},
		{";tag=a", ";tag=a;tag=b", "From", "repeats"},
		{"From: <", "From: \"x;tag=b\" <", "From", "tag beside"},
		{"From: <sip:200@192.0.2.1>;tag=a", "From: \"x;tag=b\" <sip:200@192.0.2.1> ; tag = a", "From", "tag beside"},
		{"From: <", "From: \"x;t\\ag=b\" <", "From", "tag beside"},
		{"From: <sip:200@192.0.2.1>", "From: <sip:200@192.0.2.1;TAG=b>", "From", "tag beside"},
		{";tag=a", `;x=";tag=b";tag=a`, "From", "tag beside"},
		{"To: <sip:100@192.0.2.1>", "To: <sip:100@192.0.2.1;tag=b>", "To", "tag beside"},
		{"To: <sip:100@192.0.2.1>", "To: <sip:100@192.0.2.1>;tag=\"a\"", "To", "wrong tag"},
		{"Call-ID: a@b", "Call-ID: a@b@c", "Call-ID", "more than its grammar"},
		{"Call-ID: a@b", "Call-ID: a b", "Call-ID", "more than its grammar"},
		{"Call-ID: a@b", "Call-ID:", "Call-ID", "not a Call-ID"},
		{"Call-ID: a@b", "Call-ID: a;b", "Call-ID", "more than its grammar"},
		{"Call-ID: a@b", "Call-ID: a,b", "Call-ID", "more than its grammar"},
		{"CSeq: 1 INVITE", "CSeq: 1 ACK", "CSeq", "another method"},
		{"CSeq: 1 INVITE", "CSeq: 1 invite", "CSeq", "another method"},
		{"CSeq: 1 INVITE", "CSeq: 2147483648 INVITE", "CSeq", "out of range"},
		{"CSeq: 1 INVITE", "CSeq: 99999999999999999999 INVITE", "CSeq", "out of range"},
		{"CSeq: 1 INVITE", "CSeq: -1 INVITE", "CSeq", "not a number"},
		{"CSeq: 1 INVITE", "CSeq: 1INVITE", "CSeq", "no method"},
		{"CSeq: 1 INVITE", "CSeq: 1", "CSeq", "no method"},
		{"Max-Forwards: 70", "Max-Forwards: 256", "Max-Forwards", "out of range"},
		{"Max-Forwards: 70", "Max-Forwards: ", "Max-Forwards", "not a number"},
		{"Max-Forwards: 70", "Max-Forwards: 7 0", "Max-Forwards", "more than its grammar"},
		{"Content-Length: 0", "Content-Length: 1", "Content-Length", "larger than the message"},
		{"Content-Length: 0", "Content-Length: +0", "Content-Length", "not a number"},
		{"Content-Length: 0", "Content-Length: 0x0", "Content-Length", "not a number"},
		{"Content-Length: 0", "Content-Length: 0, 0", "Content-Length", "not a number"},
		{"Content-Length: 0", "Content-Length: 0 0", "Content-Length", "not a number"},
		{"Content-Length: 0", "Content-Length: ٠", "Content-Length", "not a number"},
		{"Content-Length: 0", "Content-Length:", "Content-Length", "not a number"},
		{"Content-Length: 0", "Content-Length: 18446744073709551616", "Content-Length", "out of range"},
		{"Content-Length: 0", "Content-Length: 4294967296", "Content-Length", "out of range"},
		{"Content-Length: 0", "Content-Length: 65536", "Content-Length", "larger than the message"},
	}
	for _, c := range cases {
		changed := strings.Replace(base, c.old, c.new, 1)
		if changed == base {
			t.Fatalf("%q is not in the base", c.old)
		}
		t.Run(c.blame+" "+c.new, func(t *testing.T) {
			_, err := Parse(crlf(changed + "\n"))
			checkProblem(t, err, c.blame, c.problem)
		})
	}
}

func TestMaxForwardsIsInserted(t *testing.T) {
	m, err := Parse(crlf(strings.Replace(base, "Max-Forwards: 70\n", "", 1) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := m.MaxForwards(); n != DefaultMaxForwards || err != nil {
		t.Errorf("Max-Forwards is %d (%v)", n, err)
	}
	checkEmitted(t, m)
}

// TestMethodCase shows that a lower-case method is another method.
func TestMethodCase(t *testing.T) {
	m, err := Parse(crlf(strings.ReplaceAll(base, "INVITE", "invite") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Method != "invite" || !strings.HasPrefix(string(m.Append(nil)), "invite ") {
		t.Errorf("method is %q", m.Method)
	}
}

func TestBounds(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("Z: y\r\n", MaxHeaders), "\r\n")
	_, err := Parse(withHeader(many))
	checkProblem(t, err, "", "too many headers")

	routes := "Route: " + strings.TrimSuffix(strings.Repeat("<sip:a>,", MaxHeaders), ",")
	_, err = Parse(withHeader(routes))
	checkProblem(t, err, "Route", "too many headers")

	_, err = Parse(withHeader("X: " + strings.Repeat("y", MaxSize)))
	checkProblem(t, err, "", "too large")

	params := "Route: <sip:a>"
	for range MaxParams + 1 {
		params += ";p" + strings.Repeat("x", len(params))[:len(params)%50]
	}
	_, err = Parse(withHeader(params))
	checkProblem(t, err, "Route", "parameter")
}

func TestDatagramEnds(t *testing.T) {
	short := crlf(base)
	_, err := Parse(short)
	checkProblem(t, err, "", "do not end")

	withBody := strings.Replace(base, "Content-Length: 0", "Content-Length: 3", 1) + "\nabcdef"
	m, err := Parse(crlf(withBody))
	if err != nil || string(m.Body) != "abc" {
		t.Fatalf("body %q, %v", m.Body, err)
	}
	checkEmitted(t, m)

	m, err = Parse(crlf(strings.Replace(base, "Content-Length: 0\n", "", 1) + "\nabc\n\ndef"))
	if err != nil || string(m.Body) != "abc\r\n\r\ndef" {
		t.Fatalf("body %q, %v", m.Body, err)
	}
	checkEmitted(t, m)
}

func TestParseKeepsNothingOfTheDatagram(t *testing.T) {
	datagram := crlf(invite)
	m, err := Parse(datagram)
	if err != nil {
		t.Fatal(err)
	}
	want := string(m.Append(nil))
	for i := range datagram {
		datagram[i] = 'x'
	}
	if got := string(m.Append(nil)); got != want {
		t.Errorf("message changed with its datagram:\n%s", got)
	}
}

// TestPlain holds the eight-bytes-at-a-time check against its definition, for
// every byte in every place.
func TestPlain(t *testing.T) {
	for length := range 20 {
		for place := range length {
			for b := range 256 {
				text := bytes.Repeat([]byte("~ "), 10)[:length]
				text[place] = byte(b)
				if want := b >= 0x20 && b <= 0x7e; plain(text) != want {
					t.Fatalf("plain(%q) is %v", text, !want)
				}
			}
		}
	}
}

func TestKeepalive(t *testing.T) {
	for _, s := range []string{"", "\r\n", "\r\n\r\n", "\x00", "\x00\x00\x00\x00", "\n"} {
		if !Keepalive([]byte(s)) {
			t.Errorf("%q is a keepalive", s)
		}
	}
	for _, s := range []string{" ", "\r\n\r\n\r\n", "jaK\x00", "x"} {
		if Keepalive([]byte(s)) {
			t.Errorf("%q is none", s)
		}
	}
}
