package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) fraud() *cobra.Command {
	var limit int
	show := command("status", "what is blocked and released, what was found, and what was spent", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Fraud(ctx, limit)
			if err != nil {
				return err
			}
			return show(a, answer, a.printFraud)
		})
	show.Flags().IntVar(&limit, "limit", 10, "at most so many findings")
	return group("fraud", "the behaviour engine", show, a.checks(), a.block(), a.reopen(), a.replay())
}

func (a *app) printFraud(answer api.Fraud) {
	v := a.view
	hours := cell{"open", green}
	if !answer.Open {
		hours = cell{"closed", yellow}
	}
	v.line(cell{"Hours: ", dim}, hours, cell{untilWhen(v, answer.Changes), plain})
	rates := fmt.Sprintf("%d prefixes, %s", answer.Rates, answer.Currency)
	if answer.Rates == 0 {
		rates = "none imported: worst-case rates, " + answer.Currency
	}
	v.line(cell{"Rates: ", dim}, cell{rates, plain})
	v.line(cell{"Countries: ", dim}, cell{registries(answer.Registries), plain})
	for channel, waiting := range answer.Waiting {
		v.line(cell{"Notices: ", dim}, cell{fmt.Sprintf("%d wait for %s", waiting, channel), yellow})
	}
	if answer.Trouble != "" {
		v.line(cell{"Trouble: " + answer.Trouble, red})
	}
	a.printBlocks(answer.Blocks)
	a.printReleases(answer.Releases)
	a.printWeak(answer.Credentials)
	a.printSpent(answer.Spent)
	a.printFindings("Findings, the newest first:", answer.Findings)
}

func registries(list []api.Registry) string {
	if len(list) == 0 {
		return "none imported: nobody is told of a registration from abroad"
	}
	var out []string
	for _, one := range list {
		out = append(out, fmt.Sprintf("%s %s", one.Registry, one.Serial))
	}
	return strings.Join(out, ", ")
}

func untilWhen(v *view, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " until " + v.when(at)
}

func (a *app) printBlocks(blocks []api.TollBlock) {
	v := a.view
	if len(blocks) == 0 {
		v.line(cell{"No toll-blocks.", green})
		return
	}
	for _, b := range blocks {
		v.line(cell{"Toll-block", red}, cell{" of " + b.Subject, bold}, cell{fmt.Sprintf(" since %s by %s (%s)", v.when(b.Since), b.Owner, b.Scope), plain})
		v.line(cell{"  " + b.Why, plain})
		v.line(cell{"  ringfence fraud checks " + b.Subject, dim})
	}
}

func (a *app) printReleases(releases []api.Release) {
	for _, one := range releases {
		a.view.line(cell{"Released: ", yellow}, cell{one.Number, bold}, cell{fmt.Sprintf(" until %s by %s", a.view.when(one.Until), one.By), plain})
	}
}

func (a *app) printWeak(list []api.Credential) {
	for _, one := range list {
		a.view.line(cell{"Weak password: ", red}, cell{one.Account, bold}, cell{fmt.Sprintf(" at %s: %s, seen %s", one.Realm, one.Why, a.view.when(one.Tested)), plain})
	}
}

func (a *app) printSpent(list []api.Spent) {
	if len(list) == 0 {
		return
	}
	var rows [][]cell
	for _, one := range list {
		rows = append(rows, []cell{{one.Subject, bold}, {one.Per, plain}, {one.Spent, plain}, {one.Limit, plain}})
	}
	a.view.table([]string{"SUBJECT", "PER", "SPENT", "LIMIT"}, rows)
}

func (a *app) printFindings(title string, findings []api.Finding) {
	if len(findings) == 0 {
		return
	}
	v := a.view
	v.line(cell{title, plain})
	var rows [][]cell
	for _, f := range findings {
		level := map[string]style{"critical": red, "warning": yellow}[f.Level]
		rule := f.Rule
		if f.Shadow {
			rule += " (on trial)"
		}
		rows = append(rows, []cell{{v.when(f.At), plain}, {f.Level, level}, {rule, plain}, {orDash(f.Number), bold}, {f.Why, plain}})
	}
	v.table([]string{"TIME", "LEVEL", "RULE", "NUMBER", "WHY"}, rows)
}

func (a *app) checks() *cobra.Command {
	cmd := command("checks SUBJECT", "what must be shown before a toll-block is left, and what the box sees of it", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Checklist(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, a.printChecklist)
		})
	cmd.Long = cmd.Short + ".\n\nSUBJECT is site, extension:NAME or trunk:NAME."
	return cmd
}

