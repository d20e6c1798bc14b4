package inspector

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// bodies lists the media types that are carried, and in which method; "" is any.
var bodies = map[string]string{
	"application/sdp":                    "",
	"application/dtmf-relay":             "INFO",
	"application/dtmf":                   "INFO",
	"application/media_control+xml":      "INFO",
	"text/plain":                         "MESSAGE",
	"application/simple-message-summary": "NOTIFY",
	"application/pidf+xml":               "",
	"application/dialog-info+xml":        "NOTIFY",
	"application/conference-info+xml":    "NOTIFY",
	"application/reginfo+xml":            "NOTIFY",
	"message/sipfrag":                    "NOTIFY",
	"application/im-iscomposing+xml":     "MESSAGE",
	"application/vnd.etsi.aoc+xml":       "",
}

const acceptedBodies = "application/sdp, application/dtmf-relay, application/dtmf, text/plain, " +
	"application/simple-message-summary, application/pidf+xml, application/dialog-info+xml, message/sipfrag"

// partsMax bounds a multipart body.
const partsMax = 8

// bodyRefusal returns a 415 for a body that is not understood: compressed, of an
// unlisted type, or of several parts without exactly one session description.
func bodyRefusal(q *request) (refusal, bool) {
	if encodings, err := q.Tokens("Content-Encoding"); err != nil || q.Has("Content-Encoding") && !identityOnly(encodings) {
		return unsupported(field{"Accept-Encoding", "identity"}), true
	}
	if len(q.Body) == 0 {
		return refusal{}, false
	}
	kind, err := q.ContentType()
	if err != nil {
		return unsupported(), true
	}
	method, ok := bodies[kind.Text]
	if kind.Text == "multipart/mixed" {
		_, ok = onlySession(q.Message)
	}
	if !ok || method != "" && method != q.Method {
		return unsupported(), true
	}
	return refusal{}, false
}

func unsupported(more ...field) refusal {
	return refusal{status: 415, phrase: "Unsupported Media Type", reason: appliance.ReasonBody,
		headers: append([]field{{"Accept", acceptedBodies}}, more...)}
}

func identityOnly(encodings []string) bool {
	return len(encodings) == 1 && strings.EqualFold(encodings[0], "identity")
}

// plainBody replaces a multipart body by its session description: another part
// may be a list of callees (RFC 5366, RFC 5368). An emergency call keeps the part
// that says where the caller is (RFC 6442).
func plainBody(out *message.Message, urgent bool) {
	if len(out.Body) == 0 {
		return
	}
	kind, err := out.ContentType()
	if err != nil || kind.Text != "multipart/mixed" || urgent && located(out) {
		return
	}
	if session, ok := onlySession(out); ok {
		out.Body = session
		out.Set("Content-Type", "application/sdp")
		out.Del("Content-Disposition")
		out.Del("MIME-Version")
	}
}

// knownBody drops a body that is not understood, and takes a multipart one apart:
// from a response, which can't be refused, and from an emergency call, which must
// not be.
func knownBody(out *message.Message, urgent bool) {
	if len(out.Body) == 0 {
		return
	}
	plainBody(out, urgent)
	kind, err := out.ContentType()
	if _, ok := bodies[kind.Text]; err == nil && (ok || urgent && located(out)) {
		return
	}
	out.Body = nil
	out.Del("Content-Type")
	out.Del("Content-Disposition")
}

// part is one part of a multipart body.
type part struct {
	kind    string // media type, lower case
	encoded bool   // by a Content-Transfer-Encoding
	body    []byte
}

// parts takes a multipart body apart. The boolean is false where it can't be
// read, or has too many.
func parts(m *message.Message) ([]part, bool) {
	_, params, err := mime.ParseMediaType(m.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil, false
	}
	reader := multipart.NewReader(bytes.NewReader(m.Body), params["boundary"])
	for all := []part(nil); ; {
		next, err := reader.NextRawPart()
		if err == io.EOF {
			return all, true
		}
		if err != nil || len(all) == partsMax {
			return nil, false
		}
		body, err := io.ReadAll(next)
		if err != nil {
			return nil, false
		}
		kind, _, _ := mime.ParseMediaType(next.Header.Get("Content-Type"))
		all = append(all, part{kind, next.Header.Get("Content-Transfer-Encoding") != "", body})
	}
}

// onlySession returns the one application/sdp part of a multipart body. The
// boolean is false where there is none or more than one.
func onlySession(m *message.Message) ([]byte, bool) {
	all, ok := parts(m)
	if !ok {
		return nil, false
	}
	var session []byte
	for _, one := range all {
		if one.kind != "application/sdp" {
			continue
		}
		if session != nil || one.encoded || len(one.body) == 0 {
			return nil, false
		}
		session = one.body
	}
	return session, session != nil
}

// located reports whether every part of a multipart body is a session description
// or a location.
func located(m *message.Message) bool {
	all, ok := parts(m)
	for _, one := range all {
		ok = ok && (one.kind == "application/sdp" || one.kind == "application/pidf+xml")
	}
	return ok
}
