package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) status() *cobra.Command {
	return command("status", "how well the box works, read back from what really runs", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Status(ctx)
			if err != nil {
				return err
			}
			return show(a, answer, a.printStatus)
		})
}

func (a *app) printStatus(s api.Status) {
	v := a.view
	v.line(cell{s.Level.String(), levelStyle(s.Level)}, cell{"  " + s.Site, bold},
		cell{fmt.Sprintf("  ringfenced %s, up %s", s.Version, length(s.Time.Sub(s.Started))), dim})
	v.line()
	var rows [][]cell
	for _, one := range s.Checks {
		rows = append(rows, []cell{{one.Name, plain}, {one.Level.String(), levelStyle(one.Level)}, {one.Message, plain}})
	}
	v.table([]string{"CHECK", "LEVEL", "FINDING"}, rows)
	v.line()
	if e := s.Export; e.Address != "" {
		line := fmt.Sprintf("%d copies of messages to %s, %d dropped", e.Sent, e.Address, e.Dropped)
		if e.Trouble != "" {
			line += ": " + e.Trouble
		}
		v.line(cell{line, dim})
	}
	v.line(cell{fmt.Sprintf("policy %d (%s), settings %s, rules %s", s.Policy.Serial, orDash(s.Policy.Issuer), s.Settings.Revision, s.Generation), dim})
}
