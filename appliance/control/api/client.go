package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// maxAnswer bounds what a client reads: the longest list with long records.
const maxAnswer = 16 << 20

// patience bounds one exchange, and longPatience one that brings a feed: a
// million entries on the slowest board.
const (
	patience     = 15 * time.Second
	longPatience = 5 * time.Minute
)

// Client speaks to the daemon over its unix socket. Errors that the daemon
// answers are appliance.Errors.
type Client struct {
	socket string
	http   *http.Client // no time limit of its own: exchange has one
}

// NewClient returns a client of the daemon at socket. It connects at first use.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket, &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Status asks for the state of the box.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/status", nil)
}

// Calls asks for call records, newest first.
func (c *Client) Calls(ctx context.Context, filter appliance.CallFilter) (Calls, error) {
	query := url.Values{}
	setTime(query, "since", filter.Since)
	setTime(query, "before", filter.Before)
	setText(query, "before_id", filter.BeforeID)
	setCount(query, "limit", int64(filter.Limit))
	if filter.Verdict != nil {
		query.Set("verdict", filter.Verdict.String())
	}
	setText(query, "number", filter.Number)
	setText(query, "account", filter.Account)
	return get[Calls](ctx, c, "/calls", query)
}

// Call asks for the one record whose ID starts with id.
func (c *Client) Call(ctx context.Context, id string) (appliance.Call, error) {
	return get[appliance.Call](ctx, c, "/calls/"+url.PathEscape(id), nil)
}

// Cut ends the one call in progress whose ID starts with id, or asks how far that
// has come.
func (c *Client) Cut(ctx context.Context, id string, item NewCut) (appliance.Cut, error) {
	return send[appliance.Cut](ctx, c, http.MethodPost, "/calls/"+url.PathEscape(id)+"/cut", "", item)
}

// Cuts asks for the calls that are being ended from here.
func (c *Client) Cuts(ctx context.Context) (Cuts, error) {
	return get[Cuts](ctx, c, "/cuts", nil)
}

// Messages asks for the record whose ID starts with id, and for what is kept of the
// SIP messages of its call.
func (c *Client) Messages(ctx context.Context, id string) (Messages, error) {
	return get[Messages](ctx, c, "/calls/"+url.PathEscape(id)+"/messages", nil)
}

// Events asks for journal entries, newest first.
func (c *Client) Events(ctx context.Context, filter appliance.EventFilter) (Events, error) {
	query := url.Values{}
	setCount(query, "after", filter.After)
	setCount(query, "before", filter.Before)
	setTime(query, "since", filter.Since)
	setCount(query, "limit", int64(filter.Limit))
	if filter.Kind != "" {
		query.Set("kind", string(filter.Kind))
	}
	return get[Events](ctx, c, "/events", query)
}

// Drops asks for the tallies and the samples after the given one.
func (c *Client) Drops(ctx context.Context, after uint64, limit int) (Drops, error) {
	query := url.Values{}
	setCount(query, "after", int64(after))
	setCount(query, "limit", int64(limit))
	return get[Drops](ctx, c, "/drops", query)
}

// Top asks for the rankings over a window (5m, 1h, 24h, or empty for the
// shortest), and for the calls in progress.
func (c *Client) Top(ctx context.Context, window string, limit int) (Top, error) {
	query := url.Values{}
	if window != "" {
		query.Set("window", window)
	}
	setCount(query, "limit", int64(limit))
	return get[Top](ctx, c, "/top", query)
}

// Try asks what would happen if somebody dialled this. Nothing is dialled.
func (c *Client) Try(ctx context.Context, question Try) (Tried, error) {
	return send[Tried](ctx, c, http.MethodPost, "/try", "", question)
}

// Document asks for a document as it is in force, and its revision.
func (c *Client) Document(ctx context.Context, name appliance.Document) (data []byte, revision string, err error) {
	data, header, err := c.exchange(ctx, http.MethodGet, "/"+string(name), "", nil)
	return data, strings.Trim(header.Get("ETag"), `"`), err
}

// PutDocument puts a document in force. A revision that is not empty is the one
// that it was made from: the daemon turns the change down where another is in
// force.
func (c *Client) PutDocument(ctx context.Context, name appliance.Document, data []byte, revision string) (Applied, error) {
	return send[Applied](ctx, c, http.MethodPut, "/"+string(name), revision, json.RawMessage(data))
}

// Exceptions asks for the destinations that settings allow.
func (c *Client) Exceptions(ctx context.Context) (Exceptions, error) {
	return get[Exceptions](ctx, c, "/allow", nil)
}

// Allow adds an exception or replaces the one of the same prefix.
func (c *Client) Allow(ctx context.Context, exception NewException) (Applied, error) {
	return send[Applied](ctx, c, http.MethodPost, "/allow", "", exception)
}

// Disallow removes the exception of a prefix.
func (c *Client) Disallow(ctx context.Context, prefix string) (Applied, error) {
	return send[Applied](ctx, c, http.MethodDelete, "/allow/"+url.PathEscape(prefix), "", nil)
}

// Bans asks for the bans, newest first.
func (c *Client) Bans(ctx context.Context, limit int) (Bans, error) {
	query := url.Values{}
	setCount(query, "limit", int64(limit))
	return get[Bans](ctx, c, "/bans", query)
}

// Ban shuts a source out, or gives its ban another end and reason.
func (c *Client) Ban(ctx context.Context, ban NewBan) (Banned, error) {
	return send[Banned](ctx, c, http.MethodPost, "/bans", "", ban)
}

