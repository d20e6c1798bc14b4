package fetch

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance"
)

// read takes an answer, whole.
func (f *Fetcher) read(response *http.Response, known appliance.Validators) (appliance.Fetched, error) {
	now := appliance.Validators{
		ETag: plain(response.Header.Get("ETag")), LastModified: plain(response.Header.Get("Last-Modified")),
	}
	switch code := response.StatusCode; {
	case code == http.StatusNotModified && known != appliance.Validators{}:
		if now == (appliance.Validators{}) {
			now = known
		}
		return appliance.Fetched{Same: true, Validators: now}, nil
	case code != http.StatusOK:
		return appliance.Fetched{}, refusal(code)
	case !bounded(response):
		return appliance.Fetched{}, errors.New("the server does not say where the list ends: a part of it could not be told from the whole")
	case response.ContentLength > f.config.Most:
		return appliance.Fetched{}, f.tooLong()
	}
	body, err := f.body(response)
	if err != nil {
		return appliance.Fetched{}, err
	}
	return appliance.Fetched{Body: body, Validators: now}, nil
}

// bounded reports whether the end of a body shows (RFC 9112, section 6.3):
// net/http then gives an error for one that is cut off.
func bounded(response *http.Response) bool {
	return response.ContentLength >= 0 || slices.Contains(response.TransferEncoding, "chunked")
}

// body reads no more than the bound and one byte, packed or unpacked.
func (f *Fetcher) body(response *http.Response) ([]byte, error) {
	packed := &counted{from: response.Body, left: f.config.Most + 1}
	var from io.Reader = packed
	switch encoding := strings.ToLower(response.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unpacked, err := gzip.NewReader(packed)
		if err != nil {
			return nil, broken(err)
		}
		from = unpacked
	default:
		return nil, fmt.Errorf("the server packs the list in a way that was not asked for: %q", encoding)
	}
	body, err := io.ReadAll(io.LimitReader(from, f.config.Most+1))
	switch {
	case int64(len(body)) > f.config.Most || packed.left == 0:
		return nil, f.tooLong()
	case err != nil:
		return nil, broken(err)
	}
	return body, nil
}

// counted reads up to a bound, and knows whether it was reached: empty members
// of a gzip file unpack to nothing for ever.
type counted struct {
	from io.Reader
	left int64
}

func (c *counted) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.from.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (f *Fetcher) tooLong() error {
	return fmt.Errorf("longer than %d bytes", f.config.Most)
}

// broken says in words what the end of a body before its end is.
func broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("the list is cut off: %w", err)
	}
	return err
}

// refusal puts a status into words.
func refusal(code int) error {
	text := http.StatusText(code)
	if text == "" {
		text = "a status that nobody knows"
	}
	advice := ""
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		advice = ": is the url right?"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		advice = ": it wants to know who asks, or turns this box away"
	case code == http.StatusTooManyRequests:
		advice = ": it is asked too often"
	case code >= 500:
		advice = ": it has trouble of its own"
	}
	return fmt.Errorf("the server answers %d %s%s", code, text, advice)
}
