package rules

import (
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/policy"
)

// FuzzCall asserts of any callee: verdict and reason belong together; only what
// is read in full passes; a candidate that is blocked and means something
// blocks the call; what the canonical form alone would not pass does not pass,
// and an emergency call is one in its canonical form too.
func FuzzCall(f *testing.F) {
	for _, uri := range []string{
		"0011 252 61 555 0148", "02 5261 5550", "sip:000@x", "sip:%2B252@sip.example.net;user=phone", "tel:61555;phone-context=+252;rn=+1", "*21*0011252#",
		"sip:alice@sip.example.net", "sip:1234@192.168.1.10", "urn:service:sos", "sip:1831141100112526155@sip.example.net?Replaces=x", "9011252p1", "tel:1831000;phone-context=+25261555", "+252*720252615550", "200;phone-context=0",
	} {
		f.Add(uri, uint8(0))
	}
	var all []*Rules
	for _, country := range dialplan.Countries() {
		s := withExtensions(site(country, "2", "0", "9"), 4)
		all = append(all, compiled(f, policy.Builtin(), s), compiled(f, policy.Builtin(), withPBX(withE164(s))))
	}
	f.Fuzz(func(t *testing.T, uri string, which uint8) {
		r := all[int(which)%len(all)]
		got := r.Call(out(uri))
		if got.Verdict != got.Reason.Verdict() || strings.HasPrefix(got.Reason.String(), "reason_") {
			t.Fatalf("%q: %s with %s", uri, got.Verdict, got.Reason)
		}
		checkTrail(t, uri, got)
		var nothing *Rules
		if bare := nothing.Call(out(uri)); bare.Verdict == appliance.Allow && bare.Reason != appliance.ReasonEmergency {
			t.Fatalf("%q passes without rules: %+v", uri, bare)
		}
		if got.Verdict == appliance.Block || strings.HasPrefix(got.Dialled, "urn:") {
			return
		}
		// What is sent on is judged as it is sent on, and is an emergency call
		// still where nothing else was asked of it.
		sent := "sip:" + strings.ReplaceAll(got.Dialled, "#", "%23") + "@sip.example.net"
		if again := r.Call(out(sent)); (again.Verdict != appliance.Allow && got.Class != dialplan.ClassInternal) || (got.Reason == appliance.ReasonEmergency && again.Reason != got.Reason) {
			t.Fatalf("%q passes but %q, which is sent on, does not: %+v", uri, sent, again)
		}
	})
}

func checkTrail(t *testing.T, uri string, got Decision) {
	t.Helper()
	for _, one := range got.Candidates {
		if one.Verdict != one.Reason.Verdict() {
			t.Fatalf("%q: candidate %+v contradicts itself", uri, one)
		}
		if got.Verdict == appliance.Allow && got.Reason != appliance.ReasonEmergency && one.Verdict == appliance.Block && one.Class != dialplan.ClassUnknown {
			t.Fatalf("%q passes in spite of %+v", uri, one)
		}
	}
}
