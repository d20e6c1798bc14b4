package inspector

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
)

// spelt is a row whose INVITE can't be read: what is changed, and who is blamed.
func spelt(id, what, old, changed, header, problem string) evasionRow {
	return evasionRow{id, what, func(e *scene) { e.malformed(e.changed(old, changed), header, problem) }}
}

// carried is a row whose INVITE goes on to the mobile: what is changed on the way in,
// and what of it is seen on the way out.
func carried(id, what, old, changed string, out ...string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		e.passes(e.invite(mobile, old, changed), e.bytesOut(mobile, mobile, out...))
	}}
}

// inCall is a row of a request inside an answered call.
func inCall(id, what string, run func(e *scene, c testCall)) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		c := e.call(e.id)
		run(e, c)
		c.hangUp(e.s)
	}}
}

// redirected answers an in-dialog request of the PBX with a 3xx to a dear number:
// the PBX must hear a 480 without it.
func redirected(id, method string) evasionRow {
	return inCall(id, "3xx in the answer to "+method, func(e *scene, c testCall) {
		wire := e.pbx.wire(c.fromCaller(method, "2 "+method, "x", "Contact: <sip:201@$me>"))
		e.pbx.raw(wire)
		e.itsp.send(answer(e.itsp.expect(method+" "), "302 Moved Temporarily", "", "Contact: <"+dear+">"))
		if method == "INVITE" {
			e.itsp.expect("ACK ")
		}
		wantBytes(e.t, e.s, e.pbx.expect("SIP/2.0 480"), answerBytes(e.pbx, wire, "480 Temporarily Unavailable"))
		e.acknowledge(e.pbx, wire, "480")
	})
}

const requestLine = "Request-Line"

