package inspector

import (
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// end stops the box and waits until it has begun to drain.
func (s *site) end() {
	s.t.Helper()
	s.stop()
	s.until("the box drains", func() bool { return s.in.closing.Load() })
}

// TestDrain: what is in flight ends, nothing new begins, and calls for help pass.
func TestDrain(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.drain = patience })
	pbx, itsp := s.pbx(), s.itsp()
	up := establish(pbx, itsp, mobile, "up")
	pbx.send(up.fromCaller("BYE", "2 BYE", "bye"))
	bye := itsp.expect("BYE ")
	pbx.send(pbx.invite(mobile, "ringing"))
	c := testCall{caller: pbx, callee: itsp, invite: itsp.expect("INVITE ")}
	itsp.send(answer(c.invite, "180 Ringing", "callee", "Contact: <"+itsp.contact()+">"))
	pbx.expect("SIP/2.0 180")
	pbx.send(pbx.invite(mobile, "given-up"))
	givenUp := itsp.expect("INVITE ")
	itsp.send(answer(givenUp, "180 Ringing", "callee"))
	pbx.expect("SIP/2.0 180")
	s.end()

	late := map[string]string{
		"INVITE": pbx.invite(mobile, "late"), "REGISTER": registerAs("1"), "MESSAGE": strings.ReplaceAll(pbx.invite(mobile, "text"), "INVITE", "MESSAGE"),
		"UPDATE": up.fromCaller("UPDATE", "3 UPDATE", "update", "Contact: <sip:201@$me>"),
	}
	for method, text := range late {
		pbx.send(text)
		if got := pbx.expect("SIP/2.0 503"); get(got, "Retry-After") != "5" || !strings.HasSuffix(get(got, "CSeq"), method) {
			t.Errorf("%s: got\n%s", method, got)
		}
	}
	itsp.send(itsp.invite("sip:+61255501234@"+s.box.String(), "inward"))
	s.until("the trunk's call is counted", func() bool { return s.tally(appliance.ReasonShutdown) == uint64(len(late)+1) })

	pbx.send(pbx.invite("sip:000@sip.itsp.example", "help"))
	help := itsp.expect("INVITE sip:000@")
	pbx.send(cancelOf(pbx, mobile, "given-up"))
	itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "callee"))
	itsp.send(answer(givenUp, "487 Request Terminated", "callee"))
	pbx.expect("SIP/2.0 487")
	itsp.send(answer(help, "486 Busy Here", "psap"))
	pbx.expect("SIP/2.0 486")
	itsp.send(answer(bye, "200 OK", ""))
	for get(pbx.expect("SIP/2.0 200"), "CSeq") != "2 BYE" {
	}
	itsp.send(answer(c.invite, "200 OK", "callee", "Contact: <"+itsp.contact()+">"))
	for c.ok = pbx.expect("SIP/2.0 200"); get(c.ok, "CSeq") != "1 INVITE"; c.ok = pbx.expect("SIP/2.0 200") {
	}
	if s.stopped() {
		t.Error("the box closed before the answer was acknowledged")
	}
	pbx.send(c.fromCaller("ACK", "1 ACK", "ack"))
	itsp.expect("ACK sip:line@")
	s.until("the box has closed", s.stopped)
	if got := s.tally(appliance.ReasonInbound); got != 0 {
		t.Errorf("%d calls of the trunk went on", got)
	}
}

// TestDrainWithdrawsWhatStillRings: an answer would find nobody.
func TestDrainWithdrawsWhatStillRings(t *testing.T) {
	s := newSite(t, func(_ *site, _ *settings.Settings, bounds *limits) { bounds.withdraw = patience })
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "rings"))
	invite := itsp.expect("INVITE ")
	itsp.send(answer(invite, "180 Ringing", "callee"))
	pbx.expect("SIP/2.0 180")
	s.end()
	itsp.send(answer(itsp.expect("CANCEL "), "200 OK", "callee"))
	pbx.expect("SIP/2.0 503")
	itsp.send(answer(invite, "487 Request Terminated", "callee"))
	itsp.expect("ACK ")
	s.until("the box has closed", s.stopped)
	if len(s.in.Live()) != 0 {
		t.Error("a call is left over")
	}
}

// TestDrainIsBounded: whoever never answers does not keep the box.
func TestDrainIsBounded(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "silent"))
	itsp.expect("INVITE ")
	s.stop()
	s.until("the box has closed", s.stopped)
}
