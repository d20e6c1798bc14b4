package inspector

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

const noSuchDialog = "481 Call/Transaction Does Not Exist"

const dear = "sip:+252615550148@" + domain

// call places and answers a call of the PBX to the mobile, under the row's id.
func (e *scene) call(id string) testCall {
	e.t.Helper()
	return establish(e.pbx, e.itsp, mobile, id)
}

// phone is another host of the LAN.
func (e *scene) phone(host byte) *agent {
	e.t.Helper()
	phone := e.s.udp("phone", netip.AddrPortFrom(e.s.host(host).Addr(), 0))
	phone.t = e.t
	return phone
}

// crosses sends an in-dialog request of the PBX, and asserts the bytes of it that
// the trunk gets: what follows CSeq is the row's.
func (e *scene) crosses(text, target string, out ...string) string {
	e.t.Helper()
	wire := e.pbx.wire(text)
	e.pbx.raw(wire)
	method := strings.Fields(wire)[0]
	got := e.itsp.expect(method + " ")
	via := strings.Replace(get(wire, "Via"), ";rport", ";rport=5060", 1) + ";received=$hostpbx"
	head := []string{method + " " + target + " SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport", "Via: " + via, "Max-Forwards: 69",
		"From: " + get(wire, "From"), "To: " + get(wire, "To"), "Call-ID: " + get(wire, "Call-ID"), "CSeq: " + get(wire, "CSeq")}
	wantBytes(e.t, e.s, got, crlf(append(append(head, out...), "Content-Length: 0")...))
	return got
}

// ok answers what the trunk got, and lets the PBX see it.
func (e *scene) ok(request string, extra ...string) string {
	e.t.Helper()
	e.itsp.send(answer(request, "200 OK", "callee", extra...))
	return e.pbx.expect("SIP/2.0 200")
}

// record waits for the latest record of a Call-ID.
func (e *scene) record(id string) appliance.Call {
	e.t.Helper()
	return e.s.call("there is a record", func(c appliance.Call) bool { return c.CallID == id })
}

// refers is a REFER inside an answered call.
func refers(id, what, to string, want func(e *scene, text string)) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		c := e.call(e.id)
		want(e, c.fromCaller("REFER", "2 REFER", "refer", "Contact: <sip:201@$me>", to))
		c.hangUp(e.s)
	}}
}

func asBlocked(e *scene, text string) { e.judgedWithin(e.pbx, text) }

func asForbidden(e *scene, text string) { e.answered(e.pbx, text, "403 Forbidden") }

func asUnknown(e *scene, text string) { e.answered(e.pbx, text, noSuchDialog) }

// redirects is an INVITE that the trunk answers with Contacts, and what of them
// the PBX gets.
func redirects(id, what, status string, contacts []string, want string, kept ...string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		wire := e.pbx.wire(e.invite(mobile))
		e.pbx.raw(wire)
		invite := e.itsp.expect("INVITE ")
		e.itsp.send(answer(invite, status, "callee", contacts...))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 100")
		got := e.pbx.expect("SIP/2.0 " + want[:3])
		bytes := answerBytes(e.pbx, strings.Replace(wire, "\r\nCall-ID", ";tag=callee\r\nCall-ID", 1), want, kept...)
		wantBytes(e.t, e.s, got, bytes)
		e.acknowledge(e.pbx, wire, want)
		e.quiet(e.itsp)
	}}
}

