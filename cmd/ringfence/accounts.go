package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) accounts() *cobra.Command {
	var limit int
	var census bool
	cmd := command("accounts", "who uses the box, and who may register from where", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if census {
				answer, err := a.client().Census(ctx, limit)
				if err != nil {
					return err
				}
				return show(a, answer, a.printCensus)
			}
			answer, err := a.client().Accounts(ctx, limit)
			if err != nil {
				return err
			}
			return show(a, answer, a.printAccounts)
		})
	cmd.Long = cmd.Short + `.

An account is learned when a provider or the PBX accepts it. One that no document
names may register from the LAN; 'accounts' in the settings gives others their
sources, and a label.

The census counts extensions, also those that the PBX alone knows and names in its
calls: which are new, which wake after 30 silent days, which are dormant, which have
placed no call for 30 days though they could, and which have names that scanners try
first. Each oddity is told in the journal once (ringfence events --kind fraud).`
	cmd.Flags().BoolVar(&census, "census", false, "count the extensions, those first that somebody should look at")
	cmd.Flags().IntVar(&limit, "limit", api.DefaultLimit, "at most so many")
	cmd.AddCommand(a.accountsShow())
	return cmd
}

func (a *app) accountsShow() *cobra.Command {
	return command("show NAME", "one account: from where, with what, since when", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Account(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, a.printAccount)
		})
}

func (a *app) printAccounts(answer api.Accounts) {
	v := a.view
	if answer.Total == 0 {
		v.line(cell{"No accounts yet.", plain})
		return
	}
	var rows [][]cell
	for _, one := range answer.Accounts {
		from, agent := "-", "-"
		if len(one.Sources) > 0 {
			from, agent = one.Sources[0].Address.Addr().String(), orDash(one.Sources[0].Agent)
		}
		rows = append(rows, []cell{
			{one.Name, bold}, {orDash(one.Label), plain}, {string(one.Kind), plain}, {v.when(one.Last), plain},
			registeredCell(one, v.now), {from, plain}, {failuresOf(one), failuresStyle(one)}, {agent, plain},
		})
	}
	v.table([]string{"ACCOUNT", "LABEL", "KIND", "SEEN", "REGISTERED", "FROM", "FAILURES", "AGENT"}, rows)
	if rest := answer.Total - len(answer.Accounts); rest > 0 {
		v.line(cell{fmt.Sprintf("%d more: --limit shows them.", rest), dim})
	}
}

func (a *app) printCensus(answer api.Census) {
	v := a.view
	v.line(cell{fmt.Sprintf("%d extensions, %d to look at.", answer.Total, answer.Odd), bold})
	if len(answer.Extensions) == 0 {
		return
	}
	var rows [][]cell
	for _, one := range answer.Extensions {
		registered, odd := "no", []string{}
		if one.Registered {
			registered = "yes"
		}
		for _, o := range one.Oddities {
			odd = append(odd, o.Kind+": "+o.Why)
		}
		rows = append(rows, []cell{{one.Name, bold}, {orDash(one.Label), plain}, {v.when(one.First), plain}, {v.when(one.Last), plain}, {v.when(one.Called), plain},
			{registered, plain}, {orDash(strings.Join(odd, "; ")), yellow}})
	}
	v.table([]string{"EXTENSION", "LABEL", "FIRST", "LAST", "CALLED", "REGISTERED", "LOOK AT"}, rows)
	if rest := answer.Total - len(answer.Extensions); rest > 0 {
		v.line(cell{fmt.Sprintf("%d more: --limit shows them.", rest), dim})
	}
}

func registeredCell(one appliance.Account, now time.Time) cell {
	if len(one.Registrations) == 0 {
		return cell{"no", plain}
	}
	return cell{"for " + length(one.Registrations[0].Until.Sub(now)), green}
}

func failuresOf(one appliance.Account) string {
	if one.Failures == 0 {
		return "-"
	}
	return fmt.Sprint(one.Failures)
}

