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
	cmd := command("events", "the journal: changes, refusals and the daemon's own life, newest first", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			from, err := parseSince(since, a.env.now(), a.env.zone)
			if err != nil {
				return err
			}
			answer, err := a.client().Events(ctx, appliance.EventFilter{Since: from, Kind: appliance.EventKind(kind), Limit: limit})
			if err != nil {
				return err
			}
			return show(a, answer, a.printEvents)
		})
	cmd.Flags().StringVar(&since, "since", "", "only events since a `time`: 24h, 7d, 2026-07-01")
	cmd.Flags().StringVar(&kind, "kind", "", "only events of a `kind`: refusal, change, gate, registration or daemon")
	cmd.Flags().IntVar(&limit, "limit", api.DefaultLimit, "at most so many")
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
