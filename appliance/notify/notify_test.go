package notify

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/ringfence/ringfence/appliance"
)

// authority is a CA of the test, and a certificate of "localhost" by it.
func authority(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// mailbox is a real SMTP server: STARTTLS, then a password, then mail.
type mailbox struct {
	mu     sync.Mutex
	deny   int // messages to be put off first
	mails  []string
	server *smtp.Server
	port   int
}

type visit struct {
	box    *mailbox
	authed bool
}

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &visit{box: b}, nil }
func (v *visit) AuthMechanisms() []string                      { return []string{sasl.Plain} }
func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "box" || password != "secret" {
			return smtp.ErrAuthFailed
		}
		v.authed = true
		return nil
	}), nil
}
func (v *visit) Mail(string, *smtp.MailOptions) error {
	if !v.authed {
		return smtp.ErrAuthRequired
	}
	v.box.mu.Lock()
	defer v.box.mu.Unlock()
	if v.box.deny > 0 {
		v.box.deny--
		return &smtp.SMTPError{Code: 451, Message: "come back later"}
	}
	return nil
}
func (v *visit) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (v *visit) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v.box.mu.Lock()
	defer v.box.mu.Unlock()
	v.box.mails = append(v.box.mails, string(data))
	return nil
}
func (v *visit) Reset()        {}
func (v *visit) Logout() error { return nil }

func openMailbox(t *testing.T, certificate tls.Certificate) *mailbox {
	t.Helper()
	b := &mailbox{}
	b.server = smtp.NewServer(b)
	b.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.port = listener.Addr().(*net.TCPAddr).Port
	go func() { _ = b.server.Serve(listener) }()
	t.Cleanup(func() { _ = b.server.Close() })
	return b
}

func (b *mailbox) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.mails...)
}

// drawer is a spool in memory that survives the notifier.
type drawer struct {
	mu   sync.Mutex
	all  map[string][]byte
	full bool
}

func (d *drawer) Put(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return errors.New("no space left on device")
	}
	if d.all == nil {
		d.all = make(map[string][]byte)
	}
	d.all[name] = data
	return nil
}
func (d *drawer) All() (map[string][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.all), nil
}
func (d *drawer) Drop(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, name)
	return nil
}
func (d *drawer) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}
func (c *clock) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// post is a notifier that runs.
type post struct {
	*Notifier
	events []appliance.Event
	mu     sync.Mutex
	stop   func()
}

