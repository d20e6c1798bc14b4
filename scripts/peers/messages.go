package peers

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Message is one SIP message in a peer's own log.
type Message struct {
	Sent   bool   // by the peer; else received
	Start  string // the start line
	Header map[string]string
	Text   string // all of it
}

// Method is a request's method, or that of the request that a response answers.
func (m Message) Method() string {
	if m.Status() == 0 {
		method, _, _ := strings.Cut(m.Start, " ")
		return method
	}
	_, method, _ := strings.Cut(m.Header["cseq"], " ")
	return strings.TrimSpace(method)
}

// Status is a response's status code, 0 for a request.
func (m Message) Status() int {
	code, ok := strings.CutPrefix(m.Start, "SIP/2.0 ")
	if !ok {
		return 0
	}
	code, _, _ = strings.Cut(code, " ")
	status, _ := strconv.Atoi(code)
	return status
}

// CallID is the message's Call-ID.
func (m Message) CallID() string { return m.Header["call-id"] }

// Mentions reports whether digits occur anywhere in the message once it is
// percent-decoded and rid of visual separators (RFC 3966 section 5.1.1).
func (m Message) Mentions(digits string) bool {
	text := m.Text
	if decoded, err := url.PathUnescape(text); err == nil {
		text = decoded
	}
	return strings.Contains(strings.NewReplacer("-", "", ".", "", "(", "", ")", "").Replace(text), digits)
}

// ReadMessages reads a log that sipp wrote with -trace_msg.
func ReadMessages(path string) ([]Message, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []Message
	var entry []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "-----------------------------------------------") {
			all = appendEntry(all, entry)
			entry = entry[:0]
			continue
		}
		entry = append(entry, strings.TrimSuffix(lines.Text(), "\r"))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return appendEntry(all, entry), nil
}

// appendEntry reads "UDP message received [472] bytes :", an empty line and the
// message.
func appendEntry(all []Message, entry []string) []Message {
	if len(entry) < 3 || !strings.Contains(entry[0], " message ") || entry[2] == "" {
		return all
	}
	message := Message{
		Sent:   strings.Contains(entry[0], " message sent "),
		Start:  entry[2],
		Header: map[string]string{},
		Text:   strings.Join(entry[2:], "\n"),
	}
	for _, line := range entry[3:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			break
		}
		if name = strings.ToLower(strings.TrimSpace(name)); message.Header[name] == "" {
			message.Header[name] = strings.TrimSpace(value)
		}
	}
	return append(all, message)
}

// Requests counts the calls (by Call-ID) for which the peer received a request of
// the method.
func Requests(messages []Message, method string) int {
	seen := map[string]bool{}
	for _, m := range messages {
		if !m.Sent && m.Status() == 0 && m.Method() == method {
			seen[m.CallID()] = true
		}
	}
	return len(seen)
}

// Final is the first final answer to the method that a peer received.
func Final(messages []Message, method string) (Message, bool) {
	for _, m := range messages {
		if !m.Sent && m.Status() >= 200 && m.Method() == method {
			return m, true
		}
	}
	return Message{}, false
}

// Completed counts the calls that the peer made and that ended as they should:
// answered with 200 and hung up with 200.
func Completed(messages []Message) int {
	answered, ended := map[string]bool{}, map[string]bool{}
	for _, m := range messages {
		if m.Sent || m.Status() != 200 {
			continue
		}
		switch m.Method() {
		case "INVITE":
			answered[m.CallID()] = true
		case "BYE":
			ended[m.CallID()] = true
		}
	}
	count := 0
	for id := range ended {
		if answered[id] {
			count++
		}
	}
	return count
}
