package inspector

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// forget drops every dialog and call, as a restart of the daemon does.
func (s *site) forget() {
	s.in.dialogs.mu.Lock()
	clear(s.in.dialogs.all)
	s.in.dialogs.mu.Unlock()
	s.in.calls.mu.Lock()
	clear(s.in.calls.all)
	s.in.calls.mu.Unlock()
}

// ended sends a BYE and answers it on the other side.
func ended(t *testing.T, from, to *agent, bye, want string) {
	t.Helper()
	from.send(bye)
	got := to.expect("BYE ")
	if startOf(got) != "BYE "+want+" SIP/2.0" || bodyOf(got) != "" || get(got, "Content-Type") != "" {
		t.Errorf("want a bare BYE to %s, got\n%s", want, got)
	}
	to.send(answer(got, "200 OK", ""))
	for get(from.expect("SIP/2.0 200"), "CSeq") != "5 BYE" {
	}
}

// orphanBye is a BYE of a call that the box has never known.
func orphanBye(uri, branch string, routes ...string) string {
	return "BYE " + uri + " SIP/2.0\nVia: $via;branch=z9hG4bK-" + branch + "\nRoute: " + strings.Join(routes, "\nRoute: ") +
		"\nMax-Forwards: 70\nFrom: <sip:a@b>;tag=a\nTo: <sip:c@d>;tag=b\nCall-ID: " + branch + "\nCSeq: 5 BYE"
}

func TestByeAfterRestart(t *testing.T) {
	for _, setups := range [][]setup{nil, {overTCP}} {
		s := newSite(t, setups...)
		pbx := s.pbx()
		var itsp *agent
		if len(setups) == 0 {
			itsp = s.itsp()
		} else {
			listener := s.listen(s.itspAt)
			pbx.send(pbx.invite("sip:+61491570157@sip.itsp.example", "opener"))
			itsp = s.accept("itsp", listener)
			itsp.expect("INVITE ")
		}
		contact := "sip:line@" + itsp.at.String()
		if itsp.tcp {
			contact += ";transport=tcp"
		}
		out, in := establish(pbx, itsp, mobile, "out"), establish(itsp, pbx, "sip:+61255501234@"+s.box.String(), "in")
		s.forget()
		ended(t, pbx, itsp, out.fromCaller("BYE", "5 BYE", "a", "Content-Type: application/sdp"+offer), contact)
		ended(t, itsp, pbx, out.fromCallee("BYE", "5 BYE", "b"), "sip:201@"+pbx.at.String())
		ended(t, itsp, pbx, in.fromCaller("BYE", "5 BYE", "c"), "sip:line@"+pbx.at.String())
		ended(t, pbx, itsp, in.fromCallee("BYE", "5 BYE", "d"), uriOf(get(in.invite, "Contact")))
		if got := s.tally(appliance.ReasonSalvaged); got != 4 {
			t.Errorf("counted %d, want 4", got)
		}
	}
}

// TestByeAfterRestartIsChallenged: the answer comes back as it is, and the BYE
// with credentials goes the same way.
func TestByeAfterRestartIsChallenged(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "challenged")
	s.forget()
	pbx.send(c.fromCaller("BYE", "4 BYE", "a"))
	itsp.send(answer(itsp.expect("BYE "), "407 Proxy Authentication Required", "", `Proxy-Authenticate: Digest realm="r", nonce="n"`))
	pbx.expect("SIP/2.0 407")
	pbx.send(c.fromCaller("BYE", "5 BYE", "b", `Proxy-Authorization: Digest username="u"`))
	got := itsp.expect("BYE ")
	if get(got, "Proxy-Authorization") == "" {
		t.Errorf("no credentials in\n%s", got)
	}
	itsp.send(answer(got, "481 Call/Transaction Does Not Exist", ""))
	pbx.expect("SIP/2.0 481")
}

