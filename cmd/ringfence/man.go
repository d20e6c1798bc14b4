package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// man prints the manual page. It is made from the commands themselves, like
// their help and their completion.
func man(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "man", Short: "print the manual page: ringfence man | man -l -", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			writeManual(cmd.OutOrStdout(), root)
			return nil
		}}
}

// writeManual writes the page in the macros of man(7).
func writeManual(out io.Writer, root *cobra.Command) {
	fmt.Fprintf(out, ".TH RINGFENCE 1 \"\" \"ringfence\" \"Ringfence manual\"\n.SH NAME\nringfence \\- %s\n", roff(root.Short))
	fmt.Fprintf(out, ".SH SYNOPSIS\n.B ringfence\n[\\-\\-json] [\\-\\-socket SOCKET] COMMAND [ARGUMENT...]\n.SH DESCRIPTION\n%s\n", roff(root.Long))
	fmt.Fprint(out, ".SH COMMANDS\n")
	writeCommands(out, root)
	fmt.Fprint(out, ".SH OPTIONS\nThese go with every command.\n")
	writeFlags(out, root.PersistentFlags())
	fmt.Fprint(out, ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nWhere it is set, nothing is printed in colour.\n"+
		".TP\n.B COLUMNS\nThe width that lines are cut to.\n"+
		".SH FILES\n.TP\n.I /run/ringfence/control.sock\nThe daemon's control socket.\n"+
		".TP\n.I /var/lib/ringfence\nThe documents, the content of feeds, the bans, the accounts, and the records of calls and events.\n")
}

func writeCommands(out io.Writer, parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		if !cmd.IsAvailableCommand() || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		fmt.Fprintf(out, ".SS %s\n%s\n", roff(strings.TrimPrefix(cmd.UseLine(), "ringfence ")), roff(either(cmd.Long, cmd.Short)))
		writeFlags(out, cmd.LocalNonPersistentFlags())
		if cmd.Example != "" {
			fmt.Fprintf(out, ".PP\n.nf\n%s\n.fi\n", roff(cmd.Example))
		}
		writeCommands(out, cmd)
	}
}

func writeFlags(out io.Writer, flags *pflag.FlagSet) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		value, text := pflag.UnquoteUsage(flag)
		name := strings.TrimSpace("--" + flag.Name + " " + strings.ToUpper(value))
		fmt.Fprintf(out, ".TP\n.B %s\n%s\n", roff(name), roff(text))
	})
}

// roff keeps text from being read as commands of roff.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
		if line == "" {
			lines[i] = ".PP" // an empty line is a fault in man(7)
		}
	}
	return strings.Join(lines, "\n")
}
