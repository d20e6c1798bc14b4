package inspector

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestDialogLongest: a call ends after its longest duration, with a BYE to both
// sides that is one number ahead of what each of them has seen.
func TestDialogLongest(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "forever")
	pbx.send(c.fromCaller("INFO", "7 INFO", "info"))
	itsp.send(answer(itsp.expect("INFO "), "200 OK", ""))
	pbx.expect("SIP/2.0 200")
	s.in.sweep(s.now.advance(4*time.Hour - time.Minute))
	if len(s.in.Live()) != 1 {
		t.Fatal("the call was ended too early")
	}
	s.in.sweep(s.now.advance(2 * time.Minute))
	toCallee, toCaller := itsp.expect("BYE "), pbx.expect("BYE ")
	wantBytes(t, s, toCallee, crlf(
		"BYE sip:line@$itsp SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport", "Max-Forwards: 70",
		`From: "Desk" <sip:201@$pbx>;tag=caller`, "To: <"+mobile+">;tag=callee", "Call-ID: forever", "CSeq: 8 BYE", "Content-Length: 0"))
	wantBytes(t, s, toCaller, crlf(
		"BYE sip:201@$pbx SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport", "Max-Forwards: 70",
		"From: <"+mobile+">;tag=callee", `To: "Desk" <sip:201@$pbx>;tag=caller`, "Call-ID: forever", "CSeq: 1 BYE", "Content-Length: 0"))
	// A BYE that crosses is still answered.
	pbx.send(c.fromCaller("BYE", "8 BYE", "cross"))
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Ended != appliance.EndedLongest || len(s.in.Live()) != 0 {
		t.Errorf("record %+v", record)
	}
	s.in.sweep(s.now.advance(time.Minute))
	if s.in.dialogs.size() != 0 {
		t.Error("the dialog was not reaped")
	}
}

// TestDialogCostly: what only an exception lets go abroad ends after an hour, and
// a call for help after twelve.
func TestDialogCostly(t *testing.T) {
	s := newSite(t, func(_ *site, set *settings.Settings, _ *limits) {
		set.Destinations.Allow = []settings.Exception{{Prefix: "+252", Reason: "family"}}
	})
	for _, one := range []struct {
		uri  string
		want time.Duration
	}{{mobile, 4 * time.Hour}, {"sip:000@" + domain, 12 * time.Hour}, {"sip:0011252615550148@" + domain, time.Hour}} {
		said := s.in.current().Call(callTo(one.uri))
		if said.Verdict != appliance.Allow {
			t.Fatalf("%s: %+v", one.uri, said)
		}
		if got := s.in.longest(said, said.Reason == appliance.ReasonEmergency); got != one.want {
			t.Errorf("%s: %s, want %s", one.uri, got, one.want)
		}
	}
}

// TestDialogSessionTimer is RFC 4028 section 8: what goes on, and what comes back.
func TestDialogSessionTimer(t *testing.T) {
	for _, row := range []struct {
		name, asks             string // what the INVITE says, in place of Supported
		expires, least         string // as the callee gets it
		answers                string // headers of the 200
		back, require, refuses string // as the caller gets it
		interval               time.Duration
	}{
		{"nobody", "Supported: replaces", "1800", "", "", "", "", "", 0},
		{"the callee alone", "Supported: replaces", "1800", "", "Session-Expires: 1800;refresher=uas\nRequire: timer", "1800;refresher=uas", "timer", "", 1800 * time.Second},
		{"the caller alone", "Supported: timer", "1800", "", "", "1800;refresher=uac", "timer", "", 1800 * time.Second},
		{"both", "Supported: timer\nSession-Expires: 600;refresher=uac", "600;refresher=uac", "", "Session-Expires: 600;refresher=uac\nRequire: timer", "600;refresher=uac", "timer", "", 600 * time.Second},
		{"for ever", "Supported: timer\nx: 4294967295", "1800", "", "Session-Expires: 1800;refresher=uac", "1800;refresher=uac", "", "", 1800 * time.Second},
		{"a long least", "Supported: timer\nMin-SE: 3600", "3600", "3600", "", "3600;refresher=uac", "timer", "", 3600 * time.Second},
		{"too short", "Supported: timer\nSession-Expires: 60", "", "", "", "", "", "SIP/2.0 422 Session Interval Too Small", 0},
		{"too short without timer", "Supported: replaces\nSession-Expires: 60", "90", "90", "", "", "", "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			pbx, itsp := s.pbx(), s.itsp()
			pbx.send(strings.Replace(pbx.invite(mobile, "timer"), "Supported: 100rel, timer, replaces", row.asks, 1))
			if row.refuses != "" {
				got := pbx.expect("SIP/2.0 4")
				if startOf(got) != row.refuses || get(got, "Min-SE") != "90" {
					t.Errorf("got\n%s", got)
				}
				itsp.nothing()
				return
			}
			pbx.expect("SIP/2.0 100")
			invite := itsp.expect("INVITE ")
			if get(invite, "Session-Expires") != row.expires || get(invite, "Min-SE") != row.least {
				t.Errorf("got\n%s", invite)
			}
			itsp.send(answer(invite, "200 OK", "callee", strings.Split("Contact: <"+itsp.contact()+">\n"+row.answers, "\n")...))
			ok := pbx.expect("SIP/2.0 200")
			if get(ok, "Session-Expires") != row.back || get(ok, "Require") != row.require {
				t.Errorf("got\n%s", ok)
			}
			d, _ := s.in.dialogs.find("timer", "caller", "callee")
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.session.interval != row.interval {
				t.Errorf("session %+v", d.session)
			}
		})
	}
}

