package message

import "bytes"

// Hop is what a topmost Via says of a transaction, as it was written.
type Hop struct {
	Branch, Host []byte
	Port         uint16 // 0 where none is given
}

var lineEnd = []byte("\r\n")

// AckHop finds the topmost hop of a datagram that is an ACK, and reads no further:
// that hop is all that tells which response an ACK is to (RFC 3261 section 17.2.3).
// It is false of everything else, and of an ACK whose first header is not one Via in
// the usual form. Nothing of it is checked: it serves to find the transaction of a
// request that was read in full, and nothing but the end of that may come of it. A
// Hop refers to datagram.
func AckHop(datagram []byte) (Hop, bool) {
	start, rest, _ := bytes.Cut(datagram, lineEnd)
	line, rest, _ := bytes.Cut(rest, lineEnd)
	value, ok := bytes.CutPrefix(line, []byte("Via: SIP/2.0/UDP "))
	if !ok || !bytes.HasPrefix(start, []byte("ACK ")) || !bytes.HasSuffix(start, []byte(" "+version)) {
		return Hop{}, false
	}
	if len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || bytes.IndexByte(value, ',') >= 0 { // it goes on
		return Hop{}, false
	}
	sentBy, params, _ := bytes.Cut(value, []byte(";"))
	hop, ok := sentByOf(sentBy)
	for ok && len(params) > 0 {
		var one []byte
		one, params, _ = bytes.Cut(params, []byte(";"))
		if branch, is := bytes.CutPrefix(one, []byte("branch=")); is {
			hop.Branch = branch
			return hop, true
		}
	}
	return Hop{}, false
}

// sentByOf takes host and port apart. The boolean is false where the port is none.
func sentByOf(text []byte) (Hop, bool) {
	hop := Hop{Host: text}
	if at := bytes.LastIndexByte(text, ':'); at > bytes.IndexByte(text, ']') {
		port, err := portNumber(string(text[at+1:]))
		if err != nil {
			return Hop{}, false
		}
		hop.Host, hop.Port = text[:at], port
	}
	hop.Host = bytes.TrimSuffix(bytes.TrimPrefix(hop.Host, []byte("[")), []byte("]"))
	return hop, true
}
