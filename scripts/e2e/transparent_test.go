package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/scripts/peers"
)

// edit lays the lab's documents on the state partition, changed.
func edit(t *testing.T, lab *peers.Lab, name string, changes ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(lab.Root, "scripts/lab.d", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for n := 0; n < len(changes); n += 2 {
		if !strings.Contains(text, changes[n]) {
			t.Fatalf("%s.json holds no %q", name, changes[n])
		}
		text = strings.Replace(text, changes[n], changes[n+1], 1)
	}
	if err := os.WriteFile(filepath.Join(lab.State(), name+".json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	withTransparent = `"refusal": 403, "transparent": ["lan0"]`
	labRefusal      = `"refusal": 403`
	labPBX          = `"pbx": {"address": "10.77.0.10:5060", "transport": "udp"},`
	labTrunk4       = `{
      "name": "carrier",
      "domain": "198.51.100.10",
      "address": "198.51.100.10:5060",
      "transport": "udp",
      "networks": ["198.51.100.0/24"],
      "formats": []
    },`
)

// town is a lab with two telephones, a provider and somebody else's SIP server.
type town struct {
	*peers.Lab
	t        *testing.T
	provider *ua
	third    *ua
	phones   []*ua
	box      netip.AddrPort // where telephones send to; the provider's address in transparent mode
	domain   string
}

func newTown(t *testing.T, transparent, tcp, ip6 bool) *town {
	return newTownOver(t, transparent, map[bool]string{false: "udp", true: "tcp"}[tcp], ip6)
}

// newTownOver is newTown over udp, tcp, or tls from the telephones and tcp to the
// provider.
func newTownOver(t *testing.T, transparent bool, transport string, ip6 bool) *town {
	lab := raise(t, false)
	changes, port, tcp := []string{labPBX, ""}, "5060", transport != "udp"
	var secure *tls.Config
	if transparent {
		changes = append(changes, labRefusal, withTransparent)
	}
	if transport == "tls" {
		ca := newAuthority(t)
		cert, key := ca.issue("box", "box.lan", peers.BoxLAN, peers.BoxLAN6)
		changes = append(changes, labRefusal, labRefusal+fmt.Sprintf(`, "tls": {"listen": [], "certificate": %q, "key": %q, "clients": ""}`, cert, key))
		secure, port = ca.trusted("box.lan"), "5061"
	}
	if ip6 {
		changes = append(changes, labTrunk4, "") // what names no host goes by the first trunk
	}
	if tcp {
		changes = append(changes, `"transport": "udp"`, `"transport": "tcp"`)
	}
	edit(t, lab, "settings", changes...)
	provider, third, box := peers.Provider, peers.Attacker, peers.BoxLAN
	phones := []string{"10.77.0.21", "10.77.0.22"}
	if ip6 {
		provider, third, box = peers.Provider6, peers.Attacker6, peers.BoxLAN6
		phones = []string{"2001:db8:77::21", "2001:db8:77::22"}
	}
	sip := func(addr string) string { return net.JoinHostPort(addr, "5060") }
	for _, one := range phones {
		script(t, lab, "exec", "pbx", "ip", "addr", "add", one+map[bool]string{false: "/24", true: "/64"}[ip6], "dev", "eth0", "nodad")
	}
	script(t, lab, "daemon", "start")
	t.Cleanup(func() { // it would wait for calls that nobody ends
		_, _ = lab.Script(context.Background(), "daemon", "kill9")
	})
	w := &town{Lab: lab, t: t, domain: provider}
	if ip6 {
		w.domain = "[" + provider + "]"
	}
	w.provider, w.third = agent(t, lab, "provider", sip(provider), tcp), agent(t, lab, "attacker", sip(third), tcp)
	w.provider.provide()
	w.third.provide()
	for _, one := range phones {
		phone := agent(t, lab, "pbx", sip(one), tcp)
		phone.tls = secure
		w.phones = append(w.phones, phone)
	}
	w.box = w.provider.at
	if !transparent {
		w.box = netip.MustParseAddrPort(net.JoinHostPort(box, port))
	}
	return w
}

// ask has a telephone send a request to the box or its provider, and returns the
// final answer, which must come from there.
func (w *town) ask(phone *ua, method, uri, user, callID string, cseq int, headers ...string) heard {
	w.t.Helper()
	who := fmt.Sprintf("<sip:%s@%s>", user, w.domain)
	to := "<" + uri + ">"
	if method == "REGISTER" {
		to = who
	}
	return w.askAt(phone, w.box, method, phone.request(method, uri, who+";tag=p"+user, to, callID, cseq, append(headers, "Contact: "+phone.contact(user))...), callID)
}

func (w *town) askAt(phone *ua, at netip.AddrPort, method, text, callID string) heard {
	w.t.Helper()
	phone.send(w.Lab, "pbx", at, text)
	final := phone.find(method+" answered", func(m heard) bool {
		return responseTo(callID, method, "")(m) && m.text[len("SIP/2.0 ")] != '1'
	})
	if final.from != at {
		w.t.Errorf("%s %s was answered from %s; want the address that it was sent to, %s", method, callID, final.from, at)
	}
	return final
}

func status(m heard) string { return strings.Fields(m.text)[1] }

func (w *town) number(n string) string { return "sip:" + n + "@" + w.domain }

// TestWays is the matrix of transports, families and ways in: two telephones
// register, one calls and hangs up, forbidden calls stay away from the provider,
// an emergency call does not, and a call for the other telephone reaches it.
func TestWays(t *testing.T) {
	for _, transparent := range []bool{false, true} {
		for _, tcp := range []bool{false, true} {
			for _, ip6 := range []bool{false, true} {
				name := fmt.Sprintf("%s-%s-%s", map[bool]string{false: "explicit", true: "through"}[transparent],
					map[bool]string{false: "udp", true: "tcp"}[tcp], map[bool]string{false: "v4", true: "v6"}[ip6])
				t.Run(name, func(t *testing.T) { newTown(t, transparent, tcp, ip6).day(transparent) })
			}
		}
	}
}

func (w *town) day(transparent bool) {
	for n, phone := range w.phones {
		user := fmt.Sprint(100 + n)
		if m := w.ask(phone, "REGISTER", "sip:"+w.domain, user, "reg"+user, 1, "Expires: 600"); status(m) != "200" {
			w.t.Fatalf("%s could not register:\n%s", user, m.text)
		} else if got := field(m.text, "Contact"); !strings.Contains(got, user+"@"+phone.at.String()) {
			w.t.Errorf("%s finds %s for its Contact", user, got)
		}
		sent := w.provider.find("REGISTER", requestOf("reg"+user, "REGISTER"))
		if plain := strings.Contains(field(sent.text, "Contact"), user+"@"+phone.at.String()); plain != transparent {
			w.t.Errorf("the registrar got the Contact %s", field(sent.text, "Contact"))
		}
		if vias := fields(sent.text, "Via"); len(vias) != 2 || strings.Contains(vias[0], phone.at.String()) {
			w.t.Errorf("the registrar got Vias %q; want ours above the telephone's", vias)
		}
	}
	w.callAndHangUp(w.phones[0], "101", transparent)
	for n, uri := range []string{w.number("0011252615550148"), "tel:+252-61-555-0148", w.number("%2B252615550148")} {
		if m := w.ask(w.phones[0], "INVITE", uri, "100", fmt.Sprint("bad", n), 1); status(m) != "403" {
			w.t.Errorf("%s: answered %s; want 403", uri, status(m))
		}
	}
	if m := w.ask(w.phones[0], "INVITE", w.number("000"), "100", "help", 1); status(m) != "200" {
		w.t.Errorf("an emergency call: answered %s", status(m))
	}
	w.provider.never("a forbidden call", mentions("252615550148"))
	w.ring(transparent)
}

// callAndHangUp makes a whole call.
func (w *town) callAndHangUp(phone *ua, callID string, transparent bool) {
	w.t.Helper()
	uri := w.number("+61255500101")
	ok := w.ask(phone, "INVITE", uri, "100", callID, 1)
	if status(ok) != "200" {
		w.t.Fatalf("an allowed call:\n%s", ok.text)
	}
	invite := w.provider.find("the call", requestOf(callID, "INVITE"))
	for _, route := range fields(invite.text, "Record-Route") {
		if strings.Contains(route, w.provider.at.Addr().String()) {
			w.t.Errorf("the provider is told that it stands in its own way: %s", route)
		}
	}
	routes := fields(ok.text, "Record-Route")
	if len(routes) == 0 || transparent && (len(routes) != 1 || !strings.Contains(routes[0], w.provider.at.String())) {
		w.t.Errorf("the telephone is to go by %q", routes)
	}
	target := strings.Trim(field(ok.text, "Contact"), "<>")
	from, to := field(ok.text, "From"), field(ok.text, "To")
	var route []string
	for _, one := range routes {
		route = append([]string{"Route: " + one}, route...)
	}
	phone.send(w.Lab, "pbx", w.box, phone.request("ACK", target, from, to, callID, 1, route...))
	w.provider.find("the ACK", requestOf(callID, "ACK"))
	bye := phone.request("BYE", target, from, to, callID, 2, route...)
	if m := w.askAt(phone, w.box, "BYE", bye, callID); status(m) != "200" {
		w.t.Errorf("BYE: answered %s", status(m))
	}
	w.provider.find("the BYE", requestOf(callID, "BYE"))
}

// ring has the provider call the second telephone by what it registered, over the
// way that its REGISTER came.
func (w *town) ring(transparent bool) {
	w.t.Helper()
	reg := w.provider.find("REGISTER", requestOf("reg101", "REGISTER"))
	target, _, _ := strings.Cut(strings.TrimPrefix(field(reg.text, "Contact"), "<"), ">")
	text := w.provider.request("INVITE", target, "<sip:0298765432@"+w.domain+">;tag=gw", w.numberOf("101"), "in", 1, "Contact: "+w.provider.contact("gw"))
	w.provider.send(w.Lab, "provider", reg.from, text)
	got := w.phones[1].find("its call", requestOf("in", "INVITE"))
	if transparent && got.from.Addr() != w.provider.at.Addr() {
		w.t.Errorf("the call comes from %s; want the provider, %s", got.from, w.provider.at)
	}
	if start := "INVITE sip:101@" + w.phones[1].at.String(); !strings.HasPrefix(got.text, start) {
		w.t.Errorf("the call begins %q; want %q", strings.SplitN(got.text, "\r\n", 2)[0], start)
	}
	w.phones[0].never("somebody else's call", requestOf("in", "INVITE"))
	ok := answer(got.text, "200 OK", "p101", "Contact: "+w.phones[1].contact("101"))
	w.phones[1].send(w.Lab, "pbx", got.from, ok)
	final := w.provider.find("the answer", responseTo("in", "INVITE", "200"))
	bye := w.provider.request("BYE", strings.Trim(field(final.text, "Contact"), "<>"), field(final.text, "From"), field(final.text, "To"), "in", 2,
		"Route: "+field(final.text, "Record-Route"))
	w.provider.send(w.Lab, "provider", reg.from, bye)
	w.phones[1].find("the BYE", requestOf("in", "BYE"))
}

func (w *town) numberOf(user string) string { return "<sip:" + user + "@" + w.domain + ">" }

// TestEgressLock has a telephone speak to others than its provider in every way
// that the lock knows, before and after the daemon is killed.
func TestEgressLock(t *testing.T) {
	for _, ip6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "v4", true: "v6"}[ip6], func(t *testing.T) {
			w := newTown(t, true, false, ip6)
			phone, third := w.phones[0], w.third.at
			invite := func(callID string) string {
				return phone.request("INVITE", fmt.Sprintf("sip:0011252615550148@%s", third), "<sip:100@x>;tag=1", "<sip:1@x>", callID, 1, "Contact: "+phone.contact("100"))
			}
			if m := w.askAt(phone, third, "INVITE", invite("stray"), "stray"); status(m) != "403" {
				t.Errorf("a call to a third party: answered %s; want 403", status(m))
			}
			shut := []*ua{w.third}
			for _, port := range []uint16{50600, 5061, 4569, 5090, 1720} {
				shut = append(shut, agent(t, w.Lab, "attacker", netip.AddrPortFrom(third.Addr(), port).String(), false))
			}
			open := agent(t, w.Lab, "attacker", netip.AddrPortFrom(third.Addr(), 20000).String(), false)
			w.escape(phone, open, shut, invite)
			drops := read[api.Drops](t, w.Lab, "drops")
			for _, reason := range []appliance.Reason{appliance.ReasonIntercepted, appliance.ReasonOpaqueTLS, appliance.ReasonEgressVoIP, appliance.ReasonEgressPayload} {
				if drops.Tallies[reason].Packets == 0 {
					t.Errorf("%s was not counted: %v", reason, drops.Tallies)
				}
			}
			if drops.Refusals[appliance.ReasonForeignHost] == 0 {
				t.Errorf("refusals %v; want some of a foreign host", drops.Refusals)
			}
			script(t, w.Lab, "daemon", "kill9")
			phone.send(w.Lab, "pbx", w.provider.at, phone.request("INVITE", w.number("+61255500101"), "<sip:100@x>;tag=1", "<sip:1@x>", "dead", 1, "Contact: "+phone.contact("100")))
			w.escape(phone, open, shut, invite)
			w.provider.never("a call past a dead inspector", requestOf("dead", "INVITE"))
			script(t, w.Lab, "daemon", "start")
			if m := w.ask(phone, "INVITE", w.number("+61255500101"), "100", "again", 1); status(m) != "200" {
				t.Errorf("after the daemon came back: answered %s", status(m))
			}
			after := read[api.Drops](t, w.Lab, "drops")
			if after.Tallies[appliance.ReasonNoInspector].Packets == 0 || after.Tallies[appliance.ReasonEgressVoIP].Packets <= drops.Tallies[appliance.ReasonEgressVoIP].Packets {
				t.Errorf("what was dropped meanwhile was not counted: %v", after.Tallies)
			}
		})
	}
}

