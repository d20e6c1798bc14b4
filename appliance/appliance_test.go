package appliance

import (
	"encoding"
	"errors"
	"fmt"
	"testing"
)

// Zero means no, and so does everything outside the enums.
func TestZeroMeansNo(t *testing.T) {
	var (
		verdict Verdict
		reason  Reason
		level   Level
	)
	if verdict != Block || Verdict(7).String() != "block" {
		t.Error("the zero Verdict, or an unknown one, does not block")
	}
	if reason != ReasonNoRules || reason.Verdict() != Block || Reason(255).Verdict() != Block {
		t.Error("the zero Reason, or an unnamed one, does not block")
	}
	if level != Red || Level(9).String() != "red" || WorstOf(nil) != Red {
		t.Error("the zero Level, an unknown one, or no check at all, is not red")
	}
}

func TestWorstOf(t *testing.T) {
	green, amber, red := Check{Level: Green}, Check{Level: Amber}, Check{Level: Red}
	for _, row := range []struct {
		checks []Check
		want   Level
	}{
		{[]Check{green}, Green},
		{[]Check{green, amber, green}, Amber},
		{[]Check{amber, red, green}, Red},
	} {
		if got := WorstOf(row.checks); got != row.want {
			t.Errorf("WorstOf(%v) = %v, want %v", row.checks, got, row.want)
		}
	}
}

// Reasons are counted, stored and sent by name, so that a name must be one
// reason's alone, and the two halves of the list must not run into each other.
func TestReasonsAreDistinct(t *testing.T) {
	names, sentences := map[string]Reason{}, map[string]Reason{}
	for _, reason := range Reasons() {
		if other, taken := names[reason.String()]; taken {
			t.Errorf("%d and %d are both named %s", other, reason, reason)
		}
		if other, taken := sentences[reason.Sentence()]; taken {
			t.Errorf("%s and %s have the same sentence", other, reason)
		}
		names[reason.String()], sentences[reason.Sentence()] = reason, reason
		if reason < FirstCallReason && (reason >= ReasonNotIP) != (reason.Verdict() == Allow) {
			t.Errorf("%s stands on the wrong side of %s, which the XDP program decides by", reason, ReasonNotIP)
		}
	}
}

func TestTextRoundTrip(t *testing.T) {
	check := func(value encoding.TextMarshaler, back encoding.TextUnmarshaler, read func() any) {
		t.Helper()
		text, err := value.MarshalText()
		if err == nil {
			err = back.UnmarshalText(text)
		}
		if got := read(); err != nil || fmt.Sprint(got) != fmt.Sprint(value) {
			t.Errorf("%v came back from %q as %v (%v)", value, text, got, err)
		}
		if err := back.UnmarshalText([]byte("nonsense")); err == nil {
			t.Errorf("%T reads nonsense", value)
		}
	}
	for _, value := range Reasons() {
		var back Reason
		check(value, &back, func() any { return back })
	}
	for _, value := range []Verdict{Block, Allow} {
		back := Verdict(7)
		check(value, &back, func() any { return back })
	}
	for _, value := range []Level{Red, Amber, Green} {
		back := Level(7)
		check(value, &back, func() any { return back })
	}
}

func TestErrors(t *testing.T) {
	one := &Error{Code: CodeForbidden, Field: "admins[0].sip", Message: "is not granted"}
	two := &Error{Code: CodeInvalid, Message: "is empty"}
	if (Errors{}).Or() != nil {
		t.Error("no mistakes are an error")
	}
	all := fmt.Errorf("read settings: %w", Errors{one, two}.Or())
	if got, want := all.Error(), "read settings: admins[0].sip: is not granted; is empty"; got != want {
		t.Errorf("reads %q, want %q", got, want)
	}
	if got := CodeOf(all); got != CodeForbidden {
		t.Errorf("CodeOf gives %q, want the first mistake's", got)
	}
	if got := CodeOf(errors.New("disk on fire")); got != CodeUnavailable {
		t.Errorf("CodeOf gives %q for a stranger, want %q", got, CodeUnavailable)
	}
}