// TestDialogIntervalRefusedByCallee: the 422 of the far side goes back with its
// Min-SE, and a second try with it passes (RFC 4028 section 7.3).
func TestDialogIntervalRefusedByCallee(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "brisk"))
	itsp.send(answer(itsp.expect("INVITE "), "422 Session Interval Too Small", "x", "Min-SE: 7200"))
	itsp.expect("ACK ")
	pbx.expect("SIP/2.0 100")
	got := pbx.expect("SIP/2.0 422")
	if get(got, "Min-SE") != "7200" {
		t.Errorf("got\n%s", got)
	}
	second := strings.NewReplacer("CSeq: 1 ", "CSeq: 2 ", "-inv-brisk", "-inv-brisk2", "Allow:", "Session-Expires: 7200\nMin-SE: 7200\nAllow:").Replace(pbx.invite(mobile, "brisk"))
	pbx.send(second)
	if got := get(itsp.expect("INVITE "), "Session-Expires"); got != "7200" {
		t.Errorf("Session-Expires %q", got)
	}
	record := s.call("the second try is recorded", func(c appliance.Call) bool { return c.CallID == "brisk" && c.Tries == 2 })
	if record.Overlap || record.Attempt != "" {
		t.Errorf("record %+v", record)
	}
}

// TestDialogGhost: a call that nobody refreshes is asked about, and ended where one
// side no longer knows it, or is silent twice.
func TestDialogGhost(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "ghost")
	d, _ := s.in.dialogs.find("ghost", "caller", "callee")
	s.in.sweep(s.now.advance(1799 * time.Second))
	itsp.nothing()
	// Both are there: whatever else they say, they say it.
	s.in.sweep(s.now.advance(2 * time.Second))
	asked, back := itsp.expect("OPTIONS "), pbx.expect("OPTIONS ")
	wantBytes(t, s, asked, crlf(
		"OPTIONS sip:line@$itsp SIP/2.0", "Via: SIP/2.0/UDP $box;branch=$branch;rport", "Max-Forwards: 70",
		`From: "Desk" <sip:201@$pbx>;tag=caller`, "To: <"+mobile+">;tag=callee", "Call-ID: ghost", "CSeq: 1 OPTIONS", "Content-Length: 0"))
	itsp.send(answer(asked, "500 Server Internal Error", ""))
	pbx.send(answer(back, "200 OK", ""))
	s.until("the round is over", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return !d.session.asking })
	if len(s.in.Live()) != 1 {
		t.Fatal("a call with both sides there was ended")
	}
	// A refresh puts the question off.
	s.in.sweep(s.now.advance(1700 * time.Second))
	pbx.send(c.fromCaller("UPDATE", "2 UPDATE", "refresh", "Contact: <sip:201@$me>", "Supported: timer", "Session-Expires: 1800"))
	itsp.send(answer(itsp.expect("UPDATE "), "200 OK", "", "Contact: <"+itsp.contact()+">", "Session-Expires: 1800;refresher=uac"))
	pbx.expect("SIP/2.0 200")
	s.in.sweep(s.now.advance(200 * time.Second))
	itsp.nothing()
	// The trunk has forgotten it.
	s.in.sweep(s.now.advance(1700 * time.Second))
	itsp.send(answer(itsp.expect("OPTIONS "), "481 Call/Transaction Does Not Exist", ""))
	pbx.send(answer(pbx.expect("OPTIONS "), "200 OK", ""))
	if got := get(itsp.expect("BYE "), "CSeq"); got != "3 BYE" {
		t.Errorf("CSeq %q", got)
	}
	pbx.expect("BYE ")
	record := s.call("the call has ended", func(c appliance.Call) bool { return !c.End.IsZero() })
	if record.Ended != appliance.EndedLost {
		t.Errorf("record %+v", record)
	}
}

// TestDialogSilentSide: one missing answer is no proof, two are.
func TestDialogSilentSide(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	establish(pbx, itsp, mobile, "silent")
	d, _ := s.in.dialogs.find("silent", "caller", "callee")
	for n, step := range []time.Duration{1801 * time.Second, 61 * time.Second} {
		s.in.sweep(s.now.advance(step))
		// Never to be confused with its own repeats: a round has one branch.
		pbx.send(answer(pbx.expect("OPTIONS "), "200 OK", ""))
		s.until("the round is over", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return !d.session.asking })
		s.until("what the round says is done", func() bool { return len(s.in.Live()) == 1-n })
	}
	itsp.expect("BYE ")
	pbx.expect("BYE ")
}
