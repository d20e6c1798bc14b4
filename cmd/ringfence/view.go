package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// view writes for people: aligned, as wide as the terminal, in colour only
// where somebody looks.
type view struct {
	out    io.Writer
	buffer bytes.Buffer
	colour bool
	live   bool // a terminal that can be redrawn
	width  int  // columns; 0 where lines may be of any length
	height int  // lines of a live terminal
	now    time.Time
	zone   *time.Location
}

// style is an ANSI SGR parameter (ECMA-48, section 8.3.117).
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// cell is one entry of a table.
type cell struct {
	text  string
	style style
}

func newView(e env) *view {
	v := &view{out: e.stdout, now: e.now(), zone: e.zone}
	v.live = v.measure() && e.getenv("TERM") != "dumb"
	if columns, err := strconv.Atoi(e.getenv("COLUMNS")); err == nil && columns > 0 && !v.live {
		v.width = columns
	}
	v.colour = v.live && e.getenv("NO_COLOR") == "" // no-color.org
	return v
}

// measure asks the terminal for its size, and reports whether there is one.
func (v *view) measure() bool {
	file, ok := v.out.(*os.File)
	if !ok {
		return false
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return false
	}
	v.width, v.height = int(size.Col), int(size.Row)
	return true
}

func (v *view) printf(format string, args ...any) { fmt.Fprintf(&v.buffer, format, args...) }

// line writes one line, cut to the terminal's width.
func (v *view) line(parts ...cell) {
	left := v.width
	for _, part := range parts {
		text := printable(part.text)
		if v.width > 0 {
			text = cut(text, left)
			left -= utf8.RuneCountInString(text)
		}
		v.paint(text, part.style)
	}
	v.buffer.WriteByte('\n')
}

func (v *view) paint(text string, s style) {
	if v.colour && s != plain && text != "" {
		v.printf("\x1b[%sm%s\x1b[0m", s, text)
		return
	}
	v.buffer.WriteString(text)
}

// table writes rows under a heading, every column as wide as its widest entry.
func (v *view) table(heading []string, rows [][]cell) {
	all := [][]cell{{}}
	for _, name := range heading {
		all[0] = append(all[0], cell{name, dim})
	}
	all = append(all, rows...)
	widths := make([]int, len(heading))
	for _, row := range all {
		for i, one := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(printable(one.text)))
		}
	}
	for _, row := range all {
		for len(row) > 1 && row[len(row)-1].text == "" {
			row = row[:len(row)-1] // nothing follows: no spaces either
		}
		parts := make([]cell, 0, len(row))
		for i, one := range row {
			if i < len(row)-1 {
				one.text = pad(one.text, widths[i]+2)
			}
			parts = append(parts, one)
		}
		v.line(parts...)
	}
}

func pad(text string, width int) string {
	text = printable(text)
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// cut shortens text to width columns, with a sign that it did.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width <= 0 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

// printable makes what a stranger wrote harmless to a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, strings.ToValidUTF8(text, "·"))
}

// flush writes what was gathered.
func (v *view) flush() error {
	_, err := v.out.Write(v.buffer.Bytes())
	v.buffer.Reset()
	return err
}

func (v *view) printJSON(value any) error {
	encoder := json.NewEncoder(v.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// when writes a moment in local time, as short as it is clear.
func (v *view) when(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	at, now := at.In(v.zone), v.now.In(v.zone)
	switch {
	case at.Format(time.DateOnly) == now.Format(time.DateOnly):
		return at.Format("15:04:05")
	case at.Year() == now.Year():
		return at.Format("2 Jan 15:04")
	default:
		return at.Format("2006-01-02 15:04")
	}
}

// length writes how long something took or will take.
func length(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func levelStyle(level appliance.Level) style {
	switch level {
	case appliance.Green:
		return green
	case appliance.Amber:
		return yellow
	default:
		return red
	}
}

func verdictCell(verdict appliance.Verdict) cell {
	if verdict == appliance.Allow {
		return cell{"allow", green}
	}
	return cell{"block", red}
}

// orDash makes an empty entry visible.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// picture makes what was gathered fit the screen: no more lines than it has,
// and each wipes what stood right of it before.
func (v *view) picture() {
	lines := bytes.Split(bytes.TrimSuffix(v.buffer.Bytes(), []byte("\n")), []byte("\n"))
	if v.height > 0 {
		lines = lines[:min(len(lines), v.height)]
	}
	text := bytes.Join(lines, []byte(clearRight+"\n"))
	v.buffer.Reset()
	v.buffer.Write(text)
}
