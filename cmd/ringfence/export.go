package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/trace"
)

func (a *app) callsExport() *cobra.Command {
	var pcap, text string
	cmd := command("export ID", "write one call's messages to a file", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if pcap == "" && text == "" {
				return errors.New("nothing to write: give --pcap FILE or --text FILE")
			}
			answer, err := a.client().Messages(ctx, args[0])
			if err != nil {
				return err
			}
			return a.export(answer, pcap, text)
		})
	cmd.Long = cmd.Short + `.

A capture opens in Wireshark and sngrep: the packets are made up around the kept
messages, with their real addresses, ports and times. A text holds the record, the
trail of its decision, the ladder and the messages. Neither holds credentials. A
file that exists is left alone; - is the standard output.`
	cmd.Example = "  ringfence calls export abcd2345 --pcap call.pcapng\n  ringfence calls export abcd --text -"
	cmd.Flags().StringVar(&pcap, "pcap", "", "write a capture to this `file` (pcapng)")
	cmd.Flags().StringVar(&text, "text", "", "write a text to this `file`")
	return cmd
}

func (a *app) export(answer api.Messages, pcap, text string) error {
	if pcap != "" {
		if len(answer.Messages) == 0 {
			return fmt.Errorf("call %s: %s", answer.Call.ID, answer.Note)
		}
		if err := a.writeTo(pcap, func(w io.Writer) error { return trace.Capture(w, answer.Messages) }); err != nil {
			return err
		}
	}
	if text == "" {
		return nil
	}
	return a.writeTo(text, func(w io.Writer) error {
		_, err := io.WriteString(w, trace.Text(answer.Call, answer.Trace, trace.Style{ASCII: !a.unicode()}))
		return err
	})
}

// writeTo writes a new file that only its owner may read, or none.
func (a *app) writeTo(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(a.env.stdout)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}
