// Package figures is what the gate is measured by: one table of goals, the lines
// by which the benchmarks say what they measured, and how both are shown.
package figures

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Figure is one ratio and what it ought to be. A benchmark says its value by a
// line "figure KEY VALUE".
type Figure struct {
	Key   string
	Name  string
	Goal  float64 // to reach
	Aim   float64 // to aim for
	More  bool    // more is better: at least Goal, not at most
	Unit  string  // after a value; a ratio has none
	Count bool    // whole things: a goal of 0 is one
}

func (f Figure) hasGoal() bool { return f.Goal != 0 || f.Count }

// Table is every figure, in the order in which they are printed. A ratio with a
// Goal of 0 has no goal and is only shown.
func Table() []Figure {
	return []Figure{
		{Key: "test-run/sip4/bare", Name: "dropped SIP, IPv4 / bare XDP_DROP", Goal: 3.0, Aim: 2.3},
		{Key: "test-run/sip6/bare", Name: "dropped SIP, IPv6 / bare XDP_DROP", Goal: 4.2, Aim: 3.2},
		{Key: "test-run/tcp4/bare", Name: "established TCP, IPv4 / bare XDP_PASS", Goal: 2.0, Aim: 1.6},
		{Key: "test-run/tcp6/bare", Name: "established TCP, IPv6 / bare XDP_PASS", Goal: 2.0, Aim: 1.6},
		{Key: "test-run/sip4/xdp-filter", Name: "dropped SIP, IPv4 / xdp-filter", Goal: 0.65, Aim: 0.5},
		{Key: "test-run/sip6/xdp-filter", Name: "dropped SIP, IPv6 / xdp-filter", Goal: 0.65, Aim: 0.5},
		{Key: "test-run/tcp4/xdp-filter", Name: "established TCP, IPv4 / xdp-filter", Goal: 0.45, Aim: 0.33},
		{Key: "test-run/tcp6/xdp-filter", Name: "established TCP, IPv6 / xdp-filter", Goal: 0.45, Aim: 0.33},

		{Key: "random/sip4/10", Name: "SIP from anywhere, IPv4, 10 networks / bare"},
		{Key: "random/sip4/1000", Name: "SIP from anywhere, IPv4, 1,000 networks / bare"},
		{Key: "random/sip4/100000", Name: "SIP from anywhere, IPv4, 100,000 networks / bare"},
		{Key: "random/sip4/1000000", Name: "SIP from anywhere, IPv4, 1,000,000 networks / bare"},
		{Key: "random/sip6/10", Name: "SIP from anywhere, IPv6, 10 networks / bare"},
		{Key: "random/sip6/1000", Name: "SIP from anywhere, IPv6, 1,000 networks / bare"},
		{Key: "random/sip6/100000", Name: "SIP from anywhere, IPv6, 100,000 networks / bare"},
		{Key: "random/sip6/1000000", Name: "SIP from anywhere, IPv6, 1,000,000 networks / bare"},

		{Key: "open4/100000", Name: "open service, random sources, IPv4: a feed of 100,000 / of 10", Goal: 1.8, Aim: 1.4},
		{Key: "open4/1000000", Name: "open service, random sources, IPv4: a feed of 1,000,000 / of 10", Goal: 3.0, Aim: 2.0},
		{Key: "open6/100000", Name: "open service, random sources, IPv6: a feed of 100,000 / of 10", Goal: 1.8, Aim: 1.4},
		{Key: "open6/1000000", Name: "open service, random sources, IPv6: a feed of 1,000,000 / of 10", Goal: 3.0, Aim: 2.0},
		{Key: "feed/sip4", Name: "dropped SIP, IPv4: a feed of 1,000,000 / of 10", Goal: 1.05, Aim: 1.0},
		{Key: "feed/sip6", Name: "dropped SIP, IPv6: a feed of 1,000,000 / of 10", Goal: 1.05, Aim: 1.0},

		{Key: "through/gate", Name: "established TCP through the stack, over bare XDP_PASS", Goal: 4, Aim: 2, Unit: " %"},
		{Key: "through/xdp-filter", Name: "the same with xdp-filter", Unit: " %"},
		{Key: "through/nft-ingress", Name: "the same with nft ingress", Unit: " %"},

		{Key: "flood/nft-ingress/10", Name: "flood, 10 networks: nft ingress / gate", Goal: 4, Aim: 6, More: true},
		{Key: "flood/nft-raw/10", Name: "flood, 10 networks: nft raw / gate"},
		{Key: "flood/ipset/10", Name: "flood, 10 networks: iptables and ipset / gate"},
		{Key: "flood/xdp-filter/10", Name: "flood, 10 networks: xdp-filter / gate"},
		{Key: "flood/no-filter/10", Name: "flood, 10 networks: no filter / gate"},
		{Key: "flood/nft-ingress/72000", Name: "flood, 72,000 networks: nft ingress / gate", Goal: 5, Aim: 10, More: true},
		{Key: "flood/nft-raw/72000", Name: "flood, 72,000 networks: nft raw / gate"},
		{Key: "flood/ipset/72000", Name: "flood, 72,000 networks: iptables and ipset / gate"},
		{Key: "flood/nft-ingress/1000000", Name: "flood, 1,000,000 networks: nft ingress / gate", Goal: 8, Aim: 15, More: true},
		{Key: "flood/nft-raw/1000000", Name: "flood, 1,000,000 networks: nft raw / gate"},
		{Key: "flood/ipset/1000000", Name: "flood, 1,000,000 networks: iptables and ipset / gate"},

		{Key: "bytes4", Name: "memory for each of 1,000,000 networks, IPv4", Goal: 12, Aim: 12, Unit: " bytes"},
		{Key: "bytes6", Name: "memory for each of 1,000,000 networks, IPv6", Goal: 24, Aim: 24, Unit: " bytes"},
		{Key: "swap4/allow", Name: "compile, fill and swap, allowlist of 1,000,000, IPv4", Goal: 0.5, Aim: 0.2, Unit: " s"},
		{Key: "swap4/feed", Name: "compile, fill and swap, feed of 1,000,000, IPv4", Goal: 0.5, Aim: 0.2, Unit: " s"},
		{Key: "swap6/allow", Name: "compile, fill and swap, allowlist of 1,000,000, IPv6", Goal: 0.5, Aim: 0.2, Unit: " s"},
		{Key: "swap6/feed", Name: "compile, fill and swap, feed of 1,000,000, IPv6", Goal: 0.5, Aim: 0.2, Unit: " s"},
		{Key: "storm/wrong", Name: "wrong verdicts in 1,000 swaps under 10,000,000 packets", Goal: 0, Aim: 0, Count: true},
		{Key: "verifier/6.1", Name: "instructions that the verifier of Linux 6.1 walks", Goal: 60_000, Aim: 30_000, Count: true},
		{Key: "verifier/here", Name: "instructions that the verifier of this kernel walks", Goal: 60_000, Aim: 30_000, Count: true},
	}
}

