package inspector

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// cutting starts to cut the only call in progress and returns where the result
// will be. The media has stopped when the first BYE is there.
func (s *site) cutting() <-chan appliance.Cut {
	s.t.Helper()
	live := s.in.Live()
	if len(live) != 1 {
		s.t.Fatalf("%d calls in progress, want 1", len(live))
	}
	done := make(chan appliance.Cut, 1)
	ctx, stop := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(stop)
	go func() {
		defer close(done)
		result, err := s.in.Cut(ctx, live[0].ID, "credit is used up")
		if err != nil {
			s.t.Errorf("cut: %v", err)
			return
		}
		done <- result
	}()
	return done
}

// toldOfCut waits for an event on a cut.
func (s *site) toldOfCut(start string) appliance.Event {
	s.t.Helper()
	var found appliance.Event
	s.until("it is told that "+start, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		at := slices.IndexFunc(s.events, func(e appliance.Event) bool {
			return e.Kind == appliance.EventCut && strings.HasPrefix(e.Message, start)
		})
		if at >= 0 {
			found = s.events[at]
		}
		return at >= 0
	})
	return found
}

func states(result appliance.Cut) (all []string) {
	for _, side := range result.Sides {
		all = append(all, side.Side+" "+string(side.State))
	}
	slices.Sort(all)
	return all
}

func (s *site) wants(result appliance.Cut, complete bool, sides ...string) {
	s.t.Helper()
	if result.Complete != complete || !slices.Equal(states(result), sides) {
		s.t.Errorf("cut is complete: %v, sides %v; want %v, %v", result.Complete, states(result), complete, sides)
	}
}

// TestCut: both sides hear a BYE that the other could have sent.
func TestCut(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "cut")
	done := s.cutting()
	toITSP, toPBX := itsp.expect("BYE "), pbx.expect("BYE ")
	for _, one := range []struct {
		bye, target, from, to, cseq string
	}{
		{toITSP, itsp.contact(), get(c.ok, "From"), get(c.ok, "To"), "2 BYE"},
		{toPBX, uriOf(get(c.invite, "Contact")), get(c.ok, "To"), get(c.ok, "From"), "1 BYE"},
	} {
		if startOf(one.bye) != "BYE "+one.target+" SIP/2.0" || get(one.bye, "From") != one.from || get(one.bye, "To") != one.to || get(one.bye, "CSeq") != one.cseq ||
			get(one.bye, "Call-ID") != "cut" || len(every(one.bye, "Via")) != 1 || get(one.bye, "Route") != "" || get(one.bye, "Max-Forwards") != "70" ||
			get(one.bye, "Reason") != `Q.850;cause=21;text="call rejected"` || strings.Contains(one.bye, "credit") || bodyOf(one.bye) != "" {
			t.Errorf("got, with %+v,\n%s", one, one.bye)
		}
	}
	itsp.send(answer(toITSP, "200 OK", ""))
	pbx.send(answer(toPBX, "200 OK", ""))
	s.wants(<-done, true, "lan confirmed", "provider confirmed")
	s.toldOfCut("the cut is complete")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Reason != appliance.ReasonCut || record.Verdict != appliance.Block || record.Why != "credit is used up" || record.Status != 200 || record.Answer.IsZero() {
		t.Errorf("record %+v", record)
	}
	if len(s.in.Live()) != 0 {
		t.Error("the call is in progress")
	}
	itsp.nothing()
	pbx.nothing()
}

