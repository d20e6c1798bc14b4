package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Who speaks in a call under test.
var (
	phoneAt    = netip.MustParseAddr("10.9.0.2")
	boxOnLAN   = netip.MustParseAddrPort("10.9.0.1:5060")
	carrierAt  = netip.MustParseAddr("203.0.112.2")
	carrierSIP = netip.AddrPortFrom(carrierAt, 5060)
)

// withLAN gives the box a LAN behind NAT and returns its namespace.
func (l *lab) withLAN() string {
	l.t.Helper()
	lan := strings.Replace(l.box, "box", "lan", 1)
	l.must("ip", "netns", "add", lan)
	l.t.Cleanup(func() { exec.Command("ip", "netns", "del", lan).Run() })
	l.must("ip", "-n", l.box, "link", "add", "lan", "type", "veth", "peer", "name", "host", "netns", lan)
	l.must("ip", "-n", l.box, "addr", "add", "10.9.0.1/24", "dev", "lan")
	l.must("ip", "-n", lan, "addr", "add", "10.9.0.2/24", "dev", "host")
	for namespace, port := range map[string]string{l.box: "lan", lan: "host"} {
		l.must("ip", "-n", namespace, "link", "set", port, "up")
	}
	l.must("ip", "-n", lan, "route", "add", "default", "via", "10.9.0.1")
	l.inside(l.box, func() error {
		command := exec.Command("nft", "-f", "-")
		command.Stdin = strings.NewReader("table ip nat { chain out { type nat hook postrouting priority 100; oifname \"wan0\" masquerade; }; }")
		out, err := command.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			l.t.Skip("NOT TESTED: cuts through NAT, for there is no nft")
		}
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	})
	return lan
}

// voice is one end of a call: a socket for SIP, and one for RTP whose packets
// have numbers.
type voice struct {
	l     *lab
	name  string
	sip   *net.UDPConn
	rtp   *net.UDPConn
	to    netip.AddrPort // SIP
	inbox chan string
	kept  []string

	mu   sync.Mutex
	got  map[uint32]time.Time
	from netip.AddrPort // whom RTP came from last
}

func (l *lab) voice(name, namespace string, at netip.Addr, media uint16, to netip.AddrPort) *voice {
	l.t.Helper()
	v := &voice{l: l, name: name, to: to, inbox: make(chan string, 4096), got: map[uint32]time.Time{}}
	l.inside(namespace, func() (err error) {
		if v.sip, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 5060))); err != nil {
			return err
		}
		v.rtp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, media)))
		return err
	})
	l.t.Cleanup(func() { v.sip.Close(); v.rtp.Close() })
	go v.read(v.sip, func(data []byte, _ netip.AddrPort) { v.inbox <- string(data) })
	go v.read(v.rtp, func(data []byte, from netip.AddrPort) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(data) >= 12 {
			v.got[binary.BigEndian.Uint32(data[4:])], v.from = time.Now(), from
		}
	})
	return v
}

func (v *voice) read(conn *net.UDPConn, take func([]byte, netip.AddrPort)) {
	for buffer := make([]byte, 65536); ; {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			take(buffer[:n], from)
		}
	}
}

// say sends a message written with LF.
func (v *voice) say(text string) {
	v.l.t.Helper()
	head, body, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n\n")
	head = strings.ReplaceAll(strings.TrimRight(head, "\n"), "\n", "\r\n")
	body = strings.ReplaceAll(body, "\n", "\r\n")
	if _, err := v.sip.WriteToUDPAddrPort([]byte(fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)), v.to); err != nil && !errors.Is(err, net.ErrClosed) { // closed: the test is over
		v.l.t.Errorf("%s: %v", v.name, err)
	}
}

// hear returns the next message that begins so; what came before is kept.
func (v *voice) hear(start string) string {
	v.l.t.Helper()
	for n, text := range v.kept {
		if strings.HasPrefix(text, start) {
			v.kept = slices.Delete(v.kept, n, n+1)
			return text
		}
	}
	for limit := time.After(patience); ; {
		select {
		case text := <-v.inbox:
			if strings.HasPrefix(text, start) {
				return text
			}
			v.kept = append(v.kept, text)
		case <-limit:
			v.l.t.Fatalf("%s: waited in vain for %q, got %q", v.name, start, v.kept)
		}
	}
}

func (v *voice) answer(request, status string, more ...string) {
	v.l.t.Helper()
	lines := []string{"SIP/2.0 " + status}
	head, _, _ := strings.Cut(request, "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "To":
			if !strings.Contains(line, ";tag=") {
				line += ";tag=" + v.name
			}
			fallthrough
		case "Via", "Record-Route", "From", "Call-ID", "CSeq":
			lines = append(lines, line)
		}
	}
	v.say(strings.Join(append(lines, more...), "\n"))
}