func (a *app) printChecklist(answer api.Checklist) {
	a.printBlocks([]api.TollBlock{answer.Block})
	for _, one := range answer.Checks {
		state := cell{"missing  ", yellow}
		switch {
		case one.Verified:
			state = cell{"verified ", green}
		case !one.Attestable:
			state = cell{"refused  ", red}
		}
		a.view.line(state, cell{fmt.Sprintf("%-20s ", one.Check), bold}, cell{one.Sentence + ": " + one.Why, plain})
	}
}

func (a *app) block() *cobra.Command {
	var item api.NewBlock
	cmd := command("block SUBJECT", "enter a toll-block by hand; calls that it covers are ended", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			item.Subject = args[0]
			answer, err := a.client().Block(ctx, item)
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.TollBlock) { a.printBlocks([]api.TollBlock{answer}) })
		})
	cmd.Flags().StringVar(&item.By, "by", "", "the `name` of whoever enters it")
	cmd.Flags().StringVar(&item.Why, "why", "", "the reason, for whoever reads it next")
	cmd.Flags().StringVar(&item.Scope, "scope", "", "international-and-premium (without it), international, or all-but-emergency-and-internal")
	return cmd
}

func (a *app) reopen() *cobra.Command {
	var item api.Reopen
	var words []string
	cmd := command("reopen SUBJECT", "leave a toll-block, for what the box verifies and a named person's word for the rest", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			for _, word := range words {
				check, why, ok := strings.Cut(word, "=")
				if !ok || why == "" {
					return fmt.Errorf("--attest %q: want CHECK=WHY, such as secret-changed='a new one, made by a machine'", word)
				}
				item.Words = append(item.Words, api.Word{Check: check, Why: why})
			}
			answer, err := a.client().Reopen(ctx, args[0], item)
			if err != nil {
				return err
			}
			return show(a, answer, a.printReopened)
		})
	cmd.Flags().StringVar(&item.By, "by", "", "the `name` of whoever leaves it")
	cmd.Flags().StringArrayVar(&words, "attest", nil, "`CHECK=WHY`: a word for a check that the box can't verify")
	cmd.Example = "  ringfence fraud reopen extension:201 --by Ann --attest secret-changed='a new one, made by a machine'"
	return cmd
}

func (a *app) printReopened(answer api.Reopened) {
	a.view.line(cell{"Reopened", green}, cell{": " + answer.Subject, plain})
	for _, one := range answer.Proofs {
		how := "attested by " + one.By
		if one.Verified {
			how = "verified by the box"
		}
		a.view.line(cell{fmt.Sprintf("  %-20s ", one.Check), bold}, cell{how + ": " + one.Why, plain})
	}
}

func (a *app) replay() *cobra.Command {
	var report bool
	cmd := command("replay FILE", "what the engine would have made of a history of calls; nothing is done", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			history, err := a.openFeed(args[0])
			if err != nil {
				return err
			}
			defer history.Close()
			answer, err := a.client().Replay(ctx, history)
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Report) { a.printReport(answer, report) })
		})
	cmd.Flags().BoolVar(&report, "report", false, "name every call that a rule would have stopped")
	cmd.Long = cmd.Short + `.

FILE is CSV with a line of column names, as ringfence calls --csv writes it: start,
end, direction and dialled at least. Each rule is tried by itself, on trial and in force
alike; then all of them together as they are.`
	return cmd
}

func (a *app) printReport(answer api.Report, whole bool) {
	v := a.view
	v.line(cell{fmt.Sprintf("%d outbound calls from %s until %s.", answer.Calls, v.when(answer.From), v.when(answer.Until)), plain})
	var rows [][]cell
	quiet := 0
	for _, one := range answer.Rules {
		if one.Warnings == 0 && len(one.Stopped) == 0 {
			quiet++
			continue
		}
		rows = append(rows, []cell{{one.Rule, bold}, {one.Mode, plain}, {fmt.Sprintf("%g", one.Warn), plain}, {fmt.Sprintf("%g", one.Critical), plain}, {one.Sentence, plain}})
	}
	v.table([]string{"RULE", "MODE", "WARN", "CRITICAL", "BY ITSELF IT"}, rows)
	v.line(cell{fmt.Sprintf("%d rules have nothing to say.", quiet), dim})
	v.line(cell{fmt.Sprintf("Together they would have entered %d toll-blocks and refused %d calls abroad and %d of the country; %s of %s %s would not have been spent.",
		len(answer.Blocks), answer.Refused, answer.National, answer.Kept, answer.Spent, answer.Currency), bold})
	for _, b := range answer.Blocks {
		v.line(cell{"  " + v.when(b.Since) + "  " + b.Why, plain})
	}
	if !whole {
		return
	}
	for _, one := range answer.Rules {
		if len(one.Stopped) > 0 {
			a.printFindings(one.Rule+" would have stopped these:", one.Stopped)
		}
	}
}

