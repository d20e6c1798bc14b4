package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// screen writes what a person watches. On a terminal a step shows while it runs
// and is then overwritten by its outcome.
type screen struct {
	out   io.Writer
	tty   bool
	began time.Time
}

func newScreen(out *os.File) *screen {
	info, err := out.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
	return &screen{out: out, tty: tty, began: time.Now()}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (s *screen) paint(code, text string) string {
	if !s.tty {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) heading(text string) { fmt.Fprintf(s.out, "\n%s\n", s.paint(bold, text)) }

func (s *screen) line(text string) { fmt.Fprintf(s.out, "  %s\n", text) }

// step runs do and shows how it went: do returns a few words on what came out.
func (s *screen) step(doing string, do func() (string, error)) error {
	if s.tty {
		fmt.Fprintf(s.out, "  %s %s", s.paint(dim, "…"), doing)
	}
	start := time.Now()
	found, err := do()
	mark := s.paint(green, "✓")
	if err != nil {
		mark = s.paint(red, "✗")
		found = "failed"
	}
	if s.tty {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	if found != "" {
		found = ": " + found
	}
	fmt.Fprintf(s.out, "  %s %s%s %s\n", mark, doing, found,
		s.paint(dim, fmt.Sprintf("(%.1f s)", time.Since(start).Seconds())))
	return err
}

// table writes aligned rows, the first one as a header.
func (s *screen) table(rows [][]string) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	_ = w.Flush() // into memory
	for i, line := range strings.Split(strings.TrimRight(text.String(), "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if i == 0 {
			line = s.paint(dim, line)
		}
		fmt.Fprintln(s.out, line)
	}
}

// claim is one thing that the demo has to show.
type claim struct {
	text  string
	found string
	holds bool
}

// verdict writes the claims and reports whether all hold.
func (s *screen) verdict(claims []claim) bool {
	all := len(claims) > 0
	width := 0
	for _, c := range claims {
		width = max(width, len(c.text))
	}
	for _, c := range claims {
		mark := s.paint(green, "✓")
		if !c.holds {
			mark, all = s.paint(red, "✗"), false
		}
		fmt.Fprintf(s.out, "  %s %-*s  %s\n", mark, width, c.text, c.found)
	}
	return all
}
