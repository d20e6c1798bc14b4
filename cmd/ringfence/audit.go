package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) audit() *cobra.Command {
	var after uint64
	var limit int
	var table bool
	cmd := command("audit", "who changed what, oldest first, and whether the log was tampered with", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if table || a.json {
				return a.exportAudit(ctx, after, limit, table)
			}
			if limit == 0 {
				limit = api.MaxLimit
			}
			answer, err := a.client().Audit(ctx, after, limit)
			if err != nil {
				return err
			}
			return show(a, answer, a.printAudit)
		})
	cmd.Flags().Uint64Var(&after, "after", 0, "only lines with a higher `number`")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 1000 in a table where none is given")
	cmd.Flags().BoolVar(&table, "csv", false, "write CSV")
	cmd.Long = cmd.Short + ".\n\nWith --csv or --json all lines are written, unless --limit says how many; JSON alone has\nthem as they were hashed.\n" + aboutCSV
	return cmd
}

// exportAudit writes every line. One that was tampered with is told of as an error,
// once all of them are written.
func (a *app) exportAudit(ctx context.Context, after uint64, limit int, table bool) error {
	broken := ""
	each := func(do func(appliance.Audit) error) (err error) {
		broken, err = a.client().EachAudit(ctx, after, limit, do)
		return err
	}
	if !table {
		return writeList(a.env.stdout, "lines", each, func() map[string]string {
			if broken == "" {
				return nil
			}
			return map[string]string{"broken": broken}
		})
	}
	if err := writeCSV(a.env.stdout, auditHeading, auditRow, each); err != nil {
		return err
	}
	if broken != "" {
		return errors.New("the chain does not hold: " + broken)
	}
	return nil
}

func (a *app) printAudit(answer api.Audits) {
	v := a.view
	var rows [][]cell
	for _, one := range answer.Lines {
		rows = append(rows, []cell{{fmt.Sprint(one.Seq), dim}, {v.when(one.Time), plain}, {one.Actor, bold}, {one.Action, plain}, {one.Subject, plain}, {one.Message, plain}})
	}
	v.table([]string{"SEQ", "TIME", "WHO", "DID", "TO", "MESSAGE"}, rows)
	if answer.Broken != "" {
		v.line(cell{"The chain does not hold: " + answer.Broken + ".", red})
		return
	}
	v.line(cell{"Every line follows from the one before it.", green})
}
