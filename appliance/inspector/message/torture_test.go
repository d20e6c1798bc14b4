package message

import (
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tortureCase is our verdict on one message of an RFC. An empty header means
// that Parse accepts it; else Parse must name that header.
type tortureCase struct{ name, header, why string }

// Verdicts on RFC 4475. Where ours is stricter than the RFC's, why says so.
var rfc4475 = []tortureCase{
	{"wsinv", "", "valid: folding and white space everywhere"},
	{"intmeth", "Request-Line", "stricter: a raw ? in the user part, and NUL, BEL and DEL behind a backslash in To"},
	{"esc01", "Contact", "stricter: an escaped parameter name hides lr from one reader"},
	{"escnull", "To", "stricter: what decodes %00 ends the string there"},
	{"esc02", "", "valid: % is no escape in a method, a name or a quoted string"},
	{"lwsdisp", "", "valid: no space is needed before <"},
	{"longreq", "", "valid: long values and many Via"},
	{"dblreq", "", "valid: bytes beyond Content-Length are no part of the message"},
	{"semiuri", "", "valid: a semicolon in the user part"},
	{"transports", "", "valid: unknown transports in Via"},
	{"mpart01", "", "valid: a body of any bytes"},
	{"unreason", "", "valid: UTF-8 in the phrase"},
	{"noreason", "", "valid: an empty phrase"},
	{"badinv01", "Via", "invalid: separators without parameters"},
	{"clerr", "Content-Length", "invalid: larger than the datagram"},
	{"ncl", "Content-Length", "invalid: negative"},
	{"scalar02", "CSeq", "invalid: overlong numbers"},
	{"scalarlg", "CSeq", "invalid: overlong numbers in a response"},
	{"quotbal", "To", "invalid: unclosed quote"},
	{"ltgtruri", "Request-Line", "invalid: brackets around the Request-URI"},
	{"lwsruri", "Request-Line", "invalid: space in the Request-URI"},
	{"lwsstart", "Request-Line", "invalid: two spaces"},
	{"trws", "Request-Line", "invalid: space at the end"},
	{"escruri", "", "the RFC leaves it open: the proxy strips headers from a Request-URI"},
	{"baddate", "", "the RFC leaves it open: Date decides nothing here"},
	{"regbadct", "Contact", "invalid: ? without brackets"},
	{"badaspec", "To", "invalid: space inside brackets"},
	{"baddn", "From", "invalid: a comma in an unquoted display name"},
	{"badvers", "Request-Line", "invalid: another version"},
	{"mismatch01", "CSeq", "invalid: another method"},
	{"mismatch02", "CSeq", "invalid: another method, an unknown one"},
	{"bigcode", "Status-Line", "invalid: overlong status"},
	{"badbranch", "Via", "invalid: nothing behind the cookie"},
	{"insuf", "From", "invalid: mandatory headers are missing"},
	{"unkscm", "", "valid syntax: the proxy answers 416"},
	{"novelsc", "", "valid syntax: the proxy answers 416"},
	{"unksm2", "", "valid syntax: other schemes in To, From and Contact"},
	{"bext01", "", "valid syntax: the proxy answers 420"},
	{"invut", "", "valid syntax: bodies are opaque here"},
	{"regaut01", "", "valid syntax: the registrar judges the scheme"},
	{"multi01", "CSeq", "invalid: single headers repeated"},
	{"mcl01", "Content-Length", "invalid: two lengths"},
	{"bcast", "", "valid syntax: the proxy drops a response with a Via too many"},
	{"zeromf", "", "valid syntax: the proxy answers 483"},
	{"cparam01", "", "valid: the parameter is the header's"},
	{"cparam02", "", "valid: the parameter is the URI's"},
	{"regescrt", "", "valid: headers in a bracketed URI"},
	{"sdp01", "", "valid syntax: the answerer judges Accept"},
	{"inv2543", "From", "stricter: a From without tag is from before RFC 3261"},
}

// Verdicts on RFC 5118.
var rfc5118 = []tortureCase{
	{"ipv6-good", "", "valid"},
	{"ipv6-bad", "Request-Line", "invalid: no brackets"},
	{"port-ambiguous", "", "valid: 5070 is part of the address"},
	{"port-unambiguous", "", "valid"},
	{"via-received-param-with-delim", "", "the RFC asks to accept brackets"},
	{"via-received-param-no-delim", "", "valid"},
	{"ipv6-in-sdp", "", "valid"},
	{"mult-ip-in-header", "", "valid"},
	{"mult-ip-in-sdp", "", "valid"},
	{"ipv4-mapped-ipv6", "Via", "stricter: two families would share one address"},
	{"ipv6-bug-abnf-3-colons", "Request-Line", "stricter than the RFC asks: no such address"},
	{"ipv6-correct-abnf-2-colons", "", "valid"},
}

// archive reads messages from testdata: "-- name --" and the message with LF
// line ends. <hex>..</hex> stands for bytes and <repeat count=n>..</repeat> for
// repeated text, as in RFC 4475 sections 2.2 and 2.3. Bodies that decide
// nothing here are left out or shorter than in the RFC.
func archive(t testing.TB, name string) map[string][]byte {
	t.Helper()
	file, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	hexes := regexp.MustCompile(`<hex>([0-9A-F]+)</hex>`)
	repeats := regexp.MustCompile(`<repeat count=([0-9]+)>(.*?)</repeat>`)
	messages := make(map[string][]byte)
	for _, part := range strings.Split("\n"+string(file), "\n-- ")[1:] {
		title, text, found := strings.Cut(part, " --\n")
		if !found {
			t.Fatalf("%s: a message without a name", name)
		}
		text = repeats.ReplaceAllStringFunc(text+"\n", func(found string) string {
			parts := repeats.FindStringSubmatch(found)
			count, err := strconv.Atoi(parts[1])
			if err != nil {
				t.Fatal(err)
			}
			return strings.Repeat(parts[2], count)
		})
		text = strings.ReplaceAll(text, "\n", "\r\n")
		messages[title] = hexes.ReplaceAllFunc([]byte(text), func(found []byte) []byte {
			out, err := hex.DecodeString(string(found[5 : len(found)-6]))
			if err != nil {
				t.Fatal(err)
			}
			return out
		})
	}
	return messages
}

func TestTorture(t *testing.T) {
	for name, cases := range map[string][]tortureCase{"rfc4475": rfc4475, "rfc5118": rfc5118} {
		messages := archive(t, name)
		if len(messages) != len(cases) {
			t.Errorf("%s: %d messages, %d verdicts", name, len(messages), len(cases))
		}
		for _, c := range cases {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				datagram, ok := messages[c.name]
				if !ok {
					t.Fatal("no such message")
				}
				m, err := Parse(datagram)
				checkVerdict(t, err, c)
				if err == nil {
					checkEmitted(t, m)
				}
			})
		}
	}
}

func checkVerdict(t *testing.T, err error, c tortureCase) {
	t.Helper()
	if c.header == "" {
		if err != nil {
			t.Errorf("refused (%v), want accepted: %s", err, c.why)
		}
		return
	}
	var refused *Error
	if !errors.As(err, &refused) || refused.Header != c.header {
		t.Errorf("got %v, want %s refused: %s", err, c.header, c.why)
	}
}
