package inspector

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// request is one request in the hand: what was read, who sent it, and the rules
// in force when it came. It never changes after read.
type request struct {
	*message.Message
	from  flow // how it came
	back  flow // how its responses leave
	who   party
	rules *rules.Rules
	sip   *rules.SIP
	at    time.Time

	source           string // the sender's address, without port and zone
	uri              *message.URI
	via              *message.Via // topmost, as received
	vias             []string     // every Via, as a response must carry them
	cseq             message.CSeq
	fromAddr, toAddr *message.NameAddr
	fromTag, toTag   string
	hops             int    // Max-Forwards
	own              string // the key of its own transaction: see key

	caller caller // who sends it, of what is recorded as a call
}

// read takes what every request is handled by out of m. The headers obey their
// grammar already, so an error names one that this parser and that one see
// differently.
func read(m *message.Message, from flow, who party, r *rules.Rules, sip *rules.SIP, at time.Time) (*request, error) {
	q := &request{Message: m, from: from, back: from, who: who, rules: r, sip: sip, at: at}
	q.source = from.remote.Addr().WithZone("").String()
	var err error
	if q.uri, err = m.RequestURI(); err != nil {
		return nil, err
	}
	if q.via, err = m.TopVia(); err != nil {
		return nil, err
	}
	if q.cseq, err = m.CSeq(); err != nil {
		return nil, err
	}
	if q.fromAddr, err = m.From(); err != nil {
		return nil, err
	}
	if q.toAddr, err = m.To(); err != nil {
		return nil, err
	}
	if q.hops, err = m.MaxForwards(); err != nil {
		return nil, err
	}
	q.fromTag, q.toTag = q.fromAddr.Tag(), q.toAddr.Tag()
	if m.Method != "ACK" { // nothing answers it: see ack
		q.vias = q.incomingVias()
	}
	q.back.remote = replyAddress(q.via, from)
	q.own = q.transaction()
	return q, nil
}

// replyAddress is where responses go: back to the source address, and to the
// source port where the sender asked for that (RFC 3581) or speaks TCP, else
// to the port in its Via (RFC 3261 section 18.2.2). maddr is never followed.
func replyAddress(via *message.Via, from flow) netip.AddrPort {
	if _, wantsPort := via.RPort(); wantsPort || from.stream != nil {
		return from.remote
	}
	port := via.Port
	if port == 0 {
		port = defaultPort
	}
	return netip.AddrPortFrom(from.remote.Addr(), port)
}

// outsized reports whether a message has more of what outlives it than may be kept.
func (i *Inspector) outsized(m *message.Message) bool {
	size := len(m.URI)
	for _, one := range m.Headers {
		switch one.Name {
		case "Call-ID", "From", "To", "Contact", "Record-Route":
			size += len(one.Value)
		}
	}
	return size > i.bounds.identity
}

// defaultPort is SIP's over UDP and TCP (RFC 3261 section 19.1.2).
const defaultPort = 5060

// key names the server transaction of a method (RFC 3261 section 17.2.3): an INVITE,
// its ACK and its CANCEL share all of it but that. The sender's address is part of
// it, beside what it calls itself: what one neighbour opened, no other may
// acknowledge or cancel.
func (q *request) key(method string) string {
	if method == q.Method {
		return q.own
	}
	return strings.TrimSuffix(q.own, q.Method) + method
}

func (q *request) transaction() string {
	if !strings.HasPrefix(q.via.Branch(), message.MagicCookie) {
		// An agent of RFC 2543: its branch says nothing.
		return strings.Join([]string{q.CallID(), q.fromTag, strconv.Itoa(int(q.cseq.Number)), q.from.remote.String(), q.Method}, " ")
	}
	var buf [usualKey]byte // on the stack
	return string(appendKey(buf[:0], q.via.Branch(), q.via.Host, q.via.Port, q.from, q.Method))
}

// appendKey appends the key of a transaction whose topmost hop has a branch of RFC
// 3261. An agent of RFC 2543 has keys of another form.
func appendKey[text string | []byte](key []byte, branch, host text, port uint16, from flow, method string) []byte {
	key = append(append(append(key, branch...), ' '), host...)
	key = strconv.AppendInt(append(key, ':'), int64(port), 10)
	key = append(from.remote.Addr().AppendTo(append(key, ' ')), ' ')
	return append(key, method...)
}

// usualKey is room for most keys, bytes.
const usualKey = 160
