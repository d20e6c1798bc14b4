// Command traffic shows what the fraud engine, with its defaults, makes of offices
// and of attacks on them: how soon each attack is found, what it got through before
// that, what a model of OpenSIPS' fraud_detection with the same thresholds makes of
// it, and how often honest people are disturbed. Everything is made from seeds:
//
//	go run ./scripts/traffic -seeds 10
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/scripts/traffic/office"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("traffic", flag.ContinueOnError)
	seeds := flags.Uint64("seeds", 10, "offices to try, with the seeds from 1 on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := attacks(out, *seeds); err != nil {
		return err
	}
	return honest(out, *seeds)
}

func attacks(out io.Writer, seeds uint64) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "attack\tfound\tafter (median, worst)\tcalls through\tcost through\tof\tOpenSIPS found\tafter\tcalls\tcost")
	for _, attack := range office.Attacks() {
		ours, theirs := make([]score, 0, seeds), make([]score, 0, seeds)
		for seed := uint64(1); seed <= seeds; seed++ {
			rows, err := attacked(attack, seed)
			if err != nil {
				return err
			}
			zone, err := time.LoadLocation("Australia/Sydney")
			if err != nil {
				return fmt.Errorf("score %s: %w", attack.Name, err)
			}
			one, err := ringfence(rows, zone)
			if err != nil {
				return err
			}
			ours, theirs = append(ours, one), append(theirs, beside(rows, fraud.DefaultDeck()))
		}
		a, b := sum(ours), sum(theirs)
		fmt.Fprintf(table, "%s\t%d/%d\t%s, %s\t%.1f\t%s\t%s\t%d/%d\t%s\t%.1f\t%s\n", attack.Name, a.found, seeds, a.median, a.worst, a.calls, a.cost, a.most,
			b.found, seeds, b.median, b.calls, b.cost)
	}
	return table.Flush()
}

// summary is a line of the table: means, but for the time.
type summary struct {
	found         int
	median, worst time.Duration
	calls         float64
	cost, most    fraud.Money
}

func sum(scores []score) (s summary) {
	var after []time.Duration
	for _, one := range scores {
		if one.found {
			s.found++
			after = append(after, one.after.Round(time.Second))
		}
		s.calls += float64(one.calls) / float64(len(scores))
		s.cost += one.cost / fraud.Money(len(scores))
		s.most += one.most / fraud.Money(len(scores))
	}
	slices.SortFunc(after, cmp.Compare)
	if len(after) > 0 {
		s.median, s.worst = after[len(after)/2], after[len(after)-1]
	}
	s.cost, s.most = s.cost/10_000*10_000, s.most/10_000*10_000
	return s
}

func honest(out io.Writer, seeds uint64) error {
	fmt.Fprintln(out)
	months, alarms := 0.0, 0
	for seed := uint64(1); seed <= seeds; seed++ {
		p, err := inPeace(seed)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "office %d: %s\n", seed, p)
		months, alarms = months+p.months, alarms+len(p.blocks)
	}
	fmt.Fprintf(out, "false alarms: %d in %.0f office-months, one in %.1f; the target is one in 3\n", alarms, months, months/float64(max(alarms, 1)))
	return nil
}
