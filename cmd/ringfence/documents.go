package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
)

func (a *app) policy() *cobra.Command {
	return group("policy", "the provider's document: what is guarded and where calls may not go",
		command("show", "print the policy in force", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			return a.printDocument(ctx, appliance.DocumentPolicy, "")
		}),
		command("set FILE", "put a policy in force; - reads the standard input", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			return a.putFile(ctx, appliance.DocumentPolicy, args[0])
		}))
}

func (a *app) settings() *cobra.Command {
	get := command("get [FIELD]", "print the settings in force, or one field such as trunks[0].address", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error {
			return a.printDocument(ctx, appliance.DocumentSettings, append(args, "")[0])
		})
	return group("settings", "the installer's document: where the box stands and what it is wired to", get, a.settingsSet())
}

func (a *app) settingsSet() *cobra.Command {
	var file string
	cmd := command("set [FIELD VALUE]", "change one field, or put a whole file in force", nil,
		func(ctx context.Context, args []string) error {
			if file != "" {
				return a.putFile(ctx, appliance.DocumentSettings, file)
			}
			return a.setField(ctx, args[0], args[1])
		})
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if want := map[bool]int{true: 0, false: 2}[file != ""]; len(args) != want {
			return errors.New("settings set wants FIELD and VALUE, or --file FILE alone")
		}
		return nil
	}
	cmd.Long = `change one field, or put a whole file in force.

VALUE is taken as what FIELD held before: text as it is, a list with commas
between its entries. Anything else is JSON, which a list takes too. One place
after the end of a list appends to it.`
	cmd.Example = "  ringfence settings set site.country NZ\n  ringfence settings set network.wan eth0,eth1\n" +
		"  ringfence settings set 'trunks[0].address' 198.51.100.10:5060\n  ringfence settings set --file site.json"
	cmd.Flags().StringVar(&file, "file", "", "a whole settings `document`; - reads the standard input")
	return cmd
}

// printDocument prints a document as it is, or the part at field. Documents are
// JSON already, so --json makes no difference.
func (a *app) printDocument(ctx context.Context, name appliance.Document, field string) error {
	data, _, err := a.client().Document(ctx, name)
	if err != nil {
		return err
	}
	value, err := decodeTree(data)
	if err != nil {
		return err
	}
	part, err := pick(value, field)
	if err != nil {
		return err
	}
	if text, ok := part.(string); ok && !a.json {
		a.view.line(cell{text, plain})
		return a.view.flush()
	}
	if field != "" {
		return a.view.printJSON(part)
	}
	var indented bytes.Buffer // the tree has lost the order of the fields
	if err := json.Indent(&indented, bytes.TrimSpace(data), "", "  "); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	indented.WriteByte('\n')
	_, err = a.env.stdout.Write(indented.Bytes())
	return err
}

func (a *app) putFile(ctx context.Context, name appliance.Document, path string) error {
	data, err := a.readFile(path)
	if err != nil {
		return err
	}
	answer, err := a.client().PutDocument(ctx, name, data, "")
	if err != nil {
		return err
	}
	return show(a, answer, a.printApplied)
}

// setField changes one field of the settings in force. The daemon turns it down
// where somebody else changed them meanwhile.
func (a *app) setField(ctx context.Context, field, value string) error {
	data, revision, err := a.client().Document(ctx, appliance.DocumentSettings)
	if err != nil {
		return err
	}
	tree, err := decodeTree(data)
	if err != nil {
		return err
	}
	if tree, err = put(tree, field, value); err != nil {
		return err
	}
	changed, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	answer, err := a.client().PutDocument(ctx, appliance.DocumentSettings, changed, revision)
	if err != nil {
		return err
	}
	return show(a, answer, a.printApplied)
}

func decodeTree(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return value, nil
}
