package trace

import (
	"fmt"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Text is everything about one call in plain text, for a file that a person reads
// later, such as evidence for a provider: the record, the trail of its decision,
// the ladder and the messages. Times are in UTC. What it is given must be redacted
// already, as all is that the inspector hands out.
func Text(call appliance.Call, t appliance.Trace, style Style) string {
	var out strings.Builder
	section := func(title string) { fmt.Fprintf(&out, "\n%s\n\n", title) }
	fmt.Fprintf(&out, "Call %s: %s, %s\n\n", call.ID, call.Verdict, call.Reason.Sentence())
	for _, row := range facts(call) {
		if row[1] != "" {
			fmt.Fprintf(&out, "  %-12s%s\n", row[0], clean(row[1]))
		}
	}
	if call.Trail != nil {
		section("What was weighed")
		for _, one := range call.Trail.Candidates {
			fmt.Fprintf(&out, "  %s\n", clean(weighed(one)))
		}
	}
	section("What crossed the box")
	if t.Note != "" {
		fmt.Fprintf(&out, "  %s\n", t.Note)
	}
	for _, line := range Ladder(call, t, style) {
		out.WriteString(line.Text + "\n")
	}
	for n, m := range t.Messages {
		section(Caption(n, m))
		out.WriteString(Body(m.Text))
	}
	return out.String()
}

func facts(call appliance.Call) [][2]string {
	rows := [][2]string{
		{"dialled", call.Dialled}, {"number", call.Number}, {"where", call.Label}, {"by", call.From + " at " + call.Source},
		{"as", fmt.Sprintf("%s %s", call.Direction, call.Use)}, {"trunk", call.Trunk}, {"rule", call.Rule}, {"list", call.List},
		{"because", call.Why}, {"started", moment(call.Start)}, {"answered", moment(call.Answer)}, {"ended", moment(call.End)},
		{"sip status", fmt.Sprint(call.Status)}, {"call-id", call.CallID},
	}
	if call.Tries > 1 {
		rows = append(rows, [2]string{"tries", fmt.Sprint(call.Tries)})
	}
	if call.Attempt != "" {
		rows = append(rows, [2]string{"attempt of", call.Attempt})
	}
	if marks := marksOf(call); marks != "" {
		rows = append(rows, [2]string{"marks", marks})
	}
	if call.Digits > 0 {
		rows = append(rows, [2]string{"digits by info", fmt.Sprint(call.Digits)})
	}
	if call.Ended != "" {
		rows = append(rows, [2]string{"ended by us", string(call.Ended)})
	}
	if t := call.Trail; t != nil {
		rows = append(rows, [2]string{"edition", t.Edition}, [2]string{"policy", fmt.Sprintf("serial %d", t.Serial)},
			[2]string{"generation", t.Generation}, [2]string{"firmware", t.Firmware})
	}
	return rows
}

// marksOf says what else is known of a call.
func marksOf(call appliance.Call) string {
	var marks []string
	for _, one := range []struct {
		set  bool
		mark string
	}{{call.Forwarded, "forwarded"}, {call.Hairpin, "hairpin"}, {call.Overlap, "overlap"}} {
		if one.set {
			marks = append(marks, one.mark)
		}
	}
	return strings.Join(marks, ", ")
}

func weighed(one appliance.Weighed) string {
	text := fmt.Sprintf("%-18s %-14s %-6s %s", one.Number, one.Class, one.Verdict, one.Reason.Sentence())
	if one.Rule != "" {
		text += fmt.Sprintf(" (%s in %s)", one.Rule, one.List)
	}
	if len(one.Via) > 0 {
		text += ", read as " + strings.Join(one.Via, ", then ")
	}
	return text
}

func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// Caption says which message of a trace this is, when it crossed, and between
// whom.
func Caption(n int, m appliance.Message) string {
	from, to := m.Remote, m.Local
	if m.Sent {
		from, to = to, from
	}
	text := fmt.Sprintf("#%d  %s  %s %s > %s  %d bytes", n+1, m.Time.UTC().Format("15:04:05.000000"), m.Transport, from, to, m.Length)
	if m.Repeats > 0 {
		text += fmt.Sprintf(", %d times", m.Repeats+1)
	}
	return text
}

// Body is a message as lines of a text, each two columns in.
func Body(text string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		out.WriteString(strings.TrimRight("  "+clean(strings.TrimRight(line, "\r")), " ") + "\n")
	}
	return out.String()
}
