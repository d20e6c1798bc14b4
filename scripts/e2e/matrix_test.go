package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/scripts/peers"
)

// cell is one way from a real telephone to its provider and back.
type cell struct {
	transport   string
	ip6         bool
	transparent bool
	opaque      string // the policy's opaque_tls, where TLS is not ended by the box
}

func cells() (all []cell) {
	for _, transparent := range []bool{false, true} {
		for _, transport := range []string{"udp", "tcp", "tls"} {
			for _, ip6 := range []bool{false, true} {
				if !transparent || transport != "tls" {
					all = append(all, cell{transport, ip6, transparent, ""})
				}
			}
		}
	}
	for _, opaque := range []string{"deny", "allow"} { // in this order: the policy changes between
		for _, ip6 := range []bool{false, true} {
			all = append(all, cell{"tls", ip6, true, opaque})
		}
	}
	return all
}

func (c cell) family() string { return map[bool]string{false: "v4", true: "v6"}[c.ip6] }

func (c cell) way() string {
	way := map[bool]string{false: "explicit", true: "transparent"}[c.transparent]
	if c.opaque != "" {
		way += ", opaque_tls " + c.opaque
	}
	return way
}

// domain is that of the trunk, which is told by transport and family.
func (c cell) domain() string { return c.transport + "-" + c.family() + ".carrier.example" }

// near is where the telephone sends: the box, or its provider.
func (c cell) near() string {
	host := map[bool]string{false: peers.BoxLAN, true: peers.Provider}[c.transparent]
	if c.ip6 {
		host = map[bool]string{false: peers.BoxLAN6, true: peers.Provider6}[c.transparent]
	}
	return net.JoinHostPort(host, c.port())
}

func (c cell) port() string {
	if c.transport == "tls" {
		return "5061"
	}
	return "5060"
}

func (c cell) trunk(ca string) map[string]any {
	host := map[bool]string{false: peers.Provider, true: peers.Provider6}[c.ip6]
	trunk := map[string]any{
		"name": c.transport + c.family(), "domain": c.domain(), "address": net.JoinHostPort(host, c.port()),
		"transport": c.transport, "networks": []string{}, "formats": []string{},
	}
	if c.transport == "tls" {
		trunk["tls"] = map[string]string{"ca": ca}
	}
	return trunk
}

// matrix is a lab with kamailio as the registrar, sipp as the gateway to the world
// behind it, and a trunk for every transport and family.
type matrix struct {
	*peers.Lab
	t       *testing.T
	ca      *authority
	witness string // the registrar's log
	gateway [2]*peers.Server
}

func newMatrix(t *testing.T) *matrix {
	for _, tool := range []string{"baresip", "sipp", "kamailio"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED, NO REAL TELEPHONE IS TESTED: no %s; scripts/bootstrap test installs it", tool)
		}
	}
	if modules("kamailio", "tls.so") == "" || modules("baresip", "ctrl_tcp.so") == "" {
		t.Skip("SKIPPED, NO REAL TELEPHONE IS TESTED: no TLS for kamailio, or no baresip; scripts/bootstrap test installs them")
	}
	m := &matrix{Lab: raise(t, false), t: t, ca: newAuthority(t)}
	cert, key := m.ca.issue("provider", "tls-v4.carrier.example", "tls-v6.carrier.example", peers.Provider, peers.Provider6)
	m.witness = registrar(t, m.Lab, "-A", "TLS", "-A", fmt.Sprintf("CERTIFICATE=%q", cert), "-A", fmt.Sprintf("KEY=%q", key))
	for n, addr := range []string{peers.Provider, peers.Provider6} {
		server, err := m.Serve(t.Context(), peers.Script{Name: fmt.Sprint("gateway", n), Host: "provider", Scenario: "provider",
			Local: net.JoinHostPort(addr, "5070"), Options: []string{"-rtp_echo", "-mi", addr}})
		if err != nil {
			t.Fatal(err)
		}
		m.gateway[n] = server
	}
	m.document("settings", m.settings)
	script(t, m.Lab, "daemon", "start")
	t.Cleanup(func() { _, _ = m.Script(context.Background(), "daemon", "kill9") })
	return m
}

// document lays one of the lab's documents on the state partition, changed.
func (m *matrix) document(name string, change func(map[string]any)) {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.Root, "scripts/lab.d", name+".json"))
	if err != nil {
		m.t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		m.t.Fatal(err)
	}
	change(tree)
	if data, err = json.Marshal(tree); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.State(), name+".json"), data, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *matrix) settings(tree map[string]any) {
	cert, key := m.ca.issue("box", "box.lan", peers.BoxLAN, peers.BoxLAN6)
	tree["sip"] = map[string]any{"listen": []string{}, "refusal": 403, "transparent": []string{"lan0"},
		"tls": map[string]any{"listen": []string{}, "certificate": cert, "key": key, "clients": ""}}
	tree["media"] = map[string]string{"guard": "enforce"}
	var trunks []any
	for _, one := range cells() {
		if !one.transparent {
			trunks = append(trunks, one.trunk(m.ca.path("ca.pem")))
		}
	}
	tree["trunks"] = trunks
}