// TestByeAfterRestartFollowsTheRoute: to the trunk's proxy where one is named,
// else to its gateway; with another trunk about, a stranger's host is nobody's.
func TestByeAfterRestartFollowsTheRoute(t *testing.T) {
	s := newSite(t, func(s *site, set *settings.Settings, _ *limits) {
		set.Trunks = append(set.Trunks, settings.Trunk{Name: "second", Domain: "second.example", Address: s.host(9), Transport: settings.UDP,
			Networks: []netip.Prefix{netip.PrefixFrom(s.host(16).Addr(), 28)}})
	})
	pbx, itsp, second, gateway := s.pbx(), s.itsp(), s.udp("second", s.host(9)), s.udp("gateway", s.host(17))
	bye := orphanBye
	box := "<sip:" + s.box.String() + ";lr>"
	ended(t, pbx, gateway, bye("sip:gw@"+s.host(17).String(), "gw", box, box), "sip:gw@"+s.host(17).String())
	ended(t, pbx, second, bye("sip:gw@second.example", "domain", box), "sip:gw@second.example")
	pbx.send(bye("sip:gw@192.0.2.1", "proxy", box, "<sip:"+s.itspAt.String()+";lr>", "<sip:192.0.2.7;lr>"))
	if got := every(itsp.expect("BYE sip:gw@192.0.2.1 "), "Route"); !slices.Equal(got, []string{"<sip:" + s.itspAt.String() + ";lr>", "<sip:192.0.2.7;lr>"}) {
		t.Errorf("Route %q", got)
	}
	for n, text := range []string{
		bye("sip:gw@192.0.2.1", "nobody", box),
		bye("sip:gw@second.example", "unrouted", "<sip:192.0.2.1;lr>"),
		bye("sip:gw@second.example", "foreign", "<sip:192.0.2.1;lr>", box),
		bye("sip:gw@second.example", "user", "<sip:x@"+s.box.String()+";lr>"),
		bye("sip:gw@second.example", "port", "<sip:"+s.box.Addr().String()+":5070;lr>"),
		bye("tel:+252615550148", "tel", box),
		strings.ReplaceAll(bye("sip:+252615550148@second.example", "method", box), "BYE", "INFO"),
		strings.ReplaceAll(bye("sip:+252615550148@second.example", "invite", box), "BYE", "INVITE"),
	} {
		pbx.send(text)
		if got := pbx.expect("SIP/2.0 "); !strings.HasPrefix(got, "SIP/2.0 481") {
			t.Errorf("case %d: got %q", n, startOf(got))
		}
	}
	// No trunk reaches another.
	itsp.send(bye("sip:gw@second.example", "across", box))
	pbx.expect("BYE sip:gw@second.example ")
	second.nothing()
	gateway.nothing()
}

// TestByeAfterRestartToThePhone: without a PBX, to an address of the LAN and
// nowhere else.
func TestByeAfterRestartToThePhone(t *testing.T) {
	s := newSite(t, withoutPBX)
	phone, itsp := s.udp("phone", s.host(4)), s.itsp()
	c := establish(phone, itsp, mobile, "phone")
	s.forget()
	ended(t, itsp, phone, c.fromCallee("BYE", "5 BYE", "a"), "sip:201@"+phone.at.String())
	for n, host := range []string{"203.0.113.9", s.box.String(), "phone.example", s.itspAt.String()} {
		itsp.send(strings.Replace(c.fromCallee("BYE", "5 BYE", "far"+strconv.Itoa(n)), uriOf(get(c.invite, "Contact")), "sip:201@"+host, 1))
		if got := itsp.expect("SIP/2.0 "); !strings.HasPrefix(got, "SIP/2.0 481") {
			t.Errorf("case %d: got %q", n, startOf(got))
		}
	}
	// A phone that registered over TCP is reached by its connection.
	tcp := s.dial("tcp", s.host(5).Addr())
	s.registerPhone(tcp, itsp, "1")
	ended(t, itsp, tcp, strings.Replace(c.fromCallee("BYE", "5 BYE", "tcp"), uriOf(get(c.invite, "Contact")), "sip:line1@"+tcp.at.String(), 1),
		"sip:line1@"+tcp.at.String())
}

// TestKnownDialogIsNotSalvaged: while the box knows a call, only its two sides end
// it.
func TestKnownDialogIsNotSalvaged(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	c := establish(pbx, itsp, mobile, "known")
	other := s.udp("other", s.host(4))
	other.send(c.fromCaller("BYE", "5 BYE", "other"))
	other.expect("SIP/2.0 481")
	itsp.nothing()
	c.hangUp(s)
}
