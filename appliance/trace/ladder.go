package trace

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringfence/ringfence/appliance"
)

// Head is how many of a call's first messages are kept whatever follows: without
// its INVITE nobody understands a call. What was left out stood after them.
const Head = 8

// Narrowest is the least width of a ladder, in columns.
const Narrowest = 80

// Style says how a ladder is drawn.
type Style struct {
	Width int  // columns; Narrowest where it is less
	ASCII bool // nothing but ASCII
}

// Weight says what a line of a ladder is.
type Weight uint8

// The weights of lines.
const (
	Usual   Weight = iota
	Heading        // who stands where
	Refusal        // a message or sentence by which the box refused
	Aside          // a remark
)

// Line is one line of a ladder, without a line end.
type Line struct {
	Text   string
	Weight Weight
}

// Ladder draws what crossed the box: phones and PBX on the left, trunks on the
// right, and time downwards, each line with the time since the one before. A
// message that came or went again is drawn once, with how often. It returns no
// lines where there are no messages. Lines may be longer than the width where
// there are many neighbours.
func Ladder(call appliance.Call, t appliance.Trace, style Style) []Line {
	if len(t.Messages) == 0 {
		return nil
	}
	d := newDrawing(t.Messages, style)
	lines := d.heading()
	readings := make([]reading, len(t.Messages))
	for n := range t.Messages {
		readings[n] = read(t.Messages[n].Text)
	}
	before, starred := t.Messages[0].Time, false
	for n := range t.Messages {
		if n == Head && t.Omitted > 0 {
			lines = append(lines, Line{d.remark(fmt.Sprintf("%d messages in between were not kept", t.Omitted)), Aside})
		}
		m := &t.Messages[n]
		made := own(t.Messages, readings, n)
		refused := made && refuses(call, readings[n])
		line := Line{Text: d.arrow(m, readings[n], m.Time.Sub(before), made && !refused)}
		before = m.Time
		if refused {
			line.Weight = Refusal
		}
		lines = append(lines, line)
		if refused {
			lines = append(lines, Line{d.note(because(call)), Refusal})
		}
		starred = starred || made && !refused
	}
	if starred {
		lines = append(lines, Line{strings.Repeat(" ", timeWidth) + "* the box's own answer", Aside})
	}
	return lines
}

// refuses reports whether a response that the box made up is the refusal that the
// record tells of.
func refuses(call appliance.Call, r reading) bool {
	return call.Verdict == appliance.Block && fmt.Sprint(call.Status) == r.status
}

func because(call appliance.Call) string {
	text := "refused: " + call.Reason.Sentence()
	if call.Rule != "" {
		text += fmt.Sprintf(" (%s in %s)", call.Rule, call.List)
	}
	return text
}

// pens are the characters of a drawing.
type pens struct {
	rail, dash, right, left, cross, more string
}

// timeWidth is the room for the time at the start of each line.
const timeWidth = 9

// drawing is a ladder's geometry.
type drawing struct {
	lanes []lane
	box   int // which lane is the box
	width int
	pens  pens
}

// lane is one neighbour, or the box.
type lane struct {
	name    string
	address string
	at      int // column
}

// who tells neighbours apart. A phone may speak from more than one port.
type who struct {
	side appliance.Side
	peer string
	addr netip.Addr
}

func whoOf(m *appliance.Message) who {
	return who{m.Side, m.Peer, m.Remote.Addr().Unmap()}
}

func newDrawing(messages []appliance.Message, style Style) *drawing {
	d := &drawing{pens: pens{"│", "─", "▶", "◀", "✗", "…"}}
	if style.ASCII {
		d.pens = pens{"|", "-", ">", "<", "X", "~"}
	}
	var left, right []lane
	seen := map[who]bool{}
	for n := range messages {
		m := &messages[n]
		if seen[whoOf(m)] {
			continue
		}
		seen[whoOf(m)] = true
		one := lane{name: nameOf(m), address: m.Remote.Addr().Unmap().String()}
		if m.Side == appliance.SideTrunk {
			right = append(right, one)
		} else {
			left = append(left, one)
		}
	}
	d.box = len(left)
	d.lanes = append(append(left, lane{name: "ringfence"}), right...)
	d.place(max(style.Width, Narrowest))
	return d
}

func nameOf(m *appliance.Message) string {
	switch {
	case m.Peer == "pbx":
		return "PBX"
	case m.Peer != "":
		return m.Peer
	case m.Side == appliance.SideLAN:
		return "LAN"
	}
	return "?"
}

// Room around the lanes: half a heading at either end, and the least between two
// that an arrow can be labelled in.
const (
	edge     = 8
	leastGap = 18
	mostGap  = 40
)