// TestCutCountsEveryRequest: each side's space of sequence numbers is its own, and
// every method counts.
func TestCutCountsEveryRequest(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "count"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "183 Session Progress", "callee", "Contact: <"+itsp.contact()+">", "Require: 100rel", "RSeq: 1", "Content-Type: application/sdp"+offer))
	c.ok = pbx.expect("SIP/2.0 183")
	pass := func(from, to *agent, text, method string) {
		from.send(text)
		to.send(answer(to.expect(method+" "), "200 OK", "", "Contact: <"+to.contact()+">"))
		from.expect("SIP/2.0 200")
	}
	pass(pbx, itsp, c.fromCaller("PRACK", "7 PRACK", "prack", "RAck: 1 1 INVITE"), "PRACK")
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+offer))
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	pass(pbx, itsp, c.fromCaller("UPDATE", "9 UPDATE", "update", "Contact: <sip:201@$me>"), "UPDATE")
	pass(itsp, pbx, c.fromCallee("INFO", "4711 INFO", "info", "Content-Type: application/dtmf-relay\n\nSignal=1\n"), "INFO")
	// One that is refused here never gets across, and one that is refused there does.
	pbx.send(c.fromCaller("UPDATE", "20 UPDATE", "evil", "Contact: <sip:x@203.0.113.9>"))
	pbx.expect("SIP/2.0 403")
	pbx.send(c.fromCaller("INFO", "12 INFO", "info2", "Content-Type: application/dtmf-relay\n\nSignal=1\n"))
	itsp.send(answer(itsp.expect("INFO "), "415 Unsupported Media Type", ""))
	pbx.expect("SIP/2.0 415")
	done := s.cutting()
	toITSP, toPBX := itsp.expect("BYE "), pbx.expect("BYE ")
	if get(toITSP, "CSeq") != "13 BYE" || get(toPBX, "CSeq") != "4712 BYE" {
		t.Errorf("CSeq %q and %q, want 13 and 4712", get(toITSP, "CSeq"), get(toPBX, "CSeq"))
	}
	// Who has forgotten the call agrees as well, and so does a proxy that has lost the way.
	itsp.send(answer(toITSP, "481 Call/Transaction Does Not Exist", ""))
	pbx.send(answer(toPBX, "408 Request Timeout", ""))
	s.wants(<-done, true, "lan confirmed", "provider confirmed")
}

// TestCutFollowsTheRoute: a proxy of the provider's that recorded its route gets
// the BYE first.
func TestCutFollowsTheRoute(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "route"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	ok := answer(c.invite, "200 OK", "callee", "Contact: <sip:gw@192.0.2.77>")
	ok = strings.Replace(ok, "Record-Route: ", "Record-Route: <sip:192.0.2.2;lr>\nRecord-Route: <sip:192.0.2.1;lr>\nRecord-Route: ", 1)
	itsp.send(ok)
	c.ok = pbx.expect("SIP/2.0 200")
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK ")
	done := s.cutting()
	bye := itsp.expect("BYE sip:gw@192.0.2.77 ")
	if got := every(bye, "Route"); strings.Join(got, " ") != "<sip:192.0.2.1;lr> <sip:192.0.2.2;lr>" {
		t.Errorf("Route %q", got)
	}
	itsp.send(answer(bye, "200 OK", ""))
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	s.wants(<-done, true, "lan confirmed", "provider confirmed")
}

// TestCutChallenged: who wants a digest can't be told in a way that he takes. The
// media stays cut, refreshes are refused, and everybody hears of it, until the
// provider gives in by himself.
func TestCutChallenged(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "challenged")
	done := s.cutting()
	bye := itsp.expect("BYE ")
	itsp.send(answer(bye, "401 Unauthorized", "", `WWW-Authenticate: Digest realm="itsp", nonce="1"`))
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	result := <-done
	s.wants(result, false, "lan confirmed", "provider challenged")
	if e := s.toldOfCut("cut incomplete"); e.Verdict != appliance.Block || !strings.Contains(e.Message, "401") || e.Subject != result.ID {
		t.Errorf("event %+v", e)
	}
	pbx.nothing() // the challenge is nobody's business
	for _, method := range []string{"INVITE", "UPDATE", "INFO", "REFER"} {
		itsp.send(c.fromCallee(method, "5 "+method, "no"+method, "Contact: <"+itsp.contact()+">"))
		if no := itsp.expect("SIP/2.0 403"); get(no, "CSeq") != "5 "+method {
			t.Errorf("got\n%s", no)
		}
		pbx.send(c.fromCaller(method, "6 "+method, "no"+method, "Contact: <sip:201@$me>"))
		pbx.expect("SIP/2.0 403")
	}
	tables := s.media.(*kernelTables)
	if len(tables.cut()) == 0 {
		t.Error("the media is not cut")
	}
	// Two hours later it still holds; and the BYE was tried again with the next number.
	s.in.sweep(s.now.advance(time.Minute))
	again := itsp.expect("BYE ")
	if get(again, "CSeq") != "3 BYE" {
		t.Errorf("the second BYE is\n%s", again)
	}
	itsp.send(answer(again, "407 Proxy Authentication Required", ""))
	s.until("it is challenged again", func() bool {
		return slices.Contains(states(s.in.Cuts()[0]), "provider challenged") && s.in.Cuts()[0].Sides[1].Tries == 2
	})
	s.in.sweep(s.now.advance(2 * time.Hour))
	itsp.expect("BYE ")
	itsp.send(c.fromCallee("UPDATE", "7 UPDATE", "late", "Contact: <"+itsp.contact()+">"))
	itsp.expect("SIP/2.0 403")
	// His session timer runs out.
	itsp.send(c.fromCallee("BYE", "9 BYE", "timer"))
	if ok := itsp.expect("SIP/2.0 200"); get(ok, "CSeq") != "9 BYE" {
		t.Errorf("got\n%s", ok)
	}
	s.toldOfCut("the cut is complete")
	pbx.nothing()
	s.in.sweep(s.now.advance(3 * time.Minute))
	if len(s.in.Cuts()) != 0 || len(tables.cut()) != 0 || s.in.dialogs.size() != 0 {
		t.Errorf("left: %v, %v, %d dialogs", s.in.Cuts(), tables.cut(), s.in.dialogs.size())
	}
}

