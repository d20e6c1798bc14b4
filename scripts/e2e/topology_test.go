package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/scripts/peers"
)

// site raises a lab in transparent mode with a provider of two subnets. nothing
// is started yet.
func site(t *testing.T, changes ...string) *peers.Lab {
	t.Helper()
	lab := raise(t, false)
	edit(t, lab, "settings", append([]string{labRefusal, withTransparent,
		`"networks": ["198.51.100.0/24"]`, `"networks": ["198.51.100.0/24", "198.18.5.0/24"]`}, changes...)...)
	edit(t, lab, "policy", `"198.51.100.0/24"`, `"198.51.100.0/24", "198.18.5.0/24"`)
	for _, one := range []string{"198.18.5.10/32", "198.18.6.10/32"} {
		script(t, lab, "exec", "provider", "ip", "addr", "add", one, "dev", "lo")
		script(t, lab, "exec", "internet", "ip", "route", "add", one, "via", peers.Provider)
	}
	return lab
}

// begin starts the daemon on a box that checks sources as strictly as Linux can.
func begin(t *testing.T, lab *peers.Lab) {
	t.Helper()
	script(t, lab, "exec", "box", "sh", "-c", "for one in all default wan0 lan0; do echo 1 >/proc/sys/net/ipv4/conf/$one/rp_filter; done")
	script(t, lab, "daemon", "start")
	t.Cleanup(func() { _, _ = lab.Script(context.Background(), "daemon", "kill9") })
}

// wholeCall has one agent call another, who must be called from an address, and
// hang up by the dialog's route. It returns what the callee was sent.
func wholeCall(t *testing.T, lab *peers.Lab, caller *ua, from string, to netip.AddrPort, callee *ua, at, callID, uri string) heard {
	t.Helper()
	caller.send(lab, from, to, caller.request("INVITE", uri, "<sip:0298765432@"+peers.Provider+">;tag=a", "<"+uri+">", callID, 1, "Contact: "+caller.contact("gw")))
	got := callee.find("its call", requestOf(callID, "INVITE"))
	callee.send(lab, at, got.from, answer(got.text, "200 OK", "b", "Contact: "+callee.contact("desk")))
	ok := caller.find("the answer", responseTo(callID, "INVITE", "200"))
	if ok.from != to {
		t.Errorf("%s: the answer comes from %s; want %s", callID, ok.from, to)
	}
	target := strings.Trim(field(ok.text, "Contact"), "<>")
	for _, method := range []string{"ACK", "BYE"} {
		text := caller.request(method, target, field(ok.text, "From"), field(ok.text, "To"), callID, map[string]int{"ACK": 1, "BYE": 2}[method], "Route: "+field(ok.text, "Record-Route"))
		caller.send(lab, from, to, text)
		callee.find(method, requestOf(callID, method))
	}
	return got
}

// TestPBXRegisters is T1: a PBX that has never heard of the box registers its
// trunk through it, and is called by what the provider's NAT handling makes of its
// Contact.
func TestPBXRegisters(t *testing.T) {
	lab := site(t)
	begin(t, lab)
	provider, pbx := agent(t, lab, "provider", peers.Provider+":5060", false), agent(t, lab, "pbx", peers.PBX+":5060", false)
	provider.provide()
	line := "<sip:line1@" + peers.Provider + ">"
	pbx.send(lab, "pbx", provider.at, pbx.request("REGISTER", "sip:"+peers.Provider, line+";tag=1", line, "reg", 1, "Contact: "+pbx.contact("line1")))
	if ok := pbx.find("its registration", responseTo("reg", "REGISTER", "200")); ok.from != provider.at {
		t.Errorf("the answer comes from %s", ok.from)
	}
	reg := provider.find("the registration", requestOf("reg", "REGISTER"))
	if reg.from != netip.MustParseAddrPort(peers.BoxWAN+":5060") || field(reg.text, "Contact") != pbx.contact("line1") {
		t.Errorf("the registrar sees %s and the Contact %s", reg.from, field(reg.text, "Contact"))
	}
	for n, uri := range []string{"sip:line1@" + pbx.at.String(), "sip:line1@" + reg.from.String()} {
		got := wholeCall(t, lab, provider, "provider", reg.from, pbx, "pbx", fmt.Sprint("in", n), uri)
		if got.from != provider.at {
			t.Errorf("%s: the PBX is called from %s; want its provider", uri, got.from)
		}
	}
	out := wholeCall(t, lab, pbx, "pbx", provider.at, provider, "provider", "out", "sip:+61255500101@"+peers.Provider)
	if out.from != reg.from {
		t.Errorf("the provider is called from %s; want the address that registered, %s", out.from, reg.from)
	}
}

