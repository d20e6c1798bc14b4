package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/trace"
)

func (a *app) callsShow() *cobra.Command {
	var messages, ascii bool
	cmd := command("show ID", "one call, why it was let through or not, and what crossed the box", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Messages(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Messages) { a.printCall(answer, messages, ascii) })
		})
	cmd.Long = cmd.Short + `.

Messages are kept in memory: those of calls that were refused or failed until
others need the room, those of a call that is up until it ends, and those of every
call where the setting sip.messages is "all". They are shown without credentials.`
	cmd.Flags().BoolVar(&messages, "messages", false, "print the SIP messages too")
	cmd.Flags().BoolVar(&ascii, "ascii", false, "draw with ASCII alone")
	return cmd
}

func (a *app) printCall(answer api.Messages, messages, ascii bool) {
	v, c := a.view, answer.Call
	verdict := verdictCell(c.Verdict)
	v.line(cell{verdict.text, verdict.style}, cell{"  " + either(c.Number, c.Dialled), bold}, cell{"  " + c.Label, plain})
	v.line(cell{"  " + c.Reason.Sentence(), plain})
	v.line()
	for _, row := range callFacts(v, c) {
		if row[1] != "" {
			v.line(cell{pad("  "+row[0], 12), dim}, cell{row[1], plain})
		}
	}
	a.printTrail(c)
	a.printLadder(answer, ascii || !a.unicode())
	if messages {
		a.printMessages(answer.Trace)
	}
	if c.Verdict == appliance.Block && c.Rule != "" && c.Number != "" {
		v.line()
		v.line(cell{fmt.Sprintf("To let it pass for two hours: ringfence allow add %s --for 2h --reason '...'", c.Number), dim})
	}
}

func callFacts(v *view, c appliance.Call) [][2]string {
	rows := [][2]string{
		{"dialled", c.Dialled}, {"by", fmt.Sprintf("%s at %s", orDash(c.From), c.Source)}, {"account", accountOf(c)},
		{"as", fmt.Sprintf("%s %s", c.Direction, c.Use)}, {"trunk", c.Trunk},
		{"rule", c.Rule}, {"in list", c.List}, {"because", c.Why},
		{"started", v.moment(c.Start)}, {"answered", v.moment(c.Answer)}, {"ended", v.moment(c.End)}, {"talk", talk(c)},
		{"sip", fmt.Sprintf("%d", c.Status)}, {"call-id", c.CallID}, {"id", c.ID},
	}
	if c.Tries > 1 {
		rows = append(rows, [2]string{"tries", fmt.Sprintf("%d, of the same attempt", c.Tries)})
	}
	if c.Attempt != "" {
		rows = append(rows, [2]string{"attempt", "begun as call " + c.Attempt})
	}
	return rows
}

// printTrail says what the dialled string could have meant, and who judged.
func (a *app) printTrail(c appliance.Call) {
	v, t := a.view, c.Trail
	if t == nil {
		return
	}
	if len(t.Candidates) > 0 {
		v.line()
		v.line(cell{"What it can mean:", dim})
		v.table([]string{"NUMBER", "CLASS", "WHERE", "READ AS", "VERDICT", "WHY"}, weighedRows(c))
	}
	if t.Omitted > 0 {
		v.line(cell{fmt.Sprintf("and %d more", t.Omitted), dim})
	}
	v.line()
	edition := ""
	if t.Edition != "" {
		edition = fmt.Sprintf("list %s, %s; ", c.List, t.Edition)
	}
	v.line(cell{fmt.Sprintf("Judged by %spolicy serial %d, generation %s, firmware %s.", edition, t.Serial, orDash(t.Generation), orDash(t.Firmware)), dim})
}

func weighedRows(c appliance.Call) [][]cell {
	var rows [][]cell
	for _, one := range c.Trail.Candidates {
		rows = append(rows, candidateRow(one, c.Number))
	}
	return rows
}

func (a *app) printLadder(answer api.Messages, ascii bool) {
	v := a.view
	v.line()
	if answer.Note != "" {
		v.line(cell{"No ladder: " + answer.Note + ".", dim})
	}
	styles := map[trace.Weight]style{trace.Heading: bold, trace.Refusal: red, trace.Aside: dim}
	for _, line := range trace.Ladder(answer.Call, answer.Trace, trace.Style{Width: v.width, ASCII: ascii}) {
		v.line(cell{line.Text, styles[line.Weight]})
	}
}

// unicode reports whether the locale says nothing against it.
func (a *app) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := a.env.getenv(name); locale != "" {
			return strings.Contains(strings.ToUpper(strings.ReplaceAll(locale, "-", "")), "UTF8")
		}
	}
	return true
}

// printMessages writes each message whole: a line is never cut.
func (a *app) printMessages(t appliance.Trace) {
	v := a.view
	width := v.width
	v.width = 0
	defer func() { v.width = width }()
	for n, m := range t.Messages {
		v.line()
		v.line(cell{trace.Caption(n, m), bold})
		for line := range strings.SplitSeq(strings.TrimRight(trace.Body(m.Text), "\n"), "\n") {
			v.line(cell{line, plain})
		}
	}
}

// moment is a time to the second with its day, empty where there is none.
func (v *view) moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.In(v.zone).Format("2006-01-02 15:04:05 MST")
}
