package main

import (
	"cmp"
	"crypto/md5"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/settings"
)

// office is a box with a LAN, a telephone on it and a provider on the internet that
// wants a password for every registration and call.
type office struct {
	*lab
	phone   *telephone
	carrier *provider
	cli     string
}

const boxWAN = "203.0.112.1:5060"

// newOffice builds one. The daemon is not started.
func newOffice(t *testing.T) *office {
	t.Helper()
	l := newLab(t)
	lan := l.withLAN()
	o := &office{lab: l, cli: filepath.Join(l.dir, "ringfence")}
	if out, err := exec.Command("go", "build", "-o", o.cli, "../ringfence").CombinedOutput(); err != nil {
		t.Fatalf("build ringfence: %v: %s", err, out)
	}
	o.phone = &telephone{voice: l.voice("phone", lan, phoneAt, 4000, boxOnLAN), answers: map[string]chan string{}, byes: map[string]time.Time{}}
	o.carrier = &provider{voice: l.voice("carrier", l.far, carrierAt, 30000, netip.MustParseAddrPort(boxWAN)), password: "1234", taken: map[string]string{}, byes: map[string]time.Time{}}
	go o.phone.run()
	go o.carrier.run()
	return o
}

// settings are those of the office, always within hours: a test may run at night.
func (o *office) settings() settings.Settings {
	s := wired([]string{"wan0"}, "10.9.0.1:5060", boxWAN)
	s.Network.LAN = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
	s.Media.Guard = settings.MediaEnforce
	s.Trunks = []settings.Trunk{{Name: "carrier", Domain: "carrier.example", Address: carrierSIP, Transport: settings.UDP}}
	s.Fraud.Hours.Zone = time.UTC
	for day := range s.Fraud.Hours.Week {
		s.Fraud.Hours.Week[day] = []fraud.Span{{Close: 24 * time.Hour}}
	}
	return s
}

// say runs the command line against the box, and fails where it does.
func (o *office) say(args ...string) string {
	o.t.Helper()
	out, err := o.ringfence(args...)
	if err != nil {
		o.t.Fatalf("ringfence %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (o *office) ringfence(args ...string) (string, error) {
	out, err := exec.Command(o.cli, append([]string{"--socket", o.socket()}, args...)...).CombinedOutput()
	return string(out), err
}

// telephone is a user agent on the LAN that registers and calls with a password.
type telephone struct {
	*voice
	account string // that it has with the provider, where that is one for all extensions
	mu      sync.Mutex
	answers map[string]chan string // final and other responses, by Call-ID
	byes    map[string]time.Time   // when a call was ended by the other side, by Call-ID
	calls   int
}

func (p *telephone) run() {
	for text := range p.inbox {
		switch method, _, _ := strings.Cut(text, " "); method {
		case "SIP/2.0":
			p.mu.Lock()
			answers := p.answers[header(text, "Call-ID")]
			p.mu.Unlock()
			if answers != nil {
				answers <- text
			}
		case "INVITE":
			p.answer(text, "180 Ringing", "Contact: <sip:201@"+phoneAt.String()+">")
		case "CANCEL":
			p.answer(text, "200 OK")
			p.answer(strings.Replace(text, "CSeq: 1 CANCEL", "CSeq: 1 INVITE", 1), "487 Request Terminated")
		case "ACK":
		case "BYE":
			p.answer(text, "200 OK")
			p.mu.Lock()
			p.byes[header(text, "Call-ID")] = time.Now()
			p.mu.Unlock()
		}
	}
}

// outgoing is a request of the telephone, and what came of it.
type outgoing struct {
	id, from, uri  string
	port           uint16 // of its media
	status         int
	invite, answer string // the last ones
}

// ended reports when the other side hung up; zero where it did not.
func (p *telephone) ended(c *outgoing) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byes[c.id]
}

// register registers an account.
func (p *telephone) register(user, password string) {
	p.l.t.Helper()
	if c := p.ask("REGISTER", user, "sip:carrier.example", password, "Contact: <sip:"+user+"@"+phoneAt.String()+">", "Expires: 600"); c.status != 200 {
		p.l.t.Fatalf("register %s: answered %s", user, c.answer)
	}
}

// call calls a number, and acknowledges the answer.
func (p *telephone) call(user, number, password string, headers ...string) *outgoing {
	p.l.t.Helper()
	return p.ask("INVITE", user, "sip:"+number+"@carrier.example", password, append(headers, "Contact: <sip:"+user+"@"+phoneAt.String()+">")...)
}

// ask sends a request, once more with credentials where they are asked for.
func (p *telephone) ask(method, user, uri, password string, headers ...string) *outgoing {
	p.l.t.Helper()
	answers := make(chan string, 64)
	p.mu.Lock()
	p.calls++
	c := &outgoing{id: fmt.Sprintf("call%d-%d@office", p.calls, time.Now().UnixNano()), uri: uri, port: uint16(4000 + 2*(p.calls%500))}
	p.answers[c.id] = answers
	p.mu.Unlock()
	c.from = fmt.Sprintf("<sip:%s@carrier.example>;tag=t%d", user, c.port)
	to := "<" + uri + ">"
	if method == "REGISTER" {
		to = "<sip:" + user + "@carrier.example>"
	}
	proof := ""
	for cseq := 1; cseq <= 2; cseq++ {
		c.invite = fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/UDP %s:5060;rport;branch=z9hG4bK%s%d\nMax-Forwards: 70\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\nUser-Agent: desk\n%s%s",
			method, uri, phoneAt, strings.ReplaceAll(c.id, "@", "-"), cseq, c.from, to, c.id, cseq, method, strings.Join(headers, "\n"), proof)
		body := ""
		if method == "INVITE" {
			body = "\nContent-Type: application/sdp" + description(phoneAt, c.port)
		}
		p.voice.say(c.invite + body)
		c.answer = p.final(c, answers)
		c.status, _ = strconv.Atoi(strings.Fields(c.answer)[1])
		if method == "INVITE" {
			p.acknowledge(c, cseq)
		}
		if c.status != 401 && c.status != 407 {
			break
		}
		challenge, name := header(c.answer, "WWW-Authenticate"), "Authorization"
		if c.status == 407 {
			challenge, name = header(c.answer, "Proxy-Authenticate"), "Proxy-Authorization"
		}
		proof = "\n" + name + ": " + credentials(challenge, method, uri, cmp.Or(p.account, user), password)
	}
	return c
}

