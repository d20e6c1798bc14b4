package inspector

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// The evasion tables hold at least one row for every row of the specification's
// tables of vectors: F (framing and transport), N (numbers) and G (dialogs), and
// X for what an attacker would try next. Each row checks what the provider's
// socket got, byte for byte, or that it got nothing, and what the sender was told.

// evasionRow is one vector. Its id is that of the specification with a letter.
type evasionRow struct {
	id, what string
	run      func(e *scene)
}

// scene is one row being played at a site.
type scene struct {
	t         *testing.T
	s         *site
	id        string
	pbx, itsp *agent
}

func playEvasions(t *testing.T, rows []evasionRow, setups ...setup) {
	s := newSite(t, setups...)
	playAt(t, s, s.pbx(), s.itsp(), rows)
}

func playAt(t *testing.T, s *site, pbx, itsp *agent, rows []evasionRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.id+" "+row.what, func(t *testing.T) {
			for _, a := range []*agent{pbx, itsp} {
				a.t, a.kept = t, nil
			}
			s.t = t
			row.run(&scene{t: t, s: s, id: strings.ToLower(row.id), pbx: pbx, itsp: itsp})
		})
	}
	s.t, pbx.t, itsp.t = t, t, t
}

func callTo(uri string) rules.Call {
	return rules.Call{URI: uri, Direction: appliance.Outbound, Use: rules.UseCall}
}

