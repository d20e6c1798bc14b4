// Package trace is what can be made of the kept messages of one call: the same
// messages without their secrets, the ladder that a person reads, and a capture
// that Wireshark opens. It is paper: no I/O, no clock.
package trace

import (
	"bytes"
	"strings"
)

// hidden stands for a secret in a header. In a body every character of a secret
// becomes a star instead: Content-Length has to stay true.
const hidden = "***"

// Redact returns a SIP message as it stood on the wire, without what lets anybody
// in: credentials (RFC 7616, RFC 8760), passwords in URIs, keys of media (RFC
// 4568, RFC 8839, RFC 3830) and digits that were typed during a call. It reads
// whatever it is given: a message that was cut is redacted as far as it goes.
func Redact(wire []byte) []byte {
	out := make([]byte, 0, len(wire)+16)
	head, body, _ := bytes.Cut(wire, []byte("\r\n\r\n"))
	lines := bytes.Split(head, []byte("\r\n"))
	digits := false
	for n := 0; n < len(lines); {
		field := string(lines[n])
		for n++; n < len(lines) && folded(lines[n]); n++ {
			field += "\r\n" + string(lines[n])
		}
		name, value, found := strings.Cut(field, ":")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		digits = digits || found && (name == "content-type" || name == "c") && strings.Contains(strings.ToLower(value), "dtmf")
		if len(out) > 0 {
			out = append(out, "\r\n"...)
		}
		out = append(out, redactField(field, name)...)
	}
	if len(head) == len(wire) {
		return out
	}
	out = append(out, "\r\n\r\n"...)
	return append(out, redactBody(body, digits)...)
}

// folded reports whether a line continues the one before (RFC 3261 section 7.3.1).
func folded(line []byte) bool { return len(line) > 0 && (line[0] == ' ' || line[0] == '\t') }

func redactField(field, name string) string {
	switch name {
	case "authorization", "proxy-authorization":
		return redactCredentials(field, shownOfDigest)
	case "authentication-info", "proxy-authentication-info":
		return redactCredentials(field, shownOfInfo)
	}
	return redactURIs(field)
}

// Parameters of credentials that say who asks and how, and nothing that a
// password could be guessed from.
var (
	shownOfDigest = []string{"username", "realm", "uri", "algorithm", "qop", "nc", "opaque", "userhash"}
	shownOfInfo   = []string{"qop", "nc"}
)

// redactCredentials shows the listed parameters of a Digest alone. Of any other
// scheme it shows the name.
func redactCredentials(field string, shown []string) string {
	name, value, _ := strings.Cut(field, ":")
	text := strings.TrimLeft(value, " \t\r\n")
	scheme := ""
	if !strings.HasSuffix(strings.ToLower(strings.TrimSpace(name)), "-info") {
		scheme, text, _ = strings.Cut(text, " ")
		if !strings.EqualFold(scheme, "digest") {
			return name + ": " + scheme + " " + hidden
		}
		scheme += " "
	}
	var parts []string
	for _, part := range commas(text) {
		key, _, _ := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		if !listed(shown, key) {
			part = key + `="` + hidden + `"`
		}
		parts = append(parts, redactURIs(strings.TrimSpace(part)))
	}
	return name + ": " + scheme + strings.Join(parts, ", ")
}

func listed(names []string, name string) bool {
	for _, one := range names {
		if strings.EqualFold(one, name) {
			return true
		}
	}
	return false
}

// commas splits at the commas outside of quoted strings.
func commas(text string) []string {
	var parts []string
	from, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

// redactURIs hides the password of every SIP URI (RFC 3261 section 19.1.1), and
// credentials among the headers of one.
func redactURIs(field string) string {
	lower := lowered(field)
	if !strings.Contains(lower, "sip:") && !strings.Contains(lower, "sips:") && !strings.Contains(lower, "authorization=") {
		return field
	}
	var out strings.Builder
	for len(field) > 0 {
		from, to := secretIn(field, lower)
		if from < 0 {
			break
		}
		out.WriteString(field[:from] + hidden)
		field, lower = field[to:], lower[to:]
	}
	return out.String() + field
}

// lowered is text in lower case as far as it is ASCII, so that a place in one is a
// place in the other.
func lowered(text string) string {
	out := []byte(text)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + ('a' - 'A')
		}
	}
	return string(out)
}

// secretIn finds the first secret of a line. from is negative where there is none.
func secretIn(field, lower string) (from, to int) {
	from = -1
	for _, start := range [...]string{"sip:", "sips:"} {
		for at := 0; ; {
			i := strings.Index(lower[at:], start)
			if i < 0 {
				break
			}
			at += i + len(start)
			end := strings.IndexAny(field[at:], "@> \t\r\n,\"")
			if end < 0 || field[at+end] != '@' {
				continue
			}
			colon := strings.IndexByte(field[at:at+end], ':')
			if colon >= 0 && at+end > at+colon+1 && field[at+colon+1:at+end] != hidden && (from < 0 || at+colon+1 < from) {
				from, to = at+colon+1, at+end
			}
		}
	}
	if i := strings.Index(lower, "authorization="); i >= 0 && (from < 0 || i < from) {
		start := i + len("authorization=")
		end := strings.IndexAny(field[start:], "&> \t\r\n,\"")
		if end < 0 {
			end = len(field) - start
		}
		if value := field[start : start+end]; value != "" && value != hidden {
			from, to = start, start+end
		}
	}
	return from, to
}

// redactBody hides keys in lines of SDP, wherever in a body they stand, and the
// digits of a DTMF body.
func redactBody(body []byte, digits bool) []byte {
	out := bytes.Clone(body)
	for rest := out; len(rest) > 0; {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		line = bytes.TrimRight(line, "\r")
		if digits {
			mask(line, afterSign(line))
			continue
		}
		mask(line, keyIn(line))
	}
	return out
}

// afterSign is where the digits of a line such as "Signal=5" begin. A bare body
// (application/dtmf) is nothing but digits.
func afterSign(line []byte) int {
	lower := []byte(lowered(string(line)))
	switch at := bytes.IndexByte(line, '='); {
	case bytes.HasPrefix(lower, []byte("duration")):
		return -1
	case at >= 0:
		return at + 1
	}
	return 0
}

// keyIn is where the secret of a line of a body begins, negative where it has none:
// of SDP, or of a message inside the message (RFC 3420).
func keyIn(line []byte) int {
	lower := []byte(lowered(string(line)))
	for _, name := range [...]string{"authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info"} {
		if rest, found := bytes.CutPrefix(lower, []byte(name)); found && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte(":")) {
			return len(name)
		}
	}
	switch {
	case bytes.HasPrefix(lower, []byte("a=crypto:")):
		if at := bytes.Index(lower, []byte("inline:")); at >= 0 {
			return at + len("inline:")
		}
		return len("a=crypto:")
	case bytes.HasPrefix(lower, []byte("a=ice-pwd:")):
		return len("a=ice-pwd:")
	case bytes.HasPrefix(lower, []byte("a=key-mgmt:")):
		return len("a=key-mgmt:")
	case bytes.HasPrefix(lower, []byte("k=")):
		return len("k=")
	}
	return -1
}

// mask writes stars over everything from at on.
func mask(line []byte, at int) {
	if at < 0 {
		return
	}
	for i := at; i < len(line); i++ {
		if line[i] != ' ' {
			line[i] = '*'
		}
	}
}
