package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/scripts/peers"
)

// ua is a SIP agent on a host of the lab: it speaks raw text, keeps all that it
// was ever sent, and knows from where.
type ua struct {
	t   *testing.T
	at  netip.AddrPort
	tcp bool
	tls *tls.Config // of the connections that it opens; nil for TCP alone
	udp *net.UDPConn
	ear *net.TCPListener

	mu    sync.Mutex
	heard []heard
	conns map[netip.AddrPort]net.Conn // TCP, by the far end
	more  chan struct{}
	reply func(heard) []string // what is said to a request at once; nil for nothing
}

// heard is one message and where it came from.
type heard struct {
	text string
	from netip.AddrPort
}

const patience = 15 * time.Second

// agent opens an agent at an address of host, for UDP and TCP.
func agent(t *testing.T, lab *peers.Lab, host, at string, tcp bool) *ua {
	t.Helper()
	a := &ua{t: t, at: netip.MustParseAddrPort(at), tcp: tcp, conns: map[netip.AddrPort]net.Conn{}, more: make(chan struct{}, 1)}
	err := lab.Inside(host, func() error {
		var err error
		if a.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(a.at)); err != nil {
			return err
		}
		a.ear, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a.at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(a.listenUDP)
	tasks.Go(func() {
		for {
			conn, err := a.ear.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { a.listenTCP(conn) })
		}
	})
	t.Cleanup(func() {
		a.udp.Close()
		a.ear.Close()
		a.mu.Lock()
		for _, conn := range a.conns {
			conn.Close()
		}
		a.mu.Unlock()
		tasks.Wait()
	})
	return a
}

func (a *ua) listenUDP() {
	buf := make([]byte, 65535)
	for {
		n, from, err := a.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if strings.Contains(err.Error(), "closed") {
				return
			}
			continue
		}
		a.take(heard{string(buf[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, nil)
	}
}

var contentLength = regexp.MustCompile(`(?mi)^(?:Content-Length|l): *(\d+)\r$`)

func (a *ua) listenTCP(conn net.Conn) {
	far := netip.MustParseAddrPort(conn.RemoteAddr().String())
	far = netip.AddrPortFrom(far.Addr().Unmap(), far.Port())
	a.mu.Lock()
	a.conns[far] = conn
	a.mu.Unlock()
	defer conn.Close()
	for in := bufio.NewReader(conn); ; {
		var message bytes.Buffer
		for !bytes.HasSuffix(message.Bytes(), []byte("\r\n\r\n")) {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			message.Write(line)
		}
		if found := contentLength.FindSubmatch(message.Bytes()); found != nil {
			n, _ := strconv.Atoi(string(found[1]))
			if _, err := message.ReadFrom(&limited{in, n}); err != nil {
				return
			}
		}
		a.take(heard{message.String(), far}, conn)
	}
}

// limited reads n bytes and ends.
type limited struct {
	from *bufio.Reader
	n    int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.n <= 0 {
		return 0, io.EOF
	}
	n, err := l.from.Read(p[:min(len(p), l.n)])
	l.n -= n
	return n, err
}

func (a *ua) take(m heard, conn net.Conn) {
	a.mu.Lock()
	a.heard = append(a.heard, m)
	reply := a.reply
	a.mu.Unlock()
	if reply != nil && !strings.HasPrefix(m.text, "SIP/2.0") {
		for _, text := range reply(m) {
			if conn != nil {
				_, _ = conn.Write([]byte(text))
			} else {
				_, _ = a.udp.WriteToUDPAddrPort([]byte(text), m.from)
			}
		}
	}
	select {
	case a.more <- struct{}{}:
	default:
	}
}

// all returns what was heard so far.
func (a *ua) all() []heard {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]heard(nil), a.heard...)
}

// find waits for the first message that satisfies want.
func (a *ua) find(what string, want func(heard) bool) heard {
	a.t.Helper()
	late := time.After(patience)
	for {
		for _, one := range a.all() {
			if want(one) {
				return one
			}
		}
		select {
		case <-a.more:
		case <-late:
			a.t.Fatalf("%s waited in vain for %s; it heard:\n%v", a.at, what, a.all())
		}
	}
}

// never fails where something was heard that satisfies bad.
func (a *ua) never(what string, bad func(heard) bool) {
	a.t.Helper()
	for _, one := range a.all() {
		if bad(one) {
			a.t.Errorf("%s received %s from %s:\n%s", a.at, what, one.from, one.text)
		}
	}
}

