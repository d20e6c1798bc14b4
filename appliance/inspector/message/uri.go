package message

import (
	"net/netip"
	"strconv"
	"strings"
)

// URI is one sip, sips or tel URI, or an absolute URI of another scheme that
// is carried but not understood (RFC 3261 section 19.1, RFC 3966).
type URI struct {
	Scheme string // lower case
	// User is the user part without password, still escaped, parameters inside
	// it ("user;par=1") included. Of a tel URI it is the number as written.
	User     string
	Password string // still escaped; sip and sips only
	// Host is a lower-case name without a trailing dot, or a canonical IP
	// address without brackets. It is empty for tel and other schemes.
	Host    string
	Port    uint16 // 0 where none is given
	Params  Params // of the URI, still escaped; empty for other schemes
	Headers string // what follows "?", without it, still escaped
	Opaque  string // what follows "scheme:" for other schemes than the three
}

// ParseURI reads one URI that stands alone. The error is an *Error.
func ParseURI(s string) (URI, error) {
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || classes[s[0]]&classAlpha == 0 {
		return URI{}, bad("holds a URI without a scheme")
	}
	rest := s[colon+1:]
	switch scheme := s[:colon]; {
	case same(scheme, "sip"):
		return parseSIP("sip", rest)
	case same(scheme, "sips"):
		return parseSIP("sips", rest)
	case same(scheme, "tel"):
		return parseTel(rest)
	default:
		return parseOpaque(scheme, rest)
	}
}

func parseOpaque(scheme, rest string) (URI, error) {
	for i := range len(scheme) {
		if c := scheme[i]; classes[c]&(classAlpha|classDigit) == 0 && c != '+' && c != '-' && c != '.' {
			return URI{}, bad("holds a URI with a wrong scheme")
		}
	}
	if rest == "" || !escaped(rest, classURI) {
		return URI{}, bad("holds a URI with a wrong character")
	}
	return URI{Scheme: strings.ToLower(scheme), Opaque: rest}, nil
}

// parseTel reads what follows "tel:". The number may hold the digits and
// separators of RFC 3966 section 3; escapes have no place in it.
func parseTel(rest string) (URI, error) {
	digits, params := rest, ""
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		digits, params = rest[:i], rest[i:]
	}
	number := strings.TrimPrefix(digits, "+")
	if !every(number, classDial) || len(strings.Trim(number, "-.()")) == 0 {
		return URI{}, bad("holds a tel URI without a proper number")
	}
	list, err := uriParams(params)
	return URI{Scheme: "tel", User: digits, Params: list}, err
}

// parseSIP reads what follows "sip:" or "sips:". Neither host, parameters nor
// headers may hold "@", so one "@" is the end of the user part and two are a
// trick.
func parseSIP(scheme, rest string) (URI, error) {
	u := URI{Scheme: scheme}
	if i := strings.IndexByte(rest, '@'); i >= 0 {
		if strings.IndexByte(rest[i+1:], '@') >= 0 {
			return URI{}, bad(`holds a URI with more than one "@"`)
		}
		if err := u.userinfo(rest[:i]); err != nil {
			return URI{}, err
		}
		rest = rest[i+1:]
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		if err := uriHeaders(rest[i+1:]); err != nil {
			return URI{}, err
		}
		u.Headers, rest = rest[i+1:], rest[:i]
	}
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		list, err := uriParams(rest[i:])
		if err != nil {
			return URI{}, err
		}
		u.Params, rest = list, rest[:i]
	}
	var err error
	u.Host, u.Port, err = hostPort(rest)
	return u, err
}

