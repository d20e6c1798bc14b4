package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) evidence() *cobra.Command {
	cmd := command("evidence CALL-ID|SUBJECT FILE.zip", "write everything that is known of one incident to a file", cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error {
			err := a.writeTo(args[1], func(to io.Writer) error { return a.client().Evidence(ctx, args[0], to) })
			if err != nil || args[1] == "-" {
				return err
			}
			return show(a, written{args[1]}, func(done written) {
				a.view.line(cell{"Written", green}, cell{": " + done.File + ".", plain})
			})
		})
	cmd.Long = cmd.Short + `.

An incident is one call, or a SUBJECT: site, extension:NAME or trunk:NAME, with a
toll-block or what was found about it. The zip has the records with the trail of each
decision, toll-blocks and findings, the journal and the audit log of the time, the SIP
messages as a ladder and as a capture for Wireshark, the editions in force, a README.txt
that says what each file is, and SHA256SUMS. It holds no credentials. The same content
makes the same bytes. A file that exists is left alone; - is the standard output.`
	cmd.Example = "  ringfence evidence abcd2345 call.zip\n  ringfence evidence extension:201 incident.zip && sha256sum incident.zip"
	return cmd
}

// written is the answer of a command that wrote a file.
type written struct {
	File string `json:"file"`
}
