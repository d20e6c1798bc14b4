package inspector

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// number is a row of table N: a URI at a site, and under which Request-URI it goes
// on, "" where it does not.
type number struct {
	id, what string
	at       string // the home country, "" for AU
	uri      string // without a scheme: the user part at the trunk's domain
	under    string // user part at the trunk's domain, or a whole URI
}

// The numbers of section 1.2. What each country dials is in package dialplan's own
// tests; here stands that none of it gets around the inspector.
var evasionNumbers = []number{
	{"N1a", "plus", "", "+252615550148", ""},
	{"N1b", "two zeros abroad from a country that dials 0011", "", "00252615550148", ""},
	{"N1c", "the country's own prefix", "", "0011252615550148", ""},
	{"N1d", "North America's prefix", "US", "011252615550148", ""},
	{"N1e", "New Zealand", "NZ", "00252615550148", ""},
	{"N1f", "Germany", "DE", "00252615550148", ""},
	{"N1g", "a carrier chosen by digits", "US", "01 1252615550148", ""},
	{"N1h", "a phone of another country", "", "011252615550148", ""},
	{"N1i", "Russia's prefix", "", "810252615550148", ""},
	{"N1j", "an honest call abroad", "", "0011442079460123", "0011442079460123"},
	{"N2a", "override 1414", "", "14140011252615550148", ""},
	{"N2b", "override 1456", "", "14560011252615550148", ""},
	{"N2c", "carrier 0014", "", "0014252615550148", ""},
	{"N2d", "carrier 0018", "", "0018252615550148", ""},
	{"N3a", "show the number", "", "18320011252615550148", ""},
	{"N3b", "hide the number", "", "18310011252615550148", ""},
	{"N3c", "again and again", "", "1831183218310011252615550148", ""},
	{"N3d", "hide the number of an honest call", "", "18310491570156", "18310491570156"},
	{"N4a", "*67", "US", "*67011252615550148", ""},
	{"N4b", "*82", "US", "*82011252615550148", ""},
	{"N4c", "1167 of a dial", "US", "1167011252615550148", ""},
	{"N4d", "1182", "US", "1182011252615550148", ""},
	{"N4e", "*70 and *67", "US", "*70*67011252615550148", ""},
	{"N4f", "*67 of an honest call", "US", "*6712125551234", "*6712125551234"},
	{"N5a", "dial-around", "US", "1010288011252615550148", ""},
	{"N5b", "dial-around to the Caribbean", "US", "101028818765551234", ""},
	{"N5c", "two of them", "US", "10102881010321011252615550148", ""},
	{"N6a", "9 for a line", "9", "90011252615550148", ""},
	{"N6b", "0 for a line", "9", "00011252615550148", ""},
	{"N6c", "9 for a line in America", "US", "9011252615550148", ""},
	{"N6d", "9 and hidden", "9", "918310011252615550148", ""},
	{"N6e", "9 and an honest number", "9", "90491570156", "90491570156"},
	{"N7a", "no more than the country", "", "+252", ""},
	{"N7b", "less than the country", "", "+25", ""},
	{"N7c", "no more than the prefix", "", "0011", ""},
	{"N7d", "prefix and country", "", "00252", ""},
	{"N8a", "a local number with a numeric context", "", "tel:615550148;phone-context=+252", ""},
	{"N8b", "a context without plus", "", "tel:615550148;phone-context=252", ""},
	{"N8c", "a global number with an honest context", "", "tel:+252615550148;phone-context=+61", ""},
	{"N8d", "a domain as context", "", "tel:0491570156;phone-context=example.com", "0491570156"},
	{"N8e", "context in the user part", "", "615550148;phone-context=+252", ""},
	{"N8f", "escaped context", "", "615550148;phone-context=%2B252", ""},
	{"N8g", "two contexts", "", "615550148;phone-context=+61;phone-context=+252", ""},
	{"N9a", "routing number", "", "+61255501234;rn=+252615550148;npdi", ""},
	{"N9b", "routing number of a tel", "", "tel:+61255501234;npdi;rn=+252615550148", ""},
	{"N9c", "routing number in a context", "", "+61255501234;rn=615550148;rn-context=+252", ""},
	{"N9d", "carrier and trunk group are left out", "", "+61491570156;cic=+1-0288;tgrp=x;trunk-context=y", "+61491570156"},
	{"N9e", "extension and post-dial are left out", "", "+61491570156;ext=252;postd=pp252;isub=1", "+61491570156"},
	{"N9f", "digits behind a pause are left out", "", "+61491570156,,252615550148", "+61491570156"},
	{"N9g", "escaped routing number", "", "+61255501234;%72n=%2B252615550148", ""},
	{"N10a", "user=phone", "", "sip:+252615550148@sip.itsp.example;user=phone", ""},
	{"N10b", "user=dialstring", "", "sip:0011252615550148@sip.itsp.example;user=dialstring", ""},
	{"N10c", "user=ip", "", "sip:0011252615550148@sip.itsp.example;user=ip", ""},
	{"N10d", "user=phone of an honest number", "", "sip:+61491570156@sip.itsp.example;user=phone", "+61491570156"},
	{"N11a", "escaped plus", "", "%2B252615550148", ""},
	{"N11b", "escaped zeros", "", "%30%30%31%31252615550148", ""},
	{"N11c", "mixed case of hex digits", "", "%2b252615550148", ""},
	{"N11d", "escaped twice", "", "%252B252615550148", ""},
	{"N11e", "escaped star", "", "%2A72+252615550148", ""},
	{"N11f", "escaped hash", "", "%2321%230011252615550148", ""},
	{"N11g", "an escaped honest number goes on in the clear", "", "%2B614%39%31570156", "+61491570156"},
	{"N12a", "letters of the keypad", "", "+25261CALLME", ""},
	{"N12b", "escaped digits of another script", "", "+%D9%A2%D9%A5%D9%A2615550148", ""},
	{"N12c", "full-width digits", "", "%EF%BC%90%EF%BC%90252615550148", ""},
	{"N13a", "a second channel", "", "500&PJSIP/itsp/0011252615550148", ""},
	{"N13b", "a slash", "", "500/0011252615550148", ""},
	{"N13c", "escaped quotes and spaces", "", "%22500%20%22", ""},
	{"N13d", "an escaped pipe", "", "500%7C0011252615550148", ""},
	{"N13e", "an escaped at", "", "500%400011252615550148", ""},
	{"N14a", "a password", "", "sip:+61491570156:pw@sip.itsp.example", ""},
	{"N15a", "maddr", "", "sip:+61491570156@sip.itsp.example;maddr=203.0.113.9", ""},
	{"N15b", "a method", "", "sip:+61491570156@sip.itsp.example;method=REFER", "+61491570156"},
	{"N15c", "headers", "", "sip:+61491570156@sip.itsp.example?Route=%3Csip:203.0.113.9%3Blr%3E&Replaces=a", "+61491570156"},
	{"N15d", "lr and ttl", "", "sip:+61491570156@sip.itsp.example;lr;ttl=1", "+61491570156"},
	{"N15e", "transport", "", "sip:+61491570156@sip.itsp.example;transport=tcp", "+61491570156"},
	{"N15f", "somebody else's host", "", "sip:+61491570156@evil.example", ""},
	{"N15g", "somebody else's address", "", "sip:+61491570156@203.0.113.9", ""},
	{"N15h", "the box's own address stands for the trunk", "", "sip:+61491570156@$box", "+61491570156"},
	{"N17a", "an area code that looks like a country", "", "0252615550", "0252615550"},
	{"N17b", "the same without the area", "", "52615550", "52615550"},
	{"N17c", "one zero too many", "", "00252615550", ""},
	{"N17d", "Great Britain's 025", "GB", "02526155501", "02526155501"},
	{"N18a", "no plus, at a trunk that adds one", "e164", "252615550148", ""},
	{"N18b", "no plus, at one that does not", "", "252615550148", ""},
	{"N18c", "an honest number without plus", "e164", "61491570156", "61491570156"},
	{"N19a", "Jamaica", "US", "18765551234", ""},
	{"N19b", "Jamaica with ten digits", "US", "8765551234", ""},
	{"N19c", "the Dominican Republic", "US", "18095551234", ""},
	{"N19d", "900", "US", "19005551234", ""},
	{"N19e", "976", "US", "9765551", ""},
	{"N19f", "Puerto Rico is rated as home", "US", "17875551234", "17875551234"},
	{"N19g", "premium 456", "US", "14565551234", ""},
	{"N20a", "190x", "", "1902123456", ""},
	{"N20b", "short 19x", "", "191234", ""},
	{"N20c", "satellite 0147", "", "0147123456", ""},
	{"N20d", "09 in Britain", "GB", "09061234567", ""},
	{"N20e", "070 in Britain", "GB", "07012345678", ""},
	{"N20f", "directory 118 in Britain", "GB", "118118", ""},
	{"N21a", "Inmarsat", "", "+870776123456", ""},
	{"N21b", "Iridium", "", "+8816123456789", ""},
	{"N21c", "international networks", "", "+88213123456", ""},
	{"N21d", "Ascension", "", "+24762512", ""},
	{"N21e", "universal premium rate", "", "+979123456789", ""},
	{"N21f", "the Comoros beside Mayotte", "", "+2693212345", ""},
	{"N22a", "a range that no plan knows", "", "0011252611234", ""},
	{"N22b", "a number without a country", "", "+999123456789", ""},
	{"N23a", "emergency and more digits", "", "0000011252615550148", ""},
	{"N23b", "112 and more digits", "", "112+252615550148", ""},
	{"N23c", "a service that is none", "", "urn:service:sos2", ""},
	{"N24a", "forward to a number, Bell", "US", "*72011252615550148", ""},
	{"N24b", "forward to a number, GSM", "", "*21*0011252615550148%23", ""},
	{"N24c", "forward when busy", "", "**67*0011252615550148%23", ""},
	{"N24d", "hide by code", "", "%2331%230011252615550148", ""},
	{"N24e", "forward to an honest number", "", "*21*0491570156%23", "*21*0491570156%23"},
	{"N25a", "a name elsewhere", "", "sip:x@evil.example", ""},
	{"N25b", "a name at the trunk", "", "sip:alice@sip.itsp.example", ""},
	{"N25c", "a user that is only an escape", "", "sip:%40@evil.example", ""},
}

