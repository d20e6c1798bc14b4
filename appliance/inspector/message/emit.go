package message

import "strconv"

// Append appends the message as it goes on the wire: CRLF line ends, one line
// for each header, and the exact Content-Length. Whatever stands in the
// fields, no line of the head holds a control character: one becomes a space.
func (m *Message) Append(dst []byte) []byte {
	if m.Request() {
		dst = appendClean(dst, m.Method)
		dst = appendClean(append(dst, ' '), m.URI)
		dst = append(dst, " SIP/2.0\r\n"...)
	} else {
		dst = strconv.AppendInt(append(dst, "SIP/2.0 "...), int64(m.Status), 10)
		dst = appendClean(append(dst, ' '), m.Phrase)
		dst = append(dst, "\r\n"...)
	}
	for i := range m.Headers {
		h := &m.Headers[i]
		if same(h.Name, "Content-Length") || same(h.Name, "l") {
			continue
		}
		dst = append(appendClean(dst, h.Name), ": "...)
		dst = append(appendClean(dst, h.Value), "\r\n"...)
	}
	dst = strconv.AppendInt(append(dst, "Content-Length: "...), int64(len(m.Body)), 10)
	return append(append(dst, "\r\n\r\n"...), m.Body...)
}

// Size returns how many bytes Append appends, or a few more.
func (m *Message) Size() int {
	const frame = 64 // of the start line, Content-Length and the last CRLF
	size := frame + len(m.Method) + len(m.URI) + len(m.Phrase) + len(m.Body)
	for i := range m.Headers {
		size += len(m.Headers[i].Name) + len(m.Headers[i].Value) + len(": \r\n")
	}
	return size
}

// appendClean appends text with its control characters as spaces.
func appendClean(dst []byte, text string) []byte {
	from := len(dst)
	dst = append(dst, text...)
	if plain(dst[from:]) {
		return dst
	}
	for i, c := range dst[from:] {
		if c < 0x20 || c == 0x7f {
			dst[from+i] = ' '
		}
	}
	return dst
}
