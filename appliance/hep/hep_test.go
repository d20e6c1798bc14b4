package hep

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

const patience = 20 * time.Second

// example is the packet in the HEP3 specification, section "Example".
const example = `48455033 0071 000000010007 02 000000020007 11 00000003000a d4ca0001 00000004000a 527400d3
	000000070008 2eea 000000080008 13c4 00000009000a 4e4982cb 0000000a000a 0001d4c0 0000000b0007 01
	0000000c000a 000000e4 0000000f0014 494e56495445207369703a626f62`

func TestEncodeTheExample(t *testing.T) {
	want, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(example))
	if err != nil {
		t.Fatal(err)
	}
	got := Encode(appliance.Message{
		Time: time.Unix(0x4e4982cb, 0x1d4c0*1000), Transport: "udp", Text: "INVITE sip:bob",
		Remote: netip.MustParseAddrPort("212.202.0.1:12010"), Local: netip.MustParseAddrPort("82.116.0.211:5060"),
	}, "", 0xe4, "")
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// chunks takes a packet apart, and fails where its lengths don't add up.
func chunks(t *testing.T, packet []byte) map[uint16]string {
	t.Helper()
	if len(packet) < 6 || string(packet[:4]) != "HEP3" || int(binary.BigEndian.Uint16(packet[4:])) != len(packet) {
		t.Fatalf("no packet: %x", packet)
	}
	found := map[uint16]string{}
	for rest := packet[6:]; len(rest) > 0; {
		kind, length := binary.BigEndian.Uint16(rest[2:]), int(binary.BigEndian.Uint16(rest[4:]))
		if rest[0] != 0 || rest[1] != 0 || length < 6 || length > len(rest) {
			t.Fatalf("no chunk: %x", rest)
		}
		found[kind] = string(rest[6:length])
		rest = rest[length:]
	}
	return found
}

func TestEncode(t *testing.T) {
	m := appliance.Message{
		Time: time.Unix(1_800_000_000, 123_456_789), Sent: true, Transport: "tls", Text: strings.Repeat("x", 70_000),
		Remote: netip.MustParseAddrPort("[2001:db8::5]:5061"), Local: netip.MustParseAddrPort("[2001:db8::1]:40000"),
	}
	got := chunks(t, Encode(m, "a@b", 1<<32-1, "secret"))
	source, destination := m.Local.Addr().As16(), m.Remote.Addr().As16()
	for kind, want := range map[uint16]string{
		chunkFamily: "\x0a", chunkProtocol: "\x06", chunkSource6: string(source[:]), chunkDest6: string(destination[:]),
		chunkSourcePort: "\x9c\x40", chunkDestPort: "\x13\xc5", chunkSeconds: "\x6b\x49\xd2\x00", chunkMicros: "\x00\x01\xe2\x40",
		chunkPayloadType: "\x01", chunkCaptureID: "\xff\xff\xff\xff", chunkPassword: "secret", chunkCorrelation: "a@b",
	} {
		if got[kind] != want {
			t.Errorf("chunk %#04x: %x, want %x", kind, got[kind], want)
		}
	}
	if text := got[chunkPayload]; len(text) < 64_000 || len(text) > maxPacket {
		t.Errorf("%d bytes of text", len(text))
	}
	if _, found := got[chunkSource4]; found {
		t.Error("an IPv4 address beside IPv6 ones")
	}
}

// message is one with credentials in it.
func message(n int) appliance.Message {
	return appliance.Message{
		Time: time.Unix(1_800_000_000, 0), Transport: "udp",
		Remote: netip.MustParseAddrPort("192.0.2.7:5060"), Local: netip.MustParseAddrPort("192.0.2.1:5060"),
		Text: fmt.Sprintf("REGISTER sip:itsp.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK%d\r\nFrom: <sip:201@itsp.example>;tag=a\r\n"+
			"To: <sip:201@itsp.example>\r\nCall-ID: call%d\r\nCSeq: %d REGISTER\r\n"+
			"Authorization: Digest username=\"201\", realm=\"i\", nonce=\"n0nce\", response=\"deadbeef\"\r\nContent-Length: 0\r\n\r\n", n, n, n+1),
	}
}

// running is an exporter at work.
type running struct {
	*Exporter
	mu     sync.Mutex
	events []string
}

func start(t *testing.T, to Collector) *running {
	t.Helper()
	r := &running{}
	r.Exporter = New(func(e appliance.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e.Message)
	}, time.Now)
	r.pause = 5 * time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, to) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil || r.Wants() || r.waiting.Load() != 0 {
			t.Errorf("run: %v; wants %v, %d bytes wait", err, r.Wants(), r.waiting.Load())
		}
	})
	until(t, "it runs", r.Wants)
	return r
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (r *running) told(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(strings.Join(r.events, "\n"), text)
}

func checkPacket(t *testing.T, packet []byte, n int) {
	t.Helper()
	got := chunks(t, packet)
	if got[chunkCorrelation] != fmt.Sprintf("call%d", n) || !strings.HasPrefix(got[chunkPayload], "REGISTER ") {
		t.Errorf("message %d: %v", n, got)
	}
	for _, secret := range []string{"n0nce", "deadbeef"} {
		if strings.Contains(string(packet), secret) {
			t.Errorf("%q went out", secret)
		}
	}
}