// Standing is how a value compares with the figure's goals.
func (f Figure) Standing(value float64) string {
	reaches := func(goal float64) bool { return f.More && value >= goal || !f.More && value <= goal }
	switch {
	case !f.hasGoal():
		return ""
	case reaches(f.Aim):
		return "met, and the aim"
	case reaches(f.Goal):
		return "met"
	}
	return "SHORT"
}

func (f Figure) format(value float64) string {
	if f.Count {
		return thousands(int(value))
	}
	return fmt.Sprintf("%.2f%s", value, f.Unit)
}

func (f Figure) goal(value float64) string {
	if !f.hasGoal() {
		return ""
	}
	sign := "≤ "
	if f.More {
		sign = "≥ "
	}
	if f.Count {
		return sign + thousands(int(value))
	}
	return fmt.Sprintf("%s%g%s", sign, value, f.Unit)
}

// Print writes the table. A figure that was not measured says so.
func Print(to io.Writer, values map[string]float64) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tmeasured\tto reach\tto aim for\t")
	for _, f := range Table() {
		measured, standing := "not measured", ""
		if value, ok := values[f.Key]; ok {
			measured, standing = f.format(value), f.Standing(value)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", f.Name, measured, f.goal(f.Goal), f.goal(f.Aim), standing)
	}
	return table.Flush()
}
