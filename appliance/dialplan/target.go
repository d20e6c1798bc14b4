package dialplan

import (
	"strings"
)

// Target is a would-be callee taken apart: who, and at which host. It is what
// can be known of a URI without a dial plan.
type Target struct {
	// Dialled is the canonical dialled string: digits, *, # and +, without
	// escapes, separators, parameters and post-dial digits. Where Name is set it
	// is that name, and where Service is set that URN.
	Dialled string
	Name    bool   // the user part is a name, such as alice, and no number
	Service bool   // an emergency service URN (RFC 5031)
	Host    string // host part in lower case without brackets and port, or empty
	MAddr   bool   // the URI asks to be sent somewhere else than its host says
	// Local is the local number of a tel URI whose phone-context has been put
	// before it in Dialled, or empty.
	Local string
	// Routing holds the routing numbers that ride along (RFC 4694).
	Routing []string
}

// Error says why a dialled string can't be read.
type Error struct{ Problem string }

// Error reads "read dialled string: problem".
func (e *Error) Error() string { return "read dialled string: " + e.Problem }

func unreadable(problem string) error { return &Error{problem} }

// The longest input, in bytes, and the longest canonical dialled string, in
// digits: a forwarding code with two numbers and some codes before them.
const (
	maxURI     = 1024
	maxDialled = 64
)

// Parse takes a would-be callee apart: a sip, sips or tel URI without angle
// brackets, an emergency service URN, or a dialled string as a person types it.
// It refuses what two readers could read differently: double escapes, passwords,
// non-ASCII, more than one @. The error is an *Error.
func Parse(s string) (Target, error) {
	if len(s) > maxURI {
		return Target{}, unreadable("longer than 1024 bytes")
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		switch scheme, rest := strings.ToLower(s[:i]), s[i+1:]; scheme {
		case "sip", "sips":
			return parseSIP(rest)
		case "tel":
			return parseUser(rest, false)
		case "urn":
			return parseService(s)
		default:
			return Target{}, unreadable("the scheme is neither sip, sips nor tel")
		}
	}
	return parseUser(strings.TrimSpace(s), true)
}

// parseService reads urn:service:sos and its sub-services (RFC 5031, section
// 4.2).
func parseService(s string) (Target, error) {
	service := strings.ToLower(s)
	sub, ok := strings.CutPrefix(service, "urn:service:sos")
	if !ok || (sub != "" && (sub[0] != '.' || strings.Trim(sub, "abcdefghijklmnopqrstuvwxyz-.") != "")) {
		return Target{}, unreadable("the URN names no emergency service")
	}
	return Target{Dialled: service, Service: true}, nil
}

// parseSIP reads what follows the scheme (RFC 3261, section 25.1).
func parseSIP(s string) (Target, error) {
	user, host, ok := strings.Cut(s, "@")
	switch {
	case !ok || user == "":
		return Target{}, unreadable("the URI has no user part")
	case strings.ContainsRune(host, '@'):
		return Target{}, unreadable("the URI has more than one @")
	case strings.ContainsRune(user, ':'):
		return Target{}, unreadable("the user part holds a password or a colon")
	}
	t, err := parseUser(user, false)
	if err != nil {
		return Target{}, err
	}
	params := ""
	if i := strings.IndexAny(host, ";?"); i >= 0 {
		host, params = host[:i], host[i:]
	}
	t.MAddr = hasMAddr(params)
	t.Host, err = parseHost(host)
	return t, err
}

// hasMAddr looks in the URI parameters, which end where the headers begin.
func hasMAddr(params string) bool {
	if params == "" {
		return false
	}
	params, _, _ = strings.Cut(params, "?")
	for param := range strings.SplitSeq(params, ";") {
		name, _, _ := strings.Cut(param, "=")
		if decoded, err := unescape(name); err != nil || strings.EqualFold(decoded, "maddr") {
			return true
		}
	}
	return false
}

func parseHost(s string) (string, error) {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", unreadable("the host's bracket is not closed")
		}
		host, port = s[1:end], s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i:]
	}
	if port != "" && !validPort(port) {
		return "", unreadable("the host's port is not a number from 1 to 65535")
	}
	if host == "" || stray(host) {
		return "", unreadable("the host part is empty or holds a stray character")
	}
	return strings.ToLower(host), nil
}