// numberSites are the sites that numbers are dialled at.
var numberSites = map[string]setup{
	"":  func(*site, *settings.Settings, *limits) {},
	"9": func(_ *site, set *settings.Settings, _ *limits) { set.Site.AccessDigits = []string{"9", "0"} },
	"e164": func(_ *site, set *settings.Settings, _ *limits) {
		set.Trunks[0].Formats = []settings.NumberFormat{settings.FormatPlus, settings.FormatInternational, settings.FormatNational, settings.FormatE164}
	},
	"US": inCountry("US", "212"),
	"NZ": inCountry("NZ", "4"),
	"GB": inCountry("GB", "20"),
	"DE": inCountry("DE", "30"),
}

func inCountry(country, area string) setup {
	return func(_ *site, set *settings.Settings, _ *limits) { set.Site.Country, set.Site.AreaCode = country, area }
}

func (n number) row() evasionRow {
	return evasionRow{n.id, n.what, func(e *scene) {
		uri := n.uri
		if !strings.Contains(uri, ":") {
			uri = "sip:" + strings.ReplaceAll(uri, " ", "") + "@" + domain
		}
		if n.under == "" {
			e.judged(e.pbx, e.invite(uri))
			return
		}
		e.dials(uri, "sip:"+n.under+"@"+domain)
	}}
}