var evasionDialogs = []evasionRow{
	{"G1a", "a To tag that nobody gave", func(e *scene) {
		e.answered(e.pbx, e.invite(dear, "To: <"+dear+">", "To: <"+dear+">;tag=x"), noSuchDialog)
	}},
	{"G1b", "the tags of a live call under another Call-ID", func(e *scene) {
		c := e.call(e.id)
		e.answered(e.pbx, replaced(e.t, c.fromCaller("INVITE", "2 INVITE", "x", "Contact: <sip:201@$me>"), []string{"Call-ID: g1b", "Call-ID: g1bb"}), noSuchDialog)
		c.hangUp(e.s)
	}},
	{"G1c", "a live call from another host of the LAN", func(e *scene) {
		c := e.call(e.id)
		e.answered(e.phone(4), c.fromCaller("BYE", "2 BYE", "other"), noSuchDialog)
		c.hangUp(e.s)
	}},
	{"G1d", "a live call with the tags of the other side", func(e *scene) {
		c := e.call(e.id)
		e.answered(e.pbx, c.fromCallee("BYE", "2 BYE", "swapped"), noSuchDialog)
		c.hangUp(e.s)
	}},
	{"G1e", "a live call, a dear Request-URI", func(e *scene) {
		c := e.call(e.id)
		text := c.fromCaller("INVITE", "2 INVITE", "uri", "Contact: <sip:201@$me>")
		e.answered(e.pbx, replaced(e.t, text, []string{uriOf(get(c.ok, "Contact")), dear}), noSuchDialog)
		c.hangUp(e.s)
	}},
	{"G1f", "a call that is over", func(e *scene) {
		c := e.call(e.id)
		c.hangUp(e.s)
		e.s.until("the call is over", func() bool { return len(e.s.in.Live()) == 0 })
		e.s.in.sweep(e.s.now.advance(10 * time.Second))
		e.answered(e.pbx, c.fromCaller("INVITE", "3 INVITE", "late", "Contact: <sip:201@$me>"), noSuchDialog)
	}},
	{"G2a", "UPDATE to somebody else's host", func(e *scene) {
		c := e.call(e.id)
		e.answered(e.pbx, c.fromCaller("UPDATE", "2 UPDATE", "u", "Contact: <sip:201@203.0.113.9>"), "403 Forbidden")
		c.hangUp(e.s)
	}},
	{"G2b", "UPDATE to a dear number at the PBX", func(e *scene) {
		c := e.call(e.id)
		e.answered(e.pbx, c.fromCaller("UPDATE", "2 UPDATE", "u", "Contact: <sip:0011252615550148@$me>"), "403 Forbidden")
		c.hangUp(e.s)
	}},
	{"G2c", "re-INVITE to a dear number at the PBX", func(e *scene) {
		c := e.call(e.id)
		e.answered(e.pbx, c.fromCaller("INVITE", "2 INVITE", "u", "Contact: <sip:+252615550148@$me>"), "403 Forbidden")
		c.hangUp(e.s)
	}},
	{"G2d", "another host in the Request-URI changes no target", func(e *scene) {
		c := e.call(e.id)
		text := replaced(e.t, c.fromCaller("INFO", "2 INFO", "i"), []string{uriOf(get(c.ok, "Contact")), "sip:line@" + e.s.box.String()})
		e.ok(e.crosses(text, "sip:line@$itsp"))
		c.hangUp(e.s)
	}},
	{"G2e", "an honest refresh", func(e *scene) {
		c := e.call(e.id)
		e.ok(e.crosses(c.fromCaller("UPDATE", "2 UPDATE", "u", "Contact: <sip:202@$me>"), "sip:line@$itsp", "Contact: <sip:202@$pbx>"))
		c.hangUp(e.s)
	}},
	{"G2f", "an answer that names somebody else's host", func(e *scene) {
		c := e.call(e.id)
		e.itsp.send(c.fromCallee("UPDATE", "1 UPDATE", "u", "Contact: <sip:line@$me>"))
		e.pbx.send(answer(e.pbx.expect("UPDATE "), "200 OK", "", "Contact: <sip:+252615550148@203.0.113.9>"))
		if got := get(e.itsp.expect("SIP/2.0 200"), "Contact"); got != "<sip:+252615550148@"+e.pbx.at.String()+">" {
			e.t.Errorf("Contact %s", got)
		}
		c.hangUp(e.s)
	}},
	refers("G3a", "to a dear number", "Refer-To: <"+dear+">", asBlocked),
	refers("G3b", "to a dear number, in short", "r: <"+dear+">", asBlocked),
	refers("G3c", "to a tel", "Refer-To: <tel:+252-61-555-0148>", asBlocked),
	refers("G3d", "as BYE", "Refer-To: <sip:+61491570157@"+domain+";method=BYE>", asForbidden),
	refers("G3e", "as MESSAGE", "Refer-To: <sip:+61491570157@"+domain+";METHOD=MESSAGE>", asForbidden),
	refers("G3f", "in place of an unknown call", "Refer-To: <sip:+61491570157@"+domain+"?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>", asUnknown),
	refers("G3g", "to escaped digits", "Refer-To: <sip:%30%30%31%31252615550148@"+domain+">", asBlocked),
	refers("G3h", "to somebody else's host", "Refer-To: <sip:+61491570157@evil.example>", asBlocked),
	refers("G3i", "to many, by a list", "Refer-To: <cid:a@b>\nRequire: multiple-refer", func(e *scene, text string) {
		e.answered(e.pbx, text, "420 Bad Extension", "Unsupported: multiple-refer")
	}),
	refers("G3j", "with a list as body", "Refer-To: <"+mobile+">\nContent-Type: application/resource-lists+xml\n\n<resource-lists/>\n", func(e *scene, text string) {
		e.answered(e.pbx, text, "415 Unsupported Media Type", "Accept: "+acceptedBodies)
	}),
	refers("G3k", "without a subscription", "Refer-To: <sip:0491570157@"+domain+";user=phone?Subject=x&Route=%3Csip:evil%3E>\nRefer-Sub: false\nRequire: norefersub\nSupported: norefersub, multiple-refer",
		func(e *scene, text string) {
			got := e.crosses(text, "sip:line@$itsp", "Contact: <sip:201@$pbx>", "Refer-Sub: false", "Require: norefersub", "Supported: norefersub", "Refer-To: <sip:0491570157@"+domain+">")
			if ok := e.ok(got, "Refer-Sub: false"); get(ok, "Refer-Sub") != "false" {
				e.t.Errorf("got\n%s", ok)
			}
		}),
	{"G3l", "outside any call", func(e *scene) {
		e.answered(e.pbx, e.outOfDialog("REFER", mobile, "Contact: <sip:201@$me>", "Refer-To: <"+mobile+">"), "403 Forbidden")
	}},
	{"G4a", "Replaces of a call that is not there", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Allow:", "Replaces: a;to-tag=b;from-tag=c\nAllow:"), noSuchDialog)
	}},
	{"G4b", "Join of a call that is not there", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Allow:", "Join: a;to-tag=b;from-tag=c\nAllow:"), noSuchDialog)
	}},
	{"G4c", "Target-Dialog of a call that is not there", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "Allow:", "Target-Dialog: a;local-tag=b;remote-tag=c\nAllow:"), noSuchDialog)
	}},
	{"G4d", "Replaces of a live call is no licence", func(e *scene) {
		c := e.call("g4held")
		e.judged(e.pbx, e.invite(dear, "Allow:", "Replaces: g4held;to-tag=callee;from-tag=caller\nAllow:"))
		c.hangUp(e.s)
	}},
	{"G4e", "the bridge ends with the shorter leg", func(e *scene) {
		held := e.call("g4short")
		d, _ := e.s.in.dialogs.find("g4short", "caller", "callee")
		d.mu.Lock()
		d.ends = d.ends.Add(-3 * time.Hour)
		ends := d.ends
		d.mu.Unlock()
		with := "Replaces: g4short;to-tag=callee;from-tag=caller\n"
		e.pbx.send(e.invite(mobile, "Allow:", with+"Allow:"))
		e.pbx.expect("SIP/2.0 100")
		c := testCall{caller: e.pbx, callee: e.itsp, invite: e.itsp.expect("INVITE ")}
		wantBytes(e.t, e.s, c.invite, e.bytesOut(mobile, mobile, "Session-Expires", strings.Replace(with, "\n", "\r\n", 1)+"Session-Expires",
			"P-Asserted-Identity: <sip:+61255500201@sip.itsp.example>\r\n"+strings.Replace(with, "\n", "\r\n", 1), strings.Replace(with, "\n", "\r\n", 1)+"P-Asserted-Identity: <sip:+61255500201@sip.itsp.example>\r\n",
			strings.Replace(with, "\n", "\r\n", 1), "", "Allow: INVITE", strings.Replace(with, "\n", "\r\n", 1)+"Allow: INVITE"))
		e.itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+e.itsp.contact()+">"))
		c.ok = e.pbx.expect("SIP/2.0 200")
		heir, _ := e.s.in.dialogs.find(e.id, "caller", "callee")
		heir.mu.Lock()
		if !heir.ends.Equal(ends) {
			e.t.Errorf("it ends at %s, the replaced call at %s", heir.ends, ends)
		}
		heir.mu.Unlock()
		if len(e.s.in.Live()) != 2 {
			e.t.Error("one of the two legs is not counted")
		}
		c.hangUp(e.s)
		held.hangUp(e.s)
	}},
	{"G4f", "a phone names the call of another", func(e *scene) {
		c := e.call("g4f-held")
		phone := e.phone(4)
		for n, how := range bridging {
			text := replaced(e.t, phone.invite(mobile, fmt.Sprint(e.id, n)), []string{"Allow:", how + ": g4f-held;to-tag=callee;from-tag=caller\nAllow:"})
			e.answered(phone, text, noSuchDialog)
		}
		c.hangUp(e.s)
	}},
	{"G4g", "a phone picks up what rings", func(e *scene) {
		e.pbx.send(e.pbx.invite(mobile, "g4ring"))
		ringing := e.itsp.expect("INVITE ")
		e.itsp.send(answer(ringing, "180 Ringing", "callee"))
		e.pbx.expect("SIP/2.0 180")
		phone := e.phone(4)
		phone.send(replaced(e.t, phone.invite(mobile, e.id), []string{"Allow:", "Replaces: g4ring;to-tag=callee;from-tag=caller;early-only\nAllow:"}))
		taken := e.itsp.expect("INVITE ")
		if get(taken, "Replaces") != "g4ring;to-tag=callee;from-tag=caller;early-only" {
			e.t.Errorf("got\n%s", taken)
		}
		for _, one := range []string{ringing, taken} {
			e.itsp.send(answer(one, "486 Busy Here", "callee"))
			e.itsp.expect("ACK ")
		}
		e.pbx.expect("SIP/2.0 486")
	}},
	{"G4h", "a trunk names the call of another trunk", func(e *scene) {
		c := e.call("g4h-held")
		other := e.s.udp("other trunk", e.s.host(8))
		other.t = e.t
		text := replaced(e.t, other.invite("sip:+61255501234@$box", e.id), []string{"Allow:", "Replaces: g4h-held;to-tag=callee;from-tag=caller\nAllow:"})
		e.answered(other, text, noSuchDialog)
		e.quiet(e.pbx)
		c.hangUp(e.s)
	}},
	{"G4i", "a transfer names the call of another", func(e *scene) {
		held := e.call("g4i-held")
		phone := e.phone(4)
		c := establish(phone, e.itsp, mobile, e.id)
		e.answered(phone, c.fromCaller("REFER", "2 REFER", "r", "Contact: <sip:201@$me>",
			"Refer-To: <"+mobile+"?Replaces=g4i-held%3Bto-tag%3Dcallee%3Bfrom-tag%3Dcaller>"), noSuchDialog)
		c.hangUp(e.s)
		held.hangUp(e.s)
	}},
	redirects("G5a", "to a dear number", "302 Moved Temporarily", []string{"Contact: <" + dear + ">"}, "480 Temporarily Unavailable"),
	redirects("G5b", "to several", "302 Moved Temporarily", []string{"Contact: <tel:+252615550148>, <sip:+61491570158@" + domain + ">;q=0.7", "m: <sip:+61491570158@evil.example>"},
		"302 Moved Temporarily", "Contact: <sip:+61491570158@"+domain+">;q=0.7"),
	redirects("G5c", "to a proxy", "305 Use Proxy", []string{"Contact: <sip:203.0.113.9>"}, "480 Temporarily Unavailable"),
	redirects("G5d", "to another service", "380 Alternative Service", []string{"Contact: <sip:1902123456@" + domain + ">"}, "480 Temporarily Unavailable"),
	redirects("G5e", "to nobody", "302 Moved Temporarily", nil, "480 Temporarily Unavailable"),
	redirects("G5f", "to an emergency number with more", "300 Multiple Choices", []string{"Contact: <sip:000252615550148@" + domain + ">"}, "480 Temporarily Unavailable"),
	redirects("G5g", "with headers that a caller would take over", "302 Moved Temporarily", []string{"Contact: <sip:+61491570158@" + domain + "?Route=%3Csip:evil%3E>"},
		"302 Moved Temporarily", "Contact: <sip:+61491570158@"+domain+">"),
	redirects("G5h", "ambiguous, with somebody else to try", "485 Ambiguous", []string{"Contact: <" + dear + ">"}, "485 Ambiguous"),
	{"G5i", "a phone that forwards", func(e *scene) {
		e.itsp.send(e.itsp.invite("sip:+61255501234@$box", e.id))
		e.pbx.send(answer(e.pbx.expect("INVITE "), "302 Moved Temporarily", "callee", "Contact: <"+dear+">"))
		e.pbx.expect("ACK ")
		if got := e.itsp.expect("SIP/2.0 480"); get(got, "Contact") != "" {
			e.t.Errorf("got\n%s", got)
		}
	}},
	{"G6a", "the PBX says that it forwards", func(e *scene) {
		with := "Diversion: <sip:+61255500201@" + domain + ">;reason=unconditional"
		e.passes(e.invite(mobile, "p-early", with+"\np-early"), e.bytesOut(mobile, mobile, "p-early", with+"\r\np-early"))
		if !e.record(e.id).Forwarded {
			e.t.Error("it is not a forwarded call")
		}
	}},
	{"G6b", "a phone says that it forwards", func(e *scene) {
		phone := e.phone(4)
		phone.send(replaced(e.t, phone.invite(mobile, e.id), []string{"Allow:", "History-Info: <sip:boss@x>;index=1\nAllow:"}))
		got := e.itsp.expect("INVITE ")
		for _, name := range []string{"Diversion", "History-Info", "P-Asserted-Identity", "X-Routing"} {
			if get(got, name) != "" {
				e.t.Errorf("%s went on: %s", name, get(got, name))
			}
		}
		if !e.record(e.id).Forwarded {
			e.t.Error("it is not a forwarded call")
		}
		e.itsp.send(answer(got, "486 Busy Here", "callee"))
		e.itsp.expect("ACK ")
	}},
	{"G6c", "a silent forward shows by its caller", func(e *scene) {
		e.forwards(func(text string) string {
			return replaced(e.t, text, []string{`"Desk" <sip:201@`, `<sip:+61299990000@`})
		}, true)
	}},
	{"G6d", "a silent forward shows by its media", func(e *scene) {
		e.forwards(func(text string) string {
			return replaced(e.t, text, []string{"m=audio 4000", "m=audio 4242", "o=- 1 1", "o=pbx 9 9"})
		}, true)
	}},
	{"G6e", "what has nothing in common is no forward", func(e *scene) {
		e.forwards(func(text string) string { return text }, false)
	}},
	{"G7a", "a preloaded Route", func(e *scene) {
		e.passes(e.invite(mobile, "Max-Forwards", "Route: <sip:$box;lr>\nRoute: <sip:203.0.113.9;lr>, <sip:+252615550148@$itsp;lr>\nMax-Forwards"), e.bytesOut(mobile, mobile))
	}},
	{"G7b", "a dear target at the end of Route", func(e *scene) {
		e.judged(e.pbx, e.invite(mobile, "INVITE "+mobile, "INVITE sip:$box;lr", "Max-Forwards", "Route: <"+mobile+">, <"+dear+">\nMax-Forwards"))
	}},
	{"G7c", "a dear tel at the end of Route", func(e *scene) {
		e.judged(e.pbx, e.invite(mobile, "INVITE "+mobile, "INVITE sip:$box;lr", "Max-Forwards", "Route: <tel:+252615550148>\nMax-Forwards"))
	}},
	{"G7d", "a strict router's honest target", func(e *scene) {
		e.passes(e.invite(mobile, "INVITE "+mobile, "INVITE sip:$box;lr", "Max-Forwards", "Route: <"+mobile+">\nMax-Forwards"), e.bytesOut(mobile, mobile))
	}},
	{"G7e", "a strict router inside a call", func(e *scene) {
		c := e.call(e.id)
		text := replaced(e.t, c.fromCaller("INFO", "2 INFO", "strict"), []string{"INFO sip:line@" + e.itsp.at.String(), "INFO sip:$box;lr", "Route: <sip:" + e.s.box.String() + ";lr>", "Route: <sip:line@" + e.itsp.at.String() + ">"})
		e.ok(e.crosses(text, "sip:line@$itsp"))
		c.hangUp(e.s)
	}},
	{"G7f", "Path and Service-Route", func(e *scene) {
		e.passes(e.invite(mobile, "Allow:", "Path: <sip:203.0.113.9;lr>\nService-Route: <sip:203.0.113.9;lr>\nAllow:"), e.bytesOut(mobile, mobile))
	}},
	{"G7g", "a trunk's proxy that routes strictly", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		c := testCall{caller: e.pbx, callee: e.itsp, invite: e.itsp.expect("INVITE ")}
		ok := answer(c.invite, "200 OK", "callee", "Contact: <sip:gw@192.0.2.77>")
		e.itsp.send(strings.Replace(ok, "Record-Route: ", "Record-Route: <sip:192.0.2.2;lr>\nRecord-Route: <sip:p@192.0.2.1;method=x>\nRecord-Route: ", 1))
		c.ok = e.pbx.expect("SIP/2.0 200")
		e.pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
		ack := e.itsp.expect("ACK ")
		if got := startOf(ack) + " " + strings.Join(every(ack, "Route"), " "); got != "ACK sip:p@192.0.2.1 SIP/2.0 <sip:192.0.2.2;lr> <sip:gw@192.0.2.77>" {
			e.t.Errorf("got %s", got)
		}
		c.hangUp(e.s)
	}},
	{"G8a", "an INVITE without an offer", func(e *scene) {
		head, _, _ := strings.Cut(e.invite(mobile), "Content-Type")
		want, _, _ := strings.Cut(e.bytesOut(mobile, mobile), "Content-Type")
		e.passes(head, want+"Content-Length: 0\r\n\r\n")
	}},
	{"G8b", "the answer in the ACK", func(e *scene) {
		c := e.call(e.id)
		body := "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n"
		e.pbx.send(c.fromCaller("ACK", "1 ACK", "late", "Content-Type: application/sdp\n\n"+strings.ReplaceAll(body, "\r\n", "\n")))
		if got := bodyOf(e.itsp.expect("ACK ")); got != body {
			e.t.Errorf("body %q", got)
		}
		c.hangUp(e.s)
	}},
	{"G8c", "ringing for ever", func(e *scene) {
		s := newSite(e.t)
		pbx, itsp := s.pbx(), s.itsp()
		pbx.send(pbx.invite(mobile, e.id))
		itsp.send(answer(itsp.expect("INVITE "), "183 Session Progress", "callee", "Content-Type: application/sdp"+offer))
		pbx.expect("SIP/2.0 183")
		s.in.sweep(s.now.advance(186 * time.Second))
		itsp.expect("CANCEL ")
	}},
}

