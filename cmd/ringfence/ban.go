package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) ban() *cobra.Command {
	var item api.NewBan
	var span string
	cmd := command("ban ADDRESS", "shut a source out of everything guarded, and of every new connection", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			item.Source = args[0]
			if span != "" {
				d, err := parseLength(span)
				if err != nil {
					return fmt.Errorf("--for %w", err)
				}
				item.Until = a.env.now().Add(d).UTC()
			}
			answer, err := a.client().Ban(ctx, item)
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Banned) {
				a.view.line(cell{"Banned", red}, cell{fmt.Sprintf(": %s until %s.", source(answer.Ban.Source), a.view.when(answer.Ban.Until)), plain})
				a.printNotes(answer.Notes)
			})
		})
	cmd.Long = cmd.Short + `.

ADDRESS is an IPv4 address, or an IPv6 address, of which the whole /64 is banned.
Addresses of a provider, of the LAN and of the box itself can't be banned. A ban
survives a restart of the box. What shall stay out for good, or is wider than one
address, belongs into a feed.`
	cmd.Example = "  ringfence ban 203.0.113.66 --for 7d --reason 'scans at night'\n  ringfence ban 2001:db8:66::1"
	cmd.Flags().StringVar(&span, "for", "", "for how `long`: 90m, 24h, 7d; without it, 24 hours")
	cmd.Flags().StringVar(&item.Reason, "reason", "", "why, for whoever reads the list next")
	return cmd
}

func (a *app) unban() *cobra.Command {
	return command("unban ADDRESS", "lift a ban", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Unban(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Banned) {
				a.view.line(cell{"Lifted", green}, cell{fmt.Sprintf(": the ban of %s.", source(answer.Ban.Source)), plain})
				a.printNotes(answer.Notes)
			})
		})
}

func (a *app) bans() *cobra.Command {
	var limit int
	cmd := command("bans", "the sources that are banned, the newest ban first", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Bans(ctx, limit)
			if err != nil {
				return err
			}
			return show(a, answer, a.printBans)
		})
	cmd.Flags().IntVar(&limit, "limit", api.DefaultLimit, "at most so many")
	return cmd
}

func (a *app) printBans(answer api.Bans) {
	v := a.view
	if answer.Total == 0 {
		v.line(cell{"No bans.", plain})
		return
	}
	var rows [][]cell
	for _, one := range answer.Bans {
		rows = append(rows, []cell{
			{source(one.Source), bold}, {v.when(one.Since), plain},
			{fmt.Sprintf("%s, %s left", v.when(one.Until), length(one.Until.Sub(v.now))), plain}, {orDash(one.Reason), plain},
		})
	}
	v.table([]string{"SOURCE", "SINCE", "UNTIL", "REASON"}, rows)
	if rest := answer.Total - len(answer.Bans); rest > 0 {
		v.line(cell{fmt.Sprintf("%d more: --limit shows them.", rest), dim})
	}
}

// source writes an IPv4 source as a person knows it.
func source(prefix netip.Prefix) string {
	if prefix.IsSingleIP() {
		return prefix.Addr().String()
	}
	return prefix.String()
}

func (a *app) printNotes(notes []string) {
	for _, note := range notes {
		a.view.line(cell{"Note: " + note + ".", yellow})
	}
}
