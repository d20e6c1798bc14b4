package e2e

import (
	"fmt"
	"io"
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

// put puts a changed document in force.
func put(t *testing.T, lab *peers.Lab, document string, changes ...string) {
	t.Helper()
	now, err := lab.CLI(t.Context(), document, map[string]string{"settings": "get", "policy": "show"}[document], "--json")
	if err != nil {
		t.Fatal(err)
	}
	text := string(now)
	for n := 0; n < len(changes); n += 2 {
		if !strings.Contains(text, changes[n]) {
			t.Fatalf("the %s hold no %q:\n%s", document, changes[n], text)
		}
		text = strings.Replace(text, changes[n], changes[n+1], 1)
	}
	path := filepath.Join(t.TempDir(), "document.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := map[string][]string{"settings": {"settings", "set", "--file", path}, "policy": {"policy", "set", path}}[document]
	if _, err := lab.CLI(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// greets reports whether a host of the LAN gets through to a TCP port and back.
// What is dropped costs half a second.
func greets(t *testing.T, lab *peers.Lab, server string) bool {
	t.Helper()
	var listener net.Listener
	at := netip.MustParseAddrPort(server)
	host := map[bool]string{true: "provider", false: "attacker"}[strings.HasPrefix(server, "198.51.100.")]
	if err := lab.Inside(host, func() (err error) { listener, err = net.Listen("tcp", at.String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("here"))
			conn.Close()
		}
	}()
	got := ""
	_ = lab.Inside("pbx", func() error {
		conn, err := net.DialTimeout("tcp", at.String(), 500*time.Millisecond)
		if err != nil {
			return err
		}
		defer conn.Close()
		text, err := io.ReadAll(conn)
		got = string(text)
		return err
	})
	return got == "here"
}

func finding(t *testing.T, lab *peers.Lab, name string) appliance.Check {
	t.Helper()
	for _, one := range statusAnyway(t, lab).Checks {
		if one.Name == name {
			return one
		}
	}
	return appliance.Check{}
}

// TestOpaqueTLS lets SIP over TLS pass or not, as the policy says, and never to
// anybody but a trunk.
func TestOpaqueTLS(t *testing.T) {
	lab := site(t)
	begin(t, lab)
	if greets(t, lab, peers.Provider+":5061") || greets(t, lab, peers.Attacker+":5061") {
		t.Error("TLS passes under a policy that denies it")
	}
	if check := finding(t, lab, "opaque tls"); check.Name != "" {
		t.Errorf("status speaks of %+v", check)
	}
	put(t, lab, "policy", `"opaque_tls": "deny"`, `"opaque_tls": "allow"`, `"serial": 1`, `"serial": 2`)
	if !greets(t, lab, peers.Provider+":5061") {
		t.Error("TLS to the trunk does not pass under a policy that allows it")
	}
	if greets(t, lab, peers.Attacker+":5061") {
		t.Error("TLS to somebody else passes")
	}
	if check := finding(t, lab, "opaque tls"); check.Level != appliance.Amber || !strings.Contains(check.Message, "uninspected") {
		t.Errorf("status says %+v", check)
	}
	tallies := read[api.Drops](t, lab, "drops").Tallies
	if tallies[appliance.ReasonOpaqueTLS].Packets == 0 || tallies[appliance.ReasonOpaqueTLSPassed].Packets == 0 {
		t.Errorf("counted %v", tallies)
	}
}

// TestEgressPass lets one protocol out to one host.
func TestEgressPass(t *testing.T) {
	lab := site(t)
	begin(t, lab)
	const far, elsewhere = peers.Attacker + ":2000", "203.0.113.67:2000"
	script(t, lab, "exec", "attacker", "ip", "addr", "add", "203.0.113.67/24", "dev", "eth0")
	if greets(t, lab, far) {
		t.Error("SCCP passes by itself")
	}
	put(t, lab, "policy", `"egress": false`, `"egress": true`, `"serial": 1`, `"serial": 2`)
	put(t, lab, "settings", `"egress": []`, `"egress": [{"name": "old switch", "protocol": "tcp", "port": 2000, "networks": ["`+peers.Attacker+`/32"]}]`)
	if !greets(t, lab, far) {
		t.Error("SCCP does not pass to whom the settings name")
	}
	if greets(t, lab, elsewhere) {
		t.Error("SCCP passes to somebody else")
	}
}

// TestSwitchedOff turns transparent mode off and on again, and then guards nothing:
// each time exactly what belongs to it is there.
func TestSwitchedOff(t *testing.T) {
	w := newTown(t, true, false, false)
	inspect := func() (table, rule string) {
		rules, err := w.Script(t.Context(), "exec", "box", "ip", "rule")
		if err != nil {
			t.Fatal(err)
		}
		list, _ := w.Script(t.Context(), "exec", "box", "nft", "list", "tables")
		chain, _ := w.Script(t.Context(), "exec", "box", "sh", "-c", "nft list chain inet ringfence arrive 2>/dev/null || true")
		return string(list) + string(chain), string(rules)
	}
	invite := func(id string) { // a town's provider answers whatever reaches it
		phone := w.phones[0]
		phone.send(w.Lab, "pbx", w.provider.at, phone.request("INVITE", w.number("+61255500101"), "<sip:100@x>;tag=1", "<sip:1@x>", id, 1, "Contact: "+phone.contact("100")))
	}
	if table, rule := inspect(); !strings.Contains(table, "goto inside") || !strings.Contains(rule, "0x5246") {
		t.Errorf("on: %s%s", table, rule)
	}
	set := func(value string) {
		if _, err := w.CLI(t.Context(), "settings", "set", "sip.transparent", value); err != nil {
			t.Fatal(err)
		}
	}
	set("")
	if table, rule := inspect(); !strings.Contains(table, "table inet ringfence") || strings.Contains(table, "goto inside") || strings.Contains(rule, "0x5246") {
		t.Errorf("off: %s%s", table, rule)
	}
	invite("off")
	set("lan0")
	for deadline := time.Now().Add(patience); finding(t, w.Lab, "inspector").Level != appliance.Green; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the inspector does not come back: %+v", finding(t, w.Lab, "inspector"))
		}
	}
	if m := w.ask(w.phones[0], "INVITE", w.number("+61255500101"), "100", "on", 1); status(m) != "200" {
		t.Errorf("on again: answered %s", status(m))
	}
	w.provider.never("a call while transparent mode was off", requestOf("off", "INVITE"))
	_, err := w.CLI(t.Context(), "settings", "set", "sip.transparent", "lan7")
	if err == nil || !strings.Contains(err.Error(), "sip.transparent[0]: this box has no interface lan7") {
		t.Errorf("an interface that is not there: %v", err)
	}
	put(t, w.Lab, "settings", `"wan": [
      "wan0"
    ]`, `"wan": []`, `"transparent": [
      "lan0"
    ]`, `"transparent": []`)
	if table, rule := inspect(); strings.Contains(table, "ringfence") || strings.Contains(rule, "0x5246") {
		t.Errorf("nothing guarded: %s%s", table, rule)
	}
}

// TestAstray has a telephone that only knows a third party call for help, and one
// that sends more than fits into a packet.
func TestAstray(t *testing.T) {
	w := newTown(t, true, false, false)
	phone, third := w.phones[0], w.third.at
	from := "<sip:100@" + third.Addr().String() + ">;tag=1"
	uri := "sip:000@" + third.Addr().String()
	text := phone.request("INVITE", uri, from, "<"+uri+">", "help", 1, "Contact: "+phone.contact("100"))
	ok := w.askAt(phone, third, "INVITE", text, "help")
	if status(ok) != "200" {
		t.Errorf("a call for help was answered %s", status(ok))
	}
	w.provider.find("the call for help", requestOf("help", "INVITE"))
	bye := phone.request("BYE", strings.Trim(field(ok.text, "Contact"), "<>"), from, field(ok.text, "To"), "help", 2, "Route: "+field(ok.text, "Record-Route"))
	if m := w.askAt(phone, third, "BYE", bye, "help"); status(m) != "200" {
		t.Errorf("hanging up was answered %s", status(m))
	}
	w.third.never("anything", func(heard) bool { return true })

	fat := w.number("+61255500101")
	var padding []string
	for n := range 40 {
		padding = append(padding, fmt.Sprintf("Subject: %d %s", n, strings.Repeat("x", 100)))
	}
	padding = []string{"Subject: " + strings.Join(padding, " ")[:4000], "Contact: " + phone.contact("100")}
	if m := w.askAt(phone, w.provider.at, "INVITE", phone.request("INVITE", fat, from, "<"+fat+">", "fat", 1, padding...), "fat"); status(m) != "200" {
		t.Errorf("an INVITE of 4 kB was answered %s", status(m))
	}
	if got := w.provider.find("the fat INVITE", requestOf("fat", "INVITE")); len(got.text) < 4000 {
		t.Errorf("%d bytes of it are left", len(got.text))
	}
}

// TestLockIsMended takes the table away behind the daemon's back.
func TestLockIsMended(t *testing.T) {
	lab := site(t)
	begin(t, lab)
	script(t, lab, "exec", "box", "nft", "delete", "table", "inet", "ringfence")
	if check := finding(t, lab, "egress"); check.Level != appliance.Red {
		t.Errorf("without its table the lock is %+v", check)
	}
	// Any change of an interface has it looked after, and else the clock does.
	script(t, lab, "exec", "box", "ip", "link", "add", "other", "type", "veth", "peer", "name", "another")
	for deadline := time.Now().Add(2 * patience); finding(t, lab, "egress").Level != appliance.Green; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the lock stays %+v", finding(t, lab, "egress"))
		}
	}
}
