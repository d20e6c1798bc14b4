package names

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzAnswer takes arbitrary bytes for a server's answer. Whatever is taken must be an answer to the question, belong to the asked name
// or to the end of a chain of aliases from it, and be fit to be let in.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg).SetQuestion("sip.example.net.", dns.TypeA)
	q.Id = 4711
	for _, lines := range [][]string{
		{"sip.example.net. 60 IN A 192.0.2.1"},
		{"sip.example.net. 60 IN CNAME a.example.org.", "a.example.org. 60 IN A 192.0.2.1", "b.example.org. 60 IN A 203.0.113.66"},
		{"sip.example.net. 60 IN CNAME sip.example.net."},
		{"sip.example.net. 60 IN SRV 1 1 5060 a.example.org.", "sip.example.net. 60 IN SRV 0 0 0 ."},
		{`sip.example.net. 60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.example.org.`, `sip.example.net. 60 IN NAPTR 9 9 "u" "E2U+sip" "!^.*$!sip:x@y!" .`},
		{"sip.example.net. 4294967295 IN AAAA ::ffff:127.0.0.1", "sip.example.net. 60 IN A 127.0.0.1"},
	} {
		m := new(dns.Msg).SetReply(q)
		for _, line := range lines {
			m.Answer = append(m.Answer, rr(f, line))
		}
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, dns.TypeA)
		f.Add(data, dns.TypeSRV)
		f.Add(data, dns.TypeNAPTR)
	}
	f.Fuzz(func(t *testing.T, data []byte, kind uint16) {
		reply := new(dns.Msg)
		if reply.Unpack(data) != nil || fits(reply, q) != exact {
			return
		}
		way := found{name: "sip.example.net.", ttl: time.Hour}
		way.follow(reply.Answer, kind)
		if way.hops > maxHops+1 || way.ttl < 0 || way.ttl > time.Hour {
			t.Fatalf("%d hops, a TTL of %v", way.hops, way.ttl)
		}
		for _, record := range way.records {
			if record.Header().Rrtype != kind || !reaches(reply.Answer, record.Header().Name) {
				t.Fatalf("%v was taken from %v", record, reply)
			}
		}
		targets, _ := targetsOf(way.records)
		for _, target := range targets {
			if again, err := canonical(target); err != nil || again != target {
				t.Fatalf("the target %q was taken: %v", target, err)
			}
		}
		judged(t, way.records, len(targets))
		bounded(t, way.records)
	})
}

// bounded has the records taken for those of a trunk.
func bounded(t *testing.T, records []dns.RR) {
	ways := waysOf(records)
	for _, way := range ways {
		if again, err := canonical(way.service); err != nil || again != way.service || !isService(way.service) {
			t.Fatalf("the service %q was taken: %v", way.service, err)
		}
	}
	if len(ways) > maxWays {
		t.Fatalf("%d ways were taken", len(ways))
	}
	for _, one := range servicesOf(records) {
		if _, err := canonical(one.Target); err != nil || one.Port == 0 {
			t.Fatalf("%v was taken", one)
		}
	}
}

// judged has the records judged as a whole answer.
func judged(t *testing.T, records []dns.RR, targets int) {
	a := answer{of: newEntry("sip.example.net")}
	for _, record := range records {
		if addr, ok := addressOf(record); ok {
			a.addrs = append(a.addrs, addr)
		}
	}
	lan := netip.MustParsePrefix("192.168.0.0/16")
	tracker := &Tracker{forbidden: []netip.Prefix{lan}}
	good, _ := tracker.judge(a)
	if len(good) > MaxAddresses || targets > maxTargets {
		t.Fatalf("%d addresses and %d targets were taken", len(good), targets)
	}
	for _, addr := range good {
		if !addr.IsGlobalUnicast() || addr.Is4In6() || lan.Contains(addr) {
			t.Fatalf("%v was taken", addr)
		}
	}
}

// reaches says whether aliases lead from the asked name to this one, by another
// way than the code under test: backwards, with every alias there is.
func reaches(records []dns.RR, name string) bool {
	wanted := map[string]bool{strings.ToLower(name): true}
	for range records {
		for _, record := range records {
			if alias, ok := record.(*dns.CNAME); ok && wanted[strings.ToLower(alias.Target)] {
				wanted[strings.ToLower(alias.Hdr.Name)] = true
			}
		}
	}
	return wanted["sip.example.net."]
}