// TestCutLost: a BYE that nobody answers is sent again until Timer F, and then
// anew.
func TestCutLost(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	establish(pbx, itsp, mobile, "lost")
	done := s.cutting()
	first := itsp.expect("BYE ")
	for got := ""; got != first; { // the very same bytes again
		got = <-itsp.inbox
	}
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	s.wants(<-done, false, "lan confirmed", "provider lost")
	s.toldOfCut("cut incomplete")
	s.in.sweep(s.now.advance(10 * time.Second))
	itsp.nothing()
	s.in.sweep(s.now.advance(30 * time.Second))
	again := itsp.expect("BYE ")
	if get(again, "CSeq") != "3 BYE" || get(again, "Via") == get(first, "Via") {
		t.Errorf("the second BYE is\n%s", again)
	}
	itsp.send(answer(again, "481 Call/Transaction Does Not Exist", ""))
	s.toldOfCut("the cut is complete")
}

// TestCutOfALostPhone: the provider has confirmed, so that the cut is complete,
// though the LAN's side is told on.
func TestCutOfALostPhone(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	establish(pbx, itsp, mobile, "phone")
	done := s.cutting()
	itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
	s.wants(<-done, true, "lan lost", "provider confirmed")
}

// TestCutCrosses: BYEs of both sides that cross ours are answered, and count.
func TestCutCrosses(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "cross")
	done := s.cutting()
	toITSP, toPBX := itsp.expect("BYE "), pbx.expect("BYE ")
	pbx.send(c.fromCaller("BYE", "2 BYE", "mine"))
	itsp.send(c.fromCallee("BYE", "1 BYE", "mine"))
	for _, a := range []*agent{pbx, itsp} {
		ok := a.expect("SIP/2.0 200")
		if !strings.HasSuffix(get(ok, "CSeq"), " BYE") {
			t.Errorf("got\n%s", ok)
		}
	}
	s.wants(<-done, true, "lan confirmed", "provider confirmed")
	itsp.send(answer(toITSP, "500 Server Internal Error", "")) // too late to matter
	pbx.send(answer(toPBX, "481 Call/Transaction Does Not Exist", ""))
	itsp.ping()
	s.wants(s.in.Cuts()[0], true, "lan confirmed", "provider confirmed")
	// Neither got the other's.
	itsp.nothing()
	pbx.nothing()
}

