package message

import "strings"

// rule is what the parser knows of one header: its one spelling, its place in
// a message and its grammar.
type rule struct {
	name   string
	short  string // compact form, "" where none is registered
	rank   uint8  // place in a message, low first
	single bool   // stands once at most
	check  check  // nil for text that is carried without being read
	id     uint8  // index into headerRules
}

// check reads value by the header's grammar and puts what it says, in
// canonical form, into p's message.
type check func(p *parser, r *rule, value string) error

// Ranks that are not simply the order of the first rows below.
const (
	rankOther = 100 // in order of arrival
	rankBody  = 200
)

// headerRules lists the headers with a rule. Compact forms are those of the
// IANA registry; a single header is one whose definition has no list and that
// the inspector, or whoever reads its output, decides by.
var headerRules = []rule{
	{name: "Content-Length", short: "l", rank: rankBody, single: true, check: length},
	{name: "Via", short: "v", rank: 1, check: each((*cursor).via, keptVia)},
	{name: "Route", rank: 2, check: each((*cursor).routeAddr, nil)},
	{name: "Record-Route", rank: 3, check: each((*cursor).routeAddr, nil)},
	{name: "Max-Forwards", rank: 4, single: true, check: one((*cursor).hops, keptHops)},
	{name: "From", short: "f", rank: 5, single: true, check: one((*cursor).from, keptFrom)},
	{name: "To", short: "t", rank: 6, single: true, check: one((*cursor).party, keptTo)},
	{name: "Call-ID", short: "i", rank: 7, single: true, check: one((*cursor).callID, nil)},
	{name: "CSeq", rank: 8, single: true, check: one((*cursor).cseq, keptCSeq)},
	{name: "Contact", short: "m", rank: 9, check: contacts},
	{name: "Path", rank: rankOther, check: each((*cursor).routeAddr, nil)},
	{name: "Service-Route", rank: rankOther, check: each((*cursor).routeAddr, nil)},
	{name: "Refer-To", short: "r", rank: rankOther, single: true, check: one((*cursor).nameAddr, nil)},
	{name: "Referred-By", short: "b", rank: rankOther, single: true, check: one((*cursor).nameAddr, nil)},
	{name: "Replaces", rank: rankOther, single: true, check: one((*cursor).replaces, nil)},
	{name: "Join", rank: rankOther, single: true, check: one((*cursor).replaces, nil)},
	{name: "Target-Dialog", rank: rankOther, single: true, check: one((*cursor).replaces, nil)},
	{name: "RAck", rank: rankOther, single: true, check: one((*cursor).rack, nil)},
	{name: "RSeq", rank: rankOther, single: true, check: one((*cursor).seconds, nil)},
	{name: "Expires", rank: rankOther, single: true, check: one((*cursor).seconds, nil)},
	{name: "Min-Expires", rank: rankOther, single: true, check: one((*cursor).seconds, nil)},
	{name: "Session-Expires", short: "x", rank: rankOther, single: true, check: one((*cursor).secondsValue, nil)},
	{name: "Min-SE", rank: rankOther, single: true, check: one((*cursor).secondsValue, nil)},
	{name: "Require", rank: rankOther, check: tokens},
	{name: "Proxy-Require", rank: rankOther, check: tokens},
	{name: "Supported", short: "k", rank: rankOther, check: tokens},
	{name: "Unsupported", rank: rankOther, check: tokens},
	{name: "Allow", rank: rankOther, check: tokens},
	{name: "Event", short: "o", rank: rankOther, single: true, check: one((*cursor).tokenValue, nil)},
	{name: "Subscription-State", rank: rankOther, single: true, check: one((*cursor).tokenValue, nil)},
	{name: "Date", rank: rankOther, single: true},
	{name: "Timestamp", rank: rankOther, single: true},
	{name: "Subject", short: "s", rank: rankOther, single: true},
	{name: "MIME-Version", rank: rankOther, single: true},
	{name: "SIP-ETag", rank: rankOther, single: true},
	{name: "SIP-If-Match", rank: rankOther, single: true},
	{name: "P-Called-Party-ID", rank: rankOther, single: true},
	{name: "Accept-Contact", short: "a", rank: rankOther},
	{name: "Request-Disposition", short: "d", rank: rankOther},
	{name: "Reject-Contact", short: "j", rank: rankOther},
	{name: "Identity-Info", short: "n", rank: rankOther},
	{name: "Allow-Events", short: "u", rank: rankOther},
	{name: "Identity", short: "y", rank: rankOther},
	{name: "Reason", rank: rankOther},
	{name: "Accept", rank: rankOther},
	{name: "Accept-Encoding", rank: rankOther},
	{name: "Accept-Language", rank: rankOther},
	{name: "Alert-Info", rank: rankOther},
	{name: "Authorization", rank: rankOther},
	{name: "Proxy-Authorization", rank: rankOther},
	{name: "WWW-Authenticate", rank: rankOther},
	{name: "Proxy-Authenticate", rank: rankOther},
	{name: "Call-Info", rank: rankOther},
	{name: "Diversion", rank: rankOther},
	{name: "History-Info", rank: rankOther},
	{name: "P-Asserted-Identity", rank: rankOther},
	{name: "P-Preferred-Identity", rank: rankOther},
	{name: "Privacy", rank: rankOther},
	{name: "Remote-Party-ID", rank: rankOther},
	{name: "Server", rank: rankOther},
	{name: "User-Agent", rank: rankOther},
	{name: "Warning", rank: rankOther},
	{name: "Content-Encoding", short: "e", rank: rankBody, check: tokens},
	{name: "Content-Disposition", rank: rankBody, single: true, check: one((*cursor).tokenValue, nil)},
	{name: "Content-Type", short: "c", rank: rankBody, single: true, check: one((*cursor).mediaType, nil)},
}

