package inspector

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

const office = "office.example"

// teleworker is a registered telephone on the WAN, with what it may call and not.
type teleworker struct {
	*agent
	s         *site
	pbx, itsp *agent
	domain    string // that she says is hers
	n         int
}

func newTeleworker(t *testing.T, setups ...setup) *teleworker {
	s := newSite(t, append([]setup{teleworkers}, setups...)...)
	w := &teleworker{agent: s.udp("anna", s.host(130)), s: s, domain: office, pbx: s.pbx(), itsp: s.itsp()}
	s.enrol(w.pbx, w.agent, "101")
	return w
}

// calls writes an INVITE, or another request that opens something, as hers.
func (w *teleworker) calls(method, uri string) (text, id string) {
	w.n++
	id = fmt.Sprintf("%s%d", method, w.n)
	return replaced(w.t.(*testing.T), w.invite(uri, id), []string{"INVITE ", method + " ", "1 INVITE", "1 " + method, "<sip:201@$me>;tag", "<sip:101@" + w.domain + ">;tag"}), id
}

// reaches sends a request and has the PBX turn it down. It returns the Request-URI
// that the PBX sees.
func (w *teleworker) reaches(method, uri string) string {
	w.t.Helper()
	text, id := w.calls(method, uri)
	w.send(text)
	got := w.pbx.expect(method + " ")
	if get(got, "Call-ID") != id {
		w.t.Errorf("want %s, got\n%s", id, got)
	}
	w.pbx.send(answer(got, "486 Busy Here", "b"))
	w.expect("SIP/2.0 486")
	w.kept, w.pbx.kept = nil, nil
	return strings.Fields(got)[1]
}

// turnedDown sends a request that must not come to the PBX. It returns the status,
// "" for silence.
func (w *teleworker) turnedDown(text string) (status string) {
	w.t.Helper()
	w.send(text)
	w.ping()
	for _, res := range w.kept {
		status = strings.Fields(res)[1]
	}
	w.kept = nil
	w.pbx.nothing("ACK ")
	w.pbx.kept = nil
	return status
}

// TestTeleworkerCallsTheOffice: extensions and names of the PBX are the PBX's, by
// whatever method they are called.
func TestTeleworkerCallsTheOffice(t *testing.T) {
	w := newTeleworker(t)
	at := "@" + w.pbx.at.String()
	for _, user := range []string{"102", "reception", "*97", "0491570156"} {
		for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE"} {
			if got := w.reaches(method, "sip:"+user+"@"+office); got != "sip:"+user+at {
				t.Errorf("%s of %s reached the PBX as %s", method, user, got)
			}
		}
	}
	record := w.s.call("the call is recorded", func(c appliance.Call) bool { return c.CallID == "INVITE1" })
	if record.Reason != appliance.ReasonInternal || record.Verdict != appliance.Allow {
		t.Errorf("record %+v", record)
	}
	for _, uri := range []string{"sip:102@" + domain, "sip:reception@" + domain, "sip:102@elsewhere.example", "sip:reception@elsewhere.example",
		"sip:500&PJSIP%2Fitsp%2F252615550148@" + office, "sip:a252615550148@" + office} {
		for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE"} {
			text, _ := w.calls(method, uri)
			if got := w.turnedDown(text); got != "403" && got != "404" {
				t.Errorf("%s of %s got %q", method, uri, got)
			}
		}
	}
	// Whatever domain she claims, it leads to the PBX.
	w.domain = domain
	for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE"} {
		w.reaches(method, "sip:102@"+domain)
		w.reaches(method, "sip:reception@"+domain)
	}
	w.itsp.nothing()
}

// ownToPBX are the rows that are too short for any number and on no list, or a name:
// the PBX may have such an extension, as for a telephone on the LAN. It may not dial
// it, see TestEvasionNumbers.
var ownToPBX = map[string]bool{"N7c": true, "N25b": true}

func isPlain(uri message.URI) bool {
	_, plain := plainUser(uri)
	return plain
}

// TestTeleworkerNumbersStayJudged dials all of section 1.2 at the PBX's domain: what
// no PBX may dial passes for no extension either, called or transferred to.
func TestTeleworkerNumbersStayJudged(t *testing.T) {
	for at, change := range numberSites {
		w := newTeleworker(t, change)
		refer := w.establish("102", "refer"+at)
		for _, n := range evasionNumbers {
			if n.at != at {
				continue
			}
			uri := strings.ReplaceAll(n.uri, domain, office)
			if !strings.Contains(uri, ":") {
				uri = "sip:" + strings.ReplaceAll(uri, " ", "") + "@" + office
			}
			if n.under != "" || ownToPBX[n.id] {
				if read, err := message.ParseURI(uri); err == nil && read.Scheme == "sip" && isPlain(read) {
					w.reaches("INVITE", uri)
				}
				continue
			}
			for _, method := range []string{"INVITE", "MESSAGE"} {
				text, _ := w.calls(method, uri)
				if got := w.turnedDown(text); got == "100" {
					t.Errorf("%s: %s of %s came through", n.id, method, uri)
				}
			}
			if got := w.turnedDown(refer("Refer-To: <" + uri + ">")); got == "202" {
				t.Errorf("%s: a transfer to %s came through", n.id, uri)
			}
		}
		w.itsp.nothing()
	}
}