// stray reports whether a host holds a character that no host does.
func stray(host string) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case c <= ' ' || c > '~', c == '<', c == '>', c == '[', c == ']', c == '%', c == '"':
			return true
		}
	}
	return false
}

func validPort(s string) bool {
	if len(s) < 2 || len(s) > 6 || s[0] != ':' || !allDigits(s[1:]) {
		return false
	}
	n := 0
	for i := 1; i < len(s); i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n >= 1 && n <= 65535
}

// parseUser reads the user part of a sip URI or the subscriber of a tel URI
// (RFC 3966, section 3): a number or name, then parameters. They mean the same
// in both.
func parseUser(s string, typed bool) (Target, error) {
	head, params, _ := strings.Cut(s, ";")
	head, err := unescape(head)
	if err != nil {
		return Target{}, err
	}
	if name(head) {
		return Target{Dialled: head, Name: true}, nil
	}
	number, err := canonical(head, typed)
	if err != nil {
		return Target{}, err
	}
	t := Target{Dialled: withoutEndKey(number)}
	if params != "" {
		err = t.parseParams(params)
	}
	return t, err
}

// maxParams bounds the parameters of a user part.
const maxParams = 16

// parseParams heeds what can change the number: phone-context (RFC 3966,
// section 5.1.5) and routing numbers (RFC 4694). Everything else, among it ext,
// isub, postd, cic, tgrp and npdi, is dropped with the parameter list: Dialled
// does not carry it.
func (t *Target) parseParams(s string) error {
	var context, routing, routingContext []string
	list := strings.Split(s, ";")
	if len(list) > maxParams {
		return unreadable("more than 16 parameters")
	}
	for _, param := range list {
		name, value, _ := strings.Cut(param, "=")
		name, err := unescape(name)
		if err != nil {
			return err
		}
		value, err = unescape(value)
		if err != nil {
			return err
		}
		switch strings.ToLower(name) {
		case "phone-context":
			context = append(context, value)
		case "rn":
			routing = append(routing, value)
		case "rn-context":
			routingContext = append(routingContext, value)
		}
	}
	if len(context) > 1 || len(routing) > 1 || len(routingContext) > 1 {
		return unreadable("a parameter is given twice")
	}
	if err := t.applyContext(context); err != nil {
		return err
	}
	return t.applyRouting(routing, routingContext)
}

// applyContext puts a numeric context before a local number. A global number
// has no use for one, and a domain says no digits.
func (t *Target) applyContext(context []string) error {
	if len(context) == 0 || strings.HasPrefix(t.Dialled, "+") {
		return nil
	}
	head, err := contextDigits(context[0])
	if err != nil || head == "" {
		return err
	}
	if len(head)+len(t.Dialled) > maxDialled {
		return unreadable("longer than 64 digits")
	}
	t.Local = t.Dialled
	t.Dialled = withoutEndKey(head + t.Dialled)
	return nil
}

// withoutEndKey drops the key that ends dialling, which ends a feature code too
// but belongs to it.
func withoutEndKey(s string) string {
	if s[0] == '*' || s[0] == '#' {
		return s
	}
	return strings.TrimRight(s, "#")
}

// contextDigits returns the digits of a numeric context with their plus, which
// some senders forget, and "" for a domain.
func contextDigits(s string) (string, error) {
	if digits := strings.Trim(s, "+-.()0123456789"); digits == "" && s != "" {
		head, err := canonical(s, false)
		return "+" + strings.TrimLeft(head, "+"), err
	}
	if s == "" || strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		return "", unreadable("the phone-context is neither a number nor a domain")
	}
	return "", nil
}

func (t *Target) applyRouting(routing, context []string) error {
	if len(routing) == 0 {
		return nil
	}
	number, err := canonical(routing[0], false)
	if err != nil {
		return err
	}
	t.Routing = append(t.Routing, number)
	if len(context) == 1 && !strings.HasPrefix(number, "+") {
		head, err := contextDigits(context[0])
		if err != nil {
			return err
		}
		t.Routing = append(t.Routing, head+number)
	}
	return nil
}
