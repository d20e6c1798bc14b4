package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// Exit status.
const (
	exitDone   = 0 // it was done; a call that would be blocked is an answer too
	exitFailed = 1 // the box refused, or does not answer
	exitUsage  = 2 // the command line is wrong
)

const about = `ringfence shows and sets what this box lets through: calls by number, packets by
source. Nouns read, verbs change. Everything goes through the daemon's control
socket, which only root may open.

Exit status: 0 done, 1 the box refused or does not answer, 2 wrong command line.`

// app is one run of the command.
type app struct {
	env    env
	socket string
	json   bool
	view   *view
}

// failed marks errors of commands that were understood.
type failed struct{ err error }

func (f failed) Error() string { return f.err.Error() }
func (f failed) Unwrap() error { return f.err }

// run is the whole command; its result is the exit status.
func run(ctx context.Context, e env) int {
	a := &app{env: e, view: newView(e)}
	root := a.root()
	root.SetArgs(e.args)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, context.Canceled) {
		return exitDone
	}
	a.complain(err)
	if _, understood := errors.AsType[failed](err); understood {
		return exitFailed
	}
	fmt.Fprintln(e.stderr, "Try 'ringfence help'.")
	return exitUsage
}

// complain writes one sentence for each mistake.
func (a *app) complain(err error) {
	list, ok := errors.AsType[appliance.Errors](err)
	if !ok {
		fmt.Fprintf(a.env.stderr, "ringfence: %s\n", printable(err.Error()))
		return
	}
	for _, one := range list {
		fmt.Fprintf(a.env.stderr, "ringfence: %s\n", printable(one.Error()))
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "ringfence", Short: "show and set what this box lets through", Long: about,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.PersistentFlags().StringVar(&a.socket, "socket", "/run/ringfence/control.sock", "the daemon's control `socket`")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the daemon's answer as JSON")
	root.AddCommand(a.status(), a.calls(), a.drops(), a.events(), a.try(), a.allow(), a.top(),
		a.ban(), a.unban(), a.bans(), a.accounts(), a.guard(), a.fraud(), a.rates(), a.countries(), a.notices(), a.secret(), a.audit(), a.evidence(), a.feeds(), a.feed(), a.gate(), a.trunks(), a.certificates(), a.reload(), a.policy(), a.settings(), man(root))
	return root
}

// command makes a leaf. Its do runs with the arguments that args has taken.
func command(use, short string, args cobra.PositionalArgs, do func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		if err := do(cmd.Context(), args); err != nil {
			return failed{err}
		}
		return nil
	}}
}

// group makes a noun that has verbs. Without one, or with a wrong one, it says
// which there are.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(verbs...)
	cmd.RunE = func(_ *cobra.Command, args []string) error { return wantVerb(use, verbs, args) }
	return cmd
}

func wantVerb(use string, verbs []*cobra.Command, args []string) error {
	var names []string
	for _, verb := range verbs {
		names = append(names, verb.Name())
	}
	if len(args) > 0 {
		return fmt.Errorf("%s has no command %q: want %s", use, args[0], strings.Join(names, " or "))
	}
	return fmt.Errorf("%s needs a command: %s", use, strings.Join(names, " or "))
}

func (a *app) client() *api.Client { return api.NewClient(a.socket) }

// show prints an answer: as JSON where that was asked for, else by human.
func show[T any](a *app, answer T, human func(T)) error {
	if a.json {
		return a.view.printJSON(answer)
	}
	human(answer)
	return a.view.flush()
}

// readFile reads a file, or the standard input for "-".
func (a *app) readFile(path string) ([]byte, error) {
	if path == "-" {
		return readBounded(a.env.stdin, "the standard input")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file, path)
}
