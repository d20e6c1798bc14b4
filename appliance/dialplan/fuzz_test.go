package dialplan

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// escapeAll writes every byte of a canonical dialled string as a percent escape.
func escapeAll(s string) string {
	var out strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&out, "%%%02X", s[i])
	}
	return out.String()
}

func hyphenate(s string) string { return strings.Join(strings.Split(s, ""), "-") }

// FuzzRead asserts of any input: what parses is canonical and stays so; every
// encoding of the canonical string reads alike; work and results are bounded;
// numbers are well formed.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"0011 252 61 555 0148", "sip:%2B252@x;user=phone", "tel:61555;phone-context=+252;rn=+1", "*21*0011252#", "+61 (0)2 5261 5550",
		"sip:1831141100112526155@h?Replaces=x", "urn:service:sos.fire", "alice", "1300FLOWER", "sip:9011252,1@[::1]:5060;maddr=x", "*67011+252#31#", "#;phone-context=0",
	} {
		f.Add(s, uint8(0), true)
		f.Add(s, uint8(3), false)
	}
	var plans []*Plan
	for _, country := range Countries() {
		plans = append(plans, plan(f, Site{Country: country, AreaCode: "2", AccessDigits: []string{"0", "9", "81"}, Extensions: 4}))
	}
	f.Fuzz(func(t *testing.T, s string, which uint8, e164 bool) {
		target, err := Parse(s)
		if err != nil {
			var problem *Error
			if !errors.As(err, &problem) || problem.Problem == "" {
				t.Fatalf("parse %q: the error says nothing: %v", s, err)
			}
			return
		}
		p, far := plans[int(which)%len(plans)], Far{National: true, E164: e164, Extensions: true}
		reading, err := p.Read(target, far)
		checkReading(t, s, reading, err)
		if target.Name || target.Service {
			return
		}
		again, err := Parse(target.Dialled)
		if err != nil || again.Dialled != target.Dialled {
			t.Fatalf("%q: canonical form %q reads as %q, %v", s, target.Dialled, again.Dialled, err)
		}
		want, wantErr := p.Read(again, far)
		for _, encoded := range []string{
			"sip:" + escapeAll(target.Dialled) + "@sip.example.net;user=phone", "tel:" + escapeAll(target.Dialled),
			"SIPS:" + escapeAll(target.Dialled) + ";isub=1@[2001:db8::1]:5061", " " + target.Dialled + " ", hyphenate(target.Dialled), "tel:" + target.Dialled + ";phone-context=example.com;cic=1",
		} {
			other, err := Parse(encoded)
			if err != nil {
				t.Fatalf("%q: %q does not parse: %v", target.Dialled, encoded, err)
			}
			got, gotErr := p.Read(other, far)
			if !reflect.DeepEqual(got, want) || (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("%q and %q differ:\n%+v %v\n%+v %v", target.Dialled, encoded, want, wantErr, got, gotErr)
			}
		}
	})
}

func checkReading(t *testing.T, s string, reading Reading, err error) {
	t.Helper()
	if len(reading.Candidates) > maxCandidates || len(reading.Dialled) > maxURI {
		t.Fatalf("%q: unbounded: %d candidates", s, len(reading.Candidates))
	}
	for _, one := range reading.Candidates {
		digits := strings.TrimPrefix(one.Number, "+")
		if one.Number == "" || (one.Class != ClassInternal && one.Class != ClassEmergency && !allDigits(digits)) {
			t.Fatalf("%q: number %q of class %q", s, one.Number, one.Class)
		}
		if one.Class == ClassInternational && (one.Number[0] != '+' || countryCode(digits) == "") {
			t.Fatalf("%q: %q is international without a country code", s, one.Number)
		}
	}
}
