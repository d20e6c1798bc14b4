package e2e

import (
	"context"
	"crypto/md5"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/scripts/peers"
)

// registrar runs kamailio as a hosted PBX on the provider's host. Its log, whose
// path is returned, holds every request that it was sent.
func registrar(t *testing.T, lab *peers.Lab, options ...string) string {
	t.Helper()
	if _, err := exec.LookPath("kamailio"); err != nil {
		t.Skip("SKIPPED, A HOSTED PBX IS NOT TESTED: no kamailio; scripts/bootstrap test installs it")
	}
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := lab.Command(ctx, "provider", "kamailio", append([]string{"-DD", "-E", "-m", "64", "-M", "8", "-Y", dir, "-P", filepath.Join(dir, "pid"),
		"-f", filepath.Join(lab.Root, "scripts/lab.d/registrar.cfg")}, options...)...)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		log.Close()
		if said, err := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("kamailio said (%v):\n%s", err, said)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := lab.Inside("provider", func() error {
			conn, err := net.Dial("tcp", peers.Provider+":5060")
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err == nil {
			return log.Name()
		}
		if time.Now().After(deadline) {
			t.Fatalf("kamailio does not listen: %v", err)
		}
	}
}

var quoted = regexp.MustCompile(`(\w+)="([^"]*)"`)

// digest answers a challenge (RFC 2617 section 3.2.2, without qop).
func digest(challenge, method, uri, user string) string {
	said := map[string]string{}
	for _, one := range quoted.FindAllStringSubmatch(challenge, -1) {
		said[one[1]] = one[2]
	}
	hash := func(text string) string { return fmt.Sprintf("%x", md5.Sum([]byte(text))) }
	response := hash(hash(user+":"+said["realm"]+":secret") + ":" + said["nonce"] + ":" + hash(method+":"+uri))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`, user, said["realm"], said["nonce"], uri, response)
}

// register registers a telephone with its password.
func (w *town) register(phone *ua, user string) {
	w.t.Helper()
	uri := "sip:" + w.domain
	first := w.ask(phone, "REGISTER", uri, user, "reg"+user+"a", 1, "Expires: 600")
	if status(first) != "401" {
		w.t.Fatalf("%s: the registrar did not ask for a password:\n%s", user, first.text)
	}
	credentials := "Authorization: " + digest(field(first.text, "WWW-Authenticate"), "REGISTER", uri, user)
	if m := w.ask(phone, "REGISTER", uri, user, "reg"+user+"b", 2, "Expires: 600", credentials); status(m) != "200" {
		w.t.Fatalf("%s could not register:\n%s", user, m.text)
	}
}

// talk is a call that is up.
type talk struct {
	id             string
	caller, callee *ua
	invite, ok     heard
}

// dial has a telephone call a number with its password, and callee answer.
func (w *town) dial(caller *ua, user, uri, id string, callee *ua, at string) talk {
	w.t.Helper()
	from, to := fmt.Sprintf("<sip:%s@%s>;tag=p%s", user, w.domain, user), "<"+uri+">"
	send := func(cseq int, more ...string) {
		caller.send(w.Lab, "pbx", w.box, caller.request("INVITE", uri, from, to, id, cseq, append(more, "Contact: "+caller.contact(user))...))
	}
	send(1)
	asked := caller.find("a challenge", responseTo(id, "INVITE", "407"))
	caller.send(w.Lab, "pbx", w.box, strings.Replace(caller.request("ACK", uri, from, field(asked.text, "To"), id, 1), "1ACK;rport", "1INVITE;rport", 1))
	send(2, "Proxy-Authorization: "+digest(field(asked.text, "Proxy-Authenticate"), "INVITE", uri, user))
	c := talk{id: id, caller: caller, callee: callee}
	c.invite = callee.find("its call", requestOf(id, "INVITE"))
	callee.send(w.Lab, at, c.invite.from, answer(c.invite.text, "200 OK", "callee", "Contact: "+callee.contact("callee")))
	c.ok = caller.find("the answer", responseTo(id, "INVITE", "200"))
	w.say(c, "ACK", 2)
	return c
}

// say has the caller send a request by the route of the answer.
func (w *town) say(c talk, method string, cseq int) {
	w.t.Helper()
	routes := fields(c.ok.text, "Record-Route")
	slices.Reverse(routes)
	text := c.caller.request(method, strings.Trim(field(c.ok.text, "Contact"), "<>"), field(c.ok.text, "From"), field(c.ok.text, "To"), c.id, cseq, asRoutes(routes)...)
	c.caller.send(w.Lab, "pbx", w.box, text)
	c.callee.find(method, requestOf(c.id, method))
}

func asRoutes(values []string) (all []string) {
	for _, one := range values {
		all = append(all, "Route: "+one)
	}
	return all
}

// TestHostedPBX is T3: telephones register with a PBX in the cloud, which is a
// real proxy, and call each other by way of it: such a call crosses the box twice
// with one Call-ID and the same tags.
func TestHostedPBX(t *testing.T) {
	for _, test := range []struct {
		name                  string
		transparent, tcp, ip6 bool
	}{
		{"explicit-udp", false, false, false}, {"through-udp", true, false, false}, {"explicit-tcp", false, true, false},
		{"through-tcp", true, true, false}, {"through-udp6", true, false, true}, {"through-tcp6", true, true, true},
	} {
		t.Run(test.name, func(t *testing.T) { newHosted(t, test.transparent, test.tcp, test.ip6).day() })
	}
}

// hosted is a town whose provider is kamailio.
type hosted struct {
	*town
	gateway *ua
}

func newHosted(t *testing.T, transparent, tcp, ip6 bool) *hosted {
	w := newTown(t, transparent, tcp, ip6)
	w.provider.udp.Close()
	w.provider.ear.Close()
	registrar(t, w.Lab)
	gateway := agent(t, w.Lab, "provider", netip.AddrPortFrom(w.provider.at.Addr(), 5070).String(), false)
	return &hosted{w, gateway}
}

func (h *hosted) day() {
	for n, phone := range h.phones {
		h.register(phone, fmt.Sprint(100+n))
	}
	inner := h.dial(h.phones[0], "100", h.number("101"), "inner", h.phones[1], "pbx")
	h.say(inner, "BYE", 3)
	// The same, but for who hangs up: his route is that of the INVITE.
	back := h.dial(h.phones[0], "100", h.number("101"), "back", h.phones[1], "pbx")
	routes := fields(back.invite.text, "Record-Route")
	bye := h.phones[1].request("BYE", strings.Trim(field(back.invite.text, "Contact"), "<>"), field(back.ok.text, "To"), field(back.ok.text, "From"), "back", 1, asRoutes(routes)...)
	h.phones[1].send(h.Lab, "pbx", back.invite.from, bye)
	h.phones[0].find("BYE", requestOf("back", "BYE"))

	h.say(h.dial(h.phones[0], "100", h.number("+61255500101"), "out", h.gateway, "provider"), "BYE", 3)
	if m := h.ask(h.phones[0], "INVITE", h.number("0011252615550148"), "100", "bad", 1); status(m) != "403" {
		h.t.Errorf("a forbidden call: answered %s", status(m))
	}
	h.gateway.never("a forbidden call", mentions("252615550148"))

	h.callIn("in")
	if !h.phones[1].tcp { // it would see its connection end, and register
		script(h.t, h.Lab, "daemon", "restart")
		h.callIn("later")
	}
}

// callIn has somebody outside call the second telephone, by way of the provider.
func (h *hosted) callIn(id string) {
	h.t.Helper()
	h.gateway.send(h.Lab, "provider", h.provider.at, h.gateway.request("INVITE", h.number("101"), "<sip:0298765432@x.example>;tag=g", h.numberOf("101"), id, 1, "Contact: "+h.gateway.contact("gw")))
	h.phones[1].find("its call", requestOf(id, "INVITE"))
	h.phones[0].never("somebody else's call", requestOf(id, "INVITE"))
}
