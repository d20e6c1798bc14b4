package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) calls() *cobra.Command {
	var blocked, allowed, table bool
	var since, until string
	var filter appliance.CallFilter
	cmd := command("calls", "calls, newest first", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		var err error
		if filter.Since, err = a.moments("--since", since); err != nil {
			return err
		}
		if filter.Before, err = a.moments("--until", until); err != nil {
			return err
		}
		if blocked || allowed {
			verdict := appliance.Block
			if allowed {
				verdict = appliance.Allow
			}
			filter.Verdict = &verdict
		}
		each := func(do func(appliance.Call) error) error { return a.client().EachCall(ctx, filter, do) }
		switch {
		case table:
			return writeCSV(a.env.stdout, callHeading(), callRow, each)
		case a.json:
			return writeList(a.env.stdout, "calls", each, nil)
		}
		if filter.Limit == 0 {
			filter.Limit = api.DefaultLimit
		}
		answer, err := a.client().Calls(ctx, filter)
		if err != nil {
			return err
		}
		return show(a, answer, a.printCalls)
	})
	cmd.Long = cmd.Short + ".\n\nWith --csv or --json all calls of the period are written, unless --limit says how many.\n" + aboutCSV
	cmd.Example = "  ringfence calls --csv --since 7d > calls.csv && ringfence fraud replay calls.csv --report"
	cmd.Flags().BoolVar(&table, "csv", false, "write CSV")
	cmd.Flags().StringVar(&until, "until", "", "only calls before a `time`")
	cmd.Flags().BoolVar(&blocked, "blocked", false, "only calls that were blocked")
	cmd.Flags().BoolVar(&allowed, "allowed", false, "only calls that were let through")
	cmd.MarkFlagsMutuallyExclusive("blocked", "allowed")
	cmd.Flags().StringVar(&since, "since", "", "only calls since a `time`: 24h, 7d, 2026-07-01")
	cmd.Flags().StringVar(&filter.Number, "number", "", "only calls to numbers that `start` so: +252, 000")
	cmd.Flags().StringVar(&filter.Account, "account", "", "only calls of an `account`; where none is known, of this From")
	cmd.Flags().IntVar(&filter.Limit, "limit", 0, "at most so many; 50 in a table where none is given")
	cmd.AddCommand(a.callsShow(), a.callsExport(), a.callsCut(), a.callsCuts(), a.release(), a.withdraw())
	return cmd
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

// accountOf is who called, and how that was found out. The address alone stands
// beside the label already.
func accountOf(c appliance.Call) string {
	if c.Account == "" || c.Attribution == appliance.AttributionSource {
		return ""
	}
	return fmt.Sprintf("%s (%s)", c.Account, c.Attribution)
}

func either(first, second string) string {
	if first != "" {
		return first
	}
	return second
}
