package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) drops() *cobra.Command {
	var follow bool
	var limit int
	cmd := command("drops", "what was dropped at the gate and refused by the inspector", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Drops(ctx, 0, limit)
			if err != nil {
				return err
			}
			if follow {
				return (&follower{app: a}).run(ctx, answer)
			}
			return show(a, answer, a.printDrops)
		})
	cmd.Long = cmd.Short + `.

The counts by reason are exact. Of the packets only some are shown, each with how
many it stands for.`
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with packets as they are dropped; with --json, one object a line")
	cmd.Flags().IntVar(&limit, "limit", 20, "at most so many packets")
	return cmd
}

func (a *app) printDrops(answer api.Drops) {
	v := a.view
	a.printTallies(answer.Tallies, answer.Refusals)
	v.line()
	if len(answer.Samples) == 0 {
		v.line(cell{"No packet was shown since the daemon started.", dim})
		return
	}
	v.line(cell{"The latest packets, of which only some are shown:", dim})
	v.table(sampleHeading(), a.sampleRows(answer.Samples))
}

func sampleHeading() []string {
	return []string{"TIME", "ON", "SOURCE", "DESTINATION", "PROTOCOL", "FOR", "REASON"}
}

func (a *app) printTallies(tallies appliance.Tallies, refusals map[appliance.Reason]uint64) {
	rows := tallyRows(tallies, refusals)
	if len(rows) == 0 {
		a.view.line(cell{"Nothing was dropped at the gate, and no SIP request refused.", plain})
		return
	}
	a.view.table([]string{"REASON", "PACKETS", "BYTES", "WHAT"}, rows)
}

// tallyRows lists what blocked, most first: packets at the gate, then SIP
// requests at the inspector.
func tallyRows(tallies appliance.Tallies, refusals map[appliance.Reason]uint64) [][]cell {
	var rows [][]cell
	for _, reason := range byCount(tallies, func(t appliance.Tally) uint64 { return t.Packets }) {
		t := tallies[reason]
		rows = append(rows, []cell{{reason.String(), plain}, {fmt.Sprint(t.Packets), bold}, {size(t.Bytes), plain}, {reason.Sentence(), plain}})
	}
	for _, reason := range byCount(refusals, func(n uint64) uint64 { return n }) {
		rows = append(rows, []cell{{reason.String(), plain}, {fmt.Sprint(refusals[reason]), bold}, {"-", plain}, {"SIP: " + reason.Sentence(), plain}})
	}
	return rows
}

// byCount sorts the reasons that block and occurred, most first.
func byCount[V any](counts map[appliance.Reason]V, count func(V) uint64) []appliance.Reason {
	reasons := slices.Sorted(maps.Keys(counts))
	reasons = slices.DeleteFunc(reasons, func(r appliance.Reason) bool { return r.Verdict() == appliance.Allow || count(counts[r]) == 0 })
	slices.SortStableFunc(reasons, func(x, y appliance.Reason) int { return cmp.Compare(count(counts[y]), count(counts[x])) })
	return reasons
}

func (a *app) sampleRows(samples []api.Sample) [][]cell {
	var rows [][]cell
	for _, one := range samples {
		on := one.Interface
		if one.VLAN != 0 {
			on += fmt.Sprintf(".%d", one.VLAN)
		}
		rows = append(rows, []cell{
			{a.view.when(one.Time), plain}, {on, plain}, {endpoint(one.Source.IsValid(), one.Source), bold},
			{endpoint(one.Destination.IsValid(), one.Destination), plain}, {orDash(one.Protocol), plain}, {fmt.Sprint(max(one.Weight, 1)), plain}, {one.Reason.Sentence(), plain},
		})
	}
	return rows
}

func endpoint(valid bool, addr fmt.Stringer) string {
	if !valid {
		return "-"
	}
	return addr.String()
}

// size writes bytes in binary multiples.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