// release is a verb of calls: the ID of a refused call stands for its number.
func (a *app) release() *cobra.Command {
	var item api.NewRelease
	var span string
	cmd := command("release ID|NUMBER", "let exactly one refused number pass the lists for a while", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			item.Call = args[0]
			if strings.HasPrefix(args[0], "+") {
				item.Call, item.Number = "", args[0]
			}
			if span != "today" {
				d, err := parseLength(span)
				if err != nil {
					return fmt.Errorf("--for %w", err)
				}
				item.Seconds = int(d / time.Second)
			}
			answer, err := a.client().Release(ctx, item)
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Release) {
				a.view.line(cell{"Released", green}, cell{fmt.Sprintf(": %s until %s, and no longer than the power is on.", answer.Number, a.view.when(answer.Until)), plain})
			})
		})
	cmd.Flags().StringVar(&span, "for", "15m", "for how `long`: 15m, 1h, or today")
	cmd.Flags().StringVar(&item.By, "by", "root", "the `name` of whoever releases it")
	return cmd
}

func (a *app) withdraw() *cobra.Command {
	return command("withdraw NUMBER", "end a release before its time", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if err := a.client().Withdraw(ctx, args[0]); err != nil {
				return err
			}
			a.view.line(cell{"Withdrawn", yellow}, cell{": " + args[0] + " is judged by the lists again.", plain})
			return a.view.flush()
		})
}

func (a *app) rates() *cobra.Command {
	var currency string
	load := command("import FILE", "put a rate deck in force, whole or not at all; - reads the standard input", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			deck, err := a.openFeed(args[0])
			if err != nil {
				return err
			}
			defer deck.Close()
			answer, err := a.client().SetRates(ctx, deck, currency)
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Rates) {
				a.view.line(cell{"In force", green}, cell{fmt.Sprintf(": %d prefixes in %s.", answer.Prefixes, answer.Currency), plain})
			})
		})
	load.Long = load.Short + ".\n\nFILE is CSV: a first line prefix,per_minute[,connect,initial,following], then a prefix a line.\nPulses are seconds. What no prefix fits costs the worst rate there is."
	load.Flags().StringVar(&currency, "currency", "", "three letters, like AUD")
	return group("rates", "what calls cost", load)
}

func (a *app) countries() *cobra.Command {
	load := command("import FILE", "put the statistics of a registry in force, whole or not at all; - reads the standard input", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			statistics, err := a.openFeed(args[0])
			if err != nil {
				return err
			}
			defer statistics.Close()
			answer, err := a.client().SetCountries(ctx, statistics)
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Registry) {
				a.view.line(cell{"In force", green}, cell{fmt.Sprintf(": %s, serial %s: %d networks in %d countries.", answer.Registry, answer.Serial, answer.Networks, answer.Countries), plain})
			})
		})
	load.Long = load.Short + ".\n\nFILE is what a regional internet registry publishes, like https://ftp.apnic.net/stats/apnic/delegated-apnic-latest;\neach of the five has its own, and takes the place of the one before."
	remove := command("remove REGISTRY", "take the statistics of a registry out, like apnic", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if err := a.client().ForgetCountries(ctx, args[0]); err != nil {
				return err
			}
			a.view.line(cell{"Removed", yellow}, cell{": " + args[0] + " tells no countries any more.", plain})
			return a.view.flush()
		})
	return group("countries", "which country an address belongs to, for the registrations that come from outside", load, remove)
}

func (a *app) notices() *cobra.Command {
	var by string
	test := command("test", "send a notice by every channel, to see whether it arrives", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := a.client().TestNotice(ctx, by); err != nil {
				return err
			}
			a.view.line(cell{"Sent", green}, cell{": it is in the outbox.", plain})
			return a.view.flush()
		})
	test.Flags().StringVar(&by, "by", "", "your `name`, which the notice gives")
	return group("notices", "mail, webhook and syslog to the people who look after the site", test)
}

func (a *app) secret() *cobra.Command {
	set := command("set NAME", "keep a password or key that notices are sent with; it is read from the standard input and shown to nobody", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			value, err := readBounded(a.env.stdin, "the standard input")
			if err != nil {
				return err
			}
			if err := a.client().SetSecret(ctx, args[0], strings.TrimRight(string(value), "\r\n")); err != nil {
				return err
			}
			a.view.line(cell{"Kept", green}, cell{": " + args[0] + ".", plain})
			return a.view.flush()
		})
	set.Long = set.Short + ".\n\nNAME is mail (the password of the mail server) or webhook (the key that webhooks are signed with)."
	return group("secret", "what notices are sent with", set)
}
