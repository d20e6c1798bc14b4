package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// certified writes a certificate for names, which is an authority of its own, and
// its key, and returns it.
func certified(t *testing.T, certificate, key string, names ...string) tls.Certificate {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	der8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: der8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: secret}
}

// answerDNS is a name server for _sips._tcp.itsp.example and its one target, at
// the internet's end.
func answerDNS(conn net.PacketConn, target net.IP) {
	packet := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		question := packet[12:n]
		end := bytes.IndexByte(question, 0) + 5
		name, kind := strings.ToLower(string(question[:end-5])), binary.BigEndian.Uint16(question[end-4:])
		reply := append([]byte{packet[0], packet[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[:end]...)
		record := func(data ...byte) {
			reply[7]++
			reply = append(reply, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(data)))
			reply = append(reply, data...)
		}
		switch {
		case name == "\x05_sips\x04_tcp\x04itsp\x07example" && kind == 33:
			record(append([]byte{0, 10, 0, 0, 5061 >> 8, 5061 & 0xff}, "\x03gw1\x04itsp\x07example\x00"...)...)
		case name == "\x03gw1\x04itsp\x07example" && kind == 1:
			record(target.To4()...)
		}
		_, _ = conn.WriteTo(reply, from)
	}
}

// answerOptions is a provider that answers every OPTIONS over TLS.
func answerOptions(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for {
				reply := "SIP/2.0 200 OK\r\n"
				for {
					line, err := reader.ReadString('\n')
					if err != nil {
						return
					}
					name, _, _ := strings.Cut(line, ":")
					if strings.Contains("Via From To Call-ID CSeq", name) {
						reply += line
					}
					if line == "\r\n" {
						break
					}
				}
				if _, err := io.WriteString(conn, reply+"Content-Length: 0\r\n\r\n"); err != nil {
					return
				}
			}
		}()
	}
}

const pingText = "OPTIONS sip:box SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:40000;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:box>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

// pinged sends an OPTIONS and waits for its answer.
func pinged(conn net.Conn, number int) error {
	if _, err := fmt.Fprintf(conn, pingText, number, number); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(conn)
	start, err := reader.ReadString('\n')
	for line := start; err == nil && line != "\r\n"; {
		line, err = reader.ReadString('\n')
	}
	if err != nil || !strings.HasPrefix(start, "SIP/2.0 200 ") {
		return fmt.Errorf("answered %q: %w", start, err)
	}
	return nil
}

// TestTrunkByDomainOverTLS runs the daemon with a trunk that is a domain: the DNS
// leads to it, the gate lets it in, its certificate is proved, and it is up. Its
// listeners show the box's own certificate, then one from files, which are
// replaced and spoilt while a connection is open.
func TestTrunkByDomainOverTLS(t *testing.T) {
	l := newLab(t)
	path := func(name string) string { return filepath.Join(l.dir, name) }
	provider := certified(t, path("ca.pem"), path("ca.key"), "itsp.example")
	l.inside(l.far, func() error {
		dns, err := net.ListenPacket("udp", "203.0.112.2:53")
		if err != nil {
			return err
		}
		listener, err := tls.Listen("tcp", "203.0.112.2:5061", &tls.Config{Certificates: []tls.Certificate{provider}})
		if err != nil {
			return err
		}
		t.Cleanup(func() { dns.Close(); listener.Close() })
		go answerDNS(dns, net.IPv4(203, 0, 112, 2))
		go answerOptions(listener)
		return nil
	})
	if err := os.WriteFile(path("resolv.conf"), []byte("nameserver 203.0.112.2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.resolv = path("resolv.conf")
	l.start()
	s := settings.Default()
	s.Network.WAN = []string{"wan0"}
	s.Trunks = []settings.Trunk{{Name: "main", Domain: "itsp.example", Host: "itsp.example", Transport: settings.TLS,
		TLS: settings.Identity{CA: path("ca.pem")}, Probe: 5 * time.Second}}
	ctx := context.Background()
	if _, err := l.api.PutDocument(ctx, appliance.DocumentSettings, settings.Encode(s), ""); err != nil {
		t.Fatal(err)
	}
	l.until(func() error {
		answer, err := l.api.Trunks(ctx)
		if err != nil || len(answer.Trunks) != 1 || answer.Trunks[0].State != appliance.TrunkUp {
			return fmt.Errorf("%+v: %w", answer, err)
		}
		if got := answer.Trunks[0].Targets[0]; got.String() != "tls 203.0.112.2:5061" || got.Host != "gw1.itsp.example" || got.Priority != 10 {
			t.Errorf("target %+v", got)
		}
		return nil
	})
	var dump bytes.Buffer
	if err := l.api.Dump(ctx, &dump); err != nil || !strings.Contains(dump.String(), "203.0.112.2/32") {
		t.Errorf("the gate does not know the provider (%v):\n%s", err, &dump)
	}

	// The box's own certificate, which a phone may be given.
	own, err := l.api.Certificates(ctx)
	if err != nil || len(own.Certificates) != 2 || !own.Certificates[0].Own {
		t.Fatalf("%+v: %v", own, err)
	}
	var conn net.Conn
	dial := func(roots []byte, name string) (opened net.Conn, err error) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		l.inside(l.box, func() error {
			opened, err = tls.Dial("tcp", "127.0.0.1:5061", &tls.Config{RootCAs: pool, ServerName: name})
			return nil
		})
		return opened, err
	}
	if conn, err = dial([]byte(own.Certificates[0].PEM), "ringfence"); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := pinged(conn, 1); err != nil {
		t.Fatal(err)
	}

	// Files take its place, and the open connection stays.
	certified(t, path("own.pem"), path("own.key"), "box.example")
	s.SIP.TLS = settings.Secure{On: true, Certificate: path("own.pem"), Key: path("own.key")}
	if _, err := l.api.PutDocument(ctx, appliance.DocumentSettings, settings.Encode(s), ""); err != nil {
		t.Fatal(err)
	}
	shows := func(name string) func() error {
		return func() error {
			roots, err := os.ReadFile(path("own.pem"))
			if err != nil {
				return err
			}
			next, err := dial(roots, name)
			if err == nil {
				next.Close()
			}
			return err
		}
	}
	l.until(shows("box.example"))
	certified(t, path("own.pem"), path("own.key"), "other.example")
	if _, err := l.api.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := shows("other.example")(); err != nil {
		t.Errorf("after a reload: %v", err)
	}
	if err := os.WriteFile(path("own.key"), []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	spoilt, err := l.api.Reload(ctx)
	if err != nil || !strings.Contains(spoilt.Certificates[0].Error, "own.pem") {
		t.Errorf("a spoilt key: %+v, %v", spoilt, err)
	}
	if err := shows("other.example")(); err != nil {
		t.Errorf("with a spoilt key: %v", err)
	}
	status, err := l.api.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]appliance.Level{}
	for _, one := range status.Checks {
		found[one.Name] = one.Level
	}
	if level, some := found["tls"]; !some || level != appliance.Amber {
		t.Errorf("the check of the files is %v", level)
	}
	if level, some := found["trunk main"]; !some || level != appliance.Green {
		t.Errorf("the check of the trunk is %v", level)
	}
	if err := pinged(conn, 2); err != nil {
		t.Errorf("the connection of before: %v", err)
	}
}
