package message

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
)

const (
	requestLine = "Request-Line"
	statusLine  = "Status-Line"
	version     = "SIP/2.0"
)

// parser reads the head of one message: start line and headers.
type parser struct {
	m       *Message
	ranks   [MaxHeaders]uint8 // of m.Headers, in order of arrival
	seen    [128]bool         // by rule.id
	c       cursor            // of the value at hand
	scratch []byte            // kept from message to message
	length  int               // Content-Length, -1 where it is absent
}

// parsers are those at hand. The checks of headers are called by way of a table, so
// that a parser escapes to the heap; it is in use while a head is read, and no longer.
var parsers = sync.Pool{New: func() any { return new(parser) }}

// Parse reads one message that fills a datagram. Bytes beyond Content-Length
// are left out; without Content-Length the body is the rest (RFC 3261 section
// 18.3). The error is an *Error. Nothing in the message refers to datagram.
func Parse(datagram []byte) (*Message, error) {
	if len(datagram) > MaxSize {
		return nil, &Error{Problem: "message is too large", Status: 513}
	}
	end := bytes.Index(datagram, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, bad("headers do not end")
	}
	text := string(datagram)
	m, length, err := parseHead(datagram[:end+2], text[:end+2])
	if err != nil {
		return nil, err
	}
	body := datagram[end+4:]
	if length > len(body) {
		return nil, in("Content-Length", bad("is larger than the message"))
	}
	if length >= 0 && length < len(body) {
		return Parse(datagram[:end+4+length]) // a message keeps no memory of what is no part of it
	}
	if len(body) > 0 {
		m.Body = bytes.Clone(body)
	}
	m.text = text
	return m, nil
}

// Keepalive reports whether a datagram is no message but one of the usual
// ways to keep a NAT binding open: empty, or up to four CR, LF or NUL bytes
// (RFC 5626 section 3.5.1 and custom).
func Keepalive(datagram []byte) bool {
	return len(datagram) <= 4 && len(bytes.Trim(datagram, "\r\n\x00")) == 0
}

// parseHead reads start line and headers. head ends with the CRLF of its last
// line, and text is the same in the memory that the message keeps. length is the
// Content-Length, -1 where it is absent.
func parseHead(head []byte, text string) (m *Message, length int, err error) {
	if len(head) > 0 && head[0]&0xf8 == 0xf8 {
		return nil, 0, bad("message is compressed") // SigComp, RFC 3320 section 7
	}
	p := parsers.Get().(*parser)
	defer parsers.Put(p)
	*p = parser{m: unread(statusAhead(text)), length: -1, scratch: p.scratch[:0]}
	defer func() { p.m, p.c = nil, cursor{} }() // the pool keeps no message alive
	lines := lines{raw: head, text: text}
	// The start line is none, and Max-Forwards may be added.
	p.m.Headers = make([]Header, 0, min(bytes.Count(head, []byte("\n")), MaxHeaders))
	if err := p.start(&lines); err != nil {
		return nil, 0, err
	}
	for lines.more() {
		if err := p.header(&lines); err != nil {
			return nil, 0, err
		}
	}
	if err := p.finish(); err != nil {
		return nil, 0, err
	}
	p.sort()
	return p.m, p.length, nil
}

// lines yields the lines of a head. A line ends with CRLF and holds no other
// control character than HTAB.
type lines struct {
	raw  []byte
	text string // raw, as the memory that the message keeps
	i    int
}

func (l *lines) more() bool { return l.i < len(l.text) }

// folded reports whether the next line continues the last one.
func (l *lines) folded() bool {
	return l.more() && (l.text[l.i] == ' ' || l.text[l.i] == '\t')
}

// next returns the next line without its CRLF. With an error it returns the
// text up to there, for the name of the header that is to blame.
func (l *lines) next() (string, error) {
	from := l.i
	end := strings.IndexByte(l.text[from:], '\n') + from
	if end <= from || l.text[end-1] != '\r' {
		return l.text[from:], bad("holds a line that does not end with CRLF")
	}
	l.i = end + 1
	line := l.text[from : end-1]
	if plain(l.raw[from : end-1]) {
		return line, nil
	}
	return line, printable(l.raw[from : end-1])
}

// start reads the start line.
func (p *parser) start(l *lines) error {
	line, err := l.next()
	name := requestLine
	response := statusAhead(line)
	if response {
		name = statusLine
	}
	switch {
	case err != nil:
		return in(name, err)
	case l.folded():
		return in(name, bad("is folded"))
	case strings.IndexByte(line, '\t') >= 0:
		return in(name, bad("holds a control character"))
	case response:
		return in(name, p.status(line))
	default:
		return in(name, p.request(line))
	}
}

// statusAhead reports whether a message is a response, by its first word.
func statusAhead(text string) bool { return len(text) >= 4 && strings.EqualFold(text[:4], "SIP/") }

// request reads Method SP Request-URI SP SIP-Version.
func (p *parser) request(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, proto, found := strings.Cut(rest, " ")
	if !found || !every(method, classToken) {
		return bad("is not a request line")
	}
	if err := checkVersion(proto); err != nil {
		return err
	}
	u, err := ParseURI(target)
	if err != nil {
		return err
	}
	p.m.Method = method
	p.m.URI = kept(p, u, target, keptURI)
	return nil
}