// hangsUp has the end answer the next BYE, whenever that comes.
func (v *voice) hangsUp(status string) {
	go func() {
		for text := range v.inbox {
			if strings.HasPrefix(text, "BYE ") {
				v.answer(text, status)
				return
			}
		}
	}()
}

// talk sends one packet of RTP.
func (v *voice) talk(to netip.AddrPort, number uint32) {
	packet := make([]byte, 172)
	packet[0] = 0x80
	binary.BigEndian.PutUint32(packet[4:], number)
	_, _ = v.rtp.WriteToUDPAddrPort(packet, to) // an ICMP error of an earlier one may be told
}

func (v *voice) heard(number uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.got[number]
	return ok
}

// hearsFrom returns whom RTP came from last.
func (v *voice) hearsFrom() netip.AddrPort {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.from
}

// since returns how many packets from a number on have come, and when the last of
// all did.
func (v *voice) since(number uint32) (count int, last time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for one, at := range v.got {
		if one >= number {
			count++
		}
		if at.After(last) {
			last = at
		}
	}
	return count, last
}

func description(at netip.Addr, port uint16) string {
	return fmt.Sprintf("\n\nv=0\no=- 1 1 IN IP4 %[1]s\ns=-\nc=IN IP4 %[1]s\nt=0 0\nm=audio %[2]d RTP/AVP 0\n", at, port)
}

// dial has the phone call somebody, and the carrier answer.
func (l *lab) dial(phone, carrier *voice, id string) {
	l.t.Helper()
	phone.say(fmt.Sprintf(`
INVITE sip:+61491570156@carrier.example SIP/2.0
Via: SIP/2.0/UDP %[1]s:5060;rport;branch=z9hG4bK%[2]s
Max-Forwards: 70
From: <sip:101@%[1]s>;tag=phone
To: <sip:+61491570156@carrier.example>
Call-ID: %[2]s
CSeq: 1 INVITE
Contact: <sip:101@%[1]s>
Content-Type: application/sdp`, phoneAt, id) + description(phoneAt, 4000))
	invite := carrier.hear("INVITE ")
	carrier.answer(invite, "200 OK", "Contact: <sip:gw@203.0.112.2>", "Content-Type: application/sdp"+description(carrierAt, 30000))
	ok := phone.hear("SIP/2.0 200")
	_, contact, _ := strings.Cut(ok, "Contact: <")
	contact, _, _ = strings.Cut(contact, ">")
	_, route, _ := strings.Cut(ok, "Record-Route: ")
	route, _, _ = strings.Cut(route, "\r\n")
	_, second, found := strings.Cut(ok[strings.Index(ok, route)+len(route):], "Record-Route: ")
	routes := "Route: " + route
	if found { // nearest hop first
		second, _, _ = strings.Cut(second, "\r\n")
		routes = "Route: " + second + "\n" + routes
	}
	phone.say(fmt.Sprintf(`
ACK %[1]s SIP/2.0
Via: SIP/2.0/UDP %[2]s:5060;rport;branch=z9hG4bKack%[3]s
%[4]s
Max-Forwards: 70
From: <sip:101@%[2]s>;tag=phone
To: <sip:+61491570156@carrier.example>;tag=carrier
Call-ID: %[3]s
CSeq: 1 ACK
`, contact, phoneAt, id, routes))
	carrier.hear("ACK ")
}

// TestDaemonCutsCalls places calls through the whole box, with RTP through its NAT
// in both directions, and cuts them: where the provider answers the BYE, wants a
// password for it, or says nothing. Not one packet passes once the cut has been
// answered, and the log says how soon the last one came.
func TestDaemonCutsCalls(t *testing.T) {
	for _, c := range []struct {
		name     string
		bye      string // how the provider answers
		complete bool
		provider appliance.CutState
	}{
		{"answered", "200 OK", true, appliance.CutConfirmed},
		{"challenged", "401 Unauthorized", false, appliance.CutChallenged},
		{"lost", "", false, appliance.CutPending}, // until Timer F
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			lan := l.withLAN()
			l.start()
			s := wired([]string{"wan0"}, "10.9.0.1:5060", "203.0.112.1:5060")
			s.Network.LAN = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
			s.Media.Guard = settings.MediaEnforce
			s.Trunks = []settings.Trunk{{Name: "carrier", Domain: "carrier.example", Address: carrierSIP, Transport: settings.UDP}}
			l.mustPut(s)
			l.level("inspector", appliance.Green, "udp 10.9.0.1:5060")
			phone := l.voice("phone", lan, phoneAt, 4000, boxOnLAN)
			carrier := l.voice("carrier", l.far, carrierAt, 30000, netip.MustParseAddrPort("203.0.112.1:5060"))
			l.dial(phone, carrier, c.name)
			l.cutting(phone, carrier, c.bye, c.complete, c.provider)
			if !c.complete {
				l.level("cuts", map[bool]appliance.Level{true: appliance.Amber, false: appliance.Red}[c.bye == ""], "cut incomplete")
			}
		})
	}
}

