package inspector

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/settings"
)

// teleworkers lets accounts register from hosts 128 to 255 of the test's network,
// which is the WAN to the box.
func teleworkers(s *site, set *settings.Settings, _ *limits) {
	away := netip.PrefixFrom(s.host(128).Addr(), 25)
	set.Accounts = []document.Account{{User: "101", Label: "Anna, at home", Remote: []netip.Prefix{away}}, {User: "102", LAN: true, Remote: []netip.Prefix{away}},
		{User: "desk", Remote: []netip.Prefix{netip.PrefixFrom(s.host(5).Addr(), 32)}}}
}

const awayText = `
REGISTER sip:%D SIP/2.0
Via: $via;branch=z9hG4bK-%B
Max-Forwards: 70
From: <sip:%U@%D>;tag=%U
To: <sip:%U@%D>
Call-ID: %I
CSeq: %N REGISTER
Contact: <sip:%U@$me>;expires=600
User-Agent: Phone 1.0
`

var branchCount struct {
	sync.Mutex
	n int
}

// registerText writes a REGISTER of a user of a domain; nonce is that of its
// credentials, empty for none.
func (a *agent) registerText(user, domain, nonce, password string) string {
	branchCount.Lock()
	branchCount.n++
	n := branchCount.n
	branchCount.Unlock()
	text := strings.NewReplacer("%U", user, "%D", domain, "%B", fmt.Sprintf("reg%d", n), "%I", "reg-"+user+a.name, "%N", fmt.Sprint(n)).Replace(awayText)
	if nonce != "" {
		text += fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=\"sip:%s\", response=%q\n", user, domain, nonce, domain, password+nonce)
	}
	return text
}

// registrarAgent answers every REGISTER as a registrar with one password does,
// until the test ends.
func registrarAgent(s *site, a *agent, password string) {
	s.t.Helper()
	nonces := 0
	go func() {
		for text := range a.inbox {
			if !strings.HasPrefix(text, "REGISTER ") {
				continue
			}
			nonces++
			authorization := get(text, "Authorization")
			if strings.Contains(authorization, `response="`+password) && !strings.Contains(authorization, `nonce="old`) {
				uri, _, _ := strings.Cut(strings.TrimPrefix(get(text, "Contact"), "<"), ">")
				_, _ = a.packet.WriteToUDPAddrPort([]byte(a.wire(answer(text, "200 OK", "r", "Contact: <"+uri+">;expires=600"))), a.box)
				continue
			}
			challenge := fmt.Sprintf(`WWW-Authenticate: Digest realm="x", nonce="n%d", qop="auth"`, nonces)
			_, _ = a.packet.WriteToUDPAddrPort([]byte(a.wire(answer(text, "401 Unauthorized", "r", challenge))), a.box)
		}
	}()
}

// enrol registers a phone for real: asked, and answered. It returns the last
// response.
func (a *agent) enrol(user, domain, password string) string {
	a.t.Helper()
	a.send(a.registerText(user, domain, "", ""))
	first := a.expect("SIP/2.0 ")
	if !strings.HasPrefix(first, "SIP/2.0 401") {
		return first
	}
	a.send(a.registerText(user, domain, nonceOf(first), password))
	return a.expect("SIP/2.0 ")
}

