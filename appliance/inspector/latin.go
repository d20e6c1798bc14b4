package inspector

import (
	"bytes"
	"unicode/utf8"
)

// inUTF8 returns a datagram whose head is UTF-8, as RFC 3261 section 7 wants it.
// Older PBXs write names in Latin-1: a call must not end for that. Each byte that
// is no UTF-8 is read as Latin-1, but for its control characters, which become
// "?". The body is left as it is.
func inUTF8(data []byte) []byte {
	if utf8.Valid(data) {
		return data
	}
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		end = len(data)
	}
	if utf8.Valid(data[:end]) {
		return data
	}
	out := make([]byte, 0, len(data)+64)
	for head := data[:end]; len(head) > 0; {
		r, size := utf8.DecodeRune(head)
		if r == utf8.RuneError && size == 1 {
			if r = rune(head[0]); r < 0xa0 {
				r = '?'
			}
		}
		out = utf8.AppendRune(out, r)
		head = head[size:]
	}
	return append(out, data[end:]...)
}
