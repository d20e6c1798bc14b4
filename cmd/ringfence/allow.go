package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) allow() *cobra.Command {
	cmd := command("allow", "the destinations that are let through although a list blocks them", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Exceptions(ctx)
			if err != nil {
				return err
			}
			return show(a, answer, a.printExceptions)
		})
	cmd.AddCommand(a.allowAdd(), a.allowRemove())
	return cmd
}

func (a *app) allowAdd() *cobra.Command {
	var reason, span string
	cmd := command("add PREFIX", "let calls to a number or prefix through", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			item := api.NewException{Prefix: args[0], Reason: reason}
			if span != "" {
				d, err := parseLength(span)
				if err != nil {
					return fmt.Errorf("--for %w", err)
				}
				item.Until = a.env.now().Add(d).UTC()
			}
			answer, err := a.client().Allow(ctx, item)
			if err != nil {
				return err
			}
			return show(a, answer, a.printApplied)
		})
	cmd.Example = "  ringfence allow add +25261 --for 2h --reason 'customer in Mogadishu, asked by Ann'"
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever reads the list next")
	cmd.Flags().StringVar(&span, "for", "", "for how `long`: 90m, 2h, 7d; without it, for good")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if reason == "" {
			return errors.New("--reason is missing: say why, for whoever reads the list next")
		}
		return nil
	}
	return cmd
}

func (a *app) allowRemove() *cobra.Command {
	return command("rm PREFIX", "take such an exception back", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Disallow(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, a.printApplied)
		})
}

func (a *app) printExceptions(answer api.Exceptions) {
	v := a.view
	if len(answer.Exceptions) == 0 {
		v.line(cell{"No exceptions: the lists hold as they are.", plain})
		return
	}
	var rows [][]cell
	for _, one := range answer.Exceptions {
		until := cell{"for good", plain}
		if !one.Until.IsZero() {
			until = cell{fmt.Sprintf("%s, %s left", v.when(one.Until), length(one.Until.Sub(v.now))), plain}
		}
		if one.Expired {
			until = cell{"ended " + v.when(one.Until), dim}
		}
		rows = append(rows, []cell{{one.Prefix, bold}, until, {one.Reason, plain}})
	}
	v.table([]string{"PREFIX", "UNTIL", "REASON"}, rows)
}

// printApplied tells that a change is in force.
func (a *app) printApplied(answer api.Applied) {
	a.view.line(cell{"In force", green}, cell{fmt.Sprintf(": revision %s, rules %s.", answer.Revision, answer.Generation), plain})
	a.printNotes(answer.Notes)
}
