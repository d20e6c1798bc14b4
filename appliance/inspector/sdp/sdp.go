// Package sdp reads of a session description (RFC 8866) where its media goes, and
// nothing else. It is strict about the lines that say so, and bounded; the
// description itself is carried on as it came.
package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a description. What is longer is not read, and what can't be read is
// an error: nobody can watch over media that he does not know of.
const (
	MaxBytes      = 64 << 10 // a whole message
	maxLines      = 8192
	MaxMedia      = 16 // m= lines
	MaxPorts      = 4  // of one m= line: pairs of RTP and RTCP
	MaxCandidates = 32 // of one m= line (RFC 8839) that are kept
	maxToken      = 32
)

// Direction is who sends (RFC 8866 section 6.7). A stream that is held is not
// gone: its ports stay, and RTCP goes on.
type Direction string

// The directions.
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Session is what one side says of its media, in the order of its m= lines.
type Session struct{ Media []Media }

// Media is one m= line.
type Media struct {
	Kind string // audio, video, image, ...: a token, lower case
	// Datagrams says that the transport is over UDP.
	Datagrams bool
	// Address is where the side wants the media sent to. It is unspecified
	// (0.0.0.0 or ::) where the side wants none for now (RFC 2543's hold).
	Address netip.Addr
	// Port is the first port, 0 where the stream is refused or gone.
	Port uint16
	// Ports is how many pairs of ports there are, 1 at least.
	Ports int
	// Control is where RTCP goes (RFC 3605): the next port where nothing else is
	// said. It is zero where Port is.
	Control netip.AddrPort
	// Muxed says that RTCP may come to Port as well (RFC 5761).
	Muxed     bool
	Direction Direction
	// Candidates are other places where ICE may send the media to, over UDP, without
	// repeats. The first MaxCandidates are kept: whatever ICE comes to begins with
	// packets from both sides.
	Candidates []netip.AddrPort
}

// Endpoints appends every place where the side wants packets of this stream, without
// its candidates: media, and RTCP, which is MaxPorts of either at most. There is none
// where the stream is refused, held by an unspecified address, or not of datagrams.
func (m *Media) Endpoints(media, control []netip.AddrPort) (allMedia, allControl []netip.AddrPort) {
	if m.Port == 0 || !m.Datagrams || m.Address.IsUnspecified() {
		return media, control
	}
	for n := range m.Ports {
		media = append(media, netip.AddrPortFrom(m.Address, m.Port+uint16(2*n)))
	}
	if m.Control.IsValid() {
		control = append(control, m.Control)
	}
	for n := 1; n < m.Ports; n++ {
		control = append(control, netip.AddrPortFrom(m.Address, m.Port+uint16(2*n)+1))
	}
	return media, control
}

var errOrder = errors.New("a line stands where it must not")

