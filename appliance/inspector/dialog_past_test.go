package inspector

import (
	"testing"
)

// TestDialogPastIsBounded: what is remembered of attempts does not grow, and what is
// newest stays.
func TestDialogPastIsBounded(t *testing.T) {
	var r recent[int]
	for n := range 1000 {
		r.put(uint64(n), n, 16)
		r.put(uint64(n), n, 16) // again is no second entry
	}
	if len(r.all) != 16 || len(r.order) != 16 {
		t.Errorf("%d entries, %d in order, want 16", len(r.all), len(r.order))
	}
	for n := 984; n < 1000; n++ {
		if got, ok := r.all[uint64(n)]; !ok || got != n {
			t.Errorf("%d is forgotten", n)
		}
	}
}

// TestDialogNumberKey: a number of the site is the same however its head is written.
func TestDialogNumberKey(t *testing.T) {
	for user, want := range map[string]string{
		"+61255501234": "55501234", "0255501234": "55501234", "61255501234;ext=1": "55501234", "(02) 5550-1234": "55501234",
		"55501234": "55501234", "201": "", "anonymous": "", "": "", "1234567": "",
	} {
		if got := numberKey(user); got != want {
			t.Errorf("%q: %q, want %q", user, got, want)
		}
	}
}

// TestDialogEarlyUpdate: before the answer each fork has a dialog of its own, in which
// PRACK and UPDATE find their fork (RFC 3262, RFC 3311), and neither opens the other.
func TestDialogEarlyUpdate(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	pbx.send(pbx.invite(mobile, "early"))
	invite := itsp.expect("INVITE ")
	var forks []testCall
	for _, tag := range []string{"one", "two"} {
		itsp.send(answer(invite, "183 Session Progress", tag, "Contact: <sip:"+tag+"@"+itsp.at.String()+">", "Require: 100rel", "RSeq: 7", "Content-Type: application/sdp"+offer))
		forks = append(forks, testCall{caller: pbx, callee: itsp, invite: invite, ok: pbx.expect("SIP/2.0 183")})
	}
	for n, c := range forks {
		tag := []string{"one", "two"}[n]
		pbx.send(c.fromCaller("UPDATE", "3 UPDATE", "u"+tag, "Contact: <sip:201@$me>", "Content-Type: application/sdp"+offer))
		update := itsp.expect("UPDATE sip:" + tag + "@")
		if get(update, "To") != "<"+mobile+">;tag="+tag || bodyOf(update) == "" || get(update, "Session-Expires") != "" {
			t.Errorf("got\n%s", update)
		}
		itsp.send(answer(update, "200 OK", "", "Contact: <sip:"+tag+"2@"+itsp.at.String()+">"))
		pbx.expect("SIP/2.0 200")
	}
	// The target of the one is not that of the other.
	crossed := replaced(t, forks[0].fromCaller("UPDATE", "4 UPDATE", "x", "Contact: <sip:201@$me>"), []string{"sip:one@", "sip:two2@"})
	pbx.send(crossed)
	pbx.expect("SIP/2.0 481")
	itsp.nothing()
}