func (d *drawing) place(width int) {
	gap := mostGap
	if n := len(d.lanes) - 1; n > 0 {
		gap = min(max((width-timeWidth-2*edge)/n, leastGap), mostGap)
	}
	for n := range d.lanes {
		d.lanes[n].at = timeWidth + edge + n*gap
	}
	d.width = max(width, d.lanes[len(d.lanes)-1].at+edge)
}

func (d *drawing) heading() []Line {
	rows := []Line{{Weight: Heading}, {Weight: Heading}}
	for n, text := range []func(lane) string{func(l lane) string { return l.name }, func(l lane) string { return l.address }} {
		row := blank(d.width)
		for _, l := range d.lanes {
			label := []rune(clean(cut(text(l), 2*edge-1, d.pens.more)))
			copy(row[max(0, l.at-len(label)/2):], label)
		}
		rows[n].Text = trimmed(row)
	}
	return rows
}

func blank(width int) []rune { return []rune(strings.Repeat(" ", width)) }

func trimmed(row []rune) string { return strings.TrimRight(string(row), " ") }

// rails is a row that nothing happens in.
func (d *drawing) rails(at string) []rune {
	row := blank(d.width)
	copy(row, []rune(fmt.Sprintf("%*s", timeWidth-2, at)))
	for _, l := range d.lanes {
		row[l.at] = []rune(d.pens.rail)[0]
	}
	return row
}

// arrow draws one message.
func (d *drawing) arrow(m *appliance.Message, r reading, since time.Duration, starred bool) string {
	row := d.rails(elapsed(since))
	peer := d.laneOf(m)
	from, to := peer, d.box
	if m.Sent {
		from, to = to, from
	}
	start, end := min(d.lanes[from].at, d.lanes[to].at)+1, max(d.lanes[from].at, d.lanes[to].at)-1
	for x := start; x <= end; x++ {
		row[x] = []rune(d.pens.dash)[0]
	}
	if d.lanes[to].at > d.lanes[from].at {
		row[end] = []rune(d.pens.right)[0]
	} else {
		row[start] = []rune(d.pens.left)[0]
	}
	room := end - start - 3 // a dash and a space on one side, an arrow and a space on the other
	label := []rune(" " + clean(labelOf(m, r, starred, room, d.pens.more)) + " ")
	copy(row[start+(end-start+1-len(label))/2:], label)
	return trimmed(row)
}

func (d *drawing) laneOf(m *appliance.Message) int {
	for n, l := range d.lanes {
		if n != d.box && l.name == nameOf(m) && l.address == m.Remote.Addr().Unmap().String() && (n > d.box) == (m.Side == appliance.SideTrunk) {
			return n
		}
	}
	return d.box // never: every message has a lane
}

// labelOf writes what a message is, with as much of the rest as there is room for.
func labelOf(m *appliance.Message, r reading, starred bool, room int, more string) string {
	text := r.method
	if r.status != "" {
		text = r.status + " " + r.phrase
		if r.about != "INVITE" && r.about != "" {
			text = fmt.Sprintf("%s (%s)", text, r.about)
		}
	}
	tail := ""
	if m.Repeats > 0 {
		tail = fmt.Sprintf(" x%d", m.Repeats+1)
	}
	if starred {
		tail += " *"
	}
	room -= utf8.RuneCountInString(tail)
	if r.user != "" {
		to := " "
		if r.method == "REFER" {
			to = " to "
		}
		text = cut(text+to+r.user, room, more)
	}
	if r.sdp && utf8.RuneCountInString(text)+len(" SDP") <= room {
		text += " SDP"
	}
	return cut(text, room, more) + tail
}

// note writes a sentence that starts at the box, or where it must to end within the
// width.
func (d *drawing) note(text string) string {
	text = d.pens.cross + " " + clean(text)
	at := min(d.lanes[d.box].at, max(timeWidth, d.width-utf8.RuneCountInString(text)))
	return string(d.rails("")[:at]) + text
}

func (d *drawing) remark(text string) string {
	return strings.Repeat(" ", timeWidth) + d.pens.more + " " + text
}

// elapsed is the time between two messages, to the millisecond as long as that
// tells something.
func elapsed(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("+%.3f", max(d, 0).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("+%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("+%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// cut shortens text to a number of columns.
func cut(text string, room int, more string) string {
	if utf8.RuneCountInString(text) <= room {
		return text
	}
	if room <= 1 {
		return ""
	}
	return string([]rune(text)[:room-1]) + more
}

// clean makes what a stranger wrote harmless to a terminal, and one column a
// character.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Mn, r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}
