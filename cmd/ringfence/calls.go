package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) calls() *cobra.Command {
	var blocked bool
	var since string
	var limit int
	cmd := command("calls", "calls, newest first", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		from, err := parseSince(since, a.env.now(), a.env.zone)
		if err != nil {
			return err
		}
		filter := appliance.CallFilter{Since: from, Limit: limit}
		if blocked {
			verdict := appliance.Block
			filter.Verdict = &verdict
		}
		answer, err := a.client().Calls(ctx, filter)
		if err != nil {
			return err
		}
		return show(a, answer, a.printCalls)
	})
	cmd.Flags().BoolVar(&blocked, "blocked", false, "only calls that were blocked")
	cmd.Flags().StringVar(&since, "since", "", "only calls since a `time`: 24h, 7d, 2026-07-01")
	cmd.Flags().IntVar(&limit, "limit", api.DefaultLimit, "at most so many")
	cmd.AddCommand(a.callsShow())
	return cmd
}

func (a *app) callsShow() *cobra.Command {
	return command("show ID", "one call, and why it was let through or not", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Call(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, a.printCall)
		})
}

func (a *app) printCalls(answer api.Calls) {
	if len(answer.Calls) == 0 {
		a.view.line(cell{"No calls.", plain})
		return
	}
	var rows [][]cell
	for _, c := range answer.Calls {
		rows = append(rows, []cell{
			{c.ID, dim}, {a.view.when(c.Start), plain}, verdictCell(c.Verdict), {orDash(c.From), plain},
			{orDash(either(c.Number, c.Dialled)), bold}, {orDash(c.Label), plain}, {talk(c), plain}, {because(c), plain},
		})
	}
	a.view.table([]string{"ID", "TIME", "VERDICT", "FROM", "NUMBER", "WHERE", "TALK", "WHY"}, rows)
}

// talk is how long the two spoke.
func talk(c appliance.Call) string {
	switch {
	case c.Answer.IsZero() && c.End.IsZero():
		return "rings"
	case c.Answer.IsZero():
		return "-"
	case c.End.IsZero():
		return "talks"
	default:
		return length(c.End.Sub(c.Answer))
	}
}

// because is the reason and, where one decided, the rule.
func because(c appliance.Call) string {
	text := c.Reason.Sentence()
	if c.Rule != "" {
		text += fmt.Sprintf(" (%s in %s)", c.Rule, c.List)
	}
	return text
}

func either(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

func (a *app) printCall(c appliance.Call) {
	v := a.view
	verdict := verdictCell(c.Verdict)
	v.line(cell{verdict.text, verdict.style}, cell{"  " + either(c.Number, c.Dialled), bold}, cell{"  " + c.Label, plain})
	v.line(cell{"  " + c.Reason.Sentence(), plain})
	v.line()
	rows := [][2]string{
		{"dialled", c.Dialled}, {"by", fmt.Sprintf("%s at %s", orDash(c.From), c.Source)},
		{"as", fmt.Sprintf("%s %s", c.Direction, c.Use)}, {"trunk", c.Trunk},
		{"rule", c.Rule}, {"in list", c.List}, {"because", c.Why},
		{"started", v.moment(c.Start)}, {"answered", v.moment(c.Answer)}, {"ended", v.moment(c.End)}, {"talk", talk(c)},
		{"sip", fmt.Sprintf("%d", c.Status)}, {"call-id", c.CallID}, {"id", c.ID},
	}
	for _, row := range rows {
		if row[1] != "" {
			v.line(cell{pad("  "+row[0], 12), dim}, cell{row[1], plain})
		}
	}
	if c.Verdict == appliance.Block && c.Rule != "" && c.Number != "" {
		v.line()
		v.line(cell{fmt.Sprintf("To let it pass for two hours: ringfence allow add %s --for 2h --reason '...'", c.Number), dim})
	}
}

// moment is a time to the second with its day, empty where there is none.
func (v *view) moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.In(v.zone).Format("2006-01-02 15:04:05 MST")
}
