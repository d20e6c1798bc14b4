package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/ringfence/ringfence/appliance"
)

// Syslog says which collector hears of notices, over TLS (RFC 5425).
type Syslog struct {
	Address string // host:port, usually port 6514
	Roots   *x509.CertPool
}

// collector sends one RFC 5424 message a connection: notices are rare, and a
// connection that is kept is one that may be dead when it matters.
type collector struct {
	Syslog
	host string
	own  string
}

func newCollector(s Syslog) (collector, error) {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil || host == "" || port == "" {
		return collector{}, errors.New("want a host and a port, such as logs.example.net:6514")
	}
	own, err := os.Hostname()
	if err != nil {
		own = "-"
	}
	return collector{s, host, own}, nil
}

func (c collector) send(ctx context.Context, n appliance.Notice) error {
	dialer := tls.Dialer{Config: &tls.Config{ServerName: c.host, RootCAs: c.Roots, MinVersion: tls.VersionTLS12}}
	connection, err := dialer.DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return fmt.Errorf("reach syslog collector: %w", err)
	}
	defer connection.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := connection.SetDeadline(deadline); err != nil {
			return fmt.Errorf("reach syslog collector: %w", err)
		}
	}
	line := c.line(n)
	// Octet counting (RFC 5425 section 4.3.1).
	if _, err := fmt.Fprintf(connection, "%d %s", len(line), line); err != nil {
		return fmt.Errorf("write to syslog collector: %w", err)
	}
	// The end of the TLS stream tells that all of it is out.
	if err := connection.(*tls.Conn).CloseWrite(); err != nil {
		return fmt.Errorf("write to syslog collector: %w", err)
	}
	return nil
}

// authpriv is the facility; the severities of RFC 5424 section 6.2.1.
const (
	authpriv = 10
	alert    = 1
	notice   = 5
)

// line is one message of RFC 5424: the number is the private enterprise number for
// documentation (RFC 5612).
func (c collector) line(n appliance.Notice) string {
	severity := notice
	if n.Urgent {
		severity = alert
	}
	what := oneLine(strings.Join(append([]string{n.Title}, n.Happened...), " "))
	return fmt.Sprintf("<%d>1 %s %s ringfence - %s [notice@32473 id=\"%s\" site=\"%s\"] \ufeff%s",
		authpriv*8+severity, n.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), word(c.own, 255), word(string(n.Kind), 32),
		param(n.ID), param(n.Site), clipped(what, 2048))
}

// word is a header field: printable ASCII without spaces.
func word(s string, most int) string {
	kept := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, s)
	if kept == "" {
		return "-"
	}
	return kept[:min(len(kept), most)]
}

// param escapes the value of a parameter (RFC 5424 section 6.3.3).
func param(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(oneLine(s))
}

// clipped shortens text to bytes without breaking a character.
func clipped(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
