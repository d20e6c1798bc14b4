package inspector

import (
	"strings"
)

// get returns the first header called name.
func get(text, name string) string {
	if all := every(text, name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// every returns all headers called name.
func every(text, name string) []string {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	var values []string
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if key, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(key, name) {
			values = append(values, value)
		}
	}
	return values
}

func bodyOf(text string) string {
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	return body
}

func startOf(text string) string {
	line, _, _ := strings.Cut(text, "\r\n")
	return line
}

// answer writes a response to a request as the far side would: Vias, Record-
// Routes, From, To, Call-ID and CSeq copied.
func answer(request, status, tag string, extra ...string) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\n")
	for _, name := range []string{"Via", "Record-Route", "From", "To", "Call-ID", "CSeq"} {
		for _, value := range every(request, name) {
			if name == "To" && tag != "" && !strings.Contains(value, ";tag=") {
				value += ";tag=" + tag
			}
			b.WriteString(name + ": " + value + "\n")
		}
	}
	for _, line := range extra {
		b.WriteString(line + "\n")
	}
	return b.String()
}

const offer = "\n\nv=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n"