// userinfo reads user [ ":" password ]. A raw "#", which the grammar wants
// escaped but phones dial, becomes %23.
func (u *URI) userinfo(s string) error {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		u.Password, s = s[i+1:], s[:i]
		if u.Password == "" || !escaped(u.Password, classPassword) {
			return bad("holds a URI with a wrong password part")
		}
	}
	if strings.IndexByte(s, '#') >= 0 {
		s = strings.ReplaceAll(s, "#", "%23")
	}
	// "//" and "?" are grammatical, but a reader of web URLs would end or begin
	// the host elsewhere.
	if s == "" || !escaped(s, classUser) || strings.HasPrefix(s, "//") || strings.IndexByte(s, '?') >= 0 {
		return bad("holds a URI with a wrong user part")
	}
	u.User = s
	return nil
}

// uriParams checks *( ";" uri-parameter ). A name holds no escape: an escaped
// "lr" would be read by one side only.
func uriParams(s string) (Params, error) {
	shouted := false
	for n, rest := 0, s; rest != ""; n++ {
		if n == MaxParams {
			return "", bad("holds too many parameters")
		}
		one := rest[1:]
		if i := strings.IndexByte(one, ';'); i >= 0 {
			one, rest = one[:i], one[i:]
		} else {
			rest = ""
		}
		name, value, found := strings.Cut(one, "=")
		if !every(name, classParam) {
			return "", bad("holds a URI with a wrong parameter")
		}
		shouted = shouted || shouts(name)
		if found && (value == "" || !escaped(value, classParam)) || !plainParam(name, value) {
			return "", bad("holds a URI with a wrong parameter")
		}
	}
	p := Params(s)
	if shouted {
		p = p.lower()
	}
	return p, p.unique()
}

// plainParam checks the parameters that route a request. Their values are
// tokens, a number or a host (RFC 3261 section 25.1), so an escape in them is
// one that only some readers would decode.
func plainParam(name, value string) bool {
	switch {
	case same(name, "transport"), same(name, "user"), same(name, "method"):
		return every(value, classToken) && strings.IndexByte(value, '%') < 0
	case same(name, "ttl"):
		_, err := number(value, 255)
		return err == nil
	case same(name, "maddr"):
		_, err := canonicalHost(value)
		return err == nil
	}
	return true
}

// uriHeaders checks header *( "&" header ), header = hname "=" hvalue.
func uriHeaders(s string) error {
	for rest, more := s, true; more; {
		var one string
		one, rest, more = strings.Cut(rest, "&")
		name, value, found := strings.Cut(one, "=")
		if !found || name == "" || !escaped(name, classHeader) || !escaped(value, classHeader) {
			return bad("holds a URI with wrong headers")
		}
	}
	return nil
}

// hostPort reads host [ ":" port ] and returns both in canonical form.
func hostPort(s string) (string, uint16, error) {
	host, port := s, ""
	from := strings.IndexByte(s, ']') + 1 // colons inside brackets are the address
	if i := strings.IndexByte(s[from:], ':'); i >= 0 {
		host, port = s[:from+i], s[from+i+1:]
		if port == "" {
			return "", 0, bad("holds an empty port")
		}
	}
	name, err := canonicalHost(host)
	if err != nil || port == "" {
		return name, 0, err
	}
	n, err := portNumber(port)
	return name, n, err
}

func portNumber(s string) (uint16, error) {
	n, err := number(s, 65535)
	if err != nil || n == 0 || len(s) > 5 {
		return 0, bad("holds a wrong port")
	}
	return uint16(n), nil
}

// canonicalHost checks hostname / IPv4address / IPv6reference and returns a
// lower-case name or an address without brackets. IPv4 in any other form than
// four plain decimals, a zone, an IPv4-mapped address and a trailing dot are
// refused: two readers would not agree on where they lead.
func canonicalHost(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		if !strings.HasSuffix(s, "]") {
			return "", bad("holds a wrong host")
		}
		return canonicalIPv6(s[1 : len(s)-1])
	}
	if !every(s, classHost) || len(s) > 253 {
		return "", bad("holds a wrong host")
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	if last != "" && classes[last[0]]&classDigit != 0 {
		if a, err := netip.ParseAddr(s); err != nil || !a.Is4() {
			return "", bad("holds a wrong IPv4 address")
		}
		return s, nil // netip takes no leading zeros, so the text is canonical
	}
	if !labels(s) {
		return "", bad("holds a wrong host")
	}
	return strings.ToLower(s), nil
}

