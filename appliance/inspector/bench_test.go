package inspector

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkInvite takes an INVITE from its datagram to the one that leaves for
// the trunk: parse, judge, transaction, emission and both socket writes.
func BenchmarkInvite(b *testing.B) {
	benchmarkInvite(b, mobile)
}

// BenchmarkRefusal takes an INVITE to its 403, and the ACK to that.
func BenchmarkRefusal(b *testing.B) {
	benchmarkInvite(b, "sip:0011252615550148@sip.itsp.example")
}

func benchmarkInvite(b *testing.B, uri string) {
	s := newSite(b)
	a := s.agent("pbx", s.pbxAt)
	invite := a.wire(a.invite(uri, "bench"))
	head, _, _ := strings.Cut(invite, "Content-Type")
	texts := []string{invite}
	if uri != mobile {
		texts = append(texts, strings.ReplaceAll(head, "INVITE", "ACK")+"Content-Length: 0\r\n\r\n")
	}
	from := flow{transport: "udp", local: s.box, remote: s.pbxAt, socket: s.in.door.sockets[0]}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		for _, text := range texts {
			s.in.receive(from, []byte(strings.ReplaceAll(text, "bench", fmt.Sprintf("bench%d", n))))
		}
		if n%1000 == 0 {
			b.StopTimer()
			s.in.txs.close()
			s.in.txs, s.in.relays.all, s.events = newTransactions(s.in.bounds, s.in.catch), nil, nil
			b.StartTimer()
		}
	}
}

// BenchmarkStranger is the price of silence.
func BenchmarkStranger(b *testing.B) {
	s := newSite(b)
	from := flow{transport: "udp", local: s.box, remote: s.host(200), socket: s.in.door.sockets[0]}
	data := []byte("OPTIONS sip:100@192.0.2.1 SIP/2.0\r\n")
	b.ReportAllocs()
	for b.Loop() {
		s.in.receive(from, data)
	}
}