// The vectors that nobody listed.
var evasionMore = []evasionRow{
	spelt("X1", "a header smuggled behind a LF in an identity", "p-early", "P-Asserted-Identity: <sip:a@b>\nRoute: <sip:203.0.113.9;lr>\r\np-early", "P-Asserted-Identity", notCRLF),
	spelt("X2", "a CR before the line end", "Allow: ", "Subject: a\r\r\nAllow: ", "Subject", control),
	carried("X3", "chunks", "Allow: ", "Transfer-Encoding: chunked\nAllow: "),
	spelt("X4", "a list as length", "Length: 87", "Length: 87, 87", "Content-Length", "is not a number"),
	spelt("X5", "a parameter of the length", "Length: 87", "Length: 87;x=1", "Content-Length", "is not a number"),
	{"X6", "a length with leading zeros", func(e *scene) {
		raw := e.changed("Length: 87", "Length: 000000000000087")
		e.pbx.raw(raw)
		got := e.itsp.expect("INVITE ")
		wantBytes(e.t, e.s, got, e.bytesOut(mobile, mobile))
		e.busy(got, raw)
	}},
	spelt("X7", "an escaped host", "@sip.itsp.example SIP", "@%73ip.itsp.example SIP", requestLine, "holds a wrong host"),
	spelt("X8", "an escaped scheme", "INVITE sip:", "INVITE s%69p:", requestLine, "holds a URI with a wrong scheme"),
	spelt("X9", "an escaped lr", "itsp.example SIP", "itsp.example;%6cr SIP", requestLine, "holds a URI with a wrong parameter"),
	spelt("X10", "an escaped maddr", "itsp.example SIP", "itsp.example;m%61ddr=203.0.113.9 SIP", requestLine, "holds a URI with a wrong parameter"),
	spelt("X11", "an escaped value of transport", "itsp.example SIP", "itsp.example;transport=%74cp SIP", requestLine, "holds a URI with a wrong parameter"),
	dialled("X12", "tel with separators", "tel:+61-491-(570).156", mobile),
	dialled("X13", "tel with post-dial digits", "tel:+61491570156;postd=pp252615550148;isub=252;ext=252", mobile),
	spelt("X14", "tel with escapes", "INVITE "+mobile, "INVITE tel:%2B252615550148", requestLine, "holds a tel URI without a proper number"),
	spelt("X15", "tel with letters", "INVITE "+mobile, "INVITE tel:+61CALLME", requestLine, "holds a tel URI without a proper number"),
	dialled("X16", "tel with digits of hex", "tel:+252A615550148", ""),
	dialled("X17", "tel with a carrier", "tel:+252615550148;cic=+1-0288;tgrp=x;trunk-context=+61", ""),
	dialled("X18", "tel whose context is a number and a domain", "tel:615550148;phone-context=+252.example", ""),
	spelt("X19", "a space of no width", "INVITE sip:+61", "INVITE sip:\u200b+61", requestLine, "holds a URI with a wrong user part"),
	spelt("X20", "a minus that looks like one", "INVITE sip:+61", "INVITE sip:+61\u2212", requestLine, "holds a URI with a wrong user part"),
	carried("X21", "a display name that runs backwards", `"Desk"`, "\"\u202e841055516252+\"", `"Desk"`, "\"\u202e841055516252+\""),
	spelt("X22", "a comment in To", "To: <", "To: (+252615550148) <", "To", "holds a URI without a scheme"),
	spelt("X23", "a tag behind an escaped quote", `"Desk"`, `"a\";tag=x"`, "From", "holds a tag beside its own"),
	spelt("X24", "a quote that an escape keeps open", `"Desk"`, `"Desk\"`, "From", "holds an unclosed quoted string"),
	carried("X25", "a quoted string in two lines", `"Desk"`, "\"De\n sk\"", `"Desk"`, `"De sk"`),
	spelt("X26", "a list in CSeq", "CSeq: 1 INVITE", "CSeq: 1 INVITE, 2 BYE", "CSeq", "holds more than its grammar allows"),
	spelt("X27", "a list in Call-ID", "Call-ID: x27", "Call-ID: x27, y", "Call-ID", "holds more than its grammar allows"),
	spelt("X28", "a list in Max-Forwards", "Forwards: 70", "Forwards: 70, 0", "Max-Forwards", "holds more than its grammar allows"),
	{"X29", "everything in short", func(e *scene) {
		e.passes(e.invite(mobile, "Via: ", "v:", "From: ", "f:", "To: ", "t :", "Call-ID: ", "I: ", "Contact: ", "m:", "Supported: ", "k:", "Content-Type: ", "c:"), e.bytesOut(mobile, mobile))
	}},
	carried("X30", "short names that nobody registered", "Allow: ", "q: <sip:203.0.113.9;lr>\nw: a\nAllow: "),
	redirected("X31", "INVITE"),
	redirected("X32", "UPDATE"),
	{"X33", "3xx in the answer to BYE", func(e *scene) {
		c := e.call(e.id)
		wire := e.pbx.wire(c.fromCaller("BYE", "2 BYE", "x"))
		e.pbx.raw(wire)
		e.itsp.send(answer(e.itsp.expect("BYE "), "302 Moved Temporarily", "", "Contact: <"+dear+">"))
		wantBytes(e.t, e.s, e.pbx.expect("SIP/2.0 480"), answerBytes(e.pbx, wire, "480 Temporarily Unavailable"))
		// A BYE that did not end the call is followed by the box's own.
		if got := get(e.itsp.expect("BYE "), "CSeq"); got != "3 BYE" {
			e.t.Errorf("CSeq %q", got)
		}
		e.pbx.expect("BYE ")
	}},
	refers("X34", "as INVITE to another address", "Refer-To: <sip:+61491570157@"+domain+";method=INVITE;maddr=203.0.113.9>", asBlocked),
	refers("X35", "as INVITE to a dear number", "Refer-To: <"+dear+";method=INVITE>", asBlocked),
	refers("X36", "with headers that make another transfer", "Refer-To: <sip:+61491570157@"+domain+";method=INVITE?Refer-To=%3C"+"sip:+252615550148%40x%3E&Body=x&Require=y>",
		func(e *scene, text string) {
			e.ok(e.crosses(text, "sip:line@$itsp", "Contact: <sip:201@$pbx>", "Refer-To: <sip:+61491570157@"+domain+">"))
		}),
	refers("X37", "with an escaped Replaces inside a Replaces", "Refer-To: <"+mobile+"?Replaces=a%253Bto-tag%253D1>", asUnknown),
	refers("X38", "with two Replaces", "Refer-To: <"+mobile+"?Replaces=x38%3Bto-tag%3Dcallee%3Bfrom-tag%3Dcaller&replaces=x38%3Bto-tag%3Dcallee%3Bfrom-tag%3Dcaller>", asUnknown),
	refers("X39", "to a feature code that forwards", "Refer-To: <sip:*21*0011252615550148%23@"+domain+">", asBlocked),
	inCall("X40", "a chain of transfers", func(e *scene, c testCall) {
		refer := func(n int, to string) string {
			return c.fromCaller("REFER", fmt.Sprintf("%d REFER", n), fmt.Sprint("chain", n), "Contact: <sip:201@$me>", "Refer-To: <"+to+">")
		}
		for n := 2; n < 5; n++ {
			e.ok(e.crosses(refer(n, mobile), "sip:line@$itsp", "Contact: <sip:201@$pbx>", "Refer-To: <"+mobile+">"))
		}
		e.judgedWithin(e.pbx, refer(5, dear))
	}),
	inCall("X41", "a report of a transfer that names a number", func(e *scene, c testCall) {
		text := c.fromCaller("NOTIFY", "2 NOTIFY", "n", "Contact: <sip:201@$me>", "Event: refer", "Subscription-State: active", "Refer-To: <"+dear+">")
		e.ok(e.crosses(text, "sip:line@$itsp", "Contact: <sip:201@$pbx>", "Event: refer", "Subscription-State: active"))
	}),
	unread("X42", "parts in parts in parts", "multipart/mixed;boundary=b", "--b\nContent-Type: multipart/mixed;boundary=c\n\n--c\nContent-Type: multipart/mixed;boundary=d\n\n--d\nContent-Type: application/sdp\n\nv=0\n--d--\n--c--\n--b--\n"),
	unread("X43", "parts that never end", "multipart/mixed;boundary=b", "--b\nContent-Type: application/sdp\n\nv=0\n"),
	unread("X44", "parts without a boundary", "multipart/mixed", "--b\nContent-Type: application/sdp\n\nv=0\n--b--\n"),
	unread("X45", "too many parts", "multipart/mixed;boundary=b", strings.Repeat("--b\nContent-Type: text/plain\n\nx\n", 9)+"--b--\n"),
	unread("X46", "a session that is called alternative", "multipart/alternative;boundary=b", "--b\nContent-Type: application/sdp\n\nv=0\n--b--\n"),
	unread("X47", "a message in a message", "message/sip", "INVITE "+dear+" SIP/2.0\n\n"),
	{"X48", "MESSAGE to a tel", func(e *scene) {
		e.judged(e.pbx, e.outOfDialog("MESSAGE", "tel:+252-61-555-0148", "Content-Type: text/plain\n\nx\n"))
	}},
	{"X49", "SUBSCRIBE to a tel", func(e *scene) {
		e.judged(e.pbx, e.outOfDialog("SUBSCRIBE", "tel:1902123456", "Contact: <sip:201@$me>\nEvent: dialog"))
	}},
	{"X50", "CANCEL of somebody else's INVITE", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		phone := e.phone(4)
		text := strings.ReplaceAll(cancelOf(e.pbx, mobile, e.id), "$via", "SIP/2.0/UDP "+e.pbx.at.String()+";rport")
		phone.send(text)
		phone.expect("SIP/2.0 481")
		e.itsp.send(answer(invite, "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 486")
		e.quiet(e.itsp)
	}},
	{"X51", "CANCEL with another branch", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		e.answered(e.pbx, replaced(e.t, cancelOf(e.pbx, mobile, e.id), []string{"-inv-", "-other-"}), noSuchDialog)
		e.itsp.send(answer(invite, "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 486")
	}},
	{"X52", "CANCEL with a dear Request-URI", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		e.itsp.send(answer(invite, "180 Ringing", "x"))
		e.pbx.expect("SIP/2.0 180")
		e.pbx.send(replaced(e.t, cancelOf(e.pbx, mobile, e.id), []string{"CANCEL " + mobile, "CANCEL " + dear, "To: <" + mobile, "To: <" + dear}))
		cancel := e.itsp.expect("CANCEL ")
		wantBytes(e.t, e.s, cancel, crlf("CANCEL "+mobile+" SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport", "Max-Forwards: 70",
			`From: "Desk" <sip:201@$pbx>;tag=caller`, "To: <"+mobile+">", "Call-ID: "+e.id, "CSeq: 1 CANCEL",
			`Reason: SIP;cause=200;text="Call completed elsewhere"`, "Content-Length: 0"))
		e.itsp.send(answer(cancel, "200 OK", "x"))
		e.itsp.send(answer(invite, "487 Request Terminated", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 487")
	}},
	inCall("X53", "an ACK with a body that is no session", func(e *scene, c testCall) {
		e.dropped(e.pbx, e.pbx.wire(c.fromCaller("ACK", "1 ACK", "odd", "Content-Type: application/resource-lists+xml\n\n<x/>\n")), appliance.ReasonBody)
	}),
	inCall("X54", "an ACK from somebody else, to open media", func(e *scene, c testCall) {
		phone := e.phone(4)
		e.dropped(phone, phone.wire(c.fromCaller("ACK", "1 ACK", "other", "Content-Type: application/sdp"+offer)), appliance.ReasonUnknownDialog)
	}),
	{"X55", "an ACK to nothing", func(e *scene) {
		e.dropped(e.pbx, e.pbx.wire(replaced(e.t, e.outOfDialog("ACK", dear, "Content-Type: application/sdp"+offer), nil)), appliance.ReasonUnknownDialog)
	}},
	inCall("X56", "a BYE from another trunk", func(e *scene, c testCall) {
		other := e.s.udp("other trunk", e.s.host(8))
		other.t = e.t
		e.answered(other, c.fromCallee("BYE", "1 BYE", "third"), noSuchDialog)
		e.quiet(e.pbx, e.itsp)
	}),
	{"X57", "a 200 to an INVITE that was refused", func(e *scene) {
		wire := e.pbx.wire(e.invite(dear))
		e.judged(e.pbx, e.invite(dear))
		made := "SIP/2.0 200 OK\nVia: SIP/2.0/UDP $box;branch=z9hG4bK.aaaaaaaaaaaaaaaa.b\nVia: " + get(wire, "Via") + "\nFrom: " + get(wire, "From") +
			"\nTo: " + get(wire, "To") + ";tag=x\nCall-ID: x57\nCSeq: 1 INVITE\nContact: <sip:line@$me>"
		e.dropped(e.itsp, e.itsp.wire(made), appliance.ReasonUnknownDialog)
	}},
	{"X58", "an answer from the LAN in the trunk's place", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		phone := e.phone(4)
		e.dropped2(phone, phone.wire(answer(invite, "200 OK", "fake", "Contact: <sip:x@"+phone.at.String()+">")), appliance.ReasonUnknownDialog)
		e.itsp.send(answer(invite, "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 486")
	}},
	tagless("X59", "an answer under the caller's tag", "caller"),
	tagless("X60", "an answer without a tag", ""),
	{"X61", "a number that leaves none for a BYE", func(e *scene) {
		e.answered(e.pbx, e.invite(mobile, "CSeq: 1 ", "CSeq: 2147483647 "), "400 Bad CSeq", `Warning: 399 ringfence "Bad CSeq"`)
	}},
	inCall("X62", "the same inside a call", func(e *scene, c testCall) {
		e.answered(e.pbx, c.fromCaller("INFO", "2147483647 INFO", "last"), "400 Bad CSeq", `Warning: 399 ringfence "Bad CSeq"`)
	}),
	spelt("X63", "a number beyond the last", "CSeq: 1 ", "CSeq: 2147483648 ", "CSeq", "is a number out of range"),
	spelt("X64", "an empty tag in To", "To: <"+mobile+">", "To: <"+mobile+">;tag=", "To", "holds a parameter with a wrong value"),
	spelt("X65", "a tag in another case beside the own", "To: <"+mobile+">", "To: <"+mobile+";Tag=x>", "To", "holds a tag beside its own"),
	{"X66", "a Via that wants the answer elsewhere", func(e *scene) {
		victim := e.s.udp("victim", netip.AddrPortFrom(e.s.host(77).Addr(), 5060))
		victim.t = e.t
		e.pbx.send(e.invite(dear, ";branch", ";maddr="+e.s.host(77).Addr().String()+";received="+e.s.host(77).Addr().String()+";branch"))
		got := e.pbx.expect("SIP/2.0 403")
		if via := get(got, "Via"); !strings.Contains(via, "received="+e.pbx.at.Addr().String()) {
			e.t.Errorf("Via %s", via)
		}
		e.quiet(e.itsp)
		if len(victim.inbox) != 0 {
			e.t.Errorf("somebody else got %q", <-victim.inbox)
		}
	}},
	{"X67", "identities of a phone", func(e *scene) {
		phone := e.phone(4)
		said := "P-Preferred-Identity: <sip:boss@x>\nRemote-Party-ID: <sip:boss@x>\nReferred-By: <sip:boss@x>\nIdentity: x\nP-Asserted-Identity: <sip:boss@x>\n"
		phone.send(replaced(e.t, phone.invite(mobile, e.id), []string{"Allow:", said + "Allow:"}))
		got := e.itsp.expect("INVITE ")
		if strings.Contains(got, "boss") || get(got, "Identity") != "" {
			e.t.Errorf("got\n%s", got)
		}
		e.itsp.send(answer(got, "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
	}},
	{"X68", "a method in lower case", func(e *scene) {
		e.answered(e.pbx, replaced(e.t, e.outOfDialog("invite", dear), nil), "501 Not Implemented", "Allow: "+methods)
	}},
	{"X69", "a method of its own making", func(e *scene) {
		e.answered(e.pbx, e.outOfDialog("DIAL", dear), "501 Not Implemented", "Allow: "+methods)
	}},
	{"X70", "a method that a web proxy would follow", func(e *scene) {
		e.answered(e.pbx, e.outOfDialog("CONNECT", "sip:203.0.113.9:443"), "501 Not Implemented", "Allow: "+methods)
	}},
	{"X71", "another version", func(e *scene) {
		raw := e.changed(" SIP/2.0\r\nVia", " SIP/3.0\r\nVia")
		e.pbx.raw(raw)
		if got := startOf(e.pbx.expect("SIP/2.0 505")); got != "SIP/2.0 505 Bad Request-Line" {
			e.t.Errorf("got %q", got)
		}
		e.quiet(e.itsp)
	}},
	dialled("X72", "more digits than any number", "sip:"+strings.Repeat("1", 65)+"@"+domain, ""),
	spelt("X73", "more parameters than any URI", "itsp.example SIP", "itsp.example"+strings.Repeat(";a", 33)+" SIP", requestLine, "holds too many parameters"),
	{"X74", "more headers than any message", func(e *scene) {
		e.pbx.raw(e.changed("Allow: ", strings.Repeat("X-A: b\r\n", 130)+"Allow: "))
		e.pbx.expect("SIP/2.0 513")
		e.quiet(e.itsp)
	}},
	spelt("X75", "a session for ever and more", "Allow: ", "Session-Expires: 4294967296\r\nAllow: ", "Session-Expires", "is a number out of range"),
	spelt("X76", `"*" in an INVITE`, "Contact: <sip:201@127", "Contact: *\r\nX-Old: <sip:201@127", "Contact", `holds "*" where it may not`),
	{"X77", "a tel as Contact", func(e *scene) {
		e.answered(e.pbx, replaced(e.t, e.invite(mobile), []string{"Contact: <sip:201@$me;maddr=203.0.113.9?X=y>", "Contact: <tel:+252615550148>"}), "403 Forbidden")
	}},
	{"X78", "a call before the answer from somebody else", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		e.itsp.send(answer(invite, "183 Session Progress", "callee", "Contact: <"+e.itsp.contact()+">", "Require: 100rel", "RSeq: 1"))
		c := testCall{caller: e.pbx, callee: e.itsp, invite: invite, ok: e.pbx.expect("SIP/2.0 183")}
		e.answered(e.phone(4), c.fromCaller("PRACK", "2 PRACK", "p", "RAck: 1 1 INVITE"), noSuchDialog)
		e.answered(e.pbx, c.fromCaller("UPDATE", "2 UPDATE", "u", "Contact: <sip:201@203.0.113.9>"), "403 Forbidden")
		e.ok(e.crosses(c.fromCaller("PRACK", "3 PRACK", "p3", "RAck: 1 1 INVITE"), "sip:line@$itsp", "RAck: 1 1 INVITE"))
		e.itsp.send(answer(invite, "486 Busy Here", "callee"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 486")
	}},
	inCall("X79", "Replaces inside a call", func(e *scene, c testCall) {
		e.answered(e.pbx, c.fromCaller("INVITE", "2 INVITE", "r", "Contact: <sip:201@$me>", "Replaces: x79;to-tag=callee;from-tag=caller"),
			"400 Bad Replaces", `Warning: 399 ringfence "Bad Replaces"`)
	}),
	carried("X80", "a Refer-To in an INVITE", "Allow: ", "Refer-To: <"+dear+">\nAllow: "),
	inCall("X81", "a list of callees in a MESSAGE inside a call", func(e *scene, c testCall) {
		e.answered(e.pbx, c.fromCaller("MESSAGE", "2 MESSAGE", "m", "Content-Type: application/resource-lists+xml\n\n<x/>\n"), "415 Unsupported Media Type", "Accept: "+acceptedBodies)
	}),
	{"X82", "a NOTIFY that makes a phone restart", func(e *scene) {
		e.answered(e.itsp, replaced(e.t, e.outOfDialog("NOTIFY", "sip:201@"+e.s.box.String(), "Event: check-sync;reboot=true"), nil), "489 Bad Event", "Allow-Events: message-summary")
	}},
	{"X83", "an early answer's Contact to a dear number by a phone", func(e *scene) {
		e.itsp.send(e.itsp.invite("sip:+61255501234@"+e.s.box.String(), e.id))
		invite := e.pbx.expect("INVITE ")
		e.pbx.send(answer(invite, "183 Session Progress", "callee", "Contact: <sip:+252615550148@203.0.113.9>"))
		if got := get(e.itsp.expect("SIP/2.0 183"), "Contact"); got != "<sip:+252615550148@"+e.pbx.at.String()+">" {
			e.t.Errorf("Contact %s", got)
		}
		e.pbx.send(answer(invite, "486 Busy Here", "callee"))
		e.pbx.expect("ACK ")
		e.itsp.expect("SIP/2.0 486")
	}},
	{"X84", "the strict router's trick in a CANCEL and an ACK", func(e *scene) {
		text := e.invite(mobile, "INVITE "+mobile, "INVITE sip:$box;lr", "Max-Forwards", "Route: <"+dear+">\nMax-Forwards")
		e.judged(e.pbx, text)
		e.answered(e.pbx, replaced(e.t, cancelOf(e.pbx, mobile, e.id+"none"), []string{"CANCEL " + mobile, "CANCEL sip:$box;lr", "Max-Forwards", "Route: <" + dear + ">\nMax-Forwards"}), noSuchDialog)
	}},
	{"X85", "a body of another length in two messages of one datagram", func(e *scene) {
		first := e.pbx.wire(e.outOfDialog("OPTIONS", "sip:$box"))
		e.pbx.raw(first + e.pbx.wire(e.pbx.invite(dear, e.id+"2")))
		wantBytes(e.t, e.s, e.pbx.expect("SIP/2.0 200"), answerBytes(e.pbx, first, "200 OK", "Allow: "+methods, "Accept: application/sdp", "Supported: 100rel, timer, replaces"))
		e.quiet(e.pbx, e.itsp)
	}},
	{"X86", "an answer that smuggles a header behind a LF", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		bad := strings.Replace(e.itsp.wire(answer(invite, "302 Moved Temporarily", "x", "Server: a")), "Server: a", "Server: a\nContact: <"+dear+">", 1)
		e.dropped2(e.itsp, bad, appliance.ReasonMalformedMessage)
		e.itsp.send(answer(invite, "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 486")
	}},
	{"X87", "an answer with two To", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		e.dropped2(e.itsp, e.itsp.wire(answer(invite, "200 OK", "x", "Contact: <"+e.itsp.contact()+">", "t: <"+dear+">;tag=y")), appliance.ReasonMalformedMessage)
		e.itsp.send(answer(invite, "486 Busy Here", "x"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 486")
	}},
	{"X88", "a trunk that forgets what it must say hears nothing", func(e *scene) {
		text := e.itsp.invite("sip:+61255501234@$box", e.id)
		without, _, _ := strings.Cut(text, "Contact: ")
		e.dropped(e.itsp, e.itsp.wire(without+"Allow: INVITE\n"), appliance.ReasonMalformedMessage)
	}},
	{"X89", "a second answer inside the body of the first", func(e *scene) {
		s := newSite(e.t, overTCP)
		listener := s.listen(s.itspAt)
		pbx := s.pbx()
		pbx.send(pbx.invite(mobile, e.id))
		itsp := s.accept("itsp", listener)
		invite := itsp.expect("INVITE ")
		inner := itsp.wire(answer(invite, "302 Moved Temporarily", "x", "Contact: <"+dear+">"))
		outer := strings.Replace(itsp.wire(answer(invite, "183 Session Progress", "x", "Content-Type: application/sdp")),
			"Content-Length: 0", fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d", len(inner)), 1)
		itsp.raw(outer + inner)
		(&scene{t: e.t, s: s}).ends(itsp)
		pbx.expect("SIP/2.0 100")
		pbx.expect("SIP/2.0 503") // the connection is gone, and with it the answer
		pbx.nothing()
	}},
	{"X90", "a Contact at the trunk's own name", func(e *scene) {
		e.pbx.send(replaced(e.t, e.pbx.invite(mobile, e.id), []string{"Contact: <sip:201@$me;maddr=203.0.113.9?X=y>", "Contact: <" + dear + ">"}))
		c := testCall{caller: e.pbx, callee: e.itsp, invite: e.itsp.expect("INVITE ")}
		e.itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+e.itsp.contact()+">"))
		c.ok = e.pbx.expect("SIP/2.0 200")
		e.pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
		e.itsp.expect("ACK ")
		e.itsp.send(c.fromCallee("BYE", "1 BYE", "bye"))
		e.pbx.send(answer(e.pbx.expect("BYE "+dear), "200 OK", ""))
		e.itsp.expect("SIP/2.0 200")
		e.quiet(e.itsp)
	}},
}

// dialled is a number row among the others: under is the whole URI at the trunk, ""
// where the number goes nowhere.
func dialled(id, what, uri, under string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		if under == "" {
			e.judged(e.pbx, e.invite(uri))
			return
		}
		e.dials(uri, under)
	}}
}

// unread is an INVITE whose body nobody understands.
func unread(id, what, kind, body string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		head, _, _ := strings.Cut(e.invite(mobile), "application/sdp")
		e.answered(e.pbx, head+kind+"\n\n"+body, "415 Unsupported Media Type", "Accept: "+acceptedBodies)
	}}
}

