package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/ringfence/ringfence/appliance/settings"
)

// mailbox is a real SMTP server on the internet, whose certificate the daemon
// trusts as it trusts its system's.
type mailbox struct {
	at    string
	mu    sync.Mutex
	mails []letter
}

type letter struct {
	text string
	at   time.Time
}

type delivery struct{ box *mailbox }

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return delivery{b}, nil }
func (delivery) Mail(string, *smtp.MailOptions) error          { return nil }
func (delivery) Rcpt(string, *smtp.RcptOptions) error          { return nil }
func (delivery) Reset()                                        {}
func (delivery) Logout() error                                 { return nil }
func (d delivery) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.box.mails = append(d.box.mails, letter{strings.NewReplacer("\r\n ", " ", "=\r\n", "").Replace(string(data)), time.Now()})
	return err
}

// mail waits for one that holds every word.
func (o *office) mail(b *mailbox, words ...string) (found letter) {
	o.t.Helper()
	o.until(func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, one := range b.mails {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(one.text, word) }) {
				found = one
				return nil
			}
		}
		return fmt.Errorf("no mail has %q: %+v", words, b.mails)
	})
	return found
}

// mailbox opens one. The daemons of the test are told of its authority by the
// environment.
func (o *office) mailbox() *mailbox {
	o.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{carrierAt.AsSlice()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		o.t.Fatal(err)
	}
	roots := filepath.Join(o.dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.t.Setenv("SSL_CERT_FILE", roots)
	b := &mailbox{at: netip.AddrPortFrom(carrierAt, 2525).String()}
	server := smtp.NewServer(b)
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	o.inside(o.far, func() error {
		listener, err := net.Listen("tcp", b.at)
		if err == nil {
			go func() { _ = server.Serve(listener) }()
		}
		return err
	})
	o.t.Cleanup(func() { _ = server.Close() })
	return b
}

func (b *mailbox) told() settings.Mail {
	return settings.Mail{Server: b.at, From: "box@example.net", To: []string{"office@example.net"}}
}