func evasionNumberRows(at string) (all []evasionRow) {
	for _, n := range evasionNumbers {
		if n.at == at {
			all = append(all, n.row())
		}
	}
	return all
}

// TestEvasionNumbers dials every row of section 1.2 as the PBX.
func TestEvasionNumbers(t *testing.T) {
	for at, change := range numberSites {
		t.Run("at "+at, func(t *testing.T) { playEvasions(t, evasionNumberRows(at), change) })
	}
	t.Run("scenes", func(t *testing.T) {
		playEvasions(t, evasionNumberScenes, func(_ *site, set *settings.Settings, _ *limits) {
			set.Destinations.Block = []settings.Destination{{Prefix: "+6149157015642", Reason: "grown from one that may be called"}}
		})
	})
}

// The rows of section 1.2 that are more than one number.
var evasionNumberScenes = []evasionRow{
	{"N7e", "digits that grow, INVITE by INVITE", func(e *scene) {
		for n, digits := range []string{"1300", "130065", "1300655506"} {
			text := replaced(e.t, e.invite("sip:"+digits+"@"+domain), []string{"CSeq: 1 ", fmt.Sprintf("CSeq: %d ", n+1), "-inv-n7e", fmt.Sprintf("-inv-n7e%d", n)})
			e.pbx.send(text)
			if n == 2 {
				e.pbx.expect("SIP/2.0 100")
				e.itsp.send(answer(e.itsp.expect("INVITE sip:1300655506@"), "486 Busy Here", "b"))
				e.itsp.expect("ACK ")
				e.pbx.expect("SIP/2.0 486")
			} else {
				e.pbx.expect("SIP/2.0 403")
			}
		}
		e.quiet(e.itsp)
		record := e.s.call("the last is an overlap", func(c appliance.Call) bool {
			return c.CallID == "n7e" && c.Overlap && strings.Contains(c.Dialled, "1300655506")
		})
		if record.Attempt == "" {
			e.t.Errorf("the sequence is counted as more than one attempt: %+v", record)
		}
	}},
	{"N7f", "digits that grow into a blocked country under new Call-IDs", func(e *scene) {
		for _, digits := range []string{"001125", "0011252", "00112526", "001125261"} {
			e.judged(e.pbx, replaced(e.t, e.pbx.invite("sip:"+digits+"@"+domain, "n7f"+digits), nil))
		}
		e.s.call("the growth is told", func(c appliance.Call) bool { return c.CallID == "n7f001125261" && c.Overlap && c.Attempt == "" })
	}},
	{"N7g", "a trunk that wants more digits", func(e *scene) {
		e.pbx.send(e.invite("sip:0491570156@" + domain))
		e.itsp.send(answer(e.itsp.expect("INVITE "), "484 Address Incomplete", "x", "Contact: <sip:+252615550148@"+domain+">"))
		e.itsp.expect("ACK ")
		e.pbx.expect("SIP/2.0 100")
		got := e.pbx.expect("SIP/2.0 484")
		if get(got, "Contact") != "" {
			e.t.Errorf("a Contact came with it:\n%s", got)
		}
	}},
	{"N7h", "digits by INFO while it rings", func(e *scene) {
		e.pbx.send(e.invite(mobile))
		invite := e.itsp.expect("INVITE ")
		e.itsp.send(answer(invite, "183 Session Progress", "callee", "Contact: <"+e.itsp.contact()+">"))
		c := testCall{caller: e.pbx, callee: e.itsp, invite: invite, ok: e.pbx.expect("SIP/2.0 183")}
		digit := "Content-Type: application/dtmf-relay\n\nSignal=%d\nDuration=160\n"
		e.pbx.send(c.fromCaller("INFO", "2 INFO", "i", fmt.Sprintf(digit, 4)))
		e.itsp.send(answer(e.itsp.expect("INFO "), "200 OK", ""))
		e.pbx.expect("SIP/2.0 200")
		// The site blocks what the next one would make of it.
		e.judgedWithin(e.pbx, c.fromCaller("INFO", "3 INFO", "j", fmt.Sprintf(digit, 2)))
	}},
	{"N7i", "a re-INVITE that names more digits", func(e *scene) {
		c := establish(e.pbx, e.itsp, mobile, e.id)
		text := replaced(e.t, c.fromCaller("INVITE", "2 INVITE", "more", "Contact: <sip:201@$me>"), []string{uriOf(get(c.ok, "Contact")), "sip:+614915701560@" + domain})
		e.answered(e.pbx, text, "481 Call/Transaction Does Not Exist")
		c.hangUp(e.s)
	}},
	{"N16a", "a dear number as display name", func(e *scene) {
		e.passes(e.invite(mobile, "To: <"+mobile+">", `To: "+252615550148" <`+mobile+">"),
			e.bytesOut(mobile, mobile, "To: <"+mobile+">", `To: "+252615550148" <`+mobile+">"))
	}},
	{"N16b", "an honest display name before a dear number", func(e *scene) {
		e.judged(e.pbx, e.invite("sip:+252615550148@"+domain, "To: <", `To: "+61491570156" <`))
	}},
	{"N16c", "To names a dear number", func(e *scene) {
		e.passes(e.invite(mobile, "To: <"+mobile, "To: <sip:+252615550148@"+domain), e.bytesOut(mobile, "sip:+252615550148@"+domain))
		e.s.until("the difference is told", func() bool { return e.s.told("To names another destination") })
	}},
	{"N16d", "an honest To before a dear Request-URI", func(e *scene) {
		e.judged(e.pbx, e.invite("sip:+252615550148@"+domain, "To: <sip:+252615550148@", "To: <sip:+61491570156@"))
	}},
	{"N16e", "P-Called-Party-ID names a dear number", func(e *scene) {
		e.passes(e.invite(mobile, "Allow:", "P-Called-Party-ID: <sip:+252615550148@"+domain+">\nAllow:"), e.bytesOut(mobile, mobile))
		e.s.until("the difference is told", func() bool { return e.s.told("P-Called-Party-ID names another destination") })
	}},
	{"N16f", "Request-Disposition asks to fork", func(e *scene) {
		e.passes(e.invite(mobile, "Allow:", "Request-Disposition: fork, parallel\nd: recurse\nAllow:"), e.bytesOut(mobile, mobile))
	}},
	{"N14b", "two at", func(e *scene) {
		e.malformed(e.pbx.wire(e.invite("sip:+61491570156@"+domain+"@evil.example", "To: <sip:+61491570156@"+domain+"@evil.example>", "To: <"+mobile+">")),
			"Request-Line", `holds a URI with more than one "@"`)
	}},
	{"N14c", "a bracket in the user part", func(e *scene) {
		e.malformed(e.pbx.wire(e.invite("sip:[252]@"+domain, "To: <sip:[252]@"+domain+">", "To: <"+mobile+">")), "Request-Line", "holds a URI with a wrong user part")
	}},
	{"N14d", "slashes of a web address", func(e *scene) {
		e.malformed(e.pbx.wire(e.invite("sip://252615550148@"+domain, "To: <sip://252615550148@"+domain+">", "To: <"+mobile+">")), "Request-Line", "holds a URI with a wrong user part")
	}},
	{"N14e", "an empty password", func(e *scene) {
		e.malformed(e.pbx.wire(e.invite("sip:+61491570156:@"+domain, "To: <sip:+61491570156:@"+domain+">", "To: <"+mobile+">")), "Request-Line", "holds a URI with a wrong password part")
	}},
	{"N11h", "an escaped NUL", func(e *scene) {
		e.malformed(e.pbx.wire(e.invite("sip:+61491570156%00252@"+domain, "To: <sip:+61491570156%00252@"+domain+">", "To: <"+mobile+">")), "Request-Line", "holds a URI with a wrong user part")
	}},
	{"N11i", "an escaped line end", func(e *scene) {
		e.malformed(e.pbx.wire(e.invite("sip:1%0d%0aTo:x@"+domain, "To: <sip:1%0d%0aTo:x@"+domain+">", "To: <"+mobile+">")), "Request-Line", "holds a URI with a wrong user part")
	}},
	{"N12d", "raw digits of another script", func(e *scene) {
		e.malformed(e.pbx.wire(e.invite("sip:+٢٥٢615550148@"+domain, "To: <sip:+٢٥٢615550148@"+domain+">", "To: <"+mobile+">")), "Request-Line", "holds a URI with a wrong user part")
	}},
	{"N13f", "names and numbers for the PBX keep to what a number is", func(e *scene) {
		text := e.itsp.invite("sip:500&PJSIP/itsp/1416@$box", e.id)
		wire := e.itsp.wire(text)
		e.itsp.raw(wire)
		wantBytes(e.t, e.s, e.itsp.expect("SIP/2.0 "), answerBytes(e.itsp, wire, "403 Forbidden", rejected))
		e.quiet(e.pbx)
	}},
	{"N23d", "an emergency number", func(e *scene) {
		e.dialsUrgent("sip:000@"+domain, "sip:000@"+domain)
	}},
	{"N23e", "an emergency service", func(e *scene) { e.dialsUrgent("urn:service:sos.police", "urn:service:sos.police") }},
	{"N23f", "an emergency number behind a context", func(e *scene) {
		e.dialsUrgent("tel:000;phone-context=+25261555", "sip:000@"+domain)
	}},
	{"N26a", "a MESSAGE", func(e *scene) {
		e.judged(e.pbx, e.outOfDialog("MESSAGE", "sip:+252615550148@"+domain, "Content-Type: text/plain\n\nhello\n"))
	}},
	{"N26b", "a SUBSCRIBE", func(e *scene) {
		e.judged(e.pbx, e.outOfDialog("SUBSCRIBE", "sip:+252615550148@"+domain, "Contact: <sip:201@$me>\nEvent: presence"))
	}},
	{"N26c", "a PUBLISH", func(e *scene) {
		e.answered(e.pbx, e.outOfDialog("PUBLISH", "sip:+252615550148@"+domain, "Event: presence"), "405 Method Not Allowed", "Allow: "+methods)
	}},
	{"N26d", "OPTIONS ask nothing about numbers", func(e *scene) {
		e.answered(e.pbx, e.outOfDialog("OPTIONS", "sip:+61491570156@"+domain), "404 Not Found")
	}},
	{"N26e", "REGISTER for a number at somebody else's host", func(e *scene) {
		e.answered(e.pbx, e.outOfDialog("REGISTER", "sip:evil.example", "Contact: <sip:1@$me>"), "403 Forbidden")
	}},
	{"N26f", "INFO with a number and no dialog", func(e *scene) {
		e.answered(e.pbx, e.outOfDialog("INFO", "sip:+252615550148@"+domain), "481 Call/Transaction Does Not Exist")
	}},
}

