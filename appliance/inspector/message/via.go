package message

import (
	"net/netip"
	"strconv"
	"strings"
)

// MagicCookie starts every branch of RFC 3261 (section 8.1.1.7). A hop without
// it, or without a branch, speaks RFC 2543: nothing but the whole request tells
// its transactions apart.
const MagicCookie = "z9hG4bK"

// Via is one hop (RFC 3261 section 20.42).
type Via struct {
	Transport string // upper case: UDP, TCP, TLS, ...
	Host      string // as in URI
	Port      uint16 // 0 where none is given
	Params    Params
}

// ParseVia reads one Via that stands alone. The error is an *Error.
func ParseVia(s string) (Via, error) { return alone(&cursor{s: s}, (*cursor).via) }

// Branch returns the branch parameter, "" where there is none.
func (v Via) Branch() string { return v.text("branch") }

// Received returns the address that the next hop saw, or the zero Addr.
func (v Via) Received() netip.Addr {
	a, _ := hostAddr(v.text("received"))
	return a
}

// RPort returns the rport parameter of RFC 3581: whether it is there, and its
// port, 0 where it has none yet.
func (v Via) RPort() (port uint16, ok bool) {
	text, ok := v.Params.Get("rport")
	if text == "" { // the usual request: an error would cost memory
		return 0, ok
	}
	n, _ := strconv.ParseUint(text, 10, 16)
	return uint16(n), ok
}

// MAddr returns the maddr parameter, "" where there is none.
func (v Via) MAddr() string { return v.text("maddr") }

// TTL returns the ttl parameter and whether it is there.
func (v Via) TTL() (ttl uint8, ok bool) {
	text, ok := v.Params.Get("ttl")
	n, _ := strconv.ParseUint(text, 10, 8)
	return uint8(n), ok
}

func (v Via) text(name string) string {
	value, _ := v.Params.Get(name)
	return value
}

// Append appends the hop in canonical form.
func (v Via) Append(dst []byte) []byte {
	dst = append(append(append(dst, "SIP/2.0/"...), v.Transport...), ' ')
	return append(appendHostPort(dst, v.Host, v.Port), v.Params...)
}

// Returned is the hop as a response has to carry it: with the address that the
// request came from where the sender asks for its port or says another one (RFC 3261
// section 18.2.1), and with that port where he asks for it (RFC 3581 section 4).
func (v Via) Returned(source string, port uint16) string {
	var buf [usual]byte // on the stack
	_, wantsPort := v.RPort()
	wantsAddress := wantsPort || v.Host != source
	rest := string(v.Params)
	v.Params = ""
	out := v.Append(buf[:0])
	for rest != "" {
		before, name := rest, ""
		name, _, rest = cutParam(rest)
		switch {
		case wantsAddress && same(name, "received"):
			out, wantsAddress = appendParam(out, name, source), false
		case wantsPort && same(name, "rport"):
			out = strconv.AppendUint(append(append(append(out, ';'), name...), '='), uint64(port), 10)
		default:
			out = append(out, before[:len(before)-len(rest)]...)
		}
	}
	if wantsAddress {
		out = appendParam(out, "received", source)
	}
	return string(out)
}

// String returns the hop in canonical form.
func (v Via) String() string {
	var buf [usual]byte // on the stack
	return string(v.Append(buf[:0]))
}

// via consumes via-parm.
func (c *cursor) via() (Via, error) {
	var v Via
	if !c.sentProtocol(&v) {
		return v, bad("holds a wrong sent-protocol")
	}
	if !c.space() {
		return v, bad("holds no sent-by")
	}
	if err := c.sentBy(&v); err != nil {
		return v, err
	}
	params, err := c.params(true)
	if err != nil {
		return v, err
	}
	v.Params = params
	return v, v.check()
}

// sentProtocol consumes "SIP" SLASH "2.0" SLASH transport.
func (c *cursor) sentProtocol(v *Via) bool {
	if !same(c.run(classToken), "SIP") || !c.eat('/') || c.run(classToken) != "2.0" || !c.eat('/') {
		return false
	}
	v.Transport = strings.ToUpper(c.run(classToken))
	return v.Transport != ""
}

// sentBy consumes host [ COLON port ], where COLON takes white space around.
func (c *cursor) sentBy(v *Via) error {
	from := c.i
	if c.at('[') {
		end := strings.IndexByte(c.s[c.i:], ']')
		if end < 0 {
			return bad("holds an unclosed address")
		}
		c.i += end + 1
	} else {
		c.run(classHost)
	}
	host, err := canonicalHost(c.s[from:c.i])
	if err != nil {
		return err
	}
	v.Host = host
	if c.eat(':') {
		v.Port, err = portNumber(c.run(classDigit))
	}
	return err
}

// check reads the parameters that RFC 3261 and RFC 3581 define, and puts
// received into canonical form.
func (v *Via) check() error {
	for name, value := range v.Params.All() {
		var err error
		switch {
		case same(name, "branch"):
			// The bare cookie tells no two transactions apart (RFC 4475 section
			// 3.2.1). A branch of RFC 2543 has no cookie and is let through.
			if !every(value, classToken) || same(value, MagicCookie) {
				err = bad("holds a wrong branch")
			}
		case same(name, "received"):
			err = v.received(value)
		case same(name, "rport") && value != "":
			_, err = portNumber(value)
		case same(name, "maddr"):
			_, err = canonicalHost(value)
		case same(name, "ttl"):
			_, err = number(value, 255)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *Via) received(value string) error {
	text := strings.TrimSuffix(strings.TrimPrefix(value, "["), "]")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is4In6() || a.Zone() != "" {
		return bad("holds a wrong received address")
	}
	if canonical := a.String(); canonical != value {
		v.Params = v.Params.Set("received", canonical)
	}
	return nil
}
