package inspector

import (
	"encoding/hex"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/settings"
)

// torture is our verdict on one message of RFC 4475 or RFC 5118, at a site whose
// trunk is example.com. lan is what a phone that sends it is told and wan what the
// trunk is, by status line, "" for nothing; sent is the start line under which it
// goes on to the trunk, "" where it does not; why is the reason.
type torture struct{ name, lan, wan, sent, why string }

const (
	unavailable = "SIP/2.0 404 Not Found"
	gone        = "SIP/2.0 481 Call/Transaction Does Not Exist"
	denied      = "SIP/2.0 403 Forbidden"
	trying      = "SIP/2.0 100 Trying"
	fine        = "SIP/2.0 200 OK"
	bad         = "SIP/2.0 400 Bad "
	sentToUser  = "INVITE sip:user@example.com SIP/2.0"
)

var tortures = map[string][]torture{
	"rfc4475": {
		{"wsinv", gone, gone, "", "3.1.1.1 valid: read whole, but its To tag names no call of ours"},
		{"intmeth", bad + "Request-Line", "", "", "3.1.1.2 stricter: a ? in the user part, and controls behind backslashes, have two readings"},
		{"esc01", bad + "Contact", "", "", "3.1.1.3 stricter: an escaped parameter name hides lr from one reader"},
		{"escnull", bad + "To", "", "", "3.1.1.4 stricter: what decodes %00 ends the user there"},
		{"esc02", "SIP/2.0 501 Not Implemented", "SIP/2.0 501 Not Implemented", "", "3.1.1.5 valid: an escaped REGISTER is another method, and unknown"},
		{"lwsdisp", fine, fine, "", "3.1.1.6 valid: answered here"},
		{"longreq", trying, unavailable, sentToUser, "3.1.1.7 valid: goes on whole from the LAN; from the trunk it finds nobody by that name"},
		{"dblreq", denied, denied, "", "3.1.1.8 valid: the second request is no part of it; a Contact by name leads nowhere"},
		{"semiuri", fine, fine, "", "3.1.1.9 valid: a semicolon in the user part"},
		{"transports", fine, fine, "", "3.1.1.10 valid: unknown transports in Via"},
		{"mpart01", "SIP/2.0 415 Unsupported Media Type", "SIP/2.0 415 Unsupported Media Type", "", "3.1.1.11 stricter: of several parts only one session goes on, and there is none"},
		{"unreason", "", "", "", "3.1.1.12 valid: a response to nothing that was sent is dropped"},
		{"noreason", "", "", "", "3.1.1.13 valid: a response to nothing that was sent is dropped"},
		{"badinv01", bad + "Via", "", "", "3.1.2.1 invalid: separators without parameters"},
		{"clerr", bad + "Content-Length", "", "", "3.1.2.2 invalid: longer than the datagram"},
		{"ncl", bad + "Content-Length", "", "", "3.1.2.3 invalid: negative"},
		{"scalar02", bad + "CSeq", "", "", "3.1.2.4 invalid: numbers out of range"},
		{"scalarlg", "", "", "", "3.1.2.5 invalid: a response is never answered"},
		{"quotbal", bad + "To", "", "", "3.1.2.6 invalid: an unclosed quote"},
		{"ltgtruri", bad + "Request-Line", "", "", "3.1.2.7 invalid: brackets around the Request-URI"},
		{"lwsruri", bad + "Request-Line", "", "", "3.1.2.8 invalid: a space in the Request-URI"},
		{"lwsstart", bad + "Request-Line", "", "", "3.1.2.9 invalid: two spaces"},
		{"trws", bad + "Request-Line", "", "", "3.1.2.10 invalid: spaces at the end"},
		{"escruri", trying, unavailable, sentToUser, "3.1.2.11 left open: it goes on without the headers of its Request-URI"},
		{"baddate", trying, unavailable, sentToUser, "3.1.2.12 left open: Date decides nothing"},
		{"regbadct", bad + "Contact", "", "", "3.1.2.13 invalid: a ? without brackets"},
		{"badaspec", bad + "To", "", "", "3.1.2.14 invalid: spaces inside brackets"},
		{"baddn", bad + "From", "", "", "3.1.2.15 invalid: a comma in an unquoted name"},
		{"badvers", "SIP/2.0 505 Bad Request-Line", "", "", "3.1.2.16 invalid: another version"},
		{"mismatch01", bad + "CSeq", "", "", "3.1.2.17 invalid: another method"},
		{"mismatch02", bad + "CSeq", "", "", "3.1.2.18 invalid: another method, an unknown one"},
		{"bigcode", "", "", "", "3.1.2.19 invalid: a response is never answered"},
		{"badbranch", bad + "Via", "", "", "3.2.1 invalid: nothing behind the cookie"},
		{"insuf", "", "", "", "3.3.1 invalid: without From, To and Call-ID no answer can be written"},
		{"unkscm", "SIP/2.0 416 Unsupported URI Scheme", "SIP/2.0 416 Unsupported URI Scheme", "", "3.3.2 a scheme that nobody routes"},
		{"novelsc", "SIP/2.0 416 Unsupported URI Scheme", "SIP/2.0 416 Unsupported URI Scheme", "", "3.3.3 a known scheme that SIP does not route"},
		{"unksm2", denied, denied, "", "3.3.4 a registration for what is no SIP address"},
		{"bext01", "SIP/2.0 420 Bad Extension", "SIP/2.0 420 Bad Extension", "", "3.3.5 extensions that nobody knows"},
		{"invut", "SIP/2.0 415 Unsupported Media Type", "SIP/2.0 415 Unsupported Media Type", "", "3.3.6 a body that nobody knows"},
		{"regaut01", "", denied, "REGISTER sip:example.com SIP/2.0", "3.3.7 the registrar judges the scheme of the credentials"},
		{"multi01", bad + "CSeq", "", "", "3.3.8 single headers repeated"},
		{"mcl01", bad + "Content-Length", "", "", "3.3.9 two lengths"},
		{"bcast", "", "", "", "3.3.10 a response to nothing that was sent, with somebody else's Via"},
		{"zeromf", fine, fine, "", "3.3.11 OPTIONS without hops may be answered here, as RFC 3261 section 16.3 says"},
		{"cparam01", denied, denied, "", "3.3.12 valid: the parameter is the header's; a Contact by name leads nowhere"},
		{"cparam02", denied, denied, "", "3.3.13 valid: the parameter is the URI's; a Contact by name leads nowhere"},
		{"regescrt", denied, denied, "", "3.3.14 valid: headers in a Contact would be put into calls; a Contact by name leads nowhere"},
		{"sdp01", trying, unavailable, sentToUser, "3.3.15 valid: whoever answers judges Accept"},
		{"inv2543", bad + "From", "", "", "3.4.1 stricter: without a tag nobody can tell whose dialog it is"},
	},
	"rfc5118": {
		{"ipv6-good", denied, denied, "", "4.1 valid: read whole, but no registrar of ours"},
		{"ipv6-bad", bad + "Request-Line", "", "", "4.2 invalid: no brackets"},
		{"port-ambiguous", denied, denied, "", "4.3 valid: 5070 is part of the address, which is no registrar of ours"},
		{"port-unambiguous", denied, denied, "", "4.4 valid: 5070 is the port; no registrar of ours"},
		{"via-received-param-with-delim", gone, gone, "", "4.5 accepted: brackets around received; no such call"},
		{"via-received-param-no-delim", fine, fine, "", "4.5 valid: answered here"},
		{"ipv6-in-sdp", denied, unavailable, "", "4.6 valid; a Contact outside the LAN is turned down, at the trunk it is one, and the number is nobody's"},
		{"mult-ip-in-sdp", denied, unavailable, "", "4.8 valid: media in both families; a Contact outside the LAN is turned down, at the trunk it is one, and the number is nobody's"},
		{"mult-ip-in-header", gone, gone, "", "4.7 valid: addresses of both families in Via; no such call"},
		{"ipv4-mapped-ipv6", bad + "Via", "", "", "4.9 stricter: one address would have two families"},
		{"ipv6-bug-abnf-3-colons", bad + "Request-Line", "", "", "4.10 stricter than asked: three colons are no address"},
		{"ipv6-correct-abnf-2-colons", fine, fine, "", "4.10 valid: answered here"},
	},
}

