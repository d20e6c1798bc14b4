package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) try() *cobra.Command {
	var question api.Try
	cmd := command("try NUMBER", "what would happen if somebody dialled this; nothing is dialled", cobra.MinimumNArgs(1),
		func(ctx context.Context, args []string) error {
			question.Dialled = strings.Join(args, " ")
			answer, err := a.client().Try(ctx, question)
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Tried) { a.printTried(question.Dialled, answer) })
		})
	cmd.Long = cmd.Short + `.

NUMBER is what a person would type on the phone, spaces and all, or a SIP or tel
URI. It may mean several numbers, depending on who reads it: each is judged, and
the worst counts.`
	cmd.Example = "  ringfence try 0011 252 61 555 0148\n  ringfence try '*67 011 252 61 555 0148' --from 101\n  ringfence try +61252615550"
	cmd.Flags().StringVar(&question.From, "from", "", "the caller's `extension`")
	cmd.Flags().StringVar(&question.Trunk, "trunk", "", "the `trunk` that would carry the call")
	return cmd
}

func (a *app) printTried(asked string, t api.Tried) {
	v := a.view
	word := cell{"ALLOWED", green}
	if t.Verdict == appliance.Block {
		word = cell{"BLOCKED", red}
	}
	where := ""
	if t.Label != "" {
		where = " (" + t.Label + ")"
	}
	v.line(word, cell{"  " + orDash(either(t.Number, t.Dialled)) + where, bold}, cell{": " + t.Reason.Sentence(), plain})
	if t.Rule != "" {
		v.line(cell{fmt.Sprintf("Rule %s of the list %s: %s.", t.Rule, t.List, orDash(t.Why)), plain})
	}
	if len(t.Candidates) > 0 {
		v.line()
		v.line(cell{fmt.Sprintf("What %s can mean:", asked), dim})
		v.table([]string{"NUMBER", "CLASS", "WHERE", "READ AS", "VERDICT", "WHY"}, candidateRows(t))
	}
	v.line()
	trunk := ""
	if t.Trunk != "" && t.Verdict == appliance.Allow {
		trunk = " It would leave by the trunk " + t.Trunk + "."
	}
	v.line(cell{"Nothing was dialled." + trunk, dim})
}

func candidateRows(t api.Tried) [][]cell {
	var rows [][]cell
	for _, one := range t.Candidates {
		rows = append(rows, candidateRow(appliance.Weighed(one), t.Number))
	}
	return rows
}

// candidateRow shows what a dialled string can mean, and stresses what decided.
func candidateRow(one appliance.Weighed, decided string) []cell {
	why := one.Reason.Sentence()
	if one.Rule != "" {
		why = fmt.Sprintf("%s (%s in %s)", why, one.Rule, one.List)
	}
	weight := plain
	if one.Number == decided {
		weight = bold
	}
	return []cell{
		{orDash(one.Number), weight}, {orDash(one.Class), plain}, {orDash(one.Label), plain},
		{either(strings.Join(one.Via, ", then "), "as dialled"), plain}, verdictCell(one.Verdict), {why, plain},
	}
}