// establish calls an extension, or for help, and returns what writes a REFER in
// that call.
func (w *teleworker) establish(user, id string) func(lines ...string) string {
	w.t.Helper()
	callee := w.pbx
	if user == "000" {
		callee = w.itsp
	}
	text := replaced(w.t.(*testing.T), w.invite("sip:"+user+"@"+office, id), []string{"<sip:201@$me>;tag", "<sip:101@" + office + ">;tag"})
	w.send(text)
	c := testCall{caller: w.agent, callee: callee, invite: callee.expect("INVITE ")}
	callee.send(answer(c.invite, "200 OK", "callee", "Contact: <"+callee.contact()+">"))
	c.ok = w.expect("SIP/2.0 200")
	w.send(c.fromCaller("ACK", "1 ACK", "ack"))
	callee.expect("ACK ")
	w.kept = nil
	n := 1
	return func(lines ...string) string {
		n++
		return c.fromCaller("REFER", fmt.Sprintf("%d REFER", n), fmt.Sprintf("refer%d", n), append([]string{"Contact: <sip:101@$me>"}, lines...)...)
	}
}

// TestTeleworkerTransfers: the PBX is told to call itself, so that what it makes of a
// number crosses the box, and a trunk is never told of an extension.
func TestTeleworkerTransfers(t *testing.T) {
	w := newTeleworker(t)
	at := "@" + w.pbx.at.String() + ">"
	refer := w.establish("102", "blind")
	for user, want := range map[string]string{
		"103": "<sip:103", "reception": "<sip:reception", "0491570157": "<sip:0491570157", "0491%2d570.157": "<sip:0491570157", "000": "<sip:000",
	} {
		w.send(refer("Refer-To: <sip:" + user + "@" + office + ">"))
		got := w.pbx.expect("REFER ")
		if every(got, "Refer-To")[0] != want+at || len(every(got, "Refer-To")) != 1 {
			t.Errorf("%s: Refer-To %q", user, every(got, "Refer-To"))
		}
		w.pbx.send(answer(got, "202 Accepted", ""))
		w.expect("SIP/2.0 202")
	}
	w.send(refer("Refer-To: <sip:0491570157@" + domain + ">"))
	got := w.pbx.expect("REFER ")
	if get(got, "Refer-To") != "<sip:0491570157"+at {
		t.Errorf("at the provider's domain: Refer-To %q", get(got, "Refer-To"))
	}
	w.pbx.send(answer(got, "202 Accepted", ""))
	w.expect("SIP/2.0 202")
	w.kept, w.pbx.kept = nil, nil
	for _, uri := range []string{"sip:+252615550148@" + office, "sip:103@" + domain, "sip:103@elsewhere.example", "sip:500&PJSIP%2Fx@" + office} {
		if status := w.turnedDown(refer("Refer-To: <" + uri + ">")); status != "403" {
			t.Errorf("%s: %s", uri, status)
		}
	}
	w.itsp.nothing()

	help := w.establish("000", "help")
	for _, uri := range []string{"sip:103@" + office, "sip:reception@" + office, "sip:103@" + w.pbx.at.String(), "sip:+252615550148@" + office} {
		if status := w.turnedDown(help("Refer-To: <" + uri + ">")); status != "403" {
			t.Errorf("to the trunk, %s: %s", uri, status)
		}
	}
	w.itsp.nothing()
	w.send(help("Refer-To: <sip:0491570157@" + office + ">"))
	if got := get(w.itsp.expect("REFER "), "Refer-To"); got != "<sip:0491570157@"+domain+">" {
		t.Errorf("to the trunk: Refer-To %q", got)
	}
}

// TestTeleworkerIsSentElsewhere: a 3xx of the PBX leads back to the PBX.
func TestTeleworkerIsSentElsewhere(t *testing.T) {
	w := newTeleworker(t)
	text, _ := w.calls("INVITE", "sip:102@"+office)
	w.send(text)
	at := w.pbx.at.String()
	w.pbx.send(answer(w.pbx.expect("INVITE "), "302 Moved Temporarily", "x", "Contact: <sip:103@"+at+">", "Contact: <sip:0491570157@"+at+">", "Contact: <sip:+252615550148@"+at+">"))
	if got := every(w.expect("SIP/2.0 302"), "Contact"); !slices.Equal(got, []string{"<sip:103@" + office + ">", "<sip:0491570157@" + office + ">"}) {
		t.Errorf("Contacts %q", got)
	}
}

// TestTeleworkerWatches: a subscription to the PBX works in both directions.
func TestTeleworkerWatches(t *testing.T) {
	w := newTeleworker(t)
	text, id := w.calls("SUBSCRIBE", "sip:reception@"+office)
	w.send(replaced(t, text, []string{"Allow: ", "Event: dialog\nAllow: "}))
	got := w.pbx.expect("SUBSCRIBE sip:reception@" + w.pbx.at.String() + " ")
	w.pbx.send(answer(got, "200 OK", "b", "Expires: 600", "Contact: <sip:blf@"+w.pbx.at.String()+">"))
	w.expect("SIP/2.0 200")
	c := testCall{callee: w.pbx, invite: got}
	w.pbx.send(strings.ReplaceAll(c.fromCallee("NOTIFY", "1 NOTIFY", "n", "Event: dialog", "Subscription-State: active", "Contact: <sip:blf@$me>"), "tag=callee", "tag=b"))
	if got := get(w.expect("NOTIFY "), "Call-ID"); got != id {
		t.Errorf("a NOTIFY of %s", got)
	}
}