// escape has a telephone say to a third party all that is shut, and then something
// that is not: when that has arrived, nothing of what was said before may have.
func (w *town) escape(phone *ua, open *ua, shut []*ua, invite func(string) string) {
	w.t.Helper()
	say := func(to netip.AddrPort, text string) {
		w.t.Helper()
		if _, err := phone.udp.WriteToUDPAddrPort([]byte(text), to); err != nil {
			w.t.Fatal(err)
		}
	}
	for n, one := range shut {
		say(one.at, invite(fmt.Sprint("direct", n)))
		say(one.at, "\x80\x00IAX or whatever")
		w.knock(phone, one.at)
	}
	for _, text := range []string{invite("payload"), "\r\n\r\n" + invite("crlf"), "SIP/2.0 200 OK\r\n\r\n"} {
		say(open.at, text)
	}
	word := fmt.Sprint("media, more or less ", len(open.all()))
	say(open.at, word)
	open.find("what may pass", func(m heard) bool { return m.text == word })
	open.never("SIP", func(m heard) bool { return strings.Contains(m.text, "SIP/2.0") })
	for _, one := range shut {
		one.never("anything", func(heard) bool { return true })
	}
}

// knock tries TCP, and says something where a connection comes about: one to a SIP
// port ends at the box, which answers in the third party's name.
func (w *town) knock(phone *ua, to netip.AddrPort) {
	w.t.Helper()
	err := w.Inside("pbx", func() error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: phone.at.Addr().AsSlice()}, Timeout: 200 * time.Millisecond}
		conn, err := dialer.Dial("tcp", to.String())
		if err != nil {
			return nil
		}
		defer conn.Close()
		_, err = conn.Write([]byte("INVITE sip:x SIP/2.0\r\n\r\n"))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
