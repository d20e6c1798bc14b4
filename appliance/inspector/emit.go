package inspector

import (
	"net/textproto"
	"strconv"
	"strings"
	"sync"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/settings"
)

// passage says which way a header may cross the box.
type passage uint8

const (
	bothWays passage = iota
	// inward headers come from a trunk only.
	inward
	// trusted headers come from a trunk or from the configured PBX: a phone must
	// not say who it is, nor who forwarded a call to it.
	trusted
	// anew are those that are written for every message, and stand elsewhere.
	anew
)

// allowed lists every header that is carried on as it stands, once it has been
// read, and those that every message has anyway. Whatever is not listed ends here.
var allowed = map[string]passage{
	"Via":                       anew,
	"Route":                     anew,
	"Record-Route":              anew,
	"Max-Forwards":              anew,
	"From":                      anew,
	"To":                        anew,
	"Call-ID":                   anew,
	"CSeq":                      anew,
	"Contact":                   anew,
	"Accept":                    bothWays,
	"Accept-Encoding":           bothWays,
	"Accept-Language":           bothWays,
	"Alert-Info":                inward,
	"Allow":                     bothWays,
	"Allow-Events":              bothWays,
	"Authentication-Info":       bothWays,
	"Authorization":             bothWays,
	"Call-Info":                 inward,
	"Content-Disposition":       bothWays,
	"Content-Language":          bothWays,
	"Content-Type":              bothWays,
	"Date":                      bothWays,
	"Diversion":                 trusted,
	"Error-Info":                inward,
	"Event":                     bothWays,
	"Expires":                   bothWays,
	"Geolocation":               bothWays,
	"Geolocation-Routing":       bothWays,
	"History-Info":              trusted,
	"Identity":                  trusted,
	"Join":                      bothWays,
	"MIME-Version":              bothWays,
	"Min-Expires":               bothWays,
	"Min-SE":                    bothWays,
	"Organization":              bothWays,
	"P-Asserted-Identity":       trusted,
	"P-Associated-URI":          inward,
	"P-Called-Party-ID":         inward,
	"P-Early-Media":             bothWays,
	"P-Preferred-Identity":      trusted,
	"Priority":                  bothWays,
	"Privacy":                   bothWays,
	"Proxy-Authenticate":        bothWays,
	"Proxy-Authorization":       bothWays,
	"RAck":                      bothWays,
	"Reason":                    bothWays,
	"Refer-Sub":                 bothWays,
	"Referred-By":               trusted,
	"Remote-Party-ID":           trusted,
	"Replaces":                  bothWays,
	"Require":                   bothWays,
	"Retry-After":               bothWays,
	"RSeq":                      bothWays,
	"Server":                    bothWays,
	"Session-Expires":           bothWays,
	"Subject":                   bothWays,
	"Subscription-State":        bothWays,
	"Supported":                 bothWays,
	"Target-Dialog":             bothWays,
	"Timestamp":                 bothWays,
	"Unsupported":               bothWays,
	"User-Agent":                bothWays,
	"Warning":                   bothWays,
	"WWW-Authenticate":          bothWays,
	"Suppress-If-Match":         bothWays,
	"Answer-Mode":               inward,
	"Proxy-Authentication-Info": bothWays,
}

// carries reports whether a header from who may go on.
func carries(name string, who party) bool {
	way, ok := allowed[name]
	if !ok { // a header without a rule of its own stands as it was spelt
		way, ok = allowed[textproto.CanonicalMIMEHeaderKey(name)]
	}
	switch {
	case !ok, way == anew:
		return false
	case way == inward:
		return who.side == outside
	case way == trusted:
		return who.side == outside || who.pbx
	}
	return true
}

// carry copies the allowed headers and the body of in to out.
func carry(out, in *message.Message, who party) {
	for _, header := range in.Headers {
		if header.Name == "Supported" {
			header.Value = offered(header.Value)
		}
		if carries(header.Name, who) {
			out.Headers = append(out.Headers, header)
		}
	}
	out.Body = in.Body
}

// offered keeps the option tags that are known here: an extension that is not
// offered is not used (RFC 3261 section 20.37).
func offered(supported string) string {
	unknown := false
	for tag := range strings.SplitSeq(supported, ", ") {
		unknown = unknown || !extensions[strings.ToLower(tag)]
	}
	if !unknown {
		return supported
	}
	var known []string
	for tag := range strings.SplitSeq(supported, ", ") {
		if extensions[strings.ToLower(tag)] {
			known = append(known, tag)
		}
	}
	return strings.Join(known, ", ")
}

// carryContacts copies the Contacts without what would be put into requests that
// nobody has judged: headers, and an address to send to instead of the host.
func carryContacts(out, in *message.Message) {
	for _, one := range in.Headers {
		if one.Name != "Contact" {
			continue
		}
		if contact, err := message.ParseNameAddr(one.Value); err == nil {
			if target := plainTarget(contact.URI); target != contact.URI {
				contact.URI = target
				one.Value = contact.String()
			}
		}
		out.Headers = append(out.Headers, one)
	}
}

// plainTarget is a remote target without headers, password and maddr.
func plainTarget(uri message.URI) message.URI {
	uri.Headers, uri.Password, uri.Params = "", "", uri.Params.Del("maddr")
	return uri
}

// hop is our own Via for a request that leaves by to.
func hop(to flow, branch string) string {
	more := ""
	switch {
	case to.stream == nil:
		more = ";rport"
	case to.peer != (peer{}):
		more = ";alias" // what we are asked back may come this way (RFC 5923)
	}
	return message.Via{
		Transport: transportName(to),
		Host:      to.local.Addr().String(),
		Port:      to.local.Port(),
		Params:    message.Params(";branch=" + branch + more),
	}.String()
}