func failuresStyle(one appliance.Account) style {
	if one.Failures == 0 {
		return plain
	}
	return yellow
}

func (a *app) printAccount(one appliance.Account) {
	v := a.view
	v.line(cell{one.Name, bold}, cell{"  " + one.Label, plain})
	v.line()
	allowed := strings.Join(one.Allowed, ", ")
	rows := [][2]string{
		{"kind", string(one.Kind)}, {"registrar", one.Registrar}, {"username", one.Username}, {"realm", one.Realm},
		{"may from", either(allowed, "lan")}, {"first seen", v.moment(one.First)}, {"last seen", v.moment(one.Last)}, {"proven", v.moment(one.Proven)},
	}
	if one.Failures > 0 {
		rows = append(rows, [2]string{"failures", fmt.Sprintf("%d, last %s", one.Failures, v.moment(one.Failed))})
	}
	for _, row := range rows {
		if row[1] != "" {
			v.line(cell{pad("  "+row[0], 14), dim}, cell{row[1], plain})
		}
	}
	for _, it := range one.Registrations {
		v.line(cell{pad("  registered", 14), dim}, cell{fmt.Sprintf("%s from %s until %s", it.Contact, it.Source, v.moment(it.Until)), plain})
	}
	for _, it := range one.Sources {
		v.line(cell{pad("  used from", 14), dim}, cell{fmt.Sprintf("%s with %s, %s to %s", it.Address, either(it.Agent, "no User-Agent"), v.moment(it.First), v.moment(it.Last)), plain})
	}
}

func (a *app) guard() *cobra.Command {
	var limit int
	cmd := command("guard", "who guesses and scans, and how near each is to a ban", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Guard(ctx, limit)
			if err != nil {
				return err
			}
			return show(a, answer, a.printGuard)
		})
	cmd.Long = cmd.Short + `.

A source is counted by the accounts that fail there, and by the passwords tried for
one of them. Beyond the limits it is banned, where it proved that it hears what is
sent to it; ignored, where its address may be forged; narrowed, where it is on the
LAN or an account was proven there within a day: only unknown names are slowed down.
'ringfence unban' lifts a ban, 'ringfence guard forget' the rest.`
	cmd.Flags().IntVar(&limit, "limit", api.DefaultLimit, "at most so many")
	cmd.AddCommand(command("forget ADDRESS", "forget what is held against a source that is not banned", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Pardon(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Pardoned) {
				a.view.line(cell{"Forgotten", green}, cell{fmt.Sprintf(": what was held against %s.", source(answer.Source)), plain})
			})
		}))
	return cmd
}

func (a *app) printGuard(answer api.Guard) {
	v := a.view
	if answer.Total == 0 {
		v.line(cell{"Nothing is held against anybody.", plain})
		return
	}
	var rows [][]cell
	for _, one := range answer.Suspects {
		rows = append(rows, []cell{
			{source(one.Source), bold}, stateCell(one), {v.when(one.Until), plain},
			{fmt.Sprintf("%d/%d", one.Accounts, one.MaxAccounts), plain}, {fmt.Sprintf("%d/%d", one.Guesses, one.MaxGuesses), plain},
			{fmt.Sprint(one.Bans), plain}, {either(one.Why, slowedWords(one.Slowed)), plain},
		})
	}
	v.table([]string{"SOURCE", "STATE", "UNTIL", "ACCOUNTS", "GUESSES", "BANS", "WHY"}, rows)
	if rest := answer.Total - len(answer.Suspects); rest > 0 {
		v.line(cell{fmt.Sprintf("%d more: --limit shows them.", rest), dim})
	}
}

func stateCell(one appliance.Suspect) cell {
	switch one.State {
	case "banned", "ignored":
		return cell{one.State, red}
	case "narrowed":
		return cell{one.State, yellow}
	}
	return cell{one.State, plain}
}

func slowedWords(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "slowed down: " + strings.Join(names, ", ")
}
