package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// shelf is a disk that holds one thing.
type shelf struct {
	data []byte
	err  error
	puts int
}

func (s *shelf) Identity(accept func([]byte) error) (string, error) {
	if s.data == nil {
		return "", fs.ErrNotExist
	}
	return "", accept(s.data)
}

func (s *shelf) PutIdentity(data []byte) error {
	s.puts++
	if s.err == nil {
		s.data = data
	}
	return s.err
}

// bench is a Keeper with a folder of files.
type bench struct {
	*Keeper
	t      *testing.T
	dir    string
	shelf  *shelf
	now    time.Time
	events []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), shelf: &shelf{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b.restart()
	return b
}

func (b *bench) restart() {
	b.Keeper = New(Config{Shelf: b.shelf, Now: func() time.Time { return b.now }, Addresses: func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2001:db8::1")}, nil
	}}, func(e appliance.Event) { b.events = append(b.events, e.Verdict.String()+" "+e.Subject+": "+e.Message) })
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name string, data []byte) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// pair writes a certificate of that name and its key.
func (b *bench) pair(host string, until time.Time) {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host},
		DNSNames: []string{host}, NotBefore: b.now.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	b.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func (b *bench) files() Files { return Files{Certificate: b.path("cert.pem"), Key: b.path("key.pem")} }

// told returns what was reported since the last call.
func (b *bench) told() string {
	out := strings.Join(b.events, "\n")
	b.events = nil
	return out
}

func (b *bench) finds(level appliance.Level, text string) {
	b.t.Helper()
	for _, one := range b.Checks() {
		if one.Level == level && strings.Contains(one.Message, text) {
			return
		}
	}
	b.t.Errorf("no %s check says %q: %v", level, text, b.Checks())
}

func TestOwnCertificate(t *testing.T) {
	b := newBench(t)
	b.Want(Wanted{Own: {}})
	first := b.Current()[Own]
	if first.Certificate == nil || !first.Self || first.Trouble != nil {
		t.Fatalf("got %+v", first)
	}
	if got := strings.Join(Names(first.Certificate), " "); got != "ringfence 192.0.2.1 2001:db8::1" {
		t.Errorf("names %q", got)
	}
	b.finds(appliance.Green, "the box's own certificate: ringfence, 192.0.2.1")

	// A restart shows the same one; shortly before it ends there is another.
	b.restart()
	b.Want(Wanted{Own: {}})
	if again := b.Current()[Own].Certificate; Fingerprint(again) != Fingerprint(first.Certificate) {
		t.Error("another certificate after a restart")
	}
	b.now = first.Certificate.Leaf.NotAfter.Add(-renewal)
	b.look()
	if again := b.Current()[Own].Certificate; Fingerprint(again) == Fingerprint(first.Certificate) || b.shelf.puts != 2 {
		t.Error("the certificate was not renewed")
	}

	// What is kept may be damaged, and the disk full.
	b.shelf.data, b.shelf.err = []byte(`{"schema": 1, "certificate": "x"}`), errors.New("no space left")
	b.restart()
	b.Want(Wanted{Own: {}})
	if b.Current()[Own].Certificate == nil {
		t.Error("no certificate")
	}
	b.finds(appliance.Amber, "no space left")
}

// TestReload replaces files while they are in use.
func TestReload(t *testing.T) {
	b := newBench(t)
	b.pair("one.example", b.now.Add(90*24*time.Hour))
	b.Want(Wanted{Own: b.files()})
	first := b.Current()[Own].Certificate
	if b.look(); b.Current()[Own].Certificate != first || b.told() != "" {
		t.Error("the same files are another certificate")
	}
	b.pair("two.example", b.now.Add(20*24*time.Hour))
	b.look()
	second := b.Current()[Own].Certificate
	if second == first || second.Leaf.DNSNames[0] != "two.example" {
		t.Errorf("in use: %v", second.Leaf.DNSNames)
	}
	if got := b.told(); !strings.HasPrefix(got, "allow tls: TLS of the listeners: another certificate is in use: two.example, until ") {
		t.Errorf("told %q", got)
	}
	b.finds(appliance.Amber, "the certificate ends soon")

	// A certificate without its key is a moment of a replacement, or a mistake.
	good, _ := os.ReadFile(b.path("key.pem"))
	b.pair("three.example", b.now.Add(90*24*time.Hour))
	b.write("key.pem", good)
	if b.look(); b.Current()[Own].Certificate != second || b.told() != "" {
		t.Error("a moment's mismatch was told")
	}
	b.look()
	if got := b.told(); !strings.Contains(got, "block tls: ") || !strings.Contains(got, "private key does not match") || !strings.HasSuffix(got, "stays in use") {
		t.Errorf("told %q", got)
	}
	if b.look(); b.told() != "" {
		t.Error("told again")
	}
	b.finds(appliance.Amber, "stays in use")
	b.pair("four.example", b.now.Add(-time.Minute))
	b.Reload()
	if got := b.told(); !strings.Contains(got, "the files can be used again") {
		t.Errorf("told %q", got)
	}
	b.finds(appliance.Red, "the certificate has expired: four.example")
}

// TestTrouble goes through files that can't be used, and were never.
func TestTrouble(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(b *bench)
		says  string
	}{
		"no certificate":         {func(b *bench) { os.Remove(b.path("cert.pem")) }, "cert.pem: no such file"},
		"no key":                 {func(b *bench) { os.Remove(b.path("key.pem")) }, "key.pem: no such file"},
		"certificate is no PEM":  {func(b *bench) { b.write("cert.pem", []byte("x")) }, "cert.pem: failed to find any PEM data"},
		"key is a certificate":   {func(b *bench) { data, _ := os.ReadFile(b.path("cert.pem")); b.write("key.pem", data) }, "found a certificate rather than a key"},
		"CA without certificate": {func(b *bench) { b.write("ca.pem", []byte("# nothing\n")) }, "ca.pem: it holds no certificate"},
		"CA is a folder":         {func(b *bench) { os.Remove(b.path("ca.pem")); os.Mkdir(b.path("ca.pem"), 0o700) }, "ca.pem: it is no file"},
		"CA is too long":         {func(b *bench) { b.write("ca.pem", make([]byte, maxFile+1)) }, "ca.pem: it is longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.pair("itsp.example", b.now.Add(90*24*time.Hour))
			data, _ := os.ReadFile(b.path("cert.pem"))
			b.write("ca.pem", data)
			tc.spoil(b)
			files := b.files()
			files.CA = b.path("ca.pem")
			b.Want(Wanted{"itsp": files})
			one := b.Current()["itsp"]
			if one.Trouble == nil || !one.Lost || !strings.Contains(one.Trouble.Error(), tc.says) {
				t.Errorf("trouble %v (lost %v), want %q", one.Trouble, one.Lost, tc.says)
			}
			if one.CAs == nil {
				t.Error("the CAs of the system would be believed instead")
			}
			if got := b.told(); !strings.Contains(got, "block itsp: TLS toward itsp: ") || !strings.Contains(got, tc.says) {
				t.Errorf("told %q", got)
			}
			b.finds(appliance.Red, tc.says)
			b.Want(Wanted{})
			if len(b.Current()) != 0 || len(b.Checks()) != 0 {
				t.Error("a trunk that is gone still has files")
			}
		})
	}
}
