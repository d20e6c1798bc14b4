package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) trunks() *cobra.Command {
	return command("trunks", "the trunks, and whether the places where their requests go answer", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Trunks(ctx)
			if err != nil {
				return err
			}
			return show(a, answer, a.printTrunks)
		})
}

func (a *app) printTrunks(answer api.Trunks) {
	v := a.view
	if len(answer.Trunks) == 0 {
		v.line(cell{"No trunks: the settings name none.", plain})
		return
	}
	var rows [][]cell
	for _, trunk := range answer.Trunks {
		name := cell{trunk.Name, bold}
		if len(trunk.Targets) == 0 {
			rows = append(rows, []cell{name, {"-", plain}, trunkState(trunk.State), {"-", plain}, {"-", plain}, {"-", plain}, {trunk.Error, yellow}})
		}
		for _, one := range trunk.Targets {
			rows = append(rows, []cell{
				name, {one.String(), plain}, trunkState(one.State), {v.when(one.Since), plain},
				{latency(one), plain}, {v.when(one.Heard), plain}, {trunkNote(v, one), yellow},
			})
			name = cell{"", plain}
		}
	}
	v.table([]string{"TRUNK", "TARGET", "STATE", "SINCE", "LATENCY", "HEARD", "LAST TROUBLE"}, rows)
}

func trunkState(state appliance.TrunkState) cell {
	switch state {
	case appliance.TrunkUp:
		return cell{string(state), green}
	case appliance.TrunkDown:
		return cell{string(state), red}
	}
	return cell{string(state), yellow}
}

func latency(one appliance.TargetState) string {
	if one.Heard.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", one.Latency)
}

func trunkNote(v *view, one appliance.TargetState) string {
	if one.RetryAfter.IsZero() {
		return one.Error
	}
	return one.Error + "; to be left alone until " + v.when(one.RetryAfter)
}

func (a *app) certificates() *cobra.Command {
	cmd := command("certificates", "the certificates that TLS is spoken with", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Certificates(ctx)
			if err != nil {
				return err
			}
			return show(a, answer, a.printCertificates)
		})
	cmd.Long = cmd.Short + `.

Where the settings name no certificate for the listeners, the box shows one that
it signed itself; --json prints it, for phones that want to know it.`
	return cmd
}

func (a *app) reload() *cobra.Command {
	cmd := command("reload", "read the files of every certificate again now", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Reload(ctx)
			if err != nil {
				return err
			}
			return show(a, answer, a.printCertificates)
		})
	cmd.Long = cmd.Short + `.

Files that change are read again within seconds without being told to. No
connection is dropped: those that are open stay, and new ones get the new
certificate. Where files can't be used, what was read before stays in use.`
	return cmd
}

func (a *app) printCertificates(answer api.Certificates) {
	v := a.view
	if len(answer.Certificates) == 0 {
		v.line(cell{"No certificates: TLS is spoken with nobody, or with what the system believes.", plain})
		return
	}
	var rows [][]cell
	for _, one := range answer.Certificates {
		note := cell{one.Error, red}
		if one.Own && one.Error == "" {
			note = cell{"signed by the box itself", dim}
		}
		rows = append(rows, []cell{
			{one.For, bold}, {orDash(strings.Join(one.Names, ", ")), plain}, {v.when(one.Until), plain},
			{orDash(one.Fingerprint[:min(16, len(one.Fingerprint))]), dim}, note,
		})
	}
	v.table([]string{"FOR", "NAMES", "UNTIL", "SHA-256", "NOTE"}, rows)
}
