package message

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func names(m *Message) string {
	var list []string
	for _, h := range m.Headers {
		list = append(list, h.Name+"="+h.Value)
	}
	return strings.Join(list, " ")
}

func TestEdit(t *testing.T) {
	m := &Message{Method: "OPTIONS", URI: "sip:a"}
	m.Add("Content-Type", "a/b")
	m.Add("X-A", "1")
	m.Add("via", "v2")
	m.Add("CSeq", "1 OPTIONS")
	m.Push("Via", "v1")
	m.Push("Route", "r")
	m.Add("X-B", "2")
	m.Add("Via", "v3")
	if got := names(m); got != "Via=v1 Via=v2 Via=v3 Route=r CSeq=1 OPTIONS X-A=1 X-B=2 Content-Type=a/b" {
		t.Fatalf("order is %s", got)
	}
	clone := m.Clone()
	if v, ok := m.Pop("VIA"); v != "v1" || !ok {
		t.Errorf("popped %q, %v", v, ok)
	}
	if v, ok := m.Pop("From"); v != "" || ok {
		t.Errorf("popped %q, %v", v, ok)
	}
	m.Set("Via", "v4")
	m.Set("x-a", "3")
	m.Set("From", "f")
	m.Del("ROUTE")
	m.Del("none")
	if got := names(m); got != "Via=v4 From=f CSeq=1 OPTIONS X-A=3 X-B=2 Content-Type=a/b" {
		t.Errorf("order is %s", got)
	}
	if m.Get("x-b") != "2" || m.Get("none") != "" || m.Has("Route") || !m.Has("via") {
		t.Error("Get or Has is wrong")
	}
	if got := clone.All("Via"); !reflect.DeepEqual(got, []string{"v1", "v2", "v3"}) {
		t.Errorf("the clone changed with the message: %q", got)
	}
}

