package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
)

// site is a web server on the internet, which is 127.0.0.1 in these tests; the
// LAN is 127.0.0.2.
type site struct {
	*httptest.Server
	fetch *Fetcher
}

var lan = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}

func newSite(t *testing.T, handler http.HandlerFunc, change ...func(*Config)) *site {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	config := Config{RootCAs: x509.NewCertPool(), Local: func(netip.Addr) bool { return false }, Most: 1 << 16}
	config.RootCAs.AddCert(server.Certificate())
	for _, one := range change {
		one(&config)
	}
	return &site{server, New(config)}
}

func (s *site) get(known appliance.Validators) (appliance.Fetched, error) {
	return s.fetch.Get(context.Background(), s.URL+"/list", known, lan)
}

// refused wants an error that says something, and nothing of the answer.
func (s *site) refused(t *testing.T, says string) {
	t.Helper()
	got, err := s.get(appliance.Validators{})
	if err == nil || !strings.Contains(err.Error(), says) || got.Body != nil || len(err.Error()) > 400 {
		t.Errorf("got %d bytes, err %v; want an error that says %q", len(got.Body), err, says)
	}
}

func pack(data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(data)
	w.Close()
	return out.Bytes()
}

func TestGet(t *testing.T) {
	var asked http.Header
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		w.Header().Set("ETag", `"two"`)
		w.Header().Set("Last-Modified", "Wed, 01 Jul 2026 12:00:00 GMT")
		if r.Header.Get("If-None-Match") == `"two"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "192.0.2.0/24\n")
	})
	got, err := s.get(appliance.Validators{ETag: `"one"`})
	if err != nil || string(got.Body) != "192.0.2.0/24\n" || got.Same || got.Validators.ETag != `"two"` {
		t.Fatalf("got %+v, %v", got, err)
	}
	if asked.Get("User-Agent") != "ringfence" || asked.Get("If-None-Match") != `"one"` || asked.Get("If-Modified-Since") != "" {
		t.Errorf("asked with %v", asked)
	}
	again, err := s.get(got.Validators)
	if err != nil || !again.Same || again.Body != nil || again.Validators != got.Validators {
		t.Errorf("got %+v, %v", again, err)
	}
	if asked.Get("If-Modified-Since") != "Wed, 01 Jul 2026 12:00:00 GMT" {
		t.Errorf("asked with %v", asked)
	}
}

func TestStatus(t *testing.T) {
	code := 0
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	for _, tc := range []struct {
		code int
		says string
	}{
		{204, "204 No Content"}, {206, "206 Partial Content"}, {304, "304 Not Modified"}, {300, "300 Multiple Choices"},
		{403, "403 Forbidden: it wants to know who asks"}, {404, "404 Not Found: is the url right?"}, {429, "asked too often"},
		{503, "503 Service Unavailable: it has trouble"}, {299, "299 a status that nobody knows"},
	} {
		code = tc.code
		s.refused(t, tc.says)
	}
}

func TestHostileValidatorsAreNotKept(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("ETag", strings.Repeat("x", 300))
		w.Header().Set("Last-Modified", "gestern\u00e9")
		fmt.Fprint(w, "x")
	})
	got, err := s.get(appliance.Validators{ETag: "a\r\nX: y"})
	if err != nil || got.Validators != (appliance.Validators{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRedirects(t *testing.T) {
	var s *site
	to := ""
	s = newSite(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		if r.Header.Get("Referer") != "" {
			w.WriteHeader(http.StatusTeapot)
		} else if _, err := fmt.Sscanf(r.URL.Path, "/hop%d", &n); err == nil && n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/hop%d", n-1), http.StatusFound)
		} else if r.URL.Path == "/list" {
			http.Redirect(w, r, to, http.StatusMovedPermanently)
		} else {
			fmt.Fprint(w, "x")
		}
	})
	to = s.URL + "/hop2"
	if got, err := s.get(appliance.Validators{}); err != nil || string(got.Body) != "x" {
		t.Errorf("three redirects: %+v, %v", got, err)
	}
	insecure := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked over http") }))
	defer insecure.Close()
	for target, says := range map[string]string{
		"/hop3":                                "more than 3 redirects",
		insecure.URL + "/x":                    "is not https",
		"file:///etc/passwd":                   "is not https",
		"https://me:secret@127.0.0.1/x":        "is not https",
		"https://127.0.0.2:1/x":                "127.0.0.2 is no address on the internet",
		"https://[::ffff:127.0.0.2]:1/x":       "127.0.0.2 is no address on the internet",
		"https://[::ffff:7f00:2]:443/x":        "127.0.0.2 is no address on the internet",
		"//127.0.0.2:1/x":                      "127.0.0.2 is no address on the internet",
		"https://" + strings.Repeat("x", 9000): "connect: ",
		strings.Repeat("\u00e9%", 9000):        "connect: ",
		strings.Repeat("https://", 20000):      "connect: ",
	} {
		to = target
		s.refused(t, says)
	}
}

// TestLAN listens on the LAN, so that a connection would be seen.
func TestLAN(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("SKIPPED, A SERVER ON THE LAN: %v", err)
	}
	inside := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	inside.Listener.Close()
	inside.Listener = listener
	seen := make(chan struct{}, 9)
	inside.Config.ConnState = func(net.Conn, http.ConnState) { seen <- struct{}{} }
	inside.StartTLS()
	defer inside.Close()
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, http.StatusFound) })
	s.refused(t, "no address on the internet")
	select {
	case <-seen:
		t.Error("there was a connection into the LAN")
	default:
	}
}

// TestLocal goes by names, as a resolver would give them.
func TestLocal(t *testing.T) {
	for _, text := range []string{"127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "0.0.0.0", "0.1.2.3", "::",
		"224.0.0.1", "ff02::1", "255.255.255.255"} {
		if !Local(netip.MustParseAddr(text).Unmap()) {
			t.Errorf("%s is taken for one on the internet", text)
		}
	}
	for _, text := range []string{"192.0.2.1", "2001:db8::1", "8.8.8.8"} {
		if Local(netip.MustParseAddr(text)) {
			t.Errorf("%s is taken for local", text)
		}
	}
	asked := false
	s := newSite(t, func(http.ResponseWriter, *http.Request) { asked = true }, func(c *Config) { c.Local = nil })
	s.refused(t, "127.0.0.1 is no address on the internet")
	s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	s.refused(t, "no address on the internet")
	if asked {
		t.Error("the server was asked")
	}
}

func TestTLS(t *testing.T) {
	s := newSite(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }, func(c *Config) { c.RootCAs = x509.NewCertPool() })
	s.refused(t, "certificate")
	old := newSite(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	old.TLS.MaxVersion = tls.VersionTLS11
	old.refused(t, "protocol version")
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	defer plain.Close()
	if _, err := s.fetch.Get(context.Background(), plain.URL, appliance.Validators{}, nil); err == nil || !strings.Contains(err.Error(), "is not https") {
		t.Errorf("err %v", err)
	}
}

// raw answers with bytes as they are, and closes the connection.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+text)
	}
}

func TestCutOff(t *testing.T) {
	packed := string(pack([]byte("192.0.2.0/24\n")))
	const isPacked = "Content-Encoding: gzip\r\n"
	for name, tc := range map[string]struct{ answer, says string }{
		"shorter than it says": {"Content-Length: 13\r\n\r\n192.0.2.0/2", "the list is cut off"},
		"without an end":       {"Connection: close\r\n\r\n192.0.2.0/24\n", "does not say where the list ends"},
		"packed, no end":       {isPacked + "\r\n" + packed, "does not say where the list ends"},
		"no last chunk":        {"Transfer-Encoding: chunked\r\n\r\nd\r\n192.0.2.0/24\n\r\n", "the list is cut off"},
		"half a chunk":         {"Transfer-Encoding: chunked\r\n\r\nff\r\n192.0.2.0/24\n", "the list is cut off"},
		"packed, cut off":      {isPacked + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(packed)-4, packed[:len(packed)-4]), "the list is cut off"},
		"packed, shorter":      {isPacked + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(packed)+4, packed), "the list is cut off"},
		"packed, spoilt":       {isPacked + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(packed), packed[:len(packed)-8]+"12345678"), "checksum"},
		"not packed":           {isPacked + "Content-Length: 13\r\n\r\n192.0.2.0/24\n", "gzip"},
		"packed otherwise":     {"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx", `not asked for: "br"`},
		"two lengths":          {"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "connect: "},
	} {
		t.Run(name, func(t *testing.T) { newSite(t, raw(tc.answer)).refused(t, tc.says) })
	}
}

func TestPacked(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(pack([]byte("192.0.2.0/24\n")))
	})
	if got, err := s.get(appliance.Validators{}); err != nil || string(got.Body) != "192.0.2.0/24\n" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestBound ends each body at its bound, and one byte after it.
func TestBound(t *testing.T) {
	const most = 1 << 16
	for name, write := range map[string]func(w http.ResponseWriter, size int){
		"with a length": func(w http.ResponseWriter, size int) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(make([]byte, size))
		},
		"in chunks": func(w http.ResponseWriter, size int) {
			w.(http.Flusher).Flush()
			w.Write(make([]byte, size))
		},
		"packed": func(w http.ResponseWriter, size int) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(pack(make([]byte, size)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			size := most
			s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { write(w, size) })
			if got, err := s.get(appliance.Validators{}); err != nil || len(got.Body) != most {
				t.Errorf("got %d bytes, %v", len(got.Body), err)
			}
			size++
			s.refused(t, "longer than 65536 bytes")
		})
	}
	if got := New(Config{}).config.Most; got != feed.MaxSize {
		t.Errorf("a box takes %d bytes, a feed has %d", got, feed.MaxSize)
	}
}

// TestBombs send what unpacks to more than it is, and what unpacks to nothing
// without an end.
func TestBombs(t *testing.T) {
	large := pack(make([]byte, 4<<20))
	for name, one := range map[string][]byte{"large": large, "empty members": bytes.Repeat(pack(nil), 1000)} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				for r.Context().Err() == nil {
					if _, err := w.Write(one); err != nil {
						return
					}
				}
			})
			s.refused(t, "longer than 65536 bytes")
		})
	}
}

// TestHanging has a server stop at every place where one can.
func TestHanging(t *testing.T) {
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		change  func(*Config)
		says    string
	}{
		"before the answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); panic(http.ErrAbortHandler) },
			func(c *Config) { c.Answer = time.Millisecond }, "timeout awaiting response headers"},
		"in the answer": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, func(c *Config) { c.Whole = 300 * time.Millisecond }, "not done within 300ms"},
	} {
		t.Run(name, func(t *testing.T) { newSite(t, tc.handler, tc.change).refused(t, tc.says) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := newSite(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer could still arrive before the connection ends
	})
	if _, err := s.fetch.Get(ctx, s.URL, appliance.Validators{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
}

func TestNoHandshake(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close() // the kernel accepts, and nobody answers
	s := newSite(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) { c.Connect = 20 * time.Millisecond })
	s.URL = "https://" + mute.Addr().String()
	s.refused(t, "TLS handshake timeout")
}
