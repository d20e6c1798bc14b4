package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) gate() *cobra.Command {
	dump := command("dump", "print what the gate decides by, read back from the kernel and put into words", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if !a.json {
				return a.client().Dump(ctx, a.env.stdout) // may be millions of lines
			}
			var text strings.Builder
			if err := a.client().Dump(ctx, &text); err != nil {
				return err
			}
			return a.view.printJSON(struct {
				Text string `json:"text"`
			}{text.String()})
		})
	return group("gate", "the perimeter in the kernel", dump)
}