// TestAppendIsClean shows that no field can bring a line break onto the wire.
func TestAppendIsClean(t *testing.T) {
	m := &Message{Method: "OP\nTIONS", URI: "sip:a\r\nX: y", Headers: []Header{
		{"To\r\n", "a\r\nEvil: b\x00\x7f"}, {"l", "5"}, {"Content-length", "5"},
	}, Body: []byte("a\r\n\x00")}
	want := "OP TIONS sip:a  X: y SIP/2.0\r\nTo  : a  Evil: b  \r\nContent-Length: 4\r\n\r\na\r\n\x00"
	if got := string(m.Append(nil)); got != want {
		t.Errorf("got %q", got)
	}
	m = &Message{Status: 200, Phrase: "O\nK"}
	if got := string(m.Append([]byte("x"))); got != "xSIP/2.0 200 O K\r\nContent-Length: 0\r\n\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestAccessors(t *testing.T) {
	m, err := Parse(withHeader(strings.ReplaceAll(`Via: SIP/2.0/TLS [2001:db8::5]:5062;maddr=192.0.2.9;ttl=7;received=[2001:DB8::6];rport=1025;branch=z9hG4bKx
Route: <sip:192.0.2.7;lr>, <sip:b@c>;x=y
Record-Route: <sip:r;lr>
Contact: "A" <sip:a@192.0.2.2:5062>;expires=60
Refer-To: <sip:b@c?Replaces=d%40e%3Bto-tag%3Df%3Bfrom-tag%3Dg>
Replaces: d@e;from-tag=g;to-tag=f;early-only
RAck: 3 4 INVITE
RSeq: 5
Expires: 6
Session-Expires: 90;refresher=uas
Require: 100rel, replaces
Require: timer
Content-Type: application/sdp;charset=utf-8
Reason: Q.850;cause=21;text="no \"way\"", SIP;cause=403
P-Asserted-Identity: "A" <sip:a@b>, <tel:+61255501234>`, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v (%v), want %+v", what, got, err, want)
		}
	}
	vias, err := m.Vias()
	check("Vias", len(vias), 2, err)
	via := vias[1]
	check("Via", []string{via.Transport, via.Host, via.Branch(), via.MAddr()}, []string{"TLS", "2001:db8::5", "z9hG4bKx", "192.0.2.9"}, nil)
	check("Via port", via.Port, uint16(5062), nil)
	check("received", via.Received(), netip.MustParseAddr("2001:db8::6"), nil)
	port, ok := via.RPort()
	check("rport", port, uint16(1025), nil)
	ttl, ok2 := via.TTL()
	check("ttl", ttl, uint8(7), nil)
	check("rport and ttl", ok && ok2, true, nil)
	_, ok = vias[0].RPort()
	check("no rport", ok, false, nil)
	check("no received", vias[0].Received(), netip.Addr{}, nil)
	top, err := m.TopVia()
	check("TopVia", top, &vias[0], err)

	from, err := m.From()
	check("From", from, &NameAddr{URI: URI{Scheme: "sip", User: "200", Host: "192.0.2.1"}, Params: ";tag=a"}, err)
	addr, ok := from.URI.Addr()
	check("Addr", addr, netip.MustParseAddr("192.0.2.1"), nil)
	check("has Addr", ok, true, nil)
	check("Tag", from.Tag()+m.CallID(), "aa@b", nil)
	to, err := m.To()
	check("To", to.Tag(), "", err)
	cseq, err := m.CSeq()
	check("CSeq", cseq, CSeq{1, "INVITE"}, err)
	hops, err := m.MaxForwards()
	check("MaxForwards", hops, 70, err)
	routes, err := m.Routes()
	check("Routes", len(routes) == 2 && routes[0].URI.Params.Has("lr") && routes[1].Params == ";x=y", true, err)
	records, err := m.RecordRoutes()
	check("RecordRoutes", len(records), 1, err)
	contacts, star, err := m.Contacts()
	check("Contacts", len(contacts) == 1 && !star && contacts[0].Display == "A" && contacts[0].Params == ";expires=60", true, err)
	refer, err := m.ReferTo()
	fields := refer.URI.HeaderFields()
	check("ReferTo", fields, []Header{{"Replaces", "d@e;to-tag=f;from-tag=g"}}, err)
	embedded, err := ParseReplaces(fields[0].Value)
	check("embedded Replaces", embedded, Replaces{"d@e", "f", "g", ";to-tag=f;from-tag=g"}, err)
	replaces, err := m.Replaces()
	check("Replaces", replaces, Replaces{"d@e", "f", "g", ";from-tag=g;to-tag=f;early-only"}, err)
	check("EarlyOnly", replaces.EarlyOnly() && !embedded.EarlyOnly(), true, nil)
	rack, err := m.RAck()
	check("RAck", rack, RAck{3, CSeq{4, "INVITE"}}, err)
	rseq, err := m.RSeq()
	check("RSeq", rseq, uint32(5), err)
	expires, err := m.Expires()
	check("Expires", expires, uint32(6), err)
	session, err := m.SessionExpires()
	check("SessionExpires", session, Value{"90", ";refresher=uas"}, err)
	require, err := m.Tokens("Require")
	check("Require", require, []string{"100rel", "replaces", "timer"}, err)
	media, err := m.ContentType()
	check("ContentType", media, Value{"application/sdp", ";charset=utf-8"}, err)
	reasons, err := m.Reasons()
	check("Reasons", len(reasons) == 2 && reasons[0].Params.Text("text") == `no "way"` && reasons[1].Text == "SIP", true, err)
	asserted, err := m.Addresses("P-Asserted-Identity")
	check("Addresses", len(asserted) == 2 && asserted[1].URI.User == "+61255501234", true, err)
	checkEmitted(t, m)
}

func TestAccessorsOfNothing(t *testing.T) {
	m := &Message{Headers: []Header{{"Via", "nonsense"}, {"Route", "<sip:a"}, {"Max-Forwards", "300"}}}
	_, err := m.From()
	checkProblem(t, err, "From", "missing")
	_, err = m.TopVia()
	checkProblem(t, err, "Via", "sent-protocol")
	_, err = m.Routes()
	checkProblem(t, err, "Route", "unclosed")
	_, err = m.MaxForwards()
	checkProblem(t, err, "Max-Forwards", "out of range")
	if routes, err := m.RecordRoutes(); routes != nil || err != nil {
		t.Errorf("got %v, %v", routes, err)
	}
}

func TestStar(t *testing.T) {
	register := strings.ReplaceAll(base, "INVITE", "REGISTER")
	m, err := Parse(crlf(register + "Contact: *\nExpires: 0\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	if contacts, star, err := m.Contacts(); contacts != nil || !star || err != nil {
		t.Errorf("got %v, %v, %v", contacts, star, err)
	}
	checkEmitted(t, m)
	for _, more := range []string{"Contact: *\nContact: <sip:a>\n", "Contact: *\nm: *\n", "Contact: *, <sip:a>\n", "Contact: *;expires=0\n"} {
		if _, err := Parse(crlf(register + "Expires: 0\n" + more + "\n")); err == nil {
			t.Errorf("%q is accepted", more)
		}
	}
	for _, expires := range []string{"", "Expires: 60\n"} {
		if _, err := Parse(crlf(register + "Contact: *\n" + expires + "\n")); err == nil {
			t.Errorf("* is accepted with %q", expires)
		}
	}
	if _, err := Parse(crlf(register + "Contact: <sip:a>, <sip:b>\n\n")); err != nil {
		t.Errorf("two bindings: %v", err)
	}
	redirect := strings.Replace(base, "INVITE sip:100@192.0.2.1 SIP/2.0", "SIP/2.0 302 x", 1)
	if _, err := Parse(crlf(redirect + "Contact: <sip:a>, <sip:b>\n\n")); err != nil {
		t.Errorf("two targets: %v", err)
	}
	if _, err := Parse(crlf(strings.Replace(redirect, "302", "200", 1) + "Contact: <sip:a>, <sip:b>\n\n")); err == nil {
		t.Error("an answer with two targets is accepted")
	}
}

func TestRespond(t *testing.T) {
	m := parsed(t, "INVITE sip:a SIP/2.0\nRecord-Route: <sip:r>\nVia: SIP/2.0/UDP a\nVia: SIP/2.0/UDP b\nFrom: <sip:f>;tag=x\nTo: <sip:t>\nCall-ID: c\nCSeq: 1 INVITE\nContact: <sip:e>\n\nbody")
	want := "SIP/2.0 403 Forbidden\r\nVia: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nFrom: <sip:f>;tag=x\r\nTo: <sip:t>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	out := m.Respond(403, "Forbidden")
	if got := string(out.Append(nil)); got != want {
		t.Errorf("got %q", got)
	}
	checkEmitted(t, out)

	m.Add("Timestamp", "54")
	if m.Respond(100, "Trying").Get("Timestamp") != "54" || m.Respond(180, "Ringing").Has("Timestamp") {
		t.Error("Timestamp belongs into the 100 and nowhere else")
	}
}

func TestRefuse(t *testing.T) {
	for _, lines := range []string{"Refer-To: <sip:a", "Contact: x", "Content-Length: 0", "Max-Forwards: 300", "X: a\r\n b"} {
		m, ok := Refuse(withHeader(lines), 400, "Bad Request")
		if !ok {
			t.Errorf("%q: no answer", lines)
			continue
		}
		if names(m) != "Via=SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa From=<sip:200@192.0.2.1>;tag=a To=<sip:100@192.0.2.1> Call-ID=a@b CSeq=1 INVITE" {
			t.Errorf("%q: answer holds %s", lines, names(m))
		}
		checkEmitted(t, m)
	}
	for _, lines := range []string{"Subject: a\nb", "Subject: a\x00", "Subject", "t: <sip:x>", "Via: x", "X: a\r\n "} {
		if m, ok := Refuse(withHeader(lines), 400, "Bad Request"); ok {
			t.Errorf("%q: answered with %s", lines, names(m))
		}
	}
	ack := bytes.ReplaceAll(withHeader("X: y"), []byte("INVITE"), []byte("ACK"))
	response := bytes.Replace(withHeader("X: y"), []byte("INVITE sip:100@192.0.2.1 SIP/2.0"), []byte("SIP/2.0 200 OK"), 1)
	for _, datagram := range [][]byte{ack, response, nil, []byte("x\r\n\r\n"), crlf(base)} {
		if _, ok := Refuse(datagram, 400, "Bad Request"); ok {
			t.Errorf("%.20q is answered", datagram)
		}
	}
}

// TestRules checks the table of headers against what the parser builds on it.
func TestRules(t *testing.T) {
	if len(headerRules) > len(parser{}.seen) {
		t.Fatalf("%d rules, room for %d", len(headerRules), len(parser{}.seen))
	}
	spelled := map[string]bool{}
	for _, r := range headerRules {
		for _, name := range []string{r.name, r.short} {
			if name == "" {
				continue
			}
			if spelled[strings.ToLower(name)] || len(name) > longestRule {
				t.Errorf("%q has two rules or is too long", name)
			}
			spelled[strings.ToLower(name)] = true
			for _, form := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
				if got := ruleOf(form); got == nil || got.name != r.name {
					t.Errorf("%q has no rule", form)
				}
			}
		}
	}
	if ruleOf("Unknown") != nil || ruleOf(strings.Repeat("x", 100)) != nil || ruleOf("") != nil {
		t.Error("an unknown name has a rule")
	}
}
