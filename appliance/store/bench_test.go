package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// BenchmarkAppend is the price of one record by the size of the group that it is
// written in.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 16, 256, 1024} {
		b.Run(fmt.Sprintf("group=%d", size), func(b *testing.B) {
			s, err := Open(b.TempDir(), Retention{Age: time.Hour, Rows: 50_000}, time.Now)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			calls := make([]appliance.Call, size)
			n := 0
			for b.Loop() {
				for at := range calls {
					n++
					calls[at] = appliance.Call{
						ID: fmt.Sprintf("%08x", uint32(n)*2654435761), CallID: "3848276298220188511@pbx.example", Start: time.Now(),
						Direction: appliance.Outbound, From: "101", Source: "10.77.0.10:5060", Dialled: "sip:0011252615550148@198.51.100.10",
						Number: "+252615550148", Label: "Somalia", Verdict: appliance.Block, Reason: appliance.ReasonHighRisk, Status: 403,
					}
				}
				if err := s.Append(calls, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
		})
	}
}
