// Package fetch gets what others publish over HTTPS. It is the only package that
// opens a connection to a web server, and believes none: a body comes whole or
// not at all, no longer than its bound, from an address on the internet, within
// a time. What the body means is nothing to it.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
)

// Config holds what a test sets differently. The zero Config is a box's.
type Config struct {
	RootCAs *x509.CertPool        // whom to believe; nil: those of the system
	Local   func(netip.Addr) bool // what is never connected to, besides what each Get forbids; nil: Local
	Most    int64                 // bytes of a body, packed and unpacked; 0: feed.MaxSize
	Connect time.Duration         // until there is a connection, and again until it is encrypted; 0: 10 s
	Answer  time.Duration         // from the question to the first byte of the answer; 0: 30 s
	Whole   time.Duration         // all of a Get, redirects included; 0: 3 min
}

// Fetcher gets bodies. It holds no connection between two of them, and is safe
// for concurrent use.
type Fetcher struct {
	config Config
}

// New returns a fetcher.
func New(config Config) *Fetcher {
	if config.Local == nil {
		config.Local = Local
	}
	if config.Most == 0 {
		config.Most = feed.MaxSize
	}
	orElse := func(d *time.Duration, usual time.Duration) {
		if *d == 0 {
			*d = usual
		}
	}
	orElse(&config.Connect, 10*time.Second)
	orElse(&config.Answer, 30*time.Second)
	orElse(&config.Whole, 3*time.Minute)
	return &Fetcher{config}
}

// maxRedirects is how often a server may point elsewhere.
const maxRedirects = 3

// Get asks for what is at a URL. With validators that an earlier answer brought,
// the server may say that nothing has changed. No connection is made to an
// address in forbidden, or to one that is local to the box, whatever a name
// resolves to and wherever a redirect points. Errors are for people, and don't
// repeat the URL.
func (f *Fetcher) Get(ctx context.Context, from string, known appliance.Validators, forbidden []netip.Prefix) (appliance.Fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, f.config.Whole)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return appliance.Fetched{}, fmt.Errorf("make request: %w", cause(err))
	}
	if err := secure(request.URL); err != nil {
		return appliance.Fetched{}, err
	}
	request.Header.Set("User-Agent", "ringfence")
	// Asked for by hand, it is also unpacked by hand: net/http would hide how long
	// the packed body was to be.
	request.Header.Set("Accept-Encoding", "gzip")
	setIf(request.Header, "If-None-Match", known.ETag)
	setIf(request.Header, "If-Modified-Since", known.LastModified)
	response, err := f.client(forbidden).Do(request)
	if err != nil {
		return appliance.Fetched{}, f.explain(ctx, "connect", err)
	}
	defer response.Body.Close()
	out, err := f.read(response, known)
	if err != nil {
		return appliance.Fetched{}, f.explain(ctx, "read the answer", err)
	}
	return out, nil
}

// client speaks HTTP/1.1 alone, over one connection: a list a day needs no more.
// No proxy of the environment is asked, which would connect on our behalf to
// what is forbidden.
func (f *Fetcher) client(forbidden []netip.Prefix) *http.Client {
	return &http.Client{
		CheckRedirect: follow,
		Transport: &http.Transport{
			DialContext:            f.dialer(forbidden).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.config.RootCAs},
			TLSHandshakeTimeout:    f.config.Connect,
			ResponseHeaderTimeout:  f.config.Answer,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		},
	}
}

// follow says whether a redirect is gone after. The new server is not told what
// sent us.
func follow(next *http.Request, before []*http.Request) error {
	if len(before) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	next.Header.Del("Referer")
	if err := secure(next.URL); err != nil {
		return fmt.Errorf("follow a redirect: %w", err)
	}
	return nil
}

func secure(at *url.URL) error {
	if at.Scheme != "https" || at.User != nil || at.Host == "" {
		return fmt.Errorf("%s://%s is not https with a host and without a password", at.Scheme, at.Host)
	}
	return nil
}

// setIf sets a header that a server gave, where it is fit to be given back.
func setIf(header http.Header, name, value string) {
	if value = plain(value); value != "" {
		header.Set(name, value)
	}
}

// plain keeps what a server said of an edition from growing, and from being more
// than one line of text.
func plain(value string) string {
	const longest = 256
	if len(value) > longest || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return value
}

// explain says what went wrong. Of the deadlines, that of the whole is the one
// that does not say so itself. A server does not get to fill a log.
func (f *Fetcher) explain(ctx context.Context, doing string, err error) error {
	err = cause(err)
	const longest = 300
	if text := err.Error(); len(text) > longest {
		err = errors.New(strings.ToValidUTF8(text[:longest], "") + "...")
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: not done within %s: %w", doing, f.config.Whole, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// cause leaves out the URL, which whoever asks knows.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