// judgedWithin is judged for a request inside a dialog.
func (e *scene) judgedWithin(a *agent, text string) {
	e.t.Helper()
	e.answered(a, text, "403 Forbidden", rejected)
}

// outOfDialog is a request of the PBX outside any dialog.
func (e *scene) outOfDialog(method, uri string, extra ...string) string {
	all := []string{method + " " + uri + " SIP/2.0", "Via: $via;branch=z9hG4bK-" + e.id, "Max-Forwards: 70",
		"From: <sip:201@" + domain + ">;tag=" + e.id, "To: <" + uri + ">", "Call-ID: " + e.id, "CSeq: 1 " + method}
	return e.s.named(strings.Join(append(all, extra...), "\n"))
}

// dialsUrgent passes a call for help, which is asked for no session timer.
func (e *scene) dialsUrgent(uri, under string) {
	e.t.Helper()
	e.passes(e.invite(uri), e.bytesOut(under, uri, "Session-Expires: 1800\r\n", ""))
}

// told reports whether an event's message starts so.
func (s *site) told(start string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.events {
		if strings.HasPrefix(one.Message, start) {
			return true
		}
	}
	return false
}

func evasionTables() map[string][]evasionRow {
	numbers := evasionNumberScenes[:len(evasionNumberScenes):len(evasionNumberScenes)]
	for at := range numberSites {
		numbers = append(numbers, evasionNumberRows(at)...)
	}
	return map[string][]evasionRow{"F": evasionFrames, "N": numbers, "G": slices.Concat(evasionDialogs, evasionCalls), "X": evasionMore}
}