// ownURI is the URI under which a neighbour reached by to reaches us.
func ownURI(to flow, user string) message.URI {
	uri := message.URI{Scheme: "sip", User: user, Host: to.local.Addr().String(), Port: to.local.Port()}
	if to.transport != settings.UDP {
		uri.Params = message.Params(";transport=" + to.transport)
	}
	return uri
}

// recordRoutes are our own Record-Route values for a request that came in by
// from and leaves by to, topmost first: two where the legs differ (RFC 5658).
func recordRoutes(from, to flow) []string {
	ours := func(leg flow) string {
		uri := ownURI(leg, "")
		uri.Params += ";lr"
		return message.NameAddr{URI: uri}.String()
	}
	if from.sameLeg(to) || from.intercepted() || to.intercepted() {
		return []string{ours(to)}
	}
	return []string{ours(to), ours(from)}
}

// facing are our own Record-Route values as the side sees them that a response
// goes back to by from. Where one side does not know of the box, each is shown its
// own leg alone (RFC 3261 section 16.7 step 8): the address that a telephone
// speaks to is the provider's, which the provider would take for itself.
func facing(from, to flow, sent []string) []string {
	if !from.intercepted() && !to.intercepted() {
		return sent
	}
	return recordRoutes(from, from)
}

// identity copies the four headers that name a transaction and its dialog.
func identity(out, in *message.Message) {
	for _, name := range [...]string{"From", "To", "Call-ID", "CSeq"} {
		out.Headers = append(out.Headers, message.Header{Name: name, Value: in.Get(name)})
	}
}

func header(name, value string) message.Header { return message.Header{Name: name, Value: value} }

// outgoingRequest writes a request anew from what was read: topmost our own
// Via, then those that it came with.
func outgoingRequest(r *request, uri string, to flow, branch string, routes, recorded []string) *message.Message {
	return onto(&message.Message{Headers: make([]message.Header, 0, len(r.Headers)+6)}, r, uri, to, branch, routes, recorded)
}

// onto is outgoingRequest onto an empty message.
func onto(out *message.Message, r *request, uri string, to flow, branch string, routes, recorded []string) *message.Message {
	out.Method, out.URI = r.Method, uri
	out.Headers = append(out.Headers, header("Via", hop(to, branch)))
	for _, via := range r.vias {
		out.Headers = append(out.Headers, header("Via", via))
	}
	for _, route := range routes {
		out.Headers = append(out.Headers, header("Route", route))
	}
	for _, route := range recorded {
		out.Headers = append(out.Headers, header("Record-Route", route))
	}
	out.Headers = append(out.Headers, header("Max-Forwards", strconv.Itoa(min(r.hops, message.DefaultMaxForwards)-1)))
	identity(out, r.Message)
	carryContacts(out, r.Message)
	carry(out, r.Message, r.who)
	return out
}

// incomingVias returns the Vias of a request as a response to it must carry
// them: received and rport are added to the topmost (RFC 3261 section 18.2.1,
// RFC 3581 section 4).
func (q *request) incomingVias() []string {
	vias := q.All("Via")
	vias[0] = q.via.Returned(q.source, q.from.remote.Port())
	return vias
}

// responseTo writes the frame of a response: the Vias, From, To, Call-ID and
// CSeq of the request. tag is added to a To that has none, where it is not "".
func responseTo(r *request, status int, phrase, tag string) *message.Message {
	out := draft()
	out.Status, out.Phrase = status, phrase
	for _, via := range r.vias {
		out.Headers = append(out.Headers, header("Via", via))
	}
	identity(out, r.Message)
	if tag != "" && r.toTag == "" {
		out.Set("To", r.Get("To")+";tag="+tag)
	}
	return out
}

// acknowledgement is the ACK to a non-2xx final response (RFC 3261 section
// 17.1.1.3).
func acknowledgement(invite, res *message.Message) *message.Message {
	ack := hopByHop(invite, "ACK")
	ack.Set("To", res.Get("To"))
	return ack
}

// hopByHop writes the ACK or CANCEL that belongs to an INVITE that we sent: the
// same Request-URI, topmost Via, Route, From, To, Call-ID and CSeq number.
func hopByHop(invite *message.Message, method string) *message.Message {
	out := &message.Message{Method: method, URI: invite.URI}
	out.Add("Via", invite.Get("Via"))
	for _, route := range invite.All("Route") {
		out.Add("Route", route)
	}
	out.Add("Max-Forwards", strconv.Itoa(message.DefaultMaxForwards))
	identity(out, invite)
	number, _, _ := strings.Cut(invite.Get("CSeq"), " ")
	out.Set("CSeq", number+" "+method)
	return out
}

// written emits a message.
func written(m *message.Message) []byte { return m.Append(make([]byte, 0, m.Size())) }

// drafts are messages that were sealed: the next one is written into the memory of an
// old one.
var drafts = sync.Pool{New: func() any { return &message.Message{Headers: make([]message.Header, 0, 24)} }}

// draft returns an empty message for sealed, and for nobody else to keep.
func draft() *message.Message { return drafts.Get().(*message.Message) }

// sealed emits a draft, which nobody may use any more.
func sealed(one *message.Message) []byte {
	wire := written(one)
	clear(one.Headers)
	*one = message.Message{Headers: one.Headers[:0]}
	drafts.Put(one)
	return wire
}
