package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Webhook says which server hears of notices, as JSON, and by which key it can
// tell that they are ours.
type Webhook struct {
	URL    string // https
	Secret []byte // at least 16 bytes
	Roots  *x509.CertPool
}

// hook delivers by HTTP. A request carries the header
//
//	Ringfence-Signature: t=SECONDS,v1=HEX
//
// where HEX is HMAC-SHA256 with the secret over SECONDS, a dot and the body: whoever
// checks both can't be played an old message.
type hook struct {
	Webhook
	client *http.Client
	now    func() time.Time
}

func newHook(w Webhook) (hook, error) {
	at, err := url.Parse(w.URL)
	switch {
	case err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil:
		return hook{}, errors.New("want an https URL without a password")
	case len(w.Secret) < 16:
		return hook{}, errors.New("want a secret of at least 16 bytes")
	}
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return hook{w, client, time.Now}, nil
}

func (h hook) send(ctx context.Context, n appliance.Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("write webhook: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("prepare webhook: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "ringfence")
	request.Header.Set("Idempotency-Key", n.ID)
	request.Header.Set("Ringfence-Signature", Sign(h.Secret, h.now(), body))
	response, err := h.client.Do(request)
	if err != nil {
		return fmt.Errorf("call webhook: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 4096)
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("call webhook: the server answered %s", response.Status)
	}
	return nil
}

// Sign returns the value of Ringfence-Signature for a body sent at a time.
func Sign(secret []byte, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
