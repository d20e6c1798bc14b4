package trace

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
)

// reading is what a ladder shows of one message.
type reading struct {
	method string // of a request, "" for a response
	user   string // whom an INVITE or a MESSAGE is for, or a REFER points at
	status string // three digits, "" for a request
	phrase string
	number string // of the CSeq
	about  string // the method in the CSeq
	sdp    bool
}

// read takes a message apart as far as it goes. The inspector has read it
// strictly before: what is odd here is shown as it stands.
func read(text string) reading {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	start, _, _ := strings.Cut(head, "\r\n")
	var r reading
	first, rest, _ := strings.Cut(start, " ")
	if strings.HasPrefix(first, "SIP/") {
		r.status, r.phrase, _ = strings.Cut(rest, " ")
	} else {
		r.method = first
	}
	r.number, r.about, _ = strings.Cut(header(head, "cseq", ""), " ")
	r.about = strings.TrimSpace(r.about)
	r.sdp = strings.HasPrefix(body, "v=0") || strings.Contains(body, "\nv=0")
	switch r.method {
	case "INVITE", "MESSAGE":
		uri, _, _ := strings.Cut(rest, " ")
		r.user = userOf(uri)
	case "REFER":
		r.user = userOf(header(head, "refer-to", "r"))
	}
	return r
}

// header returns the first value of a header by its long or compact name, both in
// lower case.
func header(head, long, compact string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, found := strings.Cut(line, ":")
		name = lowered(strings.TrimRight(name, " \t"))
		if found && (name == long || compact != "" && name == compact) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// userOf is the user part of a URI, or the number of a tel URI.
func userOf(uri string) string {
	if _, rest, found := strings.Cut(uri, "<"); found {
		uri = rest
	}
	_, rest, found := strings.Cut(uri, ":")
	if !found {
		return ""
	}
	user := rest[:min(len(rest), endOf(rest, "@;?>"))]
	if !strings.Contains(rest, "@") && !strings.HasPrefix(lowered(uri), "tel:") {
		return ""
	}
	user, _, _ = strings.Cut(user, ":")
	return user
}

func endOf(text, stops string) int {
	if i := strings.IndexAny(text, stops); i >= 0 {
		return i
	}
	return len(text)
}

// own reports whether the box made a final response up: it sent one that nobody
// had sent to it.
func own(messages []appliance.Message, readings []reading, at int) bool {
	r := readings[at]
	if !messages[at].Sent || r.status < "300" {
		return false
	}
	for n := range at {
		if !messages[n].Sent && readings[n].status == r.status && readings[n].number == r.number && readings[n].about == r.about {
			return false
		}
	}
	return true
}