// status reads SIP-Version SP Status-Code SP Reason-Phrase.
func (p *parser) status(line string) error {
	proto, rest, _ := strings.Cut(line, " ")
	if err := checkVersion(proto); err != nil {
		return err
	}
	code, phrase, found := strings.Cut(rest, " ")
	if !found || len(code) != 3 || !every(code, classDigit) || code[0] < '1' || code[0] > '6' {
		return bad("is not a status line")
	}
	p.m.Status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	p.m.Phrase = phrase
	return nil
}

func checkVersion(proto string) error {
	switch {
	case same(proto, version):
		return nil
	case len(proto) > 4 && strings.EqualFold(proto[:4], "SIP/") && strings.IndexByte(proto, ' ') < 0:
		return &Error{Problem: "names another SIP version", Status: 505}
	}
	return bad("names no SIP version")
}

// header reads one header with the lines that continue it.
func (p *parser) header(l *lines) error {
	line, err := l.next()
	name, value, found := cutHeader(line)
	if err != nil {
		return in(known(name), err)
	}
	if !found {
		return bad("a line is no header")
	}
	if value, err = unfold(l, value); err != nil {
		return in(known(name), err)
	}
	return p.field(name, value)
}

// cutHeader cuts a line into a header's name and what follows HCOLON. Nothing
// but SP and HTAB may stand before the colon: a reader that skips more there
// sees headers that others do not.
func cutHeader(line string) (name, value string, found bool) {
	c := cursor{s: line}
	name = c.run(classToken)
	c.space()
	if name == "" || !c.at(':') {
		return name, "", false
	}
	return name, line[c.i+1:], true
}

// known names the header of an error: unknown names are the sender's words
// and stay out of it.
func known(name string) string {
	if r := ruleOf(name); r != nil {
		return r.name
	}
	return "unknown header"
}

// unfold returns value without the white space around it, joined by one space
// to the lines that continue it (RFC 3261 section 7.3.1). HTAB becomes SP.
func unfold(l *lines, value string) (string, error) {
	value = trim(value)
	if l.folded() {
		joined := []byte(value)
		for l.folded() {
			line, err := l.next()
			if err != nil {
				return "", err
			}
			if line = trim(line); line == "" {
				return "", bad("is continued by a blank line")
			}
			if len(joined) > 0 {
				joined = append(joined, ' ')
			}
			joined = append(joined, line...)
		}
		value = string(joined)
	}
	if strings.IndexByte(value, '\t') >= 0 {
		value = strings.ReplaceAll(value, "\t", " ")
	}
	return value, nil
}

func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// field puts one unfolded header into the message by the rule of its name.
func (p *parser) field(name, value string) error {
	r := ruleOf(name)
	if r == nil {
		return p.push(name, rankOther, value)
	}
	if r.single && p.seen[r.id] {
		return in(r.name, bad("stands more than once"))
	}
	p.seen[r.id] = true
	if r.check == nil {
		return p.push(r.name, r.rank, value)
	}
	return in(r.name, r.check(p, r, value))
}

func (p *parser) push(name string, rank uint8, value string) error {
	n := len(p.m.Headers)
	if n == MaxHeaders {
		return &Error{Problem: "message holds too many headers", Status: 513}
	}
	p.ranks[n] = rank
	p.m.Headers = append(p.m.Headers, Header{name, value})
	return nil
}

// sort puts the headers into order of rank, stably. Insertion fits: messages
// arrive nearly in order and the number is bounded.
func (p *parser) sort() {
	h := p.m.Headers
	for i := 1; i < len(h); i++ {
		one, rank := h[i], p.ranks[i]
		j := i
		for ; j > 0 && p.ranks[j-1] > rank; j-- {
			h[j], p.ranks[j] = h[j-1], p.ranks[j-1]
		}
		h[j], p.ranks[j] = one, rank
	}
}

// finish checks what spans headers (RFC 3261 section 8.1.1).
func (p *parser) finish() error {
	for _, r := range &mandatory {
		if !p.seen[r.id] {
			return absent(r.name)
		}
	}
	_, method, _ := strings.Cut(p.m.Get("CSeq"), " ")
	if err := p.contact(method); err != nil {
		return in("Contact", err)
	}
	if !p.m.Request() {
		return nil
	}
	if method != p.m.Method {
		return in("CSeq", bad("names another method than the request"))
	}
	if !p.seen[maxForwards.id] {
		return p.push(maxForwards.name, maxForwards.rank, strconv.Itoa(DefaultMaxForwards))
	}
	return nil
}

// contact checks that "*" stands alone in a REGISTER with Expires 0 (RFC 3261
// section 10.2.2), and that whatever opens or refreshes a dialog names one target
// (section 8.1.1.8).
func (p *parser) contact(method string) error {
	n, star := 0, false
	for i := range p.m.Headers {
		if h := &p.m.Headers[i]; h.Name == "Contact" {
			n, star = n+1, star || h.Value == "*"
		}
	}
	if star && (n > 1 || p.m.Method != "REGISTER" || p.m.Get("Expires") != "0") {
		return bad(`holds "*" where it may not`)
	}
	if n <= 1 || p.m.Status >= 300 {
		return nil
	}
	switch method {
	case "INVITE", "UPDATE", "REFER", "SUBSCRIBE", "NOTIFY":
		return bad("stands more than once")
	}
	return nil
}
