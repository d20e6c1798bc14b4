package inspector

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// The second half of section 1.3: calls, hosts, hops and registrations.
var evasionCalls = []evasionRow{
	{"G9a", "answers from two forks", func(e *scene) {
		wire := e.pbx.wire(e.invite(mobile))
		e.pbx.raw(wire)
		invite := e.itsp.expect("INVITE ")
		for _, tag := range []string{"one", "two"} {
			e.itsp.send(answer(invite, "180 Ringing", tag, "Contact: <sip:"+tag+"@"+e.itsp.at.String()+">"))
			e.pbx.expect("SIP/2.0 180")
		}
		for _, tag := range []string{"one", "two"} {
			e.itsp.send(answer(invite, "200 OK", tag, "Contact: <sip:"+tag+"@"+e.itsp.at.String()+">"))
		}
		e.pbx.expect("SIP/2.0 100")
		ok := e.pbx.expect("SIP/2.0 200")
		ack, bye := e.itsp.expect("ACK sip:two@"), e.itsp.expect("BYE sip:two@")
		for _, one := range []string{ack, bye} {
			number := map[byte]string{'A': "1 ACK", 'B': "2 BYE"}[one[0]]
			wantBytes(e.t, e.s, one, crlf(number[2:]+" sip:two@$itsp SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport", "Max-Forwards: 70",
				`From: "Desk" <sip:201@$pbx>;tag=caller`, "To: <"+mobile+">;tag=two", "Call-ID: "+e.id, "CSeq: "+number, "Content-Length: 0"))
		}
		e.itsp.send(answer(bye, "200 OK", ""))
		if len(e.s.in.Live()) != 1 {
			e.t.Errorf("%d live calls", len(e.s.in.Live()))
		}
		c := testCall{caller: e.pbx, callee: e.itsp, invite: invite, ok: ok}
		e.pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
		e.itsp.expect("ACK sip:one@")
		c.hangUp(e.s)
		e.quiet(e.pbx)
	}},
	{"G10a", "a BYE with an old number", func(e *scene) {
		c := e.call(e.id)
		e.pbx.send(c.fromCaller("INFO", "5 INFO", "i"))
		e.ok(e.itsp.expect("INFO "))
		e.pbx.send(c.fromCaller("BYE", "3 BYE", "old"))
		e.itsp.send(answer(e.itsp.expect("BYE "), "500 Server Internal Error", ""))
		e.pbx.expect("SIP/2.0 500")
		// The trunk goes on counting: the box ends it with a number that counts.
		bye := e.itsp.expect("BYE ")
		wantBytes(e.t, e.s, bye, crlf("BYE sip:line@$itsp SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport", "Max-Forwards: 70",
			`From: "Desk" <sip:201@$pbx>;tag=caller`, "To: <"+mobile+">;tag=callee", "Call-ID: "+e.id, "CSeq: 6 BYE", "Content-Length: 0"))
		e.itsp.send(answer(bye, "200 OK", ""))
		e.pbx.send(answer(e.pbx.expect("BYE "), "200 OK", ""))
		e.s.until("the call is no longer counted", func() bool { return len(e.s.in.Live()) == 0 })
	}},
	{"G10b", "a call that ends twice is counted once", func(e *scene) {
		c := e.call(e.id)
		e.pbx.send(c.fromCaller("BYE", "2 BYE", "b1"))
		e.itsp.send(c.fromCallee("BYE", "9 BYE", "b2"))
		e.itsp.send(answer(e.itsp.expect("BYE "), "200 OK", ""))
		e.pbx.send(answer(e.pbx.expect("BYE "), "200 OK", ""))
		e.pbx.expect("SIP/2.0 200")
		e.itsp.expect("SIP/2.0 200")
		e.s.until("the call is no longer counted", func() bool { return len(e.s.in.Live()) == 0 })
		e.s.call("it has ended", func(c appliance.Call) bool { return c.CallID == e.id && !c.End.IsZero() })
		ends := 0
		e.s.mu.Lock()
		for _, one := range e.s.events {
			if one.Call != nil && one.Call.CallID == e.id && !one.Call.End.IsZero() {
				ends++
			}
		}
		e.s.mu.Unlock()
		if ends != 1 {
			e.t.Errorf("it ended %d times", ends)
		}
	}},
	{"G11a", "a repeated INVITE", func(e *scene) {
		before := e.s.tally(appliance.ReasonHighRisk)
		wire := e.pbx.wire(e.invite(dear))
		e.pbx.raw(wire)
		e.judged(e.pbx, e.invite(dear))
		if got := e.s.tally(appliance.ReasonHighRisk) - before; got != 1 {
			e.t.Errorf("counted %d times", got)
		}
	}},
	{"G11b", "credentials added", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		e.itsp.send(answer(e.itsp.expect("INVITE "), "407 Proxy Authentication Required", "x", `Proxy-Authenticate: Digest realm="r",nonce="n"`))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 407")
		e.pbx.send(e.invite(mobile, "CSeq: 1", "CSeq: 2", "-inv-", "-inv2-", "Allow:", `Proxy-Authorization: Digest username="u",realm="r",nonce="n",response="x"`+"\nAllow:"))
		e.itsp.send(answer(e.itsp.expect("INVITE "), "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 486")
		if record := e.record(e.id); record.Tries != 2 || record.Attempt != "" || record.Overlap {
			e.t.Errorf("record %+v", record)
		}
	}},
	{"G11c", "another number under the same Call-ID is another attempt", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		e.itsp.send(answer(e.itsp.expect("INVITE "), "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 100")
		e.pbx.expect("SIP/2.0 486")
		e.judged(e.pbx, e.invite(dear, "CSeq: 1", "CSeq: 2", "-inv-", "-inv2-"))
		if record := e.record(e.id); record.Attempt != "" || record.Tries != 1 {
			e.t.Error("it is counted as the same attempt")
		}
	}},
	{"G12a", "another caller each time is the same source", func(e *scene) {
		for n := range 3 {
			id := fmt.Sprintf("%s-%d", e.id, n)
			e.judged(e.pbx, replaced(e.t, e.pbx.invite(dear, id), []string{"<sip:201@", fmt.Sprintf("<sip:%d@", 900+n), "P-Asserted-Identity: <sip:+61255500201@", fmt.Sprintf("P-Asserted-Identity: <sip:%d@", n)}))
			if record := e.record(id); record.Source != e.pbx.at.String() {
				e.t.Errorf("record %+v", record)
			}
		}
	}},
	{"G13a", "a challenge to what nobody sent", func(e *scene) {
		e.dropped(e.itsp, e.itsp.wire("SIP/2.0 401 Unauthorized\nVia: SIP/2.0/UDP $box;branch=z9hG4bK.a.b\nVia: SIP/2.0/UDP "+e.pbx.at.String()+";branch=z9hG4bK1\n"+
			"From: <sip:201@x>;tag=a\nTo: <sip:x@x>;tag=b\nCall-ID: bait\nCSeq: 1 BYE\nWWW-Authenticate: Digest realm=\"r\",nonce=\"n\"\n"), appliance.ReasonUnknownDialog)
	}},
	{"G13b", "a challenge to a real BYE from the wrong side", func(e *scene) {
		c := e.call(e.id)
		e.pbx.send(c.fromCaller("BYE", "2 BYE", "b"))
		bye := e.itsp.expect("BYE ")
		phone := e.phone(4)
		e.dropped(phone, phone.wire(answer(bye, "407 Proxy Authentication Required", "", `Proxy-Authenticate: Digest realm="r",nonce="n"`)), appliance.ReasonUnknownDialog)
		e.ok(bye)
	}},
	{"G14a", "digits behind an answered call are counted, not kept", func(e *scene) {
		c := establish(e.itsp, e.pbx, "sip:+61255501234@"+e.s.box.String(), e.id)
		for n, digit := range "1234" {
			e.itsp.send(c.fromCaller("INFO", fmt.Sprintf("%d INFO", n+2), fmt.Sprint("d", n), "Content-Type: application/dtmf-relay\n\nSignal="+string(digit)+"\nDuration=160\n"))
			e.pbx.send(answer(e.pbx.expect("INFO "), "200 OK", ""))
			e.itsp.expect("SIP/2.0 200")
		}
		c.hangUp(e.s)
		record := e.s.call("the call has ended", func(c appliance.Call) bool { return c.CallID == e.id && !c.End.IsZero() })
		if record.Digits != 4 || strings.Contains(fmt.Sprint(record), "1234 ") && !strings.Contains(record.Dialled, "1234") {
			e.t.Errorf("record %+v", record)
		}
	}},
	{"G15a", "whatever made the PBX call", func(e *scene) {
		for n, sign := range []string{"X-Originate: ami", "X-Callback: voicemail", "Subject: click to dial", "Call-Info: <http://x/dial>;purpose=info", "Referred-By: <sip:web@x>"} {
			e.judged(e.pbx, replaced(e.t, e.pbx.invite(dear, fmt.Sprint(e.id, n)), []string{"Allow:", sign + "\nAllow:"}))
		}
	}},
	{"G16a", "headers that route", func(e *scene) {
		odd := "X-Route: 252\nP-Charge-Info: <sip:252@x>\nX-Next-Hop: 203.0.113.9\nP-Served-User: <sip:a@b>\nSIP-If-Match: a\nAccept-Contact: *;a\nCall-Info: <http://x>\nAlert-Info: <http://x>\n"
		e.passes(e.invite(mobile, "Allow:", odd+"Allow:"), e.bytesOut(mobile, mobile))
	}},
	{"G16b", "a list of callees required", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Allow:", "Require: recipient-list-invite\nAllow:"), "420 Bad Extension", "Unsupported: recipient-list-invite")
	}},
	{"G16c", "a proxy's extension required", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Allow:", "Proxy-Require: sec-agree, timer\nRequire: 100REL, x\nAllow:"), "420 Bad Extension", "Unsupported: sec-agree, timer, x")
	}},
	{"G16d", "what nobody here knows is not offered", func(e *scene) {
		e.passes(e.invite(mobile, "Supported: 100rel, timer, replaces", "k: 100rel,recipient-list-invite, TIMER ,multiple-refer"),
			e.bytesOut(mobile, mobile, "Supported: 100rel, timer, replaces", "Supported: 100rel, TIMER"))
	}},
	hostRow("G17a", "an octal address", "0313.0.0161.011", "holds a wrong IPv4 address"),
	hostRow("G17b", "a hex address", "0xcb007109", "holds a wrong IPv4 address"),
	hostRow("G17c", "one number as address", "3405803785", "holds a wrong IPv4 address"),
	hostRow("G17d", "a short address", "127.1", "holds a wrong IPv4 address"),
	hostRow("G17e", "a zone", "[fe80::1%25eth0]", "holds a wrong IPv6 address"),
	hostRow("G17f", "a trailing dot", "sip.itsp.example.", "holds a wrong host"),
	hostRow("G17g", "port 0", "sip.itsp.example:0", "holds a wrong port"),
	hostRow("G17h", "port 65536", "sip.itsp.example:65536", "holds a wrong port"),
	hostRow("G17i", "an address without brackets", "2001:db8::1", "holds a wrong IPv4 address"),
	{"G17j", "another case", func(e *scene) {
		e.passes(e.invite("sip:+61491570156@SIP.Itsp.EXAMPLE:05060"), e.bytesOut(mobile, "sip:+61491570156@sip.itsp.example:5060"))
	}},
	{"G17k", "an IPv6 literal of nobody", func(e *scene) {
		e.judged(e.pbx, e.invite("sip:+61491570156@[2001:db8::1]"))
	}},
	{"G18a", "no hops left", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Max-Forwards: 70", "Max-Forwards: 0"), "483 Too Many Hops")
	}},
	{"G18b", "OPTIONS with no hops left", func(e *scene) {
		e.answered(e.pbx, replaced(e.t, e.outOfDialog("OPTIONS", "sip:$itsp"), []string{"Max-Forwards: 70", "Max-Forwards: 0"}), "200 OK",
			"Allow: "+methods, "Accept: application/sdp", "Supported: 100rel, timer, replaces")
	}},
	{"G18c", "more hops than anybody needs", func(e *scene) {
		e.passes(e.invite(mobile, "Max-Forwards: 70", "Max-Forwards: 255"), e.bytesOut(mobile, mobile))
	}},
	{"G18d", "more hops than there are", func(e *scene) {
		e.malformed(e.changed("Max-Forwards: 70", "Max-Forwards: 256"), "Max-Forwards", "is a number out of range")
	}},
	{"G18e", "a loop", func(e *scene) {
		_, text := e.comesBack("", "")
		e.answered(e.pbx, text, "482 Loop Detected")
	}},
	{"G18f", "a spiral", func(e *scene) {
		_, text := e.comesBack("INVITE "+mobile, "INVITE sip:+61491570157@"+domain)
		e.pbx.send(text)
		got := e.itsp.expect("INVITE sip:+61491570157@")
		e.itsp.send(answer(got, "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
	}},
	{"G19a", "too many Contacts", func(e *scene) {
		contacts := strings.Repeat("Contact: <sip:1@$me>\n", 11)
		for n := range 11 {
			contacts = strings.Replace(contacts, "<sip:1@", fmt.Sprintf("<sip:x%d@", n), 1)
		}
		e.answered(e.pbx, e.registers(strings.TrimSuffix(contacts, "\n")), "403 Forbidden")
	}},
	{"G19b", "somebody else's host", func(e *scene) {
		e.answered(e.pbx, e.registers("Contact: <sip:201@203.0.113.9>"), "403 Forbidden")
	}},
	{"G19c", "all removed but for a while", func(e *scene) {
		e.malformed(e.pbx.wire(e.registers("Contact: *\nExpires: 600")), "Contact", `holds "*" where it may not`)
	}},
	{"G19d", "for a third party", func(e *scene) {
		e.answered(e.pbx, replaced(e.t, e.registers("Contact: <sip:201@$me>"), []string{"From: <sip:201@", "From: <sip:202@"}), "403 Forbidden")
	}},
	{"G19e", "from a trunk", func(e *scene) {
		e.answered(e.itsp, e.registers("Contact: <sip:201@$me>"), "403 Forbidden")
	}},
	{"G19f", "a number as Contact is an alias outside", func(e *scene) {
		wire := e.pbx.wire(e.registers("Contact: <sip:+252615550148@$me?X=y>;expires=60;reg-id=1"))
		e.pbx.raw(wire)
		got := e.itsp.expect("REGISTER ")
		alias := aliasIn(got)
		wantBytes(e.t, e.s, got, crlf("REGISTER sip:"+domain+" SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport",
			"Via: SIP/2.0/UDP $pbx;rport=5060;branch=z9hG4bK-"+e.id+";received=$hostpbx", "Max-Forwards: 69", "From: <sip:201@"+domain+">;tag="+e.id,
			"To: <sip:201@"+domain+">", "Call-ID: "+e.id, "CSeq: 1 REGISTER", "Contact: <"+alias+">;expires=60", "Content-Length: 0"))
		if strings.Contains(alias, "252") && strings.Contains(alias, "+") {
			e.t.Errorf("alias %s", alias)
		}
		e.itsp.send(answer(got, "403 Forbidden", "x"))
		e.pbx.expect("SIP/2.0 403")
	}},
	{"G20a", "from a stranger", func(e *scene) {
		stranger := e.s.udp("stranger", netip.AddrPortFrom(e.s.host(99).Addr(), 0))
		stranger.t = e.t
		before := e.s.tally(appliance.ReasonUnknownSource)
		stranger.send(stranger.invite("sip:+61255501234@$box", e.id))
		e.s.until("it is counted", func() bool { return e.s.tally(appliance.ReasonUnknownSource) == before+1 })
		e.quiet(e.pbx, e.itsp)
		if len(stranger.inbox) != 0 {
			e.t.Error("a stranger was answered")
		}
	}},
	{"G20b", "to a number that nobody has", func(e *scene) {
		s := newSite(e.t, withoutPBX)
		itsp := s.itsp()
		wire := itsp.wire(itsp.invite("sip:+61255509999@$box", e.id))
		itsp.raw(wire)
		wantBytes(e.t, s, itsp.expect("SIP/2.0 "), answerBytes(itsp, wire, "404 Not Found"))
	}},
	{"G20c", "from a number of this site", func(e *scene) {
		establish(e.itsp, e.pbx, "sip:+61255501234@"+e.s.box.String(), "g20own").hangUp(e.s)
		for n, from := range []string{"0255501234", "+61255501234", "+61255509876"} {
			id := fmt.Sprint(e.id, n)
			e.itsp.send(replaced(e.t, e.itsp.invite("sip:+61255501234@"+e.s.box.String(), id), []string{"<sip:201@", "<sip:" + from + "@"}))
			e.pbx.send(answer(e.pbx.expect("INVITE "), "486 Busy Here", "x"))
			e.pbx.expect("ACK ")
			e.itsp.expect("SIP/2.0 486")
			if record := e.record(id); record.Hairpin != (n < 2) {
				e.t.Errorf("record %+v", record)
			}
		}
		if !e.s.told("a call from the trunk claims to come from a number of this site") {
			e.t.Error("nobody was told")
		}
	}},
}

func hostRow(id, what, host, problem string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		e.malformed(e.changed("@sip.itsp.example SIP/2.0", "@"+host+" SIP/2.0"), "Request-Line", problem)
	}}
}

// comesBack sends an INVITE, and returns it as a PBX would send it again that got
// it back from the trunk.
func (e *scene) comesBack(old, changed string) (first, text string) {
	e.t.Helper()
	e.pbx.send(e.pbx.invite(mobile, e.id))
	first = e.itsp.expect("INVITE ")
	e.itsp.send(answer(first, "486 Busy Here", "x"))
	e.itsp.expect("ACK ")
	e.pbx.expect("SIP/2.0 486")
	changes := []string{"Via: $via;branch=z9hG4bK-inv-" + e.id, "Via: $via;branch=z9hG4bK-back-" + e.id + "\nVia: " + strings.Join(every(first, "Via"), "\nVia: ")}
	if old != "" {
		changes = append(changes, old, changed)
	}
	return first, e.invite(mobile, changes...)
}

// registers is a REGISTER of the PBX for its account at the trunk.
func (e *scene) registers(lines string) string {
	return strings.Replace(e.outOfDialog("REGISTER", "sip:"+domain, lines), "To: <sip:"+domain+">", "To: <sip:201@"+domain+">", 1)
}

// TestEvasionCalls plays the second half of section 1.3.
func TestEvasionCalls(t *testing.T) { playEvasions(t, evasionCalls, secondTrunk) }
