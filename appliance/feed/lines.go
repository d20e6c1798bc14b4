package feed

import "bytes"

// lines walks over a text line by line, without a copy.
type lines struct {
	rest   []byte
	text   []byte // of the line that next went to, without white space around
	number int    // of that line, from 1
}

// next goes to the next line, or returns false after the last one.
func (l *lines) next() bool {
	if len(l.rest) == 0 {
		return false
	}
	line := l.rest
	if end := bytes.IndexByte(l.rest, '\n'); end >= 0 {
		line, l.rest = l.rest[:end], l.rest[end+1:]
	} else {
		l.rest = nil
	}
	l.text = bytes.TrimSpace(line)
	l.number++
	return true
}

func (l *lines) wrong(problem string) error { return wrong(l.number, l.text, problem) }

// readLines reads FormatCIDR, and FormatDROP where it is text.
func (g *gathering) readLines(data []byte, ranges bool) error {
	g.expect(data)
	l := lines{rest: data}
	for l.next() {
		text := beforeComment(l.text)
		if len(text) == 0 {
			continue
		}
		s, problem := readEntry(text, ranges)
		if problem != "" {
			return wrong(l.number, text, problem)
		}
		g.add(s)
	}
	return nil
}

func beforeComment(text []byte) []byte {
	for i, c := range text {
		if c == '#' || c == ';' {
			return bytes.TrimSpace(text[:i])
		}
	}
	return text
}