// TestPeering is T2: no registration, a static address, a provider that calls from
// another of its subnets, and a NAT binding from before the box was there.
func TestPeering(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(map[bool]string{false: "udp", true: "tcp"}[tcp], func(t *testing.T) {
			transport := map[bool]string{false: `"transport": "udp"`, true: `"transport": "tcp"`}[tcp]
			lab := site(t, `"transport": "udp"`, transport)
			provider, other := agent(t, lab, "provider", peers.Provider+":5060", tcp), agent(t, lab, "provider", "198.18.5.10:5060", tcp)
			foreign := agent(t, lab, "provider", "198.18.6.10:5060", tcp)
			pbx, box := agent(t, lab, "pbx", peers.PBX+":5060", tcp), netip.MustParseAddrPort(peers.BoxWAN+":5060")
			if !tcp { // masqueraded: from now on the box's port 5060 leads to the PBX
				for _, one := range []*ua{provider, other} {
					pbx.send(lab, "pbx", one.at, pbx.request("OPTIONS", "sip:x", "<sip:x>;tag=1", "<sip:x>", "before", 1))
					if got := one.find("what came by NAT", requestOf("before", "OPTIONS")); got.from != box {
						t.Fatalf("NAT took another port than the test is about: %s", got.from)
					}
				}
			}
			begin(t, lab)
			for n, caller := range []*ua{provider, other} {
				got := wholeCall(t, lab, caller, "provider", box, pbx, "pbx", fmt.Sprint("in", n), "sip:0255500199@"+peers.BoxWAN)
				if got.from.Addr() != caller.at.Addr() {
					t.Errorf("the PBX is called from %s; want the provider's %s", got.from, caller.at)
				}
				if vias := fields(got.text, "Via"); len(vias) != 2 {
					t.Errorf("the PBX got the call past the inspector: Vias %q", vias)
				}
				wholeCall(t, lab, pbx, "pbx", caller.at, caller, "provider", fmt.Sprint("out", n), "sip:+61255500101@"+peers.Provider)
			}
			pbx.send(lab, "pbx", foreign.at, pbx.request("INVITE", "sip:+61255500101@"+peers.Provider, "<sip:x>;tag=1", "<sip:x>", "foreign", 1, "Contact: "+pbx.contact("x")))
			if m := pbx.find("a refusal", responseTo("foreign", "INVITE", "4")); status(m) != "403" || m.from != foreign.at {
				t.Errorf("a call to a subnet that is no trunk's: %s from %s", status(m), m.from)
			}
			foreign.never("anything", func(heard) bool { return true })
		})
	}
}

// TestSameUserTwice is T3 with a registrar that puts the address which it sees
// into every Contact, and two telephones of one account: only an alias tells them
// apart.
func TestSameUserTwice(t *testing.T) {
	w := newTown(t, true, false, false)
	var contacts []string
	for n, phone := range w.phones {
		for round := 1; round <= 2; round++ { // a refresh keeps what the first one got
			callID := fmt.Sprintf("reg%d-%d", n, round)
			if m := w.ask(phone, "REGISTER", "sip:"+w.domain, "100", callID, round); status(m) != "200" || !strings.Contains(field(m.text, "Contact"), phone.at.String()) {
				t.Fatalf("telephone %d, time %d:\n%s", n, round, m.text)
			}
			contact := field(w.provider.find("REGISTER", requestOf(callID, "REGISTER")).text, "Contact")
			if round == 2 && contact != contacts[n] {
				t.Errorf("telephone %d: the Contact %s became %s", n, contacts[n], contact)
			}
			contacts = append(contacts[:n], contact)
		}
	}
	box := netip.MustParseAddrPort(peers.BoxWAN + ":5060")
	for n, phone := range w.phones {
		user, _, _ := strings.Cut(strings.TrimPrefix(contacts[n], "<sip:"), "@")
		callID := fmt.Sprint("in", n)
		got := wholeCall(t, w.Lab, w.provider, "provider", box, phone, "pbx", callID, "sip:"+user+"@"+box.String())
		if got.from != w.provider.at || !strings.HasPrefix(got.text, "INVITE sip:100@"+phone.at.String()) {
			t.Errorf("telephone %d was called from %s:\n%s", n, got.from, got.text)
		}
		w.phones[1-n].never("somebody else's call", requestOf(callID, "INVITE"))
	}
}