// Read reads a description. Lines may end in CRLF or LF (RFC 8866 section 5).
// Errors name the line by its number.
func Read(body []byte) (Session, error) {
	if len(body) > MaxBytes {
		return Session{}, fmt.Errorf("%d bytes; at most %d are read", len(body), MaxBytes)
	}
	r := reader{}
	text, more := string(bytes.TrimRight(body, "\r\n")), true
	for n := 0; more; n++ {
		if n == maxLines {
			return Session{}, fmt.Errorf("more than %d lines", maxLines)
		}
		var line string
		line, text, more = strings.Cut(text, "\n")
		if err := r.line(n, strings.TrimSuffix(line, "\r")); err != nil {
			return Session{}, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return r.finish()
}

// reader is a description while it is read.
type reader struct {
	session Session
	address netip.Addr // of the session's c=
	direct  Direction  // of the session
	said    [MaxMedia]said
}

// said is what the lines below an m= have said so far.
type said struct {
	connection bool // a c= of its own
	rtcp       bool // an a=rtcp
	port       uint16
	address    netip.Addr // of RTCP; invalid where it is that of the media
}

func (r *reader) line(n int, line string) error {
	if len(line) < 2 || line[1] != '=' || line[0] < 'a' || line[0] > 'z' {
		return errors.New("want a letter and an equals sign")
	}
	if strings.IndexByte(line, '\r') >= 0 || strings.IndexByte(line, 0) >= 0 {
		return errors.New("a control character")
	}
	kind, value := line[0], line[2:]
	if (n == 0) != (kind == 'v') {
		return errOrder
	}
	switch kind {
	case 'v':
		if value != "0" {
			return fmt.Errorf("version %q", value)
		}
	case 'c':
		return r.connection(value)
	case 'm':
		return r.media(value)
	case 'a':
		return r.attribute(value)
	}
	return nil
}

func (r *reader) last() *Media {
	if len(r.session.Media) == 0 {
		return nil
	}
	return &r.session.Media[len(r.session.Media)-1]
}

func (r *reader) connection(value string) error {
	address, err := readAddress(value)
	if err != nil {
		return err
	}
	at := len(r.session.Media) - 1
	switch {
	case at < 0 && r.address.IsValid(), at >= 0 && r.said[at].connection:
		return errOrder
	case at < 0:
		r.address = address
	default:
		r.session.Media[at].Address, r.said[at].connection = address, true
	}
	return nil
}

// readAddress reads "IN IP4 192.0.2.1". A name would have to be looked up, and
// need not mean the same to the next who does.
func readAddress(value string) (netip.Addr, error) {
	network, rest, _ := strings.Cut(value, " ")
	kind, where, found := strings.Cut(rest, " ")
	if network != "IN" || !found || strings.IndexByte(where, ' ') >= 0 {
		return netip.Addr{}, errors.New("want a connection like IN IP4 192.0.2.1")
	}
	text, rest, slashed := strings.Cut(where, "/") // a time to live, of multicast
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil || slashed && rest == "":
		return netip.Addr{}, fmt.Errorf("%q is not an address", where)
	case kind == "IP4" && !address.Is4(), kind == "IP6" && (!address.Is6() || address.Is4In6() || address.Zone() != ""):
		return netip.Addr{}, fmt.Errorf("%q is not of %s", where, kind)
	case kind != "IP4" && kind != "IP6":
		return netip.Addr{}, fmt.Errorf("address type %q", kind)
	case address.IsMulticast() || slashed:
		return netip.Addr{}, errors.New("multicast")
	}
	return address, nil
}

func (r *reader) media(value string) error {
	if len(r.session.Media) == MaxMedia {
		return fmt.Errorf("more than %d media", MaxMedia)
	}
	kind, rest := word(value)
	where, rest := word(rest)
	proto, rest := word(rest)
	if format, _ := word(rest); format == "" || !token(kind) || !token(strings.ReplaceAll(proto, "/", "")) {
		return errors.New("want a media like audio 4000 RTP/AVP 0")
	}
	portText, countText, many := strings.Cut(where, "/")
	port, err := number(portText)
	if err != nil {
		return err
	}
	count := uint16(1)
	if many {
		if count, err = number(countText); err != nil {
			return err
		}
	}
	if count < 1 || count > MaxPorts || int(port)+2*int(count)-1 > 65535 && count > 1 {
		return fmt.Errorf("%q are too many ports", where)
	}
	r.session.Media = append(r.session.Media, Media{
		Kind: strings.ToLower(kind), Datagrams: overUDP(proto), Address: r.address, Port: port, Ports: int(count), Direction: r.direct,
	})
	return nil
}

// word takes the first word off a text, "" where there is none.
func word(text string) (first, rest string) {
	from := 0
	for from < len(text) && blank(text[from]) {
		from++
	}
	to := from
	for to < len(text) && !blank(text[to]) {
		to++
	}
	return text[from:to], text[to:]
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// overUDP tells the transports of IANA's registry apart: those over TCP begin
// with it.
func overUDP(proto string) bool {
	proto = strings.ToUpper(proto)
	return proto != "TCP" && !strings.HasPrefix(proto, "TCP/")
}

func token(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for n := range len(s) {
		switch c := s[n]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '+', c == '_':
		default:
			return false
		}
	}
	return true
}

// number reads a port as it must be written: digits alone.
func number(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s[0] == '+' || len(s) > 5 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return uint16(n), nil
}

func (r *reader) attribute(value string) error {
	name, rest, _ := strings.Cut(value, ":")
	m := r.last()
	switch Direction(name) {
	case SendRecv, SendOnly, RecvOnly, Inactive:
		if m == nil {
			r.direct = Direction(name)
		} else {
			m.Direction = Direction(name)
		}
		return nil
	}
	if m == nil {
		return nil
	}
	switch name {
	case "rtcp-mux":
		m.Muxed = true
	case "rtcp":
		return r.control(rest)
	case "candidate":
		return m.candidate(strings.Fields(rest))
	}
	return nil
}

// control reads RFC 3605: a port and, perhaps, an address.
func (r *reader) control(value string) (err error) {
	said := &r.said[len(r.session.Media)-1]
	port, rest := word(value)
	if said.rtcp || port == "" {
		return errors.New("want one rtcp attribute like 4001 or 4001 IN IP4 192.0.2.1")
	}
	if said.port, err = number(port); err != nil {
		return err
	}
	if where := strings.Join(strings.Fields(rest), " "); where != "" {
		said.address, err = readAddress(where)
	}
	said.rtcp = true
	return err
}

// candidate reads RFC 8839 section 5.1: foundation, component, transport,
// priority, address, port, "typ", type. Names of RFC 8828's kind can't be known.
func (m *Media) candidate(words []string) error {
	if len(words) < 8 || words[6] != "typ" {
		return errors.New("want a candidate with its type")
	}
	if !strings.EqualFold(words[2], "udp") {
		return nil
	}
	port, err := number(words[5])
	if err != nil {
		return err
	}
	address, err := netip.ParseAddr(words[4])
	if err != nil || address.Is4In6() || address.Zone() != "" || address.IsMulticast() || address.IsUnspecified() || port == 0 {
		return nil //nolint:nilerr // a name, or no place to send to
	}
	place := netip.AddrPortFrom(address, port)
	if len(m.Candidates) < MaxCandidates && !slices.Contains(m.Candidates, place) {
		m.Candidates = append(m.Candidates, place)
	}
	return nil
}

// finish fills in what follows from the other lines.
func (r *reader) finish() (Session, error) {
	for n := range r.session.Media {
		m, said := &r.session.Media[n], &r.said[n]
		if m.Direction == "" {
			m.Direction = SendRecv
		}
		if m.Port == 0 {
			continue
		}
		if !m.Address.IsValid() {
			return Session{}, fmt.Errorf("media %d has no address", n+1)
		}
		if m.Port == 65535 && !said.rtcp {
			continue // there is no next port
		}
		m.Control = netip.AddrPortFrom(m.Address, m.Port+1)
		if said.rtcp {
			m.Control = netip.AddrPortFrom(m.Address, said.port)
			if said.address.IsValid() {
				m.Control = netip.AddrPortFrom(said.address, said.port)
			}
		}
		if m.Control.Port() == 0 || m.Control.Addr().IsUnspecified() {
			m.Control = netip.AddrPort{}
		}
	}
	return r.session, nil
}
