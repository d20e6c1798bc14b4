package inspector

import (
	"strconv"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// announced is early media, as a queue plays it.
func announced(a *agent, invite, rseq string) string {
	return answer(invite, "183 Session Progress", "queue", "Contact: <"+a.contact()+">", "Require: 100rel", "RSeq: "+rseq, "Content-Type: application/sdp"+offer)
}

// TestHelpIsWaitedFor: the box does not end a call for help that waits, whether
// anybody says that it rings or not, and PRACK and UPDATE go through all the while.
func TestHelpIsWaitedFor(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	for id, first := range map[string]string{"queue": "183 Session Progress", "rings": "180 Ringing", "trying": "100 Trying"} {
		pbx.send(pbx.invite("sip:000@"+domain, id))
		invite := itsp.expect("INVITE sip:000@")
		itsp.send(answer(invite, first, "queue", "Contact: <"+itsp.contact()+">"))
		if first != "100 Trying" {
			pbx.expect("SIP/2.0 " + first)
		}
		itsp.ping() // what came before has been handled
		for range 12 {
			s.in.sweep(s.now.advance(59 * time.Minute))
		}
		itsp.nothing()
		c := testCall{caller: pbx, callee: itsp, invite: invite}
		itsp.send(announced(itsp, invite, "1"))
		early := c
		early.ok = pbx.expect("SIP/2.0 183")
		s.in.sweep(s.now.advance(6 * time.Minute))
		for _, method := range []string{"PRACK", "UPDATE"} {
			number := map[string]string{"PRACK": "2 PRACK", "UPDATE": "3 UPDATE"}[method]
			pbx.send(early.fromCaller(method, number, method, "RAck: 1 1 INVITE", "Contact: <sip:201@$me>"))
			itsp.send(answer(itsp.expect(method+" "), "200 OK", "", "Contact: <"+itsp.contact()+">"))
			if ok := pbx.expect("SIP/2.0 200"); get(ok, "CSeq") != number {
				t.Errorf("got\n%s", ok)
			}
		}
		itsp.send(answer(invite, "200 OK", "queue", "Contact: <"+itsp.contact()+">"))
		c.ok = pbx.expect("SIP/2.0 200")
		pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
		itsp.expect("ACK ")
		pbx.send(c.fromCaller("BYE", "4 BYE", "bye"))
		itsp.send(answer(itsp.expect("BYE "), "200 OK", ""))
		pbx.expect("SIP/2.0 200")
	}
}

// TestHelpIsNotWaitedForForEver: its bound is that of an answered one, a target
// that never says a word has Timer C, and who hangs up is heard at once.
func TestHelpIsNotWaitedForForEver(t *testing.T) {
	s := newSite(t, overTCP)
	pbx, listener := s.pbx(), s.listen(s.itspAt)
	pbx.send(pbx.invite("sip:000@"+domain, "bounded"))
	itsp := s.accept("itsp", listener)
	itsp.send(answer(itsp.expect("INVITE "), "183 Session Progress", "queue"))
	pbx.expect("SIP/2.0 183")
	pbx.send(pbx.invite("sip:000@"+domain, "hangs-up"))
	invite := itsp.expect("INVITE ")
	itsp.send(answer(invite, "180 Ringing", "queue"))
	pbx.expect("SIP/2.0 180")
	pbx.send(cancelOf(pbx, "sip:000@"+domain, "hangs-up"))
	itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "queue"))
	itsp.send(answer(invite, "487 Request Terminated", "queue"))
	pbx.expect("SIP/2.0 487")
	s.in.sweep(s.now.advance(12*time.Hour - time.Minute))
	itsp.nothing("ACK ")
	s.in.sweep(s.now.advance(2 * time.Minute))
	if got := get(itsp.expect("CANCEL "), "Call-ID"); got != "bounded" {
		t.Errorf("cancelled %s", got)
	}
}

// TestSilentHelpHasTimerC: nobody has heard it, so that another try is better.
func TestSilentHelpHasTimerC(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite("sip:000@"+domain, "silent"))
	itsp.expect("INVITE ")
	s.in.sweep(s.now.advance(186 * time.Second))
	pbx.expect("SIP/2.0 408")
}

// TestAnnouncedForEver: early media that says so every minute is free of charge for
// somebody, and is ended after a while.
func TestAnnouncedForEver(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "free"))
	invite := itsp.expect("INVITE ")
	for n := range 10 {
		itsp.send(announced(itsp, invite, strconv.Itoa(n+1)))
		pbx.expect("SIP/2.0 183")
		itsp.nothing()
		s.in.sweep(s.now.advance(time.Minute))
	}
	itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "x"))
	itsp.send(answer(invite, "487 Request Terminated", "queue"))
	pbx.expect("SIP/2.0 487")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Status != 487 || s.in.dialogs.size() != 0 {
		t.Errorf("record %+v, %d dialogs", record, s.in.dialogs.size())
	}
}