func TestOverUDP(t *testing.T) {
	collector, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	e := start(t, Collector{Address: collector.LocalAddr().String(), Transport: "udp"})
	buffer := make([]byte, 65536)
	for n := range 3 {
		e.Take(fmt.Sprintf("call%d", n), message(n))
		_ = collector.SetReadDeadline(time.Now().Add(patience))
		size, _, err := collector.ReadFrom(buffer)
		if err != nil {
			t.Fatal(err)
		}
		checkPacket(t, buffer[:size], n)
	}
	until(t, "all are counted", func() bool { return e.Export().Sent == 3 })
	// Nobody listens any more: the network says so, and the exporter goes on.
	collector.Close()
	until(t, "the trouble is told", func() bool {
		e.Take("call", message(0))
		return e.told("copies of messages are dropped") && e.Export().Dropped > 0 && e.Export().Trouble != ""
	})
}

// packetFrom reads one packet from a stream.
func packetFrom(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	header := make([]byte, 6)
	if _, err := io.ReadFull(conn, header); err != nil {
		t.Fatal(err)
	}
	packet := append(header, make([]byte, int(binary.BigEndian.Uint16(header[4:]))-6)...)
	if _, err := io.ReadFull(conn, packet[6:]); err != nil {
		t.Fatal(err)
	}
	return packet
}

// TestReconnects has a collector that goes away and comes back at its address.
func TestReconnects(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	e := start(t, Collector{Address: address, Transport: "tcp"})
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	e.Take("call0", message(0))
	e.Take("call1", message(1))
	checkPacket(t, packetFrom(t, conn), 0)
	checkPacket(t, packetFrom(t, conn), 1)
	listener.Close()
	conn.Close()
	until(t, "the trouble is told", func() bool { return e.told("copies of messages are dropped") })
	until(t, "what comes meanwhile is dropped", func() bool {
		e.Take("call", message(0))
		return e.Export().Dropped > 0
	})
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if conn, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	until(t, "all is well again", func() bool { return e.told("again") && e.Export().Trouble == "" })
	e.Take("call7", message(7))
	for n := 0; ; n++ {
		if got := chunks(t, packetFrom(t, conn)); got[chunkCorrelation] == "call7" {
			break
		} else if n > 3*queueLength {
			t.Fatal("the new message does not come")
		}
	}
}

// TestNeverBlocks has a collector that accepts and reads nothing.
func TestNeverBlocks(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	e := start(t, Collector{Address: listener.Addr().String(), Transport: "tcp"})
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := message(0)
	m.Text += strings.Repeat("x", 60_000)
	for e.Export().Dropped == 0 { // ends: kernel buffers and the queue are bounded
		e.Take("call0", m)
		if waiting := e.waiting.Load(); waiting > queueBytes {
			t.Fatalf("%d bytes wait", waiting)
		}
	}
}

func TestOverTLS(t *testing.T) {
	certificate, roots := certify(t, "homer.example.net", netip.MustParseAddr("127.0.0.1"))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	e := start(t, Collector{Address: listener.Addr().String(), Transport: "tls", RootCAs: roots})
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	e.Take("call0", message(0))
	checkPacket(t, packetFrom(t, conn), 0)
}

// TestStrangerOverTLS: a certificate that nobody vouches for gets nothing.
func TestStrangerOverTLS(t *testing.T) {
	certificate, _ := certify(t, "homer.example.net", netip.MustParseAddr("127.0.0.1"))
	_, others := certify(t, "homer.example.net", netip.MustParseAddr("127.0.0.1"))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	e := start(t, Collector{Address: listener.Addr().String(), Transport: "tls", RootCAs: others})
	until(t, "it is told", func() bool { return e.told("certificate") })
	if sent := e.Export().Sent; sent != 0 {
		t.Errorf("%d messages went out", sent)
	}
}

func certify(t *testing.T, name string, addr netip.Addr) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{addr.AsSlice()}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// TestRealReceiver has another program take what we send: sngrep, as a collector of
// HEP over UDP, which writes the messages inside into a capture file.
func TestRealReceiver(t *testing.T) {
	sngrep, err := exec.LookPath("sngrep")
	if err != nil {
		t.Skip("SKIPPED, NO OTHER PROGRAM READS OUR HEP: there is no sngrep (scripts/bootstrap test)")
	}
	port, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := port.LocalAddr().String()
	port.Close()
	file := filepath.Join(t.TempDir(), "out.pcap")
	receiver := exec.Command(sngrep, "-F", "-N", "-q", "-L", "udp:"+address, "-O", file)
	receiver.Env = append(os.Environ(), "TERM=xterm")
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = receiver.Process.Kill()
		_ = receiver.Wait()
	}()
	e := start(t, Collector{Address: address, Transport: "udp", CaptureID: 2001, Password: ""})
	m := message(3)
	m.Sent = true
	until(t, "sngrep has written the message", func() bool {
		e.Take("call3", m)
		data, err := os.ReadFile(file)
		return err == nil && bytes.Contains(data, []byte("Call-ID: call3"))
	})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("deadbeef")) || bytes.Contains(data, []byte("n0nce")) {
		t.Error("credentials reached the collector")
	}
	// The addresses and ports that sngrep read out of the chunks: from 192.0.2.1 to
	// 192.0.2.7, both on 5060.
	if !bytes.Contains(data, []byte{192, 0, 2, 1, 192, 0, 2, 7, 0x13, 0xc4, 0x13, 0xc4}) {
		t.Errorf("sngrep read other addresses: %x", data[:min(len(data), 120)])
	}
}
