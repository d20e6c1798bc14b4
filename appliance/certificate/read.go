package certificate

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxFile bounds a PEM file, bytes: the bundle of every public authority is a
// quarter of it.
const maxFile = 1 << 20

var (
	errLong = fmt.Errorf("it is longer than %d bytes", maxFile)
	errNone = errors.New("it holds no certificate in PEM form")
)

// readPair reads a certificate and the key to it.
func readPair(certificate, key string) (*tls.Certificate, error) {
	chain, err := readFile("certificate", certificate)
	if err != nil {
		return nil, err
	}
	secret, err := readFile("key", key)
	if err != nil {
		return nil, err
	}
	return pair(chain, secret, certificate)
}

func pair(chain, secret []byte, where string) (*tls.Certificate, error) {
	out, err := tls.X509KeyPair(chain, secret)
	if err != nil {
		// crypto/tls says "tls: ..." of what is no more than a file.
		return nil, fmt.Errorf("use certificate %s: %s", where, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &out, nil
}

// readCAs reads a file of certificates that are believed.
func readCAs(path string) (*x509.CertPool, error) {
	data, err := readFile("CA", path)
	if err != nil {
		return nil, err
	}
	pool, found := x509.NewCertPool(), false
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read CA %s: %w", path, err)
		}
		pool.AddCert(one)
		found = true
	}
	if !found {
		return nil, fmt.Errorf("read CA %s: %w", path, errNone)
	}
	return pool, nil
}

func readFile(what, path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", what, path, err)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errLong
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", what, path, err)
	}
	return data, nil
}

// Fingerprint is the SHA-256 of a certificate, in hex.
func Fingerprint(one *tls.Certificate) string {
	sum := sha256.Sum256(one.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}

// Names are what a certificate is for: DNS names, addresses and SIP domains (RFC
// 5922 section 7.1).
func Names(one *tls.Certificate) []string {
	out := append([]string{}, one.Leaf.DNSNames...)
	for _, addr := range one.Leaf.IPAddresses {
		out = append(out, addr.String())
	}
	for _, uri := range one.Leaf.URIs {
		out = append(out, uri.String())
	}
	return out
}

// Describe says in a few words which certificate it is.
func Describe(one *tls.Certificate) string {
	names := Names(one)
	if len(names) == 0 {
		names = []string{"no name"}
	}
	const few = 4
	if len(names) > few {
		names = append(names[:few:few], fmt.Sprintf("%d more", len(names)-few))
	}
	return fmt.Sprintf("%s, until %s, SHA-256 %s", strings.Join(names, ", "), one.Leaf.NotAfter.UTC().Format(time.DateOnly), Fingerprint(one)[:16])
}
