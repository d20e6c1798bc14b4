package inspector

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/transaction"
	"github.com/ringfence/ringfence/appliance/settings"
)

const forgotten = "sip:line@" + domain

func (s *site) route() string { return "<sip:" + s.box.String() + ";lr>" }

// TestSalvageTakesNothingOfTheReserve: a BYE of nobody knows which call must not
// stand in the way of a call for help.
func TestSalvageTakesNothingOfTheReserve(t *testing.T) {
	for what, tight := range map[string]setup{
		"places": func(_ *site, _ *settings.Settings, bounds *limits) { bounds.transactions, bounds.reserve = 8, 8 },
		"bytes":  func(_ *site, _ *settings.Settings, bounds *limits) { bounds.bytes = 0 },
	} {
		s := newSite(t, tight)
		pbx, itsp := s.pbx(), s.itsp()
		pbx.send(orphanBye(forgotten, "full", s.route()))
		if got := get(pbx.expect("SIP/2.0 503"), "CSeq"); got != "5 BYE" {
			t.Errorf("%s: got a 503 to %s", what, got)
		}
		pbx.send(pbx.invite("sip:000@"+domain, "help"))
		itsp.expect("INVITE sip:000@")
		for _, text := range itsp.kept {
			t.Errorf("%s: the trunk got\n%s", what, text)
		}
	}
}

// TestSalvageIsBounded: so many wait for their answer, from one source and in all.
func TestSalvageIsBounded(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) {
		bounds.salvages, bounds.salvagesPerSource, bounds.timers = 3, 2, transaction.Defaults()
	})
	pbx, itsp, phone, other := s.pbx(), s.itsp(), s.udp("phone", s.host(4)), s.udp("other", s.host(5))
	passes := func(from *agent, id string) string {
		t.Helper()
		from.send(orphanBye(forgotten, id, s.route()))
		got := itsp.expect("BYE ")
		if get(got, "Call-ID") != id {
			t.Errorf("want %s, got\n%s", id, got)
		}
		return got
	}
	refused := func(from *agent, id string) {
		t.Helper()
		from.send(orphanBye(forgotten, id, s.route()))
		from.expect("SIP/2.0 503")
	}
	first, second := passes(pbx, "first"), passes(pbx, "second")
	refused(pbx, "one-source")
	third := passes(phone, "third")
	refused(other, "in-all")
	itsp.send(answer(first, "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	fourth := passes(other, "fourth")
	for _, bye := range []string{second, third, fourth} {
		itsp.send(answer(bye, "481 Call/Transaction Does Not Exist", ""))
	}
	s.until("nothing is left over", func() bool {
		s.in.salvages.mu.Lock()
		defer s.in.salvages.mu.Unlock()
		return s.in.salvages.all == 0 && len(s.in.salvages.of) == 0
	})
}

// TestSalvageReachesSIPPortsOnly: a trunk's network is no list of hosts to send
// datagrams to.
func TestSalvageReachesSIPPortsOnly(t *testing.T) {
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.Trunks[0].Networks = []netip.Prefix{netip.PrefixFrom(s.host(16).Addr(), 28), netip.PrefixFrom(s.host(0).Addr(), 30)}
	})
	pbx, itsp, desk := s.pbx(), s.itsp(), s.udp("desk", s.host(4))
	odd := s.udp("odd", netip.AddrPortFrom(s.host(17).Addr(), 5353))
	for id, text := range map[string]string{
		"uri":   orphanBye("sip:gw@"+odd.at.String(), "uri", s.route()),
		"route": orphanBye(forgotten, "route", s.route(), "<sip:"+odd.at.String()+";lr>"),
		"pbx":   orphanBye("sip:gw@"+pbx.at.String(), "pbx", s.route()), // it stands in the trunk's network
	} {
		desk.send(text)
		bye := itsp.expect("BYE ")
		if get(bye, "Call-ID") != id {
			t.Errorf("want %s, got\n%s", id, bye)
		}
		itsp.send(answer(bye, "200 OK", ""))
		desk.expect("SIP/2.0 200")
	}
	pbx.nothing()
	select {
	case text := <-odd.inbox:
		t.Errorf("an odd port got\n%s", text)
	default:
	}
}

func TestSalvageOfAnOutsizedBye(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(strings.Replace(orphanBye(forgotten, "fat", s.route()), "<sip:a@b>", "<sip:"+strings.Repeat("a", 9000)+"@b>", 1))
	pbx.expect("SIP/2.0 513")
	itsp.nothing()
}

// TestSalvageFromTheWAN: only a telephone that is registered has calls to end, and
// the PBX is who has them with it.
func TestSalvageFromTheWAN(t *testing.T) {
	s := newSite(t, teleworkers)
	pbx, itsp, anna := s.pbx(), s.itsp(), s.udp("anna", s.host(130))
	anna.send(orphanBye(forgotten, "early", s.route()))
	s.until("it is turned away", func() bool {
		return s.tally(appliance.ReasonUnknownDialog)+s.tally(appliance.ReasonUnregistered) == 1
	})
	itsp.nothing()
	pbx.nothing()
	s.enrol(pbx, anna, "101")
	anna.send(orphanBye("sip:102@"+pbx.at.String(), "late", s.route()))
	bye := pbx.expect("BYE sip:102@" + pbx.at.String() + " ")
	pbx.send(answer(bye, "200 OK", ""))
	anna.expect("SIP/2.0 200")
	anna.send(orphanBye(forgotten, "trunk", s.route()))
	pbx.send(answer(pbx.expect("BYE "+forgotten+" "), "481 Call/Transaction Does Not Exist", ""))
	anna.expect("SIP/2.0 481")
	itsp.nothing()
}