// Unban lifts the ban of a source.
func (c *Client) Unban(ctx context.Context, source string) (Banned, error) {
	return send[Banned](ctx, c, http.MethodDelete, "/bans/"+url.PathEscape(source), "", nil)
}

// Accounts asks for the accounts, by name.
func (c *Client) Accounts(ctx context.Context, limit int) (Accounts, error) {
	query := url.Values{}
	setCount(query, "limit", int64(limit))
	return get[Accounts](ctx, c, "/accounts", query)
}

// Account asks for the one account of that name, or whose name before the @ it is.
func (c *Client) Account(ctx context.Context, name string) (appliance.Account, error) {
	return get[appliance.Account](ctx, c, "/accounts/"+url.PathEscape(name), nil)
}

// Guard asks for the sources that the guard holds something against.
func (c *Client) Guard(ctx context.Context, limit int) (Guard, error) {
	query := url.Values{}
	setCount(query, "limit", int64(limit))
	return get[Guard](ctx, c, "/guard", query)
}

// Pardon has the guard forget what it holds against a source that is not banned.
func (c *Client) Pardon(ctx context.Context, source string) (Pardoned, error) {
	return send[Pardoned](ctx, c, http.MethodDelete, "/guard/"+url.PathEscape(source), "", nil)
}

// Feeds asks for the deny feeds and what is in them.
func (c *Client) Feeds(ctx context.Context) (Feeds, error) {
	return get[Feeds](ctx, c, "/feeds", nil)
}

// ImportFeed puts the content of a feed in force, at most MaxFeed bytes.
func (c *Client) ImportFeed(ctx context.Context, name string, content io.Reader) (answer Imported, err error) {
	ctx, cancel := context.WithTimeout(ctx, longPatience)
	defer cancel()
	request, err := c.request(ctx, http.MethodPut, "/feeds/"+url.PathEscape(name), content)
	if err != nil {
		return answer, err
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	data, _, err := c.do(request)
	if err != nil {
		return answer, err
	}
	return decode[Imported](data)
}

// FetchFeed fetches a feed from its url now and puts it in force.
func (c *Client) FetchFeed(ctx context.Context, name string) (answer Imported, err error) {
	ctx, cancel := context.WithTimeout(ctx, longPatience)
	defer cancel()
	request, err := c.request(ctx, http.MethodPost, "/feeds/"+url.PathEscape(name), nil)
	if err != nil {
		return answer, err
	}
	data, _, err := c.do(request)
	if err != nil {
		return answer, err
	}
	return decode[Imported](data)
}

// RemoveFeed forgets the content of a feed.
func (c *Client) RemoveFeed(ctx context.Context, name string) (Imported, error) {
	return send[Imported](ctx, c, http.MethodDelete, "/feeds/"+url.PathEscape(name), "", nil)
}

// Dump copies the generation in force to w, read back from the gate and put into
// words: a line for each network that it knows, which can be millions.
func (c *Client) Dump(ctx context.Context, w io.Writer) error { return c.download(ctx, "/gate", w) }

// Evidence copies everything that is known of a call, by the start of its ID, or of
// site, extension:NAME or trunk:NAME to w, as a zip.
func (c *Client) Evidence(ctx context.Context, id string, w io.Writer) error {
	return c.download(ctx, "/evidence/"+url.PathEscape(id), w)
}

// download copies an answer that may be long to w.
func (c *Client) download(ctx context.Context, path string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, longPatience)
	defer cancel()
	request, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return errors.Join(failure(response.Status, data), err)
	}
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

func setTime(query url.Values, name string, value time.Time) {
	if !value.IsZero() {
		query.Set(name, value.UTC().Format(time.RFC3339Nano))
	}
}

func setText(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

func setCount(query url.Values, name string, value int64) {
	if value > 0 {
		query.Set(name, strconv.FormatInt(value, 10))
	}
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return send[T](ctx, c, http.MethodGet, path, "", nil)
}

func send[T any](ctx context.Context, c *Client, method, path, revision string, body any) (answer T, err error) {
	var data []byte
	if raw, ok := body.(json.RawMessage); ok {
		data = raw // a document goes out as it is: the daemon tells what is wrong with it
	} else if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return answer, fmt.Errorf("encode request: %w", err)
		}
	}
	data, _, err = c.exchange(ctx, method, path, revision, data)
	if err != nil {
		return answer, err
	}
	return decode[T](data)
}

func decode[T any](data []byte) (answer T, err error) {
	if err := json.Unmarshal(data, &answer); err != nil {
		return answer, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return answer, nil
}

func (c *Client) exchange(ctx context.Context, method, path, revision string, body []byte) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := c.request(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	if revision != "" {
		request.Header.Set("If-Match", `"`+revision+`"`)
	}
	return c.do(request)
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://ringfenced"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return request, nil
}

func (c *Client) do(request *http.Request) ([]byte, http.Header, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, c.explain(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	if response.StatusCode >= 300 {
		return nil, nil, failure(response.Status, data)
	}
	return data, response.Header, nil
}

func failure(status string, data []byte) error {
	var failed Failure
	if err := json.Unmarshal(data, &failed); err != nil || len(failed.Errors) == 0 {
		return fmt.Errorf("the daemon answered %s", status)
	}
	return failed.Errors
}

// explain says what a person can do about a socket that does not answer.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody answers at %s: is ringfenced running? (%w)", c.socket, cause(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the daemon speaks to root alone: try sudo (%w)", cause(err))
	default:
		return fmt.Errorf("ask the daemon: %w", cause(err))
	}
}

// cause leaves out the made-up URL, which would only puzzle.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
