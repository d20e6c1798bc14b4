package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/scripts/peers"
)

// report writes what passed, what was refused and why, and what was dropped: the
// box's own figures beside those of the peers.
func (d *demo) report(ctx context.Context) error {
	after, err := d.read(ctx)
	if err != nil {
		return err
	}
	d.heading("Passed")
	rows := [][]string{{"calls", "made", "completed", "seen by the other end", "box: why"}}
	for _, r := range d.results {
		rows = append(rows, []string{r.name, fmt.Sprint(r.calls), fmt.Sprint(r.completed), fmt.Sprint(r.seen),
			after.why(r.callIDs)})
	}
	d.table(rows)

	d.heading("Refused")
	rows = [][]string{{"asked for as", "answer", "provider", "number", "rule", "box: why"}}
	for _, a := range d.attempts {
		rows = append(rows, d.refusal(a, after))
	}
	d.table(rows)

	d.heading("Dropped before the kernel's own stack")
	rows = [][]string{{"reason", "packets", "box: why"}}
	for _, reason := range appliance.Reasons() {
		if tally := after.drops[reason]; tally.Packets > 0 && reason.Verdict() == appliance.Block {
			rows = append(rows, []string{reason.String(), fmt.Sprint(tally.Packets), reason.Sentence()})
		}
	}
	d.table(rows)
	d.heading("Shown")
	return nil
}

// why lists the reasons that the box gives for a group of calls.
func (b box) why(callIDs map[string]bool) string {
	var reasons []string
	for _, call := range b.calls {
		if text := call.Reason.Sentence(); callIDs[call.CallID] && !slices.Contains(reasons, text) {
			reasons = append(reasons, text)
		}
	}
	slices.Sort(reasons)
	return strings.Join(reasons, ", ")
}

func (d *demo) refusal(a attempt, b box) []string {
	provider := "nothing"
	if a.reached {
		provider = "REACHED"
	}
	row := []string{a.name, fmt.Sprint(a.answer), provider, "", "", ""}
	for _, call := range b.calls {
		if call.CallID == a.callID && call.Verdict == appliance.Block {
			why, _, _ := strings.Cut(call.Why, ":") // what the entry is; the rest says who warns of it
			row = append(row[:3], call.Number, call.Rule, why)
		}
	}
	return row
}

// claims are what the demo stands for.
func (d *demo) claims() []claim {
	made, completed := d.allowed()
	reached, refused := 0, 0
	for _, a := range d.attempts {
		switch {
		case a.reached:
			reached++
		case a.answer >= 400:
			refused++
		}
	}
	emergency := result{}
	for _, r := range d.results {
		if strings.HasPrefix(r.name, "emergency") {
			emergency = r
		}
	}
	sent := uint64(d.crash.alive + d.crash.dead)
	counted := d.crash.after.drops[appliance.ReasonSIPSource].Packets - d.crash.before.drops[appliance.ReasonSIPSource].Packets
	return []claim{
		{"allowed calls completed", fmt.Sprintf("%d of %d", completed, made), made > 0 && completed == made},
		{"registrations accepted", fmt.Sprintf("%d of 3", d.registered), d.registered == 3},
		{"emergency calls passed", fmt.Sprintf("%d of %d", emergency.seen, emergency.calls),
			emergency.calls > 0 && emergency.seen == emergency.calls && emergency.completed == emergency.calls},
		{"disguised calls that reached the provider", fmt.Sprintf("%d of %d (without the box: %d of %d)",
			reached, len(d.attempts), d.unprotected, d.tried),
			len(d.attempts) >= 10 && reached == 0 && refused == len(d.attempts) && d.unprotected == d.tried},
		{"scans and probes that found anything", fmt.Sprintf("%d of %d", d.found(), len(d.scans)),
			len(d.scans) > 0 && d.found() == 0},
		{"attacker packets behind the gate", fmt.Sprintf("%d at guarded ports, %d at the box's sockets, %d on the LAN",
			d.witness.BehindGate, d.witness.BoxSockets, d.witness.LAN),
			d.witness == peers.Witness{Unguarded: d.witness.Unguarded} && d.witness.Unguarded > 0},
		{"dropped across the kill -9, by the gate's counters", fmt.Sprintf("%d of %d sent, %d of them with no daemon",
			counted, sent, d.crash.dead), sent > 0 && counted == sent},
		{"the rules after the restart", fmt.Sprintf("%s before, %s after", d.crash.before.generation, d.crash.after.generation),
			d.crash.before.generation != "" && d.crash.before.generation == d.crash.after.generation},
		{"the gate after the restart", strings.Join(d.crash.gate, ", "), d.crash.adopted()},
	}
}

// adopted reports whether the gate's journal speaks of taking over what was in the
// kernel, and of nothing loaded anew.
func (c crashed) adopted() bool {
	speaks := func(word string) bool {
		return slices.ContainsFunc(c.gate, func(said string) bool { return strings.HasPrefix(said, word) })
	}
	return speaks("adopted") && !speaks("loaded") && !speaks("attached")
}