func open(t *testing.T, config Config, spool Spool, now func() time.Time) *post {
	t.Helper()
	p := &post{}
	var err error
	p.Notifier, err = New(config, spool, func(e appliance.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, e)
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(p.stop)
	return p
}

// until waits for something that another goroutine does; the test's own time-out
// ends it.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

var tollBlock = appliance.Notice{
	ID: "abcdefgh", Time: time.Date(2026, 11, 16, 3, 4, 5, 0, time.UTC), Site: "Smith & Sons", Kind: appliance.NoticeTollBlock, Urgent: true,
	Title:    "International calls of extension 201 are blocked",
	Happened: []string{"3 international calls at once, the last to +37120000000 (Latvia)\r\nBcc: evil@example.net"},
	Done:     []string{"2 calls were ended"}, Next: []string{"Change the password of extension 201"},
}

func (b *mailbox) mail(pool *x509.CertPool) *Mail {
	return &Mail{Host: "localhost", Port: b.port, User: "box", Password: "secret", From: "box@example.net", To: []string{"ann@example.net", "bob@example.net"}, Roots: pool}
}

func TestMail(t *testing.T) {
	certificate, pool := authority(t)
	box, spool := openMailbox(t, certificate), &drawer{}
	p := open(t, Config{Mail: box.mail(pool)}, spool, time.Now)
	if err := p.Add(tollBlock); err != nil {
		t.Fatal(err)
	}
	until(t, "the mail arrives", func() bool { return len(box.got()) == 1 })
	got := strings.ReplaceAll(box.got()[0], "\r\n ", " ") // unfolded
	for _, want := range []string{"Subject: [Smith & Sons] URGENT: International calls of extension 201 are blocked", "Auto-Submitted: auto-generated",
		"Message-ID: <abcdefgh@ringfence.invalid>", "What happened", "What the box did", "What to do next", "Change the password"} {
		if !strings.Contains(got, want) {
			t.Errorf("the mail lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\nBcc:") || strings.Contains(got, "http") {
		t.Errorf("the mail has a header of a stranger's, or a link:\n%s", got)
	}
	until(t, "the outbox is empty", func() bool { return spool.len() == 0 && len(p.Waiting()) == 0 })
}

// TestMailNeverInTheClear: a server without TLS, or of another name, or by nobody's
// authority, gets neither password nor mail.
func TestMailNeverInTheClear(t *testing.T) {
	certificate, pool := authority(t)
	box := openMailbox(t, certificate)
	_, others := authority(t)
	bare := openMailbox(t, certificate)
	bare.server.TLSConfig = nil
	bare.server.AllowInsecureAuth = true
	for name, m := range map[string]*Mail{
		"unknown authority": box.mail(others),
		"another name":      {Host: "127.0.0.1", Port: box.port, User: "box", Password: "secret", From: "a@example.net", To: []string{"b@example.net"}, Roots: pool},
		"no TLS":            bare.mail(pool),
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := m.send(ctx, tollBlock); err == nil {
			t.Errorf("%s: the mail was sent", name)
		}
		cancel()
	}
	if len(box.got())+len(bare.got()) != 0 {
		t.Error("a mail arrived")
	}
}

// TestRetry: what a server puts off is tried again, later each time, and is still
// there after a restart.
func TestRetry(t *testing.T) {
	certificate, pool := authority(t)
	box, spool, now := openMailbox(t, certificate), &drawer{}, &clock{at: tollBlock.Time}
	box.deny = 2
	p := open(t, Config{Mail: box.mail(pool)}, spool, now.now)
	if err := p.Add(tollBlock); err != nil {
		t.Fatal(err)
	}
	denied := func(left int) func() bool {
		return func() bool { box.mu.Lock(); defer box.mu.Unlock(); return box.deny == left }
	}
	until(t, "the first try", denied(1))
	p.stop()
	if spool.len() != 1 {
		t.Fatalf("%d items in the outbox, want 1", spool.len())
	}
	p = open(t, Config{Mail: box.mail(pool)}, spool, now.now)
	until(t, "the second try", denied(0))
	until(t, "it is put off", func() bool { one, _ := p.queues[ByMail].due(now.now()); return one == nil })
	if len(box.got()) != 0 {
		t.Fatal("the mail was taken too early")
	}
	now.wait(11 * time.Second)
	p.queues[ByMail].wake()
	until(t, "the mail arrives", func() bool { return len(box.got()) == 1 })
	until(t, "the outbox is empty", func() bool { return spool.len() == 0 })
}

// TestGivenUp: two days later nobody wants to read it, but the journal says so.
func TestGivenUp(t *testing.T) {
	certificate, pool := authority(t)
	box, spool, now := openMailbox(t, certificate), &drawer{}, &clock{at: tollBlock.Time}
	box.deny = 1000
	p := open(t, Config{Mail: box.mail(pool)}, spool, now.now)
	if err := p.Add(tollBlock); err != nil {
		t.Fatal(err)
	}
	until(t, "the first try", func() bool { one, _ := p.queues[ByMail].due(now.now()); return one == nil })
	now.wait(patience + time.Minute)
	p.queues[ByMail].wake()
	until(t, "it is given up", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.events) == 1 })
	if spool.len() != 0 || !strings.Contains(p.events[0].Message, "not delivered") {
		t.Errorf("%d items left, event %q", spool.len(), p.events[0].Message)
	}
}

func TestWebhook(t *testing.T) {
	secret := []byte("0123456789abcdef")
	bodies := make(chan string, 4)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		seconds, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Ringfence-Signature"), "t="), ",")
		at, wrong := strconv.ParseInt(seconds, 10, 64)
		want := Sign(secret, time.Unix(at, 0), body)
		if err != nil || wrong != nil || !hmac.Equal([]byte(want), []byte(r.Header.Get("Ringfence-Signature"))) {
			t.Errorf("signature %q of %q", r.Header.Get("Ringfence-Signature"), body)
		}
		bodies <- string(body)
	}))
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	spool := &drawer{}
	p := open(t, Config{Webhook: &Webhook{URL: server.URL + "/hook", Secret: secret, Roots: pool}}, spool, time.Now)
	if err := p.Add(tollBlock); err != nil {
		t.Fatal(err)
	}
	if body := <-bodies; !strings.Contains(body, `"kind":"toll_block"`) {
		t.Errorf("body %s", body)
	}
	until(t, "the outbox is empty", func() bool { return spool.len() == 0 })
}