// TestCutBeforeAnswer: 403 for the caller, CANCEL for the callee.
func TestCutBeforeAnswer(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "ringing"))
	invite := itsp.expect("INVITE ")
	itsp.send(answer(invite, "183 Session Progress", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+offer))
	pbx.expect("SIP/2.0 183")
	done := s.cutting()
	if no := pbx.expect("SIP/2.0 403"); get(no, "CSeq") != "1 INVITE" || get(no, "Reason") != cutReason {
		t.Errorf("got\n%s", no)
	}
	cancel := itsp.expect("CANCEL ")
	if get(cancel, "Via") != get(invite, "Via") || get(cancel, "CSeq") != "1 CANCEL" || get(cancel, "Reason") != cutReason {
		t.Errorf("got\n%s", cancel)
	}
	if len(s.media.(*kernelTables).cut()) == 0 {
		t.Error("early media is not cut")
	}
	itsp.send(answer(cancel, "200 OK", "callee"))
	itsp.send(answer(invite, "487 Request Terminated", "callee"))
	itsp.expect("ACK ")
	s.wants(<-done, true, "lan confirmed", "provider confirmed")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Reason != appliance.ReasonCut || record.Status != 403 || !record.Answer.IsZero() {
		t.Errorf("record %+v", record)
	}
}

// TestCutOfAProviderThatDies: nobody says that the ringing has ended, so that the cut
// is incomplete; but nothing waits for it for ever.
func TestCutOfAProviderThatDies(t *testing.T) {
	for _, withdrawn := range []bool{false, true} {
		s := newSite(t, guarded, hasty)
		pbx, itsp := s.pbx(), s.itsp()
		pbx.send(pbx.invite(mobile, "dies"))
		itsp.send(answer(itsp.expect("INVITE "), "180 Ringing", "callee"))
		pbx.expect("SIP/2.0 180")
		if withdrawn { // by its caller, before the cut
			pbx.send(cancelOf(pbx, mobile, "dies"))
			itsp.expect("CANCEL ")
		}
		done := s.cutting()
		pbx.expect("SIP/2.0 403")
		if !withdrawn {
			itsp.expect("CANCEL ")
		}
		s.wants(<-done, false, "lan confirmed", "provider lost")
		s.toldOfCut("cut incomplete: the provider at " + itsp.at.String() + " does not confirm that it has stopped ringing")
		s.until("no transaction waits", func() bool { return !s.in.txs.busy() })
	}
}

// TestCutOfTheNextTry: a call that was cut while it rang and comes again has the same
// record, and is cut like any other.
func TestCutOfTheNextTry(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	for try := range 2 {
		text := strings.ReplaceAll(pbx.invite(mobile, "again"), "z9hG4bK-inv", fmt.Sprint("z9hG4bK-inv", try))
		pbx.send(strings.Replace(text, "CSeq: 1", fmt.Sprint("CSeq: ", try+1), 1))
		invite := itsp.expect("INVITE ")
		itsp.send(answer(invite, "180 Ringing", fmt.Sprint("callee", try)))
		pbx.expect("SIP/2.0 180")
		done := s.cutting()
		pbx.expect("SIP/2.0 403")
		itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "callee"))
		itsp.send(answer(invite, "487 Request Terminated", "callee"))
		itsp.expect("ACK ")
		s.wants(<-done, true, "lan confirmed", "provider confirmed")
	}
}

// TestCutBeforeAnyResponse: the CANCEL waits for the provider, who answers the
// call instead: it is hung up.
func TestCutBeforeAnyResponse(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "silent"))
	invite := itsp.expect("INVITE ")
	done := s.cutting()
	pbx.expect("SIP/2.0 403")
	itsp.nothing("INVITE ")
	itsp.send(answer(invite, "100 Trying", ""))
	itsp.send(answer(itsp.expect("CANCEL "), "481 Call/Transaction Does Not Exist", "x"))
	itsp.send(answer(invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+offer))
	itsp.expect("ACK ")
	bye := itsp.expect("BYE ")
	if get(bye, "CSeq") != "2 BYE" {
		t.Errorf("got\n%s", bye)
	}
	itsp.send(answer(bye, "200 OK", ""))
	s.wants(<-done, true, "lan confirmed", "provider confirmed")
	pbx.nothing("SIP/2.0 100")
}

// TestCutMeetsAnotherFork: a fork that answers after the cut is hung up, and the
// caller never hears of it.
func TestCutMeetsAnotherFork(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "fork")
	done := s.cutting()
	itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	<-done
	itsp.send(answer(c.invite, "200 OK", "fork", "Contact: <sip:fork@"+itsp.at.String()+">", "Content-Type: application/sdp"+offer))
	itsp.expect("ACK sip:fork@")
	if bye := itsp.expect("BYE sip:fork@"); !strings.HasSuffix(get(bye, "To"), ";tag=fork") {
		t.Errorf("got\n%s", bye)
	}
	pbx.nothing()
}