func (p *telephone) final(c *outgoing, answers chan string) string {
	p.l.t.Helper()
	for late := time.After(patience); ; {
		select {
		case text := <-answers:
			if !strings.HasPrefix(text, "SIP/2.0 1") {
				return text
			}
		case <-late:
			p.l.t.Fatalf("no answer to %s", c.invite)
		}
	}
}

// acknowledge sends the ACK of a final answer: within the transaction of a refusal,
// along the route of the dialog otherwise.
func (p *telephone) acknowledge(c *outgoing, cseq int) {
	if c.status/100 == 2 {
		p.within(c, "ACK", cseq)
		return
	}
	lines := strings.Split(c.invite, "\n")
	p.voice.say(strings.Join([]string{"ACK " + c.uri + " SIP/2.0", lines[1], "Max-Forwards: 70", "From: " + c.from,
		"To: " + header(c.answer, "To"), "Call-ID: " + c.id, fmt.Sprintf("CSeq: %d ACK", cseq)}, "\n"))
}

// within sends a request of the dialog.
func (p *telephone) within(c *outgoing, method string, cseq int) {
	target := strings.Trim(header(c.answer, "Contact"), "<>")
	lines := []string{method + " " + target + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP %s:5060;rport;branch=z9hG4bK%s%s%d", phoneAt, strings.ReplaceAll(c.id, "@", "-"), method, cseq),
		"Max-Forwards: 70", "From: " + c.from, "To: " + header(c.answer, "To"), "Call-ID: " + c.id, fmt.Sprintf("CSeq: %d %s", cseq, method)}
	routes := headersOf(c.answer, "Record-Route")
	slices.Reverse(routes)
	for _, one := range routes {
		lines = append(lines, "Route: "+one)
	}
	p.voice.say(strings.Join(lines, "\n"))
}

// hangUp ends a call of the telephone's.
func (p *telephone) hangUp(c *outgoing) { p.within(c, "BYE", 3) }

// provider takes every registration and call whose password is right.
type provider struct {
	*voice
	mu       sync.Mutex
	password string
	taken    map[string]string    // calls that were answered: the user that was called, by Call-ID
	byes     map[string]time.Time // by Call-ID
	answers  int                  // to requests of its own
	rang     string               // Call-ID of the last one
}

func (p *provider) run() {
	for text := range p.inbox {
		method, _, _ := strings.Cut(text, " ")
		switch {
		case method == "SIP/2.0":
			if strings.HasPrefix(text, "SIP/2.0 180") || strings.HasPrefix(text, "SIP/2.0 487") {
				p.mu.Lock()
				p.answers++
				p.mu.Unlock()
			}
		case method == "ACK":
		case method == "INVITE" && !p.proven(text):
			p.answer(text, "407 Proxy Authentication Required", `Proxy-Authenticate: Digest realm="carrier.example", nonce="`+fmt.Sprint(time.Now().UnixNano())+`", algorithm=MD5`)
		case method == "REGISTER" && !p.proven(text):
			p.answer(text, "401 Unauthorized", `WWW-Authenticate: Digest realm="carrier.example", nonce="`+fmt.Sprint(time.Now().UnixNano())+`", algorithm=MD5`)
		case method == "REGISTER":
			p.answer(text, "200 OK", "Contact: "+header(text, "Contact")+";expires=600")
		case method == "INVITE":
			called, _, _ := strings.Cut(strings.TrimPrefix(text, "INVITE sip:"), "@")
			p.mu.Lock()
			p.taken[header(text, "Call-ID")] = called
			p.mu.Unlock()
			p.answer(text, "200 OK", "Contact: <sip:gw@"+carrierAt.String()+">", "Content-Type: application/sdp"+description(carrierAt, 30000))
		default:
			if method == "BYE" {
				p.mu.Lock()
				p.byes[header(text, "Call-ID")] = time.Now()
				p.mu.Unlock()
			}
			p.answer(text, "200 OK")
		}
	}
}