// account is one that the telephone registers.
func (c cell) account(user string) string {
	return fmt.Sprintf(`<sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=secret;answermode=auto;regint=600;audio_codecs=PCMA;outbound="sip:%s;transport=%s"`,
		user, c.domain(), c.transport, user, c.near(), c.transport)
}

// outcome is what became of a cell, in words for the table.
type outcome struct {
	registered, rung, call, media, blocked, provider, help string
}

var (
	inspected = outcome{"yes", "completed", "completed", "both ways", "403 Forbidden", "not a word", "completed"}
	shut      = outcome{"no", "-", "-", "-", "-", "not a word", "-"}
	unread    = outcome{"yes", "-", "completed", "both ways", "completed", "got it, unread", "completed"}
)

// expected is what the documents say of a cell.
func (c cell) expected() outcome {
	switch c.opaque {
	case "deny":
		return shut
	case "allow":
		return unread
	}
	return inspected
}

const forbidden = "252615550148"

// try does a telephone's day over one cell; figures are those of RTP.
func (m *matrix) try(t *testing.T, c cell) (r outcome, figures string) {
	t.Helper()
	began := len(m.seen())
	r = shut
	phone := startPhone(t, m.Lab, map[bool]string{false: peers.PBX, true: peers.PBX6}[c.ip6], m.ca.path("ca.pem"))
	if c.opaque == "deny" {
		phone.tell("uanew", c.account("100"))
		m.untilDropped()
	} else if phone.register(c.account("101")) && phone.register(c.account("100")) {
		r.registered = "yes"
		if c.opaque == "" { // else the lab's registrar would need the rest of NAT traversal
			r.rung = phone.ring("101")
		}
		call := phone.call("+61255500101")
		r.call, r.media, figures = call.ending, call.bothWays(), fmt.Sprintf(" (%d, %d)", call.out, call.in)
		r.blocked = phone.call("0011" + forbidden).ending
		r.help = phone.call("000").ending
	}
	r.provider = m.told(t, c, m.seen()[began:])
	return r, figures
}

// told says what the registrar's log holds of the forbidden call. It must hold the
// others, or it would prove nothing.
func (m *matrix) told(t *testing.T, c cell, log string) string {
	t.Helper()
	text := peers.Message{Text: log}
	switch {
	case c.opaque == "deny" && log != "":
		return "got something: " + log
	case c.opaque != "deny" && !(text.Mentions("INVITE sip:+61255500101@") && text.Mentions("INVITE sip:000@") && text.Mentions("REGISTER sip:")):
		t.Errorf("the provider was not sent what it should be: %s", log)
	case text.Mentions(forbidden):
		return "got it, unread"
	}
	return "not a word"
}

// untilDropped waits until the lock has dropped TLS of the telephone's.
func (m *matrix) untilDropped() {
	m.t.Helper()
	before := read[api.Drops](m.t, m.Lab, "drops").Tallies[appliance.ReasonOpaqueTLS].Packets
	for deadline := time.Now().Add(patience); read[api.Drops](m.t, m.Lab, "drops").Tallies[appliance.ReasonOpaqueTLS].Packets <= before; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatal("no TLS was dropped")
		}
	}
}

func (m *matrix) seen() string { return logOf(m.t, m.witness) }

func logOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMatrix has a real telephone, baresip, register with a real registrar,
// kamailio, through the box over every transport, family and way in: a call with
// RTP in both directions, a forbidden one and one for help. What the provider was
// sent is read in the provider's own log, since it ends TLS.
func TestMatrix(t *testing.T) {
	m := newMatrix(t)
	rows := [][]string{{"transport", "family", "way in", "registers", "is called", "allowed call", "RTP (out, in)", "0011 252 ...", "the provider", "000", "as it should"}}
	policy := "deny"
	for _, c := range cells() {
		if c.opaque == "allow" && policy == "deny" {
			policy = "allow"
			put(t, m.Lab, "policy", `"opaque_tls": "deny"`, `"opaque_tls": "allow"`, `"serial": 1`, `"serial": 2`)
		}
		var r outcome
		var figures string
		verdict := "NO"
		if t.Run(strings.Join([]string{c.transport, c.family(), c.way()}, " "), func(t *testing.T) {
			if r, figures = m.try(t, c); r != c.expected() {
				t.Errorf("%+v; want %+v", r, c.expected())
			}
		}) {
			verdict = "yes"
		}
		rows = append(rows, []string{c.transport, c.family(), c.way(), r.registered, r.rung, r.call, r.media + figures, r.blocked, r.provider, r.help, verdict})
	}
	show(rows)
}

// show prints a table where somebody looks on (go test -v).
func show(rows [][]string) {
	if !testing.Verbose() {
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	_ = w.Flush() // to the terminal
}