func TestSyslog(t *testing.T) {
	certificate, pool := authority(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	lines := make(chan string, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		reader := bufio.NewReader(connection)
		var length int
		if _, err := fmt.Fscanf(reader, "%d ", &length); err != nil {
			lines <- err.Error()
			return
		}
		line := make([]byte, length)
		if _, err := io.ReadFull(reader, line); err != nil {
			lines <- err.Error()
			return
		}
		lines <- string(line)
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, Config{Syslog: &Syslog{Address: "localhost:" + port, Roots: pool}}, &drawer{}, time.Now)
	if err := p.Add(tollBlock); err != nil {
		t.Fatal(err)
	}
	got := <-lines
	if !strings.HasPrefix(got, "<81>1 2026-11-16T03:04:05.000000Z ") ||
		!strings.Contains(got, ` ringfence - toll_block [notice@32473 id="abcdefgh" site="Smith & Sons"] `+"\ufeffInternational calls") || strings.ContainsAny(got, "\r\n") {
		t.Errorf("line %q", got)
	}
}

// TestMended: a channel that was told nonsense delivers once it is told better.
func TestMended(t *testing.T) {
	certificate, pool := authority(t)
	box, spool := openMailbox(t, certificate), &drawer{}
	p := open(t, Config{}, spool, time.Now)
	wrong := box.mail(pool)
	wrong.Password = ""
	if err := p.Configure(Config{Mail: wrong, Syslog: &Syslog{Address: "logs"}}); err == nil || !strings.Contains(err.Error(), "both user") || !strings.Contains(err.Error(), "host and a port") {
		t.Errorf("configure: %v", err)
	}
	if err := p.Add(tollBlock); err != nil {
		t.Fatal(err)
	}
	until(t, "it is tried", func() bool {
		one, _ := p.queues[ByMail].due(time.Now())
		return one == nil && p.queues[ByMail].len() == 1
	})
	if err := p.Configure(Config{Mail: box.mail(pool)}); err != nil {
		t.Fatal(err)
	}
	until(t, "the mail arrives", func() bool { return len(box.got()) == 1 })
}

// TestOutboxIsBounded: what is urgent stays, and every loss is told.
func TestOutboxIsBounded(t *testing.T) {
	q := newQueue()
	for n := range most {
		q.add(item{Notice: appliance.Notice{ID: fmt.Sprint(n), Urgent: n != 7}})
	}
	if gone := q.add(item{Notice: appliance.Notice{ID: "new", Urgent: true}}); gone == nil || gone.Notice.ID != "7" {
		t.Errorf("gone: %+v, want the one that is not urgent", gone)
	}
	if gone := q.add(item{Notice: appliance.Notice{ID: "newer", Urgent: true}}); gone == nil || gone.Notice.ID != "0" || q.len() != most {
		t.Errorf("gone: %+v of %d, want the oldest", gone, q.len())
	}
}

func TestFullDisk(t *testing.T) {
	certificate, pool := authority(t)
	box := openMailbox(t, certificate)
	p := open(t, Config{Mail: box.mail(pool)}, &drawer{full: true}, time.Now)
	if err := p.Add(tollBlock); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a notice that can't be kept: %v", err)
	}
	until(t, "the mail arrives all the same", func() bool { return len(box.got()) == 1 })
}

func TestConfigureRefuses(t *testing.T) {
	for want, config := range map[string]Config{
		"recipient":  {Mail: &Mail{Host: "mail.example.net", Port: 25, From: "a@example.net"}},
		"host":       {Mail: &Mail{Port: 25, From: "a@example.net", To: []string{"b@example.net"}}},
		"sender":     {Mail: &Mail{Host: "m", Port: 25, From: "nobody", To: []string{"b@example.net"}}},
		"both":       {Mail: &Mail{Host: "m", Port: 25, From: "a@example.net", To: []string{"b@example.net"}, User: "x"}},
		"https":      {Webhook: &Webhook{URL: "http://example.net", Secret: make([]byte, 16)}},
		"16 bytes":   {Webhook: &Webhook{URL: "https://example.net", Secret: []byte("short")}},
		"host and a": {Syslog: &Syslog{Address: "logs.example.net"}},
	} {
		if _, err := New(config, &drawer{}, func(appliance.Event) {}, time.Now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error that says %q", config, err, want)
		}
	}
}