func nonceOf(challenge string) string {
	_, rest, _ := strings.Cut(get(challenge, "WWW-Authenticate"), `nonce="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	return nonce
}

func (s *site) account(name string) appliance.Account {
	for _, one := range s.in.watch.Accounts() {
		if one.Name == name {
			return one
		}
	}
	return appliance.Account{}
}

func (s *site) heard(kind appliance.EventKind, says string) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.events, func(e appliance.Event) bool { return e.Kind == kind && strings.Contains(e.Message, says) })
	}
}

// enrol registers a telephone on the WAN with the PBX, which asks it who it is. It
// returns the alias that the PBX calls it by.
func (s *site) enrol(pbx, phone *agent, user string) string {
	s.t.Helper()
	phone.send(phone.registerText(user, "office.example", "", ""))
	pbx.send(answer(pbx.expect("REGISTER "), "401 Unauthorized", "t", `WWW-Authenticate: Digest realm="office", nonce="n`+user+`"`))
	phone.expect("SIP/2.0 401")
	phone.send(phone.registerText(user, "office.example", "n"+user, "right"))
	again := pbx.expect("REGISTER ")
	pbx.send(answer(again, "200 OK", "t", "Contact: <"+aliasIn(again)+">;expires=3600"))
	phone.expect("SIP/2.0 200")
	return aliasIn(again)
}

// TestTeleworker registers a phone on the WAN with the PBX, has it call and be
// called, and keeps everybody else out.
func TestTeleworker(t *testing.T) {
	s := newSite(t, teleworkers)
	pbx, anna := s.pbx(), s.udp("anna", s.host(130))
	// Before she is registered nothing but a REGISTER is heard.
	anna.send(anna.invite("sip:102@office.example", "early"))
	anna.send(anna.registerText("101", "office.example", "", ""))
	ask := pbx.expect("REGISTER ")
	if got := startOf(ask); got != "REGISTER sip:office.example SIP/2.0" {
		t.Errorf("request line %q", got)
	}
	pbx.send(answer(ask, "401 Unauthorized", "t", `WWW-Authenticate: Digest realm="office", nonce="n1"`))
	anna.expect("SIP/2.0 401")
	anna.send(anna.registerText("101", "office.example", "n1", "right"))
	again := pbx.expect("REGISTER ")
	pbx.send(answer(again, "200 OK", "t", "Contact: <"+aliasIn(again)+">;expires=120"))
	if got := get(anna.expect("SIP/2.0 200"), "Contact"); got != "<sip:101@"+anna.at.String()+">;expires=120" {
		t.Errorf("Contact %q", got)
	}
	if got := s.tally(appliance.ReasonUnregistered); got != 1 {
		t.Errorf("%d strays, want the INVITE before the registration", got)
	}
	learned := s.account("101@pbx")
	if learned.Label != "Anna, at home" || learned.Proven.IsZero() || learned.Kind != appliance.AccountExtension || len(learned.Registrations) != 1 ||
		learned.Sources[0].Address != anna.at || learned.Sources[0].Agent != "Phone 1.0" || learned.Username != "101" {
		t.Errorf("learned %+v", learned)
	}
	// She calls a number: to the PBX it goes, never to the trunk.
	anna.send(strings.ReplaceAll(anna.invite("sip:0491570156@office.example", "out"), "<sip:201@$me>", "<sip:101@office.example>"))
	invite := pbx.expect("INVITE ")
	if got := startOf(invite); got != "INVITE sip:0491570156@"+s.pbxAt.String()+" SIP/2.0" {
		t.Errorf("request line %q", got)
	}
	record := s.call("her call is recorded", func(c appliance.Call) bool { return c.CallID == "out" })
	if record.Account != "101@pbx" || record.Attribution != appliance.AttributionRegistration {
		t.Errorf("attributed to %q by %q", record.Account, record.Attribution)
	}
	pbx.send(answer(invite, "486 Busy Here", "b"))
	anna.expect("SIP/2.0 486")
	// The PBX calls her.
	c := establish(pbx, anna, aliasIn(again), "in")
	if got := startOf(c.invite); got != "INVITE sip:101@"+anna.at.String()+" SIP/2.0" {
		t.Errorf("request line %q", got)
	}
	c.hangUp(s)
}

// TestTeleworkerBehindNAT gives an address that is somebody else's on our LAN.
func TestTeleworkerBehindNAT(t *testing.T) {
	s := newSite(t, teleworkers, func(_ *site, set *settings.Settings, _ *limits) {
		set.Network.LAN = append(set.Network.LAN, netip.MustParsePrefix("10.0.0.0/8"))
	})
	pbx, anna := s.pbx(), s.udp("anna", s.host(130))
	behind := func(text string) string {
		return strings.Replace(text, "Contact: <sip:101@$me>", "Contact: <sip:101@10.9.9.9:5070>", 1)
	}
	anna.send(behind(anna.registerText("101", "office.example", "", "")))
	pbx.send(answer(pbx.expect("REGISTER "), "401 Unauthorized", "t", `WWW-Authenticate: Digest realm="office", nonce="n1"`))
	anna.expect("SIP/2.0 401")
	anna.send(behind(anna.registerText("101", "office.example", "n1", "right")))
	again := pbx.expect("REGISTER ")
	pbx.send(answer(again, "200 OK", "t", "Contact: <"+aliasIn(again)+">;expires=120"))
	anna.expect("SIP/2.0 200")
	pbx.send(pbx.invite(aliasIn(again), "in"))
	if got := startOf(anna.expect("INVITE ")); got != "INVITE sip:101@10.9.9.9:5070 SIP/2.0" {
		t.Errorf("request line %q", got)
	}
}

// TestRegistrationSources asks who may register from where.
func TestRegistrationSources(t *testing.T) {
	s := newSite(t, teleworkers, withoutPBX)
	itsp := s.itsp()
	registrarAgent(s, itsp, "right")
	for n, row := range []struct {
		from byte
		user string
		want string
	}{
		{4, "103", "200"},   // no document names it: from the LAN
		{130, "103", "403"}, // and not from elsewhere
		{130, "101", "200"},
		{4, "101", "403"}, // it is a teleworker's and nobody else's
		{4, "102", "200"},
		{131, "102", "200"},
		{5, "desk", "200"}, // one telephone on the LAN
		{6, "desk", "403"},
	} {
		phone := s.udp(fmt.Sprintf("phone%d", n), netip.AddrPortFrom(s.host(row.from).Addr(), uint16(6000+n)))
		if got := startOf(phone.enrol(row.user, domain, "right")); !strings.HasPrefix(got, "SIP/2.0 "+row.want) {
			t.Errorf("%s from .%d: %s, want %s", row.user, row.from, got, row.want)
		}
	}
	if got := s.tally(appliance.ReasonRegistrationSource); got != 3 {
		t.Errorf("counted %d refusals, want 3", got)
	}
	s.until("the refusals are told", s.heard(appliance.EventRefusal, "may not register from there (103@"+domain+")"))
	// A stranger between the networks hears nothing.
	stranger := s.udp("stranger", s.host(77))
	stranger.send(stranger.registerText("101", domain, "", ""))
	s.until("the stranger is counted", func() bool { return s.tally(appliance.ReasonUnknownSource) == 1 })
	// Nor does a registrar that asks nobody make a source on the WAN known.
	open := newSite(t, teleworkers, withoutPBX)
	trunk, phone := open.itsp(), open.udp("phone", open.host(130))
	phone.send(phone.registerText("101", domain, "", ""))
	request := trunk.expect("REGISTER ")
	trunk.send(answer(request, "200 OK", "t", "Contact: <"+aliasIn(request)+">;expires=60"))
	phone.expect("SIP/2.0 200")
	if got := open.in.bindings.size(); got != 0 || len(open.account("101@"+domain).Sources) > 0 {
		t.Errorf("%d bindings of somebody whom nobody asked", got)
	}
}

// TestThirdPartyAndForeignContacts is row G19 for sources on the WAN.
func TestThirdPartyAndForeignContacts(t *testing.T) {
	s := newSite(t, teleworkers)
	pbx, phone := s.pbx(), s.udp("phone", s.host(130))
	for n, change := range [][2]string{
		{"From: <sip:101@", "From: <sip:102@"},
		{"Contact: <sip:101@$me>", "Contact: <sip:101@203.0.113.9>"},
		{"Contact: <sip:101@$me>", "Contact: <sip:101@attacker.example>"},
		{"Contact: <sip:101@$me>", "Contact: <sip:101@" + s.host(131).Addr().String() + ">"},
		{"To: <sip:101@office.example>", "To: <sip:101@other.example>"},
		{"Contact: <sip:101@$me>;expires=600\n", strings.Repeat("Contact: <sip:101@$me>\n", 11)},
	} {
		phone.send(strings.Replace(phone.registerText("101", "office.example", "", ""), change[0], change[1], 1))
		if got := phone.expect("SIP/2.0 "); !strings.HasPrefix(got, "SIP/2.0 403") {
			t.Errorf("row %d: %s", n, startOf(got))
		}
	}
	pbx.nothing()
}

// TestAttribution tells who calls, by the best evidence there is.
func TestAttribution(t *testing.T) {
	s := newSite(t)
	pbx, itsp := s.pbx(), s.itsp()
	who := func(id string) (string, appliance.Attribution) {
		c := s.call("the call "+id+" is recorded", func(c appliance.Call) bool { return c.CallID == id })
		return c.Account, c.Attribution
	}
	place := func(id string, extra string, statuses ...string) {
		pbx.send(strings.Replace(pbx.invite(mobile, id), "Allow: ", extra+"Allow: ", 1))
		request := itsp.expect("INVITE ")
		for _, status := range statuses {
			itsp.send(answer(request, status, "far"+id, "Contact: <"+itsp.contact()+">", `Proxy-Authenticate: Digest realm="itsp", nonce="call-`+id+`"`))
			pbx.expect("SIP/2.0 " + status[:3])
		}
	}
	place("plain", "", "486 Busy Here")
	if account, by := who("plain"); account != "" || by != appliance.AttributionSource {
		t.Errorf("without anything: %q by %q", account, by)
	}
	s.registerPhone(pbx, itsp, "1")
	place("registered", "", "486 Busy Here")
	if account, by := who("registered"); account != "line1@"+domain || by != appliance.AttributionRegistration {
		t.Errorf("registered: %q by %q", account, by)
	}
	// A far end that did not ask has not looked at the credentials.
	boss := "Proxy-Authorization: Digest username=\"boss\", realm=\"itsp\", nonce=\"made-up\", uri=\"sip:x\", response=\"00\"\n"
	place("claimed", boss, "486 Busy Here")
	place("taken", boss, "180 Ringing", "486 Busy Here")
	for _, id := range []string{"claimed", "taken"} {
		if account, by := who(id); account != "line1@"+domain || by != appliance.AttributionRegistration {
			t.Errorf("%s: %q by %q", id, account, by)
		}
	}
	// Nor does the nonce of a registration speak for a call.
	place("borrowed", strings.Replace(boss, "made-up", "n1", 1), "180 Ringing", "486 Busy Here")
	if account, _ := who("borrowed"); account == "boss@"+domain {
		t.Error("credentials of another method were believed")
	}
	place("asked", "", "407 Proxy Authentication Required")
	place("answered", strings.Replace(boss, "made-up", "call-asked", 1), "180 Ringing", "486 Busy Here")
	s.until("the account is learned", func() bool { return s.account("boss@"+domain).Username == "boss" })
	c := s.call("the call ended", func(c appliance.Call) bool { return c.CallID == "answered" && !c.End.IsZero() })
	if c.Account != "boss@"+domain || c.Attribution != appliance.AttributionDigest {
		t.Errorf("accepted: %q by %q", c.Account, c.Attribution)
	}
	if got := s.account("boss@" + domain); got.Kind != appliance.AccountTrunk || got.Registrar != "itsp" {
		t.Errorf("learned %+v", got)
	}
}

// TestNonceOfBeforeTheRestart has a telephone on the WAN go on with a nonce that the
// box has never seen and that its registrar would take. It is asked anew, and told
// that its password is not what was wrong: else it would believe itself registered,
// with nobody knowing whether it hears a call.
func TestNonceOfBeforeTheRestart(t *testing.T) {
	s := newSite(t, teleworkers)
	pbx, anna := s.pbx(), s.udp("anna", s.host(130))
	anna.send(anna.registerText("101", "office.example", "n0", "right"))
	ask := pbx.expect("REGISTER ")
	if got := get(ask, "Authorization"); got != "" {
		t.Errorf("the PBX was sent %q", got)
	}
	pbx.send(answer(ask, "401 Unauthorized", "t", `WWW-Authenticate: Digest realm="office", nonce="n1"`))
	if got := get(anna.expect("SIP/2.0 401"), "WWW-Authenticate"); got != `Digest realm="office", nonce="n1", stale=true` {
		t.Errorf("challenge %q", got)
	}
	anna.send(anna.registerText("101", "office.example", "n1", "right"))
	again := pbx.expect("REGISTER ")
	if get(again, "Authorization") == "" {
		t.Error("the answer to the challenge did not come to the PBX")
	}
	pbx.send(answer(again, "200 OK", "t", "Contact: <"+aliasIn(again)+">;expires=120"))
	anna.expect("SIP/2.0 200")
	// From then on it may use that nonce for as long as the PBX lets it.
	anna.send(anna.registerText("101", "office.example", "n1", "right"))
	if get(pbx.expect("REGISTER "), "Authorization") == "" {
		t.Error("the credentials of a telephone that has shown who it is did not go on")
	}
	if got := s.in.bindings.size(); got != 1 {
		t.Errorf("%d bindings", got)
	}
	if got := s.tally(appliance.ReasonRegistrationSource); got != 0 {
		t.Errorf("%d refused", got)
	}
}

// TestContactsOfOthersNAT registers a telephone on the WAN under the addresses that
// NATs give out, and not under somebody else's.
func TestContactsOfOthersNAT(t *testing.T) {
	s := newSite(t, teleworkers)
	pbx, anna := s.pbx(), s.udp("anna", s.host(130))
	for _, row := range []struct {
		contact string
		passes  bool
	}{
		{"192.168.1.5", true}, {"100.64.0.9", true}, {"100.127.255.254", true}, {"192.0.0.4", true}, // 464XLAT
		{"100.128.0.1", false}, {"192.0.0.8", false}, {"203.0.113.77", false},
	} {
		anna.send(strings.Replace(anna.registerText("101", "office.example", "", ""), "101@$me", "101@"+row.contact, 1))
		if row.passes {
			pbx.send(answer(pbx.expect("REGISTER "), "401 Unauthorized", "t", `WWW-Authenticate: Digest realm="office", nonce="n1"`))
		}
		if got := anna.expect("SIP/2.0 "); strings.HasPrefix(got, "SIP/2.0 401") != row.passes {
			t.Errorf("%s: %s", row.contact, startOf(got))
		}
	}
}

// TestAccountUsedFromElsewhere raises the alarm of row G19.
func TestAccountUsedFromElsewhere(t *testing.T) {
	s := newSite(t, withoutPBX)
	registrarAgent(s, s.itsp(), "right")
	s.udp("desk", s.host(4)).enrol("201", domain, "right")
	other := s.udp("other", s.host(5))
	other.enrol("201", domain, "right")
	s.until("the new address is told", s.heard(appliance.EventGuard, "used from "+other.at.Addr().String()+` with "Phone 1.0", which is new`))
	other.send(strings.Replace(other.registerText("201", domain, "", ""), "Phone 1.0", "Softphone 9", 1))
	again := other.expect("SIP/2.0 401")
	other.send(strings.Replace(other.registerText("201", domain, nonceOf(again), "right"), "Phone 1.0", "Softphone 9", 1))
	other.expect("SIP/2.0 200")
	s.until("the new agent is told", s.heard(appliance.EventGuard, `with "Softphone 9", before with "Phone 1.0"`))
	if got := s.account("201@" + domain); len(got.Sources) != 2 || got.Sources[0].Agent != "Softphone 9" {
		t.Errorf("sources %+v", got.Sources)
	}
}
