package notify

import (
	"fmt"
	"strings"

	"github.com/ringfence/ringfence/appliance"
)

// text is a notice as people read it: what happened, what was done, what to do
// next. Plain text, and no link: nobody learns here to press one.
func text(n appliance.Notice) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\nSite: %s\nTime: %s\n", oneLine(n.Title), oneLine(n.Site), n.Time.Format("Monday 2 January 2006, 15:04:05 -0700"))
	for _, part := range []struct {
		title string
		lines []string
	}{{"What happened", n.Happened}, {"What the box did", n.Done}, {"What to do next", n.Next}} {
		if len(part.lines) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%s\n%s\n", part.title, strings.Repeat("-", len(part.title)))
		for _, line := range part.lines {
			fmt.Fprintf(&out, "* %s\n", oneLine(line))
		}
	}
	fmt.Fprintf(&out, "\n-- \nRingfence, notice %s. This message holds no link: log in to the box to act on it.\n", n.ID)
	return out.String()
}

// subject is the line that stands in a mailbox.
func subject(n appliance.Notice) string {
	mark := ""
	if n.Urgent {
		mark = "URGENT: "
	}
	return fmt.Sprintf("[%s] %s%s", oneLine(n.Site), mark, oneLine(n.Title))
}

// oneLine takes what would end a line out of what strangers may have written.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