// crlf writes the head of a message, its end included.
func crlf(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

var (
	ourBranch = regexp.MustCompile(`z9hG4bK\.[a-z2-7]{16}\.[0-9a-z]+|z9hG4bK\.[0-9a-z]+\.[0-9a-z]+`)
	ourTag    = regexp.MustCompile(`;tag=[a-z2-7]{8}\r\n`)
)

// wantBytes compares a message with what it must be, byte for byte but for what
// the box draws at random: its branches and its tags.
func wantBytes(t *testing.T, s *site, got, want string) {
	t.Helper()
	got = ourTag.ReplaceAllString(ourBranch.ReplaceAllString(got, "$$branch"), ";tag=$$tag\r\n")
	want = ourBranch.ReplaceAllString(s.named(want), "$$branch")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// named writes the addresses of a site for their names.
func (s *site) named(text string) string {
	return strings.NewReplacer("$box", s.box.String(), "$pbx", s.pbxAt.String(), "$itsp", s.itspAt.String(),
		"$hostpbx", s.pbxAt.Addr().String(), "$hostitsp", s.itspAt.Addr().String()).Replace(text)
}

// answerBytes is a response that the box itself makes to what a has sent.
func answerBytes(a *agent, sent, status string, extra ...string) string {
	all := []string{"SIP/2.0 " + status}
	for n, via := range every(sent, "Via") {
		if n == 0 && strings.Contains(via, ";rport") {
			via = strings.Replace(via, ";rport", fmt.Sprintf(";rport=%d", a.at.Port()), 1)
			via += ";received=" + a.at.Addr().String()
		}
		all = append(all, "Via: "+via)
	}
	to := get(sent, "To")
	if !strings.Contains(to, ";tag=") && !strings.HasPrefix(status, "100") {
		to += ";tag=$tag"
	}
	all = append(all, "From: "+get(sent, "From"), "To: "+to, "Call-ID: "+get(sent, "Call-ID"), "CSeq: "+get(sent, "CSeq"))
	return crlf(append(append(all, extra...), "Content-Length: 0")...)
}

// rejectBytes is the 400 to what could not be read: the lines that a response
// copies, as they came, and the header that is to blame.
func rejectBytes(sent, header, problem string) string {
	phrase, blame := "Bad Request", problem
	if header != "" {
		phrase, blame = "Bad "+header, header+": "+problem
	}
	all := []string{"SIP/2.0 400 " + phrase}
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		for _, value := range every(sent, name) {
			all = append(all, name+": "+value)
			if name != "Via" {
				break
			}
		}
	}
	return crlf(append(all, `Warning: 399 ringfence "`+strings.ReplaceAll(blame, `"`, "'")+`"`, "Content-Length: 0")...)
}

const rejected = `Reason: Q.850;cause=21;text="call rejected"`

// quiet asserts that a has got nothing new but what it was told itself.
func (e *scene) quiet(all ...*agent) {
	e.t.Helper()
	for _, a := range all {
		a.nothing()
	}
}

// answered sends text by a and asserts the exact answer, and that nobody else
// heard anything.
func (e *scene) answered(a *agent, text, status string, extra ...string) {
	e.t.Helper()
	wire := a.wire(text)
	a.raw(wire)
	wantBytes(e.t, e.s, a.expect("SIP/2.0 "+status[:3]), answerBytes(a, wire, status, extra...))
	e.acknowledge(a, wire, status)
	e.quiet(e.other(a))
}

// judged is answered for a request that the judge has turned down, at once: no 100
// comes before it.
func (e *scene) judged(a *agent, text string) {
	e.t.Helper()
	wire := a.wire(text)
	a.raw(wire)
	wantBytes(e.t, e.s, a.expect("SIP/2.0 "), answerBytes(a, wire, "403 Forbidden", rejected))
	e.acknowledge(a, wire, "403")
	e.quiet(e.other(a))
}

// acknowledge ends the refusal of an INVITE, so that it is not repeated.
func (e *scene) acknowledge(a *agent, wire, status string) {
	if !strings.HasPrefix(wire, "INVITE ") || a.tcp {
		return
	}
	uri := strings.Fields(wire)[1]
	to := get(wire, "To")
	a.send(strings.Join([]string{"ACK " + uri + " SIP/2.0", "Via: " + get(wire, "Via"), "From: " + get(wire, "From"),
		"To: " + to, "Call-ID: " + get(wire, "Call-ID"), "CSeq: " + strings.Fields(get(wire, "CSeq"))[0] + " ACK"}, "\n"))
}

// malformed sends raw bytes and asserts the exact 400. A trunk that sends the same
// hears nothing, and either is counted.
func (e *scene) malformed(raw, header, problem string) {
	e.t.Helper()
	before := e.s.tally(appliance.ReasonMalformedMessage)
	e.pbx.raw(raw)
	got := e.pbx.expect("SIP/2.0 400")
	wantBytes(e.t, e.s, got, rejectBytes(raw, header, problem))
	e.quiet(e.itsp)
	e.itsp.raw(strings.ReplaceAll(raw, e.pbx.at.String(), e.itsp.at.String()))
	e.quiet(e.itsp, e.pbx)
	if counted := e.s.tally(appliance.ReasonMalformedMessage) - before; counted != 2 {
		e.t.Errorf("counted %d times, want 2", counted)
	}
}

// dropped sends bytes that get no answer at all, and are counted.
func (e *scene) dropped(a *agent, raw string, reason appliance.Reason) {
	e.t.Helper()
	before := e.s.tally(reason)
	a.raw(raw)
	e.quiet(e.pbx, e.itsp)
	if counted := e.s.tally(reason) - before; counted != 1 {
		e.t.Errorf("counted %d times for %s, want once", counted, reason)
	}
}

func (e *scene) other(a *agent) *agent {
	if a == e.itsp {
		return e.pbx
	}
	return e.itsp
}

// invite is the INVITE of the PBX for a URI, with changes: old and new in turn.
func (e *scene) invite(uri string, changes ...string) string {
	return e.s.named(replaced(e.t, e.pbx.invite(uri, e.id), changes))
}

func replaced(t *testing.T, text string, changes []string) string {
	t.Helper()
	for n := 0; n+1 < len(changes); n += 2 {
		if !strings.Contains(text, changes[n]) {
			t.Fatalf("there is no %q to change", changes[n])
		}
		text = strings.Replace(text, changes[n], changes[n+1], 1)
	}
	return text
}

// bytesOut is the INVITE as the trunk gets it: called under uri, for what the PBX
// wrote into To.
func (e *scene) bytesOut(uri, to string, changes ...string) string {
	body := strings.ReplaceAll(strings.TrimPrefix(offer, "\n\n"), "\n", "\r\n")
	head := crlf("INVITE "+uri+" SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport",
		"Via: SIP/2.0/UDP $pbx;rport=5060;branch=z9hG4bK-inv-"+e.id+";received=$hostpbx",
		"Record-Route: <sip:$box;lr>", "Max-Forwards: 69", `From: "Desk" <sip:201@$pbx>;tag=caller`, "To: <"+to+">",
		"Call-ID: "+e.id, "CSeq: 1 INVITE", "Contact: <sip:201@$pbx>",
		"Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK", "Supported: 100rel, timer, replaces", "p-early-media: supported",
		"P-Asserted-Identity: <sip:+61255500201@sip.itsp.example>", "Session-Expires: 1800", "Content-Type: application/sdp",
		fmt.Sprintf("Content-Length: %d", len(body)))
	return replaced(e.t, head+body, changes)
}

// passes sends an INVITE that the trunk must get in exactly these bytes, and ends
// it as busy.
func (e *scene) passes(text, want string) {
	e.t.Helper()
	wire := e.pbx.wire(text)
	e.pbx.raw(wire)
	got := e.itsp.expect("INVITE ")
	wantBytes(e.t, e.s, got, want)
	e.itsp.send(answer(got, "486 Busy Here", "busy"))
	e.itsp.expect("ACK ")
	e.pbx.expect("SIP/2.0 100")
	e.pbx.expect("SIP/2.0 486")
	e.acknowledge(e.pbx, wire, "486")
	e.quiet(e.itsp)
}

// dials passes where uri may be called, under the given one at the trunk.
func (e *scene) dials(uri, under string) {
	e.t.Helper()
	e.passes(e.invite(uri), e.bytesOut(under, e.s.canonicalURI(uri)))
}

// canonicalURI is how the box spells a URI that it only carries in To.
func (s *site) canonicalURI(uri string) string {
	return strings.NewReplacer("$box", s.box.String()).Replace(uri)
}

// TestEvasionCoversTheSpecification: no id of the specification is without a row.
func TestEvasionCoversTheSpecification(t *testing.T) {
	rows := map[string]int{}
	total := 0
	for table, all := range evasionTables() {
		seen := map[string]bool{}
		for _, row := range all {
			if seen[row.id] {
				t.Errorf("table %s: %s stands twice", table, row.id)
			}
			seen[row.id] = true
			rows[strings.TrimRight(row.id, "abcdefghijklmnopqrstuvwxyz")]++
			total++
		}
		t.Logf("table %s: %d rows", table, len(all))
	}
	t.Logf("%d rows", total)
	for letter, last := range map[string]int{"F": 13, "N": 26, "G": 20} {
		for n := 1; n <= last; n++ {
			if id := fmt.Sprintf("%s%d", letter, n); rows[id] == 0 {
				t.Errorf("%s has no row", id)
			}
		}
	}
	if more := rows["X"]; more != 0 {
		t.Error("an X row has no number")
	}
	ids := []string{}
	for id := range rows {
		if strings.HasPrefix(id, "X") {
			ids = append(ids, id)
		}
	}
	if slices.Sort(ids); len(ids) < 59 {
		t.Errorf("%d vectors of our own, want as many as the specification has", len(ids))
	}
}
