package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) callsCut() *cobra.Command {
	var item api.NewCut
	cmd := command("cut ID", "end a call in progress, or see how far that has come", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().Cut(ctx, args[0], item)
			if err != nil {
				return err
			}
			return show(a, answer, a.printCut)
		})
	cmd.Long = cmd.Short + `.

The media of the call stops at once, in both directions; whatever would refresh the
call is refused; and both sides are told to hang up, until they agree. A call that
still rings is refused to its caller and taken back from its callee.

The cut is incomplete until the provider has confirmed it: 'ringfence status' shows
it in red, and the box goes on to try. A provider that asks for a password can't be
told, because the box has none; the call ends there when its session timer, or the
silence, ends it. A call to an emergency number is never cut.`
	cmd.Example = "  ringfence calls cut abcd --reason 'not one of ours'"
	cmd.Flags().StringVar(&item.Reason, "reason", "", "why, for whoever reads the record; it never goes out")
	return cmd
}

func (a *app) callsCuts() *cobra.Command {
	return command("cuts", "calls that are being ended from here", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Cuts(ctx)
			if err != nil {
				return err
			}
			return show(a, answer, a.printCuts)
		})
}

func (a *app) printCut(c appliance.Cut) {
	v := a.view
	headline := cell{"Cut incomplete", red}
	if c.Complete {
		headline = cell{"Cut", green}
	}
	v.line(headline, cell{": " + c.ID + ".", plain})
	v.line(cell{pad("  media", 12), dim}, cell{c.Media, plain})
	challenged := false
	for _, side := range c.Sides {
		challenged = challenged || side.State == appliance.CutChallenged
		v.line(cell{pad("  "+side.Side, 12), dim}, cell{pad(side.Address, 22), plain}, cell{how(side), plain})
	}
	if challenged {
		v.line(cell{"A side asks for a password that this box has not: its media stays cut, and the call ends there with its session timer.", yellow})
	}
}

// how says how far one side is.
func how(side appliance.CutSide) string {
	text := string(side.State)
	if side.Status != 0 {
		text += fmt.Sprintf(" (%d)", side.Status)
	}
	if side.Tries == 1 {
		return text + ", 1 try"
	}
	return text + fmt.Sprintf(", %d tries", side.Tries)
}

func (a *app) printCuts(answer api.Cuts) {
	if len(answer.Cuts) == 0 {
		a.view.line(cell{"No calls are being cut.", plain})
		return
	}
	var rows [][]cell
	for _, c := range answer.Cuts {
		state := cell{"incomplete", red}
		if c.Complete {
			state = cell{"complete", green}
		}
		var open []string
		for _, side := range c.Sides {
			if side.State != appliance.CutConfirmed {
				open = append(open, side.Side+" "+string(side.State))
			}
		}
		rows = append(rows, []cell{{c.ID, dim}, {a.view.when(c.Start), plain}, state, {orDash(strings.Join(open, ", ")), plain}, {c.Reason, plain}})
	}
	a.view.table([]string{"ID", "TIME", "CUT", "OPEN", "WHY"}, rows)
}