// forwards lets a call come in, and the PBX place one that has been changed.
func (e *scene) forwards(change func(string) string, forwarded bool) {
	e.t.Helper()
	in := replaced(e.t, e.itsp.invite("sip:+61255501234@"+e.s.box.String(), e.id+"in"), []string{`"Desk" <sip:201@`, "<sip:+61299990000@", "m=audio 4000", "m=audio 4242"})
	e.itsp.send(in)
	inbound := e.pbx.expect("INVITE ")
	e.pbx.send(change(e.invite(mobile)))
	e.itsp.send(answer(e.itsp.expect("INVITE "), "486 Busy Here", "x"))
	e.itsp.expect("ACK ")
	e.pbx.expect("SIP/2.0 486")
	if record := e.record(e.id); record.Forwarded != forwarded {
		e.t.Errorf("record %+v", record)
	}
	e.pbx.send(answer(inbound, "486 Busy Here", "x"))
	e.pbx.expect("ACK ")
	e.itsp.expect("SIP/2.0 486")
	e.s.in.sweep(e.s.now.advance(time.Minute)) // the next row is another story
}

func secondTrunk(s *site, set *settings.Settings, _ *limits) {
	set.Trunks = append(set.Trunks, settings.Trunk{Name: "other", Domain: "sip.other.example", Address: s.host(8), Transport: settings.UDP})
}

// TestEvasionDialogs plays the first half of section 1.3.
func TestEvasionDialogs(t *testing.T) { playEvasions(t, evasionDialogs, secondTrunk) }
