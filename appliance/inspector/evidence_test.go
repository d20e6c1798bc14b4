package inspector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestRefusedCallsLeaveBoundedEvidence: whoever is refused without end has records
// and messages of his first calls, and then of one in a while. Every one is refused
// and counted, the journal hears of the others, and nobody else's are lost.
func TestRefusedCallsLeaveBoundedEvidence(t *testing.T) {
	s := newSite(t, keeping(settings.MessagesRefused), func(_ *site, _ *settings.Settings, bounds *limits) {
		bounds.accountRecords, bounds.sourceRecords = quota{3, time.Hour}, quota{5, time.Hour / 2}
	})
	pbx, phone := s.pbx(), s.udp("phone", s.host(4))
	calls := 0
	refused := func(a *agent, from string) string {
		calls++
		id := fmt.Sprintf("flood%d", calls)
		a.send(strings.Replace(a.invite(forbidden, id), "<sip:201@", "<sip:"+from+"@", 1))
		a.send(ackTo(a.expect("SIP/2.0 403"), a, forbidden))
		a.ping()
		return id
	}
	kept := func() (ids []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Call != nil {
				ids = append(ids, e.Call.CallID)
			}
		}
		return ids
	}
	for _, from := range []string{"201", "201", "201", "201", "202", "202", "202", "203"} {
		refused(pbx, from)
	}
	refused(phone, "204")
	if got, want := fmt.Sprint(kept()), "[flood1 flood2 flood3 flood5 flood6 flood9]"; got != want {
		t.Errorf("records of %s, want %s", got, want)
	}
	if got := s.tally(appliance.ReasonHighRisk); got != 9 {
		t.Errorf("%d of 9 refusals are counted", got)
	}
	for id, want := range map[string]int{"flood3": 3, "flood4": 0, "flood7": 0, "flood9": 3} {
		if got := len(s.in.Trace(id).Messages); got != want {
			t.Errorf("%s: %d messages are kept, want %d", id, got, want)
		}
	}

	s.in.sweep(s.now.advance(time.Hour))
	if id := refused(pbx, "201"); !strings.Contains(fmt.Sprint(kept()), id) {
		t.Errorf("an hour later no record is kept: %v", kept())
	}
	told := map[string]bool{}
	s.mu.Lock()
	for _, e := range s.events {
		if what, _, found := strings.Cut(e.Message, " refused calls since"); found {
			told[what+" of "+e.Subject+" at "+e.Source.Addr().String()] = true
		}
	}
	s.mu.Unlock()
	at := " at " + s.pbxAt.Addr().String()
	if len(told) != 2 || !told["1 of 201"+at] || !told["2 of "+at] {
		t.Errorf("the journal was told %v", told)
	}
}
