package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/wneessen/go-mail"

	"github.com/ringfence/ringfence/appliance"
)

// Mail says by which server mail leaves. There is always TLS: the server's name is
// verified, and a server that offers none gets nothing.
type Mail struct {
	Host     string
	Port     int
	Implicit bool // TLS from the first byte (port 465), else STARTTLS
	User     string
	Password string
	From     string
	To       []string
	Roots    *x509.CertPool // besides the system's; nil for those alone
}

func (m Mail) check() error {
	switch {
	case m.Host == "" || m.Port < 1 || m.Port > 65535:
		return errors.New("want a host and a port from 1 to 65535")
	case len(m.To) == 0:
		return errors.New("want at least one recipient")
	case (m.User == "") != (m.Password == ""):
		return errors.New("want both user and password, or neither")
	}
	_, err := m.message(appliance.Notice{})
	return err
}

func (m Mail) message(n appliance.Notice) (*mail.Msg, error) {
	out := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := out.From(m.From); err != nil {
		return nil, fmt.Errorf("sender %q: %w", m.From, err)
	}
	if err := out.To(m.To...); err != nil {
		return nil, fmt.Errorf("recipients: %w", err)
	}
	out.Subject(subject(n))
	out.SetDateWithValue(n.Time)
	out.SetMessageIDWithValue(n.ID + "@ringfence.invalid") // the same on each try: a mailbox can tell repeats
	out.SetGenHeader("Auto-Submitted", "auto-generated")   // RFC 3834: no answers from absent people
	if n.Urgent {
		out.SetImportance(mail.ImportanceHigh)
	}
	out.SetBodyString(mail.TypeTextPlain, text(n))
	return out, nil
}

func (m Mail) send(ctx context.Context, n appliance.Notice) error {
	message, err := m.message(n)
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	client, err := mail.NewClient(m.Host, m.options()...)
	if err != nil {
		return fmt.Errorf("prepare mail to %s: %w", m.Host, err)
	}
	if err := client.DialAndSendWithContext(ctx, message); err != nil {
		return fmt.Errorf("mail by %s:%d: %w", m.Host, m.Port, err)
	}
	return nil
}

func (m Mail) options() []mail.Option {
	options := []mail.Option{
		mail.WithPort(m.Port), mail.WithTimeout(attempt / 3), mail.WithHELO("ringfence.invalid"),
		mail.WithTLSConfig(&tls.Config{ServerName: m.Host, RootCAs: m.Roots, MinVersion: tls.VersionTLS12}),
	}
	if m.Implicit {
		options = append(options, mail.WithSSL())
	} else {
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if m.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.User), mail.WithPassword(m.Password))
	}
	return options
}