// TestGlobalAddresses is T6: there is no NAT, and the provider sends to the
// telephone's own address, registered or not.
func TestGlobalAddresses(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(map[bool]string{false: "udp", true: "tcp"}[tcp], func(t *testing.T) {
			w := newTown(t, true, tcp, true)
			w.ask(w.phones[0], "REGISTER", "sip:"+w.domain, "100", "reg", 1)
			for n, phone := range w.phones { // the second has not registered
				callID := fmt.Sprint("in", n)
				got := wholeCall(t, w.Lab, w.provider, "provider", phone.at, phone, "pbx", callID, fmt.Sprintf("sip:10%d@%s", n, phone.at))
				if got.from.Addr() != w.provider.at.Addr() {
					t.Errorf("telephone %d is called from %s; want its provider", n, got.from)
				}
				if vias := fields(got.text, "Via"); len(vias) != 2 {
					t.Errorf("telephone %d got the call past the inspector: Vias %q", n, vias)
				}
			}
		})
	}
}

// TestLinkLocal is a telephone that has no other address than the one that it gave
// itself (RFC 4291 section 2.5.6): it registers, calls and is called.
func TestLinkLocal(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(map[bool]string{false: "udp", true: "tcp"}[tcp], func(t *testing.T) {
			lab := raise(t, false)
			changes := []string{labPBX, "", labTrunk4, "", `"2001:db8:77::/64"`, `"2001:db8:77::/64", "fe80::/10"`}
			if tcp {
				changes = append(changes, `"transport": "udp"`, `"transport": "tcp"`)
			}
			edit(t, lab, "settings", changes...)
			script(t, lab, "exec", "box", "ip", "addr", "add", "fe80::7701/64", "dev", "lan0", "nodad")
			script(t, lab, "exec", "pbx", "ip", "addr", "add", "fe80::7721/64", "dev", "eth0", "nodad")
			script(t, lab, "daemon", "start")
			t.Cleanup(func() { _, _ = lab.Script(context.Background(), "daemon", "kill9") })
			w := &town{Lab: lab, t: t, domain: "[" + peers.Provider6 + "]", box: netip.MustParseAddrPort("[fe80::7701%eth0]:5060")}
			w.provider = agent(t, lab, "provider", w.domain+":5060", tcp)
			w.provider.provide()
			phone := agent(t, lab, "pbx", "[fe80::7721%eth0]:5060", tcp)
			if m := w.ask(phone, "REGISTER", "sip:"+w.domain, "100", "reg", 1, "Expires: 600"); status(m) != "200" {
				t.Fatalf("could not register:\n%s", m.text)
			}
			w.provider.mu.Lock()
			w.provider.reply = nil // it answers by hand from here on
			w.provider.mu.Unlock()
			wholeCall(t, lab, phone, "pbx", w.box, w.provider, "provider", "out", w.number("+61255500101"))
			if tcp { // the box has to open a connection
				phone.forget(w.box)
				unconnected(t, lab, "fe80::7721")
			}
			reg := w.provider.find("the registration", requestOf("reg", "REGISTER"))
			alias, _, _ := strings.Cut(strings.TrimPrefix(field(reg.text, "Contact"), "<"), ">")
			got := wholeCall(t, lab, w.provider, "provider", reg.from, phone, "pbx", "in", alias)
			if got.from.Addr() != w.box.Addr() || !tcp && got.from != w.box {
				t.Errorf("the telephone is called from %s; want %s", got.from, w.box)
			}
			for _, one := range append(phone.all(), w.provider.all()...) {
				if strings.Contains(one.text, "%") {
					t.Errorf("a zone stands in a message:\n%s", one.text)
				}
			}
		})
	}
}

// unconnected waits until the box has given up every TCP connection to an address.
func unconnected(t *testing.T, lab *peers.Lab, to string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out, err := lab.Command(t.Context(), "box", "ss", "-Htn").Output()
		if err != nil {
			t.Fatalf("list the box's connections: %v", err)
		}
		if !strings.Contains(string(out), to) {
			return
		}
	}
	t.Fatalf("the box holds a connection to %s", to)
}