// tagless is an answer whose dialog nobody could tell from another: the far side is
// hung up on, and the caller hears that it failed.
func tagless(id, what, tag string) evasionRow {
	return evasionRow{id, what, func(e *scene) {
		wire := e.pbx.wire(e.invite(mobile))
		e.pbx.raw(wire)
		invite := e.itsp.expect("INVITE ")
		e.itsp.send(answer(invite, "200 OK", tag, "Contact: <"+e.itsp.contact()+">"))
		ack, bye := e.itsp.expect("ACK "), e.itsp.expect("BYE ")
		if get(ack, "CSeq") != "1 ACK" || get(bye, "CSeq") != "2 BYE" {
			e.t.Errorf("got\n%s%s", ack, bye)
		}
		e.itsp.send(answer(bye, "200 OK", ""))
		e.pbx.expect("SIP/2.0 100")
		wantBytes(e.t, e.s, e.pbx.expect("SIP/2.0 502"), answerBytes(e.pbx, wire, "502 Bad Gateway"))
		e.acknowledge(e.pbx, wire, "502")
		e.quiet(e.pbx, e.itsp)
		e.s.until("nothing is counted", func() bool { return len(e.s.in.Live()) == 0 })
	}}
}

// dropped2 is dropped while the PBX waits for an answer of its own.
func (e *scene) dropped2(a *agent, raw string, reason appliance.Reason) {
	e.t.Helper()
	before := e.s.tally(reason)
	e.pbx.expect("SIP/2.0 100")
	a.raw(raw)
	e.quiet(e.pbx, e.itsp)
	if counted := e.s.tally(reason) - before; counted != 1 {
		e.t.Errorf("counted %d times for %s, want once", counted, reason)
	}
}

// TestEvasionMore plays what is on no list.
func TestEvasionMore(t *testing.T) { playEvasions(t, evasionMore, secondTrunk) }