// send says text to an address, over the open connection there is or a new one.
func (a *ua) send(lab *peers.Lab, host string, to netip.AddrPort, text string) {
	a.t.Helper()
	if !a.tcp {
		if _, err := a.udp.WriteToUDPAddrPort([]byte(text), to); err != nil {
			a.t.Fatal(err)
		}
		return
	}
	a.mu.Lock()
	conn := a.conns[to]
	a.mu.Unlock()
	if conn == nil {
		err := lab.Inside(host, func() error {
			var err error
			conn, err = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: a.at.Addr().AsSlice(), Zone: a.at.Addr().Zone()}, Timeout: patience}).Dial("tcp", to.String())
			return err
		})
		if err != nil {
			a.t.Fatal(err)
		}
		if a.tls != nil {
			conn = tls.Client(conn, a.tls)
		}
		a.mu.Lock()
		a.conns[to] = conn
		a.mu.Unlock()
		go a.listenTCP(conn)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		a.t.Fatal(err)
	}
}

// forget closes the connection to an address; the next message opens another.
func (a *ua) forget(to netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if conn := a.conns[to]; conn != nil {
		conn.Close()
		delete(a.conns, to)
	}
}

func (a *ua) transport() string {
	switch {
	case a.tls != nil:
		return "TLS"
	case a.tcp:
		return "TCP"
	}
	return "UDP"
}

// request writes a request of this agent.
func (a *ua) request(method, uri, from, to, callID string, cseq int, headers ...string) string {
	lines := []string{
		method + " " + uri + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%s%d%s;rport", a.transport(), a.host(), callID, cseq, method),
		"Max-Forwards: 70", "From: " + from, "To: " + to, "Call-ID: " + callID, fmt.Sprintf("CSeq: %d %s", cseq, method),
	}
	return strings.Join(append(append(lines, headers...), "Content-Length: 0", "", ""), "\r\n")
}

func (a *ua) contact(user string) string {
	suffix := ""
	if a.tcp {
		suffix = ";transport=" + strings.ToLower(a.transport())
	}
	return fmt.Sprintf("<sip:%s@%s%s>", user, a.host(), suffix)
}

// host is where the agent says that it is: no zone is part of a host in SIP.
func (a *ua) host() netip.AddrPort { return netip.AddrPortFrom(a.at.Addr().WithZone(""), a.at.Port()) }

// field returns the first header of a message with that name.
func field(text, name string) string {
	for line := range strings.SplitSeq(text, "\r\n") {
		if value, found := strings.CutPrefix(line, name+": "); found {
			return value
		}
	}
	return ""
}

func fields(text, name string) (all []string) {
	for line := range strings.SplitSeq(text, "\r\n") {
		if value, found := strings.CutPrefix(line, name+": "); found {
			all = append(all, value)
		}
	}
	return all
}

// answer writes a response to a request.
func answer(request, status, tag string, headers ...string) string {
	lines := []string{"SIP/2.0 " + status}
	for _, name := range []string{"Via", "Record-Route", "From", "To", "Call-ID", "CSeq"} {
		for _, value := range fields(request, name) {
			if name == "To" && !strings.Contains(value, ";tag=") {
				value += ";tag=" + tag
			}
			lines = append(lines, name+": "+value)
		}
	}
	return strings.Join(append(append(lines, headers...), "Content-Length: 0", "", ""), "\r\n")
}

func responseTo(callID, method, class string) func(heard) bool {
	return func(m heard) bool {
		return strings.HasPrefix(m.text, "SIP/2.0 "+class) && field(m.text, "Call-ID") == callID && strings.HasSuffix(field(m.text, "CSeq"), " "+method)
	}
}

// mentions says whether a message holds a number, hyphens aside: the whole of it, for
// three digits alone are in a branch, too, sooner or later.
func mentions(digits string) func(heard) bool {
	return func(m heard) bool { return strings.Contains(strings.ReplaceAll(m.text, "-", ""), digits) }
}

func requestOf(callID, method string) func(heard) bool {
	return func(m heard) bool { return strings.HasPrefix(m.text, method+" ") && field(m.text, "Call-ID") == callID }
}

// provider answers as one: it registers whoever asks, and takes every call.
func (a *ua) provide() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reply = func(m heard) []string {
		method, _, _ := strings.Cut(m.text, " ")
		switch method {
		case "ACK":
			return nil
		case "REGISTER":
			return []string{answer(m.text, "200 OK", "reg", "Contact: "+field(m.text, "Contact")+";expires=600")}
		case "INVITE":
			return []string{answer(m.text, "180 Ringing", "far", "Contact: "+a.contact("gw")), answer(m.text, "200 OK", "far", "Contact: "+a.contact("gw"))}
		}
		return []string{answer(m.text, "200 OK", "far")}
	}
}
