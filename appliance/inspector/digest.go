package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance/inspector/guard"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// credentials returns the first digest credentials of a request (RFC 3261 section
// 22.4, RFC 8760), nil where there are none that name somebody. They are only
// looked at: what goes on is the header as it came.
func credentials(m *message.Message) *guard.Credentials {
	for _, name := range [...]string{"Authorization", "Proxy-Authorization"} {
		for _, value := range m.All(name) {
			fields, ok := digestFields(value)
			if !ok || fields.get("username") == "" || fields.get("nonce") == "" {
				continue
			}
			return &guard.Credentials{
				User: fields.get("username"), Realm: fields.get("realm"), Nonce: fields.get("nonce"), URI: fields.get("uri"),
				Response: fields.get("response"), Count: fields.get("nc"), Client: fields.get("cnonce"),
			}
		}
	}
	return nil
}

// challenges returns the nonces of the challenges in a response, and whether one
// of them says that only the nonce was stale.
func challenges(m *message.Message) (nonces []string, stale bool) {
	for _, name := range [...]string{"WWW-Authenticate", "Proxy-Authenticate"} {
		for _, value := range m.All(name) {
			if fields, ok := digestFields(value); ok && len(nonces) < maxChallenges {
				nonces = append(nonces, fields.get("nonce"))
				stale = stale || strings.EqualFold(fields.get("stale"), "true")
			}
		}
	}
	return nonces, stale
}

// maxChallenges is how many challenges of one response are looked at: one for each
// algorithm there is.
const maxChallenges = 4

// maxDigestFields bounds the work on one header.
const maxDigestFields = 24

type digestField struct{ name, value string }

type digestList []digestField

func (l digestList) get(name string) string {
	for _, one := range l {
		if strings.EqualFold(one.name, name) {
			return one.value
		}
	}
	return ""
}

// digestFields reads `Digest name=value, name="value"`. It is false where the
// scheme is another, or the text breaks off.
func digestFields(s string) (digestList, bool) {
	scheme, rest, _ := strings.Cut(strings.TrimLeft(s, " \t"), " ")
	if !strings.EqualFold(scheme, "Digest") {
		return nil, false
	}
	var all digestList
	for rest = strings.Trim(rest, " \t,"); rest != ""; rest = strings.Trim(rest, " \t,") {
		name, after, found := strings.Cut(rest, "=")
		if !found || len(all) == maxDigestFields {
			return nil, false
		}
		value, left, ok := digestValue(strings.TrimLeft(after, " \t"))
		if !ok {
			return nil, false
		}
		all, rest = append(all, digestField{strings.TrimSpace(name), value}), left
	}
	return all, true
}

// digestValue takes one value off the front.
func digestValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ",")
		return strings.TrimSpace(value), rest, true
	}
	for n := 1; n < len(s); n++ {
		switch s[n] {
		case '\\':
			n++
		case '"':
			value = s[1:n]
			if strings.IndexByte(value, '\\') >= 0 {
				value = unescaped(value)
			}
			return value, s[n+1:], true
		}
	}
	return "", "", false
}

func unescaped(s string) string {
	var b strings.Builder
	for n := 0; n < len(s); n++ {
		if s[n] == '\\' && n+1 < len(s) {
			n++
		}
		b.WriteByte(s[n])
	}
	return b.String()
}
