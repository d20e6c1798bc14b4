package health

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// look is what a monitor finds when it looks once more.
type look struct {
	after             time.Duration
	received, counted uint64
	index             int
	failed            string
}

func TestInterfaceThatTheGateNeverSees(t *testing.T) {
	const minute = time.Minute
	for name, tc := range map[string]struct {
		looks []look
		red   bool // at the last one
	}{
		"packets and no counts":        {[]look{{0, 100, 7, 2, ""}, {minute, 1100, 7, 2, ""}}, true},
		"for longer":                   {[]look{{0, 0, 0, 2, ""}, {minute, 1000, 0, 2, ""}, {minute, 1001, 0, 2, ""}}, true},
		"too few":                      {[]look{{0, 100, 7, 2, ""}, {time.Hour, 1099, 7, 2, ""}}, false},
		"too soon":                     {[]look{{0, 100, 7, 2, ""}, {minute - 1, 99999, 7, 2, ""}}, false},
		"counted meanwhile":            {[]look{{0, 100, 7, 2, ""}, {minute / 2, 900, 8, 2, ""}, {minute - 1, 1899, 8, 2, ""}}, false},
		"counted after all":            {[]look{{0, 100, 7, 2, ""}, {minute, 1100, 7, 2, ""}, {1, 1101, 8, 2, ""}}, false},
		"another of the same name":     {[]look{{0, 100, 7, 2, ""}, {minute, 1100, 7, 3, ""}}, false},
		"the same, made anew":          {[]look{{0, 5000, 7, 2, ""}, {minute, 4000, 7, 2, ""}}, false},
		"not guarded, which is enough": {[]look{{0, 100, 7, 2, ""}, {minute, 1100, 7, 2, "gone"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, clock := well(), now
			m := New("1", func() time.Time { return clock }, p, p, p, p, p)
			var found bool
			for _, one := range tc.looks {
				clock = clock.Add(one.after)
				p.perimeter.Counted = one.counted
				p.perimeter.Interfaces = []Interface{{Name: "wan0", Mode: "native", Index: one.index, Received: one.received, Error: one.failed}}
				found = false
				for _, check := range m.Status().Checks {
					if check.Name == "gate wan0 runs" {
						found = check.Level == appliance.Red && strings.Contains(check.Message, "the gate counted none")
					}
				}
			}
			if found != tc.red {
				t.Errorf("red: %v", found)
			}
		})
	}
}