// talking has both ends send RTP until stop is called; said holds the number of
// each one's last packet.
func (l *lab) talking(phone, carrier *voice, there, back netip.AddrPort) (said map[*voice]*atomic.Uint32, stop func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var talking sync.WaitGroup
	said = map[*voice]*atomic.Uint32{phone: {}, carrier: {}}
	for one, to := range map[*voice]netip.AddrPort{phone: there, carrier: back} {
		talking.Go(func() {
			for number := uint32(2); ctx.Err() == nil; number++ {
				one.talk(to, number)
				said[one].Store(number)
				time.Sleep(time.Millisecond)
			}
		})
	}
	stop = func() { cancel(); talking.Wait() }
	l.t.Cleanup(stop)
	l.until(func() error {
		in, _ := phone.since(2)
		out, _ := carrier.since(2)
		if in < 20 || out < 20 {
			return fmt.Errorf("%d packets came in and %d went out", in, out)
		}
		return nil
	})
	return said, stop
}

// silent sends 200 packets either way, none of which may come through.
func (l *lab) silent(phone, carrier *voice, there, back netip.AddrPort) {
	l.t.Helper()
	const after = 1_000_000
	for n := range uint32(200) {
		phone.talk(there, after+n)
		carrier.talk(back, after+n)
	}
	// Every one of them has been dropped, on the way out or in.
	l.until(func() error {
		drops, err := l.api.Drops(context.Background(), 0, 1)
		if err != nil {
			return err
		}
		if in, out := drops.Tallies[appliance.ReasonMediaCut].Packets, drops.Tallies[appliance.ReasonMediaCutOut].Packets; in < 200 || out < 200 {
			return fmt.Errorf("%d were dropped on the way in and %d on the way out", in, out)
		}
		return nil
	})
	in, _ := phone.since(after)
	out, _ := carrier.since(after)
	if in+out != 0 {
		l.t.Errorf("after the cut %d packets came to the phone and %d to the carrier", in, out)
	}
}

// soon checks and logs how long after a cut was asked for the last packet came. The
// media does not wait for the BYE: 500 packets are half a second.
func (l *lab) soon(phone, carrier *voice, began time.Time, sentIn, sentOut uint32) {
	l.t.Helper()
	in, lastIn := phone.since(sentIn + 500)
	out, lastOut := carrier.since(sentOut + 500)
	if in+out != 0 {
		l.t.Errorf("of the packets sent half a second after the cut was asked for, and later, %d came to the phone and %d to the carrier", in, out)
	}
	ms := func(last time.Time) float64 { return max(0, last.Sub(began).Seconds()*1000) }
	l.t.Logf("BYE %s, RTP each millisecond: the last packet came to the phone %.1f ms and to the carrier %.1f ms after the cut was asked for; the BYEs were over after %d ms",
		path.Base(l.t.Name()), ms(lastIn), ms(lastOut), time.Since(began).Milliseconds())
}

// cutting cuts the one call while both sides talk.
func (l *lab) cutting(phone, carrier *voice, bye string, complete bool, provider appliance.CutState) {
	l.t.Helper()
	there := netip.AddrPortFrom(carrierAt, 30000)
	l.until(func() error {
		phone.talk(there, 1)
		if !carrier.heard(1) {
			return errors.New("the carrier hears nothing")
		}
		return nil
	})
	back := carrier.hearsFrom()
	said, stop := l.talking(phone, carrier, there, back)
	live, err := l.api.Top(context.Background(), "", 1)
	if err != nil || len(live.Live) != 1 {
		l.t.Fatalf("in progress: %+v, %v", live.Live, err)
	}
	phone.hangsUp("200 OK")
	if bye != "" {
		carrier.hangsUp(bye)
	}
	began, sentIn, sentOut := time.Now(), said[carrier].Load(), said[phone].Load()
	result, err := l.api.Cut(context.Background(), live.Live[0].ID, api.NewCut{Reason: "not one of ours"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.soon(phone, carrier, began, sentIn, sentOut)
	stop()
	l.silent(phone, carrier, there, back)
	if result.Complete != complete || result.Media != "stopped in both directions" || !slices.ContainsFunc(result.Sides, func(side appliance.CutSide) bool {
		return side.Side == "provider" && side.State == provider && side.Address == carrierSIP.String()
	}) {
		l.t.Errorf("cut %+v", result)
	}
	record, err := l.api.Call(context.Background(), live.Live[0].ID)
	if err != nil || record.Reason != appliance.ReasonCut || record.Why != "not one of ours" || record.End.IsZero() {
		l.t.Errorf("record %+v, %v", record, err)
	}
}