func canonicalIPv6(s string) (string, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" {
		return "", bad("holds a wrong IPv6 address")
	}
	var buf [40]byte
	if text := a.AppendTo(buf[:0]); string(text) != s {
		return string(text), nil
	}
	return s, nil
}

// labels checks the labels of a host name (RFC 3261: domainlabel, toplabel).
func labels(s string) bool {
	for more := true; more; {
		var label string
		label, s, more = strings.Cut(s, ".")
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// Append appends the URI in canonical form.
func (u URI) Append(dst []byte) []byte {
	dst = append(append(dst, u.Scheme...), ':')
	if u.Opaque != "" {
		return append(dst, u.Opaque...)
	}
	dst = append(dst, u.User...)
	if u.Host != "" {
		if u.Password != "" {
			dst = append(append(dst, ':'), u.Password...)
		}
		if u.User != "" {
			dst = append(dst, '@')
		}
		dst = appendHostPort(dst, u.Host, u.Port)
	}
	dst = append(dst, u.Params...)
	if u.Headers != "" {
		dst = append(append(dst, '?'), u.Headers...)
	}
	return dst
}

// usual is room for most values, bytes.
const usual = 160

// String returns the URI in canonical form.
func (u URI) String() string {
	var buf [usual]byte // on the stack
	return string(u.Append(buf[:0]))
}

// HeaderFields returns the headers behind "?", decoded, under their canonical
// long names: what a request made from the URI would hold (RFC 3261 section
// 19.1.5). None may be taken over without being read.
func (u URI) HeaderFields() []Header {
	var fields []Header
	for rest, more := u.Headers, u.Headers != ""; more; {
		var one string
		one, rest, more = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(one, "=")
		name, _ = ranked(unescape(name))
		fields = append(fields, Header{name, unescape(value)})
	}
	return fields
}

// Account is the user part as every spelling of one name has it: in small letters,
// since many registrars tell no case apart, and without escapes where a character
// needs none (RFC 3261 section 19.1.4 takes the two for the same).
func (u URI) Account() string {
	if strings.IndexByte(u.User, '%') < 0 {
		return strings.ToLower(u.User)
	}
	out := make([]byte, 0, len(u.User))
	for i := 0; i < len(u.User); i++ {
		c, escape := u.User[i], u.User[i] == '%' && i+2 < len(u.User)
		if escape {
			c = nibble(u.User[i+1])<<4 | nibble(u.User[i+2])
		}
		if escape && !(classes[c]&(classAlpha|classDigit) != 0 || strings.IndexByte("-_.!~*'()", c) >= 0) {
			out = append(out, u.User[i:i+3]...)
		} else {
			out = append(out, c)
		}
		if escape {
			i += 2
		}
	}
	return strings.ToLower(string(out))
}

// unescape decodes the %HH of text that escaped has checked, once.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) {
			out = append(out, s[i])
			continue
		}
		out = append(out, nibble(s[i+1])<<4|nibble(s[i+2]))
		i += 2
	}
	return string(out)
}

func nibble(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// Addr returns the host as an address; the boolean is false for a name.
func (u URI) Addr() (netip.Addr, bool) { return hostAddr(u.Host) }

func hostAddr(host string) (netip.Addr, bool) {
	if host == "" || (host[0] < '0' || host[0] > '9') && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{}, false // a name: to hear so from ParseAddr costs memory
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

func appendHostPort(dst []byte, host string, port uint16) []byte {
	if strings.IndexByte(host, ':') >= 0 {
		dst = append(append(append(dst, '['), host...), ']')
	} else {
		dst = append(dst, host...)
	}
	if port != 0 {
		dst = strconv.AppendUint(append(dst, ':'), uint64(port), 10)
	}
	return dst
}