var (
	rulesLower = indexRules()    // by lower-case spelling
	rulesUsual = rulesByLength() // by the length of the usual spelling: there are few of each
)

// mandatory are the headers that no message may lack (RFC 3261 section 8.1.1).
// Max-Forwards is the sixth: a request is given one.
var (
	mandatory   = [...]*rule{ruleOf("Via"), ruleOf("From"), ruleOf("To"), ruleOf("Call-ID"), ruleOf("CSeq")}
	maxForwards = ruleOf("Max-Forwards")
)

func indexRules() map[string]*rule {
	index := make(map[string]*rule, 2*len(headerRules))
	for i := range headerRules {
		r := headerRules[i]
		r.id = uint8(i)
		index[strings.ToLower(r.name)] = &r
		if r.short != "" {
			index[r.short] = &r
		}
	}
	return index
}

// longestRule is a length that no name with a rule exceeds.
const longestRule = 24

func rulesByLength() (table [longestRule + 1][]*rule) {
	for i := range headerRules {
		name := headerRules[i].name
		table[len(name)] = append(table[len(name)], rulesLower[strings.ToLower(name)])
	}
	return table
}

// ruleOf finds the rule of a header by any spelling of its name, nil where
// there is none.
func ruleOf(name string) *rule {
	if len(name) > longestRule {
		return nil
	}
	for _, r := range rulesUsual[len(name)] {
		if r.name == name {
			return r
		}
	}
	var lower [longestRule]byte
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return rulesLower[string(lower[:len(name)])]
}

// ranked returns the canonical spelling and the rank of a header name.
func ranked(name string) (string, uint8) {
	if r := ruleOf(name); r != nil {
		return r.name, r.rank
	}
	return name, rankOther
}

func rankOf(name string) uint8 {
	_, rank := ranked(name)
	return rank
}

// canonical is a typed value that writes its canonical form.
type canonical interface{ Append([]byte) []byte }

// one makes the check of a header with one value. keep says where the value is
// kept, nil where it is not.
func one[T canonical](read func(*cursor) (T, error), keep func(*readings) *reading[T]) check {
	return func(p *parser, r *rule, value string) error {
		p.c = cursor{s: value}
		typed, err := alone(&p.c, read)
		if err != nil {
			return err
		}
		return p.push(r.name, r.rank, kept(p, typed, value, keep))
	}
}

// each makes the check of a header with a list, which takes one header for
// each value afterwards. keep says where the first value is kept, nil where none
// is.
func each[T canonical](read func(*cursor) (T, error), keep func(*readings) *reading[T]) check {
	return func(p *parser, r *rule, value string) error {
		p.c = cursor{s: value}
		for more := true; more; {
			typed, source, again, err := next(&p.c, read)
			if err != nil {
				return err
			}
			if err := p.push(r.name, r.rank, kept(p, typed, source, keep)); err != nil {
				return err
			}
			more = again
		}
		return nil
	}
}

// tokens checks a list of tokens, which stays one header. It may be empty, and
// so may its elements: they are left out.
func tokens(p *parser, r *rule, value string) error {
	p.c, p.scratch = cursor{s: value}, p.scratch[:0]
	for more := value != ""; more; {
		t, _, again, err := next(&p.c, (*cursor).element)
		if err != nil {
			return err
		}
		if len(p.scratch) > 0 && t != "" {
			p.scratch = append(p.scratch, ", "...)
		}
		p.scratch, more = append(p.scratch, t...), again
	}
	if string(p.scratch) != value {
		value = string(p.scratch)
	}
	return p.push(r.name, r.rank, value)
}

// contacts checks a list of Contact values, or "*" in its place.
func contacts(p *parser, r *rule, value string) error {
	if value == "*" {
		return p.push(r.name, r.rank, value)
	}
	return addresses(p, r, value)
}

var addresses = each((*cursor).nameAddr, nil)

// maxLength only keeps sums small: what a message may hold is MaxSize.
const maxLength = 1 << 30

// length keeps a Content-Length beside the message: emission counts anew.
func length(p *parser, _ *rule, value string) error {
	n, err := number(value, maxLength)
	if err != nil {
		return err
	}
	p.length = int(n)
	return nil
}
