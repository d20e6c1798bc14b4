package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) events() *cobra.Command {
	var since, kind string
	var limit int
	var table bool
	cmd := command("events", "the journal: changes, refusals and the daemon's own life, newest first", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			from, err := a.moments("--since", since)
			if err != nil {
				return err
			}
			filter := appliance.EventFilter{Since: from, Kind: appliance.EventKind(kind), Limit: limit}
			each := func(do func(appliance.Entry) error) error { return a.client().EachEvent(ctx, filter, do) }
			switch {
			case table:
				return writeCSV(a.env.stdout, eventHeading, eventRow, each)
			case a.json:
				return writeList(a.env.stdout, "events", each, nil)
			}
			if filter.Limit == 0 {
				filter.Limit = api.DefaultLimit
			}
			answer, err := a.client().Events(ctx, filter)
			if err != nil {
				return err
			}
			return show(a, answer, a.printEvents)
		})
	cmd.Flags().StringVar(&since, "since", "", "only events since a `time`: 24h, 7d, 2026-07-01")
	cmd.Flags().StringVar(&kind, "kind", "", "only events of a `kind`: refusal, change, gate, registration, guard, cut, trunk, fraud or daemon")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 50 in a table where none is given")
	cmd.Flags().BoolVar(&table, "csv", false, "write CSV")
	cmd.Long = cmd.Short + ".\n\nWith --csv or --json all events are written, unless --limit says how many.\n" + aboutCSV
	return cmd
}

func (a *app) printEvents(answer api.Events) {
	if len(answer.Events) == 0 {
		a.view.line(cell{"No events.", plain})
		return
	}
	var rows [][]cell
	for _, one := range answer.Events {
		about := one.Subject
		if one.Source.IsValid() {
			about = either(about, one.Source.String())
		}
		rows = append(rows, []cell{{a.view.when(one.Time), plain}, {string(one.Kind), plain}, {orDash(about), bold}, {one.Message, plain}})
	}
	a.view.table([]string{"TIME", "KIND", "ABOUT", "WHAT"}, rows)
}