func (p *provider) proven(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := header(text, "Proxy-Authorization") + header(text, "Authorization")
	if said == "" {
		return false
	}
	parts := parameters(said)
	method, _, _ := strings.Cut(text, " ")
	return parts["response"] == parameters(credentials(said, method, parts["uri"], parts["username"], p.password))["response"]
}

func (p *provider) change(password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.password = password
}

// took counts the calls to a number that were answered.
func (p *provider) took(digits string) (count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, called := range p.taken {
		if strings.Contains(called, digits) {
			count++
		}
	}
	return count
}

func (p *provider) ended(id string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byes[id]
}

// ringOnce calls the office from a number and gives up at the first ring.
func (p *provider) ringOnce(from string) {
	p.l.t.Helper()
	id := fmt.Sprint("ring", time.Now().UnixNano())
	p.rang = id
	invite := fmt.Sprintf("INVITE sip:201@%[1]s SIP/2.0\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]s\nMax-Forwards: 70\nFrom: <sip:%[4]s@carrier.example>;tag=%[3]s\nTo: <sip:201@%[1]s>\nCall-ID: %[3]s\nCSeq: 1 INVITE",
		boxWAN, carrierSIP, id, from)
	p.voice.say(invite + "\nContact: <sip:gw@" + carrierAt.String() + ">\nContent-Type: application/sdp" + description(carrierAt, 30000))
	heard := func(n int) {
		p.l.t.Helper()
		p.l.until(func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.answers < n {
				return fmt.Errorf("the provider heard %d answers to its call", p.answers)
			}
			return nil
		})
	}
	heard(1)
	p.voice.say(strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(invite))
	heard(2)
	p.voice.say(strings.NewReplacer("INVITE sip", "ACK sip", "1 INVITE", "1 ACK", "To: <sip:201@"+boxWAN+">", "To: <sip:201@"+boxWAN+">;tag=phone").Replace(invite))
}

func header(text, name string) string {
	if all := headersOf(text, name); len(all) > 0 {
		return all[0]
	}
	return ""
}

func headersOf(text, name string) (all []string) {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if value, found := strings.CutPrefix(line, name+": "); found {
			all = append(all, value)
		}
	}
	return all
}

var parameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

func parameters(text string) map[string]string {
	all := map[string]string{}
	for _, one := range parameter.FindAllStringSubmatch(text, -1) {
		all[one[1]] = one[2]
	}
	return all
}

// credentials answers a challenge (RFC 2617 section 3.2.2, without qop).
func credentials(challenge, method, uri, user, password string) string {
	said := parameters(challenge)
	hash := func(text string) string { return fmt.Sprintf("%x", md5.Sum([]byte(text))) }
	response := hash(hash(user+":"+said["realm"]+":"+password) + ":" + said["nonce"] + ":" + hash(method+":"+uri))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`, user, said["realm"], said["nonce"], uri, response)
}

// refused fails unless a call was refused by the box for a reason.
func (o *office) refused(c *outgoing, reason appliance.Reason) (record appliance.Call) {
	o.t.Helper()
	if c.status != 403 {
		o.t.Errorf("%s: answered %d, want 403", c.uri, c.status)
	}
	return o.recorded(c, func(record appliance.Call) bool {
		return record.Verdict == appliance.Block && record.Reason == reason && !record.End.IsZero()
	})
}

// recorded waits for the record of a call that is as wanted.
func (o *office) recorded(c *outgoing, want func(appliance.Call) bool) (record appliance.Call) {
	o.t.Helper()
	o.until(func() error {
		all, err := o.api.Calls(o.t.Context(), appliance.CallFilter{Limit: 200})
		if err != nil {
			return err
		}
		for _, one := range all.Calls {
			if one.CallID == c.id {
				if record = one; want(one) {
					return nil
				}
			}
		}
		return fmt.Errorf("%s: the record is %+v", c.uri, record)
	})
	return record
}

// passes fails unless a call was answered.
func (o *office) passes(c *outgoing) *outgoing {
	o.t.Helper()
	if c.status != 200 {
		o.t.Fatalf("%s: answered %s", c.uri, c.answer)
	}
	return c
}

// cutOff waits until both sides have been hung up on, and returns when the later
// one was.
func (o *office) cutOff(c *outgoing) (last time.Time) {
	o.t.Helper()
	o.until(func() error {
		phone, carrier := o.phone.ended(c), o.carrier.ended(c.id)
		if phone.IsZero() || carrier.IsZero() {
			return errors.New(c.uri + " is not cut on both sides")
		}
		if last = phone; carrier.After(phone) {
			last = carrier
		}
		return nil
	})
	return last
}
