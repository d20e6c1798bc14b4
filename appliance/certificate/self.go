package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"time"
)

// lifetime of the certificate that the box makes itself. Those who trust it were
// shown it by hand: they shall not have to do that again soon.
const lifetime = 10 * 365 * 24 * time.Hour

// renewal is how long before its end another one is made.
const renewal = 30 * 24 * time.Hour

// stored is the box's own certificate on disk.
type stored struct {
	Schema      int    `json:"schema"`
	Certificate string `json:"certificate"` // PEM
	Key         string `json:"key"`         // PEM
}

// own returns the certificate that the box signed itself: the one that it keeps,
// or a new one where there is none or it ends.
func (k *Keeper) own() (*tls.Certificate, error) {
	if k.self == nil {
		k.self = k.kept()
	}
	if k.self != nil && k.config.Now().Before(k.self.Leaf.NotAfter.Add(-renewal)) {
		return k.self, nil
	}
	made, data, err := k.sign()
	if err != nil {
		return k.self, err
	}
	k.self = made
	if err := k.config.Shelf.PutIdentity(data); err != nil {
		return made, fmt.Errorf("keep the box's own certificate: %w; it is another one after a restart", err)
	}
	return made, nil
}

// kept reads the certificate of before. What can't be used is replaced.
func (k *Keeper) kept() *tls.Certificate {
	var out *tls.Certificate
	_, err := k.config.Shelf.Identity(func(data []byte) error {
		var on stored
		if err := json.Unmarshal(data, &on); err != nil {
			return err
		}
		read, err := pair([]byte(on.Certificate), []byte(on.Key), "of the box")
		out = read
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return out
}

// sign makes a certificate for the box's addresses, and what is kept of it.
func (k *Keeper) sign() (*tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	now := k.config.Now()
	// It is an authority of its own and of nothing else, so that a phone which
	// wants one can be given it.
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Ringfence"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		DNSNames: []string{"ringfence"}, IPAddresses: k.addresses(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the box's own certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("write the box's own key: %w", err)
	}
	on := stored{
		Schema:      1,
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
	}
	made, err := pair([]byte(on.Certificate), []byte(on.Key), "of the box")
	if err != nil {
		return nil, nil, err
	}
	data, err := json.MarshalIndent(on, "", "  ")
	return made, data, err
}

// addresses are those of the box that a neighbour may know it by.
func (k *Keeper) addresses() []net.IP {
	all, err := k.config.Addresses()
	if err != nil {
		return nil
	}
	var out []net.IP
	for _, addr := range all {
		if addr = addr.Unmap(); addr.IsValid() && !addr.IsLinkLocalUnicast() && !addr.IsMulticast() {
			out = append(out, net.IP(addr.WithZone("").AsSlice()))
		}
	}
	return out
}