// TestCutMeetsARefresh: what a re-INVITE that was on its way changes is cut, too.
func TestCutMeetsARefresh(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "moving")
	pbx.send(c.fromCaller("INVITE", "2 INVITE", "moving", "Contact: <sip:201@$me>", "Content-Type: application/sdp"+described(pbx.at.Addr(), 7000)))
	invite := itsp.expect("INVITE ")
	s.cutting()
	itsp.expect("BYE ")
	itsp.send(answer(invite, "200 OK", "", "Contact: <"+itsp.contact()+">", "Content-Type: application/sdp"+described(netip.MustParseAddr("198.51.100.9"), 8000)))
	pbx.expect("SIP/2.0 200")
	for _, key := range []appliance.MediaKey{
		{Remote: netip.MustParseAddr("198.51.100.9"), RemotePort: 8000}, {Remote: netip.MustParseAddr("198.51.100.9"), LocalPort: 7000},
	} {
		if !slices.Contains(s.media.(*kernelTables).cut(), key) {
			t.Errorf("%v is not cut: %v", key, s.media.(*kernelTables).cut())
		}
	}
}

func TestCutRefuses(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	if _, err := s.in.Cut(context.Background(), "nobody", ""); appliance.CodeOf(err) != appliance.CodeNotFound {
		t.Errorf("a call that there is not: %v", err)
	}
	pbx.send(pbx.invite("sip:000@"+domain, "help"))
	invite := itsp.expect("INVITE ")
	itsp.send(answer(invite, "180 Ringing", "callee"))
	pbx.expect("SIP/2.0 180")
	live := s.in.Live()
	if _, err := s.in.Cut(context.Background(), live[0].ID, ""); appliance.CodeOf(err) != appliance.CodeForbidden {
		t.Errorf("a call for help: %v", err)
	}
	if cut := s.in.CutWhere(context.Background(), func(appliance.Call) bool { return true }, ""); len(cut) != 0 {
		t.Errorf("cut %+v", cut)
	}
	itsp.nothing()
}

// TestCutWhere: every call of one account, and no other.
func TestCutWhere(t *testing.T) {
	s := newSite(t, guarded)
	pbx, itsp := s.pbx(), s.itsp()
	for _, id := range []string{"one", "two", "three"} {
		establish(pbx, itsp, mobile, id)
	}
	done := make(chan []appliance.Cut, 1)
	go func() {
		done <- s.in.CutWhere(t.Context(), func(c appliance.Call) bool { return c.CallID != "two" }, "fraud")
	}()
	for range 2 {
		for _, a := range []*agent{pbx, itsp} {
			bye := a.expect("BYE ")
			if get(bye, "Call-ID") == "two" {
				t.Errorf("got\n%s", bye)
			}
			a.send(answer(bye, "200 OK", ""))
		}
	}
	for _, result := range <-done {
		s.wants(result, true, "lan confirmed", "provider confirmed")
	}
	if live := s.in.Live(); len(live) != 1 || live[0].CallID != "two" {
		t.Errorf("in progress: %+v", live)
	}
	itsp.nothing()
}

// TestCutTwice: who cuts again hears how far it is.
func TestCutTwice(t *testing.T) {
	s := newSite(t, guarded, func(_ *site, set *settings.Settings, _ *limits) { set.SIP.Refusal = 603 })
	pbx, itsp := s.pbx(), s.itsp()
	establish(pbx, itsp, mobile, "twice")
	id := s.in.Live()[0].ID
	first := s.cutting()
	bye := itsp.expect("BYE ")
	pbx.send(answer(pbx.expect("BYE "), "200 OK", ""))
	ended, stop := context.WithCancel(context.Background())
	stop()
	second, err := s.in.Cut(ended, id, "other words")
	if err != nil || second.Reason != "credit is used up" || second.Complete || !slices.Contains(states(second), "provider pending") {
		t.Errorf("%+v, %v", second, err)
	}
	itsp.send(answer(bye, "200 OK", ""))
	s.wants(<-first, true, "lan confirmed", "provider confirmed")
	itsp.nothing()
}