// elsewhere are the messages without rport whose answer goes to the port in their Via
// (RFC 3261 section 18.2.2).
var elsewhere = map[string]uint16{"mult-ip-in-header": 6050}

// tortureTexts reads the messages; see message/testdata/README.md for their form.
func tortureTexts(t testing.TB, name string) map[string]string {
	t.Helper()
	file, err := os.ReadFile("message/testdata/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	hexes := regexp.MustCompile(`<hex>([0-9A-F]+)</hex>`)
	repeats := regexp.MustCompile(`<repeat count=([0-9]+)>(.*?)</repeat>`)
	messages := make(map[string]string)
	for _, part := range strings.Split("\n"+string(file), "\n-- ")[1:] {
		title, text, _ := strings.Cut(part, " --\n")
		text = repeats.ReplaceAllStringFunc(text+"\n", func(found string) string {
			parts := repeats.FindStringSubmatch(found)
			count, err := strconv.Atoi(parts[1])
			if err != nil {
				t.Fatal(err)
			}
			return strings.Repeat(parts[2], count)
		})
		messages[title] = hexes.ReplaceAllStringFunc(strings.ReplaceAll(text, "\n", "\r\n"), func(found string) string {
			out, err := hex.DecodeString(found[len("<hex>") : len(found)-len("</hex>")])
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		})
	}
	return messages
}

// heard returns the start lines of what an agent has got, ended by the answer to a
// ping, and the messages.
func (a *agent) heard() (starts, texts []string) {
	a.t.Helper()
	a.send("OPTIONS sip:$box SIP/2.0\nVia: $via;branch=z9hG4bK-heard\nFrom: <sip:p@b>;tag=1\nTo: <sip:b@b>\nCall-ID: heard\nCSeq: 1 OPTIONS\n")
	for text := range a.inbox {
		if get(text, "Call-ID") == "heard" {
			return starts, texts
		}
		starts, texts = append(starts, startOf(text)), append(texts, text)
	}
	return starts, texts
}

func atExample(_ *site, set *settings.Settings, _ *limits) {
	set.SIP.PBX = settings.Peer{}
	set.Trunks[0].Domain = "example.com"
}

// TestTorture sends every message of both RFCs from a phone and from the trunk.
func TestTorture(t *testing.T) {
	rows := 0
	for name, cases := range tortures {
		messages := tortureTexts(t, name)
		if len(messages) != len(cases) {
			t.Errorf("%s: %d messages, %d verdicts", name, len(messages), len(cases))
		}
		for _, c := range cases {
			rows++
			t.Run(name+"/"+c.name, func(t *testing.T) { c.play(t, messages[c.name]) })
		}
	}
	t.Logf("%d messages, each from either side", rows)
}

func (c torture) play(t *testing.T, text string) {
	if text == "" || c.why == "" {
		t.Fatal("no such message, or no reason")
	}
	s := newSite(t, atExample)
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	phone.raw(text)
	answers, _ := phone.heard()
	if port := elsewhere[c.name]; port != 0 {
		other := s.udp("the port in Via", netip.AddrPortFrom(phone.at.Addr(), port))
		phone.raw(strings.Replace(text, "branch=", "branch=z9hG4bK-2", 1))
		answers = append(answers, startOf(other.expect("SIP/2.0 ")))
		c.lan, c.wan = gone, ""
	}
	sent, texts := itsp.heard()
	c.check(t, "the phone", c.lan, answers)
	c.check(t, "the trunk", c.sent, sent)
	for _, one := range texts {
		m, err := message.Parse([]byte(one))
		if err != nil {
			t.Fatalf("what went on can't be read: %v\n%s", err, one)
		}
		if m.CallID() == "" || strings.Contains(m.URI, "?") {
			t.Errorf("got\n%s", one)
		}
	}
	itsp.raw(text)
	answers, _ = itsp.heard()
	c.check(t, "the trunk that sent it", c.wan, answers)
	if got, _ := phone.heard(); len(got) > 0 && !strings.HasPrefix(got[0], "SIP/2.0 ") {
		t.Errorf("the phone got %q from the trunk", got)
	}
}

// check compares the first of what came with what should have come.
func (c torture) check(t *testing.T, whom, want string, got []string) {
	t.Helper()
	first := ""
	if len(got) > 0 {
		first = got[0]
	}
	if first != want {
		t.Errorf("%s got %q, want %q: %s", whom, got, want, c.why)
	}
}
