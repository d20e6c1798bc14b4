package settings

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"strings"

	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// Fraud is what the site tells the behaviour engine.
type Fraud struct {
	Rules    []document.FraudRule // stricter than the policy's and the defaults, or as granted
	Limits   []fraud.Limit        // what may be spent
	Hours    fraud.Hours
	Channels int      // calls that the trunks carry at once; 0 for the default
	Canaries []string // extensions that nobody uses, prefixes that nobody calls
	Scope    fraud.Scope
}

type rawFraud struct {
	Rules    []document.RawFraudRule  `json:"rules"`
	Limits   []document.RawMoneyLimit `json:"limits"`
	Hours    document.RawHours        `json:"hours"`
	Channels int                      `json:"channels"`
	Canaries []string                 `json:"canaries"`
	Scope    string                   `json:"scope"`
}

const (
	maxChannels = 10_000
	maxCanaries = 32
)

// scopes are the words for fraud.Scope.
var scopes = []fraud.Scope{fraud.ScopePremium, fraud.ScopeInternational, fraud.ScopeAll}

func refineFraud(m *document.Mistakes, raw rawFraud) Fraud {
	out := Fraud{
		Rules:    m.FraudRules("fraud.rules", raw.Rules),
		Limits:   m.MoneyLimits("fraud.limits", raw.Limits),
		Hours:    m.Hours("fraud.hours", raw.Hours),
		Channels: raw.Channels,
		Canaries: append([]string(nil), raw.Canaries[:m.Count("fraud.canaries", len(raw.Canaries), maxCanaries)]...),
	}
	if raw.Channels < 0 || raw.Channels > maxChannels {
		m.Add("fraud.channels", "want how many calls the trunks carry at once, at most %d, or 0 for the default", maxChannels)
	}
	taken := make(map[string]bool)
	for i, one := range out.Canaries {
		at := fmt.Sprintf("fraud.canaries[%d]", i)
		if strings.HasPrefix(one, "+") {
			m.Prefix(at, one, taken)
			continue
		}
		m.Name(at, one, taken)
	}
	known := false
	for _, scope := range scopes {
		if raw.Scope == scope.String() {
			out.Scope, known = scope, true
		}
	}
	if !known && raw.Scope != "" {
		m.Add("fraud.scope", "want one of %s, %s, %s", scopes[0], scopes[1], scopes[2])
	}
	return out
}

func encodeFraud(f Fraud) rawFraud {
	return rawFraud{
		Rules: document.RawFraudRules(f.Rules), Limits: document.RawMoneyLimits(f.Limits), Hours: document.RawHoursOf(f.Hours),
		Channels: f.Channels, Canaries: full(f.Canaries), Scope: f.Scope.String(),
	}
}

// Notify is where notices go. Secrets are no part of any document: they are kept
// apart, and written only.
type Notify struct {
	Mail    Mail
	Webhook string // https URL; empty for none
	Syslog  string // host:port of a collector that speaks TLS; empty for none
	Digest  bool   // a summary each morning
}

// Mail says by which server mail leaves, always over TLS. The zero value is none.
type Mail struct {
	Server   string // host:port; TLS from the first byte on port 465, else STARTTLS
	User     string // empty where the server asks for no password
	From     string
	To       []string
	Implicit bool // TLS from the first byte
}

type rawNotify struct {
	Mail    *rawMail `json:"mail,omitempty"`
	Webhook string   `json:"webhook,omitempty"`
	Syslog  string   `json:"syslog,omitempty"`
	Digest  bool     `json:"digest"`
}

type rawMail struct {
	Server string   `json:"server"`
	User   string   `json:"user,omitempty"`
	From   string   `json:"from"`
	To     []string `json:"to"`
	TLS    string   `json:"tls"`
}

const maxRecipients = 16

func refineNotify(m *document.Mistakes, raw rawNotify) Notify {
	out := Notify{Webhook: raw.Webhook, Syslog: raw.Syslog, Digest: raw.Digest}
	if raw.Mail != nil {
		out.Mail = refineMail(m, *raw.Mail)
	}
	if raw.Webhook != "" {
		if at, err := url.Parse(raw.Webhook); err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil || at.Fragment != "" {
			m.Add("notify.webhook", "want an https URL without a password in it")
		}
	}
	if raw.Syslog != "" {
		refineServer(m, "notify.syslog", raw.Syslog)
	}
	return out
}

func refineMail(m *document.Mistakes, raw rawMail) Mail {
	refineServer(m, "notify.mail.server", raw.Server)
	refineMailbox(m, "notify.mail.from", raw.From)
	if len(raw.To) == 0 {
		m.Add("notify.mail.to", "missing: nobody would get the mail")
	}
	for i, one := range raw.To[:m.Count("notify.mail.to", len(raw.To), maxRecipients)] {
		refineMailbox(m, fmt.Sprintf("notify.mail.to[%d]", i), one)
	}
	if raw.TLS != "starttls" && raw.TLS != "tls" {
		m.Add("notify.mail.tls", "want starttls (ports 587 and 25) or tls (port 465); there is no mail in the clear")
	}
	return Mail{Server: raw.Server, User: m.Text("notify.mail.user", raw.User, document.MaxName), From: raw.From, To: raw.To, Implicit: raw.TLS == "tls"}
}

func refineServer(m *document.Mistakes, field, s string) {
	host, port, err := net.SplitHostPort(s)
	n, wrong := strconv.Atoi(port)
	if err != nil || wrong != nil || n < 1 || n > 65535 || !document.Domain(host) && !literal(host) {
		m.Add(field, "want a host and a port, like mail.example.net:587")
	}
}

func refineMailbox(m *document.Mistakes, field, s string) {
	at, err := mail.ParseAddress(s)
	if err != nil || at.Address != s {
		m.Add(field, "want an address like office@example.net")
	}
}

func encodeNotify(n Notify) rawNotify {
	raw := rawNotify{Webhook: n.Webhook, Syslog: n.Syslog, Digest: n.Digest}
	if n.Mail.Server != "" {
		raw.Mail = &rawMail{Server: n.Mail.Server, User: n.Mail.User, From: n.Mail.From, To: full(n.Mail.To), TLS: "starttls"}
		if n.Mail.Implicit {
			raw.Mail.TLS = "tls"
		}
	}
	return raw
}
